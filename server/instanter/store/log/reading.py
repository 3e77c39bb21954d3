"""Reads a log beside the one who writes it: another thread, or another process."""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from instanter.errors import LogDamagedError, NotFoundError
from instanter.store.log import frames
from instanter.store.log.frames import LogPosition, LogRecord
from instanter.store.log.segments import list_segments
from instanter.store.log.survey import CUT_OFF, Hole, Survey, Surveyor, damaged_error
from instanter.store.log.walking import Ending, Landmark, SegmentFile, SegmentWalk

_FILES_OPEN_MAX = 8
"""Segments kept open for single records: most that are asked for are young."""

_LANDMARK_DISTANCE_BYTES = 1 << 20
"""Bytes between two landmarks: to read from one to a record takes a few milliseconds."""

_GUESS_SIZE_BYTES = 4096
"""What is read of a record at first: most are shorter."""


class LogReader:
    """Reads a log. It changes nothing, and may be shared by threads.

    Attributes
    ----------
    folder
        Where the log lives.
    """

    __slots__ = ("_files", "_landmarks", "folder")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[int, SegmentFile] = {}
        self._landmarks: list[Landmark] = []

    @classmethod
    def open(cls, folder: Path) -> "LogReader":
        """Return the reader of a folder.

        Raises
        ------
        NotFoundError
            There is no log in this folder.
        """
        if not folder.is_dir() or not list_segments(folder):
            raise NotFoundError(f"{folder}: there is no log in this folder", reason="LOG_NOT_FOUND")
        return cls(folder)

    def first_sequence(self) -> int:
        """Return the sequence of the oldest record that is kept."""
        return list_segments(self.folder)[0]

    def survey(self) -> Survey:
        """Read and check the whole log; what is wrong stands in the result.

        Raises
        ------
        OSError
            The disk fails.
        PreconditionError
            A segment is of a newer format, or was renamed.
        """
        return Surveyor(self.folder).survey()

    def read(
        self, from_sequence: int, to_sequence: int | None = None, *, durable_before: int = 0
    ) -> Iterator[LogRecord]:
        """Yield records in order, each one checked.

        Parameters
        ----------
        from_sequence
            The first one.
        to_sequence
            The last one; by default, and at the most, the last one that is there.
        durable_before
            Records before this sequence are known to be there: that one is missing is damage.

        Raises
        ------
        NotFoundError
            The first one is not kept any more.
        LogDamagedError
            A record is not what was written, or is missing between others.
        """
        segment = self._find_segment(from_sequence)
        while segment is not None:
            with self._open(segment) as file:
                walk = SegmentWalk(file, self._find_landmark(segment, from_sequence))
                present = segment
                while segment == present:
                    for record in walk.records():
                        if record.sequence >= from_sequence:
                            yield record
                        if record.sequence == to_sequence:
                            return
                    segment = self._find_next(walk, file, durable_before)

    def add_landmark(self, landmark: Landmark) -> None:
        """Learn where a record stands, so that reading can begin there; in order of sequences.

        Only the thread that writes the log adds any, and any thread may read meanwhile.
        """
        known = self._landmarks
        if known and known[-1].position.segment == landmark.position.segment:
            distance = landmark.position.offset - known[-1].position.offset
            if distance < _LANDMARK_DISTANCE_BYTES:
                return
        known.append(landmark)

    def forget_before(self, sequence: int) -> None:
        """Forget what was learned of records before a sequence: they are not kept any more."""
        self._landmarks = [each for each in self._landmarks if each.sequence >= sequence]
        self._files = {first: file for first, file in self._files.items() if first >= sequence}

    def read_at(self, position: LogPosition) -> LogRecord:
        """Return the record that stands at a position, by one read as a rule.

        Raises
        ------
        NotFoundError
            Its segment is not kept any more.
        LogDamagedError
            No right record stands there.
        """
        file = self._find_file(position.segment)
        data = file.read(position.offset, _GUESS_SIZE_BYTES)
        size = frames.claimed_size_bytes(data, 0)
        if len(data) < size <= file.size_bytes:
            data = file.read(position.offset, size)
        frame = frames.decode(data, 0, file.header.salt)
        if frame is None or frame.flags:
            raise LogDamagedError(
                f"{file.path}: no right record stands at byte {position.offset:,}; restore the "
                "file from a backup"
            )
        return LogRecord(frame.sequence, frame.time_ns, frame.kind, frame.body, position)

    def close(self) -> None:
        """Close the files that are kept open."""
        self._files = {}

    def _find_file(self, segment: int) -> SegmentFile:
        """Return an open segment, kept open since the last time or opened now.

        It is closed when nobody uses it any more, so no thread closes it under another one.
        """
        file = self._files.get(segment)
        if file is None:
            file = self._open(segment)
            files = self._files
            if len(files) >= _FILES_OPEN_MAX:
                files = dict(list(files.items())[1:])
            self._files = {**files, segment: file}
        return file

    def _open(self, segment: int) -> SegmentFile:
        try:
            return SegmentFile.open(self.folder, segment)
        except FileNotFoundError:
            raise NotFoundError(
                f"the records from {segment:,} on are not kept any more",
                reason="LOG_RECORD_DROPPED",
            ) from None

    def _find_segment(self, sequence: int) -> int | None:
        """Return the segment that holds a sequence or would hold it."""
        names = list_segments(self.folder)
        if not names or sequence < names[0]:
            first = names[0] if names else sequence + 1
            raise NotFoundError(
                f"record {sequence:,} is not kept any more; the oldest is {first:,}",
                reason="LOG_RECORD_DROPPED",
                metadata={"first_sequence": str(first)},
            )
        return max(name for name in names if name <= sequence)

    def _find_landmark(self, segment: int, sequence: int) -> Landmark | None:
        """Return the last landmark of a segment up to a sequence, or None."""
        known = self._landmarks
        index = bisect_right(known, sequence, key=lambda landmark: landmark.sequence)
        found = known[index - 1] if index else None
        return found if found is not None and found.position.segment == segment else None

    def _find_next(self, walk: SegmentWalk, file: SegmentFile, durable_before: int) -> int | None:
        """Say where to go on when a walk has ended.

        Returns
        -------
        int or None
            The next segment, or the same one when its writer has gone on meanwhile, or None at
            the end of the log.

        Raises
        ------
        LogDamagedError
            Something is lost here.
        """
        sequence, present = walk.sequence, file.header.first_sequence
        later = [name for name in list_segments(self.folder) if name > present]
        if later and later[0] == sequence:
            return sequence
        if not later and file.size_bytes < file.header.size_bytes:
            # It was made in full size: what follows was on disk, unlike an interrupted write.
            hole = Hole(sequence, None, file.path, file.size_bytes, CUT_OFF)
            raise damaged_error(self.folder, (hole,))
        judgement = walk.judge(durable_before)
        if not later and judgement.ending is not Ending.DAMAGED:
            return None
        # A writer's page may have become visible between two looks, or its next segment.
        if self._has_grown(walk, file):
            return present
        last = judgement.next_sequence or (later[0] if later else durable_before)
        hole = Hole(sequence, max(sequence, last - 1), file.path, walk.offset, "damaged frame")
        raise damaged_error(self.folder, (hole,))

    def _has_grown(self, walk: SegmentWalk, file: SegmentFile) -> bool:
        data = file.read(walk.offset, frames.HEADER_SIZE_BYTES)
        data = file.read(walk.offset, frames.claimed_size_bytes(data, 0))
        frame = frames.decode(data, 0, file.header.salt)
        return frame is not None and frame.sequence == walk.sequence and not frame.flags
