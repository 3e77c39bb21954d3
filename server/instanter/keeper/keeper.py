"""The keeper: the single writer of a store, its log in front.

Commands wait in one queue. Those that wait are carried out as one group: each is checked, its
record appended to the log and applied to the overlay; then the group's frames are written and the
overlay's changes become visible. Then the log is synced, once for all groups that were written
meanwhile (see `syncing`), and only then are those answered who asked for durability. The *fold*
thread brings the base up to date now and then, so that the log's tail stays short.

Who carries a group out: where an event loop serves the callers, that loop itself, at the end of
each of its turns, so that no command waits for a thread to get the interpreter's lock (which took
longer than all the rest); commands that take milliseconds are left to the *apply* thread, and so
are all where there is no loop. Never both at a time.

What dies where: before the frames are written nothing has happened; after that, the record is in
the log and is replayed at the next start whether it was acknowledged or not. The overlay is thrown
away and filled anew at every start, so nothing depends on what of it had reached the disk.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from instanter.clock import Clock
from instanter.errors import InstanterError, UnavailableError
from instanter.events_log import EventsLog
from instanter.keeper.carrying import Carrier, OnWritten, Undoing
from instanter.keeper.commands import ApplyContext, Caller, Command, GatheredCommand, Tell
from instanter.keeper.disk_watch import DiskWatch
from instanter.keeper.fold_process import FoldProcess
from instanter.keeper.folding import Collect, Folder
from instanter.keeper.syncing import Syncer
from instanter.keeper.waiting import Waiting, WaitingCommand, WaitingCommands, make_unknown
from instanter.keeper.write_queue import WriteQueue
from instanter.limits import (
    PURGE_ROWS,
    PURGE_ROWS_ON_LOOP,
    WRITES_GROUP_MAX,
    WRITES_ON_LOOP_WEIGHT_MAX,
)
from instanter.metrics import Metrics
from instanter.store.log.log import Log
from instanter.store.state import State

T = TypeVar("T")

OnSynced = Callable[[int], None]
"""Called with the sequence up to which the log is on disk; must return soon."""

_PATIENCE_S: Final = 0.01
"""How long commands that nobody waits for are gathered, unless they are many before: one
transaction for the decisions of 10 ms, instead of one for each turn, which cost more than the turn
itself."""

_HOUSEKEEPING_S: Final = 0.05
"""How often the apply thread looks for housekeeping while no command comes."""

_HOUSEKEEPING_ON_LOOP_S: Final = 0.002
"""Pause between two steps of housekeeping on an event loop: calls are answered in between."""


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
        See `carrying.OnWritten`; for whoever follows the log.
    on_synced
        Called after each sync, behind the answers and where they are given (on the loop, if one is
        attached), with the sequence that is on disk; for what no power cut can take back.
    fold_process
        The `process` of `Folder`.
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
        on_written: OnWritten | None = None,
        on_synced: OnSynced | None = None,
        fold_process: FoldProcess | None = None,
    ) -> None:
        self._events_log = events_log
        self._on_synced = on_synced
        self._syncer = Syncer(
            log,
            clock=clock,
            deliver=self._deliver,
            fail=self._fail,
            on_synced=None if on_synced is None else self._tell_synced,
        )
        self._folder = Folder(
            state,
            log,
            context=context,
            clock=clock,
            wait_synced=self._syncer.wait,
            look_again=self._syncer.look_again,
            events_log=events_log,
            collect=collect,
            process=fold_process,
        )
        self._carrier = Carrier(
            state,
            log,
            context=context,
            clock=clock,
            metrics=metrics,
            folder=self._folder,
            syncer=self._syncer,
            disk_watch=DiskWatch(clock=clock, events_log=events_log),
            on_written=on_written,
        )
        self.log_time_ns = self._carrier.log_time_ns
        self._queue = WriteQueue()
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._accepting = False
        self._carrying = False
        self._undoing: Undoing | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._turn_comes = False
        self._patience: asyncio.TimerHandle | None = None
        self._housekeeping: asyncio.TimerHandle | None = None
        self._deliveries: deque[Callable[[], None]] = deque()
        self._apply_thread = threading.Thread(target=self._run, name="apply", daemon=True)
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
        replayed_count = self._carrier.replay()
        self._accepting = True
        self._syncer.start()
        self._apply_thread.start()
        self._folder.start()
        return replayed_count

    def stop(self) -> None:
        """Take no more commands, finish those that wait, sync the log and fold everything.

        Not on a loop that is attached.
        """
        with self._lock:
            self._accepting = False
            self._wake.notify()
        if self._apply_thread.is_alive():
            self._apply_thread.join()
        self._syncer.stop()
        self._folder.stop(last_fold=self._failure is None)

    def attach(self) -> None:
        """Carry out light commands on the running event loop from now on, and answer there.

        While one is attached, nobody may wait on its thread for a command's future.
        """
        with self._lock:
            assert self._loop is None, "one loop at a time"
            self._loop = asyncio.get_running_loop()
            self._loop_thread = threading.get_ident()
            self._syncer.attach(self._loop)
            self._call_turn()
        self._keep_house()

    def detach(self) -> None:
        """Leave everything to the threads again; on the loop that was attached."""
        assert self._loop is not None, "one was attached"
        self._syncer.detach(self._loop)
        with self._lock:
            self._loop = None
            for timer in (self._patience, self._housekeeping):
                if timer is not None:
                    timer.cancel()
            self._patience = self._housekeeping = None
            self._turn_comes = False
            self._wake.notify()
        self._make_deliveries()

    def submit(
        self,
        command: Command[T],
        deadline_ns: int | None = None,
        *,
        relaxed: bool = False,
        weight: int = 1,
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
        weight
            How many things the command changes, about: one that takes long does not belong on an
            event loop.

        Raises
        ------
        ExhaustedError
            `limits.WRITES_WAITING_MAX` commands wait already.
        UnavailableError
            The keeper is not running, or its log has failed.
        """
        waiting = WaitingCommand(command, deadline_ns, relaxed=relaxed, weight=weight)
        with self._lock:
            self._admit()
            self._enqueue(waiting)
        return waiting.future

    def gather(self, command: GatheredCommand[Any], caller: Caller, tell: Tell) -> WaitingCommands:
        """Queue a light command together with those of its kind that are added until its turn.

        Acknowledged as those of `submit` are, for less: there is no future for each of them.

        Parameters
        ----------
        command, caller
            The first one, and who waits for it.
        tell
            Called with callers and their outcomes, on whichever thread; returns soon.

        Raises what `submit` does.
        """
        kind, relaxed = command.kind, command.relaxed
        waiting = WaitingCommands(kind, tell, self._lock, self._admit, relaxed=relaxed)
        with self._lock:
            waiting.add(command, caller)
            self._enqueue(waiting)
        return waiting

    def _admit(self) -> None:
        """Count a command that is to wait, or raise; with the lock held."""
        if not self._accepting:
            raise self._failure or UnavailableError(
                "the server is stopping and takes no more writes"
            )
        self._queue.admit()

    def _enqueue(self, waiting: Waiting) -> None:
        """Queue what was admitted, and call who carries it out; with the lock held."""
        self._queue.append(waiting)
        if self._loop is not None:
            self._call_turn()
        elif self._queue.is_pressed or len(self._queue) == 1:
            self._wake.notify()

    def wait_synced(self, sequence: int) -> None:
        """Wait until the log is on disk up to `sequence`.

        Raises
        ------
        InstanterError
            The log has failed.
        """
        self._syncer.wait(sequence)

    def _call_turn(self) -> None:
        """Let the loop carry out what waits, at the end of its turn; with the lock held."""
        loop = self._loop
        assert loop is not None, "somebody has attached it"
        if self._turn_comes or self._carrying or not self._queue or self._syncer.is_busy:
            # (The end of the turn, of the group or of the sync calls it again.)
            return
        if self._queue.is_long:
            self._wake.notify()
        elif threading.get_ident() != self._loop_thread:
            self._turn_comes = True
            loop.call_soon_threadsafe(self._take_turn)
        elif self._is_pressed():
            self._turn_comes = True
            loop.call_soon(self._take_turn)
        elif self._patience is None:
            self._patience = loop.call_later(_PATIENCE_S, self._end_patience)

    def _end_patience(self) -> None:
        with self._lock:
            self._patience = None
            if self._turn_comes:
                return
        self._take_turn()

    def _take_turn(self) -> None:
        """Carry out a group on the loop, unless it is the apply thread's."""
        with self._lock:
            self._turn_comes = False
            if self._loop is None or self._carrying or not self._queue or self._syncer.is_busy:
                return
            if self._queue.is_long:
                self._wake.notify()
                return
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
            group = self._queue.pop_group(WRITES_ON_LOOP_WEIGHT_MAX)
            self._carrying = True
        undoing = None
        try:
            undoing = self._carry_out(group)
        except Exception as error:  # noqa: BLE001 - the keeper has failed, and says so
            self._events_log.error("keeper_failed_by_bug", exc_info=error)
        finally:
            if undoing is None:
                self._let_others()
        if undoing is not None:
            self._leave_undoing(undoing)
        self._keep_house()

    def _leave_undoing(self, undoing: Undoing) -> None:
        """Leave to the apply thread what takes as long as a start."""
        with self._lock:
            self._undoing = undoing
            self._wake.notify()

    def _let_others(self) -> None:
        """Let whoever is next carry out the next group."""
        with self._lock:
            self._carrying = False
            if self._loop is not None:
                self._call_turn()
            else:
                self._wake.notify()

    def _call_housekeeping(self) -> None:
        """Let the loop look after what is left to clean up; from the apply thread."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._keep_house)

    def _keep_house(self) -> None:
        """Clean up in small steps, as long as there is something; on the loop."""
        if self._housekeeping is None and self._loop is not None:
            pause_s = _HOUSEKEEPING_ON_LOOP_S if self._folder.has_to_clean_up else _HOUSEKEEPING_S
            self._housekeeping = self._loop.call_later(pause_s, self._clean_up)

    def _clean_up(self) -> None:
        self._housekeeping = None
        with self._lock:
            if self._loop is None or self._carrying:
                # Whoever carries out a group cleans up behind it.
                return
            self._carrying = True
        try:
            self._folder.clean_up(PURGE_ROWS_ON_LOOP)
        except InstanterError as error:
            self._fail(error)
        finally:
            self._let_others()
        self._keep_house()

    def _run(self) -> None:
        """Carry out group after group until the keeper is stopped and nothing waits."""
        while (group := self._take_group()) is not None:
            try:
                undoing, self._undoing = self._undoing, None
                if undoing is None and group:
                    undoing = self._carry_out(group)
                if undoing is not None:
                    undoing()
                self._folder.clean_up(PURGE_ROWS)
            except InstanterError as error:
                self._fail(error)
            finally:
                self._let_others()
                self._call_housekeeping()

    def _take_group(self) -> list[Waiting] | None:
        """Wait for what is the apply thread's and return it; None when the keeper is to end.

        Empty when none came for a while: there may be housekeeping.
        """
        with self._lock:
            while True:
                if self._undoing is not None:
                    return []
                if self._is_ours():
                    if self._loop is None:
                        self._wake.wait_for(self._is_pressed, _PATIENCE_S)
                    if self._is_ours():
                        self._carrying = True
                        return self._queue.pop_group(WRITES_GROUP_MAX)
                elif not self._accepting and not self._queue and not self._carrying:
                    return None
                keeps_house = self._loop is None and self._folder.has_to_clean_up
                timely = self._wake.wait(_HOUSEKEEPING_S if keeps_house else None)
                if not timely and self._loop is None and not self._carrying and not self._queue:
                    self._carrying = True
                    return []

    def _is_ours(self) -> bool:
        """Return whether there is something for the apply thread to carry out now."""
        return (
            bool(self._queue) and not self._carrying and (self._loop is None or self._queue.is_long)
        )

    def _is_pressed(self) -> bool:
        """Return whether somebody waits, or so much has come that it is time."""
        return self._queue.is_pressed or not self._accepting

    def _carry_out(self, group: list[Waiting]) -> Undoing | None:
        """Carry out a group; whatever goes wrong with the log itself is the keeper's end."""
        try:
            return self._carrier.carry_out(group)
        except BaseException as error:
            bug = UnavailableError(f"the keeper has failed: {error!r}")
            failure = error if isinstance(error, InstanterError) else bug
            self._fail(failure)
            unknown = make_unknown(failure)
            for waiting in group:
                waiting.refuse(unknown)
            if failure is bug:
                raise
        return None

    def _deliver(self, answer: Callable[[], None]) -> None:
        """Answer on the loop, if one is attached: its calls wait there for it."""
        self._deliveries.append(answer)
        loop = self._loop
        is_here = threading.get_ident() == self._loop_thread and not self._carrying
        if loop is not None and not is_here:
            # Without the lock, which the loop may want: `detach` delivers what is there, too.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._make_deliveries)
                return
        self._make_deliveries()

    def _tell_synced(self, sequence: int) -> None:
        """Tell whoever follows; a bug there must not keep anybody from being answered."""
        assert self._on_synced is not None, "else the sync thread tells nobody"
        try:
            self._on_synced(sequence)
        except Exception as error:  # noqa: BLE001 - reported, and the next sync tells again
            self._events_log.error("follower_failed", exc_info=error)

    def _make_deliveries(self) -> None:
        """Answer whoever waits, then go on with what has come meanwhile."""
        with contextlib.suppress(IndexError):
            while True:
                self._deliveries.popleft()()
        with self._lock:
            if self._loop is not None:
                self._call_turn()

    def _fail(self, error: InstanterError) -> None:
        """Stop all acknowledgements for good: only a restart from the log can go on."""
        with self._lock:
            self._accepting = False
            self._failure = error
            waiting = self._queue.pop_all()
            self._wake.notify()
        for each in waiting:
            each.refuse(error)
        self._syncer.note_failure(error)
        self._events_log.error("keeper_failed", reason=error.reason, message=error.message)
        self.failed.set()
