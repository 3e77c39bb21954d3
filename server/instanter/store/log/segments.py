"""The files of the log: what they are called, how they begin, how they are made and listed.

A segment `<first sequence, 20 digits>.log` has a header and then frames. The header, all integers
little-endian, is the same 64 bytes in all formats to come:

====== ===== ====== ==================================================================
offset bytes type   meaning
====== ===== ====== ==================================================================
0      8     bytes  magic "INSTLOG" and NUL
8      4     uint32 format, 1
12     4     uint32 salt of the log, with which all checksums of frames begin
16     8     uint64 first sequence, as in the name
24     8     uint64 size of the file
32     8     int64  create time, nanoseconds since 1970
40     8     uint64 first sequence of the segment before, 0 for none
48     4     uint32 checksum of the last frame before this segment, 0 for none
52     8     bytes  reserve, 0
60     4     uint32 CRC-32C over the header up to here
====== ===== ====== ==================================================================

A segment is written full of zeros and synced before it gets its name. So writing a record changes
neither the file's size nor its extents, `fdatasync` has no metadata to commit, and a full disk is
met when the next segment is made, not in the middle of this one.
"""

import ctypes
import os
import re
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import google_crc32c

from instanter.errors import LogDamagedError, PreconditionError

FORMAT: Final = 1
"""The newest format of a segment that this version reads, and the one it writes."""

LOG_FOLDER_NAME: Final = "log"
"""Folder of the log inside of a store's."""

SEGMENT_HEADER_SIZE_BYTES: Final = 64
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600

_MAGIC = b"INSTLOG\0"
_HEADER = struct.Struct("<8sIIQQqQI8s")
_CRC = struct.Struct("<I")
_NAME = re.compile(r"(\d{20})\.log")
_UNNAMED_SUFFIX = ".unnamed"
_PIECE = bytes(1 << 20)
"""What is zeroed between two syncs: a longer sync would hold up those of the log beside it."""

assert _HEADER.size + _CRC.size == SEGMENT_HEADER_SIZE_BYTES


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says about itself.

    Attributes
    ----------
    first_sequence
        Sequence of its first record.
    salt
        What all checksums of the log's frames begin with.
    size_bytes
        Size of the file.
    create_time_ns
        Nanoseconds since 1970; no record of the segment before is younger.
    previous_segment
        First sequence of the segment before, 0 for none.
    previous_crc
        Checksum of the last frame before this segment, 0 for none.
    """

    first_sequence: int
    salt: int
    size_bytes: int
    create_time_ns: int
    previous_segment: int
    previous_crc: int


def make_salt() -> int:
    """Return the salt of a new log, 32 bits that nobody who only sends records knows."""
    return secrets.randbits(32)


def segment_path(folder: Path, first_sequence: int) -> Path:
    """Return the file of the segment that begins with this sequence."""
    return folder / f"{first_sequence:020d}.log"


def unnamed_path(folder: Path, number: int) -> Path:
    """Return the file of a segment in the making."""
    return folder / f"{number}{_UNNAMED_SUFFIX}"


def list_segments(folder: Path) -> list[int]:
    """Return the first sequences of the segments of a folder, in order."""
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


def remove_unnamed(folder: Path) -> None:
    """Remove what a process that died while it made segments has left behind."""
    for path in folder.glob(f"*{_UNNAMED_SUFFIX}"):
        path.unlink(missing_ok=True)


def encode_segment_header(header: SegmentHeader) -> bytes:
    """Return the 64 bytes of a header."""
    packed = _HEADER.pack(
        _MAGIC,
        FORMAT,
        header.salt,
        header.first_sequence,
        header.size_bytes,
        header.create_time_ns,
        header.previous_segment,
        header.previous_crc,
        b"",
    )
    return packed + _CRC.pack(google_crc32c.value(packed))


def read_segment_header(path: Path, descriptor: int) -> SegmentHeader:
    """Return the header of an open segment.

    Raises
    ------
    LogDamagedError
        These are not the bytes that were written.
    PreconditionError
        The segment is of a newer format than this version knows, or was renamed.
    """
    packed = os.pread(descriptor, SEGMENT_HEADER_SIZE_BYTES, 0)
    whole = len(packed) == SEGMENT_HEADER_SIZE_BYTES
    if (
        not whole
        or packed[:8] != _MAGIC
        or _CRC.unpack(packed[-4:])[0] != google_crc32c.value(packed[:-4])
    ):
        raise LogDamagedError(
            f"{path}: the first {SEGMENT_HEADER_SIZE_BYTES} bytes are not the header of a log; "
            "restore the file from a backup"
        )
    _, written_format, salt, first, size, created, previous, previous_crc, _ = _HEADER.unpack(
        packed[:-4]
    )
    if written_format > FORMAT:
        raise PreconditionError(
            f"{path} was written by a newer version: its format is {written_format}, and this "
            f"version reads formats up to {FORMAT}; start the newer version",
            reason="LOG_FORMAT_NEWER",
        )
    if segment_path(path.parent, first) != path:
        raise PreconditionError(
            f"{path} holds records from {first:,} on, so it was renamed; give it back its name "
            f"{segment_path(path.parent, first).name}",
            reason="LOG_FILE_RENAMED",
        )
    return SegmentHeader(first, salt, size, created, previous, previous_crc)


def make_zeroed(path: Path, size_bytes: int, pause: Callable[[], None]) -> int:
    """Make a file full of zeros, on disk, and return its descriptor, open to read and write.

    Parameters
    ----------
    path
        A file that does not exist.
    size_bytes
        Its size.
    pause
        Called after each piece of 1 MiB; what it raises ends the making.

    Raises
    ------
    OSError
        The disk is full or fails; the file is removed again.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
        for offset in range(0, size_bytes, len(_PIECE)):
            write_all(descriptor, _PIECE[: size_bytes - offset], offset)
            os.fdatasync(descriptor)
            pause()
        os.fsync(descriptor)
    except BaseException:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Return Linux' call of that name, without giving the interpreter's lock away; else None."""
    found = getattr(ctypes.PyDLL(None), "sync_file_range", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found


_SYNC_FILE_RANGE: Final = _find_sync_file_range()
_SYNC_FILE_RANGE_WRITE: Final = 2


def write_all(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    """Write all of `data` at `offset`: one system call, or several when the first falls short."""
    written = os.pwrite(descriptor, data, offset)
    if written < len(data):
        with memoryview(data) as view:
            while written < len(data):
                written += os.pwrite(descriptor, view[written:], offset + written)


def begin_writing_out(descriptor: int, offset: int, size_bytes: int) -> None:
    """Let the disk begin with a range that was written, and do not wait for it.

    It promises nothing, and what goes wrong is told by the sync that has to follow.
    """
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(descriptor, offset, size_bytes, _SYNC_FILE_RANGE_WRITE)


def zero_range(descriptor: int, offset: int, size_bytes: int) -> None:
    """Write zeros over a range."""
    for start in range(offset, offset + size_bytes, len(_PIECE)):
        write_all(descriptor, _PIECE[: offset + size_bytes - start], start)


def sync_folder(folder: Path) -> None:
    """Put the names of a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
