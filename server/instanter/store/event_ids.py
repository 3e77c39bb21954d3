"""Which events were recorded, so that one that is sent again is counted once.

An event id is remembered with a digest of what it came with. Nothing here looks at a clock: times
come from the records of the log, so that a replay remembers and forgets exactly the same. Ids of
one record are forgotten together: one entry of expiry for up to 1,000 of them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from instanter.errors import DamagedError
from instanter.store.databases import (
    EVENT_ID_EXPIRY,
    EVENT_IDS,
    META_KEY_EVENT_IDS_EXPIRED,
    Database,
)
from instanter.store.expiry import ExpiryQueue, entry_key, expiry_hour
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

ID_KEY_SIZE_BYTES: Final = 16
"""Bytes of the hash that stands for an event id: of 10¹² ids two are alike once in 10¹⁴ times."""


def event_id_key(event_id: str) -> bytes:
    """Return the 16 bytes that stand for an event id."""
    return hashlib.blake2b(event_id.encode(), digest_size=ID_KEY_SIZE_BYTES).digest()


def find_event_digest(transaction: Transaction, key: bytes) -> bytes | None:
    """Return the digest that an event was recorded with, or None when its id is not known.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    key
        From `event_id_key`.

    Raises
    ------
    DamagedError
        What was remembered of it is damaged.
    """
    found = transaction.get(EVENT_IDS, key)
    return None if found is None else unseal(key, found)


def is_any_remembered(transaction: Transaction, keys: Sequence[bytes]) -> bool:
    """Return whether anything, damaged or not, is remembered of one of these ids."""
    return any(transaction.get_each(EVENT_IDS, keys))


def put_event_ids(
    transaction: Transaction,
    ids: Iterable[tuple[bytes, bytes]],
    *,
    sequence: int,
    until_ns: int,
) -> None:
    """Remember the events of one record.

    Parameters
    ----------
    transaction
        An open write transaction.
    ids
        Key and digest of each event.
    sequence
        Number of the record.
    until_ns
        Nanoseconds since 1970 until which they are remembered.
    """
    sealed = list(seal_event_ids(ids))
    put_records_event_ids(transaction, sealed, [(len(sealed), sequence, until_ns)])


def seal_event_ids(ids: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and sealed digest for key and digest of each event."""
    return ((key, seal(key, digest)) for key, digest in ids)


def put_records_event_ids(
    transaction: Transaction,
    ids: Sequence[tuple[bytes, bytes]],
    records: Iterable[tuple[int, int, int]],
) -> None:
    """Do what `put_event_ids` does, for several records and with digests that are sealed already.

    Parameters
    ----------
    transaction
        An open write transaction.
    ids
        Key and sealed digest of each event of all of them.
    records
        Of each record the number of its events, its sequence, and the time until which they are
        remembered, nanoseconds since 1970.
    """
    entries = []
    at = 0
    for count, sequence, until_ns in records:
        entries.append(_make_entry(ids[at : at + count], sequence, until_ns))
        at += count
    transaction.put_each(EVENT_IDS, ids)
    transaction.put_each(EVENT_ID_EXPIRY, entries)


def _make_entry(
    ids: Sequence[tuple[bytes, bytes]], sequence: int, until_ns: int
) -> tuple[bytes, bytes]:
    """Return the entry of expiry of one record's ids."""
    entry = entry_key(expiry_hour(until_ns), sequence.to_bytes(8, "big"))
    return entry, seal(entry, b"".join([key for key, _ in ids]))


def _list_ids(entry: bytes, value: memoryview) -> list[tuple[Database, bytes]]:
    """Return the ids of one entry; none of a damaged one, whose ids then stay remembered."""
    try:
        keys = unseal(entry, value)
    except DamagedError:
        return []
    return [
        (EVENT_IDS, keys[at : at + ID_KEY_SIZE_BYTES])
        for at in range(0, len(keys), ID_KEY_SIZE_BYTES)
    ]


EVENT_ID_QUEUE: Final = ExpiryQueue(EVENT_ID_EXPIRY, META_KEY_EVENT_IDS_EXPIRED, _list_ids)
"""The ids of a record go together, an hour or less after their time."""
