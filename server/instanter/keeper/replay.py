"""Fills the overlay anew from the tail of the log: at the start, and when a group is undone."""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from instanter.keeper.applying import apply_records
from instanter.keeper.commands import ApplyContext
from instanter.keeper.records import HEAVY_KINDS, RecordKind
from instanter.keeper.voiding import read_voided
from instanter.store.log.frames import LogRecord
from instanter.store.log.log import Log
from instanter.store.state import State
from instanter.store.transaction import Transaction

_COSTS: Final[dict[int, tuple[int, int]]] = {
    RecordKind.EVENTS: (5_000, 55),
    RecordKind.STOCK_MOVEMENTS: (20_000, 120),
    RecordKind.STOCK_TICK: (20_000, 180),
}
"""By kind, what applying a record again takes: nanoseconds, and of each byte of its body; measured
with 15,000 events, one by one and in batches of 100, with 17,000 movements and 400 positions."""

_COST: Final = (20_000, 60)
"""The same of all others: a card transaction takes 40 µs, a turn of 30 decisions less."""


def estimate_replay_ns(record: LogRecord) -> int:
    """Return about how long it takes to apply a record again, nanoseconds of processor time."""
    each_ns, byte_ns = _COSTS.get(record.kind, _COST)
    return each_ns + byte_ns * len(record.body)


class Replayed(NamedTuple):
    """What was replayed.

    Attributes
    ----------
    record_count
        How many records.
    time_ns
        The latest time in them, nanoseconds since 1970; 0 when there was none.
    replay_ns
        How long that takes each time, see `estimate_replay_ns`.
    """

    record_count: int
    time_ns: int
    replay_ns: int


def replay_tail(
    state: State, log: Log, fold: Callable[[LogRecord], object], context: ApplyContext
) -> Replayed:
    """Throw the overlay away and apply all records that the base does not hold.

    Parameters
    ----------
    state
        The store, opened for writing; nobody writes into it meanwhile.
    log
        Its log.
    fold
        Folds everything before a heavy record, and that record, into the base.
    context
        What applying uses.

    Raises
    ------
    LogDamagedError
        Records of the tail are lost.
    """
    start = state.folded_sequence() + 1
    heavy, voided, replayed = _look_ahead(log, start)
    for stop in (*heavy, log.next_sequence):
        state.rebuild(partial(_apply_range, log, range(start, stop), voided, context))
        start = stop
        if stop in heavy:
            fold(next(log.read(stop, stop)))
            start += 1
    return replayed


def _look_ahead(log: Log, start: int) -> tuple[list[int], set[int], Replayed]:
    """Return sequences of heavy records, sequences voided, and how much the tail is."""
    heavy: list[int] = []
    voided: set[int] = set()
    count = time_ns = replay_ns = 0
    for record in log.read(start):
        count += 1
        time_ns = max(time_ns, record.time_ns)
        if record.kind == RecordKind.VOID:
            voided.add(read_voided(record))
        elif record.kind in HEAVY_KINDS:
            heavy.append(record.sequence)
            continue
        replay_ns += estimate_replay_ns(record)
    live = [sequence for sequence in heavy if sequence not in voided]
    return live, voided, Replayed(count, time_ns, replay_ns)


def _apply_range(
    log: Log,
    sequences: range,
    voided: set[int],
    context: ApplyContext,
    transaction: Transaction,
) -> None:
    """Apply the records of a range, none of them heavy unless voided."""
    if not sequences:
        return
    records = log.read(sequences[0], sequences[-1])
    live = (record for record in records if record.sequence not in voided)
    apply_records(transaction, live, context)
    transaction.set_applied(sequences[-1])
