"""`instanter fraud replay`: what is sent, when labels follow, what the report says."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instanter.cli.replay.mapping import load_mapping
from instanter.cli.replay.recorded import load_recorded
from tests.api.shop import Shop, open_shop
from tests.cli.outcomes import Command

CATALOGUE = """\
currency: EUR
fraud:
  fields: {shipping: {kind: number}}
  velocities:
    terminal_frauds: {per: terminal, function: frauds, window: 30d}
  rules:
    large: {when: 'transaction.amount >= 220.0', points: 60, reason: LARGE}
    compromised: {when: 'velocity.terminal_frauds >= 1.0', points: 50, reason: COMPROMISED}
  thresholds:
    - {refer: 50, decline: 100}
  clock: {behind_max: 400d}
  stand_in: {place_missing: continue}
"""
MAPPING = """\
columns:
  transaction_id: ID
  time: WHEN
  card: CUSTOMER
  customer: CUSTOMER
  terminal: TERMINAL
  amount: AMOUNT
  channel: TYPE
  fraud: FRAUD
  scenario: SCENARIO
constants: {currency: EUR, merchant: m1, mcc: 5999}
fields: {shipping: SHIPPING}
prefixes: {transaction_id: tx-, card: card-, terminal: t-}
present_values: [CP]
labels: {delay: 2d}
score_from: 2018-06-13
"""
START = datetime(2018, 6, 11, 9, tzinfo=UTC).replace(tzinfo=None)


def make_rows() -> list[dict[str, Any]]:
    """Return a week of transactions: terminal 3 is compromised from the first day on."""
    rows = []
    for day in range(7):
        for n in range(20):
            fraud = n == 3 or (n == 5 and day > 3)
            rows.append(
                {
                    "ID": len(rows),
                    "WHEN": START + timedelta(days=day, minutes=n),
                    "CUSTOMER": n,
                    "TERMINAL": n % 10,
                    "AMOUNT": 300.0 if n == 5 and day > 3 else 12.34,
                    "TYPE": "CP" if n % 2 else "CNP",
                    "FRAUD": int(fraud),
                    "SCENARIO": {3: 2, 5: 1}[n] if fraud else 0,
                    "SHIPPING": n / 2 if n else None,
                }
            )
    return rows


def write(rows: list[dict[str, Any]], mapping: str = MAPPING) -> tuple[str, str]:
    # In no order: the replay has to find it.
    pq.write_table(pa.Table.from_pylist(rows[::-1]), "week.parquet")
    Path("mapping.yaml").write_text(mapping)
    return "week.parquet", "mapping.yaml"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path / "store", "fast") as opened:
        opened.apply({"till.yaml": CATALOGUE})
        yield opened


@pytest.fixture
def asked(command: Command, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("INSTANTER_SERVER", shop.server.target)
    return command


def test_a_week_is_replayed_with_its_labels_and_judged(asked: Command) -> None:
    file, mapping = write(make_rows())
    outcome = asked("fraud", "replay", file, "--mapping", mapping, "--json", "--in-flight", 8)
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert (report["transaction_count"], report["duplicate_count"]) == (140, 0)
    # On the morning of the seventh day the labels of four days are known, of the first 80.
    assert report["label_count"] == 80
    assert (report["scored_count"], report["fraud_count"]) == (100, 8)
    # Those of terminal 3 from the fourth day on (of its fraud of the first), and the large ones;
    # terminal 3 has one genuine transaction a day too.
    assert report["caught_count"] == 4 + 3
    assert report["false_positive_count"] == 4
    risk = report["rankings"][0]
    assert risk["score"] == "risk"
    assert 0.9 < risk["auc"] < 1
    scenarios = {each["scenario"]: each for each in report["scenarios"]}
    assert (scenarios["1"]["fraud_count"], scenarios["1"]["stopped_count"]) == (3, 3)
    assert scenarios["1"]["auc"] == 1
    assert (scenarios["2"]["fraud_count"], scenarios["2"]["stopped_count"]) == (5, 4)
    again = asked("fraud", "replay", file, "-m", mapping)
    assert "140 had been assessed before" in again.out
    assert "scenario" in again.out


def test_a_csv_file_with_texts_is_replayed_too(asked: Command) -> None:
    _, mapping = write(make_rows())
    lines = ["ID,WHEN,CUSTOMER,TERMINAL,AMOUNT,TYPE,FRAUD,SCENARIO,SHIPPING"]
    for row in make_rows()[:30]:
        row["SHIPPING"] = row["SHIPPING"] or ""
        lines.append(",".join(map(str, row.values())))
    Path("week.csv").write_text("\n".join(lines) + "\n")
    outcome = asked("fraud", "replay", "week.csv", "-m", mapping, "--limit", 25)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("25 transactions in ")


def test_times_are_moved_by_whole_weeks_to_the_week_before_now() -> None:
    file, mapping = write(make_rows())
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    recorded = load_recorded(Path(file), load_mapping(Path(mapping)), now)
    first, last = recorded.make(0), recorded.make(139)
    assert last.transaction_time is not None
    assert first.transaction_time is not None
    assert now - timedelta(days=7) < last.transaction_time <= now
    moved = first.transaction_time - START.replace(tzinfo=UTC)
    assert moved.days % 7 == 0
    assert moved == timedelta(days=moved.days)
    assert (first.transaction_id, first.card_token, first.terminal) == ("tx-0", "card-0", "t-0")
    assert (first.amount_minor, first.card_present) == (1_234, False)
    assert (recorded.make(3).card_present, recorded.make(3).fields) == (True, {"shipping": 1.5})


def test_places_come_from_a_file_of_their_own() -> None:
    rows = make_rows()
    places = "places: {file: places.csv, terminal: T, latitude: LAT, longitude: LON}\n"
    file, mapping = write(rows, MAPPING + places + "shift: 0\n")
    Path("places.csv").write_text("T,LAT,LON\n1,-23.5,-46.6\n")
    recorded = load_recorded(Path(file), load_mapping(Path(mapping)), datetime.now(UTC))
    assert (recorded.make(1).latitude, recorded.make(1).longitude) == (-23.5, -46.6)
    assert recorded.make(3).latitude is None
    assert recorded.make(0).transaction_time == START.replace(tzinfo=UTC)


def test_a_few_refusals_are_told_and_many_are_a_mistake(asked: Command) -> None:
    rows = make_rows()
    rows[7]["AMOUNT"] = 0.0
    file, mapping = write(rows)
    outcome = asked("fraud", "replay", file, "-m", mapping)
    assert outcome.code == 0
    assert "1 were refused; the first: transaction 8 of the file by time: amount_minor" in (
        outcome.out
    )
    for row in rows:
        row["AMOUNT"] = -1.0
    file, mapping = write(rows)
    known = asked("fraud", "replay", file, "-m", mapping)
    assert known.code == 1
    assert "replay into a new store" in known.err
    file, mapping = write(rows, MAPPING.replace("tx-", "ty-"))
    outcome = asked("fraud", "replay", file, "-m", mapping)
    assert outcome.code == 1
    assert "transactions were refused; the first: transaction " in outcome.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("columns:", "colums:"), "unknown field `colums`"),
        (("  card: CUSTOMER", "  kard: CUSTOMER"), "did you mean 'card'?"),
        (("  card: CUSTOMER\n", ""), "nothing says what is card"),
        (("  amount: AMOUNT\n", ""), "nothing says what is amount"),
        (("present_values: [CP]\n", ""), "needs `present_values`"),
        (("delay: 2d", "delay: soon"), "labels.delay: 'soon'"),
        (("score_from: 2018-06-13", "score_from: once"), "score_from: 'once'"),
        (("AMOUNT", "BETRAG"), "it has no column BETRAG"),
        (("columns:", "columns: ["), "mapping.yaml: "),
        (("labels: {delay: 2d}", "shift: days"), "expected `weeks`, or a number of weeks"),
    ],
)
def test_a_wrong_mapping_is_named(asked: Command, change: tuple[str, str], words: str) -> None:
    file, mapping = write(make_rows(), MAPPING.replace(*change))
    outcome = asked("fraud", "replay", file, "-m", mapping)
    assert outcome.code == 1
    assert words in outcome.err


@pytest.mark.parametrize(
    ("column", "what", "wrong", "told"),
    [
        ("AMOUNT", "amount", "1_0.50", "'1_0.50' 'EUR' is no amount"),
        ("AMOUNT", "amount_minor", "1_000", "amount_minor: '1_000' is not right"),
        ("AMOUNT", "amount_minor", "12.5", "amount_minor: '12.5' is not right"),
        ("AMOUNT", "amount_minor", None, "amount_minor: 'None' is not right"),
        ("MCC", "mcc", "5_999", "mcc: '5_999' is not right; expected a whole number"),
        ("PLACE", "latitude", "5_2.5", "latitude: '5_2.5' is not right; expected a number"),
    ],
)
def test_a_number_that_is_none_is_named_with_its_row(
    asked: Command, column: str, what: str, wrong: str | None, told: str
) -> None:
    rows = [row | {"AMOUNT": "12", "MCC": "5999", "PLACE": "52.5"} for row in make_rows()[:5]]
    rows[3] = rows[3] | {column: wrong}
    mapping = MAPPING.replace(", mcc: 5999", "").replace("  amount: AMOUNT\n", "")
    columns = {"amount": "AMOUNT", "mcc": "MCC"} | {what: column}
    if what == "amount_minor":
        del columns["amount"]
    for name, each in columns.items():
        mapping = mapping.replace("columns:\n", f"columns:\n  {name}: {each}\n")
    file, mapped = write(rows, mapping)
    outcome = asked("fraud", "replay", file, "-m", mapped)
    assert outcome.code == 1
    # They are written in reverse.
    assert f"week.parquet: row 2: {told}" in outcome.err


def test_a_file_that_is_none_is_named(asked: Command) -> None:
    _, mapping = write(make_rows())
    Path("cut.parquet").write_bytes(Path("week.parquet").read_bytes()[:500])
    for file in ("nowhere.parquet", "cut.parquet"):
        outcome = asked("fraud", "replay", file, "-m", mapping)
        assert outcome.code == 1
        assert file in outcome.err


def test_without_a_server_it_says_so(command: Command) -> None:
    file, mapping = write(make_rows())
    outcome = command("fraud", "replay", file, "-m", mapping, "--server", "127.0.0.1:1")
    assert outcome.code == 1
    assert "no Instanter server answers at 127.0.0.1:1" in outcome.err
