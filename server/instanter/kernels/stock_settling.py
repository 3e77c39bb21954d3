"""What follows from a position's state: its rate, its alerts, and when to look at it again."""

import math

import numpy as np
from numba import int64

from instanter.kernels.array_types import (
    READ_F64,
    READ_I64,
    WRITE_F64,
    WRITE_I64,
    WRITE_I64_2D,
)
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.stock_alerts import (
    LOW_COVER,
    OUT_MOVEMENT,
    OUT_POSITION,
    PLUNGE,
    REORDER,
    find_overdue_ms,
    judge_position,
    step_alert,
)
from instanter.kernels.stock_demand import (
    estimate_demand,
)
from instanter.kernels.stock_plunge import (
    CLEARED_BELOW,
    KNOWN_FROM_DAYS,
    RUN_SALES_MIN,
    find_threshold,
    weigh_evidence,
)
from instanter.kernels.stock_policy import PLUNGE_FALSE_ALARMS_PER_DAY
from instanter.kernels.stock_rows import (
    ALERT_NUMBER,
    ALERT_WORDS,
    ALERTS,
    ARRIVED_MS,
    CAUSES,
    DUE_MS,
    LATEST_MS,
    LATEST_RECORDED_MS,
    PERIOD,
    RUN_SALES,
    SITE_EXPOSURE,
)
from instanter.kernels.stock_time import (
    find_period_start_ms,
    measure_days,
)

PLUNGE_LOOK_MS = 15 * 60_000
"""An open plunge is looked at again after so long, to see whether it is over."""


@kernel(int64(READ_I64, int64))
def find_own_ms(state, now_ms):
    """Return what a position's own clock says.

    It goes on from its latest movement at the pace of the server's, so that movements of the past
    can be replayed, and a site that tells late does not seem to sell nothing.

    Parameters
    ----------
    state
        int64[STATE_WORDS], read-only.
    now_ms
        The server's time, milliseconds since 1970.
    """
    if state[LATEST_MS] == 0:
        return now_ms
    return state[LATEST_MS] + max(now_ms - state[LATEST_RECORDED_MS], 0)


@inner_kernel(int64(READ_I64, READ_F64, READ_F64, int64, int64))
def judge_plunge(state, profile, policy, offset_ms, local_ms):
    """Return 2 where sales are a plunge, 1 where an open one goes on, else 0.

    Parameters
    ----------
    state
        int64[STATE_WORDS], read-only.
    profile
        float64[PROFILE_WORDS], read-only.
    policy
        float64[COLUMN_COUNT], read-only.
    offset_ms, local_ms
        The site's clocks ahead of UTC; now at the site, local milliseconds since 1970.
    """
    declared = policy[PLUNGE_FALSE_ALARMS_PER_DAY]
    if math.isnan(declared) or state[RUN_SALES] < RUN_SALES_MIN:
        return 0
    if profile[SITE_EXPOSURE] < KNOWN_FROM_DAYS:
        return 0
    demand = state.view(np.float64)
    threshold = find_threshold(demand, declared)
    evidence = weigh_evidence(demand, 0.0, 0)
    if evidence < CLEARED_BELOW * threshold:
        return 0
    days = measure_days(profile, state[ARRIVED_MS] + offset_ms, local_ms)
    evidence = weigh_evidence(demand, days, 1)
    if evidence >= threshold:
        return 2
    return 1 if evidence >= CLEARED_BELOW * threshold else 0


@inner_kernel(int64(READ_I64, READ_F64, int64, int64, int64))
def find_due(state, policy, period_days, offset_ms, now_ms):
    """Return when to look at a position again, by the server's clock; 0 for never.

    Parameters
    ----------
    state
        int64[STATE_WORDS], read-only: its alerts as they are now.
    policy
        float64[COLUMN_COUNT], read-only.
    period_days, offset_ms, now_ms
        1 or 7; the site's clocks ahead of UTC; the server's time, milliseconds.
    """
    due_ms = 0
    for cause in range(CAUSES):
        alert = state[ALERTS + cause * ALERT_WORDS : ALERTS + (cause + 1) * ALERT_WORDS]
        if alert[ALERT_NUMBER] == 0:
            continue
        at_ms = find_overdue_ms(policy, alert)
        if at_ms > 0 and (due_ms == 0 or at_ms < due_ms):
            due_ms = at_ms
        if cause == PLUNGE:
            at_ms = now_ms + PLUNGE_LOOK_MS
        elif cause in (LOW_COVER, REORDER):
            # Without sales the rate falls, and cover rises: the next period knows.
            end_ms = find_period_start_ms(state[PERIOD] + 1, period_days) - offset_ms
            at_ms = state[LATEST_RECORDED_MS] + end_ms - state[LATEST_MS]
        else:
            continue
        at_ms = max(at_ms, now_ms + 1)
        if due_ms == 0 or at_ms < due_ms:
            due_ms = at_ms
    return due_ms


@inner_kernel(
    int64(
        int64, int64, READ_F64, READ_F64, int64, int64, int64, int64, int64,
        WRITE_I64, WRITE_I64, WRITE_F64, WRITE_I64, WRITE_I64_2D,
    )
)  # fmt: skip
def settle_position(
    position, movement, policy, profile, offset_ms, period_days, now_ms, sequence, count,
    state, scratch, figures, wanted, out,
):  # fmt: skip
    """Step the alerts of a position, and note when to look at it again.

    Parameters
    ----------
    position, movement
        For the transitions; movement −1 for none.
    policy
        float64[COLUMN_COUNT], read-only.
    profile
        float64[PROFILE_WORDS], read-only: of its site.
    offset_ms, period_days, now_ms
        As for `find_due`.
    sequence, count, out
        As for `step_alert`.
    state
        int64[STATE_WORDS], written.
    scratch, figures, wanted
        int64[STATE_WORDS], float64[2], int64[2 × CAUSES], written: room to work in.

    Returns
    -------
    int
        Transitions now.
    """
    own_ms = find_own_ms(state, now_ms) + offset_ms
    estimate_demand(state, profile, own_ms, period_days, scratch, figures)
    plunge = judge_plunge(state, profile, policy, offset_ms, own_ms)
    judge_position(state, policy, figures[0], figures[1], plunge, wanted)
    first = count
    for cause in range(CAUSES):
        alert = state[ALERTS + cause * ALERT_WORDS : ALERTS + (cause + 1) * ALERT_WORDS]
        if wanted[cause] == 0 and alert[ALERT_NUMBER] == 0:
            continue
        wants, keeps = wanted[cause], wanted[CAUSES + cause]
        count = step_alert(policy, cause, wants, keeps, now_ms, sequence, count, alert, out)
    for row in range(first, count):
        out[row, OUT_POSITION] = position
        out[row, OUT_MOVEMENT] = movement
    state[DUE_MS] = find_due(state, policy, period_days, offset_ms, now_ms)
    return count


KERNELS = (
    Kernel("find_own_ms", find_own_ms, ()),
    Kernel("settle_position", settle_position, ("state", "scratch", "figures", "wanted", "out")),
)
