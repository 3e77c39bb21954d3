"""Brings the base up to date from the overlay, so that the tail to replay stays short."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from instanter.clock import Clock
from instanter.errors import InstanterError
from instanter.events_log import EventsLog
from instanter.keeper.applying import apply_record
from instanter.keeper.commands import ApplyContext
from instanter.keeper.fold_process import Allowed, FoldProcess, FoldProcessError
from instanter.keeper.open_waits import find_needed_ns, find_wait_ns
from instanter.limits import FOLD_ENTRIES, FOLD_NS, FOLD_REPLAY_NS, PURGE_ROWS
from instanter.store.log.frames import LogRecord
from instanter.store.log.log import Log
from instanter.store.model_states import LearnedStates, put_learned
from instanter.store.state import FoldResult, State
from instanter.store.transaction import Transaction

Collect = Callable[[int], LearnedStates | None]
"""From a sequence to what has been learned up to there, to be written with it."""

_STEP_S: Final = 0.25
_STEPS_MAX: Final = int(FOLD_NS / 1e9 / _STEP_S)
"""How often it is looked whether there is much to fold; after so many times, little is enough."""


class Folder:
    """Folds now and then on a thread of its own, and heavy records when it is told to.

    Parameters
    ----------
    state
        The store.
    log
        Its log, which may drop what the base holds.
    clock
        Tells how old the log's segments are.
    context
        What applying uses.
    wait_synced
        Waits until the log is on disk up to a sequence, or until what it is given holds: the base
        must never hold what the log may lose.
    look_again
        Lets whoever waits there look whether that holds by now.
    events_log
        Told of a fold that failed.
    collect
        Returns what learners have learned up to a sequence, to be folded with it.
    process
        Folds instead of the thread, so that the interpreter's lock is free; None to leave
        everything to the thread.
    """

    def __init__(
        self,
        state: State,
        log: Log,
        *,
        context: ApplyContext,
        clock: Clock,
        wait_synced: Callable[[int, Callable[[], bool]], None],
        look_again: Callable[[], None],
        events_log: EventsLog,
        collect: Collect | None = None,
        process: FoldProcess | None = None,
    ) -> None:
        self._state = state
        self._log = log
        self._clock = clock
        self._context = context
        self._wait_synced = wait_synced
        self._look_again = look_again
        self._events_log = events_log
        self._collect = collect
        self._process = process
        # Whoever takes back what the overlay shows may have to fold a heavy record meanwhile.
        self._folding = threading.RLock()
        self._undone_count = 0
        # Both only grow; the one is the writer's, the other the folding thread's.
        self._noted_ns = 0
        self._noted_folded_ns = 0
        self._told_wait_ns = 0
        self._folded: FoldResult[Any] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fold", daemon=True)

    def undo(self, replay: Callable[[], object]) -> None:
        """Take back what the overlay showed and is not in the log, while nothing is folded.

        A fold that may have seen it writes nothing: the sequences of what was undone are given
        again. Called by the thread that writes.

        Parameters
        ----------
        replay
            Makes the overlay anew.
        """
        self._undone_count += 1
        self._look_again()
        with self._folding:
            replay()

    @property
    def has_to_clean_up(self) -> bool:
        """Whether the overlay holds what the base holds as well."""
        return self._folded is not None

    def note_unfolded(self, replay_ns: int) -> None:
        """Note that a start would have so much more to replay; for the writer."""
        self._noted_ns += replay_ns

    def start(self) -> None:
        """Begin to fold."""
        self._thread.start()

    def stop(self, *, last_fold: bool) -> None:
        """End the thread, and fold what is left so that the next start has nothing to replay."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._process is not None:
            self._process.stop()
        if last_fold:
            # What the fold before it has left behind would keep it from beginning.
            self._finish_clean_up()
            self._try_fold()

    def fold(self, heavy: LogRecord) -> Any:
        """Fold everything before a heavy record, and that record; return its result.

        Called by the thread that writes, which thereby waits for it.

        Raises
        ------
        ExhaustedError
            The disk is full; nothing was folded.
        """
        with self._folding:
            self._finish_clean_up()
            self._folded = self._state.fold(
                wait_durable=partial(self._wait_unless_undone, self._undone_count),
                collect=self._collect_change,
                heavy=partial(apply_record, record=heavy, context=self._context),
                heavy_sequence=heavy.sequence,
            )
            self._noted_folded_ns = self._noted_ns
            result = self._folded.heavy_result
            self._finish_clean_up()
        return result

    def clean_up(self, row_count: int) -> None:
        """Delete some of the overlay's keys that the base holds as well; for the writer.

        When all are gone, segments of the log that are too old go too.
        """
        folded = self._folded
        if folded is not None and self._state.purge(folded, row_count):
            now_ns = self._clock.now_ns()
            self._tell_kept_longer()
            kept = self._log.retention
            needed_ns = find_needed_ns(self._state, self._context, now_ns)
            self._log.drop_old(
                keep_from_sequence=folded.folded_sequence + 1,
                now_ns=now_ns,
                retention=replace(kept, age_ns_max=max(kept.age_ns_max, needed_ns)),
            )
            self._folded = None

    def _tell_kept_longer(self) -> None:
        """Say once of each wait that the log is kept for it longer than its setting asks for."""
        wait_ns = find_wait_ns(self._context)
        if self._log.retention.age_ns_max < wait_ns != self._told_wait_ns:
            self._told_wait_ns = wait_ns
            self._events_log.info(
                "log_kept_for_waits",
                wait_s=wait_ns // 1_000_000_000,
                message="the log is kept for longer than --log-keep-days, because presentations "
                "wait that long for an answer; --log-keep-gib bounds it all the same",
            )

    def _finish_clean_up(self) -> None:
        while self._folded is not None:
            self.clean_up(PURGE_ROWS)

    def _run(self) -> None:
        steps = 0
        while not self._stopping.wait(_STEP_S):
            steps += 1
            if steps >= _STEPS_MAX or self._is_much:
                steps = 0
                self._try_fold()

    @property
    def _is_much(self) -> bool:
        """Return whether so much is unfolded that it is time."""
        return (
            self._noted_ns - self._noted_folded_ns >= FOLD_REPLAY_NS
            or self._state.changed_count >= FOLD_ENTRIES
        )

    def _try_fold(self) -> None:
        """Fold unless there is nothing new, or the overlay is not cleaned up yet."""
        if self._folded is not None or self._state.applied_sequence() == (
            self._state.folded_sequence()
        ):
            return
        noted_ns = self._noted_ns
        try:
            with self._folding:
                self._folded = self._fold(self._undone_count)
            self._noted_folded_ns = noted_ns
        except _UndoneError:
            return
        except InstanterError as error:
            # Nothing is lost by it: the log holds everything, and the next try may find room.
            self._events_log.error("fold_failed", reason=error.reason, message=error.message)

    def _fold(self, undone_count: int) -> FoldResult[Any]:
        """Fold in the process, or here where there can be none.

        It is started by the first fold: a keeper that lives for seconds needs none. Here, a thread
        and an event loop that wait for one another's lock may be silent for a second on a machine
        that is busy, and whoever is silent for a second is replaced.
        """
        process = self._process
        if process is not None and not self._stopping.is_set():

            def decide(sequence: int) -> Allowed:
                self._wait_unless_undone(undone_count, sequence)
                learned = None if self._collect is None else self._collect(sequence)
                return Allowed(learned, self._state.take_held(sequence))

            try:
                process.start()
                self._state.begin_fold()
                return self._state.note_folded(*process.fold(decide))
            except FoldProcessError as error:
                self._events_log.error("fold_process_ended", message=str(error))
        return self._state.fold(
            wait_durable=partial(self._wait_unless_undone, undone_count),
            collect=self._collect_change,
        )

    def _collect_change(self, sequence: int) -> Callable[[Transaction], None] | None:
        """Return the change of the base that writes what has been learned, if anything."""
        found = None if self._collect is None else self._collect(sequence)
        return None if found is None else partial(put_learned, found=found)

    def _wait_unless_undone(self, undone_count: int, sequence: int) -> None:
        """Wait until the log is on disk up to what a fold has read.

        Raises
        ------
        _UndoneError
            Something was undone since the fold began. The snapshot may show it, and its sequence
            may by now be another record's.
        """

        def is_undone() -> bool:
            return self._undone_count != undone_count

        self._wait_synced(sequence, is_undone)
        if is_undone():
            raise _UndoneError


class _UndoneError(Exception):
    """A fold is given up; the next one reads anew."""
