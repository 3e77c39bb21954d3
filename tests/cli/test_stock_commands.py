"""The commands of the stock side against a real server: movements, positions, alerts, replays."""

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.api.shop import Shop, open_shop
from tests.cli.outcomes import Command

CATALOGUE = """\
currency: EUR
stock:
  sites:
    berlin-1: {region: east, time_zone: Europe/Berlin}
    berlin-2: {region: east, time_zone: Europe/Berlin}
    lisbon: {region: west, time_zone: Europe/Lisbon}
  units: {SKU1: coffee, SKU2: tea, SKU3: {category: tea, title: Green tea}}
  policies:
    - {sites: [lisbon], reorder_point: 5, negative: allowed}
    - {categories: [coffee], reorder_point: 20, order_up_to: 100, transfer_from: same_region,
       hysteresis: 0.2}
    - {categories: [tea], reorder_point: 5}
  grants:
    nord: {regions: [east], categories: [coffee]}
  alerts: {heartbeat: 1s}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path / "store", "fast") as opened:
        opened.apply({"stock.yaml": CATALOGUE})
        yield opened


@pytest.fixture
def asked(command: Command, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("INSTANTER_SERVER", shop.server.target)
    return command


def tell(asked: Command, *arguments: object) -> list[dict[str, Any]]:
    outcome = asked(*arguments, "--json")
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_a_movement_is_recorded_once(asked: Command) -> None:
    words = ("stock", "record", "receipt", "berlin-1", "SKU1", 60, "--id", "delivery-1")
    assert asked(*words).out == "delivery-1: 1 recorded, 0 had been before\n"
    assert asked(*words).out == "delivery-1: 0 recorded, 1 had been before\n"
    told = asked("stock", "record", "sale", "berlin-1", "SKU1", 5)
    assert re.fullmatch("[0-9a-f]{32}: 1 recorded, 0 had been before\n", told.out)
    asked("stock", "record", "transfer", "berlin-1", "SKU1", 10, "--to", "berlin-2")
    asked("stock", "record", "adjustment", "berlin-2", "SKU1", "--", -3)
    asked("stock", "record", "price-change", "berlin-2", "SKU1", "--price-minor", 399)
    found = json.loads(asked("stock", "get", "berlin-2", "SKU1", "--json").out)
    assert (found["on_hand_units"], found["price_minor"], found["region"]) == (7, 399, "east")
    listed = json.loads(asked("stock", "list", "berlin-1", "--json").out)
    assert [(each["stock_keeping_unit"], each["on_hand_units"]) for each in listed] == [
        ("SKU1", 45)
    ]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("sael", "berlin-1", "SKU1", 1), 2, "did you mean 'sale'"),
        (("sale", "berlin-1", "SKU1"), 2, "KIND SITE UNIT UNITS"),
        (("sale", "berlin-1", "SKU1", "one"), 2, "no whole number"),
        (("sale", "berlin-1", "SKU1", "1_000"), 2, "UNITS: '1_000' is no whole number"),
        (("sale", "berlin-1", "SKU1", "٥"), 2, "UNITS: '٥' is no whole number"),
        (("sale", "berlin-1", "SKU1", "9" * 5_000), 2, "5,000 digits"),
        (("price-change", "berlin-1", "SKU1", "--price-minor", "1_0"), 2, "--price-minor.*'1_0'"),
        (("price-change", "berlin-1", "SKU1", 5), 2, "price-change SITE UNIT"),
        ((), 2, "expected a movement"),
        (("sale", "berlin-1", "SKU1", 1, "--time", "now"), 2, "--time 'now'"),
        (("sale", "berlin-1", "SKU1", 1, "--file", "x"), 2, "expected a movement"),
        (("price-change", "berlin-1", "SKU1"), 2, "--price-minor"),
        (("--file", "x", "--id", "m"), 2, "--id is for one movement"),
        (("--file", "x", "--time", "2026-11-01T08:00:00Z"), 2, "--time is for one movement"),
        (("--file", "x", "--to", "lisbon"), 2, "--to is for one movement"),
        (("--file", "x", "--price-minor", 0), 2, "--price-minor is for one movement"),
        (("sale", "berlin-9", "SKU1", 1), 1, "berlin-9"),
        (("sale", "berlin-1", "SKU9", 1), 1, "SKU9"),
        (("sale", "berlin-1", "SKU1", 0), 1, "units"),
        (("sale", "berlin-1", "SKU1", 10**18), 1, "units"),
        (("sale", "berlin-1", "SKU1", 1), 1, "STOCK_NEGATIVE|on hand"),
        (("--file", "nowhere.jsonl"), 1, "nowhere.jsonl"),
    ],
)
def test_a_wrong_movement_is_refused(
    asked: Command, words: tuple[object, ...], code: int, told: str
) -> None:
    outcome = asked("stock", "record", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert re.search(told, outcome.err)


def test_movements_of_a_file_are_recorded(asked: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"movement_id": f"m-{n}", "site": "berlin-1", "stock_keeping_unit": "SKU2",
         "kind": "receipt" if n % 2 else "SALE", "units": 2,
         "movement_time": "2026-11-01T08:00:00Z"}
        for n in range(1, 1_202)
    ]  # fmt: skip
    for line in lines:
        del line["movement_time"]
    text = "\n".join(map(json.dumps, lines)) + "\n\n"
    Path("movements.jsonl").write_text(text)
    told = asked("stock", "record", "--file", "movements.jsonl")
    assert told.out == "1,201 recorded, 0 had been before\n", told.err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    again = asked("stock", "record", "--file", "-", "--json")
    assert json.loads(again.out) == {"recorded_count": 0, "duplicate_count": 1_201}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"units": 1.5}, "units: '1.5'"),
        ({"kind": "sold"}, "kind: 'sold' is no movement"),
        ({"site": ""}, "site"),
        ({"untis": 1}, "did you mean 'units'"),
        ({"movement_time": "yesterday"}, "RFC 3339"),
        ({"movement_time": 5}, "RFC 3339"),
        ({"destination_site": 5}, "destination_site"),
        ({"site": "\ud800"}, r"site: '\\ud800' is not right"),
        ({"destination_site": "\ud800"}, r"destination_site: '\\ud800' is not right"),
        ({"stock_keeping_unit": "SKU9"}, "SKU9"),
        ({"units": 0}, "units"),
        ({"movement_id": "m-0", "units": 7}, "m-0"),
        ({"kind": "sale", "units": 500}, "on hand|STOCK_NEGATIVE"),
        ({"kind": "price-change", "units": 0}, "price_minor"),
    ],
)
def test_a_wrong_line_is_named(asked: Command, line: dict[str, object], told: str) -> None:
    good = {"site": "berlin-1", "stock_keeping_unit": "SKU2", "kind": "receipt", "units": 2}
    lines = [{"movement_id": f"m-{n}", **good} for n in range(3)]
    Path("wrong.jsonl").write_text(json.dumps(lines[0]))
    assert asked("stock", "record", "--file", "wrong.jsonl").code == 0
    lines[2] |= line
    Path("wrong.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    outcome = asked("stock", "record", "--file", "wrong.jsonl")
    assert outcome.code == 1, "a mistake of the data, not of the command line"
    assert "wrong.jsonl:5" in outcome.err
    assert "0 movements before its batch are recorded" in outcome.err
    assert re.search(told, outcome.err)
    # One mistake, and nothing of its batch is recorded.
    found = json.loads(asked("stock", "get", "berlin-1", "SKU2", "--json").out)
    assert found["on_hand_units"] == 2


def test_a_line_that_says_something_twice_is_refused(asked: Command) -> None:
    Path("twice.jsonl").write_text(
        '{"movement_id": "m", "site": "berlin-1", "stock_keeping_unit": "SKU2", "kind": "receipt",'
        ' "units": 2, "units": 200}'
    )
    outcome = asked("stock", "record", "--file", "twice.jsonl")
    assert outcome.code == 1
    told = "twice.jsonl:1: 'units' stands there twice, with '2' and '200'; expected it once"
    assert told in outcome.err


def test_positions_are_shown(asked: Command) -> None:
    for site in ("berlin-1", "lisbon"):
        for unit, units in (("SKU1", 60), ("SKU2", 7)):
            asked("stock", "record", "receipt", site, unit, units)
    shown = asked("stock", "get", "lisbon", "SKU1").out
    assert shown.startswith("SKU1 at lisbon\nwest coffee\n")
    assert re.search(r"available +60", shown)
    listed = asked("stock", "list").out
    assert [line.split()[:3] for line in listed.splitlines() if "SKU" in line] == [
        ["berlin-1", "SKU1", "60"],
        ["berlin-1", "SKU2", "7"],
        ["lisbon", "SKU1", "60"],
        ["lisbon", "SKU2", "7"],
    ]
    assert "4 positions" in listed
    few = tell(asked, "stock", "list", "--region", "east", "--below", 10, "--all")
    assert [(each["site"], each["stock_keeping_unit"]) for each in few] == [("berlin-1", "SKU2")]
    assert tell(asked, "stock", "list", "--category", "coffee", "--unit", "SKU2", "--all") == []
    granted = tell(asked, "stock", "list", "--distributor", "nord", "--all")
    assert [(each["site"], each["stock_keeping_unit"]) for each in granted] == [
        ("berlin-1", "SKU1")
    ]
    assert asked("stock", "get", "lisbon", "SKU1", "--distributor", "nord").code == 1
    assert asked("stock", "get", "lisbon", "SKU9").code == 1


def test_alerts_are_watched_from_run_to_run(asked: Command) -> None:
    watch = ("watch", "stock-alerts", "--state", "token", "--once")
    asked("stock", "record", "receipt", "berlin-1", "SKU1", 60)
    asked("stock", "record", "receipt", "berlin-2", "SKU1", 200)
    assert "0 open" in asked(*watch).out
    asked("stock", "record", "sale", "berlin-1", "SKU1", 45)
    (raised,) = tell(asked, *watch)
    assert (raised["told"], raised["change"], raised["sequence"]) == ("transition", "RAISED", 1)
    assert raised["alert"]["cause"] == "REORDER"
    assert raised["resume_token"] == Path("token").read_text().strip()
    actions = {action["kind"]: action for action in raised["alert"]["actions"]}
    assert actions["REORDER"]["units"] == 85
    assert actions["TRANSFER"]["source_site"] == "berlin-2"
    acknowledged = asked("stock", "acknowledge", 1, "--by", "Ada")
    assert acknowledged.out == "1: reorder of SKU1 at berlin-1: acknowledged\n"
    asked("stock", "record", "receipt", "berlin-1", "SKU1", 85)
    assert [told["change"] for told in tell(asked, *watch)] == ["ACKNOWLEDGED", "CLEARED"]
    shown = asked("watch", "stock-alerts", "--resume", raised["resume_token"], "--count", 2).out
    assert re.search("2  acknowledged .*reorder +berlin-1 SKU1", shown)
    assert re.search("3  cleared .*available 100", shown)
    assert asked("stock", "acknowledge", 1).code == 1


@pytest.mark.parametrize("more", [(), ("--resume", "anything")])
def test_a_token_that_cannot_be_kept_is_told_before_anything_else(
    asked: Command, more: tuple[str, ...]
) -> None:
    watch = ("watch", "stock-alerts", "--once", *more, "--state")
    outcome = asked(*watch, "nowhere/token")
    told = "error: --state nowhere/token: its folder is not there\n"
    assert (outcome.code, outcome.out, outcome.err) == (1, "", told)
    Path("file").write_text("")
    outcome = asked(*watch, "file/token", "--server", "127.0.0.1:1")
    assert outcome.err == "error: --state file/token: its folder is not there\n"
    os.mkfifo("pipe")
    outcome = asked(*watch, "pipe", "--server", "127.0.0.1:1")
    told = "error: --state pipe: is no plain file; name one for the token\n"
    assert (outcome.code, outcome.out, outcome.err) == (1, "", told)
    assert Path("pipe").is_fifo()


def test_alerts_are_narrowed_and_put_off(asked: Command) -> None:
    for site in ("berlin-1", "lisbon"):
        asked("stock", "record", "receipt", site, "SKU1", 3)
        asked("stock", "record", "sale", site, "SKU1", 1)
    watch = ("watch", "stock-alerts", "--once")
    (snapshot,) = tell(asked, *watch, "--distributor", "nord")
    assert (snapshot["told"], snapshot["is_gap"]) == ("snapshot", False)
    (alert,) = snapshot["alerts"]
    assert (alert["position"]["site"], alert["cause"]) == ("berlin-1", "REORDER")
    assert "2 open" in asked(*watch).out
    assert tell(asked, *watch, "--severity", "critical")[0]["alerts"] == []
    end = (datetime.now(UTC) + timedelta(days=29)).date().isoformat()
    snoozed = asked("stock", "snooze", alert["id"], "--until", end)
    assert snoozed.out.endswith(f"reorder of SKU1 at berlin-1: put off until {end}T00:00:00Z\n")
    soon = asked("stock", "snooze", alert["id"], "--until", "72h", "--json")
    ahead = datetime.fromisoformat(json.loads(soon.out)["snooze_end_time"]) - datetime.now(UTC)
    assert timedelta(hours=71) < ahead <= timedelta(hours=72)
    far = asked("stock", "snooze", alert["id"], "--until", "2099-12-24")
    assert far.code == 1
    assert "'2099-12-24T00:00:00Z' is not right; expected a time at most 30 days" in far.err
    assert asked("stock", "snooze", alert["id"], "--until", "9" * 20 + "h").code == 2
    ended = asked("stock", "snooze", alert["id"], "--until", "2020-01-01")
    assert ended.out.endswith("reorder of SKU1 at berlin-1: no longer put off\n")
    assert asked("stock", "snooze", alert["id"], "--until", "soon").code == 2
    assert asked("stock", "snooze", 999, "--until", "2020-01-01").code == 1
    for wrong, code in (
        (("--severity", "awful"), 2),
        (("--distributor", "who"), 1),
        (("--site", "nowhere"), 1),
        (("--resume", "forged"), 1),
    ):
        outcome = asked(*watch, *wrong)
        assert outcome.code == code, outcome.out
        assert wrong[1] in outcome.err or "resume_token" in outcome.err


def test_a_file_of_sales_is_replayed(asked: Command) -> None:
    rows = [
        f"2011-12-0{1 + n // 12} {8 + n % 12:02}:00:00,{'SKU2' if n % 2 else 'SKU3'},{1 + n % 3}"
        for n in range(60)
    ]
    rows[5] = rows[5].replace("SKU2", "SKU9")
    rows[7] = rows[7].replace("SKU2", "no/unit")
    rows[8] = rows[8].rpartition(",")[0] + ",0"
    rows[9] = rows[9].replace("SKU2", "SKU9")
    Path("sales.csv").write_text("WHEN,CODE,QUANTITY\n" + "\n".join(rows) + "\n")
    Path("mapping.yaml").write_text(
        "columns: {time: WHEN, unit: CODE, units: QUANTITY}\n"
        "constants: {site: lisbon, kind: sale}\nopening_units: 30\n"
    )
    words = ("stock", "replay", "sales.csv", "--mapping", "mapping.yaml")
    outcome = asked(*words)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(
        "60 lines and 2 movements of stock: 58 recorded, 4 lines refused; "
    )
    refused = [line.split()[:3] for line in outcome.out.splitlines() if "_INVALID" in line]
    assert [each[1:] for each in refused if each[0] == "UNIT_INVALID"] == [["1", "8"]]
    assert [each[1:] for each in refused if each[0] == "UNITS_INVALID"] == [["1", "9"]]
    assert [each[1:] for each in refused if each[0] not in ("UNIT_INVALID", "UNITS_INVALID")] == [
        ["2", "6"], ["1", "of"],
    ]  # fmt: skip
    assert re.search("reorder +2", outcome.out)
    sold = {
        unit: sum(int(row.rpartition(",")[2]) for row in rows if unit in row)
        for unit in ("SKU2", "SKU3")
    }
    for unit, units in sold.items():
        found = json.loads(asked("stock", "get", "lisbon", unit, "--json").out)
        assert found["on_hand_units"] == 30 - units
    again = json.loads(asked(*words, "--json").out)
    assert (again["recorded_count"], again["duplicate_count"], again["rejected_count"]) == (
        0, 58, 4,
    )  # fmt: skip


def test_a_replay_of_which_nothing_is_taken_ends_at_once(asked: Command) -> None:
    rows = "".join(f"2011-12-01,SKU{n},1\n" for n in range(10, 2_000))
    Path("sales.csv").write_text("WHEN,CODE,QUANTITY\n" + rows)
    Path("mapping.yaml").write_text(
        "columns: {time: WHEN, unit: CODE, units: QUANTITY}\n"
        "constants: {site: lisbon, kind: sale}\n"
    )
    outcome = asked("stock", "replay", "sales.csv", "--mapping", "mapping.yaml")
    assert outcome.code == 1
    assert "none of the first 500 lines is taken" in outcome.err
    assert "--declare" in outcome.err
    lines = Path("sales.csv").read_text().splitlines(keepends=True)
    moved = "2011-12-30,SKU3,1\n"
    Path("sales.csv").write_text(lines[0] + "2011-12-01,SKU3,1\n")
    assert asked("stock", "replay", "sales.csv", "--mapping", "mapping.yaml").code == 0
    Path("sales.csv").write_text(lines[0] + moved)
    outcome = asked("stock", "replay", "sales.csv", "--mapping", "mapping.yaml")
    assert outcome.code == 1
    assert "another prefix" in outcome.err
