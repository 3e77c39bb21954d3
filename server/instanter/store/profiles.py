"""Profiles: one record a customer. Reading one is the first step of every decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from instanter import limits
from instanter.errors import DamagedError, show
from instanter.store import history
from instanter.store.databases import ACTIVITY, PROFILE_HISTORY, PROFILES
from instanter.store.records import (
    HEADER,
    HEADER_DTYPE,
    HEADER_SIZE_BYTES,
    MISSING,
    RECORD_FORMAT,
    RECORD_MAGIC,
    RESIDUE,
    TAIL_SIZE_BYTES,
    Profile,
    RecordHeader,
    customer_id_of,
    decode_header,
    decode_profile,
    decode_slots,
    encode_block,
    encode_record,
    slot_count_stored,
)
from instanter.store.transaction import Transaction

__all__ = [
    "BlockResult",
    "ListedProfile",
    "Profile",
    "ProfileFigures",
    "ProfileState",
    "copy_slots",
    "delete_profile",
    "list_profiles",
    "load_profile",
    "measure_profiles",
    "put_block",
    "put_profile",
]


class ProfileState(IntEnum):
    """What was found under a customer's key."""

    KNOWN = 1
    UNKNOWN = 2
    DAMAGED = 3


_SAMPLE_RUNS = 64
"""Runs of a sample: neighbours in the order of ids are often alike."""

# Enum members are looked up through their class at 0.03 µs each; the hot path has them at hand.
_KNOWN, _UNKNOWN, _DAMAGED = ProfileState.KNOWN, ProfileState.UNKNOWN, ProfileState.DAMAGED


