"""Opens a log for writing: lock it, read what the disk has, cut what is torn, refuse holes."""

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from instanter.clock import Clock
from instanter.errors import ExhaustedError, UnavailableError
from instanter.store.log.frames import LogPosition
from instanter.store.log.preparation import Preparation, Unnamed
from instanter.store.log.segments import (
    FOLDER_MODE,
    SEGMENT_HEADER_SIZE_BYTES,
    SegmentHeader,
    encode_segment_header,
    list_segments,
    make_salt,
    remove_unnamed,
    segment_path,
    sync_folder,
    write_all,
    zero_range,
)
from instanter.store.log.survey import (
    Hole,
    Segment,
    Survey,
    Surveyor,
    TornTail,
    damaged_error,
)
from instanter.store.log.walking import Landmark

SYNC_FAILED: Final = "LOG_SYNC_FAILED"
"""Reason when the disk did not take what was written: nothing of it may be relied upon."""

DISK_FULL: Final = "LOG_DISK_FULL"
"""Reason when there is no room for the log; nothing was changed."""


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """What a log is when it has just been opened.

    Attributes
    ----------
    lock
        Descriptor of the folder, which keeps other writers out.
    descriptor
        Of the last segment, open to be written.
    segments
        All segments; the last one is written to.
    end
        Where the next frame goes.
    next_sequence
        Its sequence.
    crc
        Checksum of the frame before.
    landmarks
        Where some of the records stand, in order.
    """

    lock: int
    descriptor: int
    segments: tuple[Segment, ...]
    end: LogPosition
    next_sequence: int
    crc: int
    landmarks: tuple[Landmark, ...]


def open_log(
    folder: Path,
    *,
    clock: Clock,
    on_torn: Callable[[TornTail], object],
    preparation: Preparation,
    read_from: int,
) -> OpenedLog:
    """Open a log, or begin one; `Log.open` tells the parameters and errors."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    lock = _lock_folder(folder)
    try:
        remove_unnamed(folder)
        if not list_segments(folder):
            _check_nothing_missing(folder, read_from)
            return _begin(folder, lock, clock, preparation)
        return _go_on(folder, lock, on_torn, read_from)
    except BaseException:
        os.close(lock)
        raise


def write_header(unnamed: Unnamed, header: SegmentHeader) -> None:
    """Write the header of a segment that has no name yet, and put it on disk.

    Raises
    ------
    OSError
        The disk fails.
    """
    write_all(unnamed.descriptor, encode_segment_header(header), 0)
    os.fdatasync(unnamed.descriptor)


def give_name(folder: Path, unnamed: Unnamed, first_sequence: int) -> None:
    """Make a segment with its header a part of the log, on disk.

    Raises
    ------
    OSError
        The disk fails.
    """
    unnamed.path.rename(segment_path(folder, first_sequence))
    sync_folder(folder)


def disk_full_error(folder: Path, error: OSError) -> ExhaustedError:
    """Return the error for a full or failing disk, with the room that is left."""
    try:
        stats = os.statvfs(folder)
        room = stats.f_bavail * stats.f_frsize
    except OSError:
        room = -1
    return ExhaustedError(
        f"the disk of the log in {folder} is full or fails ({error}; {room:,} bytes free); nothing "
        "was changed; make room, then retry",
        reason=DISK_FULL,
        metadata={"free_size_bytes": str(room)},
    )


def sync_failed_error(folder: Path, error: OSError) -> UnavailableError:
    """Return the error for a disk that did not take what was written."""
    return UnavailableError(
        f"the disk of the log in {folder} failed to keep what was written ({error}); nothing more "
        "is acknowledged until the log has been read anew; check the disk",
        reason=SYNC_FAILED,
    )


def _lock_folder(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UnavailableError(
            f"another process writes the log in {folder}; stop it first, or name another folder",
            reason="LOG_IN_USE",
        ) from None
    return descriptor


def _check_nothing_missing(folder: Path, read_from: int) -> None:
    if read_from > 1:
        hole = Hole(1, read_from - 1, segment_path(folder, 1), 0, "missing file")
        raise damaged_error(folder, (hole,))


def _begin(folder: Path, lock: int, clock: Clock, preparation: Preparation) -> OpenedLog:
    unnamed = None
    try:
        unnamed = preparation.make(preparation.plan_size_bytes(0))
        header = SegmentHeader(1, make_salt(), unnamed.size_bytes, clock.now_ns(), 0, 0)
        write_header(unnamed, header)
        give_name(folder, unnamed, 1)
        sync_folder(folder.parent)
    except OSError as error:
        if unnamed is not None:
            unnamed.discard()
        raise disk_full_error(folder, error) from error
    end = LogPosition(1, SEGMENT_HEADER_SIZE_BYTES)
    segment = Segment(header, unnamed.size_bytes)
    return OpenedLog(lock, unnamed.descriptor, (segment,), end, 1, 0, ())


def _go_on(
    folder: Path, lock: int, on_torn: Callable[[TornTail], object], read_from: int
) -> OpenedLog:
    try:
        # An unclean stop may have left records in the page cache only. Whoever reads them now
        # builds on them, so they must be on disk first; and a page that failed to get there
        # looks clean, so the cache is forgotten and the disk is read.
        surveyor = Surveyor(folder, from_disk=True, durable_before=read_from)
        survey = surveyor.survey(read_from)
        _check_whole(folder, survey, read_from)
        path = segment_path(folder, survey.end.segment)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if survey.torn is not None:
                _cut(descriptor, survey.torn)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise sync_failed_error(folder, error) from error
    if survey.torn is not None:
        on_torn(survey.torn)
    return OpenedLog(
        lock,
        descriptor,
        survey.segments,
        survey.end,
        survey.next_sequence,
        survey.crc,
        survey.landmarks,
    )


def _check_whole(folder: Path, survey: Survey, read_from: int) -> None:
    holes = list(survey.holes)
    if 0 < read_from < survey.first_sequence:
        path = segment_path(folder, read_from)
        last = survey.first_sequence - 1
        holes.insert(0, Hole(read_from, last, path, 0, "missing file"))
    if holes:
        raise damaged_error(folder, tuple(holes))


def _cut(descriptor: int, torn: TornTail) -> None:
    """Put zeros where the interrupted write was, on disk."""
    zero_range(descriptor, torn.position.offset, torn.size_bytes)
    os.fdatasync(descriptor)
