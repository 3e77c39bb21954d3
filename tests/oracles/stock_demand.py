"""Slow twins of `kernels/stock_demand`: one formula a line, levels by name."""

import math

from tests.oracles.stock_state import decode, decode_site, encode, encode_site
from tests.oracles.stock_time import find_hour, find_period, find_period_start_ms, measure_days

RATES = {"slow": 0.03, "middle": 0.1, "fast": 0.6}


def roll_position(profile, period, period_days, state):
    """Learn every period that is over, one after the other."""
    own = decode(state)
    own.period = own.period or period
    if _is_other_kind(own.period, period):
        _convert(own, period, period_days)
    idle = 0
    while own.period + idle < period and idle < 400:
        days = _length(profile, own.period + idle, period_days)
        _learn(own, decode_site(profile), days, period_days)
        own.sold_bits = (own.sold_bits * 2 + (own.units > 0)) % 2**62
        own.units = own.arrivals = 0.0
        idle += 1
    own.period = max(own.period, period)
    encode(own, state)


def roll_site(period, period_days, profile):
    """Learn every period of the whole site that is over; take in weeks that are."""
    site = decode_site(profile)
    week = find_period(find_period_start_ms(period, period_days), 7)
    if site.period == 0:
        starts_on_monday = find_period_start_ms(week, 7) == find_period_start_ms(
            period, period_days
        )
        site.period, site.week = period, week if starts_on_monday else week + 1
        encode_site(site, profile)
        return
    if _is_other_kind(site.period, period):
        factor = 7 if period_days == 7 else 1 / 7
        for name in (*RATES, "noise"):
            setattr(site, name, getattr(site, name) * factor)
        site.age, site.period = site.age / factor, period
        encode_site(site, profile)
        return
    for at in range(int(site.period), min(period, int(site.period) + 400)):
        weight = _length(profile, at, period_days) / period_days
        for name, rate in RATES.items():
            gain = max(rate, 1 / (site.age + weight))
            level = getattr(site, name)
            setattr(site, name, level + gain * (site.units - weight * level))
        gain = max(RATES["fast"], 1 / (site.age + weight))
        site.noise += gain * (site.squares - weight * site.noise)
        site.age += weight
        site.units = site.squares = 0.0
    site.period = max(site.period, period)
    for _ in range(int(min(max(week - site.week, 0), 400))):
        both = zip(site.hours, site.present, strict=True)
        site.hours = [kept * 0.95 + new for kept, new in both]
        site.present = [0.0] * 168
        site.arrivals = sum(site.hours)
        site.exposure = site.exposure * 0.95 + 7
    site.week = max(site.week, week)
    encode_site(site, profile)


def estimate_demand(state, profile, local_ms, period_days, scratch, figures):
    """Take the present period in as far as it has gone; then level and variance of a day."""
    own = decode(state)
    begin = find_period_start_ms(own.period, period_days)
    gone = measure_days(profile, begin, local_ms) / period_days
    figures[:] = [math.nan, math.nan]
    if own.age + gone < 0.25:
        return
    if gone > 0:
        _smooth(own, own.units, gone)
        if own.units > 0 and own.size == 0:
            own.size = own.units
    level = max(_level(own, decode_site(profile)), 0)
    known = min(own.age, 20)
    figures[0] = level / period_days
    figures[1] = (known * own.variance + 4 * level) / (known + 4) / period_days


def learn_late_sale(period, period_days, units, arrivals, state):
    """Correct the levels by what the sale would weigh now, had it come in time."""
    own = decode(state)
    back = own.period - period
    if back > 62:
        return
    if own.age <= 0:
        own.units = max(own.units + units, 0)
        encode(own, state)
        return
    for name, rate in RATES.items():
        weight = _weigh_late(rate, own.age, back)
        setattr(own, name, max(getattr(own, name) + weight * units, 0))
    if units > 0:
        kept = (1 - 0.03) ** (back - 1)
        if own.sold_bits >> (back - 1) & 1:
            own.size += 0.1 * kept * units
        else:
            own.sold_bits |= 1 << (back - 1)
            own.chance = min(own.chance + max(0.03, 1 / own.age) * kept, 1)
            own.size += (1 if own.size == 0 else 0.1 * kept) * (units - own.size)
    own.shape += arrivals * (1 - 0.02 * period_days) ** (back - 1)
    encode(own, state)


