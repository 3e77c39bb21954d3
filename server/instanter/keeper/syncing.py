"""Puts the log on disk, group after group, and then answers those who asked for durability."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

from instanter.clock import Clock
from instanter.errors import InstanterError, UnavailableError
from instanter.keeper.waiting import Unsynced, Waiting, make_unknown
from instanter.limits import RELAXED_NS_MAX
from instanter.store.log.log import Log
from instanter.store.log.sync_queue import SyncQueue

_SEVERAL: Final = 3
"""Answers of a group from which on what comes while it is synced is gathered until that is done. It
would be synced no sooner, and of 16 callers that always wait 15 % more events are recorded a
second. What comes alone is carried out at once, while the disk works."""


class Syncer:
    """One `fdatasync` for all groups that were written meanwhile, and then their answers.

    An event loop that carries groups out asks the operating system for syncs and goes on (see
    `store/log/sync_queue`). All others are the *sync* thread's: where the operating system takes
    none, where there is no loop, and what nobody waits for.

    Parameters
    ----------
    log
        What is put on disk.
    clock
        Tells how long a group that nobody waits for has waited.
    deliver
        Runs a function that answers, on the thread where answers belong.
    fail
        Told, once, that the disk has failed: only a restart from the log can go on.
    on_synced
        Called behind the answers, where these belong, with the sequence up to which the log is on
        disk; None for nobody.

    Attributes
    ----------
    failure
        Why nothing is acknowledged any more; None while all is well.
    """

    def __init__(
        self,
        log: Log,
        *,
        clock: Clock,
        deliver: Callable[[Callable[[], None]], None],
        fail: Callable[[InstanterError], None],
        on_synced: Callable[[int], None] | None = None,
    ) -> None:
        self._on_synced = on_synced
        self._log = log
        self._clock = clock
        self._deliver = deliver
        self._fail = fail
        # A queue, and no condition, whose lock the thread would hold while it waits for the
        # interpreter's: one hand-over less for each sync, 70 µs on one core.
        self._written: SimpleQueue[Unsynced | None] = SimpleQueue()
        self._awaited_count = 0
        self._done_count = 0
        self._wanted_sequence = 0
        self._synced = threading.Condition()
        self._queue: SyncQueue | None = None
        self._queued: deque[Unsynced] = deque()
        self._begun_sequence = 0
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self.failure: InstanterError | None = None

    @property
    def is_busy(self) -> bool:
        """Whether what is carried out now would wait for two syncs, or for that of several.

        Then it is better gathered: one group of many is cheaper than many groups. Beside a sync of
        the thread nothing is carried out, because the two would wait for each other's lock.
        """
        if self._awaited_count != self._done_count:
            return True
        if not self._queued:
            return False
        last = self._queued[-1]
        return last.sequence > self._begun_sequence or last.count >= _SEVERAL

    def start(self) -> None:
        """Begin to sync."""
        self._thread.start()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sync beside this loop, which is running, what is carried out on it."""
        queue = self._queue = SyncQueue.open()
        if queue is not None:
            loop.add_reader(queue.descriptor, queue.look)

    def detach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Finish what is being synced beside the loop, and leave everything to the thread."""
        queue = self._queue
        if queue is not None:
            loop.remove_reader(queue.descriptor)
            queue.wait()
            self._queue = None

    def stop(self) -> None:
        """Sync what is written, and end."""
        self._written.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def answer(self, answers: Sequence[tuple[Waiting, Sequence[Any]]], sequence: int) -> None:
        """Answer once the log is on disk up to `sequence`; with no answers, within a time."""
        unsynced = Unsynced(sequence, answers, sum(len(outcomes) for _, outcomes in answers))
        queue = self._queue
        if answers and queue is not None and queue.is_ours and self.failure is None:
            self._queued.append(unsynced)
            self._sync_beside(queue)
            return
        self._awaited_count += bool(answers)
        self._written.put(unsynced)

    def begin(self) -> None:
        """Begin to sync what is written, before `answer` is told of it; where that is possible."""
        queue = self._queue
        if queue is not None and queue.is_ours and not queue.is_under_way and self.failure is None:
            self._begin(queue)

    def _sync_beside(self, queue: SyncQueue) -> None:
        """Begin to sync what waits for it, unless a sync is under way."""
        if self._queued and not queue.is_under_way and not self._begin(queue):
            # The thread syncs, or has to.
            self._leave_to_thread()

    def _begin(self, queue: SyncQueue) -> bool:
        """Begin to sync what is written; return False where that is the thread's."""
        self._begun_sequence = self._log.written_sequence
        try:
            return self._log.begin_sync(queue, self._end_sync)
        except InstanterError as error:
            self._give_up(self._take_queued(), error)
            return True

    def _leave_to_thread(self) -> None:
        while self._queued:
            self._awaited_count += 1
            self._written.put(self._queued.popleft())

    def _end_sync(self, failure: InstanterError | None) -> None:
        """Begin to sync what was written meanwhile, and answer those whose records are on disk."""
        if failure is not None:
            self._give_up(self._take_queued(), failure)
            return
        queue, sequence = self._queue, self._log.synced_sequence
        ready = []
        while self._queued and self._queued[0].sequence <= sequence:
            ready.append(self._queued.popleft())
        if queue is not None:
            self._sync_beside(queue)
        self.look_again()
        self._deliver(partial(self._tell, ready, sequence))

    def _take_queued(self) -> list[Unsynced]:
        queued = list(self._queued)
        self._queued.clear()
        return queued

    def wait(self, sequence: int, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until the log is on disk up to `sequence`, or until `is_given_up`.

        Raises
        ------
        InstanterError
            The log has failed.
        """
        with self._synced:
            self._wanted_sequence = max(self._wanted_sequence, sequence)
        self._written.put(Unsynced(sequence, (), 0))
        with self._synced:
            self._synced.wait_for(
                lambda: (
                    self._log.synced_sequence >= sequence
                    or self.failure is not None
                    or is_given_up()
                )
            )
        if self.failure is not None:
            raise self.failure

    def look_again(self) -> None:
        """Let those who wait look whether they have given up."""
        with self._synced:
            self._synced.notify_all()

    def note_failure(self, failure: InstanterError) -> None:
        """Stop all acknowledgements for good."""
        self.failure = failure
        self.look_again()

    def _run(self) -> None:
        """Sync until the thread is to end; a bug ends all acknowledgements, too."""
        try:
            self._sync_on()
        except BaseException as error:
            self._fail(UnavailableError(f"the keeper has failed: {error!r}"))
            raise

    def _sync_on(self) -> None:
        """Force the log to disk again and again, and answer those who waited for it."""
        ending = False
        while not ending:
            ready, ending = self._take_written()
            if not ready:
                continue
            try:
                self._sync_up_to(max(unsynced.sequence for unsynced in ready))
            except InstanterError as error:
                self._give_up(ready, error)
                return
            self._done_count += sum(bool(unsynced.answers) for unsynced in ready)
            self.look_again()
            self._deliver(partial(self._tell, ready, self._log.synced_sequence))

    def _sync_up_to(self, sequence: int) -> None:
        """Sync the log, unless all that is asked for is on disk.

        Who holds the log's lock for nothing has the loop leave its next sync to this thread.
        """
        if self._log.synced_sequence < sequence:
            self._log.sync()

    def _tell(self, ready: Sequence[Unsynced], sequence: int) -> None:
        """Answer, where that is to be done, and tell whoever follows."""
        _tell_all(ready)
        if self._on_synced is not None:
            self._on_synced(sequence)

    def _give_up(self, ready: list[Unsynced], error: InstanterError) -> None:
        """Tell everybody whose record is not known to be on disk."""
        if self.failure is None:
            self._fail(error)
        ready += self._take_more()[0]
        unknown = make_unknown(error)
        lost = [
            Unsynced(
                unsynced.sequence,
                [(waiting, [unknown] * len(outcomes)) for waiting, outcomes in unsynced.answers],
                unsynced.count,
            )
            for unsynced in ready
        ]
        self._deliver(partial(_tell_all, lost))

    def _take_written(self) -> tuple[list[Unsynced], bool]:
        """Wait for groups to sync; return them, and whether the thread is to end behind them.

        A group that nobody waits for may stay for `RELAXED_NS_MAX`, to share its sync.
        """
        first = self._written.get()
        if first is None:
            return [], True
        ready, ending = self._take_more()
        ready.insert(0, first)
        until_ns = self._clock.monotonic_ns() + RELAXED_NS_MAX
        while not ending and not self._is_awaited(ready):
            rest_ns = until_ns - self._clock.monotonic_ns()
            try:
                more = self._written.get(timeout=max(rest_ns, 0) / 1e9)
            except Empty:
                break
            if more is None:
                ending = True
            else:
                ready.append(more)
        return ready, ending

    def _take_more(self) -> tuple[list[Unsynced], bool]:
        """Return what is there already, and whether the thread is to end behind it."""
        ready: list[Unsynced] = []
        while True:
            try:
                more = self._written.get_nowait()
            except Empty:
                return ready, False
            if more is None:
                return ready, True
            ready.append(more)

    def _is_awaited(self, ready: Sequence[Unsynced]) -> bool:
        """Return whether somebody waits for what has been written."""
        if self._wanted_sequence > self._log.synced_sequence:
            return True
        return any(unsynced.answers for unsynced in ready)


def _tell_all(ready: Sequence[Unsynced]) -> None:
    for unsynced in ready:
        for waiting, outcomes in unsynced.answers:
            waiting.tell(outcomes)
