"""Alerts: which are wanted by a position's figures, and the transitions that follow.

At most one alert is open for each cause. It is raised when its condition begins, escalates when
that becomes worse or when nobody acknowledges it, and is cleared beyond the threshold × (1 +
hysteresis). A worse tier of cover that is over while a milder one is not clears the alert and
raises the milder one.
"""

import math

import numpy as np
from numba import boolean, float64, int64, void

from instanter.kernels.array_types import READ_F64, READ_I64, WRITE_I64, WRITE_I64_2D
from instanter.kernels.compilation import Kernel, inner_kernel
from instanter.kernels.stock_policy import (
    COVER_DAYS,
    ESCALATE_AFTER_S,
    HYSTERESIS,
    LEAD_TIME_DAYS,
    LEAD_TIME_SD_DAYS,
    MAXIMUM,
    MINIMUM,
    REORDER_POINT,
    SERVICE_Z,
    SEVERITY,
)
from instanter.kernels.stock_rows import (
    ALERT_GRADE,
    ALERT_NUMBER,
    ALERT_RAISED_MS,
    ALERT_SNOOZED_MS,
    ALERT_TOLD_MS,
    CAUSES,
    COMMITTED,
    DATA_ERRORS,
    ON_HAND,
    ON_ORDER,
)

STOCK_OUT = 0
LOW_COVER = 1
REORDER = 2
PLUNGE = 3
OVERSTOCK = 4
DATA_ERROR = 5
"""Causes as places, one less than the numbers of `catalogue/stock.Cause`."""

RAISED = 1
ESCALATED = 2
CLEARED = 3
"""Of `stock/questions.TransitionKind`."""

ACKNOWLEDGED = 64
TIER = 128
OWN = 8
"""Parts of `ALERT_GRADE`."""

CRITICAL = 4
"""The worst severity, of `catalogue/stock.Severity`."""

OUT_NUMBER = 0
OUT_POSITION = 1
OUT_MOVEMENT = 2
OUT_CAUSE = 3
OUT_KIND = 4
OUT_SEVERITY = 5
OUT_PREVIOUS = 6
OUT_TIER = 7
OUT_OVERDUE = 8
OUT_RAISED_MS = 9
OUT_COLUMNS = 10
"""The columns of a transition; its sequence follows from its row."""
TRANSITIONS_MAX = 2 * CAUSES
"""Transitions of a position at once, at most."""


@inner_kernel(float64(READ_F64, float64, float64))
def find_safety_stock(policy, rate, variance):
    """Return the units kept against chance in the lead time: z × σ of its demand; NaN for none.

    σ² = L × variance + rate² × variance of the lead time (Silver, Pyke and Thomas 2017, 6.10).

    Parameters
    ----------
    policy
        float64[COLUMN_COUNT], read-only.
    rate, variance
        Units a day and variance of a day's units; NaN when unknown.
    """
    lead = policy[LEAD_TIME_DAYS]
    spread = policy[LEAD_TIME_SD_DAYS] * rate
    return policy[SERVICE_Z] * math.sqrt(lead * variance + spread * spread)


@inner_kernel(float64(READ_F64, float64, float64))
def find_reorder_point(policy, rate, variance):
    """Return the units at or below which is reordered; NaN for none.

    The declared point, or demand of the lead time + safety stock; the minimum where that is more.

    Parameters
    ----------
    policy, rate, variance
        As for `find_safety_stock`.
    """
    point = policy[REORDER_POINT]
    if math.isnan(point):
        safety = find_safety_stock(policy, rate, variance)
        point = policy[LEAD_TIME_DAYS] * rate + safety
    minimum = policy[MINIMUM]
    if math.isnan(point) or minimum > point:
        return minimum
    return point


@inner_kernel(float64(int64, float64))
def find_cover(available, rate):
    """Return the days that what is available lasts; NaN while the rate is unknown."""
    if available <= 0:
        return 0.0
    if rate == 0.0:
        return math.inf
    return available / rate


