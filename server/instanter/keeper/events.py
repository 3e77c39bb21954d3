"""Events: how a batch of them becomes a record, and what that does to the customers' states."""

import contextlib
import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.instants import format_instant
from instanter.errors import (
    AlreadyExistsError,
    CatalogueMissingError,
    InvalidFieldError,
    place_field,
    show,
)
from instanter.events.counting import IndexedEvents
from instanter.events.engine import EventEngine, FieldValues
from instanter.events.joining import JoinedEvents, join_events
from instanter.keeper.commands import Answered, Append, ApplyContext
from instanter.keeper.records import RecordKind
from instanter.keeper.stock_desk import Prepared
from instanter.keeper.stock_movements import apply_moves, remember_movements
from instanter.keeper.stock_purchases import Purchase, find_purchased
from instanter.limits import (
    EVENT_AGE_NS_MAX,
    EVENT_AHEAD_NS_MAX,
    EXPIRED_KEYS_PER_RECORD,
    IDS_KEPT_NS,
)
from instanter.store.activity import join_activities, put_activities
from instanter.store.event_ids import (
    EVENT_ID_QUEUE,
    event_id_key,
    find_event_digest,
    is_any_remembered,
    put_records_event_ids,
)
from instanter.store.expiry import drop_expired, is_drop_due
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction

_TIME: Final = struct.Struct("<q")
_MS_NS: Final = 1_000_000
_S_NS: Final = 1_000_000_000
_NO_TIME: Final = b"\xff" * 16
"""Stands in an event's digest for a time that its sender left to us."""


@dataclass(frozen=True, slots=True)
class GivenEvent:
    """One event as its sender gave it.

    Attributes
    ----------
    event_id
        1 to 64 printable ASCII characters, checked.
    customer_id
        A checked id.
    kind
        Name of its kind, unchecked.
    time_ns
        When it happened, nanoseconds since 1970, at least 0; None for when it is recorded.
    fields
        Its fields by name, unchecked.
    """

    event_id: str
    customer_id: str
    kind: str
    time_ns: int | None
    fields: FieldValues


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What became of a batch of events.

    Attributes
    ----------
    recorded_count
        Events that are recorded now and were not before.
    duplicate_count
        Events that had been recorded before, or stand in the batch twice.
    """

    recorded_count: int
    duplicate_count: int


@dataclass(slots=True, eq=False)
class RecordEvents:
    """Records events of customers, all of them or none.

    Not frozen, although a value: one is made for each request.

    Attributes
    ----------
    read_events
        Returns the events, 1 to `limits.EVENTS_BATCH_MAX`; raises an `InstanterError` when one
        of them cannot be read.
    wire
        Returns the `RecordEventsRequest` that they are of as bytes, and is given where all that
        is usual about it can be read from those; None where there is none.
    event_count
        How many events `wire` has.
    deadline_ns, relaxed
        As of `GatheredCommand`.
    """

    read_events: Callable[[], Sequence[GivenEvent]]
    wire: Callable[[], bytes] | None = None
    event_count: int = 0
    deadline_ns: int | None = None
    relaxed: bool = False

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.EVENTS

    @property
    def weight(self) -> int:
        """How many things it changes, about."""
        return self.event_count

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check the events, leave out those that were recorded before, return the record's body.

        Raises
        ------
        CatalogueMissingError
            No catalogue has been published.
        InvalidFieldError
            An event does not fit its kind, its time is too far away, or it is a purchase of a part
            of a unit; the field names its index.
        AlreadyExistsError
            An event's id was recorded with something else; reason EVENT_ID_CONFLICT.
        DamagedError
            What is remembered of an event's id is damaged.
        """
        catalogue, engine = _install(transaction, context)
        body = self.prepare_usual(transaction, now_ns, engine)
        if body is not None:
            return body
        bought = catalogue.stock.purchases if catalogue.stock is not None else {}
        purchases: list[Purchase] = []
        events = self.read_events()
        known: dict[bytes, bytes] = {}
        fresh: list[tuple[str, bytes, bytes, str, bytes]] = []
        for index, event in enumerate(events):
            try:
                id_key = event_id_key(event.event_id)
                present = known.get(id_key) or find_event_digest(transaction, id_key)
                encoded = _encode(engine, event, present)
                digest = _digest(event, encoded)
                if present is not None:
                    if present != digest:
                        raise _conflict(event, index)
                    continue
                known[id_key] = digest
                time_ms = _find_time_ms(event, now_ns)
            except InvalidFieldError as error:
                raise place_field(error, f"events[{index}]") from None
            if event.kind in bought:
                purchases.append(Purchase(index, event.event_id, event.kind, encoded, time_ms))
            row = _TIME.pack(time_ms) + encoded
            fresh.append((event.event_id, id_key, digest, event.customer_id, row))
        if not fresh:
            return Answered(EventCounts(0, len(events)))
        content = {"events": fresh, "duplicates": len(events) - len(fresh)}
        desk = context.stock
        now_ms = now_ns // _MS_NS
        found = purchases and find_purchased(transaction, desk, catalogue, purchases, now_ms)
        if not found:
            return context.pack(content)
        packed = context.pack({**content, "stock": found.body})
        desk.prepared = Prepared(packed, found.table, found.ids)
        return packed

    def prepare_usual(
        self, transaction: Transaction, now_ns: int, engine: EventEngine
    ) -> bytes | None:
        """Return what `prepare` does when nothing is wrong and no event was recorded before.

        None says nothing of the request: it may be right all the same.
        """
        if self.wire is None:
            return None
        body = engine.read(self.wire(), self.event_count, now_ns)
        if body is None:
            return None
        keys = [key for key, _ in engine.index(body).ids]
        if len(set(keys)) < len(keys) or is_any_remembered(transaction, keys):
            return None
        return body


