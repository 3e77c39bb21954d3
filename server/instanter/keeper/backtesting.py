"""Back-tests of the check at the till: the log's transactions and labels through other rules."""

from collections.abc import Callable, Iterator
from typing import Final

from instanter.catalogue.fraud_words import ListKind
from instanter.fraud.simulation import Simulation, SimulationResult
from instanter.keeper.commands import unpack_body
from instanter.keeper.labels import Label, TakenOutcome
from instanter.keeper.records import RecordKind
from instanter.keeper.transaction_records import unpack_transaction
from instanter.keeper.verdicts import unpack_verdict
from instanter.keeper.voiding import read_voided
from instanter.store.log.frames import LogRecord

ReadLog = Callable[[], Iterator[LogRecord]]
"""Returns the log's records from the first one that is kept, in order; it is read twice."""

Report = Callable[[int, int], None]
"""Told of progress: how many transactions were replayed, and how many there are."""

_REPORT_EVERY: Final = 1_000
_NOTHING_LISTED: Final[frozenset[ListKind]] = frozenset()


def run_backtest(read_log: ReadLog, simulation: Simulation, report: Report) -> SimulationResult:
    """Replay a log and return what the given rules would have done.

    Parameters
    ----------
    read_log
        Reads it.
    simulation
        With the given rules.
    report
        Is told of progress, from this thread; what it raises ends the back-test.

    Raises
    ------
    InvalidFieldError
        A transaction cannot be, whatever the rules.
    LogDamagedError
        A record is not what was written.
    """
    voided: set[int] = set()
    count = last = 0
    for record in read_log():
        last = record.sequence
        count += record.kind == RecordKind.ASSESSMENTS
        if record.kind == RecordKind.VOID:
            voided.add(read_voided(record))
    done = 0
    report(done, count)
    for record in read_log():
        if record.sequence > last:
            # It came since the survey, and may be void without the survey's having seen that.
            break
        if record.sequence in voided:
            continue
        if record.kind == RecordKind.ASSESSMENTS:
            _assess(record, simulation)
            done += 1
            if done % _REPORT_EVERY == 0:
                report(done, count)
        elif record.kind in (RecordKind.TRANSACTION_OUTCOMES, RecordKind.CASE_CHANGES):
            _label(record, simulation)
    report(count, count)
    return simulation.finish()


def _assess(record: LogRecord, simulation: Simulation) -> None:
    body = unpack_body(record)
    verdict = unpack_verdict(body["verdict"])
    simulation.assess(
        body["key"],
        unpack_transaction(body["transaction"]),
        now_ns=record.time_ns,
        live=verdict.disposition,
        listed=frozenset(verdict.hotlists) if verdict.hotlists else _NOTHING_LISTED,
    )


def _label(record: LogRecord, simulation: Simulation) -> None:
    body = unpack_body(record)
    if record.kind == RecordKind.CASE_CHANGES:
        entries = [] if body["outcome"] is None else [body["outcome"]]
    else:
        entries = body["entries"]
    for entry in entries:
        taken = TakenOutcome._make(entry)
        if taken.label != Label.NONE:
            simulation.label(taken.key, fraud=taken.label == Label.FRAUD)
