"""Looks through a whole log: what it holds, what is torn, what is lost."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from instanter.errors import LogDamagedError
from instanter.store.log.frames import LogPosition
from instanter.store.log.segments import SegmentHeader, list_segments, segment_path
from instanter.store.log.walking import Ending, Judgement, Landmark, SegmentFile, SegmentWalk

CUT_OFF: Final = "file cut off"
"""What is wrong with a file that is shorter than it was made."""

_HOLES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Hole:
    """Records that were on disk once and are lost.

    Attributes
    ----------
    first_sequence
        The first lost one.
    last_sequence
        The last lost one; None when nobody can know; less than the first when no record is
        lost but the files do not belong together.
    path
        The file that is damaged or missing.
    offset
        Byte in it at which the damage begins.
    what
        What is wrong there, in a few words.
    """

    first_sequence: int
    last_sequence: int | None
    path: Path
    offset: int
    what: str

    def __str__(self) -> str:
        if self.last_sequence is None:
            return f"{self.first_sequence} and all later"
        if self.last_sequence < self.first_sequence:
            return "none"
        if self.last_sequence == self.first_sequence:
            return str(self.first_sequence)
        return f"{self.first_sequence}-{self.last_sequence}"


@dataclass(frozen=True, slots=True)
class TornTail:
    """An interrupted write at the end of the log. Nobody was told that it is on disk.

    Attributes
    ----------
    sequence
        The record that was being written.
    position
        Where it begins.
    size_bytes
        Bytes that were cut, or are to be.
    record_count
        Records behind it that are whole: their group was not on disk as a whole.
    path
        The file.
    """

    sequence: int
    position: LogPosition
    size_bytes: int
    record_count: int
    path: Path


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a log as it was found.

    Attributes
    ----------
    header
        What it says about itself.
    size_bytes
        Its size.
    """

    header: SegmentHeader
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a log holds.

    Attributes
    ----------
    segments
        Its files in order.
    record_count
        Records that were read and are right.
    first_sequence
        The first record's, or the next one's when there is none.
    next_sequence
        Of the record to come.
    size_bytes
        Bytes of its files.
    end
        Where the next frame goes.
    crc
        Checksum of the last frame.
    holes
        What is lost.
    torn
        An interrupted write at the end, or None.
    landmarks
        Where some of the records stand, in order.
    """

    segments: tuple[Segment, ...]
    record_count: int
    first_sequence: int
    next_sequence: int
    size_bytes: int
    end: LogPosition
    crc: int
    holes: tuple[Hole, ...]
    torn: TornTail | None
    landmarks: tuple[Landmark, ...]


class Surveyor:
    """Goes through the segments of a log from one on.

    Parameters
    ----------
    folder
        Folder of the log, with at least one segment.
    from_disk
        Read what the disk has and not the page cache, see `SegmentFile.open`.
    durable_before
        Records before this sequence are known to have been on disk.
    """

    def __init__(self, folder: Path, *, from_disk: bool = False, durable_before: int = 0) -> None:
        self._folder = folder
        self._from_disk = from_disk
        self._durable_before = durable_before
        self._segments: list[Segment] = []
        self._holes: list[Hole] = []
        self._torn: TornTail | None = None
        self._landmarks: list[Landmark] = []
        self._record_count = 0
        self._previous: SegmentHeader | None = None
        self._walk: SegmentWalk | None = None

    def survey(self, from_sequence: int = 0) -> Survey:
        """Read all records from the segment on that holds `from_sequence`.

        Of the segments before only the headers are read.

        Raises
        ------
        OSError
            The disk fails.
        LogDamagedError
            There is no segment.
        PreconditionError
            A segment is of a newer format, or was renamed.
        """
        names = list_segments(self._folder)
        if not names:
            raise LogDamagedError(f"{self._folder}: there is no file of a log in this folder")
        for first, next_first in zip(names, [*names[1:], None], strict=True):
            try:
                file = SegmentFile.open(self._folder, first, from_disk=self._from_disk)
            except LogDamagedError:
                self._add_unreadable(first, next_first)
                continue
            except FileNotFoundError:
                # Whoever writes the log has dropped its oldest segment meanwhile.
                if not self._segments and list_segments(self._folder)[0] > first:
                    continue
                raise
            with file:
                self._check_follows(file)
                self._segments.append(Segment(file.header, file.size_bytes))
                self._previous = file.header
                if next_first is None:
                    self._look_through_last(file)
                elif next_first > from_sequence:
                    self._look_through(file, next_first)
        return self._result(names)

    def _result(self, names: list[int]) -> Survey:
        walk = self._walk
        return Survey(
            tuple(self._segments),
            self._record_count,
            names[0],
            walk.sequence if walk else names[-1],
            sum(each.size_bytes for each in self._segments),
            LogPosition(names[-1], walk.offset if walk else 0),
            walk.crc if walk else 0,
            tuple(self._holes),
            self._torn,
            tuple(self._landmarks),
        )

    def _add_unreadable(self, first: int, next_first: int | None) -> None:
        """Note a segment without a header: without its salt no frame of it can be checked."""
        last = None if next_first is None else next_first - 1
        path = segment_path(self._folder, first)
        self._holes.append(Hole(first, last, path, 0, "damaged header"))
        self._previous = self._walk = None

    def _check_follows(self, file: SegmentFile) -> None:
        """Compare what a segment says about the one before with what that one is."""
        header, previous = file.header, self._previous
        if previous is None:
            return
        if header.previous_segment != previous.first_sequence:
            missing = segment_path(self._folder, header.previous_segment)
            lost_first = header.previous_segment
            lost_last = header.first_sequence - 1
            if self._holes and self._holes[-1].first_sequence == lost_first:
                # The walk through the segment before has found the same gap.
                del self._holes[-1]
            self._holes.append(Hole(lost_first, lost_last, missing, 0, "missing file"))
            self._walk = None
        walk = self._walk
        if header.salt != previous.salt or (walk is not None and walk.crc != header.previous_crc):
            first = header.first_sequence
            what = "does not follow the file before"
            self._holes.append(Hole(first, first - 1, file.path, 0, what))

    def _read_all(self, walk: SegmentWalk) -> None:
        first = walk.sequence
        for _ in walk.records():
            pass
        self._record_count += walk.sequence - first
        self._landmarks += walk.landmarks
        walk.landmarks.clear()

    def _look_through(self, file: SegmentFile, next_first: int) -> None:
        """Look through a segment that another follows: it was on disk before that one began."""
        walk = self._walk = SegmentWalk(file)
        self._read_all(walk)
        while walk.sequence < next_first:
            judgement = walk.judge()
            self._add_hole(walk, file, judgement, next_first - 1)
            if judgement.next_sequence is None or judgement.next_sequence > next_first:
                self._walk = None
                return
            self._go_on_behind(walk, judgement)

    def _look_through_last(self, file: SegmentFile) -> None:
        walk = self._walk = SegmentWalk(file)
        self._read_all(walk)
        if file.size_bytes < file.header.size_bytes:
            # It was made in full size; what the missing part held, nobody can know.
            self._holes.append(Hole(walk.sequence, None, file.path, file.size_bytes, CUT_OFF))
            return
        while True:
            judgement = walk.judge(self._durable_before)
            reached = walk.sequence
            if judgement.ending is not Ending.CLEAN:
                # Beside a writer half of a page may have been seen: look again.
                self._read_all(walk)
            if walk.sequence > reached:
                continue
            if judgement.ending is Ending.CLEAN:
                return
            if judgement.ending is Ending.TORN:
                position = LogPosition(file.header.first_sequence, walk.offset)
                size = judgement.end_offset - walk.offset
                self._torn = TornTail(
                    walk.sequence, position, size, judgement.record_count, file.path
                )
                return
            last = max(self._durable_before - 1, walk.sequence)
            self._add_hole(walk, file, judgement, last)
            if judgement.next_sequence is None:
                return
            self._go_on_behind(walk, judgement)

    def _add_hole(
        self, walk: SegmentWalk, file: SegmentFile, judgement: Judgement, last_sequence: int
    ) -> None:
        if judgement.next_sequence is not None:
            last_sequence = judgement.next_sequence - 1
        what = "damaged frame"
        if judgement.next_sequence is None and (walk.marked or judgement.end_offset == walk.offset):
            what = "the log ends here, before the state"
        self._holes.append(Hole(walk.sequence, last_sequence, file.path, walk.offset, what))

    def _go_on_behind(self, walk: SegmentWalk, judgement: Judgement) -> None:
        assert judgement.next_sequence is not None
        walk.offset = judgement.next_offset
        walk.sequence = judgement.next_sequence
        self._read_all(walk)


def damaged_error(folder: Path, holes: tuple[Hole, ...]) -> LogDamagedError:
    """Return the error that lists what is lost and says what to do."""
    lost = ", ".join(str(hole) for hole in holes[:_HOLES_SHOWN])
    if len(holes) > _HOLES_SHOWN:
        lost += f" and {len(holes) - _HOLES_SHOWN} more ranges"
    first = holes[0]
    return LogDamagedError(
        f"the log in {folder} is damaged; lost records: {lost}; the damage begins in "
        f"{first.path.name} at byte {first.offset:,} ({first.what}); restore that file from a "
        "backup, then start again",
        metadata={"lost_sequences": lost, "file": str(first.path), "offset": str(first.offset)},
    )
