"""Movements that follow from events: what was bought has left the shelf.

Events are facts: nothing here refuses one for what its position holds. What is not there is taken
into the position's shortfall, and an id that stands for something else into its data errors.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.events import EventKind
from instanter.catalogue.schema import MISSING_CODE, AttributeKind
from instanter.catalogue.stock import PurchaseMapping, StockPlan
from instanter.errors import InvalidFieldError
from instanter.keeper.stock_desk import StockDesk, Table, load_table, put_behind_counts
from instanter.keeper.stock_movements import (
    is_same,
    make_digest,
    mark_event,
    movement_key,
    pack_moves,
)
from instanter.kernels.stock_rows import MOVE_POSITION
from instanter.stock.questions import Movement, MovementKind
from instanter.stock_limits import EVENT_MOVEMENT_NUMBER_MAX, STOCK_UNITS_AMOUNT_MAX
from instanter.store.event_ids import find_event_digest
from instanter.store.transaction import Transaction

_PATTERN: Final = struct.Struct("<I")
_NUMBER: Final = struct.Struct("<f")
_PATTERNS_AT: Final = 8
"""Where the patterns of an encoded event begin: behind its kind and their number."""


class Purchase(NamedTuple):
    """One event of a kind that movements follow from.

    Attributes
    ----------
    place
        Which of the batch.
    event_id
        Its id.
    kind
        Name of its kind.
    encoded
        What `EventEngine.encode` returned.
    time_ms
        When it counts as having happened, milliseconds since 1970.
    """

    place: int
    event_id: str
    kind: str
    encoded: bytes
    time_ms: int


class _Moved(NamedTuple):
    """A movement that follows from an event, with its id; none to remember for a conflict."""

    movement: Movement
    movement_id: str
    key: bytes
    digest: bytes


class Purchased(NamedTuple):
    """What follows from the events of a batch.

    Attributes
    ----------
    body
        What the record says of it.
    table
        What that needs, as it is before the record.
    ids
        Keys and digests of the movements' ids.
    """

    body: dict[str, Any]
    table: Table
    ids: list[tuple[bytes, bytes]]


def find_purchased(
    transaction: Transaction,
    desk: StockDesk,
    catalogue: CompiledCatalogue,
    purchases: Sequence[Purchase],
    now_ms: int,
) -> Purchased | None:
    """Return what follows from the events of a batch that were not recorded before, or None.

    Parameters
    ----------
    transaction
        The store.
    desk, catalogue
        The catalogue in force, which declares stock.
    purchases
        Events of kinds that movements follow from.
    now_ms
        The server's time, milliseconds since 1970.

    Raises
    ------
    InvalidFieldError
        An event says that a part of a unit was bought, or names its movement by what is no id; the
        field names its index.
    """
    plan = desk.open(catalogue)
    kinds = {kind.name: kind for kind in catalogue.events if not kind.withdrawn}
    known: dict[bytes, bytes] = {}
    moved: list[_Moved] = []
    for purchase in purchases:
        found = _find_movement(plan, kinds[purchase.kind], purchase)
        if found is None:
            continue
        movement, movement_id = found
        key = movement_key(movement_id)
        said = (movement.kind, movement.site, movement.unit, movement.units)
        digest = mark_event(make_digest(*said, "", 0))
        present = known.get(key) or find_event_digest(transaction, key)
        if present is None:
            known[key] = digest
            moved.append(_Moved(movement, movement_id, key, digest))
        elif not is_same(present, digest):
            movement.kind = MovementKind.CONFLICT
            moved.append(_Moved(movement, "", b"", b""))
    return _lay_out(transaction, desk, moved, now_ms)


def _lay_out(
    transaction: Transaction, desk: StockDesk, moved: list[_Moved], now_ms: int
) -> Purchased | None:
    """Return movements with the rows they need, without those that cannot be carried out.

    Nothing can be written into a damaged position, and none can hold more than 10^15 units.
    """
    while moved:
        batch = desk.engine.lay_out([each.movement for each in moved])
        table = load_table(transaction, batch)
        put_behind_counts(table, now_ms)
        positions = batch.rows[:, MOVE_POSITION].tolist()
        lost = {at for at, index in enumerate(positions) if index in table.positions.damaged}
        refusal = None if lost else desk.engine.check(batch, table.states)
        if refusal is not None:
            lost.add(refusal.movement_index)
        if not lost:
            kept = [each for each in moved if each.movement_id]
            digests = b"".join([each.digest for each in kept])
            body = pack_moves(table, [each.movement_id for each in kept], digests, ())
            return Purchased(body, table, [(each.key, each.digest) for each in kept])
        moved = [each for index, each in enumerate(moved) if index not in lost]
    return None


def _find_movement(
    plan: StockPlan, kind: EventKind, purchase: Purchase
) -> tuple[Movement, str] | None:
    """Return the movement that follows from an event and its id; None when none does.

    Raises
    ------
    InvalidFieldError
        It says that a part of a unit was bought, or names its movement by what is no id.
    """
    mapping = plan.purchases[purchase.kind]
    unit_index = _find_index(purchase.encoded, mapping.unit_index, mapping.units_of_values)
    site_index = mapping.fixed_site
    if mapping.site_index >= 0:
        site_index = _find_index(purchase.encoded, mapping.site_index, mapping.sites_of_values)
    units = _count_units(mapping, kind, purchase)
    if unit_index < 0 or site_index < 0 or units == 0:
        return None
    flag = _find_pattern(purchase.encoded, mapping.return_index)
    returned = (units < 0) != (flag == 1)
    movement = Movement(
        MovementKind.RETURN if returned else MovementKind.SALE,
        plan.sites[site_index].name,
        plan.units[unit_index].name,
        abs(units),
        purchase.time_ms,
        is_fact=True,
    )
    return movement, _find_movement_id(mapping, kind, purchase)


def _find_pattern(encoded: bytes, index: int) -> int:
    """Return a field's pattern; `MISSING_CODE` when the event does not have it."""
    at = _PATTERNS_AT + 4 * index
    if index < 0 or index >= _PATTERN.unpack_from(encoded, 4)[0]:
        return MISSING_CODE
    (pattern,) = _PATTERN.unpack_from(encoded, at)
    return int(pattern)


