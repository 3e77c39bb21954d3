"""What may go once its time has come, and a note of how far that was done.

What is kept for a time has an entry in a database of its own, in the order of the hours from which
on it may go. Nothing here looks at a clock: times come from the records of the log, so that a
replay keeps and drops exactly the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from instanter.errors import DamagedError
from instanter.store.databases import META, Database
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

HOUR_NS: Final = 3_600_000_000_000
"""Width of one bucket of expiry: what is kept stays up to this much longer."""

HOUR_SIZE_BYTES: Final = 8
"""What the key of an entry begins with."""


@dataclass(frozen=True, slots=True)
class ExpiryQueue:
    """What goes in the order of its hours.

    Attributes
    ----------
    entries
        Where the entries are; their keys begin with an hour.
    note_key
        Name in `meta` of the note that says how far it was acted upon.
    keys_of
        Returns what goes with an entry, from its key and a view of its value.
    """

    entries: Database
    note_key: bytes
    keys_of: Callable[[bytes, memoryview], Sequence[tuple[Database, bytes]]]


def expiry_hour(until_ns: int) -> int:
    """Return the hour since 1970 from which on something that is kept until `until_ns` may go."""
    return -(-until_ns // HOUR_NS)


def entry_key(hour: int, rest: bytes) -> bytes:
    """Return the key of an entry.

    Parameters
    ----------
    hour
        From `expiry_hour`, and later than the record that it comes with: the hour of that one may
        be done with.
    rest
        What tells it from others of its hour.
    """
    return hour.to_bytes(HOUR_SIZE_BYTES, "big") + rest


def is_drop_due(transaction: Transaction, queue: ExpiryQueue, now_ns: int) -> bool:
    """Return whether `drop_expired` would do anything."""
    return _find_reached(transaction, queue) != entry_key(now_ns // HOUR_NS + 1, b"")


def drop_expired(transaction: Transaction, queue: ExpiryQueue, now_ns: int, limit: int) -> int:
    """Drop what needs to be kept no longer, the oldest first, and return how many keys went.

    The place that was reached is written down. A scan from the beginning would walk, each time,
    over all that was deleted since the overlay was last folded; and in an hour of which nothing
    is left, which is nearly always, this costs 1 µs.

    Parameters
    ----------
    transaction
        An open write transaction.
    queue
        Of what.
    now_ns
        Nanoseconds since 1970: the time of the record.
    limit
        Stop with the entry that reaches so many keys: bounds how long other writes wait.
    """
    end = entry_key(now_ns // HOUR_NS + 1, b"")
    reached = _find_reached(transaction, queue)
    if reached == end:
        return 0
    expired: list[bytes] = []
    keys: list[tuple[Database, bytes]] = []
    next_reached = end
    # A clock that was put back leads to entries before the note: it goes back with the clock.
    if reached < end:
        for entry, value in transaction.scan(queue.entries, reached, after=True):
            if entry >= end:
                break
            if len(keys) >= limit:
                next_reached = expired[-1]
                break
            expired.append(entry)
            keys.extend(queue.keys_of(entry, value))
    for database, key in keys:
        transaction.delete(database, key)
    for entry in expired:
        transaction.delete(queue.entries, entry)
    transaction.put(META, queue.note_key, seal(queue.note_key, next_reached))
    return len(keys)


def _find_reached(transaction: Transaction, queue: ExpiryQueue) -> bytes:
    """Return the last entry, or the hour, up to which all is done.

    Of a damaged note it is the beginning: that only costs a longer scan.
    """
    found = transaction.get(META, queue.note_key)
    try:
        return b"" if found is None else unseal(queue.note_key, found)
    except DamagedError:
        return b""
