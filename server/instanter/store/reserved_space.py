"""Disk that is taken before it is written, so that a full disk is met by a call.

Whoever writes to a file through a memory map, and there is no room for what is written, gets a
signal that ends the process. So the disk for such a file is allocated first, and only where the
file system then keeps it for the file for good.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from instanter import limits

Reserve = Callable[[Path, int], bool]
"""Takes disk for the first so many bytes of a file, and makes it that long. Returns whether what
was taken can be written for as long as the file is there; else nothing is taken. Raises OSError
when there is no room, and then leaves the file as it was."""

_MAGIC_EXT4: Final = 0xEF53
_MAGIC_TMPFS: Final = 0x01021994

_KEEPING: Final = frozenset({_MAGIC_EXT4, _MAGIC_TMPFS})
"""File systems that write an allocated block where it was allocated. Those that copy on write
(btrfs, ZFS, bcachefs, XFS with reflinks) take room for each overwriting, and what lies below an
overlayfs or a network is not known."""

_TAKEN_SIZE_BYTES_MIN: Final = 256 << 10
"""What is taken at once at the least: each time, a write is carried out again."""

_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})

_STATFS_SIZE_BYTES: Final = 512
"""More than any system's `struct statfs`, which begins with the type as a long."""


def reserve_space(file: Path, size_bytes: int) -> bool:
    """Take disk for a file that is there; a `Reserve`."""
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        if _type_of(descriptor) not in _KEEPING:
            return False
        before = os.fstat(descriptor).st_size
        failed = _allocate(descriptor, max(size_bytes, before))
        if failed in _UNSUPPORTED:
            return False
        if failed:
            # Some of it may have been taken, and others need it.
            os.ftruncate(descriptor, before)
            raise OSError(failed, os.strerror(failed), str(file))
        return True
    finally:
        os.close(descriptor)


def first_size_bytes(folder: Path, wanted_size_bytes: int) -> int:
    """Return how much to take for a new file: what is wanted, less on a nearly full disk."""
    return _whole_pages(min(wanted_size_bytes, _fair_size_bytes(folder)))


def next_size_bytes(folder: Path, size_bytes: int) -> int:
    """Return how large to make a file that is full: twice as large, if that is little of the disk.

    Raises
    ------
    OSError
        The disk cannot be asked.
    """
    return _whole_pages(size_bytes + min(size_bytes, _fair_size_bytes(folder)))


def _fair_size_bytes(folder: Path) -> int:
    """Return what may be taken at once of a disk that has other files to hold."""
    stats = os.statvfs(folder)
    free_size_bytes = stats.f_bavail * stats.f_frsize
    return max(_TAKEN_SIZE_BYTES_MIN, free_size_bytes // limits.LOG_DISK_DIVISOR)


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE


def _allocate(descriptor: int, size_bytes: int) -> int:
    """Allocate disk for the first bytes of a file; return the error's number, 0 for none.

    Not by `os.posix_fallocate`: on files without extents, where the system cannot do it, that
    writes zeros, of which nothing says that there is room for them before they are written back.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    while library.fallocate(descriptor, 0, 0, size_bytes):
        number = ctypes.get_errno()
        if number != errno.EINTR:
            return number
    return 0


def _type_of(descriptor: int) -> int:
    """Return the magic number of the file system that a file lies on; 0 when it cannot be known."""
    found = ctypes.create_string_buffer(_STATFS_SIZE_BYTES)
    library = ctypes.CDLL(None, use_errno=True)
    try:
        failed = library.fstatfs(descriptor, found)
    except AttributeError:
        return 0
    if failed:
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EPERM, errno.EACCES):
            return 0
        raise OSError(number, os.strerror(number))
    return ctypes.c_long.from_buffer(found).value
