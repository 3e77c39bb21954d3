"""The records that wait to be written together, in memory, as the bytes of their frames."""

from collections.abc import Callable
from typing import NamedTuple

import google_crc32c

from instanter import limits
from instanter.errors import ExhaustedError
from instanter.store.log import frames
from instanter.store.log.frames import LogPosition, LogRecord
from instanter.store.log.segments import SEGMENT_HEADER_SIZE_BYTES


class LogMark(NamedTuple):
    """A moment in the making of a group, to go back to; its fields are the group's own."""

    part_count: int
    buffer_size: int
    next_sequence: int
    crc: int
    room: int


class Part:
    """The frames of a group that go into one segment.

    Attributes
    ----------
    segment
        First sequence of the segment.
    offset
        Where in it the frames begin.
    previous_crc
        Checksum of the frame before them.
    buffer
        Their bytes.
    """

    __slots__ = ("buffer", "offset", "previous_crc", "segment")

    def __init__(self, segment: int, offset: int, previous_crc: int) -> None:
        self.segment = segment
        self.offset = offset
        self.previous_crc = previous_crc
        self.buffer = bytearray()


class Group:
    """The group in the making. Belongs to the thread that writes.

    Parameters
    ----------
    salt
        The log's.
    end
        Where the next frame goes.
    room
        Bytes left in that segment.
    next_sequence
        Sequence of the next record.
    crc
        Checksum of the frame before.
    segment_size
        Tells how large the next segment is likely to be.

    Attributes
    ----------
    parts
        The frames, by segment: the present one first, then those to be begun.
    next_sequence
        Sequence of the next record.
    synced_sequence
        The last record that is known to be on disk; the log sets it.
    """

    __slots__ = (
        "_crc",
        "_room",
        "_salt",
        "_segment_size",
        "_start",
        "next_sequence",
        "parts",
        "synced_sequence",
    )

    def __init__(
        self,
        *,
        salt: int,
        end: LogPosition,
        room: int,
        next_sequence: int,
        crc: int,
        segment_size: Callable[[], int],
    ) -> None:
        self._salt = salt
        self._segment_size = segment_size
        self._crc = crc
        self._room = room
        self.next_sequence = next_sequence
        self.synced_sequence = next_sequence - 1
        self.parts = [Part(end.segment, end.offset, crc)]
        self._start = self.mark()

    def append(self, kind: int, time_ns: int, body: bytes) -> LogRecord:
        """Add a record; `Log.append` tells the rest."""
        sequence = self.next_sequence
        length = frames.COVERED_SIZE_BYTES_MIN + len(body)
        if length > limits.LOG_RECORD_SIZE_BYTES_MAX:
            raise _too_long_error(len(body))
        size = frames.frame_size_bytes(len(body))
        if size > self._room:
            self._turn_page(size)
        unsynced_count = sequence - 1 - self.synced_sequence
        covered = frames.COVERED_HEADER.pack(sequence, time_ns, kind, 0, unsynced_count) + body
        crc = google_crc32c.extend(self._salt ^ length, covered)
        part = self.parts[-1]
        buffer = part.buffer
        position = LogPosition(part.segment, part.offset + len(buffer))
        buffer += frames.PREFIX.pack(length, crc)
        buffer += covered
        buffer += frames.PADDING[length & 7]
        self._crc = crc
        self._room -= size
        self.next_sequence = sequence + 1
        return LogRecord(sequence, time_ns, kind, body, position)

    def mark(self) -> LogMark:
        """Return the present moment."""
        return LogMark(
            len(self.parts), len(self.parts[-1].buffer), self.next_sequence, self._crc, self._room
        )

    def rollback(self, mark: LogMark) -> None:
        """Forget the records that were appended since."""
        assert mark.next_sequence >= self._start.next_sequence, "they are not written yet"
        del self.parts[mark.part_count :]
        del self.parts[-1].buffer[mark.buffer_size :]
        self.next_sequence, self._crc, self._room = mark.next_sequence, mark.crc, mark.room

    def forget(self) -> None:
        """Forget all records; their sequences are given again."""
        # A new buffer: after a failed write the error's traceback may still hold the old one.
        self.parts[0].buffer = bytearray()
        self.rollback(self._start)

    def begin_anew(self, segment_size_bytes: int) -> None:
        """Begin the next group, after this one was written into a segment of this size."""
        part = self.parts[-1]
        part.offset += len(part.buffer)
        part.previous_crc = self._crc
        part.buffer.clear()
        self.parts = [part]
        self._room = segment_size_bytes - part.offset
        self._start = self.mark()

    def end_segment(self) -> None:
        """Let the next record begin a segment, whatever room is left; before a group is begun."""
        self._room = 0
        self._start = self.mark()

    def end_offset(self) -> int:
        """Return where the first frame of the group begins."""
        return self.parts[0].offset

    def room(self) -> int:
        """Return the bytes that are left in the segment."""
        return self._room

    def _turn_page(self, size: int) -> None:
        """Let the next frame, of this size, begin a segment."""
        self.parts.append(Part(self.next_sequence, SEGMENT_HEADER_SIZE_BYTES, self._crc))
        self._room = max(self._segment_size() - SEGMENT_HEADER_SIZE_BYTES, size)


def _too_long_error(size_bytes: int) -> ExhaustedError:
    return ExhaustedError(
        f"a record of {size_bytes:,} bytes is too long for the log; at most "
        f"{limits.LOG_RECORD_SIZE_BYTES_MAX - frames.COVERED_SIZE_BYTES_MIN:,} bytes are allowed",
        reason="LOG_RECORD_TOO_LARGE",
    )
