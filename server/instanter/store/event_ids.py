"""Which events were recorded, so that one that is sent again is counted once.

An event id is remembered with a digest of what it came with. Nothing here looks at a clock: times
come from the records of the log, so that a replay remembers and forgets exactly the same. Ids of
one record are forgotten together: one entry of expiry for up to 1,000 of them.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from instanter.errors import DamagedError
from instanter.store.databases import (
    EVENT_ID_EXPIRY,
    EVENT_IDS,
    META,
    META_KEY_EVENT_IDS_EXPIRED,
)
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

HOUR_NS: Final = 3_600_000_000_000
"""Width of one bucket of expiry: what is kept stays up to this much longer."""

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
    keys = []
    for key, digest in ids:
        transaction.put(EVENT_IDS, key, seal(key, digest))
        keys.append(key)
    hour = -(-until_ns // HOUR_NS)
    entry = hour.to_bytes(8, "big") + sequence.to_bytes(8, "big")
    transaction.put(EVENT_ID_EXPIRY, entry, seal(entry, b"".join(keys)))


def drop_expired(transaction: Transaction, now_ns: int, limit: int) -> int:
    """Forget ids that need to be remembered no longer, the oldest first; return how many.

    The place that was reached is written down: a scan from the beginning would walk, each time,
    over all that was deleted since the overlay was last folded.

    Parameters
    ----------
    transaction
        An open write transaction.
    now_ns
        Nanoseconds since 1970.
    limit
        Stop with the record that reaches so many: bounds how long other writes wait.
    """
    end = (now_ns // HOUR_NS + 1).to_bytes(8, "big")
    expired: list[tuple[bytes, bytes]] = []
    count = 0
    for entry, value in transaction.scan(EVENT_ID_EXPIRY, _find_reached(transaction), after=True):
        if entry >= end or count >= limit:
            break
        keys = _read_keys(entry, value)
        expired.append((entry, keys))
        count += len(keys) // ID_KEY_SIZE_BYTES
    for entry, keys in expired:
        for at in range(0, len(keys), ID_KEY_SIZE_BYTES):
            transaction.delete(EVENT_IDS, keys[at : at + ID_KEY_SIZE_BYTES])
        transaction.delete(EVENT_ID_EXPIRY, entry)
    if expired:
        sealed = seal(META_KEY_EVENT_IDS_EXPIRED, expired[-1][0])
        transaction.put(META, META_KEY_EVENT_IDS_EXPIRED, sealed)
    return count


def _find_reached(transaction: Transaction) -> bytes:
    """Return the last entry that is done with; a damaged note only costs a longer scan."""
    found = transaction.get(META, META_KEY_EVENT_IDS_EXPIRED)
    try:
        return b"" if found is None else unseal(META_KEY_EVENT_IDS_EXPIRED, found)
    except DamagedError:
        return b""


def _read_keys(entry: bytes, value: memoryview) -> bytes:
    """Return the ids of one entry; none of a damaged one, whose ids then stay remembered."""
    try:
        return unseal(entry, value)
    except DamagedError:
        return b""
