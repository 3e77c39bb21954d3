"""Demand: the rate at which a position sells, with its variance, learned period by period.

Two exponentially smoothed levels, a slow one and one of ten periods, are averaged. What all
positions of a site do together moves them at once: each is multiplied by how the site's fast
level stands to the site's level of the same slowness, the position's own part left out. A
position that sells nothing in most periods is forecast by TSB (Teunter, Syntetos and Babai 2011),
probability × size.

A period counts by its weight, the business days in it, so that closed days teach nothing and the
present period takes part as far as it has gone. All levels are linear in what was sold: a late
movement corrects the period it falls in exactly, as long as that weighs anything.
"""

import numpy as np
from numba import boolean, float64, int64, void

from instanter.kernels.array_types import READ_F64, READ_I64, WRITE_F64, WRITE_I64
from instanter.kernels.baselines import fade, take_logarithm
from instanter.kernels.compilation import Kernel, inner_kernel
from instanter.kernels.stock_rows import (
    AGE,
    ARRIVAL_EXPOSURE,
    ARRIVAL_SHAPE,
    ARRIVALS,
    HOURS,
    HOURS_NOW,
    LEVEL_FAST,
    LEVEL_MIDDLE,
    LEVEL_SLOW,
    PERIOD,
    PROFILE_WORDS,
    SELLING_RATE,
    SELLING_SIZE,
    SITE_AGE,
    SITE_ARRIVALS,
    SITE_EXPOSURE,
    SITE_FAST,
    SITE_MIDDLE,
    SITE_NOISE,
    SITE_PERIOD,
    SITE_SLOW,
    SITE_SQUARES,
    SITE_UNITS,
    SITE_WEEK,
    SOLD_BITS,
    UNITS,
    VARIANCE,
    WEEK_HOURS,
)
from instanter.kernels.stock_time import find_hour, find_period, find_period_start_ms, measure_days

RATE_SLOW = 0.03
RATE_MIDDLE = 0.1
RATE_FAST = 0.6
"""Smoothing rates of the levels; of the fast one only the site's makes a difference."""
RATE_SELLING = 0.03
RATE_SIZE = 0.1
RATE_VARIANCE = 0.05
SITE_SPREAD = 0.1
"""Standard deviation of what a site's demand does from period to period, as a share: as much
of the site's movement is believed as is not explained by chance alone."""
VARIANCE_PRIOR_PERIODS = 4.0
"""So many periods weighs what is expected of a variance: to be the mean, as that of arrivals."""
KNOWN_FROM = 0.25
"""Periods from which a rate is told."""
WEEK_KEPT = 0.95
"""What the hours of the week keep each week: half of them after 95 days."""
ARRIVAL_FADE_PER_DAY = 0.98
"""What is kept each day of how often sales come: half of it after 34 days."""

_LN_2 = 0.6931471805599453
_IDLE_PERIODS_MAX = 400
"""After so many periods without a sale nothing is left to smooth."""
_LATE_PERIODS_MAX = 62
_PULSE_MAX = 4.0
INTERMITTENT_FULL = 0.35
INTERMITTENT_BELOW = 0.55
"""Below the second probability of a sale in a period TSB takes part, below the first alone."""


@inner_kernel(float64(float64, float64, float64))
def find_gain(rate, age, weight):
    """Return by how much a period of this weight moves a level: its mean at first, then `rate`."""
    return max(rate, 1.0 / (age + weight))


@inner_kernel(float64(float64, float64, float64, float64, float64))
def find_pulse(own_fast, own_level, site_fast, site_level, trust):
    """Return what the other positions of a site make of a level: a factor, 1 for nothing.

    Parameters
    ----------
    own_fast, own_level
        The position's fast level, and the level in question.
    site_fast, site_level
        The same of the whole site.
    trust
        How much of it is believed, in [0, 1].
    """
    others = max(site_level - own_level, 0.0)
    # The position itself stands for one that changes nothing: few others say little.
    weight = others + own_level
    if weight <= 0.0:
        return 1.0
    ratio = (max(site_fast - own_fast, 0.0) + own_level) / weight
    return 1.0 + trust * (min(max(ratio, 1.0 / _PULSE_MAX), _PULSE_MAX) - 1.0)


