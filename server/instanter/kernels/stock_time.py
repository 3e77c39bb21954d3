"""A site's own time: clocks of its zone, periods, and how busy the hours of its week are.

Sales keep shop hours, so time is measured in **business days**: the integral of the site's weights
of the hours of the week, which are 1 on average. Nights and closed days take next to none of it.
"""

import numpy as np
from numba import float64, int64

from instanter.kernels.array_types import READ_F64, READ_I64
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.stock_rows import HOURS, HOURS_NOW, SITE_ARRIVALS, WEEK_HOURS

MS_PER_HOUR = 3_600_000
MS_PER_DAY = 24 * MS_PER_HOUR
FLAT_ARRIVALS = 168.0
"""Each hour of the week counts as if one sale had come in it: so is the profile shrunk to flat."""

_EPOCH_WEEKDAY = 3
"""1970 began on a Thursday; weeks begin on Mondays."""


@kernel(int64(int64, int64, READ_I64, READ_I64, READ_I64))
def find_offset_ms(time_ms, zone, zone_start, zone_until_s, zone_offset_s):
    """Return how far a zone's clocks are ahead of UTC, milliseconds.

    Parameters
    ----------
    time_ms
        Milliseconds since 1970.
    zone
        Which zone.
    zone_start
        int64[Z + 1], read-only: the zones' parts of the next two.
    zone_until_s, zone_offset_s
        int64, read-only: until when (excluded), seconds since 1970, rising within a zone, its
        clocks are how many seconds ahead of UTC; the last goes on for ever.
    """
    low, high = zone_start[zone], zone_start[zone + 1] - 1
    moment_s = time_ms // 1000
    while low < high:
        middle = (low + high) // 2
        if moment_s < zone_until_s[middle]:
            high = middle
        else:
            low = middle + 1
    return zone_offset_s[low] * 1000


@inner_kernel(int64(int64, int64))
def find_period(local_ms, period_days):
    """Return the number of the day, or of the week from Monday, of a local time since 1970."""
    day = local_ms // MS_PER_DAY
    return day if period_days == 1 else (day + _EPOCH_WEEKDAY) // 7


@inner_kernel(int64(int64, int64))
def find_period_start_ms(period, period_days):
    """Return when a period begins, local milliseconds since 1970."""
    day = period if period_days == 1 else period * 7 - _EPOCH_WEEKDAY
    return day * MS_PER_DAY


@inner_kernel(int64(int64))
def find_hour(local_ms):
    """Return which hour of the week a local time is in, 0 to 167, Monday first."""
    return (local_ms // MS_PER_HOUR + 24 * _EPOCH_WEEKDAY) % WEEK_HOURS


@inner_kernel(float64(READ_F64, int64, int64))
def measure_days(profile, from_ms, until_ms):
    """Return the business days between two local times; 0 when the second is not later.

    Parameters
    ----------
    profile
        float64[PROFILE_WORDS], read-only.
    from_ms, until_ms
        Local milliseconds since 1970.
    """
    if until_ms <= from_ms:
        return 0.0
    week_ms = WEEK_HOURS * MS_PER_HOUR
    weeks = (until_ms - from_ms) // week_ms
    at = from_ms + weeks * week_ms
    hours = profile[HOURS:HOURS_NOW].view(np.float32)
    hour = find_hour(at)
    end = (at // MS_PER_HOUR + 1) * MS_PER_HOUR
    arrivals = 0.0
    while at < until_ms:
        share = np.float64(min(end, until_ms) - at) / MS_PER_HOUR
        arrivals += (np.float64(hours[hour]) + FLAT_ARRIVALS / WEEK_HOURS) * share
        at = end
        end += MS_PER_HOUR
        hour = hour + 1 if hour < WEEK_HOURS - 1 else 0
    return 7.0 * (np.float64(weeks) + arrivals / (profile[SITE_ARRIVALS] + FLAT_ARRIVALS))


KERNELS = (
    Kernel("find_offset_ms", find_offset_ms, ()),
    Kernel("find_period", find_period, ()),
    Kernel("find_period_start_ms", find_period_start_ms, ()),
    Kernel("find_hour", find_hour, ()),
    Kernel("measure_days", measure_days, ()),
)
