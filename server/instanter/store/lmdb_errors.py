"""What a caller hears when LMDB or the operating system fails."""

import errno
import os
from pathlib import Path
from typing import Final

import lmdb

from instanter import limits
from instanter.errors import (
    DamagedError,
    ExhaustedError,
    InstanterError,
    PreconditionError,
    UnavailableError,
)
from instanter.store.databases import DATA_FILE_NAME

STORE_DISK_FULL: Final = "STORE_DISK_FULL"
"""Reason of what the disk of the store has no room for."""

_DISK_CODES = frozenset({errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG})

_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.CursorFullError,
    lmdb.PageFullError,
    lmdb.ProblemError,
    lmdb.BadTxnError,
)
"""What LMDB raises when its pages do not make sense."""


def translated(error: Exception, folder: Path) -> InstanterError:
    """Return what a caller should hear of an error of LMDB or the operating system."""
    code = getattr(error, "code", 0) or getattr(error, "errno", 0) or 0
    if isinstance(error, lmdb.PanicError | lmdb.DiskError) or code in _DISK_CODES:
        return _disk_error(error, folder)
    if isinstance(error, lmdb.ReadersFullError):
        return UnavailableError(
            f"all {limits.STORE_READERS_MAX} slots of the store's reader table are taken; retry",
            reason="STORE_READERS_FULL",
        )
    if isinstance(error, PermissionError | lmdb.ReadonlyError) or code in (
        errno.EACCES,
        errno.EPERM,
    ):
        return PreconditionError(
            f"this user may not open the store in {folder}: {error}", reason="STORE_NOT_ALLOWED"
        )
    if isinstance(error, _DAMAGE):
        return DamagedError(
            f"the store in {folder} is damaged: {error}; restore it from a backup",
            reason="STORE_DAMAGED",
        )
    if isinstance(error, lmdb.InvalidError | lmdb.VersionMismatchError):
        return PreconditionError(
            f"{folder / DATA_FILE_NAME} is not a store, or is damaged: {error}; restore it from a "
            "backup or name another folder",
            reason="STORE_FOLDER_INVALID",
        )
    return UnavailableError(f"the store in {folder} cannot be used: {error}", reason="STORE_FAILED")


def _disk_error(error: Exception, folder: Path) -> ExhaustedError:
    """Return the error for a full or failing disk, with the room that is left."""
    try:
        stats = os.statvfs(folder)
        room = stats.f_bavail * stats.f_frsize
    except OSError:
        room = -1
    return ExhaustedError(
        f"the disk of the store in {folder} is full or fails ({error}; {room:,} bytes free); "
        "nothing was changed; make room, then retry",
        reason=STORE_DISK_FULL,
        metadata={"free_size_bytes": str(room)},
    )
