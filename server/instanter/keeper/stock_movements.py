"""Movements of stock: how a batch of them becomes a record, and what that does to positions."""

import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import google_crc32c
import numpy as np

from instanter.catalogue.instants import format_instant
from instanter.errors import (
    AlreadyExistsError,
    InvalidFieldError,
    PreconditionError,
    show,
)
from instanter.keeper.commands import Answered, ApplyContext
from instanter.keeper.records import RecordKind
from instanter.keeper.stock_desk import (
    Prepared,
    StockDesk,
    Table,
    gather,
    load_table,
    put_behind_counts,
)
from instanter.keeper.stock_effects import MS_NS, Effects
from instanter.kernels.stock_rows import MOVE_COLUMNS, MOVE_POSITION, MOVE_TIME
from instanter.limits import EVENT_AHEAD_NS_MAX, EXPIRED_KEYS_PER_RECORD
from instanter.stock.questions import Movement, MovementKind, Refusal, RefusalReason
from instanter.stock_limits import MOVEMENT_IDS_KEPT_NS
from instanter.store.event_ids import (
    EVENT_ID_QUEUE,
    event_id_key,
    find_event_digest,
    put_event_ids,
)
from instanter.store.expiry import drop_expired
from instanter.store.log.frames import LogRecord
from instanter.store.stock_positions import HEAD_PRICE, HEAD_PRICE_BEFORE, HEAD_PRICE_MS
from instanter.store.transaction import Transaction

_S_NS: Final = 1_000_000_000
_NO_TIME: Final = -1
"""Stands in a movement's digest for a time that its sender left to us."""
_DIGEST: Final = struct.Struct("<BiII")
_CORE_SIZE_BYTES: Final = _DIGEST.size
_TIME_SIZE_BYTES: Final = 16 - _CORE_SIZE_BYTES
_UNITS_END: Final = (1 << 31) - 1
"""No movement has so many units."""
_TIMES: Final = (1 << 8 * _TIME_SIZE_BYTES) - 3
"""A prime: times that differ by whole seconds have different remainders."""
_FROM_EVENT: Final = b"\xff" * _TIME_SIZE_BYTES
"""Stands for the time of a movement that came as an event, which has been checked as one."""
_KINDS: Final = {int(kind): kind for kind in MovementKind}
_FIELD_INDEX: Final = re.compile(r"^movements\[(\d+)\]")


class GivenMovement(NamedTuple):
    """One movement as its sender gave it. A tuple: thousands of them are made a second.

    Attributes
    ----------
    movement_id
        1 to 64 printable ASCII characters, checked.
    kind
        A `stock.questions.MovementKind` of the contract, checked.
    site, unit
        Names, unchecked.
    units
        An int64, unchecked.
    time_ns
        When it happened, nanoseconds since 1970, at least 0; None for when it is recorded.
    destination_site
        Name, unchecked; empty for none.
    price_minor
        Price in minor units, 0 to 10^12, checked; 0 for none.
    """

    movement_id: str
    kind: int
    site: str
    unit: str
    units: int
    time_ns: int | None
    destination_site: str = ""
    price_minor: int = 0


class MovementCounts(NamedTuple):
    """What became of a batch of movements.

    Attributes
    ----------
    recorded_count
        Movements that are recorded now and were not before.
    duplicate_count
        Movements that had been recorded before, or stand in the batch twice.
    """

    recorded_count: int
    duplicate_count: int


