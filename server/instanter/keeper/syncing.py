"""Puts the log on disk, group after group, and then answers those who asked for durability."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from instanter.errors import InstanterError
from instanter.keeper.waiting import Unsynced, make_unknown, resolve
from instanter.limits import RELAXED_NS_MAX
from instanter.store.log.log import Log

_RELAXED_S: Final = RELAXED_NS_MAX / 1e9


class Syncer:
    """The *sync* thread: one `fdatasync` for all groups that were written meanwhile.

    Parameters
    ----------
    log
        What is put on disk.
    deliver
        Runs a function that answers, on the thread where answers belong.
    fail
        Told, once, that the disk has failed: only a restart from the log can go on.

    Attributes
    ----------
    failure
        Why nothing is acknowledged any more; None while all is well.
    is_busy
        Whether the log is being put on disk for somebody who waits. To write into it meanwhile
        takes as long: the operating system does not change a page that is on its way to the disk.
    """

    def __init__(
        self,
        log: Log,
        *,
        deliver: Callable[[Callable[[], None]], None],
        fail: Callable[[InstanterError], None],
    ) -> None:
        self._log = log
        self._deliver = deliver
        self._fail = fail
        self._written: deque[Unsynced] = deque()
        self._wake = threading.Condition()
        self._running = False
        self.is_busy = False
        self._wanted_sequence = 0
        self._synced = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self.failure: InstanterError | None = None

    def start(self) -> None:
        """Begin to sync."""
        self._running = True
        self._thread.start()

    def stop(self) -> None:
        """Sync what is written, and end."""
        with self._wake:
            self._running = False
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def answer(self, answers: Sequence[tuple[Future[Any], Any]], sequence: int) -> None:
        """Answer once the log is on disk up to `sequence`; with no answers, within a time."""
        with self._wake:
            self._written.append(Unsynced(sequence, answers))
            if answers:
                self.is_busy = True
            self._wake.notify()

    def wait(self, sequence: int, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until the log is on disk up to `sequence`, or until `is_given_up`.

        Raises
        ------
        InstanterError
            The log has failed.
        """
        with self._wake:
            self._wanted_sequence = max(self._wanted_sequence, sequence)
            self._wake.notify()
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
        """Force the log to disk again and again, and answer those who waited for it."""
        while (ready := self._take_written()) is not None:
            if not ready:
                continue
            try:
                self._log.sync()
            except InstanterError as error:
                self._give_up(ready, error)
                return
            self.look_again()
            with self._wake:
                self.is_busy = self._is_awaited()
            self._deliver(partial(_resolve_all, ready))

    def _give_up(self, ready: list[Unsynced], error: InstanterError) -> None:
        """Tell everybody whose record is not known to be on disk."""
        self._fail(error)
        with self._wake:
            ready += self._written
            self._written.clear()
        unknown = make_unknown(error)
        lost = [
            Unsynced(unsynced.sequence, [(future, unknown) for future, _ in unsynced.answers])
            for unsynced in ready
        ]
        self._deliver(partial(_resolve_all, lost))

    def _take_written(self) -> list[Unsynced] | None:
        """Wait for groups to sync and return them; None when the thread is to end.

        A group that nobody waits for may stay for `RELAXED_NS_MAX`, to share its sync.
        """
        with self._wake:
            self._wake.wait_for(lambda: self._written or not self._running)
            if not self._written:
                return None if not self._running else []
            self._wake.wait_for(lambda: not self._running or self._is_awaited(), _RELAXED_S)
            ready = list(self._written)
            self._written.clear()
            return ready

    def _is_awaited(self) -> bool:
        """Return whether somebody waits for what has been written."""
        wanted = self._wanted_sequence > self._log.synced_sequence
        return wanted or any(unsynced.answers for unsynced in self._written)


def _resolve_all(ready: Sequence[Unsynced]) -> None:
    for unsynced in ready:
        for future, outcome in unsynced.answers:
            resolve(future, outcome)
