"""Makes the next segment while the present one is being filled."""

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from instanter import limits
from instanter.store.log.segments import make_zeroed, unnamed_path

_PAUSE_S = 0.01
"""Rest after each MiB: the disk is there for the records first, and for zeros at 100 MB/s."""


class Unnamed(NamedTuple):
    """A segment that is full of zeros, on disk, and has no name yet.

    Attributes
    ----------
    path
        Its present file.
    descriptor
        Open to read and write.
    size_bytes
        Its size.
    """

    path: Path
    descriptor: int
    size_bytes: int

    def discard(self) -> None:
        """Remove it."""
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)


def discard_each(made: Iterable[tuple[Unnamed, object]]) -> None:
    """Remove segments that were made and will not be used."""
    for unnamed, _ in made:
        unnamed.discard()


class Preparation:
    """At most one segment in the making, by a thread of its own.

    Parameters
    ----------
    folder
        Folder of the log.
    size_bytes_max
        Size of segments on a large disk.
    """

    def __init__(self, folder: Path, *, size_bytes_max: int) -> None:
        self._folder = folder
        self._size_bytes_max = size_bytes_max
        self._number = 0
        self._thread: threading.Thread | None = None
        self._made: Unnamed | None = None
        self._size_bytes = 0
        self._hurry = threading.Event()
        self._stopped = False

    def plan_size_bytes(self, present_size_bytes: int) -> int:
        """Return how large the segment after one of this size is going to be.

        Twice as large, up to the most, but never more than an eighth of the free disk; at least
        the least, though.
        """
        stats = os.statvfs(self._folder)
        part = stats.f_bavail * stats.f_frsize // limits.LOG_DISK_DIVISOR
        wanted = max(2 * present_size_bytes, limits.LOG_SEGMENT_SIZE_BYTES_FIRST)
        wanted = min(wanted, max(part, limits.LOG_SEGMENT_SIZE_BYTES_MIN))
        return min(wanted, self._size_bytes_max) & -4096

    @property
    def is_made(self) -> bool:
        """Whether the next segment can be taken at once."""
        return self._made is not None

    def next_size_bytes(self) -> int:
        """Return the size of the segment that is made or in the making, 0 for none."""
        return self._size_bytes

    def start(self, size_bytes: int) -> None:
        """Begin to make a segment; without effect when there is one already."""
        if self._size_bytes or self._stopped:
            return
        self._size_bytes = size_bytes
        self._hurry.clear()
        self._thread = threading.Thread(target=self._make, name="log-preparation", daemon=True)
        self._thread.start()

    def hurry(self) -> None:
        """Make it without rests: it is going to be needed soon."""
        self._hurry.set()

    def take(self, size_bytes_min: int, size_bytes: int) -> Unnamed:
        """Return a segment of at least `size_bytes_min`.

        The one in the making if it is large enough, else a new one of `size_bytes`.

        Raises
        ------
        OSError
            The disk is full or fails.
        """
        if self._size_bytes >= size_bytes_min:
            self._finish()
            made, self._made, self._size_bytes = self._made, None, 0
            if made is not None:
                return made
        return self.make(max(size_bytes, size_bytes_min))

    def make(self, size_bytes: int) -> Unnamed:
        """Make a segment now.

        Raises
        ------
        OSError
            The disk is full or fails.
        """
        return self._make_unnamed(size_bytes, lambda: None)

    def stop(self) -> None:
        """Give up what is in the making."""
        self._stopped = True
        self._finish()
        if self._made is not None:
            self._made.discard()
        self._made, self._size_bytes = None, 0

    def _finish(self) -> None:
        self._hurry.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _make(self) -> None:
        try:
            self._made = self._make_unnamed(self._size_bytes, self._pause)
        except (OSError, _StoppedError):
            # Whoever takes it tries again, and meets the error itself if there still is one.
            self._made = None

    def _make_unnamed(self, size_bytes: int, pause: Callable[[], None]) -> Unnamed:
        self._number += 1
        path = unnamed_path(self._folder, self._number)
        return Unnamed(path, make_zeroed(path, size_bytes, pause), size_bytes)

    def _pause(self) -> None:
        if self._stopped:
            raise _StoppedError
        self._hurry.wait(_PAUSE_S)


class _StoppedError(Exception):
    """The log is being closed."""