@inner_kernel(float64(float64, float64, float64))
def find_likeness(age, site_age, rate):
    """Return how far a position's level and its site's look back over the same periods, 0 to 1.

    The level of a position that is newer than its site is the mean of fewer periods.
    """
    return min(age / max(min(site_age, 1.0 / rate), 1.0), 1.0)


@inner_kernel(float64(READ_F64, READ_F64))
def find_level(demand, profile):
    """Return what is expected of a period of weight 1, units.

    Parameters
    ----------
    demand
        float64[STATE_WORDS], read-only: the state as float64, its levels as they should count.
    profile
        float64[PROFILE_WORDS], read-only: of its site.
    """
    site_fast = profile[SITE_FAST]
    trust = 0.0
    if site_fast > 0.0:
        noise = profile[SITE_NOISE] / (site_fast * site_fast) * RATE_FAST / (2.0 - RATE_FAST)
        trust = SITE_SPREAD * SITE_SPREAD / (SITE_SPREAD * SITE_SPREAD + max(noise, 0.0))
    slow = demand[LEVEL_SLOW] * find_pulse(
        demand[LEVEL_FAST],
        demand[LEVEL_SLOW],
        site_fast,
        profile[SITE_SLOW],
        trust * find_likeness(demand[AGE], profile[SITE_AGE], RATE_SLOW),
    )
    middle = demand[LEVEL_MIDDLE] * find_pulse(
        demand[LEVEL_FAST],
        demand[LEVEL_MIDDLE],
        site_fast,
        profile[SITE_MIDDLE],
        trust * find_likeness(demand[AGE], profile[SITE_AGE], RATE_MIDDLE),
    )
    smooth = 0.5 * (slow + middle)
    span = INTERMITTENT_BELOW - INTERMITTENT_FULL
    share = min(max((INTERMITTENT_BELOW - demand[SELLING_RATE]) / span, 0.0), 1.0)
    return smooth + share * (demand[SELLING_RATE] * demand[SELLING_SIZE] - smooth)


@inner_kernel(void(READ_F64, int64, int64, float64, float64, WRITE_F64))
def learn_period(profile, period, period_days, units, arrivals, demand):
    """Learn one finished period of a position.

    Parameters
    ----------
    profile
        float64[PROFILE_WORDS], read-only: of its site.
    period, period_days
        Which; 1 or 7.
    units, arrivals
        Sold in it; arrivals of sales in it.
    demand
        float64[STATE_WORDS], written: the state as float64.
    """
    start = find_period_start_ms(period, period_days)
    end = find_period_start_ms(period + 1, period_days)
    days = measure_days(profile, start, end)
    weight = days / period_days
    age = demand[AGE]
    if age > 0.0:
        surprise = units - weight * find_level(demand, profile)
        gain = max(RATE_VARIANCE, 1.0 / (age + 1.0))
        demand[VARIANCE] += gain * (surprise * surprise - demand[VARIANCE])
    if age + weight > 0.0:
        for word, rate in (
            (LEVEL_SLOW, RATE_SLOW),
            (LEVEL_MIDDLE, RATE_MIDDLE),
            (LEVEL_FAST, RATE_FAST),
        ):
            gain = find_gain(rate, age, weight)
            demand[word] += gain * (units - weight * demand[word])
        sold = 1.0 if units > 0.0 else 0.0
        gain = find_gain(RATE_SELLING, age, weight)
        chance = demand[SELLING_RATE] + gain * (sold - weight * demand[SELLING_RATE])
        demand[SELLING_RATE] = min(max(chance, 0.0), 1.0)
    if units > 0.0:
        is_first = demand[SELLING_SIZE] == 0.0
        demand[SELLING_SIZE] += (1.0 if is_first else RATE_SIZE) * (units - demand[SELLING_SIZE])
    kept = max(1.0 - (1.0 - ARRIVAL_FADE_PER_DAY) * period_days, 0.0)
    demand[ARRIVAL_SHAPE] = demand[ARRIVAL_SHAPE] * kept + arrivals
    demand[ARRIVAL_EXPOSURE] = demand[ARRIVAL_EXPOSURE] * kept + days
    demand[AGE] = age + weight


