"""Which card transactions were assessed: for repeats, for their outcomes, and for cases.

A transaction is known by its caller's id for `fraud_limits.TRANSACTION_KEPT_NS`. Nothing here looks
at a clock: times come from the records of the log. Up to 64 transactions in a row share one entry
of expiry, which is written again for each of them: it costs 3 µs where an entry of its own would
cost as much and 10 µs more in the next fold.
"""

import hashlib
import struct
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from instanter.errors import DamagedError
from instanter.store.databases import (
    CASES,
    META_KEY_TRANSACTIONS_EXPIRED,
    TRANSACTION_EXPIRY,
    TRANSACTIONS,
    Database,
)
from instanter.store.expiry import ExpiryQueue, entry_key, expiry_hour
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

_ROW: Final = struct.Struct("<16sQQHBBI")
"""Digest, sequence, case, outcomes, label, changes, reserve; then verdict and what was counted."""

_SIZE: Final = struct.Struct("<I")
_KEY_SIZE_BYTES: Final = 16
_PAIR_SIZE_BYTES: Final = 24
_SEQUENCES_PER_ENTRY_BITS: Final = 6
NO_CASE: Final = 0
"""In the place of a case's number; sequences begin with 1."""

_NO_CASE: Final = NO_CASE.to_bytes(8, "big")


class TransactionRow(NamedTuple):
    """What is kept of an assessed transaction.

    Attributes
    ----------
    digest
        16 bytes that stand for everything that its request said beside the id.
    sequence
        Of the record that it was assessed in.
    case
        Number of its case, or `NO_CASE`.
    outcomes
        Bit k is set when an outcome of kind k was recorded.
    label
        What it was found to be: a `Label` of `keeper/transaction_outcomes`, 0 for nothing yet.
    changes
        How often that was changed.
    verdict
        Packed: what its caller was told.
    counted
        Packed: what was counted of it.
    """

    digest: bytes
    sequence: int
    case: int
    outcomes: int
    label: int
    changes: int
    verdict: bytes
    counted: bytes


def transaction_key(transaction_id: str) -> bytes:
    """Return the 16 bytes that stand for a transaction id."""
    return hashlib.blake2b(transaction_id.encode(), digest_size=_KEY_SIZE_BYTES).digest()


def find_transaction(transaction: Transaction, key: bytes) -> TransactionRow | None:
    """Return what is kept under a key of `transaction_key`, or None when it is not known.

    Raises
    ------
    DamagedError
        The row is damaged.
    """
    found = transaction.get(TRANSACTIONS, key)
    if found is None:
        return None
    value = unseal(key, found)
    digest, sequence, case, outcomes, label, changes, _ = _ROW.unpack_from(value)
    (size,) = _SIZE.unpack_from(value, _ROW.size)
    start = _ROW.size + _SIZE.size
    verdict, counted = value[start : start + size], value[start + size :]
    return TransactionRow(digest, sequence, case, outcomes, label, changes, verdict, counted)


def put_transaction(transaction: Transaction, key: bytes, row: TransactionRow) -> None:
    """Write what is kept under a key."""
    transaction.put(TRANSACTIONS, key, seal_row(key, row))


def seal_row(key: bytes, row: TransactionRow) -> bytes:
    """Return what is kept under a key as it is stored."""
    head = _ROW.pack(*row[:6], 0)
    return seal(key, b"".join((head, _SIZE.pack(len(row.verdict)), row.verdict, row.counted)))


def put_transactions(
    transaction: Transaction, keys: Sequence[bytes], rows: Sequence[bytes]
) -> None:
    """Write rows under keys, sealed already; all keys are different."""
    transaction.put_each(TRANSACTIONS, list(zip(keys, rows, strict=True)))


def find_known(transaction: Transaction, keys: Sequence[bytes]) -> int | None:
    """Return the index of the first key under which something is kept, damaged or not."""
    for at, found in enumerate(transaction.get_each(TRANSACTIONS, keys)):
        if len(found):
            return at
    return None


def expire_transaction(
    transaction: Transaction, key: bytes, *, sequence: int, case: int, until_ns: int
) -> bool:
    """Write down until when a transaction and its case are kept.

    Parameters
    ----------
    transaction
        An open write transaction.
    key
        Of the transaction.
    sequence, case
        As in its row.
    until_ns
        Nanoseconds since 1970.

    Returns
    -------
    bool
        Whether it is the first of an entry: the time to drop what has expired.
    """
    part = sequence >> _SEQUENCES_PER_ENTRY_BITS
    return _add_pairs(transaction, part, key + case.to_bytes(8, "big"), until_ns)


def expire_transactions(
    transaction: Transaction,
    keys: Sequence[bytes],
    *,
    first_sequence: int,
    until_ns: int,
    cases: Collection[int] = (),
) -> int:
    """Do what `expire_transaction` does for transactions of successive records.

    Those whose sequences are in `cases` have become a case, which is numbered by it.

    Returns
    -------
    int
        How many of them are the first of an entry: so often is dropped what has expired.
    """
    pairs: dict[int, list[bytes]] = {}
    for sequence, key in enumerate(keys, first_sequence):
        part = sequence >> _SEQUENCES_PER_ENTRY_BITS
        case = sequence.to_bytes(8, "big") if sequence in cases else _NO_CASE
        pairs.setdefault(part, []).append(key + case)
    return sum(_add_pairs(transaction, part, b"".join(pairs[part]), until_ns) for part in pairs)


def _add_pairs(transaction: Transaction, part: int, pairs: bytes, until_ns: int) -> bool:
    """Add pairs of key and case to an entry; return whether it is new, or was damaged."""
    entry = entry_key(expiry_hour(until_ns), part.to_bytes(8, "big"))
    found = transaction.get(TRANSACTION_EXPIRY, entry)
    try:
        before = b"" if found is None else unseal(entry, found)
    except DamagedError:
        before = b""
    transaction.put(TRANSACTION_EXPIRY, entry, seal(entry, before + pairs))
    return not before


def _list_keys(entry: bytes, value: memoryview) -> Iterator[tuple[Database, bytes]]:
    """Yield what goes with an entry; nothing of a damaged one, which then stays known."""
    try:
        pairs = unseal(entry, value)
    except DamagedError:
        return
    for at in range(0, len(pairs), _PAIR_SIZE_BYTES):
        to_case = at + _KEY_SIZE_BYTES
        yield TRANSACTIONS, pairs[at:to_case]
        case = pairs[to_case : at + _PAIR_SIZE_BYTES]
        if any(case):
            yield CASES, case


TRANSACTION_QUEUE: Final = ExpiryQueue(
    TRANSACTION_EXPIRY,
    META_KEY_TRANSACTIONS_EXPIRED,
    lambda entry, value: list(_list_keys(entry, value)),
)
"""Transactions and cases go together, an hour or less after their time."""
