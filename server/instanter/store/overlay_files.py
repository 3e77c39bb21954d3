"""The overlay's folder: who has it open, when it may be trusted, and how it is thrown away.

The overlay is never synced. It outlives processes, but after a power cut its file may hold
anything. So it names the start of the operating system that it was made in, and is believed in
no other. It is thrown away by deleting its files, which must happen under nobody: whoever has it
open holds a shared lock on a file beside it, and only who gets that lock alone may delete.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

from instanter.errors import UnavailableError

OVERLAY_FOLDER_NAME: Final = "overlay"
_LOCK_FILE_NAME = "overlay.lock"
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")

_SHARED_WAIT_NS = 5_000_000_000
"""How long a reader waits for a writer that makes the overlay: that takes milliseconds."""

_ATTEMPT_INTERVAL_S = 0.002


def boot_id() -> bytes:
    """Return what tells this start of the operating system from all others; empty if nothing."""
    try:
        return _BOOT_ID_FILE.read_bytes().strip()
    except OSError:
        return b""


class OverlayUse:
    """A lock that says: this process has the overlay open, or is about to."""

    __slots__ = ("_descriptor", "folder", "is_alone")

    def __init__(self, folder: Path, descriptor: int, *, is_alone: bool) -> None:
        self.folder = folder
        self._descriptor = descriptor
        self.is_alone = is_alone

    @classmethod
    def of_writer(cls, store_folder: Path) -> Self:
        """Return the lock, held alone if nobody else has the overlay open, else shared."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(store_folder / _LOCK_FILE_NAME, flags, 0o600)
        folder = store_folder / OVERLAY_FOLDER_NAME
        if _try_lock(descriptor, fcntl.LOCK_EX):
            return cls(folder, descriptor, is_alone=True)
        _lock_shared(descriptor, folder)
        return cls(folder, descriptor, is_alone=False)

    @classmethod
    def of_reader(cls, store_folder: Path) -> Self | None:
        """Return the lock, shared, or None when the store has never had an overlay.

        Raises
        ------
        UnavailableError
            A writer has held it alone for seconds.
        """
        try:
            descriptor = os.open(store_folder / _LOCK_FILE_NAME, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        folder = store_folder / OVERLAY_FOLDER_NAME
        _lock_shared(descriptor, folder)
        return cls(folder, descriptor, is_alone=False)

    def delete_files(self) -> None:
        """Throw the overlay away. The folder stays: it may be a link to another file system."""
        assert self.is_alone, "nobody deletes what others have open"
        for name in ("data.mdb", "lock.mdb"):
            (self.folder / name).unlink(missing_ok=True)

    def share(self) -> None:
        """Let others in: the overlay is ready."""
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        self.is_alone = False

    def release(self) -> None:
        """Give the lock back. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_shared(descriptor: int, folder: Path) -> None:
    deadline_ns = time.monotonic_ns() + _SHARED_WAIT_NS
    while not _try_lock(descriptor, fcntl.LOCK_SH):
        if time.monotonic_ns() >= deadline_ns:
            os.close(descriptor)
            raise UnavailableError(
                f"another process is still making {folder} anew; retry", reason="STORE_BUSY"
            )
        # `flock` waits for ever or not at all.
        time.sleep(_ATTEMPT_INTERVAL_S)
