"""Plunges: sales that come faster than the learned rate makes likely, noticed sale by sale.

A Shiryaev-Roberts test: for each of three factors the statistic R ← (1 + R) × likelihood ratio is
brought up to date with each arrival of a sale, where the ratio is of the gap to the arrival before
under factor × rate and under the rate. While nothing is wrong their weighted mean grows by 1
an arrival on average (it is a martingale less the number of arrivals), so the mean number of
arrivals to a false alarm is at least the threshold (Pollak 1987): arrivals a day ÷ declared
false alarms a day. The rate is a gamma distribution, of arrivals and business days seen, so gaps
have Lomax distributions and a rate that is hardly known alarms nobody.

Gaps are measured in business days of the site, and stretched while the whole site is busier than
usual: a run on one unit is to be told, not a busy Saturday.
"""

import numpy as np
from numba import boolean, float64, int64, void

from instanter.kernels.array_types import READ_F64, WRITE_F64, WRITE_I64
from instanter.kernels.baselines import fade, take_logarithm
from instanter.kernels.compilation import Kernel, inner_kernel
from instanter.kernels.stock_rows import (
    ARRIVAL_EXPOSURE,
    ARRIVAL_SHAPE,
    ARRIVED_MS,
    EVIDENCE,
    FACTORS,
    RUN_MS,
    RUN_SALES,
    RUN_UNITS,
    SITE_ARRIVALS,
    SITE_EXPOSURE,
    SITE_RECENT,
    SITE_RECENT_EXPECTED,
)

FACTOR_FIRST = 3.1622776601683795
FACTOR_STEP = 3.1622776601683795
"""The factors are 3.2, 10 and 32: tenfold demand is one of them."""
PRIOR_SHAPE = 0.5
PRIOR_EXPOSURE = 0.5
"""Of the rate, Jeffreys' half arrival, and half a day: a unit that never sold is no wonder."""
RUN_SALES_MIN = 3
"""Arrivals of a run before it can be a plunge: two may always be chance."""
THRESHOLD_MIN = 20.0
EVIDENCE_MAX = 20.0
"""Evidence grows to so many thresholds at most, so that it can be forgotten again."""
CLEARED_BELOW = 0.05
"""A plunge is over when the evidence is below this share of the threshold."""
OVERSHOOT = 0.5
"""Share of arrivals a day ÷ declared false alarms a day that is the threshold. Evidence jumps
beyond it, so that Poisson arrivals take 1.9 to 2.1 thresholds on average to a false alarm, and more
while the rate is uncertain: simulated, for thresholds of 20 to 2,000."""
BUSY_PRIOR = 10.0
"""Arrivals that a site's own day must outweigh to count as busier than usual."""
BUSY_MAX = 5.0
RECENT_ARRIVALS = 40.0
"""Arrivals that a site's present holds as a rule: so many tell how busy it is."""
RECENT_DAYS_MIN = 0.04
RECENT_DAYS_MAX = 1.0
"""Bounds of its half-life, business days."""
KNOWN_FROM_DAYS = 7.0
"""A whole week from which a site's hours and usual pace are known: before, a morning would be a
plunge."""

_LN_2 = 0.6931471805599453


@inner_kernel(float64(float64, float64, float64, float64))
def find_silence_ratio(factor, shape, exposure, gap):
    """Return how much likelier silence for so long is under factor × rate than under the rate.

    Parameters
    ----------
    factor
        Above 1.
    shape, exposure
        The rate is a gamma distribution: arrivals, and business days in which they came.
    gap
        Business days, at least 0.
    """
    quotient = (exposure + factor * gap) / (exposure + gap)
    return fade(shape * take_logarithm(quotient) / _LN_2)


@inner_kernel(float64(float64, float64, float64, float64))
def find_gap_ratio(factor, shape, exposure, gap):
    """Return how much likelier a gap is under factor × rate than under the rate.

    Parameters
    ----------
    factor, shape, exposure, gap
        As for `find_silence_ratio`.
    """
    return factor * find_silence_ratio(factor, shape + 1.0, exposure, gap)


@inner_kernel(float64(READ_F64, float64))
def find_busyness(profile, own_arrivals):
    """Return by how much a whole site is busier than usual at present, 1 to `BUSY_MAX`.

    Parameters
    ----------
    profile
        float64[PROFILE_WORDS], read-only.
    own_arrivals
        Those of the run in question, which are left out.
    """
    if profile[SITE_EXPOSURE] < KNOWN_FROM_DAYS:
        return 1.0
    others = max(profile[SITE_RECENT] - own_arrivals, 0.0)
    ratio = (others + BUSY_PRIOR) / (profile[SITE_RECENT_EXPECTED] + BUSY_PRIOR)
    return min(max(ratio, 1.0), BUSY_MAX)