@dataclass(frozen=True, slots=True)
class ListedProfile:
    """One row of a list: the profile, or None where its record is damaged."""

    customer_id: str
    profile: Profile | None


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What `put_block` did.

    Attributes
    ----------
    created_count, updated_count
        Customers that were new, and that were there before.
    damaged
        Rows not written: only some of their slots were given, and the record that holds the
        others is damaged.
    """

    created_count: int
    updated_count: int
    damaged: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProfileFigures:
    """How many profiles there are and what they take.

    Attributes
    ----------
    profile_count
        Profiles, damaged ones included.
    size_bytes
        Bytes of the pages that hold them, keys and tree included.
    """

    profile_count: int
    size_bytes: int


def copy_slots(
    transaction: Transaction,
    key: bytes,
    out: NDArray[np.uint32],
    revisions: NDArray[np.int64] | None = None,
    row: int = 0,
) -> ProfileState:
    """Copy a customer's slots into `out`, checked. The first step of every decision.

    Never raises for what it finds: a damaged record is a state, not served, and the caller counts
    it. Costs 2 µs for 1000 slots, most of it LMDB's lookup, the checksum and two copies.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    key
        The customer's key, see `records.key_of`.
    out
        uint32[S], written: the profile's slots, in the present schema's order. Slots beyond the
        record's end are missing, slots of the record beyond S are ignored. All missing unless
        the profile is KNOWN.
    revisions, row
        int64[n], written at `row`: the profile's revision, when it is KNOWN; else left alone.
    """
    view = transaction.get_profile(key)
    if view is None:
        out.fill(MISSING)
        return _UNKNOWN
    # The one copy that also joins the key serves the checksum, which takes `bytes` only, and
    # ends every tie to the memory map: nothing here can outlive the transaction.
    record = b"".join((key, view))
    start = len(key)
    stored = (len(record) - start - HEADER_SIZE_BYTES - TAIL_SIZE_BYTES) >> 2
    if stored < 0 or google_crc32c.value(record) != RESIDUE:
        out.fill(MISSING)
        return _DAMAGED
    magic, record_format, count, _, revision, _, _, _ = HEADER.unpack_from(record, start)
    if magic != RECORD_MAGIC or record_format != RECORD_FORMAT or count != stored:
        out.fill(MISSING)
        return _DAMAGED
    slots = np.frombuffer(record, np.uint32, stored, start + HEADER_SIZE_BYTES)
    wanted = len(out)
    if stored == wanted:
        out[:] = slots
    elif stored > wanted:
        out[:] = slots[:wanted]
    else:
        out[:stored] = slots
        out[stored:] = MISSING
    if revisions is not None:
        revisions[row] = revision
    return _KNOWN


def load_profile(transaction: Transaction, key: bytes, slot_count: int) -> Profile | None:
    """Return a copy of a profile, or None when there is no such customer.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    key
        The customer's key.
    slot_count
        Slots of the present schema.

    Raises
    ------
    DamagedError
        Its record is damaged.
    """
    record = transaction.get_profile(key)
    if record is None:
        return None
    profile = decode_profile(key, record, slot_count)
    if profile is None:
        raise _damaged(key)
    return profile


def put_profile(
    transaction: Transaction,
    key: bytes,
    slots: NDArray[np.uint32],
    *,
    schema_revision: int,
    now_ms: int,
    slot_mask: NDArray[np.bool_] | None = None,
    keep_until_s: int | None = None,
) -> Profile:
    """Write one profile and return it as it now is.

    Parameters
    ----------
    transaction
        An open write transaction.
    key
        The customer's key.
    slots
        uint32[S], missing is all bits set; read-only here.
    schema_revision
        The schema the slots are of.
    now_ms
        Milliseconds since 1970.
    slot_mask
        bool[S]: the slots to write, the others keep what they hold. None writes all of them,
        which also replaces a damaged record (its create time and revision are lost and begin
        anew).
    keep_until_s
        Seconds since 1970 until which the record that is overwritten stays in `store/history`;
        None to let it go.

    Raises
    ------
    DamagedError
        Only some slots are given, and the record that holds the others is damaged.
    """
    present = transaction.get_profile(key)
    header = None if present is None else decode_header(key, present)
    if present is not None and header is None and slot_mask is not None:
        raise _damaged(key)
    if slot_mask is not None:
        kept = 0 if header is None else header.slot_count
        merged = np.full(max(len(slots), kept), MISSING, np.uint32)
        if header is not None and present is not None:
            merged[:kept] = decode_slots(present, kept)
        np.copyto(merged[: len(slots)], slots, where=slot_mask)
    else:
        merged = slots
    if header is None or present is None:
        revision = history.last_kept_revision(transaction, key) + 1
    else:
        revision = header.revision + 1
        if keep_until_s is not None:
            history.keep_profile(transaction, key, bytes(present), keep_until_s)
    written = RecordHeader(
        slot_count=slot_count_stored(len(merged)),
        schema_revision=schema_revision,
        revision=revision,
        create_time_ms=now_ms if header is None else header.create_time_ms,
        update_time_ms=now_ms,
    )
    transaction.put(PROFILES, key, encode_record(key, written, merged))
    return Profile(
        customer_id_of(key),
        merged[: len(slots)].copy(),
        schema_revision,
        written.revision,
        written.create_time_ms,
        now_ms,
    )


def delete_profile(
    transaction: Transaction, key: bytes, *, keep_until_s: int | None = None
) -> bool:
    """Delete a profile, damaged or not, and return whether there was one.

    `keep_until_s` as in `put_profile`; a damaged record is not kept.
    """
    if keep_until_s is not None:
        present = transaction.get_profile(key)
        if present is not None and decode_header(key, present) is not None:
            history.keep_profile(transaction, key, bytes(present), keep_until_s)
    return transaction.delete(PROFILES, key)


def list_profiles(
    transaction: Transaction, after: bytes, limit: int, slot_count: int
) -> list[ListedProfile]:
    """Return copies of the profiles that follow the key `after`, in byte order of their ids.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    after
        Key to begin behind; empty to begin with the first.
    limit
        At most this many, at most `LIST_ROWS_MAX`.
    slot_count
        Slots of the present schema.
    """
    assert 0 < limit <= limits.LIST_ROWS_MAX
    found: list[ListedProfile] = []
    for key, record in transaction.scan(PROFILES, after, after=True):
        found.append(ListedProfile(_shown_id(key), decode_profile(key, record, slot_count)))
        if len(found) == limit:
            break
    return found


def sample_profiles(transaction: Transaction, count: int, slot_count: int) -> NDArray[np.uint32]:
    """Return the slots of profiles from all over the store: all of them when they are few.

    They stand in runs whose beginnings share out the keys evenly; the same store gives the same
    sample. Damaged profiles are left out.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    count
        At most this many.
    slot_count
        Slots of the present schema.

    Returns
    -------
    ndarray
        uint32[≤ count, slot_count]; missing is all bits set.
    """
    found: dict[bytes, NDArray[np.uint32]] = {}
    run = -(-count // _SAMPLE_RUNS)
    # The last run begins anew, and fills up what the others have not found.
    for start, wanted in (*((s, run) for s in _spread_keys(transaction)), (b"", count)):
        stop = min(len(found) + wanted, count)
        for key, record in transaction.scan(PROFILES, start):
            if len(found) >= stop:
                break
            if key not in found:
                profile = decode_profile(key, record, slot_count)
                if profile is not None:
                    found[key] = profile.slots
    return np.array(list(found.values()), np.uint32).reshape(len(found), slot_count)


def _spread_keys(transaction: Transaction) -> list[bytes]:
    """Return keys, not all of which exist, that share out those of the store evenly."""
    first = next((key for key, _ in transaction.scan(PROFILES)), b"")
    last = next((key for key, _ in transaction.scan_back(PROFILES, b"\xff" * 8)), b"")
    alike = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    shared = first[:alike]
    low, high = (
        int.from_bytes(key[len(shared) :][:6].ljust(6, b"\0"), "big") for key in (first, last)
    )
    return [
        shared + (low + (high - low) * number // _SAMPLE_RUNS).to_bytes(6, "big")
        for number in range(_SAMPLE_RUNS)
    ]


def put_block(
    transaction: Transaction,
    keys: Sequence[bytes],
    slots: NDArray[np.uint32],
    *,
    schema_revision: int,
    now_ms: int,
    slot_mask: NDArray[np.bool_] | None = None,
    keep_until_s: int | None = None,
) -> BlockResult:
    """Write many profiles at once: what a load does.

    Each customer is written as `put_profile` would, except that a row that only gives some
    slots of a damaged record is left out and reported instead of undoing the block.

    Parameters
    ----------
    transaction
        An open write transaction.
    keys
        n keys, all different.
    slots
        uint32[n, S]; read-only here.
    schema_revision, now_ms, slot_mask
        As in `put_profile`; the mask holds for all rows.
    keep_until_s
        As in `put_profile`, but only for customers who have an activity record: a nightly load of
        everybody would otherwise keep as many copies of the store as there are nights.
    """
    # In key order neighbours share the pages of the tree: 1.3 times as fast as in file order.
    order = sorted(range(len(keys)), key=keys.__getitem__)
    if slot_mask is not None:
        return _put_partial(
            transaction, keys, order, slots, schema_revision, now_ms, slot_mask, keep_until_s
        )
    headers = np.zeros(len(keys), HEADER_DTYPE)
    headers["schema_revision"] = schema_revision
    headers["create_time_ms"] = headers["update_time_ms"] = now_ms
    get = transaction.get_profile
    may_have_history = not transaction.is_empty(PROFILE_HISTORY)
    created, revisions = headers["create_time_ms"], headers["revision"]
    revisions[:] = 1
    new_count = 0
    for row in order:
        present = get(keys[row])
        if present is None:
            new_count += 1
            if may_have_history:
                revisions[row] = history.last_kept_revision(transaction, keys[row]) + 1
        elif (header := decode_header(keys[row], present)) is not None:
            created[row] = header.create_time_ms
            revisions[row] = header.revision + 1
            if keep_until_s is not None and transaction.get(ACTIVITY, keys[row]) is not None:
                history.keep_profile(transaction, keys[row], bytes(present), keep_until_s)
    records = encode_block(keys, headers, slots)
    for row in order:
        transaction.put(PROFILES, keys[row], records[row].data)
    return BlockResult(new_count, len(keys) - new_count, ())


def measure_profiles(transaction: Transaction) -> ProfileFigures:
    """Return how many profiles there are and what they take in the store."""
    return ProfileFigures(transaction.count(PROFILES), transaction.size_bytes(PROFILES))


def _put_partial(
    transaction: Transaction,
    keys: Sequence[bytes],
    order: Sequence[int],
    slots: NDArray[np.uint32],
    schema_revision: int,
    now_ms: int,
    slot_mask: NDArray[np.bool_],
    keep_until_s: int | None,
) -> BlockResult:
    """Write a block that gives only some slots: one by one, for each keeps others."""
    damaged: list[int] = []
    new_count = 0
    for row in order:
        is_new = transaction.get_profile(keys[row]) is None
        is_active = transaction.get(ACTIVITY, keys[row]) is not None
        try:
            put_profile(
                transaction,
                keys[row],
                slots[row],
                schema_revision=schema_revision,
                now_ms=now_ms,
                slot_mask=slot_mask,
                keep_until_s=keep_until_s if is_active else None,
            )
        except DamagedError:
            damaged.append(row)
        else:
            new_count += is_new
    return BlockResult(new_count, len(keys) - new_count - len(damaged), tuple(sorted(damaged)))


def _shown_id(key: bytes) -> str:
    """Return the customer id of a key that may be damaged itself."""
    return key.rstrip(b"\0").decode("utf-8", "replace")


def _damaged(key: bytes) -> DamagedError:
    shown = show(_shown_id(key))
    return DamagedError(
        f"the profile of customer {shown} is damaged in the store; write all of its attributes, "
        "or delete it",
        metadata={"customer": _shown_id(key)},
    )