def add_to_site(units, is_arrival, local_ms, period_days, level, profile):
    """Add what is not unusually large, and the arrival to its hour."""
    site = decode_site(profile)
    counted = min(units, 8 + 8 * level)
    back = int(site.period) - find_period(local_ms, period_days)
    if back <= 0:
        site.units += counted
        site.squares += counted**2
    elif back <= 62 and site.age > 0:
        for name, rate in RATES.items():
            late = _weigh_late(rate, site.age, back) * counted
            setattr(site, name, getattr(site, name) + late)
    if is_arrival and find_period(local_ms, 7) >= site.week:
        site.present[find_hour(local_ms)] += 1
    encode_site(site, profile)


def _is_other_kind(before, period):
    """There are seven times as many days as weeks."""
    return max(before, period) > 3 * min(before, period)


def _convert(own, period, period_days):
    factor = 7 if period_days == 7 else 1 / 7
    for name in (*RATES, "variance"):
        setattr(own, name, getattr(own, name) * factor)
    rate = own.chance * own.size * factor
    own.chance = min(own.chance * factor, 1)
    own.size = rate / own.chance if own.chance else own.size
    own.age, own.period, own.sold_bits = own.age / factor, period, 0


def _weigh_late(rate, age, back):
    """A mean of all periods as long as that is not slower than the rate; then they fade."""
    if age <= 1 / rate:
        return 1 / age
    return rate * (1 - rate) ** min(back - 1, age - 1 / rate)


def _length(profile, period, period_days):
    start = find_period_start_ms(period, period_days)
    return measure_days(profile, start, find_period_start_ms(period + 1, period_days))


def _learn(own, site, days, period_days):
    weight = days / period_days
    if own.age > 0:
        surprise = own.units - weight * _level(own, site)
        own.variance += max(0.05, 1 / (own.age + 1)) * (surprise**2 - own.variance)
    _smooth(own, own.units, weight)
    if own.units > 0:
        own.size += (1 if own.size == 0 else 0.1) * (own.units - own.size)
    kept = 1 - 0.02 * period_days
    own.shape = own.shape * kept + own.arrivals
    own.exposure = own.exposure * kept + days
    own.age += weight


def _smooth(own, units, weight):
    for name, rate in RATES.items():
        gain = max(rate, 1 / (own.age + weight))
        level = getattr(own, name)
        setattr(own, name, level + gain * (units - weight * level))
    gain = max(0.03, 1 / (own.age + weight))
    own.chance = min(max(own.chance + gain * ((units > 0) - weight * own.chance), 0), 1)


def _level(own, site):
    noise = site.noise / site.fast**2 * 0.6 / 1.4 if site.fast > 0 else math.inf
    trust = 0.01 / (0.01 + max(noise, 0))
    parts = []
    for name in ("slow", "middle"):
        ours, theirs = getattr(own, name), getattr(site, name)
        others = max(theirs - ours, 0)
        ratio = 1.0
        if others + ours > 0:
            ratio = (max(site.fast - own.fast, 0) + ours) / (others + ours)
        alike = min(own.age / max(min(site.age, 1 / RATES[name]), 1), 1)
        parts.append(ours * (1 + trust * alike * (min(max(ratio, 0.25), 4) - 1)))
    smooth = sum(parts) / 2
    rarely = min(max((0.55 - own.chance) / 0.2, 0), 1)
    return (1 - rarely) * smooth + rarely * own.chance * own.size
