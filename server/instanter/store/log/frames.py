"""The layout of one record in the log, byte by byte. Pure functions over bytes.

A **frame**, all integers little-endian, begins at a multiple of 8 bytes:

====== ===== ====== ==================================================================
offset bytes type   meaning
====== ===== ====== ==================================================================
0      4     uint32 length L: bytes that the checksum covers, 24 + the size of the body
4      4     uint32 CRC-32C over bytes 8 to 8 + L, begun with the log's salt xor L
8      8     uint64 sequence
16     8     int64  time, nanoseconds since 1970
24     2     uint16 kind of the record, chosen by whoever appends
26     2     uint16 flags: 1 is an end mark, see below; the others are 0
28     4     uint32 how many records before this one were not known to be on disk when
                    this one was appended
32     L-24  bytes  body
…      0–7   bytes  NUL up to a multiple of 8
====== ===== ====== ==================================================================

Where the data end there are zeros: a length of 0 is no frame. An **end mark** is a frame without a
body and with the sequence of the record to come. A log that is closed writes one: all before it
is on disk. It is no record, and the next record is written over it.

The checksum begins with a salt that is drawn once a log and with the length, so neither a frame of
another log nor one that somebody's payload imitates passes for one of this log. The number of
records not yet on disk tells an interrupted write from damage: a record that a later one knew to
be on disk cannot be missing because of a power cut.
"""

import struct
from collections.abc import Generator, Iterator
from typing import Final, NamedTuple

import google_crc32c
import numpy as np

HEADER: Final = struct.Struct("<IIQqHHI")
"""Length, checksum, sequence, time, kind, flags, records not yet on disk."""

HEADER_SIZE_BYTES: Final = 32
COVERED_SIZE_BYTES_MIN: Final = 24
"""The length of a frame without a body."""

ALIGNMENT_BYTES: Final = 8
FLAG_END_MARK: Final = 1

PREFIX: Final = struct.Struct("<II")
"""Length and checksum, which the checksum does not cover as bytes."""

COVERED_HEADER: Final = struct.Struct("<QqHHI")
"""The rest of the header."""

PADDING: Final = tuple(b"\0" * (-size % ALIGNMENT_BYTES) for size in range(ALIGNMENT_BYTES))
"""What fills a frame up, by its size modulo 8."""

_PREFIX_SIZE_BYTES = 8

assert HEADER.size == HEADER_SIZE_BYTES == PREFIX.size + COVERED_HEADER.size
assert COVERED_HEADER.size == COVERED_SIZE_BYTES_MIN


class LogPosition(NamedTuple):
    """Where a record stands.

    Attributes
    ----------
    segment
        First sequence of its segment, which names the file.
    offset
        Byte in that file at which its frame begins.
    """

    segment: int
    offset: int


class LogRecord(NamedTuple):
    """One record of the log. A tuple, because a frozen dataclass costs 1 µs more to make.

    Attributes
    ----------
    sequence
        Its number, from 1, without gaps.
    time_ns
        Nanoseconds since 1970.
    kind
        What it is, 0 to 65535.
    body
        Its payload.
    position
        Where it stands.
    """

    sequence: int
    time_ns: int
    kind: int
    body: bytes
    position: LogPosition


class Frame(NamedTuple):
    """One frame as it was read, its checksum right.

    Attributes
    ----------
    sequence, time_ns, kind, body
        As in the record.
    flags
        `FLAG_END_MARK` or 0.
    unsynced_count
        Records before it that were not known to be on disk when it was appended.
    crc
        Its checksum.
    size_bytes
        Bytes it takes, padding included.
    """

    sequence: int
    time_ns: int
    kind: int
    body: bytes
    flags: int
    unsynced_count: int
    crc: int
    size_bytes: int


def frame_size_bytes(body_size: int) -> int:
    """Return the bytes that a record with a body of this size takes."""
    return (HEADER_SIZE_BYTES + body_size + ALIGNMENT_BYTES - 1) & -ALIGNMENT_BYTES


def claimed_size_bytes(data: bytes, at: int) -> int:
    """Return the bytes that the frame at `at` says it takes; 0 when there is no length."""
    if len(data) - at < HEADER_SIZE_BYTES:
        return 0
    length = int.from_bytes(data[at : at + 4], "little")
    return frame_size_bytes(length - COVERED_SIZE_BYTES_MIN) if length else 0


