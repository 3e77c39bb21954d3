"""The overlay: who has it open, when it may be trusted, and how it is thrown away.

The overlay is never synced. It outlives processes, but after a power cut its file may hold
anything. So it names the start of the operating system that it was made in, and is believed in
no other. It is thrown away by deleting its files, which must happen under nobody: whoever has it
open holds a shared lock on a file beside it, and only who gets that lock alone may delete.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Any, Final, Self

from instanter import limits
from instanter.errors import DamagedError, PreconditionError, UnavailableError
from instanter.store.databases import (
    DATA_FILE_NAME,
    META,
    META_KEY_BOOT,
    META_KEY_FORMAT,
    READERS_FILE_NAME,
)
from instanter.store.environment import Environment
from instanter.store.records import seal, unseal
from instanter.store.reserved_space import reserve_space
from instanter.store.transaction import Handles

OVERLAY_FOLDER_NAME: Final = "overlay"
_LOCK_FILE_NAME = "overlay.lock"
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")

_RESERVED_SIZE_BYTES_KEPT_MAX: Final = 64 << 20
"""An overlay begins as large as the one before it was, up to this: a start replays about what was
in that, and applies it anew each time the map grows."""

_ATTEMPT_INTERVAL_S = 0.002
_ATTEMPTS_MAX = 2_500
"""How often a reader tries while a writer makes the overlay: 5 s, for what takes milliseconds."""


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

    def delete_files(self) -> int:
        """Throw the overlay away, and return how many bytes its file had.

        The folder stays: it may be a link to another file system.
        """
        assert self.is_alone, "nobody deletes what others have open"
        try:
            size_bytes = (self.folder / DATA_FILE_NAME).stat().st_size
        except FileNotFoundError:
            size_bytes = 0
        for name in (DATA_FILE_NAME, READERS_FILE_NAME):
            (self.folder / name).unlink(missing_ok=True)
        return size_bytes

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
    for _ in range(_ATTEMPTS_MAX):
        if _try_lock(descriptor, fcntl.LOCK_SH):
            return
        # `flock` waits for ever or not at all.
        time.sleep(_ATTEMPT_INTERVAL_S)
    os.close(descriptor)
    raise UnavailableError(
        f"another process is still making {folder} anew; retry", reason="STORE_BUSY"
    )


def open_for_writing(use: OverlayUse, *, fresh: bool, size: int) -> Environment:
    """Open the overlay, after throwing away one that is not wanted or cannot be trusted.

    Parameters
    ----------
    use
        The writer's lock.
    fresh
        Whether to throw away any; one that others have open stays, for `clear_overlay` to empty.
    size
        Address space in bytes.

    Raises
    ------
    UnavailableError
        It cannot be trusted, and another process has it open.
    """
    before = use.delete_files() if fresh and use.is_alone else 0
    try:
        overlay = _opened_for_writing(use, size, before)
    except (PreconditionError, DamagedError) as error:
        if error.reason == "STORE_NOT_ALLOWED":
            raise
        problem: Exception | None = error
    else:
        if _is_trusted(overlay):
            return overlay
        overlay.close()
        problem = None
    if not use.is_alone:
        raise UnavailableError(
            f"{use.folder} is damaged or of another start of the system, and another process has "
            "it open; stop that, then retry",
            reason="STORE_BUSY",
        ) from problem
    return _opened_for_writing(use, size, use.delete_files())


def _opened_for_writing(use: OverlayUse, size: int, before: int) -> Environment:
    """Open it, with as much disk at first as the file had that was there before."""
    reserved = max(before, limits.OVERLAY_RESERVED_SIZE_BYTES_INITIAL)
    return Environment.open(
        use.folder,
        durable=False,
        map_size_bytes=size,
        reserve=reserve_space,
        reserved_size_bytes=min(reserved, _RESERVED_SIZE_BYTES_KEPT_MAX),
    )


def open_for_reading(use: OverlayUse) -> Environment | None:
    """Open the overlay, or return None when there is none to be trusted: the base is whole."""
    try:
        overlay = Environment.open(use.folder, writable=False, durable=False)
    except PreconditionError as error:
        if error.reason == "STORE_NOT_FOUND":
            return None
        raise
    if _is_trusted(overlay):
        return overlay
    overlay.close()
    return None


def _is_trusted(overlay: Environment) -> bool:
    """Return whether an overlay was made since the operating system was started."""
    try:
        with overlay.read() as transaction:
            stored = transaction.get(META, META_KEY_BOOT)
            # A new one, which is empty, does not say yet.
            return stored is None or unseal(META_KEY_BOOT, stored) == _boot_id()
    except DamagedError:
        return False


def mark_overlay(raw: Any, handles: Handles) -> None:
    """In a write transaction, say in which start of the operating system the overlay was made."""
    raw.put(META_KEY_BOOT, seal(META_KEY_BOOT, _boot_id()), db=handles[META.index])


def clear_overlay(raw: Any, handles: Handles) -> None:
    """In a write transaction, empty all databases of an overlay but for what says what it is."""
    meta = handles[META.index]
    for handle in handles:
        if handle is not meta:
            raw.drop(handle, delete=False)
    cursor = raw.cursor(meta)
    kept = {META_KEY_FORMAT, META_KEY_BOOT}
    more = cursor.first()
    while more:
        more = cursor.next() if bytes(cursor.key()) in kept else cursor.delete()
    cursor.close()


def _boot_id() -> bytes:
    """Return what tells this start of the operating system from all others; empty if nothing."""
    try:
        return _BOOT_ID_FILE.read_bytes().strip()
    except OSError:
        return b""
