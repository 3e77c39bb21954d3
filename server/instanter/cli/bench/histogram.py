"""Counts of times, in buckets so fine that percentiles are right to less than one percent."""

import math
from dataclasses import dataclass, field

_BITS = 7
_TIME_NS_MAX = (1 << 42) - 1
_BUCKET_COUNT = (42 - _BITS) << _BITS


def _find_bucket(time_ns: int) -> int:
    """Return the bucket of a time: exact below 256 ns, then 128 buckets each doubling."""
    shift = max(time_ns.bit_length() - _BITS - 1, 0)
    return (shift << _BITS) + (time_ns >> shift)


def _bucket_end_ns(bucket: int) -> int:
    """Return the first time that is no longer in a bucket."""
    shift = max((bucket >> _BITS) - 1, 0)
    return (bucket - (shift << _BITS) + 1) << shift


@dataclass(frozen=True, slots=True)
class Bar:
    """How many times lie from `start_ns` up to, but not including, `end_ns`."""

    start_ns: int
    end_ns: int
    count: int


@dataclass(slots=True)
class Histogram:
    """Counts of times. Not frozen: it counts.

    Method of the buckets: G. Tene, HdrHistogram: equal steps within each doubling, so that a
    figure is off by at most 1/128 of itself whatever its size, and memory stays the same for a
    minute and for a night.

    Attributes
    ----------
    counts
        Count by bucket.
    count
        Of all times.
    sum_ns
        Of all times, in nanoseconds.
    time_ns_min, time_ns_max
        The shortest and the longest, exact; 0 when there is none.
    """

    counts: list[int] = field(default_factory=lambda: [0] * _BUCKET_COUNT)
    count: int = 0
    sum_ns: int = 0
    time_ns_min: int = 0
    time_ns_max: int = 0

    def record(self, time_ns: int) -> None:
        """Count one time; below zero is zero, above 73 minutes is 73 minutes."""
        time_ns = min(max(time_ns, 0), _TIME_NS_MAX)
        self.counts[_find_bucket(time_ns)] += 1
        self.time_ns_min = min(time_ns, self.time_ns_min) if self.count else time_ns
        self.time_ns_max = max(time_ns, self.time_ns_max)
        self.count += 1
        self.sum_ns += time_ns

    def add(self, other: "Histogram") -> None:
        """Count all times of another one too."""
        if not other.count:
            return
        self.counts = [
            mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)
        ]
        self.time_ns_min = (
            min(self.time_ns_min, other.time_ns_min) if self.count else other.time_ns_min
        )
        self.time_ns_max = max(self.time_ns_max, other.time_ns_max)
        self.count += other.count
        self.sum_ns += other.sum_ns

    def percentile_ns(self, percent: float) -> int:
        """Return the time that `percent` of all times do not exceed; 0 when there is none.

        Rounded up to the end of its bucket, never beyond the longest.
        """
        if not self.count:
            return 0
        rank = max(math.ceil(self.count * percent / 100), 1)
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen >= rank:
                return max(min(_bucket_end_ns(bucket) - 1, self.time_ns_max), self.time_ns_min)
        raise AssertionError("the buckets hold fewer times than were counted")

    def draw_bars(self, bar_count_max: int) -> tuple[Bar, ...]:
        """Return bars of equal ratio from the shortest to the longest time, gaps included.

        The bars are a tenth of a decade wide, or wider where they would be too many.
        """
        if not self.count:
            return ()
        low = math.floor(10 * math.log10(max(self.time_ns_min, 1)))
        high = math.floor(10 * math.log10(max(self.time_ns_max, 1))) + 1
        step = math.ceil((high - low) / bar_count_max)
        counts = [0] * math.ceil((high - low) / step)
        for bucket, count in enumerate(self.counts):
            if count:
                # The ends of the range are exact; a bucket's end may lie beyond them.
                time_ns = min(max(_bucket_end_ns(bucket) - 1, self.time_ns_min), self.time_ns_max)
                tenth = math.floor(10 * math.log10(max(time_ns, 1)))
                counts[(tenth - low) // step] += count
        edges = [round(10 ** ((low + at * step) / 10)) for at in range(len(counts) + 1)]
        return tuple(map(Bar, edges, edges[1:], counts))
