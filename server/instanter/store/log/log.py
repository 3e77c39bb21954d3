"""The log, open to be written: append, write a group, sync, take back, drop what is old."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, Self

from instanter import limits
from instanter.clock import Clock
from instanter.errors import UnavailableError
from instanter.store.log import frames
from instanter.store.log.frames import LogPosition, LogRecord
from instanter.store.log.group import Group, LogMark, Part
from instanter.store.log.opening import (
    OpenedLog,
    disk_full_error,
    give_name,
    open_log,
    sync_failed_error,
    write_header,
)
from instanter.store.log.preparation import Preparation, Unnamed, discard_each
from instanter.store.log.reading import LogReader
from instanter.store.log.retention import Retention, count_droppable
from instanter.store.log.segments import (
    SEGMENT_HEADER_SIZE_BYTES,
    SegmentHeader,
    begin_writing_out,
    segment_path,
    sync_folder,
    write_all,
    zero_range,
)
from instanter.store.log.survey import Segment, TornTail
from instanter.store.log.sync_queue import SyncQueue
from instanter.store.log.walking import Landmark

__all__ = ["GroupWritten", "Log", "LogMark", "LogPosition", "LogRecord", "TornTail"]

_PREPARE_ROOM_RATE: Final = 0.75
"""The next segment is begun when so much of the present one is left."""

_HURRY_ROOM_RATE: Final = 0.5
"""It is made without rests when only so much is left."""


class GroupWritten(NamedTuple):
    """What `Log.write_group` has written.

    Attributes
    ----------
    first_sequence, last_sequence
        Its records.
    size_bytes
        Bytes of its frames.
    """

    first_sequence: int
    last_sequence: int
    size_bytes: int


class Log:
    """The log, open to be written by one process.

    One thread appends and writes groups; another one may sync meanwhile; any may read. What
    `append` returns is in no file before `write_group`, and may not be acknowledged as durable
    before `synced_sequence` has reached it.

    Attributes
    ----------
    folder, reader
        Where it lives, and what reads it, beside the writing.
    """

    def __init__(
        self,
        folder: Path,
        opened: OpenedLog,
        *,
        clock: Clock,
        preparation: Preparation,
        retention: Retention | None,
    ) -> None:
        self.folder = folder
        self.retention = retention or Retention()
        self.reader = LogReader(folder)
        for landmark in opened.landmarks:
            self.reader.add_landmark(landmark)
        self._lock = opened.lock
        self._descriptor = opened.descriptor
        self._segments = list(opened.segments)
        self._header = self._segments[-1].header
        self._clock = clock
        self._preparation = preparation
        self._written = self._synced = opened.next_sequence - 1
        self._group = Group(
            salt=self._header.salt,
            end=opened.end,
            room=self._header.size_bytes - opened.end.offset,
            next_sequence=opened.next_sequence,
            crc=opened.crc,
            segment_size=lambda: preparation.next_size_bytes() or self._header.size_bytes,
        )
        # One at a time: the kernel reports a failed write to one of two who sync together.
        self._sync_lock = threading.Lock()
        self._queue: SyncQueue | None = None
        self._failure: UnavailableError | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock: Clock,
        on_torn: Callable[[TornTail], object],
        segment_size_bytes: int = limits.LOG_SEGMENT_SIZE_BYTES_MAX,
        read_from: int = 0,
        retention: Retention | None = None,
    ) -> Self:
        """Open the log of a folder, or begin one there.

        Parameters
        ----------
        folder
            Made when it is not there.
        clock
            Dates the segments.
        on_torn
            Told of an interrupted write at the end, after it has been cut.
        segment_size_bytes
            Bytes of a segment at the most, for small tests.
        read_from
            The first record that the state lacks: all before it were on disk, so the log must
            reach up to it; the segments from the one that holds it on are checked. 0 for a state
            that is nowhere: all are checked.
        retention
            What `drop_old` keeps; None for as long as `limits` says.

        Raises
        ------
        LogDamagedError
            Records are lost that were on disk; the message lists them.
        PreconditionError
            A segment is of a newer format, or was renamed.
        UnavailableError
            Another process writes this log, or the disk fails (`LOG_SYNC_FAILED`).
        ExhaustedError
            There is no room on the disk for a first segment.
        """
        preparation = Preparation(folder, size_bytes_max=segment_size_bytes)
        opened = open_log(
            folder, clock=clock, on_torn=on_torn, preparation=preparation, read_from=read_from
        )
        return cls(folder, opened, clock=clock, preparation=preparation, retention=retention)

    @property
    def first_sequence(self) -> int:
        """The oldest record that is kept."""
        return self._segments[0].header.first_sequence

    @property
    def next_sequence(self) -> int:
        """The sequence of the record to be appended next."""
        return self._group.next_sequence

    @property
    def written_sequence(self) -> int:
        """The last record that is in a file, on disk or not."""
        return self._written

    @property
    def synced_sequence(self) -> int:
        """The last record that is on disk, with all before it."""
        return self._synced

    @property
    def size_bytes(self) -> int:
        """Bytes of all files of the log."""
        return sum(each.size_bytes for each in self._segments)

    def append(self, kind: int, time_ns: int, body: bytes) -> LogRecord:
        """Add a record to the present group, in memory.

        Raises
        ------
        ExhaustedError
            The body is too long.
        """
        return self._group.append(kind, time_ns, body)

    def mark(self) -> LogMark:
        """Return the present moment in the making of a group."""
        return self._group.mark()

    def rollback(self, mark: LogMark) -> None:
        """Forget the records that were appended since `mark`; none of them may be written yet."""
        self._group.rollback(mark)

    def write_group(self) -> GroupWritten:
        """Write the records that were appended since the last group, by one system call.

        They are in the page cache then: a killed process does not lose them, a power cut does.

        Raises
        ------
        ExhaustedError
            The disk is full or fails; the log is as it was before the group, whose records are
            forgotten and whose sequences are given again.
        UnavailableError
            The log has failed for ever (`LOG_SYNC_FAILED`); open it anew.
        """
        self._check_usable()
        group = self._group
        parts, first, last = group.parts, self._written + 1, group.next_sequence - 1
        assert last >= first, "a group has records"
        made = self._make_segments(parts)
        for part in parts:
            if part.segment != self._header.first_sequence:
                self._begin_segment(*made.pop(0))
            try:
                write_all(self._descriptor, part.buffer, part.offset)
            except OSError as error:
                discard_each(made)
                self._take_back(part, error)
        size = sum(len(part.buffer) for part in parts)
        self._written = last
        begin = next(part for part in parts if part.buffer)
        self.reader.add_landmark(Landmark(first, LogPosition(begin.segment, begin.offset)))
        group.begin_anew(self._header.size_bytes)
        self._prepare_next()
        return GroupWritten(first, last, size)

    def sync(self) -> int:
        """Put on disk what has been written, and return the last record that is there.

        May run in another thread while the next group is written.

        Raises
        ------
        UnavailableError
            The disk failed, now or before: the log has failed for ever (`LOG_SYNC_FAILED`). A
            sync that is tried again succeeds without having written anything.
        """
        with self._syncing():
            self._check_usable()
            target = self._written
            if target != self._synced:
                try:
                    os.fdatasync(self._descriptor)
                except OSError as error:
                    raise self._fail(error) from error
                self._synced = self._group.synced_sequence = target
            return target

    def begin_writing_out(self, record: LogRecord) -> None:
        """Let the disk begin with the record that was written last, so that a sync takes less."""
        size_bytes = frames.frame_size_bytes(len(record.body))
        begin_writing_out(self._descriptor, record.position.offset, size_bytes)

    def begin_sync(
        self, queue: SyncQueue, on_done: Callable[[UnavailableError | None], None]
    ) -> bool:
        """Begin to put on disk what has been written; return whether that could be begun.

        Not while another sync is under way, in whichever thread.

        Parameters
        ----------
        queue
            Of the thread that writes groups, as a rule.
        on_done
            Called by the queue, with the error that `sync` would raise, if any.

        Raises
        ------
        UnavailableError
            The log has failed for ever.
        """
        if not self._sync_lock.acquire(blocking=False):
            return False
        target = self._written

        def note(error_number: int) -> None:
            failure = None
            if error_number:
                failure = self._fail(OSError(error_number, os.strerror(error_number)))
            else:
                self._synced = self._group.synced_sequence = target
            self._queue = None
            self._sync_lock.release()
            on_done(failure)

        self._queue = queue
        begun = False
        try:
            self._check_usable()
            begun = queue.begin(self._descriptor, note)
        finally:
            if not begun:
                self._queue = None
                self._sync_lock.release()
        return begun

    def read(self, from_sequence: int, to_sequence: int | None = None) -> Iterator[LogRecord]:
        """Yield the records that are written, in order, each one checked.

        Any thread may read. It ends with the last record that was written when it began.

        Raises
        ------
        NotFoundError
            The first one is not kept any more.
        LogDamagedError
            A record is not what was written, or is missing.
        """
        last = self._written if to_sequence is None else min(to_sequence, self._written)
        if from_sequence <= last:
            yield from self.reader.read(from_sequence, last, durable_before=last + 1)

    def read_at(self, position: LogPosition) -> LogRecord:
        """Return the record at a position; any thread may. See `LogReader.read_at`."""
        return self.reader.read_at(position)

    def drop_old(
        self, *, keep_from_sequence: int, now_ns: int, retention: Retention | None = None
    ) -> int:
        """Remove whole segments that are older or make the log larger than allowed.

        Never one that holds `keep_from_sequence` or a later record. One thread at a time may do
        so, beside the one that writes.

        Returns
        -------
        int
            The first sequence that is kept.

        Raises
        ------
        UnavailableError
            The disk fails.
        """
        count = count_droppable(
            tuple(self._segments),
            keep_from_sequence=keep_from_sequence,
            retention=retention or self.retention,
            now_ns=now_ns,
        )
        try:
            for _ in range(count):
                segment_path(self.folder, self.first_sequence).unlink(missing_ok=True)
                del self._segments[0]
            if count:
                self.reader.forget_before(self.first_sequence)
                sync_folder(self.folder)
        except OSError as error:
            raise UnavailableError(
                f"old files of the log in {self.folder} cannot be removed: {error}",
                reason="LOG_DROP_FAILED",
            ) from error
        return self.first_sequence

    def close(self) -> None:
        """Put everything that is written on disk, mark the end, and close the files.

        Records that were appended but not written are forgotten.

        Raises
        ------
        UnavailableError
            The disk fails; the files are closed all the same.
        """
        if self._descriptor < 0:
            return
        self._preparation.stop()
        try:
            if self._failure is None:
                self.sync()
                self._mark_end()
        finally:
            self.reader.close()
            os.close(self._descriptor)
            os.close(self._lock)
            self._descriptor = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _mark_end(self) -> None:
        self._group.forget()
        if self._group.room() < frames.HEADER_SIZE_BYTES:
            return
        mark = frames.encode_end_mark(self.next_sequence, self._clock.now_ns(), self._header.salt)
        try:
            write_all(self._descriptor, mark, self._group.end_offset())
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise self._fail(error) from error

    def _syncing(self) -> threading.Lock:
        """Return what is held while the file is synced, after a sync of this very thread."""
        queue = self._queue
        if queue is not None and queue.is_ours:
            queue.wait()
        return self._sync_lock

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise UnavailableError(self._failure.message, reason=self._failure.reason)
        assert self._descriptor >= 0, "the log is open"

    def _fail(self, error: OSError) -> UnavailableError:
        """Let the log fail for ever, and return the error that says so."""
        self._failure = sync_failed_error(self.folder, error)
        return self._failure

    def _make_segments(self, parts: list[Part]) -> list[tuple[Unnamed, SegmentHeader]]:
        """Make the segments that the group begins, so that it can be refused before it is written.

        Raises
        ------
        ExhaustedError
            As for `write_group`.
        """
        made: list[tuple[Unnamed, SegmentHeader]] = []
        try:
            for previous, part in pairwise(parts):
                size_min = SEGMENT_HEADER_SIZE_BYTES + len(part.buffer)
                size = self._preparation.plan_size_bytes(self._header.size_bytes)
                unnamed = self._preparation.take(size_min, size)
                header = SegmentHeader(
                    part.segment,
                    self._header.salt,
                    unnamed.size_bytes,
                    self._clock.now_ns(),
                    previous.segment,
                    part.previous_crc,
                )
                made.append((unnamed, header))
                write_header(unnamed, header)
        except OSError as error:
            discard_each(made)
            self._group.forget()
            raise disk_full_error(self.folder, error) from error
        return made

    def _begin_segment(self, unnamed: Unnamed, header: SegmentHeader) -> None:
        """Go on in another segment, after all of the present one is on disk.

        So only the last segment can ever have an interrupted write at its end.
        """
        with self._syncing():
            self._check_usable()
            try:
                os.fdatasync(self._descriptor)
                give_name(self.folder, unnamed, header.first_sequence)
            except OSError as error:
                raise self._fail(error) from error
            os.close(self._descriptor)
            self._descriptor, self._header = unnamed.descriptor, header
        self._segments.append(Segment(header, unnamed.size_bytes))

    def _take_back(self, part: Part, error: OSError) -> None:
        """Undo a group that could not be written whole, and raise what the caller is told."""
        if part is not self._group.parts[0]:
            raise self._fail(error) from error
        with self._syncing():
            try:
                zero_range(self._descriptor, part.offset, len(part.buffer))
                os.fdatasync(self._descriptor)
            except OSError as second:
                raise self._fail(second) from error
        self._group.forget()
        raise disk_full_error(self.folder, error) from error

    def _prepare_next(self) -> None:
        """Make the next segment when the present one is nearly full or old; use it when old."""
        size_bytes, room = self._header.size_bytes, self._group.room()
        is_old = self.retention.is_full_time(self._header.create_time_ns, self._clock.now_ns())
        is_near = room < _PREPARE_ROOM_RATE * size_bytes
        if room < _HURRY_ROOM_RATE * size_bytes and not self._preparation.is_made:
            self._preparation.hurry()
        if is_old and self._preparation.is_made:
            self._group.end_segment()
        if not (is_near or is_old) or self._preparation.next_size_bytes():
            return
        with suppress(OSError):  # whoever needs the segment meets it, if there still is one
            # One that was not filled in its time is followed by one of its size.
            size = self._preparation.plan_size_bytes(size_bytes if is_near else size_bytes // 2)
            self._preparation.start(size)