def _encode(engine: EventEngine, event: GivenEvent, present: bytes | None) -> bytes:
    """Return an event as the log keeps it; one that was recorded before, as it was then.

    A catalogue that was published since may have withdrawn what it is of, or ask for more: its
    sender must still learn that it counts.

    Raises
    ------
    InvalidFieldError
        It is not right, and not the one that was recorded.
    """
    try:
        return engine.encode(event.kind, event.fields)
    except InvalidFieldError:
        if present is None:
            raise
        with contextlib.suppress(InvalidFieldError):
            past = engine.encode_past(event.kind, event.fields)
            if _digest(event, past) == present:
                return past
        raise


def apply_events(transaction: Transaction, record: LogRecord, context: ApplyContext) -> EventCounts:
    """Count a record's events in the states of their customers, and remember their ids.

    A customer whose activity record is damaged stays as it is, damaged: nothing wrong is read from
    it, and the log has the events for the day it is rebuilt.
    """
    indexed = _count(transaction, record.body, context)
    id_count = len(indexed.ids)
    until_ns = record.time_ns + IDS_KEPT_NS
    put_records_event_ids(transaction, indexed.ids, [(id_count, record.sequence, until_ns)])
    if not indexed.is_whole:
        body = context.unpack(record)
        # As long as those that come as movements: a sale that comes by both doors counts once.
        moved = apply_moves(transaction, record, context, body["stock"])
        if moved:
            remember_movements(transaction, record, moved)
        id_count += len(moved)
    # Twice as many as came keep up with the busiest hour of yesterday.
    limit = max(EXPIRED_KEYS_PER_RECORD, 2 * id_count)
    drop_expired(transaction, EVENT_ID_QUEUE, record.time_ns, limit)
    return EventCounts(indexed.event_count, indexed.duplicate_count)


def apply_events_together(
    transaction: Transaction, records: Sequence[LogRecord], context: ApplyContext
) -> list[EventCounts]:
    """Do what `apply_events` does with several records, one behind the other.

    Every customer's events are counted in the order in which they were recorded, and nothing that
    one record leaves behind is read by the next.
    """
    counts: list[EventCounts] = []
    while len(counts) < len(records):
        record = records[len(counts)]
        if not is_drop_due(transaction, EVENT_ID_QUEUE, record.time_ns):
            break
        counts.append(apply_events(transaction, record, context))
    rest = records[len(counts) :]
    joined = join_events([record.body for record in rest])
    if joined is None or is_drop_due(transaction, EVENT_ID_QUEUE, records[-1].time_ns):
        counts += [apply_events(transaction, record, context) for record in rest]
    elif rest:
        _count_joined(transaction, rest, joined, context)
        counts += map(EventCounts, joined.event_counts, joined.duplicate_counts)
    return counts


