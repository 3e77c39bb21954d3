"""The gate between reads and changes of the memory map.

LMDB forbids changing the map size, or closing the environment, while a transaction of the same
process is open: the views of a reader would point into unmapped memory and crash the process.
py-lmdb does not check it. So every read passes this gate, which must therefore cost next to
nothing: a reader adds its thread to a set and looks at one flag (0.09 µs for the way in and out).

Why no lock is needed on the way in: the reader first makes itself known, then looks at the flag;
the closer first sets the flag, then looks at who is known. Whatever way the two interleave, at
least one of them sees the other. Set operations of one element are atomic in CPython, with the
interpreter lock and without. A lock around a counter instead cost 0.25 µs a read.

The set of threads also catches a second read, or a write, of a thread that is still reading: it
would wait for itself when the map must grow.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ReadGate:
    """Lets readers through, and on request lets them out and holds new ones back.

    Attributes
    ----------
    reading
        Threads that are inside a read.
    closed
        Whether somebody waits for the readers to leave, or works while there are none.
    """

    __slots__ = ("_changed", "_closing", "closed", "reading")

    def __init__(self) -> None:
        self.reading: set[int] = set()
        self.closed = False
        self._closing = threading.Lock()
        self._changed = threading.Condition()

    def enter(self, thread: int) -> None:
        """Let a thread in, after waiting while the gate is closed."""
        assert thread not in self.reading, "a thread has one read transaction at a time"
        self.reading.add(thread)
        if self.closed:
            self.wait(thread)

    def leave(self, thread: int) -> None:
        """Let a thread out."""
        self.reading.discard(thread)
        if self.closed:
            with self._changed:
                self._changed.notify_all()

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Wait until nobody reads, and keep it so for the length of a `with` block.

        The calling thread must not be reading itself. Reads are short by house rule (one batch of
        requests, one page of a list), so this waits milliseconds.
        """
        assert threading.get_ident() not in self.reading, "a reader cannot wait for itself"
        with self._closing:
            with self._changed:
                self.closed = True
                self._changed.wait_for(lambda: not self.reading)
            try:
                yield
            finally:
                with self._changed:
                    self.closed = False
                    self._changed.notify_all()

    def wait(self, thread: int) -> None:
        """Step back, as one who has come in while the gate is closed, until it opens."""
        with self._changed:
            while self.closed:
                self.reading.discard(thread)
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self.closed)
                self.reading.add(thread)