@inner_kernel(void(float64, boolean, WRITE_F64))
def pass_site_time(days, is_arrival, profile):
    """Let time pass at a site, and count an arrival at its end.

    Parameters
    ----------
    days
        Business days since the latest arrival at the site.
    is_arrival
        Whether one comes.
    profile
        float64[PROFILE_WORDS], written.
    """
    pace = 0.0
    if profile[SITE_EXPOSURE] >= KNOWN_FROM_DAYS:
        pace = profile[SITE_ARRIVALS] / profile[SITE_EXPOSURE]
    half_life = min(max(RECENT_ARRIVALS * _LN_2 / max(pace, 1.0), RECENT_DAYS_MIN), RECENT_DAYS_MAX)
    kept = fade(days / half_life)
    profile[SITE_RECENT] *= kept
    profile[SITE_RECENT_EXPECTED] *= kept
    if pace > 0.0:
        # What comes at a steady pace while it fades by half each half-life.
        profile[SITE_RECENT_EXPECTED] += pace * (1.0 - kept) * half_life / _LN_2
        if is_arrival:
            profile[SITE_RECENT] += 1.0


@inner_kernel(float64(READ_F64, float64))
def find_threshold(demand, false_alarms_per_day):
    """Return the evidence from which sales are a plunge.

    Parameters
    ----------
    demand
        float64[STATE_WORDS], read-only: the state as float64.
    false_alarms_per_day
        Declared, above 0.
    """
    shape = demand[ARRIVAL_SHAPE] + PRIOR_SHAPE
    pace = shape / (demand[ARRIVAL_EXPOSURE] + PRIOR_EXPOSURE)
    return max(OVERSHOOT * pace / false_alarms_per_day, THRESHOLD_MIN)


@inner_kernel(float64(READ_F64, float64, int64))
def weigh_evidence(demand, days, is_silent):
    """Return the evidence of a position after so long without an arrival.

    Parameters
    ----------
    demand
        float64[STATE_WORDS], read-only: the state as float64.
    days
        Business days since the latest arrival.
    is_silent
        0 to leave the silence out of account.
    """
    shape = demand[ARRIVAL_SHAPE] + PRIOR_SHAPE
    exposure = demand[ARRIVAL_EXPOSURE] + PRIOR_EXPOSURE
    total = 0.0
    factor = FACTOR_FIRST
    for i in range(FACTORS):
        part = demand[EVIDENCE + i]
        if is_silent:
            part *= find_silence_ratio(factor, shape, exposure, days)
        # The tenfold weighs as much as the other two.
        total += part * (0.5 if i == 1 else 0.25)
        factor *= FACTOR_STEP
    return total


@inner_kernel(void(float64, int64, int64, float64, WRITE_I64))
def note_arrival(gap, time_ms, units, evidence_max, state):
    """Bring the evidence up to date with an arrival of a sale.

    Parameters
    ----------
    gap
        Business days since the arrival before, stretched by the site's busyness.
    time_ms
        When, milliseconds since 1970; later than the arrival before.
    units
        Sold.
    evidence_max
        What each statistic grows to at most.
    state
        int64[STATE_WORDS], written.
    """
    demand = state.view(np.float64)
    if state[ARRIVED_MS] == 0:
        state[RUN_MS] = time_ms
        state[RUN_UNITS] = units
        state[RUN_SALES] = 1
        state[ARRIVED_MS] = time_ms
        return
    shape = demand[ARRIVAL_SHAPE] + PRIOR_SHAPE
    exposure = demand[ARRIVAL_EXPOSURE] + PRIOR_EXPOSURE
    factor = FACTOR_FIRST
    for i in range(FACTORS):
        ratio = find_gap_ratio(factor, shape, exposure, gap)
        demand[EVIDENCE + i] = min((1.0 + demand[EVIDENCE + i]) * ratio, evidence_max)
        factor *= FACTOR_STEP
    if weigh_evidence(demand, 0.0, 0) < 1.0:
        state[RUN_MS] = time_ms
        state[RUN_UNITS] = 0
        state[RUN_SALES] = 0
    state[RUN_UNITS] += units
    state[RUN_SALES] += 1
    state[ARRIVED_MS] = time_ms


KERNELS = (
    Kernel("find_busyness", find_busyness, ()),
    Kernel("pass_site_time", pass_site_time, ("profile",)),
    Kernel("find_threshold", find_threshold, ()),
    Kernel("weigh_evidence", weigh_evidence, ()),
    Kernel("note_arrival", note_arrival, ("state",)),
)
