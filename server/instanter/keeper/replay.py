"""Fills the overlay anew from the tail of the log: at the start, and when a group is undone."""

from collections.abc import Callable
from functools import partial

from instanter.keeper.applying import apply_record
from instanter.keeper.commands import ApplyContext
from instanter.keeper.records import HEAVY_KINDS, RecordKind
from instanter.keeper.voiding import read_voided
from instanter.store.log.frames import LogRecord
from instanter.store.log.log import Log
from instanter.store.state import State
from instanter.store.transaction import Transaction


def replay_tail(
    state: State, log: Log, fold: Callable[[LogRecord], object], context: ApplyContext
) -> tuple[int, int]:
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

    Returns
    -------
    tuple
        How many records were applied, and the latest time in them, nanoseconds since 1970; 0 when
        there was none.

    Raises
    ------
    LogDamagedError
        Records of the tail are lost.
    """
    start = state.folded_sequence() + 1
    heavy, voided, count, time_ns = _look_ahead(log, start)
    for stop in (*heavy, log.next_sequence):
        state.rebuild(partial(_apply_range, log, range(start, stop), voided, context))
        start = stop
        if stop in heavy:
            fold(next(log.read(stop, stop)))
            start += 1
    return count, time_ns


def _look_ahead(log: Log, start: int) -> tuple[list[int], set[int], int, int]:
    """Return sequences of heavy records, sequences voided, count and latest time of the tail."""
    heavy: list[int] = []
    voided: set[int] = set()
    count = time_ns = 0
    for record in log.read(start):
        count += 1
        time_ns = max(time_ns, record.time_ns)
        if record.kind == RecordKind.VOID:
            voided.add(read_voided(record))
        elif record.kind in HEAVY_KINDS:
            heavy.append(record.sequence)
    return [sequence for sequence in heavy if sequence not in voided], voided, count, time_ns


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
    for record in log.read(sequences[0], sequences[-1]):
        if record.sequence not in voided:
            apply_record(transaction, record, context)
    transaction.set_applied(sequences[-1])
