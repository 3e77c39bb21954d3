"""Slow twins of `kernels/stock_time`: calendar and clock of the standard library."""

from datetime import UTC, datetime, timedelta

from tests.oracles.stock_state import decode_site

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def find_offset_ms(time_ms, zone, zone_start, zone_until_s, zone_offset_s):
    """Return the first offset of the zone whose end has not come; the last goes on."""
    part = range(zone_start[zone], zone_start[zone + 1])
    for i in part:
        if time_ms < zone_until_s[i] * 1000:
            return zone_offset_s[i] * 1000
    return zone_offset_s[part[-1]] * 1000


def find_period(local_ms, period_days):
    """Return days since 1970; or Mondays since the first day of 1970, a Thursday."""
    day = _at(local_ms)
    if period_days == 1:
        return (day - _EPOCH).days
    monday = (day - timedelta(days=day.weekday())).date()
    return (monday - datetime(1969, 12, 29, tzinfo=UTC).date()).days // 7


def find_period_start_ms(period, period_days):
    """Return midnight of the day, or of the week's Monday."""
    first = _EPOCH if period_days == 1 else datetime(1969, 12, 29, tzinfo=UTC)
    return _to_ms(first + timedelta(days=period * period_days))


def find_hour(local_ms):
    """Return 24 × weekday + hour."""
    at = _at(local_ms)
    return 24 * at.weekday() + at.hour


def measure_days(profile, from_ms, until_ms):
    """Add up the weights of all hours between, each as far as it lies between."""
    site = decode_site(profile)
    total = sum(site.hours) + 168
    days = 0.0
    at = from_ms
    while at < until_ms:
        end = min(at - at % 3_600_000 + 3_600_000, until_ms)
        weight = (site.hours[find_hour(at)] + 1) * 168 / total
        days += weight * (end - at) / 86_400_000
        at = end
    return days


def _at(local_ms):
    return _EPOCH + timedelta(milliseconds=int(local_ms))


def _to_ms(at):
    return (at - _EPOCH) // timedelta(milliseconds=1)
