"""Syncs that the operating system carries out while the thread that asked for them goes on.

A sync takes as long as the disk, hardly any of it processor time. Waited for, it is time in which
an event loop answers nobody; handed to a thread, it costs two waits for the interpreter's lock. So
it is submitted (Linux' asynchronous I/O, 6 µs), and a descriptor tells when it is done.
"""

import threading
from collections.abc import Callable
from typing import Final, Self

from caio import linux_aio

OnDone = Callable[[int], None]
"""Takes the number of the error that the sync ended with, 0 for none."""

_REFUSED: Final = (OSError, OverflowError, SystemError, ValueError)
"""How caio tells of a system call that failed."""


class SyncQueue:
    """At most one sync under way. For one thread, which also calls `look` and `wait`.

    Attributes
    ----------
    descriptor
        Becomes readable when a sync is done: `look` then calls who waits for it.
    """

    __slots__ = ("_context", "_done", "_result", "_thread", "descriptor")

    def __init__(self) -> None:
        assert linux_aio is not None, "it is looked for before"
        self._context = linux_aio.Context(1)
        self._thread = threading.get_ident()
        self._done: OnDone | None = None
        self._result: int | None = None
        self.descriptor: int = self._context.fileno

    @classmethod
    def open(cls) -> Self | None:
        """Return a queue for this thread; None where the operating system has none to give."""
        try:
            return None if linux_aio is None else cls()
        except _REFUSED:
            return None

    @property
    def is_under_way(self) -> bool:
        """Whether a sync is under way."""
        return self._done is not None

    @property
    def is_ours(self) -> bool:
        """Whether this thread is the one that the queue is for."""
        return threading.get_ident() == self._thread

    def begin(self, descriptor: int, done: OnDone) -> bool:
        """Begin an `fdatasync` of a file; False when the operating system takes none now.

        Parameters
        ----------
        descriptor
            The file, open until the sync is done.
        done
            Called by `look` or `wait`.
        """
        assert self._done is None, "one sync at a time"
        assert linux_aio is not None, "without it there is no queue"
        operation = linux_aio.Operation.fdsync(descriptor)
        operation.set_callback(self._note)
        self._done = done
        try:
            if self._context.submit(operation):
                return True
        except _REFUSED:
            pass
        self._done = None
        return False

    def look(self) -> None:
        """Call who waits for a sync that is done, if it is."""
        try:
            self._context.poll()
        except BlockingIOError:
            return
        self._context.process_events()
        self._call()

    def wait(self) -> None:
        """Wait until no sync is under way any more."""
        while self._done is not None:
            self._context.process_events(1, 1, -1)
            self._call()

    def _note(self, result: int) -> None:
        """Take a result, which comes without its sign; what is raised here would be lost."""
        self._result = (1 << 64) - result if result >= 1 << 63 else 0

    def _call(self) -> None:
        result, self._result = self._result, None
        if result is not None:
            done, self._done = self._done, None
            assert done is not None, "somebody has begun it"
            done(result)
