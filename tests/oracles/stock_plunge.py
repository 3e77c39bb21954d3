"""Slow twins of `kernels/stock_plunge`: likelihoods of gaps as powers."""

import math

from tests.oracles.stock_state import decode, decode_site, encode, encode_site

FACTORS = [math.sqrt(10), 10, 10 * math.sqrt(10)]
WEIGHTS = [0.25, 0.5, 0.25]


def find_busyness(profile, own_arrivals):
    """Return recent arrivals ÷ expected ones, both with ten more."""
    site = decode_site(profile)
    if site.exposure < 7:
        return 1.0
    ratio = (max(site.recent - own_arrivals, 0) + 10) / (site.expected + 10)
    return min(max(ratio, 1), 5)


def pass_site_time(days, is_arrival, profile):
    """Let what is recent fade, the slower the fewer come; usually it is forty arrivals."""
    site = decode_site(profile)
    pace = site.arrivals / site.exposure if site.exposure >= 7 else 0
    half_life = min(max(40 * math.log(2) / max(pace, 1), 0.04), 1)
    kept = 0.5 ** (days / half_life)
    site.recent *= kept
    site.expected *= kept
    if pace:
        site.expected += pace * (1 - kept) * half_life / math.log(2)
        site.recent += is_arrival
    encode_site(site, profile)


def find_threshold(demand, false_alarms_per_day):
    """Return half of the arrivals a day ÷ false alarms a day."""
    shape, exposure = demand[104] + 0.5, demand[105] + 0.5
    return max(0.5 * shape / exposure / false_alarms_per_day, 20)


def weigh_evidence(demand, days, is_silent):
    """Return the weighted mean of the three, each times the likelihood ratio of the silence."""
    shape, exposure = demand[104] + 0.5, demand[105] + 0.5
    total = 0
    for i, factor in enumerate(FACTORS):
        silence = ((exposure + days) / (exposure + factor * days)) ** shape if is_silent else 1
        total += WEIGHTS[i] * demand[106 + i] * silence
    return total


def note_arrival(gap, time_ms, units, evidence_max, state):
    """R ← (1 + R) × density of the gap under factor × rate ÷ that under the rate."""
    own = decode(state)
    if own.arrived_ms == 0:
        own.run_ms, own.run_units, own.run_sales = time_ms, units, 1
    else:
        shape, exposure = own.shape + 0.5, own.exposure + 0.5
        for i, factor in enumerate(FACTORS):
            ratio = factor * ((exposure + gap) / (exposure + factor * gap)) ** (shape + 1)
            own.evidence[i] = min((1 + own.evidence[i]) * ratio, evidence_max)
        if sum(w * r for w, r in zip(WEIGHTS, own.evidence, strict=True)) < 1:
            own.run_ms, own.run_units, own.run_sales = time_ms, 0, 0
        own.run_units += units
        own.run_sales += 1
    own.arrived_ms = time_ms
    encode(own, state)