def _find_index(encoded: bytes, index: int, indices: Sequence[int]) -> int:
    """Return what a category's value stands for, -1 for nothing."""
    code = _find_pattern(encoded, index)
    return indices[code] if code < len(indices) else -1


def _find_number(encoded: bytes, index: int) -> float | None:
    """Return a number, or None when the event does not have it."""
    pattern = _find_pattern(encoded, index)
    if pattern == MISSING_CODE:
        return None
    return float(_NUMBER.unpack(_PATTERN.pack(pattern))[0])


def _count_units(mapping: PurchaseMapping, kind: EventKind, purchase: Purchase) -> int:
    """Return how many units an event says, below 0 when they came back; 1 when it does not say.

    Raises
    ------
    InvalidFieldError
        It is no whole number of units.
    """
    number = _find_number(purchase.encoded, mapping.units_index)
    if number is None:
        return 1
    if not number.is_integer() or abs(number) > STOCK_UNITS_AMOUNT_MAX:
        name = kind.fields[mapping.units_index].name
        raise InvalidFieldError(
            f'events[{purchase.place}].fields["{name}"]',
            number,
            f"a whole number of units, at most {STOCK_UNITS_AMOUNT_MAX:,}: stock follows from it",
            reason="EVENT_UNITS_INVALID",
        )
    return int(number)


def _find_movement_id(mapping: PurchaseMapping, kind: EventKind, purchase: Purchase) -> str:
    """Return the id of an event's movement: what the named field says, or the event's own.

    Raises
    ------
    InvalidFieldError
        It is no number that could be told apart from its neighbours.
    """
    index = mapping.movement_id_index
    pattern = _find_pattern(purchase.encoded, index)
    if pattern == MISSING_CODE:
        return purchase.event_id
    field = kind.fields[index]
    if field.kind == AttributeKind.CATEGORY:
        return field.values[pattern]
    number = _find_number(purchase.encoded, index)
    assert number is not None, "it is there"
    if not number.is_integer() or not 0.0 <= number <= EVENT_MOVEMENT_NUMBER_MAX:
        raise InvalidFieldError(
            f'events[{purchase.place}].fields["{field.name}"]',
            number,
            f"a whole number from 0 to {EVENT_MOVEMENT_NUMBER_MAX:,}: it is a movement's id",
            reason="EVENT_MOVEMENT_ID_INVALID",
        )
    return str(int(number))
