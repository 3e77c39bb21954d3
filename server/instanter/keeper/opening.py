"""Opens a store's folder for writing: lock, state, log, keeper, in this order."""

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from instanter.clock import Clock
from instanter.events_log import EventsLog
from instanter.keeper.clock_watch import ClockWatch
from instanter.keeper.commands import ApplyContext
from instanter.keeper.fold_process import FoldProcess
from instanter.keeper.fraud_desk import FraudDesk
from instanter.keeper.keeper import Keeper, OnSynced
from instanter.keeper.learner import Learner, OnLearned
from instanter.keeper.live_scores import LiveScores
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.response import ResponseDesk
from instanter.keeper.ticking import Ticker
from instanter.metrics import Metrics
from instanter.store.log.log import Log
from instanter.store.log.retention import Retention
from instanter.store.log.segments import LOG_FOLDER_NAME
from instanter.store.log.survey import TornTail
from instanter.store.opening import check_folder
from instanter.store.secret import make_secret
from instanter.store.server_lock import KeeperLock
from instanter.store.state import State

_LOCK_WAIT_NS: Final = 2_000_000_000
"""Time that a keeper which was killed has to let go of the lock."""


class KeptStore:
    """A store's folder with its keeper, running. `close` it, or use it in a `with` block.

    Attributes
    ----------
    state, log, keeper, learner
        The parts.
    response
        Records decisions and their outcomes.
    ticker
        Looks for what time alone brings about.
    """

    __slots__ = ("_lock", "keeper", "learner", "log", "response", "state", "ticker")

    def __init__(
        self,
        lock: KeeperLock,
        state: State,
        log: Log,
        keeper: Keeper,
        learner: Learner,
        response: ResponseDesk,
        ticker: Ticker,
    ) -> None:
        self._lock = lock
        self.state = state
        self.log = log
        self.keeper = keeper
        self.learner = learner
        self.response = response
        self.ticker = ticker

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock: Clock,
        metrics: Metrics,
        events_log: EventsLog,
        fresh_overlay: bool = True,
        lock_wait_ns: int = _LOCK_WAIT_NS,
        on_learned: OnLearned | None = None,
        on_synced: OnSynced | None = None,
        retention: Retention | None = None,
    ) -> Self:
        """Open a folder, made when it is new, and replay what its base does not hold yet.

        Parameters
        ----------
        folder
            The store's folder.
        clock, metrics, events_log
            As in `Keeper`.
        fresh_overlay
            Whether to throw the overlay's file away first; not while other processes read it.
        lock_wait_ns
            How long to wait for a keeper that was killed to let go of the folder.
        on_learned
            As in `Learner`.
        on_synced
            As in `Keeper`.
        retention
            As in `Log.open`.

        Raises
        ------
        PreconditionError
            Another process writes this store, the folder holds something else, or a newer version
            wrote it.
        LogDamagedError
            Records that the base does not hold are lost.
        ExhaustedError
            The disk is full.
        """

        def on_torn(tail: TornTail) -> None:
            events_log.warning("log_tail_cut", tail=str(tail))

        # The store first: it refuses a folder that is none, before a lock file is left in it.
        check_folder(folder, writable=True)
        lock = KeeperLock.acquire(folder, wait_ns=lock_wait_ns)
        state: State | None = None
        log: Log | None = None
        try:
            state = State.open(folder, writable=True, fresh_overlay=fresh_overlay)
            _tell_how_written(state, events_log)
            make_secret(state.base)
            log = Log.open(
                folder / LOG_FOLDER_NAME,
                clock=clock,
                on_torn=on_torn,
                read_from=state.folded_sequence() + 1,
                retention=retention,
            )
            learner = Learner(
                audience=LiveScores(folder, state, clock=clock),
                events_log=events_log,
                on_learned=on_learned,
            )
            published = PublishedCatalogue(is_told=True)
            keeper = Keeper(
                state,
                log,
                context=ApplyContext(published, fraud=FraudDesk(_make_report(events_log), clock)),
                clock=clock,
                metrics=metrics,
                events_log=events_log,
                collect=learner.collect,
                on_written=learner.take,
                on_synced=on_synced,
                fold_process=FoldProcess(folder, lock.descriptor),
            )
            response = ResponseDesk(keeper.submit, log.reader.read_at, clock=clock)
            watch = ClockWatch(
                keeper.log_time_ns, clock=clock, metrics=metrics, events_log=events_log
            )
            ticker = _make_ticker(state, keeper, response, published, clock, watch, events_log)
            _begin_learning(learner, keeper, state, log)
            replayed_count = keeper.start()
            learner.start()
        except BaseException:
            for part in (log, state):
                if part is not None:
                    part.close()
            lock.release()
            raise
        if replayed_count:
            events_log.info("log_replayed", record_count=replayed_count)
        response.start()
        ticker.start()
        return cls(lock, state, log, keeper, learner, response, ticker)

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Finish the writes that wait, fold everything, and give the folder back."""
        with ExitStack() as parts:
            parts.callback(self._lock.release)
            parts.callback(self.state.close)
            parts.callback(self.log.close)
            # The last fold takes what has been learned with it.
            parts.callback(self.learner.stop)
            parts.callback(self.keeper.stop)
            self.ticker.stop()
            self.response.stop()


def _make_report(events_log: EventsLog) -> Callable[[Exception], None]:
    """Return what takes the failures of assessments."""

    def report(error: Exception) -> None:
        # The transaction is answered by the stand-in table; this is how its cause is found.
        correlation_id = secrets.token_hex(8)
        events_log.error("assessment_failed", correlation_id=correlation_id, exc_info=error)

    return report


def _make_ticker(
    state: State,
    keeper: Keeper,
    response: ResponseDesk,
    published: PublishedCatalogue,
    clock: Clock,
    watch: ClockWatch,
    events_log: EventsLog,
) -> Ticker:
    """Return what looks for what is due, and at the clock."""
    return Ticker(
        state,
        keeper.submit,
        make_tick=response.make_tick,
        published=published,
        clock=clock,
        events_log=events_log,
        clock_watch=watch,
    )


def _tell_how_written(state: State, events_log: EventsLog) -> None:
    """Say when writes take the longer way, for whoever wonders why this machine is slower."""
    if not state.is_written_through_map:
        events_log.info("overlay_written_by_calls", folder=str(state.folder))


def _begin_learning(learner: Learner, keeper: Keeper, state: State, log: Log) -> None:
    """Take up what has been learned, and hand over what there is still to be learned of the log.

    The state's own replay does not serve for that: it knows nothing of what the learner lacks.
    """
    folded_sequence = state.folded_sequence()
    with state.base.read() as transaction:
        learned = learner.begin(transaction, folded_sequence)
    learner.wait_synced = keeper.wait_synced
    last = log.next_sequence - 1
    start = max(learned + 1, log.reader.first_sequence())
    if start <= last:
        learner.catch_up(log.read(start, last), last)
