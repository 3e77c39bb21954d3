"""Which files of the log may go: whole segments, the oldest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from instanter.limits import LOG_AGE_NS_MAX, LOG_SEGMENTS_PER_AGE, LOG_SIZE_BYTES_MAX
from instanter.store.log.survey import Segment


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records are kept after nothing needs them any more.

    Attributes
    ----------
    age_ns_max
        A segment goes when its youngest record is older: when the segment after it was begun that
        long ago.
    size_bytes_max
        Segments go while all together are larger.
    """

    age_ns_max: int = LOG_AGE_NS_MAX
    size_bytes_max: int = LOG_SIZE_BYTES_MAX

    def is_full_time(self, create_time_ns: int, now_ns: int) -> bool:
        """Return whether a segment has been written to for as long as one is.

        It goes as a whole, so that its first record is kept as long as its last one. Where little
        is written, one that is only ended when it is full would last for years, and with it all
        that has been deleted since.

        Parameters
        ----------
        create_time_ns, now_ns
            When it was begun, and now, nanoseconds since 1970.
        """
        return (now_ns - create_time_ns) * LOG_SEGMENTS_PER_AGE > self.age_ns_max


KEEP_EVERYTHING: Final = Retention(1 << 62, 1 << 62)
"""Of whoever opens a log without knowing what its server was told."""


def count_droppable(
    segments: Sequence[Segment], *, keep_from_sequence: int, retention: Retention, now_ns: int
) -> int:
    """Return how many of the oldest segments may go.

    Parameters
    ----------
    segments
        All segments in order. The last one, which is written to, never goes.
    keep_from_sequence
        No segment goes that holds this record or a later one.
    retention
        How long the others are kept.
    now_ns
        Nanoseconds since 1970.
    """
    size = sum(each.size_bytes for each in segments)
    count = 0
    for segment, following in pairwise(segments):
        is_old = now_ns - following.header.create_time_ns > retention.age_ns_max
        if following.header.first_sequence > keep_from_sequence:
            break
        if not is_old and size <= retention.size_bytes_max:
            break
        size -= segment.size_bytes
        count += 1
    return count