@inner_kernel(int64(READ_F64, int64))
def count_tiers(policy, severity):
    """Return which of the policy's tiers of cover has a severity, 1 for the mildest."""
    tier = 0
    for i in range(severity):
        if not math.isnan(policy[COVER_DAYS + i]):
            tier += 1
    return tier


@inner_kernel(int64(READ_F64, READ_I64))
def find_overdue_ms(policy, alert):
    """Return when an open alert escalates for want of acknowledgement; 0 for never.

    Parameters
    ----------
    policy
        float64[COLUMN_COUNT], read-only.
    alert
        int64[ALERT_WORDS], read-only.
    """
    grade = alert[ALERT_GRADE]
    after_ms = np.int64(policy[ESCALATE_AFTER_S] * 1000.0)
    if after_ms <= 0 or grade & ACKNOWLEDGED or grade & 7 >= CRITICAL:
        return 0
    return max(alert[ALERT_TOLD_MS] + after_ms, alert[ALERT_SNOOZED_MS])


@inner_kernel(void(int64, boolean, boolean, READ_F64, WRITE_I64))
def want_alert(cause, is_raised, is_kept, policy, wanted):
    """Say whether a cause's alert is to be raised, and whether an open one goes on.

    Parameters
    ----------
    cause
        Its place, 0 to 5, not that of cover.
    is_raised, is_kept
        Whether the condition holds; whether it still does with hysteresis.
    policy
        float64[COLUMN_COUNT], read-only: a severity of 0 wants none.
    wanted
        int64[2 × CAUSES], written, see `judge_position`.
    """
    severity = np.int64(policy[SEVERITY + cause])
    if is_raised:
        wanted[cause] = severity
    if is_kept and severity > 0:
        wanted[CAUSES + cause] = CRITICAL


@inner_kernel(void(READ_I64, READ_F64, float64, float64, int64, WRITE_I64))
def judge_position(state, policy, rate, variance, plunge, wanted):
    """Say which alerts a position's figures want.

    Parameters
    ----------
    state
        int64[STATE_WORDS], read-only.
    policy
        float64[COLUMN_COUNT], read-only.
    rate, variance
        Units a day and variance of a day's units; NaN when unknown.
    plunge
        2 where sales are a plunge, 1 where an open one goes on, else 0.
    wanted
        int64[2 × CAUSES], written: the severity with which each cause's alert is to be raised, 0
        for not; then the worst severity with which an open one goes on, 0 for none.
    """
    wanted[:] = 0
    slack = 1.0 + policy[HYSTERESIS]
    available = state[ON_HAND] - state[COMMITTED]
    cover = find_cover(available, rate)
    for i in range(CRITICAL):
        if cover < policy[COVER_DAYS + i]:
            wanted[LOW_COVER] = i + 1
        if cover < policy[COVER_DAYS + i] * slack:
            wanted[CAUSES + LOW_COVER] = i + 1
    if math.isnan(cover) and policy[SEVERITY + LOW_COVER] > 0.0:
        wanted[CAUSES + LOW_COVER] = CRITICAL
    point = find_reorder_point(policy, rate, variance)
    inbound = available + state[ON_ORDER]
    is_unknown = math.isnan(rate) and not math.isnan(policy[LEAD_TIME_DAYS])
    want_alert(STOCK_OUT, available <= 0, available <= 0, policy, wanted)
    want_alert(REORDER, inbound <= point, is_unknown or inbound <= point * slack, policy, wanted)
    want_alert(PLUNGE, plunge == 2, plunge > 0, policy, wanted)
    is_over = state[ON_HAND] > policy[MAXIMUM]
    want_alert(OVERSTOCK, is_over, state[ON_HAND] > policy[MAXIMUM] / slack, policy, wanted)
    is_wrong = state[DATA_ERRORS] != 0
    want_alert(DATA_ERROR, is_wrong, is_wrong, policy, wanted)


