"""How far the clocks of a time zone are ahead of UTC, laid out for decades at once."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_ZONES_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_ZONES_TO: Final = datetime(2070, 1, 1, tzinfo=UTC)
_STEP: Final = timedelta(days=7)
_FOREVER_S: Final = 1 << 62


@lru_cache(maxsize=1024)
def find_offsets(name: str, fallback: str) -> tuple[tuple[int, int], ...]:
    """Return pairs of a moment, seconds since 1970, and the offset to UTC that ends there.

    From 2020 to 2070; before and after, the first and the last offset go on. The whole of it is
    laid out at once, so that nothing has to be refreshed when clocks change: a zone has about 100
    pairs and takes 5 ms. Offsets are compared every 7 days, less than any of them has ever lasted.
    A name that the system's database does not know is read as `fallback`.
    """
    try:
        zone = ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        zone = ZoneInfo(fallback)
    pairs = []
    moment = _ZONES_FROM
    offset_s = _offset_s(zone, moment)
    while moment < _ZONES_TO:
        later = moment + _STEP
        later_offset_s = _offset_s(zone, later)
        if later_offset_s != offset_s:
            pairs.append((_find_change_s(zone, moment, later), offset_s))
        moment, offset_s = later, later_offset_s
    return (*pairs, (_FOREVER_S, offset_s))


def _offset_s(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _find_change_s(zone: ZoneInfo, before: datetime, after: datetime) -> int:
    """Return the second at which the offset of `after` begins, seconds since 1970."""
    low, high = int(before.timestamp()), int(after.timestamp())
    offset_s = _offset_s(zone, before)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_s(zone, datetime.fromtimestamp(middle, UTC)) == offset_s:
            low = middle
        else:
            high = middle
    return high
