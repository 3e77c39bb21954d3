"""The commands of the check at the till against a real server: tokens, hotlists, cases, rules."""

import gzip
import io
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.api.shop import Shop, open_shop
from tests.api.till import TILL, name
from tests.cli.outcomes import Command

VISA, AMEX = "4539578763621486", "378282246310005"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("till") / "store", "fast") as opened:
        opened.apply(TILL)
        yield opened


@pytest.fixture
def asked(command: Command, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("INSTANTER_SERVER", shop.server.target)
    return command


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def assess(asked: Command, *arguments: object) -> dict[str, object]:
    words = ("-a", 1_999, "-c", "EUR", "-t", "berlin", "-m", "m1", "--mcc", 5812, "--json")
    outcome = asked("assess", *(arguments or (name("card"),)), *words)
    assert outcome.code == 0, outcome.err
    found: dict[str, object] = json.loads(outcome.out)
    return found


def test_tokens_are_made_of_numbers_on_standard_input(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("token", "--key", "shop.key", "--make-key").code == 0
    assert Path("shop.key").stat().st_mode & 0o777 == 0o600
    give(monkeypatch, f"{VISA}\n\n3782 822463 10005\n")
    outcome = command("token", "--key", "shop.key")
    first, second = outcome.out.splitlines()
    assert first != second
    assert all(re.fullmatch("[a-p]{64}", token) for token in (first, second))
    give(monkeypatch, VISA)
    other = command("token", "--key", "shop.key", "--tenant", "north", "--bin")
    token, digits = other.out.strip().split("\t")
    assert (token != first, digits) == (True, VISA[:8])
    assert command("token", "--key", "shop.key", "--make-key").code == 1


def test_a_card_number_among_the_arguments_is_refused_and_not_repeated(command: Command) -> None:
    outcome = command("token", "--key", "shop.key", VISA)
    assert outcome.code == 2
    assert "standard input only" in outcome.err
    assert VISA not in outcome.out + outcome.err


def test_what_is_no_card_number_is_named_by_its_line(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("token", "--key", "shop.key", "--make-key")
    give(monkeypatch, f"{VISA}\n4539578763621487\n")
    outcome = command("token", "--key", "shop.key")
    assert outcome.code == 1
    assert "line 2 of standard input" in outcome.err
    assert "4539578763621487" not in outcome.out + outcome.err


def test_a_key_that_others_may_read_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("token", "--key", "shop.key", "--make-key")
    Path("shop.key").chmod(0o644)
    give(monkeypatch, VISA)
    outcome = command("token", "--key", "shop.key")
    assert (outcome.code, outcome.out) == (1, "")
    assert "0600" in outcome.err
    assert command("token", "--key", "nowhere.key").code == 1


def test_a_transaction_is_assessed(asked: Command) -> None:
    found = assess(asked)
    assert (found["disposition"], found["source"]) == ("APPROVE", "RULES")
    words = ("-c", "EUR", "-t", "berlin", "-m", "m1", "--mcc", 5812, "--place", "52.5,13.4")
    shown = asked("assess", name("card"), "-a", 600_000, *words, "-x", "recurring=true")
    assert shown.code == 0
    assert shown.out.startswith("decline\n  risk 100, by rules\n")
    assert re.search("reasons: (HUGE, LARGE|LARGE, HUGE)\n", shown.out)
    for wrong, told in (
        (("--place", "north"), "--place 'north'"),
        (("--time", "now"), "--time 'now'"),
        (("-x", "oops"), "--field 'oops'"),
    ):
        outcome = asked("assess", "card", "-a", 1, *words, *wrong)
        assert outcome.code == 2
        assert told in outcome.err
    refused = asked("assess", VISA, "-a", 1, *words)
    assert refused.code == 1
    assert VISA not in refused.err
    grouped = f"{VISA[:4]}_{VISA[4:]}"
    for wrong, code, told in (
        (("-a", VISA * 2), 2, "a text with 32 digits is no whole number"),
        (("-a", grouped), 2, "a text with 16 digits is no whole number"),
        (("-a", 1, "--mcc", VISA), 1, "no room for such a number"),
    ):
        refused = asked("assess", "card", *words, *wrong)
        assert refused.code == code
        assert told in refused.err
        assert VISA not in refused.err
        assert grouped not in refused.err


def test_a_repetition_is_the_same_transaction_with_its_time(asked: Command) -> None:
    words = ("-a", 1_999, "-c", "EUR", "-t", "berlin", "-m", "m1", "--mcc", 5812, "--id", name("t"))
    moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert asked("assess", "card", *words, "--time", moment).code == 0
    assert "assessed before" in asked("assess", "card", *words, "--time", moment).out
    # Without it each has the time of its own call, and is another transaction.
    refused = asked("assess", "card", *words)
    assert refused.code == 1
    shown = " ".join(asked("assess", "--help").out.split())
    assert "With the same --time, makes a repetition the same transaction" in shown


def test_entries_are_added_and_removed(asked: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    card, other = name("card"), name("card")
    outcome = asked("hotlist", "add", "cards", card, "--reason", "stolen", "--source", "bank")
    assert outcome.out == "cards: 1 added, 0 had been there\n"
    assert assess(asked, card)["source"] == "HOTLIST"
    give(monkeypatch, f"{other}\t45395787\n\n")
    end = ("--expires", "2090-01-01T00:00:00Z", "--json")
    added = asked("hotlist", "add", "cards", "-", *end)
    assert json.loads(added.out) == {"created_count": 1, "existing_count": 0}
    shown = asked("hotlist", "list", "cards")
    assert "stolen" in shown.out
    assert "2090-01-01T00:00:00Z" in shown.out
    assert "cards: 2 entries" in shown.out
    lines = asked("hotlist", "list", "cards", "--all", "--json").out.splitlines()
    assert {json.loads(line)["id"] for line in lines} == {card, other}
    assert asked("hotlist", "remove", "cards", card, other).out == "cards: 2 entries off\n"
    assert asked("hotlist", "remove", "cards", card).code == 1
    assert asked("hotlist", "remove", "cards", card, "--missing-ok").code == 0
    assert asked("hotlist", "add", "people", "x").code == 1


def test_help_says_what_a_back_test_leaves_out(asked: Command) -> None:
    shown = " ".join(asked("fraud", "backtest", "--help").out.split())
    assert "Attributes of profiles are missing: their past is not kept." in shown
    assert "Rules in shadow take no part, and none is paused or snoozed." in shown


def test_help_says_how_the_end_of_an_entry_is_written(asked: Command) -> None:
    shown = " ".join(asked("hotlist", "add", "--help").out.split())
    given = re.search(r"date, time and zone as (\S+) \(RFC 3339\)", shown)
    assert given is not None
    added = asked("hotlist", "add", "cards", name("card"), "--expires", given[1])
    assert added.code == 0, added.err


def test_a_list_is_loaded_from_a_file(asked: Command) -> None:
    ids = [f"t-{n:04}" for n in range(1_500)]
    Path("plain.csv").write_text("\n".join(ids) + "\n")
    Path("one.csv").write_text("t-1\n")
    assert asked("hotlist", "load", "merchants", "one.csv").out == "merchants: 1 entry, 0 before\n"
    assert "merchants: 1 entry," in asked("hotlist", "list", "merchants").out
    assert asked("hotlist", "load", "terminals", "plain.csv").out == (
        "terminals: 1,500 entries, 0 before\n"
    )
    rows = "".join(f"{each},lost,bank,2090-01-01T00:00:00Z\n" for each in ids)
    with gzip.open("full.csv.gz", "wt") as file:
        file.write(f"id,reason,source,expire_time\n{rows}")
    assert asked("hotlist", "load", "terminals", "full.csv.gz").code == 0
    first = asked("hotlist", "list", "terminals", "--json")
    assert json.loads(first.out)["entries"][0]["expire_time"] == "2090-01-01T00:00:00Z"
    pq.write_table(pa.table({"id": ids[:1_400]}), "some.parquet")
    loaded = asked("hotlist", "load", "terminals", "some.parquet", "--json")
    assert json.loads(loaded.out) == {"entry_count": 1_400, "replaced_count": 1_500}


SPACED = {
    "blanks": b"id , reason\n tokA , stolen\ntokB\t,lost\n",
    "quotes behind blanks": b'"id", "reason"\n "tokA", "stolen"\n"tokB" , "lost"\n',
    "a mark at the beginning": b"\xef\xbb\xbfid,reason\ntokA,stolen\ntokB,lost\n",
    "an empty line first": b"\r\nid,reason\r\ntokA,stolen\r\n\r\ntokB,lost\r\n",
}


@pytest.mark.parametrize("way", SPACED)
def test_blanks_round_ids_and_columns_are_no_part_of_them(asked: Command, way: str) -> None:
    Path("spaced.csv").write_bytes(SPACED[way])
    assert asked("hotlist", "load", "cards", "spaced.csv", "--allow-shrink").code == 0
    shown = asked("hotlist", "list", "cards", "--all", "--json").out.splitlines()
    entries = [json.loads(line) for line in shown]
    assert [(each["id"], each["reason"]) for each in entries] == [
        ("tokA", "stolen"),
        ("tokB", "lost"),
    ]
    assert assess(asked, "tokA")["source"] == "HOTLIST"


@pytest.mark.parametrize(
    "text", [b"\xef\xbb\xbfid\ntokA\n", b" id \n tokA \n", b"\n tokA\n", b"\xef\xbb\xbftokA\n"]
)
def test_a_lone_column_needs_no_name_and_its_name_is_no_entry(asked: Command, text: bytes) -> None:
    Path("lone.csv").write_bytes(text)
    assert asked("hotlist", "load", "cards", "lone.csv", "--allow-shrink").code == 0
    (line,) = asked("hotlist", "list", "cards", "--all", "--json").out.splitlines()
    assert json.loads(line)["id"] == "tokA"


def test_blanks_in_parquet_are_no_part_either(asked: Command) -> None:
    pq.write_table(pa.table({" id": [" tokA "], "reason ": [" stolen"]}), "spaced.parquet")
    assert asked("hotlist", "load", "cards", "spaced.parquet", "--allow-shrink").code == 0
    (line,) = asked("hotlist", "list", "cards", "--all", "--json").out.splitlines()
    assert (json.loads(line)["id"], json.loads(line)["reason"]) == ("tokA", "stolen")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,reasons\na,b\n", "'reasons' is none of them"),
        ("id,id\na,b\n", "each once"),
        ("reason\na\n", "expected `id`"),
        (f"id,{VISA}\na,b\n", "a card number"),
        (f"id,reason\na,b\n{VISA},c,d\n", "a card number"),
        (f"id,expire_time\na,{VISA}\n", "a card number"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_without_card_numbers(
    asked: Command, text: str, told: str
) -> None:
    Path("wrong.csv").write_text(text)
    outcome = asked("hotlist", "load", "merchants", "wrong.csv", "--allow-shrink")
    assert outcome.code == 1, outcome.out
    assert told in outcome.err
    assert VISA not in outcome.err


def cut_csv() -> str:
    # Longer than the list that it would replace: it is refused for nothing but its end.
    Path("cut.csv").write_text("id\n" + "".join(f"m-{n}\n" for n in range(200)) + "m-20")
    return "cut.csv"


def cut_gzip() -> str:
    raw = gzip.compress("".join(f"{n}\n" for n in range(5_000)).encode())
    Path("cut.csv.gz").write_bytes(raw[: len(raw) // 2])
    return "cut.csv.gz"


def cut_parquet() -> str:
    pq.write_table(pa.table({"id": [str(n) for n in range(5_000)]}), "cut.parquet")
    raw = Path("cut.parquet").read_bytes()
    Path("cut.parquet").write_bytes(raw[: len(raw) // 2])
    return "cut.parquet"


def short() -> str:
    Path("short.csv").write_text("id\na\n")
    return "short.csv"


def without_id() -> str:
    Path("odd.csv").write_text("card,reason\na,b\n")
    return "odd.csv"


def empty_id() -> str:
    Path("empty.csv").write_text("id,reason\na,b\n,c\n")
    return "empty.csv"


def card_number() -> str:
    Path("numbers.csv").write_text(f"id\na\n{VISA}\n")
    return "numbers.csv"


@pytest.mark.parametrize(
    "make",
    [cut_csv, cut_gzip, cut_parquet, short, without_id, empty_id, card_number],
    ids=lambda make: make.__name__,
)
def test_a_file_that_is_cut_or_wrong_changes_nothing(asked: Command, make: object) -> None:
    Path("good.csv").write_text("id\n" + "".join(f"m-{n}\n" for n in range(100)))
    assert asked("hotlist", "load", "merchants", "good.csv", "--allow-shrink").code == 0
    outcome = asked("hotlist", "load", "merchants", make())  # type: ignore[operator] # a function
    assert outcome.code == 1, outcome.out
    assert VISA not in outcome.err
    found = json.loads(asked("hotlist", "list", "merchants", "--json").out)
    assert found["entry_count"] == 100


@pytest.mark.parametrize("row", [1, 1_000, 1_001, 2_345])
def test_an_entry_that_is_refused_is_named_by_its_row(asked: Command, row: int) -> None:
    # Equal ids count once in the list, and each in the file.
    lines = ["453957,lost\n"] * 2_500
    lines[row - 1] = f"453957,{VISA}\n"
    Path("numbered.csv").write_text("id,reason\n" + "".join(lines))
    outcome = asked("hotlist", "load", "bins", "numbered.csv")
    assert outcome.code == 1
    assert f"numbered.csv: row {row}: reason: " in outcome.err
    assert "hotlist_entries" not in outcome.err
    lines[row - 1] = "a/b,lost\n"
    Path("numbered.csv").write_text("id,reason\n" + "".join(lines))
    outcome = asked("hotlist", "load", "bins", "numbered.csv")
    assert f"numbered.csv: row {row}: id: " in outcome.err


def test_a_list_that_shrinks_is_loaded_when_that_is_said(asked: Command) -> None:
    Path("ten.csv").write_text("".join(f"d-{n}\n" for n in range(10)))
    asked("hotlist", "load", "devices", "ten.csv", "--allow-shrink")
    Path("one.csv").write_text("d-1\n")
    refused = asked("hotlist", "load", "devices", "one.csv")
    assert refused.code == 1
    assert "--allow-shrink" in refused.err
    assert asked("hotlist", "load", "devices", "one.csv", "--allow-shrink").code == 0


def test_cases_are_listed_and_worked_on(asked: Command) -> None:
    card = name("card")
    words = ("-c", "EUR", "-t", "berlin", "-m", "m1", "--mcc", 5812, "--json")
    case = json.loads(asked("assess", card, "-a", 150_000, *words).out)["case_id"]
    assert f"\n {case} " in asked("cases", "list", "--card", card).out
    (line,) = asked("cases", "list", "--card", card, "--json").out.splitlines()
    assert json.loads(line)["figures"]["transaction.amount"] == 1_500
    updated = asked(
        "cases", "update", case, "--assignee", "Ada", "--note", "called", "--author", "Ada"
    )
    assert "called" in updated.out
    labelled = asked("cases", "update", case, "--label", "genuine", "--json")
    assert json.loads(labelled.out)["state"] == "CLOSED"
    assert asked("cases", "list", "--card", card, "--json").out == ""
    assert asked("cases", "list", "--card", card, "--state", "all", "--json").out
    assert asked("cases", "update", case, "--label", "maybe").code == 2
    assert asked("cases", "list", "--state", "lost").code == 2
    assert asked("cases", "update", "99999", "--assignee", "Ada").code == 1


def test_other_rules_are_back_tested(asked: Command) -> None:
    assess(asked)
    Path("rules.yaml").write_text(TILL["till.yaml"].replace(">= 1000.0", ">= 1.0"))
    outcome = asked("fraud", "backtest", "-f", "rules.yaml", "--since", "2020-01-01")
    assert outcome.code == 0, outcome.err
    assert re.search(r"referred +\d+ +[1-9]\d* +\+[1-9]", outcome.out)
    assert "newly stopped" in outcome.out
    assert "other fields" not in outcome.out
    told = json.loads(asked("fraud", "backtest", "-f", "rules.yaml", "--json").out)
    assert told["given"]["transaction_count"] == told["live"]["transaction_count"] >= 1
    assert told["misfit_count"] == 0
    strict = TILL["till.yaml"].replace("{kind: flag}", "{kind: flag, required: true}")
    Path("strict.yaml").write_text(strict)
    outcome = asked("fraud", "backtest", "-f", "strict.yaml")
    assert re.search(r"\d+ of the transactions have other fields", outcome.out)
    Path("wrong.yaml").write_text("fraud:\n  rules:\n    a: {when: 'transaction.amuont > 1.0'}\n")
    refused = asked("fraud", "backtest", "-f", "wrong.yaml")
    assert refused.code == 1
    assert "fraud_yaml.yaml:3" in refused.err
    assert asked("fraud", "backtest", "-f", "rules.yaml", "--since", "once").code == 2
    Path("rules.bin").write_bytes(b"fraud: \xff")
    binary = asked("fraud", "backtest", "-f", "rules.bin")
    assert binary.code == 1
    assert "error: rules.bin: byte 7 is not UTF-8; expected YAML" in binary.err


def test_rules_are_listed_snoozed_and_resumed(asked: Command) -> None:
    shown = asked("fraud", "rules").out
    assert re.search(r"silent +shadow", shown)
    assert "velocity.card_count_10m >= 3.0" in shown
    rules = {rule["name"]: rule for rule in json.loads(asked("fraud", "rules", "--json").out)}
    assert rules["large"]["state"] == "LIVE"
    card = name("card")
    words = ("-a", 150_000, "-c", "EUR", "-t", "berlin", "-m", "m1", "--mcc", 5812)
    assert asked("assess", card, *words).out.startswith("refer")
    end = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    snoozed = asked("fraud", "snooze", "large", card, "--until", end)
    assert snoozed.out == f"large: silent for this card until {end}T00:00:00Z\n"
    assert asked("assess", card, *words).out.startswith("approve")
    ended = asked("fraud", "snooze", "large", card, "--until", "2020-01-01")
    assert ended.out == "large: no longer silent for this card\n"
    assert asked("assess", card, *words).out.startswith("refer")
    assert asked("fraud", "snooze", "large", card, "--until", "soon").code == 2
    assert asked("fraud", "resume", "large").out == "large: live\n"
    assert "did you mean 'large'" in asked("fraud", "resume", "larg").err
