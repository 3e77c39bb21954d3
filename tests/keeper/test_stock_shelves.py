"""What decisions read of stock follows movements and publications."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from instanter.stock.questions import MovementKind
from instanter.store.databases import STOCK_SHELVES
from instanter.store.stock_shelves import find_shelf, scan_shelves, shelf_key, unpack_shelf
from tests.keeper.stockroom import SHOP, STOCK, Stockroom, move, open_stockroom

OFFERED = f"{STOCK}  offers: {{site_is: berlin}}\n"
TEA = """\
  - {name: tea, treatments: [{channel: web}], value_minor: 100, stock_keeping_unit: TEA}
events:
"""
BOTH = SHOP.replace("events:\n", TEA)
NEITHER = SHOP.replace("stock_keeping_unit: COFFEE", "title: Espresso")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Stockroom]:
    with open_stockroom(tmp_path / "store") as opened:
        opened.publish(OFFERED)
        yield opened


def shelves(room: Stockroom) -> dict[str, dict[str, int]]:
    """Return site to unit to what is available, as decisions find it."""
    plan = room.catalogue().stock
    assert plan is not None
    names = {unit.code: unit.name for unit in plan.units}
    found: dict[str, dict[str, int]] = {}
    with room.desk.kept.state.read() as transaction:
        for site in scan_shelves(transaction):
            shelf = unpack_shelf(find_shelf(transaction, site) or b"")
            found[site] = {
                names.get(code, str(code)): available
                for code, available in zip(
                    shelf.codes.tolist(), shelf.available.tolist(), strict=True
                )
            }
    return found


def receive(room: Stockroom, name: str, units: int, unit: str, site: str = "berlin") -> None:
    room.record(move(name, MovementKind.RECEIPT, units, unit=unit, site=site))


def test_a_movement_tells_what_is_available_of_stocked_units(room: Stockroom) -> None:
    assert shelves(room) == {}
    receive(room, "a", 5, "COFFEE")
    receive(room, "b", 7, "TEA")
    assert shelves(room) == {"berlin": {"COFFEE": 5}}
    room.record(
        move("c", MovementKind.TRANSFER, 2, unit="COFFEE", to="paris"),
        move("d", MovementKind.RESERVATION, 1, unit="COFFEE"),
    )
    assert shelves(room) == {"berlin": {"COFFEE": 2}, "paris": {"COFFEE": 2}}


def test_an_offer_tied_to_another_unit_finds_it_on_the_shelf(room: Stockroom) -> None:
    receive(room, "a", 5, "COFFEE")
    receive(room, "b", 7, "TEA")
    receive(room, "c", 1, "TEA", site="paris")
    before = room.view("paris", "TEA")
    room.publish(OFFERED, BOTH)
    assert shelves(room) == {"berlin": {"COFFEE": 5, "TEA": 7}, "paris": {"TEA": 1}}
    assert room.view("paris", "TEA") == before


def test_stock_that_begins_to_tell_on_offers_is_there_at_once(room: Stockroom) -> None:
    room.publish(STOCK)
    receive(room, "a", 5, "COFFEE")
    assert shelves(room) == {}
    room.publish(OFFERED)
    assert shelves(room) == {"berlin": {"COFFEE": 5}}


def test_a_unit_that_comes_back_is_as_it_is_then(room: Stockroom) -> None:
    receive(room, "a", 5, "COFFEE")
    room.publish(OFFERED, NEITHER)
    room.record(move("b", MovementKind.SALE, 5, unit="COFFEE"))
    room.publish(OFFERED)
    assert shelves(room) == {"berlin": {"COFFEE": 0}}


def test_what_nobody_keeps_up_goes_with_the_next_publication(room: Stockroom) -> None:
    receive(room, "a", 5, "COFFEE")
    room.publish(OFFERED, NEITHER)
    room.publish(STOCK, NEITHER)
    assert shelves(room) == {}


def test_where_there_are_too_many_positions_the_sweep_brings_them(
    room: Stockroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instanter.keeper.stock_shelving.RESHELVED_POSITIONS_MAX", 2)
    receive(room, "a", 5, "COFFEE")
    receive(room, "b", 7, "TEA")
    room.publish(OFFERED, BOTH)
    assert shelves(room) == {"berlin": {"COFFEE": 5}}
    room.tick()
    assert shelves(room) == {"berlin": {"COFFEE": 5, "TEA": 7}}


def test_a_damaged_row_goes_and_comes_back(room: Stockroom) -> None:
    receive(room, "a", 5, "COFFEE")
    room.desk.kept.state.write(lambda t: t.put(STOCK_SHELVES, shelf_key("berlin"), b"\1" * 16))
    room.publish(OFFERED, NEITHER)
    assert shelves(room) == {}
    room.publish(OFFERED)
    assert shelves(room) == {"berlin": {"COFFEE": 5}}