@inner_kernel(boolean(int64, int64))
def is_other_kind(before, period):
    """Return whether one of two numbers of periods is of a day, the other of a week."""
    return 3 * before < period or 3 * period < before


@inner_kernel(void(int64, int64, WRITE_I64))
def convert_position(period, period_days, state):
    """Take what was learned by days for weeks, or the other way round, after another catalogue.

    Parameters
    ----------
    period, period_days
        The present period, as days or weeks are counted now; 1 or 7.
    state
        int64[STATE_WORDS], written.
    """
    demand = state.view(np.float64)
    factor = 7.0 if period_days == 7 else 1.0 / 7.0
    for word in (LEVEL_SLOW, LEVEL_MIDDLE, LEVEL_FAST, VARIANCE):
        demand[word] *= factor
    demand[AGE] /= factor
    rate = demand[SELLING_RATE] * demand[SELLING_SIZE] * factor
    demand[SELLING_RATE] = min(demand[SELLING_RATE] * factor, 1.0)
    if demand[SELLING_RATE] > 0.0:
        demand[SELLING_SIZE] = rate / demand[SELLING_RATE]
    state[SOLD_BITS] = 0
    state[PERIOD] = period


@inner_kernel(void(READ_F64, int64, int64, WRITE_I64))
def roll_position(profile, period, period_days, state):
    """Learn all periods of a position that have ended.

    Parameters
    ----------
    profile
        float64[PROFILE_WORDS], read-only: of its site.
    period, period_days
        The present period; nothing happens when the position is there already. 1 or 7.
    state
        int64[STATE_WORDS], written.
    """
    demand = state.view(np.float64)
    if state[PERIOD] == 0:
        state[PERIOD] = period
    elif is_other_kind(state[PERIOD], period):
        convert_position(period, period_days, state)
    for i in range(min(period - state[PERIOD], _IDLE_PERIODS_MAX)):
        is_sold = np.int64(1) if demand[UNITS] > 0.0 else np.int64(0)
        learn_period(
            profile, state[PERIOD] + i, period_days, demand[UNITS], demand[ARRIVALS], demand
        )
        state[SOLD_BITS] = ((state[SOLD_BITS] << 1) | is_sold) & 0x3FFF_FFFF_FFFF_FFFF
        demand[UNITS] = 0.0
        demand[ARRIVALS] = 0.0
    state[PERIOD] = max(state[PERIOD], period)


@inner_kernel(void(int64, WRITE_F64))
def roll_hours(week, profile):
    """Take the arrivals of weeks that have ended into the hours of the week.

    Parameters
    ----------
    week
        Number of the present week.
    profile
        float64[PROFILE_WORDS], written.
    """
    before = np.int64(profile[SITE_WEEK])
    if week <= before:
        return
    hours = profile[HOURS:HOURS_NOW].view(np.float32)
    present = profile[HOURS_NOW:PROFILE_WORDS].view(np.float32)
    for _ in range(min(week - before, _IDLE_PERIODS_MAX)):
        total = 0.0
        for hour in range(WEEK_HOURS):
            arrivals = np.float64(hours[hour]) * WEEK_KEPT + np.float64(present[hour])
            hours[hour] = np.float32(arrivals)
            present[hour] = np.float32(0.0)
            total += np.float64(hours[hour])
        profile[SITE_ARRIVALS] = total
        profile[SITE_EXPOSURE] = profile[SITE_EXPOSURE] * WEEK_KEPT + 7.0
    profile[SITE_WEEK] = week


