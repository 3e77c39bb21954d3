"""Events: how a batch of them becomes a record, and what that does to the customers' states."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from instanter.catalogue.instants import format_instant
from instanter.errors import AlreadyExistsError, InvalidFieldError, PreconditionError, show
from instanter.events.engine import EventEngine, FieldValues
from instanter.keeper.commands import Answered, ApplyContext, pack_body, unpack_body
from instanter.keeper.records import RecordKind
from instanter.limits import (
    EVENT_AGE_NS_MAX,
    EVENT_AHEAD_NS_MAX,
    EVENT_ID_KEPT_NS,
    EXPIRED_KEYS_PER_RECORD,
)
from instanter.store.activity import DERIVED, load_activity, put_activity
from instanter.store.event_ids import (
    drop_expired,
    event_id_key,
    find_event_digest,
    put_event_ids,
)
from instanter.store.log.frames import LogRecord
from instanter.store.records import key_of
from instanter.store.transaction import Transaction

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


@dataclass(frozen=True, slots=True, eq=False)
class RecordEvents:
    """Records events of customers, all of them or none.

    Attributes
    ----------
    read_events
        Returns the events, 1 to `limits.EVENTS_BATCH_MAX`; raises an `InstanterError` when one
        of them cannot be read.
    """

    read_events: Callable[[], Sequence[GivenEvent]]

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.EVENTS

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check the events, leave out those that were recorded before, return the record's body.

        Raises
        ------
        PreconditionError
            No catalogue has been published.
        InvalidFieldError
            An event does not fit its kind, or its time is too far away; the field names its index.
        AlreadyExistsError
            An event's id was recorded with something else; reason EVENT_ID_CONFLICT.
        DamagedError
            What is stored of an event's id or customer is damaged.
        """
        engine = _install(transaction, context)
        events = self.read_events()
        known: dict[bytes, bytes] = {}
        fresh: list[tuple[str, bytes, str, int, bytes]] = []
        touched: set[str] = set()
        for index, event in enumerate(events):
            at = f"events[{index}]"
            encoded = engine.encode(event.kind, event.fields, at)
            id_key = event_id_key(event.event_id)
            digest = _digest(event, encoded)
            present = known.get(id_key) or find_event_digest(transaction, id_key)
            if present is not None:
                if present != digest:
                    raise _conflict(event, at)
                continue
            known[id_key] = digest
            time_ns = _find_time(event, now_ns, at)
            fresh.append((event.event_id, digest, event.customer_id, time_ns // _MS_NS, encoded))
            if engine.is_followed(encoded):
                touched.add(event.customer_id)
        if not fresh:
            return Answered(EventCounts(0, len(events)))
        for customer_id in touched:
            load_activity(transaction, key_of(customer_id))
        return pack_body({"events": fresh, "duplicates": len(events) - len(fresh)})


def apply_events(transaction: Transaction, record: LogRecord, context: ApplyContext) -> EventCounts:
    """Count a record's events in the states of their customers, and remember their ids."""
    body = unpack_body(record)
    engine = _install(transaction, context)
    events: list[list[Any]] = body["events"]
    by_customer: dict[str, list[tuple[int, bytes]]] = {}
    ids: list[tuple[bytes, bytes]] = []
    for event_id, digest, customer_id, time_ms, encoded in events:
        ids.append((event_id_key(event_id), digest))
        if engine.is_followed(encoded):
            by_customer.setdefault(customer_id, []).append((time_ms, encoded))
    for customer_id, rows in by_customer.items():
        key = key_of(customer_id)
        sections = load_activity(transaction, key) or {}
        sections[DERIVED] = engine.apply(sections.get(DERIVED, b""), rows)
        put_activity(transaction, key, sections)
    put_event_ids(
        transaction, ids, sequence=record.sequence, until_ns=record.time_ns + EVENT_ID_KEPT_NS
    )
    # Twice as many as came keep up with the busiest hour of yesterday.
    drop_expired(transaction, record.time_ns, max(EXPIRED_KEYS_PER_RECORD, 2 * len(ids)))
    return EventCounts(len(ids), body["duplicates"])


def _install(transaction: Transaction, context: ApplyContext) -> EventEngine:
    """Return the engine with the catalogue in force in a transaction."""
    catalogue = context.published.load(transaction)
    if catalogue is None:
        raise PreconditionError(
            "no catalogue has been published yet; publish one with `instanter apply -f FOLDER`",
            reason="CATALOGUE_MISSING",
        )
    context.events.install(catalogue)
    return context.events


def _digest(event: GivenEvent, encoded: bytes) -> bytes:
    """Return 16 bytes that stand for all that an event says beside its id."""
    time = _NO_TIME if event.time_ns is None else event.time_ns.to_bytes(16, "big")
    said = b"".join((time, encoded, event.customer_id.encode()))
    return hashlib.blake2b(said, digest_size=16).digest()


def _find_time(event: GivenEvent, now_ns: int, at: str) -> int:
    """Return when an event counts as having happened: never later than it is recorded.

    Raises
    ------
    InvalidFieldError
        It is too long ago or too far ahead.
    """
    if event.time_ns is None:
        return now_ns
    earliest_ns = max(now_ns - EVENT_AGE_NS_MAX, 0)
    if earliest_ns <= event.time_ns <= now_ns + EVENT_AHEAD_NS_MAX:
        return min(event.time_ns, now_ns)
    raise InvalidFieldError(
        f"{at}.event_time",
        format_instant(event.time_ns / 1e9),
        f"a time from 90 days ago ({format_instant(earliest_ns // _S_NS)}) to 5 minutes ahead",
        reason="EVENT_TIME_OUT_OF_RANGE",
    )


def _conflict(event: GivenEvent, at: str) -> AlreadyExistsError:
    """Return the error for an id that stands for another event."""
    return AlreadyExistsError(
        f"{at}.event_id: {show(event.event_id)} was recorded with another content; a retry must "
        "repeat the event as it was, and a new event needs an id of its own",
        reason="EVENT_ID_CONFLICT",
        field=f"{at}.event_id",
        metadata={"event_id": event.event_id},
    )
