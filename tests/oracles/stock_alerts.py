"""Slow twins of `kernels/stock_alerts`: what a policy says, in sentences."""

import math
from types import SimpleNamespace

from tests.oracles.stock_state import ALERT_FIELDS

CAUSES = ("stock_out", "low_cover", "reorder", "plunge", "overstock", "data_error")


def find_safety_stock(policy, rate, variance):
    """Return z × σ of the demand in the lead time."""
    return policy[3] * math.sqrt(policy[1] * variance + (rate * policy[2]) ** 2)


def find_reorder_point(policy, rate, variance):
    """Return what is declared, or else follows; the minimum where it is more or all there is."""
    declared, minimum = policy[0], policy[6]
    if math.isnan(declared):
        declared = rate * policy[1] + find_safety_stock(policy, rate, variance)
    known = [number for number in (declared, minimum) if not math.isnan(number)]
    return max(known, default=math.nan)


def find_cover(available, rate):
    """Return days; none are left of nothing, and without demand it lasts for ever."""
    if available <= 0:
        return 0.0
    return math.inf if rate == 0 else available / rate


def find_overdue_ms(policy, alert):
    """Return when it was told last + the declared time, not before its snooze ends."""
    severity, is_acknowledged = alert[1] % 8, alert[1] // 64 % 2
    if not policy[14] or is_acknowledged or severity == 4:
        return 0
    return max(alert[3] + int(policy[14] * 1000), alert[4])


def judge_position(state, policy, rate, variance, plunge, wanted):
    """Say for each cause how bad it is, and how bad an alert may stay."""
    on_hand, on_order, available = state[0], state[1], state[0] - state[2]
    slack = 1 + policy[13]
    cover = find_cover(available, rate)
    point = find_reorder_point(policy, rate, variance)
    unknown = math.isnan(rate) and not math.isnan(policy[1])
    begins = {
        "stock_out": available <= 0,
        "reorder": available + on_order <= point,
        "plunge": plunge == 2,
        "overstock": on_hand > policy[7],
        "data_error": state[4] != 0,
    }
    goes_on = begins | {
        "reorder": unknown or available + on_order <= point * slack,
        "plunge": plunge >= 1,
        "overstock": on_hand > policy[7] / slack,
    }
    for i, cause in enumerate(CAUSES):
        severity = int(policy[18 + i])
        if cause == "low_cover":
            tiers = {s + 1: policy[8 + s] for s in range(4) if not math.isnan(policy[8 + s])}
            wanted[i] = max((s for s, days in tiers.items() if cover < days), default=0)
            wanted[6 + i] = max((s for s, days in tiers.items() if cover < days * slack), default=0)
            if math.isnan(cover) and severity:
                wanted[6 + i] = 4
        else:
            wanted[i] = severity if begins[cause] else 0
            wanted[6 + i] = 4 if goes_on[cause] and severity else 0


def step_alert(policy, cause, wanted, kept, now_ms, sequence, count, alert, out):
    """Clear, raise, escalate: at most a clearing and one of the others."""
    own = SimpleNamespace(**dict(zip(ALERT_FIELDS, map(int, alert), strict=True)))
    severity, base, tier = own.grade % 8, own.grade // 8 % 8, own.grade // 128
    is_acknowledged = own.grade // 64 % 2
    tiers = sum(not math.isnan(days) for days in policy[8 : 8 + wanted])
    new_tier = tiers if CAUSES[cause] == "low_cover" else 0
    told = []
    if own.number and wanted <= base and base > kept:
        told.append((own.number, 3, severity, severity, tier, 0, own.raised_ms))
        own = SimpleNamespace(number=0, raised_ms=0, told_ms=0, snoozed_ms=0)
        severity = base = tier = is_acknowledged = 0
    if not own.number:
        if wanted:
            own.number, own.raised_ms, own.told_ms = sequence + count + len(told), now_ms, now_ms
            severity, base, tier = wanted, wanted, new_tier
            told.append((own.number, 1, wanted, 0, tier, 0, now_ms))
    elif wanted > base:
        worse = max(wanted, severity)
        told.append((own.number, 2, worse, severity, new_tier, 0, own.raised_ms))
        severity, base, tier, is_acknowledged, own.told_ms = worse, wanted, new_tier, 0, now_ms
    elif 0 < find_overdue_ms(policy, alert) <= now_ms:
        told.append((own.number, 2, severity + 1, severity, tier, 1, own.raised_ms))
        severity, own.told_ms = severity + 1, now_ms
    own.grade = severity + 8 * base + 64 * is_acknowledged + 128 * tier
    alert[:] = [getattr(own, name) for name in ALERT_FIELDS]
    for number, kind, now, before, which, overdue, raised_ms in told:
        out[count, [0, 3, 4, 5, 6, 7, 8, 9]] = [
            number, cause + 1, kind, now, before, which, overdue, raised_ms
        ]  # fmt: skip
        count += 1
    return count