@dataclass(frozen=True, slots=True, eq=False)
class RecordStockMovements:
    """Records movements of stock, all of them or none; its result is the `MovementCounts`.

    Attributes
    ----------
    read_movements
        Returns the movements, 1 to `stock_limits.MOVEMENTS_BATCH_MAX`; raises an `InstanterError`
        when one of them cannot be read.
    """

    read_movements: Callable[[], Sequence[GivenMovement]]

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.STOCK_MOVEMENTS

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check the movements, leave out those recorded before, and return the record's body.

        Raises
        ------
        CatalogueMissingError, PreconditionError
            There is no catalogue, or it says nothing about stock (STOCK_MISSING); the stock of a
            position does not allow a movement (STOCK_NEGATIVE, STOCK_NOT_AVAILABLE and others).
        InvalidFieldError
            A movement cannot be; the field names its index.
        AlreadyExistsError
            A movement's id was recorded with something else; reason MOVEMENT_ID_CONFLICT.
        DamagedError
            What is remembered of a movement's id, or a position, is damaged.
        """
        desk = context.stock
        desk.open(context.published.load(transaction))
        given = self.read_movements()
        fresh = _find_fresh(transaction, given)
        if not fresh:
            return Answered(MovementCounts(0, len(given)))
        assert desk.plan is not None, "it is open"
        late_ns = desk.plan.behind_max_s * _S_NS
        movements = _make_movements(given, fresh, now_ns, late_ns)
        try:
            batch = desk.engine.lay_out(movements)
        except InvalidFieldError as error:
            raise _replace_index(error, fresh) from None
        table = load_table(transaction, batch)
        table.positions.check()
        put_behind_counts(table, now_ns // MS_NS)
        refusal = desk.engine.check(batch, table.states)
        if refusal is not None:
            raise _refuse(refusal, table, fresh)
        ids = [given[index].movement_id for index, _, _ in fresh]
        digests = b"".join([digest for _, _, digest in fresh])
        packed = context.pack(
            {
                "stock": pack_moves(table, ids, digests, _list_prices(given, fresh)),
                "duplicates": len(given) - len(fresh),
            }
        )
        desk.prepared = Prepared(packed, table, [(key, digest) for _, key, digest in fresh])
        return packed


def apply_stock_movements(
    transaction: Transaction, record: LogRecord, context: ApplyContext
) -> MovementCounts:
    """Move the stock of a record's positions, and remember the movements' ids."""
    body = context.unpack(record)
    ids = apply_moves(transaction, record, context, body["stock"])
    remember_movements(transaction, record, ids)
    limit = max(EXPIRED_KEYS_PER_RECORD, 2 * len(ids))
    drop_expired(transaction, EVENT_ID_QUEUE, record.time_ns, limit)
    return MovementCounts(len(ids), body["duplicates"])


# --- What records of movements and of events have in common --------------------------------------


def pack_moves(
    table: Table, ids: Sequence[str], digests: bytes, prices: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """Return what a record says of movements, beside what else it says.

    Parameters
    ----------
    table
        Of the laid out movements.
    ids
        Ids of the movements to remember.
    digests
        16 bytes for each of them.
    prices
        Index of the movement and new price of each change of price.
    """
    return {
        "ids": ids,
        "digests": digests,
        "positions": table.batch.positions,
        "moves": table.batch.rows.tolist(),
        "prices": prices,
    }


def apply_moves(
    transaction: Transaction, record: LogRecord, context: ApplyContext, body: dict[str, Any]
) -> list[tuple[bytes, bytes]]:
    """Carry out what `pack_moves` returned; return keys and digests of the ids to remember."""
    desk = context.stock
    desk.open(context.published.load(transaction))
    table, ids = _find_prepared(transaction, record, desk, body)
    effects = Effects(transaction, desk, record, table)
    recorded = desk.engine.record(
        table.batch,
        table.states,
        table.profile_words,
        now_ms=record.time_ns // MS_NS,
        sequence=effects.next_sequence(),
    )
    for index, price in body["prices"]:
        _change_price(table, index, price)
    effects.keep(recorded)
    return ids


def _find_prepared(
    transaction: Transaction, record: LogRecord, desk: StockDesk, body: dict[str, Any]
) -> tuple[Table, list[tuple[bytes, bytes]]]:
    """Return what a record needs: loaded for it, unless it was prepared this moment."""
    prepared, desk.prepared = desk.prepared, None
    if prepared is not None and prepared.packed is record.body:
        return prepared.table, prepared.ids
    digests = body["digests"]
    ids = [
        (movement_key(movement_id), digests[16 * at : 16 * at + 16])
        for at, movement_id in enumerate(body["ids"])
    ]
    moves = np.array(body["moves"], np.int64).reshape(-1, MOVE_COLUMNS)
    positions = [(site, unit) for site, unit in body["positions"]]
    return load_table(transaction, gather(desk.engine, positions, moves)), ids


def _change_price(table: Table, index: int, price: int) -> None:
    """Write down another price, unless a later one is known."""
    row = table.batch.rows[index]
    head = table.positions.words[row[MOVE_POSITION]]
    time_ms = row[MOVE_TIME]
    if time_ms >= head[HEAD_PRICE_MS]:
        if price != head[HEAD_PRICE]:
            head[HEAD_PRICE_BEFORE] = head[HEAD_PRICE]
        head[HEAD_PRICE] = price
        head[HEAD_PRICE_MS] = time_ms


# --- Ids ----------------------------------------------------------------------------------------


def remember_movements(
    transaction: Transaction, record: LogRecord, ids: Sequence[tuple[bytes, bytes]]
) -> None:
    """Remember the movements of a record, keys and digests, for as long as is promised."""
    put_event_ids(
        transaction,
        ids,
        sequence=record.sequence,
        until_ns=record.time_ns + MOVEMENT_IDS_KEPT_NS,
    )


def movement_key(movement_id: str) -> bytes:
    """Return the 16 bytes that stand for a movement's id. No event's id has a NUL."""
    return event_id_key(f"stock\0{movement_id}")


def make_digest(kind: int, site: str, unit: str, units: int, rest: str, time_ns: int) -> bytes:
    """Return 16 bytes that stand for what a movement says beside its id.

    The first 13 stand for all but the time, the others for the time or the door: so a sale that
    comes as a movement and as an event is known again, although their times may differ. Names are
    told apart by two checksums, of which chance makes both alike once in 10^19 times; a hash made
    for adversaries, who here could only hurt themselves, takes twice as long.
    """
    said = f"{site}\0{unit}\0{rest}".encode()
    return _DIGEST.pack(
        kind,
        units if -_UNITS_END < units < _UNITS_END else _UNITS_END,
        google_crc32c.value(said),
        zlib.crc32(said),
    ) + (time_ns % _TIMES).to_bytes(_TIME_SIZE_BYTES, "little")


def mark_event(digest: bytes) -> bytes:
    """Return the digest of a movement that came as an event."""
    return digest[:_CORE_SIZE_BYTES] + _FROM_EVENT


def is_same(present: bytes, digest: bytes) -> bool:
    """Return whether a movement is the one that its id was recorded with.

    Through one door it must repeat all; through the other, site, unit, kind and units.
    """
    if present == digest:
        return True
    cut = _CORE_SIZE_BYTES
    crossed = (present[cut:] == _FROM_EVENT) != (digest[cut:] == _FROM_EVENT)
    return crossed and present[:cut] == digest[:cut]


def _find_fresh(
    transaction: Transaction, given: Sequence[GivenMovement]
) -> list[tuple[int, bytes, bytes]]:
    """Return index, key and digest of the movements that were not recorded before.

    Raises
    ------
    AlreadyExistsError
        An id was recorded with something else.
    """
    known: dict[bytes, bytes] = {}
    fresh: list[tuple[int, bytes, bytes]] = []
    for index, movement in enumerate(given):
        movement_id, kind, site, unit, units, time_ns, destination, price = movement
        key = movement_key(movement_id)
        rest = f"{destination}\0{price}" if destination or price else ""
        time = _NO_TIME if time_ns is None else time_ns
        digest = make_digest(kind, site, unit, units, rest, time)
        present = known.get(key) or find_event_digest(transaction, key)
        if present is None:
            known[key] = digest
            fresh.append((index, key, digest))
        elif not is_same(present, digest):
            raise _conflict(movement_id, index)
    return fresh


def _make_movements(
    given: Sequence[GivenMovement],
    fresh: Sequence[tuple[int, bytes, bytes]],
    now_ns: int,
    late_ns: int,
) -> list[Movement]:
    """Return the fresh movements as the engine takes them.

    Raises
    ------
    InvalidFieldError
        The time of one is too long ago or too far ahead.
    """
    earliest_ns, latest_ns = max(now_ns - late_ns, 0), now_ns + EVENT_AHEAD_NS_MAX
    movements: list[Movement] = []
    for index, _, _ in fresh:
        _, kind, site, unit, units, time_ns, destination, _ = given[index]
        if time_ns is None:
            time_ns = now_ns
        elif not earliest_ns <= time_ns <= latest_ns:
            raise InvalidFieldError(
                f"movements[{index}].movement_time",
                format_instant(time_ns / 1e9),
                f"a time from {format_instant(earliest_ns // _S_NS)} to 5 minutes ahead",
                reason="MOVEMENT_TIME_OUT_OF_RANGE",
            )
        time_ms = min(time_ns, now_ns) // MS_NS
        movements.append(Movement(_KINDS[kind], site, unit, units, time_ms, destination))
    return movements


def _list_prices(
    given: Sequence[GivenMovement], fresh: Sequence[tuple[int, bytes, bytes]]
) -> list[tuple[int, int]]:
    """Return the new prices of changes of price, with the index of their movement."""
    return [
        (at, given[index].price_minor)
        for at, (index, _, _) in enumerate(fresh)
        if given[index].kind == MovementKind.PRICE_CHANGE
    ]


# --- Mistakes -----------------------------------------------------------------------------------


def _replace_index(
    error: InvalidFieldError, fresh: Sequence[tuple[int, bytes, bytes]]
) -> InvalidFieldError:
    """Return the error of one of the fresh movements with its index among all."""
    match = _FIELD_INDEX.match(error.field)
    assert match is not None, "the engine names the movement"
    field = f"movements[{fresh[int(match[1])][0]}]{error.field[match.end() :]}"
    return InvalidFieldError(field, error.value, error.expected, reason=error.reason)


def _conflict(movement_id: str, index: int) -> AlreadyExistsError:
    """Return the error for an id that stands for another movement."""
    at = f"movements[{index}]"
    return AlreadyExistsError(
        f"{at}.movement_id: {show(movement_id)} was recorded with another content; a retry must "
        "repeat the movement as it was, and a new movement needs an id of its own",
        reason="MOVEMENT_ID_CONFLICT",
        field=f"{at}.movement_id",
        metadata={"movement_id": movement_id},
    )


_REFUSALS: Final = {
    RefusalReason.NEGATIVE: (
        "STOCK_NEGATIVE",
        "the movement would take more than is on hand; correct it, or count the position first",
    ),
    RefusalReason.NOT_AVAILABLE: (
        "STOCK_NOT_AVAILABLE",
        "more would be committed than is on hand; release something, or take less",
    ),
    RefusalReason.NOTHING_COMMITTED: (
        "STOCK_NOT_COMMITTED",
        "more would be released, or cancelled, than is committed, or on order",
    ),
    RefusalReason.COUNT_TOO_OLD: (
        "COUNT_TOO_OLD",
        "the position has changed too often since that count; count it again",
    ),
    RefusalReason.UNITS_OVERFLOW: (
        "STOCK_OVERFLOW",
        "the position would hold more units than can be kept",
    ),
}
"""Reason of the contract, and what to say."""


def _refuse(
    refusal: Refusal, table: Table, fresh: Sequence[tuple[int, bytes, bytes]]
) -> PreconditionError:
    """Return the error for a movement that a position does not allow."""
    reason, told = _REFUSALS[refusal.reason]
    site, unit = table.batch.positions[refusal.position_index]
    at = f"movements[{fresh[refusal.movement_index][0]}]"
    return PreconditionError(
        f"{at}.units: {told}; {show(unit)} at {show(site)} had {refusal.on_hand:,} on hand, "
        f"{refusal.committed:,} committed and {refusal.on_order:,} on order just before it",
        reason=reason,
        field=f"{at}.units",
        metadata={
            "site": site,
            "stock_keeping_unit": unit,
            "on_hand_units": str(refusal.on_hand),
            "committed_units": str(refusal.committed),
            "on_order_units": str(refusal.on_order),
        },
    )
