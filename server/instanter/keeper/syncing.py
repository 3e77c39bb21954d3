"""Puts the log on disk, group after group, and then answers those who asked for durability."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

from instanter.clock import Clock
from instanter.errors import InstanterError, UnavailableError
from instanter.keeper.waiting import Unsynced, make_unknown, resolve
from instanter.limits import RELAXED_NS_MAX, SYNC_ON_LOOP_NS_MAX
from instanter.store.log.log import Log

_SYNCS_APART: Final = 64
"""After a slow sync so many are the thread's, before the loop tries again."""


class Syncer:
    """The *sync* thread: one `fdatasync` for all groups that were written meanwhile.

    A group that was carried out on an event loop is synced by the loop itself, as long as the disk
    is quick: nothing is written meanwhile in any case, and waking the thread, the wait for the
    interpreter's lock and waking the loop again take as long as the sync.

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
        self._apart_count = _SYNCS_APART
        self._loop_thread = 0
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self.failure: InstanterError | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the log is being put on disk for somebody who waits.

        To write into it meanwhile takes as long: the operating system does not change a page that
        is on its way to the disk.
        """
        return self._awaited_count != self._done_count

    def start(self) -> None:
        """Begin to sync."""
        self._thread.start()

    def attach(self, loop_thread: int) -> None:
        """Sync on this thread what is carried out there, when that is quick; 0 for none."""
        self._loop_thread = loop_thread

    def stop(self) -> None:
        """Sync what is written, and end."""
        self._written.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def answer(self, answers: Sequence[tuple[Future[Any], Any]], sequence: int) -> None:
        """Answer once the log is on disk up to `sequence`; with no answers, within a time."""
        if answers and not self._apart_count and threading.get_ident() == self._loop_thread:
            self._sync_here(answers, sequence)
            return
        self._awaited_count += bool(answers)
        self._written.put(Unsynced(sequence, answers))

    def _sync_here(self, answers: Sequence[tuple[Future[Any], Any]], sequence: int) -> None:
        """Put the log on disk and answer, on the loop."""
        try:
            self._sync()
        except InstanterError as error:
            self._give_up([Unsynced(sequence, answers)], error)
            return
        self.look_again()
        for future, outcome in answers:
            resolve(future, outcome)
        if self._on_synced is not None:
            self._on_synced(self._log.synced_sequence)

    def _sync(self) -> None:
        """Put the log on disk, and remember whether that was quick."""
        begun_ns = self._clock.monotonic_ns()
        self._log.sync()
        if self._clock.monotonic_ns() - begun_ns > SYNC_ON_LOOP_NS_MAX:
            self._apart_count = _SYNCS_APART
        elif self._apart_count:
            self._apart_count -= 1

    def wait(self, sequence: int, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until the log is on disk up to `sequence`, or until `is_given_up`.

        Raises
        ------
        InstanterError
            The log has failed.
        """
        with self._synced:
            self._wanted_sequence = max(self._wanted_sequence, sequence)
        self._written.put(Unsynced(sequence, ()))
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
                self._sync()
            except InstanterError as error:
                self._give_up(ready, error)
                return
            self._done_count += sum(bool(unsynced.answers) for unsynced in ready)
            self.look_again()
            self._deliver(partial(_resolve_all, ready))
            if self._on_synced is not None:
                self._deliver(partial(self._on_synced, self._log.synced_sequence))

    def _give_up(self, ready: list[Unsynced], error: InstanterError) -> None:
        """Tell everybody whose record is not known to be on disk."""
        if self.failure is None:
            self._fail(error)
        ready += self._take_more()[0]
        unknown = make_unknown(error)
        lost = [
            Unsynced(unsynced.sequence, [(future, unknown) for future, _ in unsynced.answers])
            for unsynced in ready
        ]
        self._deliver(partial(_resolve_all, lost))

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


def _resolve_all(ready: Sequence[Unsynced]) -> None:
    for unsynced in ready:
        for future, outcome in unsynced.answers:
            resolve(future, outcome)
