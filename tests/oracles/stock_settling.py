"""Slow twins of `kernels/stock_settling`."""

import math

from tests.oracles import stock_alerts, stock_demand, stock_plunge
from tests.oracles.stock_state import decode, decode_site
from tests.oracles.stock_time import find_period_start_ms, measure_days


def find_own_ms(state, now_ms):
    """Return the time of the latest movement and what has passed since it was recorded."""
    own = decode(state)
    return own.latest_ms + max(now_ms - own.recorded_ms, 0) if own.latest_ms else now_ms


def settle_position(
    position, movement, policy, profile, offset_ms, period_days, now_ms, sequence, count,
    state, scratch, figures, wanted, out,
):  # fmt: skip
    """Estimate, judge, step every alert, and find when the next of them may change by itself."""
    local_ms = find_own_ms(state, now_ms) + offset_ms
    stock_demand.estimate_demand(state, profile, local_ms, period_days, scratch, figures)
    plunge = _judge_plunge(state, profile, policy, offset_ms, local_ms)
    stock_alerts.judge_position(state, policy, figures[0], figures[1], plunge, wanted)
    first = count
    for cause in range(6):
        alert = state[9 + 5 * cause : 14 + 5 * cause]
        if wanted[cause] or alert[0]:
            count = stock_alerts.step_alert(
                policy, cause, wanted[cause], wanted[6 + cause], now_ms, sequence, count, alert, out
            )
    out[first:count, 1] = position
    out[first:count, 2] = movement
    state[8] = _find_due(decode(state), state, policy, period_days, offset_ms, now_ms)
    return count


def _judge_plunge(state, profile, policy, offset_ms, local_ms):
    own, site = decode(state), decode_site(profile)
    if math.isnan(policy[12]) or own.run_sales < 3 or site.exposure < 7:
        return 0
    demand = state.view("f8")
    threshold = stock_plunge.find_threshold(demand, policy[12])
    silent = measure_days(profile, own.arrived_ms + offset_ms, local_ms)
    share = stock_plunge.weigh_evidence(demand, silent, 1) / threshold
    return 2 if share >= 1 else 1 if share >= 0.05 else 0


def _find_due(own, state, policy, period_days, offset_ms, now_ms):
    times = []
    for cause, alert in enumerate(own.alerts):
        if not alert.number:
            continue
        times.append(stock_alerts.find_overdue_ms(policy, state[9 + 5 * cause : 14 + 5 * cause]))
        if stock_alerts.CAUSES[cause] == "plunge":
            times.append(now_ms + 900_000)
        elif stock_alerts.CAUSES[cause] in ("low_cover", "reorder"):
            end_ms = find_period_start_ms(own.period + 1, period_days) - offset_ms
            times.append(max(own.recorded_ms + end_ms - own.latest_ms, now_ms + 1))
    return min((time for time in times if time), default=0)