@inner_kernel(int64(int64, int64, int64, int64, int64, int64, int64, READ_I64, WRITE_I64_2D))
def add_transition(cause, kind, severity, previous, tier, overdue, count, alert, out):
    """Write one transition of an alert behind those there are.

    Parameters
    ----------
    cause, kind, severity, previous, tier, overdue
        Its columns.
    count
        Transitions so far.
    alert
        int64[ALERT_WORDS], read-only.
    out
        int64[M, OUT_COLUMNS], written; there is room.

    Returns
    -------
    int
        Transitions now.
    """
    row = out[count]
    row[OUT_NUMBER] = alert[ALERT_NUMBER]
    row[OUT_CAUSE] = cause + 1
    row[OUT_KIND] = kind
    row[OUT_SEVERITY] = severity
    row[OUT_PREVIOUS] = previous
    row[OUT_TIER] = tier
    row[OUT_OVERDUE] = overdue
    row[OUT_RAISED_MS] = alert[ALERT_RAISED_MS]
    return count + 1


@inner_kernel(int64(READ_F64, int64, int64, int64, int64, int64, int64, WRITE_I64, WRITE_I64_2D))
def step_alert(policy, cause, wanted, kept, now_ms, sequence, count, alert, out):
    """Bring one alert to what its position's figures want, and tell how.

    Parameters
    ----------
    policy
        float64[COLUMN_COUNT], read-only.
    cause
        Its place, 0 to 5.
    wanted, kept
        Of `judge_position`.
    now_ms
        By the server's clock, milliseconds since 1970.
    sequence
        Of the first transition of `out`.
    count
        Transitions so far.
    alert
        int64[ALERT_WORDS], written.
    out
        int64[M, OUT_COLUMNS], written; there is room.

    Returns
    -------
    int
        Transitions now.
    """
    severity = alert[ALERT_GRADE] & 7
    own = (alert[ALERT_GRADE] // OWN) & 7
    is_open = alert[ALERT_NUMBER] != 0
    if is_open and wanted <= own and own > kept:
        tier = alert[ALERT_GRADE] // TIER
        count = add_transition(cause, CLEARED, severity, severity, tier, 0, count, alert, out)
        alert[:] = 0
        is_open = False
    tier = count_tiers(policy, wanted) if cause == LOW_COVER else 0
    if not is_open:
        if wanted > 0:
            alert[ALERT_NUMBER] = sequence + count
            alert[ALERT_GRADE] = wanted + OWN * wanted + TIER * tier
            alert[ALERT_RAISED_MS] = now_ms
            alert[ALERT_TOLD_MS] = now_ms
            alert[ALERT_SNOOZED_MS] = 0
            count = add_transition(cause, RAISED, wanted, 0, tier, 0, count, alert, out)
        return count
    if wanted > own:
        # What has become worse is to be acknowledged anew.
        worse = max(wanted, severity)
        alert[ALERT_GRADE] = worse + OWN * wanted + TIER * tier
        alert[ALERT_TOLD_MS] = now_ms
        return add_transition(cause, ESCALATED, worse, severity, tier, 0, count, alert, out)
    due_ms = find_overdue_ms(policy, alert)
    if due_ms > 0 and now_ms >= due_ms:
        tier = alert[ALERT_GRADE] // TIER
        alert[ALERT_GRADE] += 1
        alert[ALERT_TOLD_MS] = now_ms
        count = add_transition(cause, ESCALATED, severity + 1, severity, tier, 1, count, alert, out)
    return count


KERNELS = (
    Kernel("find_safety_stock", find_safety_stock, ()),
    Kernel("find_reorder_point", find_reorder_point, ()),
    Kernel("find_cover", find_cover, ()),
    Kernel("find_overdue_ms", find_overdue_ms, ()),
    Kernel("judge_position", judge_position, ("wanted",)),
    Kernel("step_alert", step_alert, ("alert", "out")),
)
