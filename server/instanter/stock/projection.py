"""When stock runs out, as a normal distribution of demand has it."""

import math
from typing import Final

_Z_95: Final = 1.6448536269514722
"""Standard normal quantile of 0.95."""
_DAYS_MAX: Final = 3_650.0
"""Stock that lasts longer than ten years is as good as endless."""


def project_stock_out(
    available: int, rate: float, variance: float
) -> tuple[float | None, float | None, float | None]:
    """Return after how many days stock runs out: expected, early and late.

    Demand of t days is taken as normal with mean rate × t and variance × t, so that the chance
    that it has reached what is available is Φ((rate × t − available) ÷ √(variance × t)): the
    first passage of a Brownian motion, its second term left out, which is small where demand
    only grows (Cox and Miller 1965, 5.7). Early and late are where that is 0.05 and 0.95.

    Parameters
    ----------
    available
        Units.
    rate, variance
        Units a day, variance of a day's units; NaN when unknown.

    Returns
    -------
    tuple of float or None
        Days; 0 when nothing is available, None when later than in ten years or unknown.
    """
    if available <= 0:
        return 0.0, 0.0, 0.0
    if not rate > 0.0:
        return None, None, None
    # rate × t ± z × √(variance × t) = available is a quadratic equation in √t.
    spread = _Z_95 * math.sqrt(max(variance, 0.0))
    root = math.sqrt(spread * spread + 4.0 * rate * available)
    early = ((root - spread) / (2.0 * rate)) ** 2
    late = ((root + spread) / (2.0 * rate)) ** 2
    return _bound(available / rate), _bound(early), _bound(late)


def _bound(days: float) -> float | None:
    return days if days <= _DAYS_MAX else None


def find_order_units(inbound: int, point: float, *, order_up_to: float, order_units: float) -> int:
    """Return how many units to order; 0 while the reorder point is not reached.

    Parameters
    ----------
    inbound
        Units available and on order.
    point
        The reorder point in force, NaN for none.
    order_up_to, order_units
        Units; NaN when not declared. Without either, as much as is missing to the point.
    """
    if math.isnan(point) or inbound > point:
        return 0
    if not math.isnan(order_units):
        lots = max(math.floor((point - inbound) / order_units) + 1, 1)
        return int(lots * order_units)
    level = point if math.isnan(order_up_to) else max(order_up_to, point)
    return max(math.ceil(level - inbound), 1)