@inner_kernel(void(int64, int64, WRITE_F64))
def roll_site(period, period_days, profile):
    """Learn all periods of a site that have ended.

    Parameters
    ----------
    period, period_days
        As for `roll_position`.
    profile
        float64[PROFILE_WORDS], written.
    """
    before = np.int64(profile[SITE_PERIOD])
    if before == 0:
        start = find_period_start_ms(period, period_days)
        week = find_period(start, 7)
        profile[SITE_PERIOD] = period
        # A week that is not whole would make its days seem busier than the others.
        profile[SITE_WEEK] = week if find_period_start_ms(week, 7) == start else week + 1
        return
    if is_other_kind(before, period):
        factor = 7.0 if period_days == 7 else 1.0 / 7.0
        for word in (SITE_SLOW, SITE_MIDDLE, SITE_FAST, SITE_NOISE):
            profile[word] *= factor
        profile[SITE_AGE] /= factor
        profile[SITE_PERIOD] = period
        return
    if period <= before:
        return
    for i in range(min(period - before, _IDLE_PERIODS_MAX)):
        start = find_period_start_ms(before + i, period_days)
        end = find_period_start_ms(before + i + 1, period_days)
        weight = measure_days(profile, start, end) / period_days
        age = profile[SITE_AGE]
        for word, rate in (
            (SITE_SLOW, RATE_SLOW),
            (SITE_MIDDLE, RATE_MIDDLE),
            (SITE_FAST, RATE_FAST),
        ):
            gain = find_gain(rate, age, weight)
            profile[word] += gain * (profile[SITE_UNITS] - weight * profile[word])
        gain = find_gain(RATE_FAST, age, weight)
        profile[SITE_NOISE] += gain * (profile[SITE_SQUARES] - weight * profile[SITE_NOISE])
        profile[SITE_AGE] = age + weight
        profile[SITE_UNITS] = 0.0
        profile[SITE_SQUARES] = 0.0
    profile[SITE_PERIOD] = period
    roll_hours(find_period(find_period_start_ms(period, period_days), 7), profile)


@inner_kernel(void(READ_I64, READ_F64, int64, int64, WRITE_I64, WRITE_F64))
def estimate_demand(state, profile, local_ms, period_days, scratch, figures):
    """Estimate demand as of now, the present period taken in as far as it has gone.

    Parameters
    ----------
    state
        int64[STATE_WORDS], read-only: rolled to the present period.
    profile
        float64[PROFILE_WORDS], read-only: of its site.
    local_ms
        Now, local milliseconds since 1970.
    period_days
        1 or 7.
    scratch
        int64[STATE_WORDS], written.
    figures
        float64[2], written: units a day, variance of a day's units; NaN when too little is known.
    """
    figures[0] = np.nan
    figures[1] = np.nan
    demand = scratch.view(np.float64)
    scratch[:] = state
    start = find_period_start_ms(state[PERIOD], period_days)
    gone = measure_days(profile, start, local_ms) / period_days
    age = demand[AGE]
    if age + gone < KNOWN_FROM:
        return
    if gone > 0.0:
        for word, rate in (
            (LEVEL_SLOW, RATE_SLOW),
            (LEVEL_MIDDLE, RATE_MIDDLE),
            (LEVEL_FAST, RATE_FAST),
        ):
            gain = find_gain(rate, age, gone)
            demand[word] += gain * (demand[UNITS] - gone * demand[word])
        gain = find_gain(RATE_SELLING, age, gone)
        sold = 1.0 if demand[UNITS] > 0.0 else 0.0
        chance = demand[SELLING_RATE] + gain * (sold - gone * demand[SELLING_RATE])
        demand[SELLING_RATE] = min(max(chance, 0.0), 1.0)
        if sold > 0.0 and demand[SELLING_SIZE] == 0.0:
            demand[SELLING_SIZE] = demand[UNITS]
    level = max(find_level(demand, profile), 0.0)
    periods = min(age, 1.0 / RATE_VARIANCE)
    variance = periods * demand[VARIANCE] + VARIANCE_PRIOR_PERIODS * level
    figures[0] = level / period_days
    figures[1] = variance / (periods + VARIANCE_PRIOR_PERIODS) / period_days


@inner_kernel(float64(float64, float64, int64))
def find_late_gain(rate, age, back):
    """Return what a unit of the period that ended `back` periods ago adds to a level by now.

    A level is a mean while it is young, and its periods fade only from then on.
    """
    fading = age - 1.0 / rate
    if fading <= 0.0:
        return 1.0 / age
    return rate * fade(min(back - 1.0, fading) * -take_logarithm(1.0 - rate) / _LN_2)


