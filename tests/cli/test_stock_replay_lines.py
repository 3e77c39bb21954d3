"""What a replay of movements reads of a file, leaves out, and draws where there is no stock."""

import gzip
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instanter.cli.failures import CommandError
from instanter.cli.stock_replay.lines import LineRejectedError, RecordedLines, load_lines
from instanter.cli.stock_replay.mapping import load_movement_mapping
from instanter.cli.stock_replay.stocking import DAY_US, OpeningStock, StockDrawing
from instanter.client import StockMovement, StockMovementKind
from tests.cli.outcomes import Command

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MAPPING = """\
columns: {time: WHEN, unit: CODE, units: QUANTITY}
constants: {site: uk, kind: sale}
prefixes: {movement_id: or-}
"""
ROWS = [
    ("2011-12-02 10:00:00", "b", 3),
    ("2011-12-01 10:00:00", "a", 2),
    ("2011-12-01 11:00:00", "a", -1),
    ("2011-12-01 12:00:00", "BANK/CHARGES", 1),
    ("2011-12-01 13:00:00", "a", 0),
    ("2011-12-01 14:00:00", "a", 1.5),
    ("2011-12-01 15:00:00", "a", None),
]


def load(
    tmp_path: Path, rows: Sequence[tuple[Any, ...]] = ROWS, mapping: str = MAPPING, **given: Any
) -> RecordedLines:
    (tmp_path / "mapping.yaml").write_text(mapping)
    columns = zip(*rows, strict=True)
    names = ("WHEN", "CODE", "QUANTITY", "KIND", "TO")
    table = pa.table({name: list(values) for name, values in zip(names, columns, strict=False)})
    pq.write_table(table, tmp_path / "sales.parquet")
    return load_lines(
        tmp_path / "sales.parquet", load_movement_mapping(tmp_path / "mapping.yaml"), NOW, **given
    )


def make_all(lines: RecordedLines) -> list[StockMovement | str]:
    found: list[StockMovement | str] = []
    for row in range(len(lines)):
        try:
            found.append(lines.make(row))
        except LineRejectedError as error:
            found.append(error.reason)
    return found


def test_lines_are_read_in_the_order_of_their_times(tmp_path: Path) -> None:
    lines = load(tmp_path)
    assert lines.numbers.tolist() == [2, 3, 4, 5, 6, 7, 1]
    made = make_all(lines)
    first = made[0]
    assert isinstance(first, StockMovement)
    assert (first.movement_id, first.site, first.stock_keeping_unit) == ("or-2", "uk", "a")
    # Whole weeks: weekday and time of day stay.
    moved = datetime(2011, 12, 1, 10, tzinfo=UTC) + timedelta(weeks=781)
    assert first.movement_time == moved
    last = made[-1]
    assert isinstance(last, StockMovement)
    assert last.movement_time is not None
    assert timedelta() <= NOW - last.movement_time < timedelta(weeks=1)


def test_what_is_no_movement_is_told_with_its_reason(tmp_path: Path) -> None:
    made = make_all(load(tmp_path))
    returned = made[1]
    assert isinstance(returned, StockMovement)
    assert (returned.kind, returned.units) == (StockMovementKind.RETURN, 1)
    assert made[2] == "UNIT_INVALID"
    assert made[3:6] == ["UNITS_INVALID"] * 3


def test_numbers_are_digits_and_nothing_else(tmp_path: Path) -> None:
    texts = ["1_000", " 7 ", "٥", "12.0", "1e2", "inf", "0x10"]
    rows = [(f"2011-12-01 10:00:0{n}", "a", text, "5") for n, text in enumerate(texts)]
    rows += [(f"2011-12-01 10:01:0{n}", "a", "1", text) for n, text in enumerate(["1_0", "9", ""])]
    mapping = MAPPING.replace("QUANTITY", "QUANTITY, price_minor: KIND")
    made = [
        (each.units, each.price_minor) if isinstance(each, StockMovement) else each
        for each in make_all(load(tmp_path, rows, mapping))
    ]
    assert made == [
        "UNITS_INVALID", (7, 5), "UNITS_INVALID", (12, 5), (100, 5), "UNITS_INVALID",
        "UNITS_INVALID", "PRICE_INVALID", (1, 9), (1, 0),
    ]  # fmt: skip


