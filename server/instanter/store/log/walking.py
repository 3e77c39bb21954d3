"""Reads one segment frame by frame, and judges what stands where no right frame does."""

import os
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from instanter.store.log import frames
from instanter.store.log.frames import LogPosition, LogRecord
from instanter.store.log.segments import (
    SEGMENT_HEADER_SIZE_BYTES,
    SegmentHeader,
    read_segment_header,
    segment_path,
)

_PIECE_SIZE_BYTES_FIRST = 1 << 16
_PIECE_SIZE_BYTES = 1 << 20
_SECTOR_SIZE_BYTES = 512
"""What a disk writes wholly or not at all."""


class Ending(IntEnum):
    """What stands where the right frames of a segment end."""

    CLEAN = 0
    """Nothing was ever written here, or an end mark."""

    TORN = 1
    """A write that was interrupted before anybody was told that it is on disk."""

    DAMAGED = 2
    """Something that was on disk and is not any more."""


class Judgement(NamedTuple):
    """What was found where the right frames of a segment end.

    Attributes
    ----------
    ending
        What it is.
    end_offset
        Byte behind the last one that is not zero.
    next_sequence
        Sequence of the first right frame behind, or None when there is none.
    next_offset
        Where that one begins, 0 when there is none.
    record_count
        Records in right frames behind.
    """

    ending: Ending
    end_offset: int
    next_sequence: int | None
    next_offset: int
    record_count: int


class Landmark(NamedTuple):
    """Where a record stands, to begin a walk there.

    Attributes
    ----------
    sequence
        The record.
    position
        Where its frame begins.
    """

    sequence: int
    position: LogPosition


class SegmentFile:
    """A segment that is open to read. Read by `pread` and never mapped: see `Log.open`.

    Attributes
    ----------
    path
        The file.
    header
        What it says about itself.
    size_bytes
        Its true size.
    """

    __slots__ = ("descriptor", "header", "path", "size_bytes")

    def __init__(self, path: Path, descriptor: int, header: SegmentHeader, size_bytes: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.header = header
        self.size_bytes = size_bytes

    @classmethod
    def open(cls, folder: Path, first_sequence: int, *, from_disk: bool = False) -> Self:
        """Open the segment that begins with a sequence.

        Parameters
        ----------
        folder
            Folder of the log.
        first_sequence
            Names the segment.
        from_disk
            First write out what is not on disk yet, then forget the page cache, so that what
            is read is what the disk has. A page that failed to be written looks like one that
            was.

        Raises
        ------
        FileNotFoundError
            There is no such segment, or not any more.
        OSError
            The disk fails.
        LogDamagedError, PreconditionError
            As for `read_segment_header`.
        """
        path = segment_path(folder, first_sequence)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if from_disk:
                os.fdatasync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            header = read_segment_header(path, descriptor)
            size_bytes = os.fstat(descriptor).st_size
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, header, size_bytes)

    def close(self) -> None:
        """Close the file, unless it is closed already."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes of the file, fewer at its end."""
        return os.pread(self.descriptor, size_bytes, offset)

    def read_rest(self, offset: int) -> bytes:
        """Return what stands from `offset` on up to the last byte that is not zero.

        Its size is a multiple of 8; a file full of zeros costs no memory.
        """
        kept: list[bytes] = []
        zero_count = 0
        while piece := self.read(offset, _PIECE_SIZE_BYTES):
            offset += len(piece)
            if np.frombuffer(piece, np.uint8).any():
                kept += (bytes(zero_count), piece)
                zero_count = 0
            else:
                zero_count += len(piece)
        rest = b"".join(kept).rstrip(b"\0")
        return rest + bytes(-len(rest) % frames.ALIGNMENT_BYTES)


class SegmentWalk:
    """Goes through the right frames of one segment.

    Parameters
    ----------
    file
        The segment.
    start
        A record of it and where it stands; by default the first one.

    Attributes
    ----------
    offset
        Where the next frame begins, or should.
    sequence
        Sequence that it has, or should have.
    crc
        Checksum of the frame before it, 0 when that one was not read.
    marked
        Whether an end mark stands here.
    landmarks
        Records on the way and where they stand, at least one in each MiB.
    """

    __slots__ = ("_file", "crc", "landmarks", "marked", "offset", "sequence")

    def __init__(self, file: SegmentFile, start: Landmark | None = None) -> None:
        self._file = file
        self.marked = False
        self.landmarks: list[Landmark] = []
        if start is None:
            self.offset = SEGMENT_HEADER_SIZE_BYTES
            self.sequence = file.header.first_sequence
            self.crc = file.header.previous_crc
        else:
            self.offset, self.sequence, self.crc = start.position.offset, start.sequence, 0

    def records(self) -> Iterator[LogRecord]:
        """Yield records as long as frames are right and follow one another.

        The attributes are right when it has ended. It may be called again then, to see whether a
        writer has gone on meanwhile.
        """
        file, segment = self._file, self._file.header.first_sequence
        size_wanted = _PIECE_SIZE_BYTES_FIRST
        while True:
            place = LogPosition(segment, self.offset)
            self.landmarks.append(Landmark(self.sequence, place))
            piece = file.read(self.offset, size_wanted)
            end = yield from frames.read_run(
                piece, file.header.salt, self.sequence, self.crc, place
            )
            self.offset += end.at
            _, self.sequence, self.crc, self.marked = end
            claimed = frames.claimed_size_bytes(piece, end.at)
            if (
                self.marked
                or place.offset + len(piece) >= file.size_bytes
                or self.offset + claimed > file.size_bytes
                or (end.at == 0 and claimed <= len(piece))
            ):
                return
            # Perhaps only the piece ends here, so look again from this frame on.
            size_wanted = max(min(4 * size_wanted, _PIECE_SIZE_BYTES), claimed)

    def judge(self, durable_before: int = 0) -> Judgement:
        """Say what stands where the walk has ended.

        Right frames may stand behind a wrong one without any damage: the pages of a group reach
        the disk in any order, and a power cut may come in between. Three things tell damage from
        that: a frame behind that knew this one to be on disk; `durable_before`; and a wrong frame
        of which no sector is missing, because a disk writes a sector wholly or not at all.

        Parameters
        ----------
        durable_before
            Records before this sequence are known to have been on disk.
        """
        rest = self._file.read_rest(self.offset)
        end_offset = self.offset + len(rest)
        salt = self._file.header.salt
        behind = frames.HEADER_SIZE_BYTES if self.marked else 0
        found = list(frames.find_frames(rest[behind:], salt, self.sequence + 1))
        count = sum(not frame.flags for _, frame in found)
        next_sequence = found[0][1].sequence if found else None
        next_offset = self.offset + behind + found[0][0] if found else 0
        known = max((f.sequence - f.unsynced_count for _, f in found), default=0)
        if len(rest) <= behind and self.sequence >= durable_before:
            ending = Ending.CLEAN
        elif self.sequence >= max(durable_before, known) and (
            not found or self.marked or self._is_interrupted(rest, found[0][0])
        ):
            ending = Ending.TORN
        else:
            ending = Ending.DAMAGED
        return Judgement(ending, end_offset, next_sequence, next_offset, count)

    def _is_interrupted(self, rest: bytes, size_bytes: int) -> bool:
        """Return whether a sector is missing from the bytes before the next right frame."""
        first = self.offset % _SECTOR_SIZE_BYTES
        start = 0
        end = _SECTOR_SIZE_BYTES - first
        while start < size_bytes:
            sector = rest[start : min(end, size_bytes)]
            if not any(sector):
                return True
            start, end = end, end + _SECTOR_SIZE_BYTES
        return False