def _count_joined(
    transaction: Transaction,
    records: Sequence[LogRecord],
    joined: JoinedEvents,
    context: ApplyContext,
) -> None:
    """Count the events of records with which nothing is forgotten and nothing else happens."""
    indexed = _count(transaction, joined.body, context)
    put_records_event_ids(
        transaction,
        indexed.ids,
        [
            (count, record.sequence, record.time_ns + IDS_KEPT_NS)
            for count, record in zip(joined.event_counts, records, strict=True)
        ],
    )


def record_together(
    commands: Sequence[RecordEvents],
    transaction: Transaction,
    now_ns: int,
    context: ApplyContext,
    first_sequence: int,  # noqa: ARG001 - of `CarryTogether`
    append: Append,
) -> list[EventCounts]:
    """Carry out the first usual commands, see `CarryTogether`; one alone is not worth it."""
    if len(commands) == 1 or context.published.load(transaction) is None:
        return []
    _, engine = _install(transaction, context)
    bodies: list[bytes] = []
    seen: set[bytes] = set()
    for command in commands:
        body = command.prepare_usual(transaction, now_ns, engine)
        if body is None:
            break
        keys = [key for key, _ in engine.index(body).ids]
        if not seen.isdisjoint(keys):
            break
        seen.update(keys)
        bodies.append(body)
    if not bodies:
        return []
    records = [append(RecordKind.EVENTS, body) for body in bodies]
    return apply_events_together(transaction, records, context)


def _count(transaction: Transaction, body: bytes, context: ApplyContext) -> IndexedEvents:
    """Count the events of a body in the states of their customers; return what is in it."""
    _, engine = _install(transaction, context)
    indexed = engine.index(body)
    keys = indexed.customer_keys
    if keys:
        put_activities(transaction, keys, engine.count(*join_activities(transaction, keys)))
    return indexed


def _install(
    transaction: Transaction, context: ApplyContext
) -> tuple[CompiledCatalogue, EventEngine]:
    """Return the catalogue in force in a transaction, and the engine with it."""
    catalogue = context.published.load(transaction)
    if catalogue is None:
        raise CatalogueMissingError
    context.events.install(catalogue)
    return catalogue, context.events


def _digest(event: GivenEvent, encoded: bytes) -> bytes:
    """Return 16 bytes that stand for all that an event says beside its id."""
    time = _NO_TIME if event.time_ns is None else event.time_ns.to_bytes(16, "big")
    said = b"".join((time, encoded, event.customer_id.encode()))
    return hashlib.blake2b(said, digest_size=16).digest()


def _find_time_ms(event: GivenEvent, now_ns: int) -> int:
    """Return when an event counts as having happened: never later than it is recorded.

    Raises
    ------
    InvalidFieldError
        It is too long ago or too far ahead.
    """
    if event.time_ns is None:
        return now_ns // _MS_NS
    earliest_ns = max(now_ns - EVENT_AGE_NS_MAX, 0)
    if earliest_ns <= event.time_ns <= now_ns + EVENT_AHEAD_NS_MAX:
        return min(event.time_ns, now_ns) // _MS_NS
    raise InvalidFieldError(
        "event_time",
        format_instant(event.time_ns / 1e9),
        f"a time from 90 days ago ({format_instant(earliest_ns // _S_NS)}) to 5 minutes ahead",
        reason="EVENT_TIME_OUT_OF_RANGE",
    )


def _conflict(event: GivenEvent, index: int) -> AlreadyExistsError:
    """Return the error for an id that stands for another event."""
    at = f"events[{index}]"
    return AlreadyExistsError(
        f"{at}.event_id: {show(event.event_id)} was recorded with another content; a retry must "
        "repeat the event as it was, and a new event needs an id of its own",
        reason="EVENT_ID_CONFLICT",
        field=f"{at}.event_id",
        metadata={"event_id": event.event_id},
    )
