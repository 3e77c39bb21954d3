"""The keeper: the single writer of a store, its log in front.

Three threads share the work. The *apply* thread takes the commands that wait as one group: it
checks each, appends its record to the log, applies it to the overlay, writes the group's frames
and makes the overlay's changes visible. The *sync* thread forces the log to disk, once for all
groups that were written meanwhile, and only then answers those who asked for durability. The
*fold* thread brings the base up to date now and then, so that the log's tail stays short.

What dies where: before the frames are written nothing has happened; after that, the record is in
the log and is replayed at the next start whether it was acknowledged or not. The overlay is thrown
away and filled anew at every start, so nothing depends on what of it had reached the disk.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from instanter.clock import Clock
from instanter.errors import ExhaustedError, ExpiredError, InstanterError, UnavailableError
from instanter.events_log import EventsLog
from instanter.keeper.applying import apply_record
from instanter.keeper.commands import Answered, ApplyContext, Command
from instanter.keeper.folding import Collect, Folder
from instanter.keeper.records import HEAVY_KINDS, PATIENT_KINDS
from instanter.keeper.replay import replay_tail
from instanter.keeper.voiding import VoidRecord
from instanter.keeper.waiting import Unsynced, Waiting, make_unknown, resolve
from instanter.limits import RELAXED_NS_MAX, WRITES_GROUP_MAX, WRITES_WAITING_MAX
from instanter.metrics import Metrics
from instanter.store.log.frames import LogRecord
from instanter.store.log.log import Log
from instanter.store.state import State
from instanter.store.transaction import Transaction

T = TypeVar("T")

_PATIENCE_S: Final = 0.01
_PATIENT_MAX: Final = 128
"""How long, and how many, commands that nobody waits for are gathered: one transaction for the
decisions of 10 ms, instead of one for each turn, which cost more than the turn itself."""

_HOUSEKEEPING_S: Final = 0.05
"""How often the apply thread looks for housekeeping while no command comes."""


class Keeper:
    """Carries out commands one after another; see the module.

    Parameters
    ----------
    state
        The store, opened for writing.
    log
        Its log.
    context
        What applying uses.
    clock
        Gives each record its time, and tells whether a caller still waits.
    metrics
        Counts writes and groups.
    events_log
        Told of what operators should know.
    collect
        As in `Folder`.
    on_written
        Called with the records of each group once they are written into the log, heavy ones once
        they are applied; for whoever follows the log.
    """

    def __init__(
        self,
        state: State,
        log: Log,
        *,
        context: ApplyContext,
        clock: Clock,
        metrics: Metrics,
        events_log: EventsLog,
        collect: Collect | None = None,
        on_written: Callable[[Sequence[LogRecord]], object] | None = None,
    ) -> None:
        self._state = state
        self._log = log
        self._context = context
        self._clock = clock
        self._metrics = metrics
        self._events_log = events_log
        self._on_written = on_written
        self._fresh: list[LogRecord] = []
        self._folder = Folder(
            state,
            log,
            context=context,
            clock=clock,
            wait_synced=self.wait_synced,
            events_log=events_log,
            collect=collect,
        )
        self._queue: deque[Waiting[Any]] = deque()
        self._pressing_count = 0
        self._wake = threading.Condition()
        self._accepting = False
        self._written: deque[Unsynced] = deque()
        self._sync_wake = threading.Condition()
        self._syncing = False
        self._wanted_sequence = 0
        self._synced = threading.Condition()
        self._last_time_ns = 0
        self._apply_thread = threading.Thread(target=self._run, name="apply", daemon=True)
        self._sync_thread = threading.Thread(target=self._run_syncs, name="sync", daemon=True)
        self._failure: InstanterError | None = None
        self.failed = threading.Event()

    @property
    def failure(self) -> InstanterError | None:
        """Why it takes no more commands, for good; None while all is well."""
        return self._failure

    def start(self) -> int:
        """Replay what the base does not hold yet, then take commands; return records replayed.

        Raises
        ------
        LogDamagedError
            Records that the base does not hold are lost.
        ExhaustedError
            The disk is full.
        """
        replayed_count, self._last_time_ns = replay_tail(
            self._state, self._log, self._folder.fold, self._context
        )
        self._accepting = self._syncing = True
        self._sync_thread.start()
        self._apply_thread.start()
        self._folder.start()
        return replayed_count

    def stop(self) -> None:
        """Take no more commands, finish those that wait, sync the log and fold everything."""
        with self._wake:
            self._accepting = False
            self._wake.notify()
        if self._apply_thread.is_alive():
            self._apply_thread.join()
        with self._sync_wake:
            self._syncing = False
            self._sync_wake.notify()
        if self._sync_thread.is_alive():
            self._sync_thread.join()
        self._folder.stop(last_fold=self._failure is None)

    def submit(
        self, command: Command[T], deadline_ns: int | None = None, *, relaxed: bool = False
    ) -> Future[T]:
        """Queue a command; the future has its result once that is acknowledged.

        A future that is cancelled before the command's turn drops it.

        Parameters
        ----------
        command
            See `Command`.
        deadline_ns
            Time of the clock's `monotonic_ns` after which the command is not begun any more.
        relaxed
            Acknowledge when the operating system has the record, not only when the disk has it.

        Raises
        ------
        ExhaustedError
            `limits.WRITES_WAITING_MAX` commands wait already.
        UnavailableError
            The keeper is not running, or its log has failed.
        """
        future: Future[T] = Future()
        with self._wake:
            if not self._accepting:
                raise self._failure or UnavailableError(
                    "the server is stopping and takes no more writes"
                )
            if len(self._queue) >= WRITES_WAITING_MAX:
                raise ExhaustedError(
                    f"{WRITES_WAITING_MAX} writes wait for the disk already; retry later",
                    reason="WRITES_WAITING_EXHAUSTED",
                )
            self._queue.append(Waiting(command, deadline_ns, relaxed, future))
            presses = command.kind not in PATIENT_KINDS
            self._pressing_count += presses
            if presses or len(self._queue) in (1, _PATIENT_MAX):
                self._wake.notify()
        return future

    def _run(self) -> None:
        """Carry out group after group until the keeper is stopped and nothing waits."""
        try:
            while (group := self._take_group()) is not None:
                live = [waiting for waiting in group if self._is_wanted(waiting)]
                if live:
                    if live[0].command.kind in HEAVY_KINDS:
                        self._carry_out_heavy(live[0])
                    else:
                        self._carry_out(live)
                self._folder.clean_up()
        except InstanterError as error:
            self._fail(error)
        except BaseException as error:
            self._fail(UnavailableError(f"the keeper has failed: {error!r}"))
            raise

    def _take_group(self) -> list[Waiting[Any]] | None:
        """Wait for commands and return them, a heavy one alone; None when the keeper is to end.

        Empty when none came for a while: there may be housekeeping.
        """
        with self._wake:
            self._wake.wait_for(
                lambda: self._queue or not self._accepting,
                _HOUSEKEEPING_S if self._folder.has_to_clean_up else None,
            )
            if not self._queue:
                return [] if self._accepting else None
            self._wake.wait_for(self._is_pressed, _PATIENCE_S)
            group: list[Waiting[Any]] = []
            while self._queue and len(group) < WRITES_GROUP_MAX:
                heavy = self._queue[0].command.kind in HEAVY_KINDS
                if heavy and group:
                    break
                waiting = self._queue.popleft()
                self._pressing_count -= waiting.command.kind not in PATIENT_KINDS
                group.append(waiting)
                if heavy:
                    break
            return group

    def _is_pressed(self) -> bool:
        """Return whether somebody waits, or so much has come that it is time."""
        return self._pressing_count > 0 or not self._accepting or len(self._queue) >= _PATIENT_MAX

    def _is_wanted(self, waiting: Waiting[Any]) -> bool:
        """Return whether a command is still wanted; tell its future when it is too late."""
        if not waiting.future.set_running_or_notify_cancel():
            return False
        if waiting.deadline_ns is None or self._clock.monotonic_ns() < waiting.deadline_ns:
            return True
        waiting.future.set_exception(
            ExpiredError("the deadline passed while the write waited; nothing was written")
        )
        return False

    def _carry_out(self, group: Sequence[Waiting[Any]]) -> None:
        """Carry out a group of commands."""
        now_ns = self._advance_time()
        mark = self._log.mark()

        def change(transaction: Transaction) -> list[Any]:
            # It may run again, when the map has to grow: what the last try appended is dropped.
            self._log.rollback(mark)
            self._fresh = []
            return [self._carry_out_one(w.command, transaction, now_ns) for w in group]

        try:
            outcomes = self._state.write(change)
        except InstanterError as error:
            # The store itself refused: nothing of the group has happened.
            self._log.rollback(mark)
            for waiting in group:
                waiting.future.set_exception(error)
            return
        except Exception as error:  # noqa: BLE001 - handed to the one whose command raised it
            self._log.rollback(mark)
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            for waiting in group:
                self._carry_out([waiting])
            return
        if self._log.next_sequence > self._log.written_sequence + 1:
            try:
                self._log.write_group()
            except ExhaustedError as error:
                self._undo(group, error)
                return
            except InstanterError as error:
                for waiting in group:
                    waiting.future.set_exception(make_unknown(error))
                raise
        self._hand_over(self._fresh)
        self._metrics.writes_count += sum(not isinstance(o, InstanterError) for o in outcomes)
        self._metrics.write_groups_count += 1
        self._answer(group, outcomes, self._log.written_sequence)

    def _carry_out_one(self, command: Command[Any], transaction: Transaction, now_ns: int) -> Any:
        """Return the command's result, or the error that it is refused with."""
        try:
            body = command.prepare(transaction, now_ns, self._context)
        except InstanterError as error:
            return error
        if isinstance(body, Answered):
            return body.result
        record = self._log.append(command.kind, now_ns, body)
        self._fresh.append(record)
        result = apply_record(transaction, record, self._context)
        transaction.set_applied(record.sequence)
        return result

    def _undo(self, group: Sequence[Waiting[Any]], error: ExhaustedError) -> None:
        """Take the group's changes back out of the overlay: the log has no room for them."""
        self._folder.note_undone()
        with self._synced:
            self._synced.notify_all()
        try:
            replay_tail(self._state, self._log, self._folder.fold, self._context)
        finally:
            for waiting in group:
                waiting.future.set_exception(error)

    def _answer(self, group: Sequence[Waiting[Any]], outcomes: list[Any], sequence: int) -> None:
        """Answer the relaxed callers of a group now, the others once its frames are on disk.

        Refusals and repeated answers wait too: what they tell of may be in the same group, or in
        one that is not on disk yet.
        """
        later: list[tuple[Future[Any], Any]] = []
        on_disk = self._log.synced_sequence >= sequence
        for waiting, outcome in zip(group, outcomes, strict=True):
            if waiting.relaxed or on_disk:
                resolve(waiting.future, outcome)
            else:
                later.append((waiting.future, outcome))
        if on_disk:
            return
        with self._sync_wake:
            self._written.append(Unsynced(sequence, later))
            self._sync_wake.notify()

    def _carry_out_heavy(self, waiting: Waiting[Any]) -> None:
        """Carry out a command that goes straight to the base."""
        future = waiting.future
        now_ns = self._advance_time()
        try:
            with self._state.read() as transaction:
                body = waiting.command.prepare(transaction, now_ns, self._context)
            if isinstance(body, Answered):
                future.set_result(body.result)
                return
            record = self._log.append(waiting.command.kind, now_ns, body)
            self._write_and_wait(record)
        except InstanterError as error:
            future.set_exception(error)
            return
        except Exception as error:  # noqa: BLE001 - handed to the one whose command raised it
            future.set_exception(error)
            return
        try:
            result = self._folder.fold(record)
        except Exception as error:  # noqa: BLE001 - handed to the one whose command raised it
            # It is in the log, and must not come to life at the next start.
            self._carry_out([Waiting(VoidRecord(record.sequence), None, False, Future())])
            future.set_exception(error)
            return
        self._hand_over([record])
        self._metrics.writes_count += 1
        self._metrics.write_groups_count += 1
        future.set_result(result)

    def _hand_over(self, records: Sequence[LogRecord]) -> None:
        """Tell whoever follows the log what has been written."""
        if self._on_written is not None and records:
            self._on_written(records)

    def _write_and_wait(self, record: LogRecord) -> None:
        """Write a record's frame and wait until it is on disk."""
        self._log.write_group()
        with self._sync_wake:
            self._written.append(Unsynced(record.sequence, ()))
            self._sync_wake.notify()
        self.wait_synced(record.sequence)

    def _advance_time(self) -> int:
        """Return the time of the next records, which never goes back."""
        self._last_time_ns = max(self._clock.now_ns(), self._last_time_ns)
        return self._last_time_ns

    def _run_syncs(self) -> None:
        """Force the log to disk again and again, and answer those who waited for it."""
        while (ready := self._take_written()) is not None:
            if not ready:
                continue
            try:
                self._log.sync()
            except InstanterError as error:
                self._fail(error)
                for unsynced in ready:
                    for future, _ in unsynced.answers:
                        future.set_exception(make_unknown(error))
                self._drop_written(error)
                return
            with self._synced:
                self._synced.notify_all()
            for unsynced in ready:
                for future, outcome in unsynced.answers:
                    resolve(future, outcome)

    def _take_written(self) -> list[Unsynced] | None:
        """Wait for groups to sync and return them; None when the thread is to end.

        A group that nobody waits for may stay for `RELAXED_NS_MAX`, to share its sync.
        """
        with self._sync_wake:
            self._sync_wake.wait_for(lambda: self._written or not self._syncing)
            if not self._written:
                return None if not self._syncing else []
            self._sync_wake.wait_for(
                lambda: not self._syncing or self._is_awaited(), RELAXED_NS_MAX / 1e9
            )
            ready = list(self._written)
            self._written.clear()
            return ready

    def _is_awaited(self) -> bool:
        """Return whether somebody waits for what has been written."""
        wanted = self._wanted_sequence > self._log.synced_sequence
        return wanted or any(unsynced.answers for unsynced in self._written)

    def wait_synced(self, sequence: int, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until the log is on disk up to `sequence`, or until `is_given_up`.

        Raises
        ------
        UnavailableError
            The log has failed.
        """
        with self._sync_wake:
            self._wanted_sequence = max(self._wanted_sequence, sequence)
            self._sync_wake.notify()
        with self._synced:
            self._synced.wait_for(
                lambda: (
                    self._log.synced_sequence >= sequence
                    or self._failure is not None
                    or is_given_up()
                )
            )
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: InstanterError) -> None:
        """Stop all acknowledgements for good: only a restart from the log can go on."""
        with self._wake:
            self._accepting = False
            self._failure = error
            waiting, self._queue = self._queue, deque()
            self._pressing_count = 0
            self._wake.notify()
        for each in waiting:
            if each.future.set_running_or_notify_cancel():
                each.future.set_exception(error)
        with self._synced:
            self._synced.notify_all()
        self._events_log.error("keeper_failed", reason=error.reason, message=error.message)
        self.failed.set()

    def _drop_written(self, error: InstanterError) -> None:
        """Tell everybody whose record is not known to be on disk."""
        with self._sync_wake:
            dropped, self._written = self._written, deque()
        for unsynced in dropped:
            for future, _ in unsynced.answers:
                future.set_exception(make_unknown(error))