def test_kinds_are_the_files_own_words(tmp_path: Path) -> None:
    rows = [
        ("2011-12-01T10:00:00Z", "a", 5, "Z", ""),
        ("2011-12-01T10:00:01Z", "a", 5, "T", "dublin"),
        ("2011-12-01T10:00:02Z", "a", 5, "receipt", ""),
        ("2011-12-01T10:00:03Z", "a", 5, "X", ""),
        ("2011-12-01T10:00:04Z", "a", -5, "receipt", ""),
        ("2011-12-01T10:00:05Z", "a", -5, "A", ""),
        ("2011-12-01T10:00:06Z", "a", 0, "Z", ""),
    ]
    mapping = """\
columns: {time: WHEN, unit: CODE, units: QUANTITY, kind: KIND, destination: TO}
constants: {site: uk}
kinds: {Z: count, T: transfer, A: adjustment}
shift: 0
"""
    made = make_all(load(tmp_path, rows, mapping))
    kinds = [each.kind.name if isinstance(each, StockMovement) else each for each in made]
    assert kinds == [
        "COUNT", "TRANSFER", "RECEIPT", "KIND_UNKNOWN", "UNITS_INVALID", "ADJUSTMENT", "COUNT",
    ]  # fmt: skip
    transfer = made[1]
    assert isinstance(transfer, StockMovement)
    assert transfer.destination_site == "dublin"
    assert transfer.movement_time == datetime(2011, 12, 1, 10, 0, 1, tzinfo=UTC)


def test_the_first_so_many_by_time_are_taken(tmp_path: Path) -> None:
    assert load(tmp_path, limit=2).numbers.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ("columns: {time: WHEN}", "nothing says what is site, unit, units, kind"),
        (MAPPING.replace("unit:", "untis:"), "'untis' is nothing that a movement has"),
        (MAPPING + "kinds: {S: sael}", "did you mean 'sale'"),
        (MAPPING + "shift: days", "shift"),
        (MAPPING + "draw: {low: 3, high: 2}", "low ≤ high"),
        (MAPPING + "draw: {}\nopening_units: 5", "expected one of them"),
        (MAPPING + "opening_units: -5", "opening_units"),
        (MAPPING + "columns: [", "mapping.yaml"),
        (MAPPING.replace("time: WHEN, ", "") + "more: 1", "more"),
        ("", "mapping.yaml: it is no mapping; expected one with `columns`"),
        ("- a", "it is no mapping"),
        (MAPPING + "shift: 0\nshift: 5", "line 5: 'shift' stands there twice"),
        (MAPPING.replace("site: uk", "site: uk, site: de"), "'site' stands there twice"),
        (MAPPING + "opening_units: 1_000", "line 4: '1_000' is not right; expected digits"),
    ],
)
def test_a_mapping_with_a_mistake_is_refused(tmp_path: Path, mapping: str, told: str) -> None:
    with pytest.raises(CommandError, match=told):
        load(tmp_path, mapping=mapping)


def test_a_file_of_another_making_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    mapping = load_movement_mapping(tmp_path / "mapping.yaml")
    with gzip.open(tmp_path / "sales.csv.gz", "wt") as file:
        file.write("WHEN,CODE\n2011-12-01,a\n")
    with pytest.raises(CommandError, match="no column QUANTITY"):
        load_lines(tmp_path / "sales.csv.gz", mapping, NOW)
    with pytest.raises(CommandError, match="no movement in it"):
        load(tmp_path, [("2011-12-01", "a", 1)], limit=0)


NO_TIMES: list[list[Any]] = [
    ["2011-12-01 10:00:00", None],
    ["2011-12-01 10:00:00", ""],
    ["2011-12-01 10:00:00", "1066-10-14 09:00:00"],
    [datetime(2011, 12, 1, tzinfo=UTC), None],
    [datetime(2011, 12, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)],
    [date(2011, 12, 1), date(9999, 12, 31)],
    [1322733600, None],
    [1322733600, 1322733600000],
    [1322733600.5, float("nan")],
    [1322733600.5, float("-inf")],
]


@pytest.mark.parametrize("times", NO_TIMES)
def test_a_row_of_no_time_is_named(tmp_path: Path, times: list[Any]) -> None:
    with pytest.raises(CommandError, match=r"sales\.parquet: row 2: '.*' is no time"):
        load(tmp_path, [(time, "a", 1) for time in times])


