"""Which files of the log may go: whole segments, the oldest first."""

from collections.abc import Sequence
from itertools import pairwise

from instanter.store.log.survey import Segment


def count_droppable(
    segments: Sequence[Segment],
    *,
    keep_from_sequence: int,
    age_ns_max: int,
    size_bytes_max: int,
    now_ns: int,
) -> int:
    """Return how many of the oldest segments may go.

    Parameters
    ----------
    segments
        All segments in order. The last one, which is written to, never goes.
    keep_from_sequence
        No segment goes that holds this record or a later one.
    age_ns_max
        A segment goes when its youngest record is older: when the segment after it was begun
        that long ago.
    size_bytes_max
        Segments go while all together are larger.
    now_ns
        Nanoseconds since 1970.
    """
    size = sum(each.size_bytes for each in segments)
    count = 0
    for segment, following in pairwise(segments):
        is_old = now_ns - following.header.create_time_ns > age_ns_max
        if following.header.first_sequence > keep_from_sequence:
            break
        if not is_old and size <= size_bytes_max:
            break
        size -= segment.size_bytes
        count += 1
    return count
