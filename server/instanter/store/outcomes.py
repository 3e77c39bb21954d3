"""What became of offers: which outcomes were recorded, and which presentations wait.

An *answered offer* is an offer of one decision: the decision's id, 16 bytes, and the offer's name.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from instanter.errors import DamagedError
from instanter.store.databases import OUTCOME_MARKS, PENDING
from instanter.store.log.frames import LogPosition
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

_MARK = struct.Struct("<HBBIqq")
_PENDING = struct.Struct("<QQIq")
_PENDING_OLD = struct.Struct("<QQI")
"""The form up to store format 4, without what the contact needs."""

_NOWHERE: Final = _PENDING_OLD.pack(0, 0, 0)
"""A place where no log has a record: numbers of segments begin with 1."""

_TIME_SIZE_BYTES: Final = 8
_ID_SIZE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of an answered offer.

    Attributes
    ----------
    kinds
        Bit k is set when an outcome of kind k was recorded.
    taught_positive, taught_negative
        Whether a model was taught a positive, a negative response by it.
    due_ns
        When the wait of its presentation ends; 0 when nothing waits.
    value_minor
        The value that counts for it, 0 for none.
    """

    kinds: int = 0
    taught_positive: bool = False
    taught_negative: bool = False
    due_ns: int = 0
    value_minor: int = 0

    def has(self, kind: int) -> bool:
        """Return whether an outcome of a kind was recorded."""
        return bool(self.kinds >> kind & 1)

    def to_bytes(self) -> bytes:
        """Return the mark as it is stored and logged."""
        return _MARK.pack(
            self.kinds, self.taught_positive, self.taught_negative, 0, self.due_ns, self.value_minor
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Mark":
        """Read a mark."""
        kinds, positive, negative, _, due_ns, value_minor = _MARK.unpack(data)
        return cls(kinds, bool(positive), bool(negative), due_ns, value_minor)

    @property
    def is_first(self) -> bool:
        """Whether outcomes of one kind only were recorded."""
        return not self.kinds & (self.kinds - 1)


NO_MARK = Mark()
"""What is known before the first outcome."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """What an unanswered presentation leaves with its customer, be the log still there or not.

    Attributes
    ----------
    customer_id
        Who saw it; empty when there is nothing to note, for that customer was deleted.
    time_ns
        When, nanoseconds since 1970.
    channel, group
        Names; group "" when the offer has none.
    """

    customer_id: str
    time_ns: int
    channel: str
    group: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A presentation that nobody has answered yet.

    Attributes
    ----------
    due_ns
        When its wait ends.
    decision_id, offer
        The answered offer.
    position, entry
        Where the log has the presentation: the record, and which entry of it.
    presentation
        Whose it was; None when an older build wrote it down, and only the log knows.
    """

    due_ns: int
    decision_id: bytes
    offer: str
    position: LogPosition
    entry: int
    presentation: Presentation | None


def mark_key(decision_id: bytes, offer: str) -> bytes:
    """Return the key of an answered offer in `outcome_marks`."""
    return decision_id + _padded(offer)


def load_mark(transaction: Transaction, decision_id: bytes, offer: str) -> Mark:
    """Return what is known of an answered offer.

    Raises
    ------
    DamagedError
        The entry is damaged.
    """
    key = mark_key(decision_id, offer)
    value = transaction.get(OUTCOME_MARKS, key)
    return NO_MARK if value is None else Mark.from_bytes(unseal(key, value))


def put_mark(transaction: Transaction, decision_id: bytes, offer: str, mark: bytes) -> None:
    """Write a mark, as `Mark.to_bytes` makes it."""
    key = mark_key(decision_id, offer)
    transaction.put(OUTCOME_MARKS, key, seal(key, mark))


def put_waiting(transaction: Transaction, waiting: Waiting) -> None:
    """Begin to wait for an answer; with a presentation."""
    key = _pending_key(waiting.due_ns, waiting.decision_id, waiting.offer)
    position = waiting.position
    seen = waiting.presentation
    assert seen is not None
    value = _PENDING.pack(position.segment, position.offset, waiting.entry, seen.time_ns)
    value += "\0".join((seen.customer_id, seen.channel, seen.group)).encode()
    transaction.put(PENDING, key, seal(key, value))


def delete_waiting(transaction: Transaction, due_ns: int, decision_id: bytes, offer: str) -> bool:
    """End a wait, and return whether there was one."""
    return transaction.delete(PENDING, _pending_key(due_ns, decision_id, offer))


def scan_due(transaction: Transaction, now_ns: int) -> Iterator[Waiting]:
    """Yield the presentations whose wait has ended by a time, the oldest first.

    Of a damaged entry only what its key says: where the log has it is not known, and its wait ends
    without effect. To stop there would stop all that are due behind it, second by second.
    """
    end = (now_ns + 1).to_bytes(_TIME_SIZE_BYTES, "big")
    for key, value in transaction.scan(PENDING):
        if key >= end:
            return
        try:
            body = unseal(key, value)
        except DamagedError:
            body = _NOWHERE
        segment, offset, entry = _PENDING_OLD.unpack_from(body)
        offer_start = _TIME_SIZE_BYTES + _ID_SIZE_BYTES
        yield Waiting(
            due_ns=int.from_bytes(key[:_TIME_SIZE_BYTES], "big"),
            decision_id=key[_TIME_SIZE_BYTES:offer_start],
            offer=key[offer_start:].rstrip(b"\0").decode(),
            position=LogPosition(segment, offset),
            entry=entry,
            presentation=_read_presentation(body),
        )


def is_due(transaction: Transaction, now_ns: int) -> bool:
    """Return whether the wait of any presentation has ended by a time."""
    return next(scan_due(transaction, now_ns), None) is not None


def _read_presentation(body: bytes) -> Presentation | None:
    """Return the presentation of a row, or None when it was written without."""
    if len(body) == _PENDING_OLD.size:
        return None
    *_, time_ns = _PENDING.unpack_from(body)
    customer_id, channel, group = body[_PENDING.size :].decode().split("\0")
    return Presentation(customer_id, time_ns, channel, group)


def _pending_key(due_ns: int, decision_id: bytes, offer: str) -> bytes:
    return due_ns.to_bytes(_TIME_SIZE_BYTES, "big") + decision_id + _padded(offer)


def _padded(name: str) -> bytes:
    encoded = name.encode()
    return encoded + b"\0" * (-len(encoded) % 8)