@pytest.mark.parametrize("zone", ["-05:00", "+05:00", "Z", ""])
def test_texts_may_have_any_zone(tmp_path: Path, zone: str) -> None:
    hours = int(zone[:3]) if ":" in zone else 0
    lines = load(tmp_path, [(f"2011-12-01 10:00:00{zone}", "a", 1)])
    told = datetime(2011, 12, 1, 10, tzinfo=UTC) - timedelta(hours=hours)
    assert lines.times_us[0] == told.timestamp() * 1e6


def test_stock_arrives_before_the_first_movement_of_each_position(tmp_path: Path) -> None:
    lines = load(tmp_path, mapping=MAPPING + "opening_units: 500\n")
    opening = OpeningStock(lines)
    first, again = lines.make(0), lines.make(1)
    made = opening.make_before(first)
    assert made is not None
    assert (made.kind, made.units, made.movement_time) == (
        StockMovementKind.RECEIPT, 500, first.movement_time,
    )  # fmt: skip
    assert opening.make_before(again) is None
    assert OpeningStock(lines).make_before(first) == made


def test_stock_is_drawn_by_the_protocol(tmp_path: Path) -> None:
    """Of two units every fourth day; the mean is that of the last three days, zeroes too."""
    rows = [
        (f"2011-12-{day:02}T10:00:00Z", unit, units)
        for day in range(1, 10)
        for unit, units in (("a", day), ("b", 10 if day % 2 else 0))
        if units
    ]
    draw = "draw: {lead_days: 4, mean_of_days: 3, low: 0.5, high: 2.5, seed: 7}\nshift: 0\n"
    lines = load(tmp_path, rows, MAPPING + draw)
    assert lines.mapping.draw is not None
    drawing = StockDrawing(lines, lines.mapping.draw)
    random = np.random.default_rng(7)
    on_hand = {"a": 0, "b": 0}
    drawn_days = []
    for row in range(len(lines)):
        day = int(lines.times_us[row] // DAY_US)
        drawn = list(drawing.begin_day(day))
        if drawn:
            begin = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).day
            drawn_days.append(begin)
            means = {
                "a": np.mean([begin - 3, begin - 2, begin - 1]),
                "b": np.mean([10 if past % 2 else 0 for past in range(begin - 3, begin)]),
            }
            numbers = random.uniform(0.5, 2.5, 2)
            for movement, number in zip(drawn, numbers, strict=True):
                unit = movement.stock_keeping_unit
                assert movement.kind is StockMovementKind.ADJUSTMENT
                on_hand[unit] += movement.units
                assert on_hand[unit] == round(means[unit] * 4 * number)
                drawing.note(movement)
        movement = lines.make(row)
        on_hand[movement.stock_keeping_unit] -= movement.units
        drawing.note(movement)
    assert drawn_days == [5, 9]


def test_a_file_declares_its_sites_and_units(command: Command) -> None:
    Path("mapping.yaml").write_text(
        "columns: {time: WHEN, site: SHOP, unit: CODE, units: Q, category: GROUP}\n"
        "constants: {kind: sale}\nprefixes: {site: s-}\n"
    )
    Path("sales.csv").write_text(
        "WHEN,SHOP,CODE,Q,GROUP\n2011-12-01,1,22,3,tea\n2011-12-02,2,11,3,\n2011-12-03,1,a/b,3,x\n"
    )
    words = ("stock", "replay", "sales.csv", "-m", "mapping.yaml", "--declare", "shop/stock.yaml")
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert outcome.out == "shop/stock.yaml: 2 sites, 2 units\n"
    assert Path("shop/stock.yaml").read_text() == (
        "stock:\n  sites:\n    s-1: {}\n    s-2: {}\n"
        "  units:\n    '11': {}\n    '22':\n      category: tea\n"
    )
    assert command(*words).code == 1


def test_a_file_of_bytes_is_refused_and_leaves_the_terminal_alone(command: Command) -> None:
    Path("sales.csv").write_bytes(b"a,b\n\x1b]0;owned\x07\n1,2,3\x00\n")
    Path("mapping.yaml").write_text(MAPPING)
    outcome = command("stock", "replay", "sales.csv", "-m", "mapping.yaml")
    assert outcome.code == 1
    assert outcome.err.startswith("error: sales.csv: it is neither Parquet nor CSV: ")
    assert outcome.err.replace("\n", "").isprintable()
    assert "\\x1b]0;owned\\x07" in outcome.err
