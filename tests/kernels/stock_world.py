"""What the tests of stock kernels share: policies, movements, histories."""

import numpy as np

from instanter.kernels import stock_turns
from instanter.kernels.stock_alerts import OUT_COLUMNS, TRANSITIONS_MAX
from instanter.kernels.stock_policy import (
    COLUMN_COUNT,
    COUNT_TOLERANCE_SHARE,
    COUNT_TOLERANCE_UNITS,
    COVER_DAYS,
    ESCALATE_AFTER_S,
    HYSTERESIS,
    LEAD_TIME_DAYS,
    LEAD_TIME_SD_DAYS,
    MAXIMUM,
    MINIMUM,
    NEGATIVE_ALLOWED,
    PLUNGE_FALSE_ALARMS_PER_DAY,
    SERVICE_Z,
    SEVERITY,
)
from instanter.kernels.stock_rows import DEMAND_FIRST, PROFILE_WORDS, STATE_WORDS

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_700_000_000_000
DST_MS = 1_711_846_800_000
"""When clocks in Berlin went forward in March 2024."""
ZONES = (
    np.array([0, 1, 3], np.int64),
    np.array([2**40, DST_MS // 1000, 2**40], np.int64),
    np.array([0, 3_600, 7_200], np.int64),
)


def make_policy(*, negative=False):
    row = np.full(COLUMN_COUNT, np.nan)
    row[[LEAD_TIME_DAYS, LEAD_TIME_SD_DAYS, SERVICE_Z]] = 3.0, 0.5, 1.645
    row[[MINIMUM, MAXIMUM]] = 4.0, 150.0
    row[[COVER_DAYS + 1, COVER_DAYS + 3]] = 7.0, 2.0
    row[PLUNGE_FALSE_ALARMS_PER_DAY] = 0.02
    row[HYSTERESIS] = 0.2
    row[ESCALATE_AFTER_S] = 7_200.0
    row[[COUNT_TOLERANCE_UNITS, COUNT_TOLERANCE_SHARE]] = 2.0, 0.1
    row[NEGATIVE_ALLOWED] = negative
    row[SEVERITY:] = 4, 2, 2, 3, 1, 2
    return row


POLICIES = np.array([make_policy(), make_policy(negative=True)])
PLACES = np.array(
    [(0, 0, 0, 0, 0), (0, 1, 1, 0, 0), (1, 0, 0, 1, 1), (1, 1, 1, 1, 1)], np.int64
)  # fmt: skip


def make_rows(count, seed, begin_ms=START_MS):
    """Movements of four positions over some days, some of them late; receipts outweigh sales."""
    draw = np.random.default_rng(seed)
    kinds = draw.choice([1] * 24 + [2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 9, 10, 11, 12], count)
    position = draw.integers(0, 4, count)
    # Every fifth sale comes in a run of half an hour.
    steps = draw.exponential(HOUR_MS, count) * np.where(np.arange(count) % 40 < 8, 0.05, 1)
    times = begin_ms + np.cumsum(steps).astype(np.int64)
    late = draw.random(count) < 0.1
    times -= late * draw.integers(0, 5 * DAY_MS, count)
    units = draw.integers(1, 9, count)
    units[np.isin(kinds, [3, 9])] *= 12
    units[(kinds == 5) & (draw.random(count) < 0.5)] *= -1
    units[kinds == 6] = draw.integers(0, 120, (kinds == 6).sum())
    facts = (kinds <= 2) & (draw.random(count) < 0.3)
    rows = np.zeros((count, 6), np.int64)
    rows[:, 0], rows[:, 1], rows[:, 3], rows[:, 4], rows[:, 5] = (
        kinds,
        position,
        units,
        times,
        facts,
    )
    rows[:, 2] = np.where(kinds == 4, (position + 2) % 4, -1)
    return rows


def make_rows_taken(count, seed, states, begin_ms=START_MS):
    """Leave out movements that cannot be taken, as whoever checks them does."""
    rows, scratch = make_rows(count, seed, begin_ms), states.copy()
    taken = []
    for row in rows:
        before = scratch.copy()
        if stock_turns.check_movements(row[np.newaxis], PLACES, POLICIES, scratch)[0]:
            scratch = before
        else:
            taken.append(row)
    return np.array(taken)


def record(module, rows, states, profiles, now_ms, sequence, period_days):
    sides = 2 * len(rows) * TRANSITIONS_MAX
    available, covers = np.zeros(4, np.int64), np.zeros(4)
    out = np.zeros((sides, OUT_COLUMNS), np.int64)
    count = module.record_movements(
        rows, PLACES, POLICIES, *ZONES, period_days, now_ms, sequence,
        states, profiles, available, covers, out,
    )  # fmt: skip
    return count, available, covers, out[: max(count, 0)]


def assert_same_states(found, wanted):
    np.testing.assert_array_equal(found[:, :DEMAND_FIRST], wanted[:, :DEMAND_FIRST])
    numbers = found[:, DEMAND_FIRST:].view(np.float64), wanted[:, DEMAND_FIRST:].view(np.float64)
    # Hours of the week are float32, which the twins round at other places.
    np.testing.assert_allclose(*numbers, rtol=1e-6, atol=1e-9)


def assert_same_profiles(found, wanted):
    np.testing.assert_allclose(found[:, :14], wanted[:, :14], rtol=1e-6, atol=1e-9)
    hours = found[:, 14:].copy().view(np.float32), wanted[:, 14:].copy().view(np.float32)
    np.testing.assert_allclose(*hours, rtol=1e-5)


def make_history(seed=3, count=400, period_days=1):
    """States and profiles after some weeks."""
    states, profiles = np.zeros((4, STATE_WORDS), np.int64), np.zeros((2, PROFILE_WORDS))
    rows = make_rows_taken(count, seed, states)
    record(stock_turns, rows, states, profiles, int(rows[:, 4].max()), 1, period_days)
    return states, profiles
