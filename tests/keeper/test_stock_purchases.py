"""Movements that follow from events: what was bought leaves the shelf once, by whichever door."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instanter.errors import AlreadyExistsError, DamagedError, InvalidFieldError
from instanter.keeper.events import EventCounts, GivenEvent
from instanter.keeper.stock_movements import MovementCounts
from instanter.stock.questions import DataError, MovementKind
from instanter.store.databases import STOCK_POSITIONS
from instanter.store.stock_positions import position_key
from instanter.store.transaction import Transaction
from tests.keeper.stockroom import (
    DAY_NS,
    MINUTE_NS,
    NOW_NS,
    STOCK,
    Stockroom,
    move,
    open_stockroom,
    tell,
)

SALE, RECEIPT = MovementKind.SALE, MovementKind.RECEIPT


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Stockroom]:
    with open_stockroom(tmp_path / "store") as opened:
        opened.publish()
        opened.record(move("r", RECEIPT, 10, unit="COFFEE"))
        opened.tick()
        yield opened


def bought(event_id: str, kind: str = "purchase", **fields: Any) -> GivenEvent:
    """Return the purchase of a coffee in Berlin, but for what is given; None leaves a field out."""
    said = {"sku": "COFFEE", "store": "berlin", **fields}
    given = {name: value for name, value in said.items() if value is not None}
    return GivenEvent(event_id, "anna", kind, None, given)


def coffee(room: Stockroom) -> int:
    return room.on_hand(unit="COFFEE")


def test_what_was_bought_has_left_the_shelf_once(room: Stockroom) -> None:
    assert room.buy(bought("e1"), bought("e2", quantity=3.0), bought("e1")) == EventCounts(2, 1)
    assert coffee(room) == 6
    assert room.buy(bought("e1"), bought("e2", quantity=3.0)) == EventCounts(0, 2)
    assert coffee(room) == 6


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        ({"quantity": -2.0}, 2),
        ({"quantity": 2.0, "back": True}, 2),
        ({"quantity": -2.0, "back": True}, -2),
        ({"back": False}, -1),
        ({"quantity": 0.0}, 0),
        ({"sku": None}, 0),
        ({"sku": "CUP"}, 0),
        ({"store": None}, 0),
        ({"store": "online"}, 0),
        ({"kind": "visit", "sku": None, "store": None}, 0),
    ],
)
def test_what_follows_from_an_event_is_as_the_catalogue_says(
    room: Stockroom, fields: dict[str, Any], change: int
) -> None:
    assert room.buy(bought("e", **fields)) == EventCounts(1, 0)
    assert coffee(room) == 10 + change


@pytest.mark.parametrize("units", [0.5, 2e9, -1e18])
def test_a_part_of_a_unit_cannot_be_bought(room: Stockroom, units: float) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        room.buy(bought("good"), bought("bad", quantity=units))
    assert caught.value.field == 'events[1].fields["quantity"]'
    assert coffee(room) == 10


@pytest.mark.parametrize("line", [7.5, -1.0, 16_777_216.0, 4e12])
def test_a_number_that_is_like_others_names_no_movement(room: Stockroom, line: float) -> None:
    assert room.buy(bought("good", line=16_777_215.0)) == EventCounts(1, 0)
    with pytest.raises(InvalidFieldError) as caught:
        room.buy(bought("e1", line=8.0), bought("e2", line=line))
    assert caught.value.field == 'events[1].fields["line"]'
    assert caught.value.reason == "EVENT_MOVEMENT_ID_INVALID"
    assert coffee(room) == 9


@pytest.mark.parametrize("event_first", [True, False])
@pytest.mark.parametrize("line", [None, 7.0])
def test_a_sale_that_comes_by_both_doors_counts_once(
    room: Stockroom, event_first: bool, line: float | None
) -> None:
    event = bought("e1", quantity=2.0, line=line)
    movement = move("e1" if line is None else "7", SALE, 2, unit="COFFEE")
    if event_first:
        assert room.buy(event) == EventCounts(1, 0)
        assert room.record(movement) == MovementCounts(0, 1)
    else:
        assert room.record(movement) == MovementCounts(1, 0)
        assert room.buy(event) == EventCounts(1, 0)
    assert coffee(room) == 8
    assert room.view(unit="COFFEE").figures.data_errors == DataError(0)
    assert (room.buy(event), room.record(movement)) == (EventCounts(0, 1), MovementCounts(0, 1))
    assert coffee(room) == 8


def test_what_was_bought_behind_a_count_in_the_same_millisecond_is_not_in_it(
    room: Stockroom,
) -> None:
    room.record(move("c", MovementKind.COUNT, 8, unit="COFFEE"))
    assert room.buy(bought("e1"), bought("e2", quantity=3.0)) == EventCounts(2, 0)
    assert coffee(room) == 4


def test_an_event_is_forgotten_before_the_movement_that_followed_from_it(room: Stockroom) -> None:
    assert room.buy(bought("e")) == EventCounts(1, 0)
    for day, recorded in ((29, MovementCounts(0, 1)), (31, MovementCounts(1, 0))):
        room.clock.time_ns = NOW_NS + day * DAY_NS
        room.buy(bought(f"z{day}"))
        assert room.record(move("e", SALE, 1, unit="COFFEE")) == recorded
        # The event's own id was promised for a day: it counts again, what it moved does not.
        assert room.buy(bought("e")) == EventCounts(1, 0)
    assert coffee(room) == 10 - 1 - 2 - 1


def test_lines_of_one_receipt_count_once_whatever_events_tell_of_them(room: Stockroom) -> None:
    assert room.buy(bought("e1", line=7.0), bought("e2", line=7.0)) == EventCounts(2, 0)
    assert coffee(room) == 9
    assert room.buy(bought("e3", line=8.0), bought("e4", line=7.0)) == EventCounts(2, 0)
    assert coffee(room) == 8


def test_an_event_that_contradicts_a_movement_is_recorded_and_told(room: Stockroom) -> None:
    room.record(move("e1", SALE, 2, unit="COFFEE"))
    told = len(room.transitions())
    assert room.buy(bought("e1", quantity=3.0)) == EventCounts(1, 0)
    assert coffee(room) == 8, "only what was told first has moved"
    assert room.view(unit="COFFEE").figures.data_errors == DataError.CONFLICT
    assert tell(room.transitions(told)) == [("RAISED", "DATA_ERROR", "SERIOUS", "COFFEE")]
    (alert,) = room.open_alerts()
    assert alert.hints[-1].data_error == DataError.CONFLICT
    with pytest.raises(AlreadyExistsError) as caught:
        room.record(move("e1", SALE, 3, unit="COFFEE"))
    assert caught.value.reason == "MOVEMENT_ID_CONFLICT"


def test_events_are_facts_what_is_not_there_is_short(room: Stockroom) -> None:
    assert room.buy(bought("e1", quantity=12.0), bought("e2")) == EventCounts(2, 0)
    figures = room.view(unit="COFFEE").figures
    assert (figures.on_hand, figures.shortfall) == (0, 3)
    assert figures.data_errors == DataError.SHORTFALL
    assert ("RAISED", "DATA_ERROR", "SERIOUS", "COFFEE") in tell(room.transitions())
    room.clock.time_ns += MINUTE_NS
    room.record(move("c", MovementKind.COUNT, 0, unit="COFFEE"))
    figures = room.view(unit="COFFEE").figures
    assert (figures.on_hand, figures.shortfall, figures.data_errors) == (0, 0, DataError(0))
    assert [alert.cause.name for alert in room.open_alerts()] == ["STOCK_OUT"]


def test_what_was_bought_at_a_damaged_position_is_recorded_all_the_same(room: Stockroom) -> None:
    key = position_key("berlin", "COFFEE")
    room.record(move("t", RECEIPT, 10, unit="TEA"))

    def change(transaction: Transaction) -> None:
        value = bytes(transaction.get(STOCK_POSITIONS, key) or b"")
        transaction.put(STOCK_POSITIONS, key, value[:30] + b"\7" + value[31:])

    room.desk.kept.state.write(change)
    assert room.buy(bought("e1"), bought("e2", sku="TEA"), bought("e3")) == EventCounts(3, 0)
    assert room.on_hand(unit="TEA") == 9
    assert "COFFEE" not in [each.alert.position.unit for each in room.transitions()]
    with pytest.raises(DamagedError):
        coffee(room)


def test_a_catalogue_without_purchases_leaves_stock_alone(room: Stockroom) -> None:
    start = STOCK.index("  purchases:")
    room.publish(STOCK[:start] + STOCK[STOCK.index("  alerts:") :])
    assert room.buy(bought("e1")) == EventCounts(1, 0)
    assert coffee(room) == 10
