"""Profiles as they were: what a past decision was made of, until nobody may ask any more.

A profile that is overwritten or deleted leaves its record here, under its key and revision, and
an entry that says from which hour on it may go. Nothing here looks at a clock: times come from
the records of the log, so that a replay keeps and drops exactly the same.
"""

from typing import Final

from instanter.errors import DamagedError, show
from instanter.store.databases import (
    HISTORY_EXPIRY,
    META_KEY_HISTORY_EXPIRED,
    PROFILE_HISTORY,
    Database,
)
from instanter.store.expiry import HOUR_SIZE_BYTES, ExpiryQueue, entry_key, expiry_hour
from instanter.store.records import MARKER, Profile, decode_header, decode_profile
from instanter.store.transaction import Transaction

_S_NS: Final = 1_000_000_000

_REVISION_END: Final = 1 << 56
"""More than any revision. Its first byte is 1, so it also stands before the keys of customers whose
ids go on where this one ends: an id has no byte that small."""


def keep_profile(transaction: Transaction, key: bytes, record: bytes, until_s: int) -> None:
    """Keep the record of a profile that is about to be overwritten or deleted.

    Parameters
    ----------
    transaction
        An open write transaction.
    key
        The customer's key.
    record
        The record as it stands, undamaged.
    until_s
        Seconds since 1970 until which it must be kept: later than the record that overwrites
        it.
    """
    header = decode_header(key, record)
    assert header is not None, "a damaged record is not worth keeping"
    kept_key = _key(key, header.revision)
    transaction.put(PROFILE_HISTORY, kept_key, record)
    transaction.put(HISTORY_EXPIRY, entry_key(expiry_hour(until_s * _S_NS), kept_key), MARKER)


def load_kept_profile(
    transaction: Transaction, key: bytes, revision: int, slot_count: int
) -> Profile | None:
    """Return a copy of a profile as it was at a past revision, or None when it is not kept.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    key
        The customer's key.
    revision
        The profile's revision.
    slot_count
        Slots of the schema it is wanted in.

    Raises
    ------
    DamagedError
        Its record is damaged.
    """
    record = transaction.get(PROFILE_HISTORY, _key(key, revision))
    if record is None:
        return None
    profile = decode_profile(key, record, slot_count)
    # The checksum knows the customer, not the revision: that is in the record itself.
    if profile is None or profile.revision != revision:
        shown = key.rstrip(b"\0").decode("utf-8", "replace")
        raise DamagedError(
            f"revision {revision} of the profile of customer {show(shown)} is damaged in the store",
            metadata={"customer": shown, "revision": str(revision)},
        )
    return profile


def last_kept_revision(transaction: Transaction, key: bytes) -> int:
    """Return the highest revision of a customer's profile that is kept, 0 when none is.

    A profile that is made anew goes on from it: a revision names one content, as long as anybody
    can ask for it.
    """
    for found, _ in transaction.scan_back(PROFILE_HISTORY, _key(key, _REVISION_END)):
        if found[:-8] == key:
            return int.from_bytes(found[-8:], "big")
        break
    return 0


def drop_customer(transaction: Transaction, key: bytes) -> None:
    """Drop all that is kept of one customer: who asks to be forgotten is forgotten here too."""
    gone: list[bytes] = []
    for found, _ in transaction.scan(PROFILE_HISTORY, key):
        if found[:-8] != key:
            break
        gone.append(found)
    for found in gone:
        transaction.delete(PROFILE_HISTORY, found)


def _key(key: bytes, revision: int) -> bytes:
    return key + revision.to_bytes(8, "big")


def _list_kept(entry: bytes, value: memoryview) -> list[tuple[Database, bytes]]:
    """Return what goes with an entry: the one record whose key it ends with."""
    del value
    return [(PROFILE_HISTORY, entry[HOUR_SIZE_BYTES:])]


HISTORY_QUEUE: Final = ExpiryQueue(HISTORY_EXPIRY, META_KEY_HISTORY_EXPIRED, _list_kept)
"""Each record goes by itself, an hour or less after its time."""