def encode_end_mark(sequence: int, time_ns: int, salt: int) -> bytes:
    """Return the frame that says: all before `sequence` is on disk, and nothing follows."""
    covered = COVERED_HEADER.pack(sequence, time_ns, 0, FLAG_END_MARK, 0)
    crc = google_crc32c.extend(salt ^ COVERED_SIZE_BYTES_MIN, covered)
    return PREFIX.pack(COVERED_SIZE_BYTES_MIN, crc) + covered


def decode(data: bytes, at: int, salt: int) -> Frame | None:
    """Return the frame that begins at `at`, or None when there is no whole and right one."""
    if len(data) - at < HEADER_SIZE_BYTES:
        return None
    length, crc, sequence, time_ns, kind, flags, unsynced_count = HEADER.unpack_from(data, at)
    end = at + _PREFIX_SIZE_BYTES + length
    if length < COVERED_SIZE_BYTES_MIN or end > len(data):
        return None
    if google_crc32c.extend(salt ^ length, data[at + _PREFIX_SIZE_BYTES : end]) != crc:
        return None
    return Frame(
        sequence,
        time_ns,
        kind,
        data[at + HEADER_SIZE_BYTES : end],
        flags,
        unsynced_count,
        crc,
        frame_size_bytes(length - COVERED_SIZE_BYTES_MIN),
    )


class RunEnd(NamedTuple):
    """Where a run of right frames ended.

    Attributes
    ----------
    at
        Offset in the bytes that were read.
    sequence
        Of the record that should stand there.
    crc
        Checksum of the frame before.
    marked
        Whether an end mark stands there.
    """

    at: int
    sequence: int
    crc: int
    marked: bool


def read_run(
    data: bytes, salt: int, sequence: int, crc: int, place: LogPosition
) -> Generator[LogRecord, None, RunEnd]:
    """Yield records as long as frames are right and follow one another.

    It is `decode` once more, without what makes that slow: a log is read at each start.

    Parameters
    ----------
    data
        Bytes of a segment from the beginning of a frame on.
    salt
        The log's.
    sequence, crc
        Of the first frame, and the checksum of the one before it.
    place
        Where `data` begins.
    """
    unpack, extend = HEADER.unpack_from, google_crc32c.extend
    segment, start = place
    at, size = 0, len(data)
    while at + HEADER_SIZE_BYTES <= size:
        length, found_crc, found, time_ns, kind, flags, _ = unpack(data, at)
        end = at + _PREFIX_SIZE_BYTES + length
        if found != sequence or end > size or length < COVERED_SIZE_BYTES_MIN:
            break
        if extend(salt ^ length, data[at + _PREFIX_SIZE_BYTES : end]) != found_crc:
            break
        if flags:
            return RunEnd(at, sequence, crc, marked=True)
        body = data[at + HEADER_SIZE_BYTES : end]
        yield LogRecord(found, time_ns, kind, body, LogPosition(segment, start + at))
        at = (end + ALIGNMENT_BYTES - 1) & -ALIGNMENT_BYTES
        crc = found_crc
        sequence += 1
    return RunEnd(at, sequence, crc, marked=False)


def find_frames(data: bytes, salt: int, sequence_min: int) -> Iterator[tuple[int, Frame]]:
    """Yield the right frames in bytes of which some are not, with their offsets, in order.

    Parameters
    ----------
    data
        Bytes of a segment from a multiple of 8 on.
    salt
        The log's.
    sequence_min
        Frames before this sequence are none of interest.
    """
    words = np.frombuffer(data, "<u8", len(data) // ALIGNMENT_BYTES)
    if len(words) < HEADER_SIZE_BYTES // ALIGNMENT_BYTES:
        return
    lengths = words[:-1] & np.uint64(0xFFFF_FFFF)
    sequences = words[1:]
    sequence_max = sequence_min + len(data) // HEADER_SIZE_BYTES + 1
    likely = (lengths >= COVERED_SIZE_BYTES_MIN) & (lengths <= len(data))
    likely &= (sequences >= sequence_min) & (sequences <= sequence_max)
    end = 0
    for index in np.flatnonzero(likely).tolist():
        at = index * ALIGNMENT_BYTES
        # What stands inside of a right frame is payload.
        if at < end:
            continue
        frame = decode(data, at, salt)
        if frame is not None:
            yield at, frame
            end = at + frame.size_bytes