@inner_kernel(void(int64, int64, float64, int64, WRITE_I64))
def learn_late_sale(period, period_days, units, arrivals, state):
    """Correct what was learned of a period that has ended by a sale in it, or by its return.

    Parameters
    ----------
    period, period_days
        The period in which it was sold, before the position's present one; 1 or 7.
    units
        Sold; below 0 returned.
    arrivals
        1 for an arrival of its own, else 0.
    state
        int64[STATE_WORDS], written.
    """
    demand = state.view(np.float64)
    back = state[PERIOD] - period
    age = demand[AGE]
    if back > _LATE_PERIODS_MAX:
        return
    if age <= 0.0:
        demand[UNITS] = max(demand[UNITS] + units, 0.0)
        return
    for word, rate in (
        (LEVEL_SLOW, RATE_SLOW),
        (LEVEL_MIDDLE, RATE_MIDDLE),
        (LEVEL_FAST, RATE_FAST),
    ):
        gain = find_late_gain(rate, age, back)
        demand[word] = max(demand[word] + gain * units, 0.0)
    if units > 0.0:
        bit = np.int64(1) << (back - 1)
        gain = find_gain(RATE_SELLING, age, 0.0)
        kept = 1.0
        for _ in range(back - 1):
            kept *= 1.0 - RATE_SELLING
        if state[SOLD_BITS] & bit:
            demand[SELLING_SIZE] += RATE_SIZE * kept * units
        else:
            state[SOLD_BITS] |= bit
            demand[SELLING_RATE] = min(demand[SELLING_RATE] + gain * kept, 1.0)
            is_first = demand[SELLING_SIZE] == 0.0
            share = 1.0 if is_first else RATE_SIZE * kept
            demand[SELLING_SIZE] += share * (units - demand[SELLING_SIZE])
    kept = max(1.0 - (1.0 - ARRIVAL_FADE_PER_DAY) * period_days, 0.0)
    weight = np.float64(arrivals)
    for _ in range(back - 1):
        weight *= kept
    demand[ARRIVAL_SHAPE] += weight


@inner_kernel(void(float64, boolean, int64, int64, float64, WRITE_F64))
def add_to_site(units, is_arrival, local_ms, period_days, level, profile):
    """Add a sale to a site's period and to its hours of the week.

    Parameters
    ----------
    units
        Sold, above 0. More than eight times what its position sells in a period, and eight, are
        cut off: one large order is not what all positions do.
    is_arrival
        Whether it is an arrival of its own, not another line of the same sale.
    local_ms, period_days
        When, local milliseconds since 1970: a late one corrects the levels; 1 or 7.
    level
        What its position sells in a period.
    profile
        float64[PROFILE_WORDS], written.
    """
    counted = min(units, 8.0 + 8.0 * level)
    back = np.int64(profile[SITE_PERIOD]) - find_period(local_ms, period_days)
    if back <= 0:
        profile[SITE_UNITS] += counted
        profile[SITE_SQUARES] += counted * counted
    elif back <= _LATE_PERIODS_MAX and profile[SITE_AGE] > 0.0:
        for word, rate in (
            (SITE_SLOW, RATE_SLOW),
            (SITE_MIDDLE, RATE_MIDDLE),
            (SITE_FAST, RATE_FAST),
        ):
            profile[word] += find_late_gain(rate, profile[SITE_AGE], back) * counted
    if is_arrival and find_period(local_ms, 7) >= profile[SITE_WEEK]:
        present = profile[HOURS_NOW:PROFILE_WORDS].view(np.float32)
        present[find_hour(local_ms)] += np.float32(1.0)


KERNELS = (
    Kernel("roll_position", roll_position, ("state",)),
    Kernel("roll_site", roll_site, ("profile",)),
    Kernel("estimate_demand", estimate_demand, ("scratch", "figures")),
    Kernel("learn_late_sale", learn_late_sale, ("state",)),
    Kernel("add_to_site", add_to_site, ("profile",)),
)
