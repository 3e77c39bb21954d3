"""The transitions of stock alerts, in the order in which they happened: what subscribers follow.

Transitions are numbered 1, 2, 3 … for as long as the store lives, without a gap. Key: the number,
uint64, big-endian. Value, sealed: sequence and time of the log's record that it came with, uint64
and int64, little-endian, then the transition, packed. Under the key 0 stands which are there: first
and last, uint64 each. Old ones go with later records, so that a replay keeps and drops the same.
"""

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from instanter.errors import DamagedError
from instanter.store.databases import STOCK_ALERT_LOG
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

_EXTENT: Final = struct.Struct("<QQ")
_RECORD: Final = struct.Struct("<Qq")
_EXTENT_KEY: Final = bytes(8)


class AlertExtent(NamedTuple):
    """Which transitions are there.

    Attributes
    ----------
    first
        The oldest that is kept; `last + 1` when none is.
    last
        The newest; 0 before there was any.
    """

    first: int
    last: int


class LoggedTransition(NamedTuple):
    """One transition.

    Attributes
    ----------
    sequence
        Its number.
    record_sequence
        Sequence of its record in the log. It may be told to anybody once the log is on disk up to
        there, and not before: a power cut would take it back, and its number be given again.
    time_ns
        When it happened, by the server's clock, nanoseconds since 1970.
    packed
        What happened, see `keeper/stock_alert_book`.
    """

    sequence: int
    record_sequence: int
    time_ns: int
    packed: bytes


NO_TRANSITIONS: Final = AlertExtent(1, 0)
"""Of a store that never had an alert."""


def load_extent(transaction: Transaction) -> AlertExtent:
    """Return which transitions are there. Costs 2 µs.

    Raises
    ------
    DamagedError
        What says so is damaged.
    """
    found = transaction.get(STOCK_ALERT_LOG, _EXTENT_KEY)
    if found is None:
        return NO_TRANSITIONS
    return AlertExtent(*_EXTENT.unpack(unseal(_EXTENT_KEY, found)))


def load_transitions(transaction: Transaction, after: int, limit: int) -> list[LoggedTransition]:
    """Return the transitions behind one, in their order.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    after
        The number before the first that is wanted.
    limit
        How many at most.

    Raises
    ------
    DamagedError
        One of them is damaged; its `metadata` names it as `sequence`.
    """
    first, last = load_extent(transaction)
    start = max(after + 1, first)
    return [
        load_transition(transaction, sequence)
        for sequence in range(start, min(last, start + limit - 1) + 1)
    ]


def load_transition(transaction: Transaction, sequence: int) -> LoggedTransition:
    """Return one transition that is kept.

    Raises
    ------
    DamagedError
        It is damaged; its `metadata` names it as `sequence`.
    """
    key = sequence.to_bytes(8, "big")
    found = transaction.get(STOCK_ALERT_LOG, key)
    if found is None:
        raise _damaged(sequence)
    try:
        value = unseal(key, found)
    except DamagedError:
        raise _damaged(sequence) from None
    record_sequence, time_ns = _RECORD.unpack_from(value)
    return LoggedTransition(sequence, record_sequence, time_ns, value[_RECORD.size :])


def append_transitions(
    transaction: Transaction, record_sequence: int, time_ns: int, packed: Iterable[bytes]
) -> AlertExtent:
    """Append transitions and return which are there now.

    Parameters
    ----------
    transaction
        An open write transaction.
    record_sequence, time_ns
        As in `LoggedTransition`.
    packed
        What happened, in order: the first has the number behind the last that is there.
    """
    first, last = load_extent(transaction)
    head = _RECORD.pack(record_sequence, time_ns)
    for each in packed:
        last += 1
        key = last.to_bytes(8, "big")
        transaction.put(STOCK_ALERT_LOG, key, seal(key, head + each))
    extent = AlertExtent(first, last)
    _put_extent(transaction, extent)
    return extent


def drop_transitions(transaction: Transaction, until_ns: int, limit: int) -> int:
    """Drop the oldest transitions, those before a time; return how many.

    Parameters
    ----------
    transaction
        An open write transaction.
    until_ns
        Nanoseconds since 1970: older ones go. A damaged one goes with them.
    limit
        How many at most: bounds how long other writes wait.
    """
    first, last = load_extent(transaction)
    begin = first
    while first <= last and first - begin < limit and _is_older(transaction, first, until_ns):
        transaction.delete(STOCK_ALERT_LOG, first.to_bytes(8, "big"))
        first += 1
    if first > begin:
        _put_extent(transaction, AlertExtent(first, last))
    return first - begin


def has_older(transaction: Transaction, until_ns: int) -> bool:
    """Return whether `drop_transitions` has something to drop."""
    first, last = load_extent(transaction)
    return first <= last and _is_older(transaction, first, until_ns)


def _is_older(transaction: Transaction, sequence: int, until_ns: int) -> bool:
    """Return whether a transition is older than a time, or damaged."""
    try:
        return load_transition(transaction, sequence).time_ns < until_ns
    except DamagedError:
        return True


def _put_extent(transaction: Transaction, extent: AlertExtent) -> None:
    transaction.put(STOCK_ALERT_LOG, _EXTENT_KEY, seal(_EXTENT_KEY, _EXTENT.pack(*extent)))


def _damaged(sequence: int) -> DamagedError:
    return DamagedError(
        f"transition {sequence} of the stock alerts is damaged in the store",
        metadata={"sequence": str(sequence)},
    )
