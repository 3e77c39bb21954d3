"""The stock side of a catalogue laid out for its kernels."""

import math
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.stock import Severity, StockPlan, StockPolicy
from instanter.kernels import stock_policy as columns

_DAY_S: Final = 86_400.0


def make_policy_rows(plan: StockPlan) -> NDArray[np.float64]:
    """Return float64[policies, COLUMN_COUNT], read-only: as `kernels/stock_policy` says."""
    rows = np.array([_make_row(policy) for policy in plan.policies], np.float64)
    rows.flags.writeable = False
    return rows


def _make_row(policy: StockPolicy) -> list[float]:
    row = [math.nan] * columns.COLUMN_COUNT
    row[columns.REORDER_POINT] = _or_nan(policy.reorder_point)
    row[columns.LEAD_TIME_DAYS] = policy.lead_time_s / _DAY_S if policy.lead_time_s else math.nan
    row[columns.LEAD_TIME_SD_DAYS] = policy.lead_time_sd_s / _DAY_S
    if policy.service_level:
        # The probability that demand of the lead time stays within z standard deviations above
        # its mean is Φ(z): Silver, Pyke, Thomas, "Inventory and Production Management in Supply
        # Chains", 4th edition, section 6.6.
        row[columns.SERVICE_Z] = NormalDist().inv_cdf(policy.service_level)
    row[columns.ORDER_UP_TO] = _or_nan(policy.order_up_to)
    row[columns.ORDER_UNITS] = _or_nan(policy.order_units)
    row[columns.MINIMUM] = _or_nan(policy.minimum)
    row[columns.MAXIMUM] = _or_nan(policy.maximum)
    for tier in policy.cover:
        row[columns.COVER_DAYS + tier.severity - Severity.NOTICE] = tier.days
    row[columns.PLUNGE_FALSE_ALARMS_PER_DAY] = _or_nan(policy.plunge_false_alarms_per_day)
    row[columns.HYSTERESIS] = policy.hysteresis
    row[columns.ESCALATE_AFTER_S] = policy.escalate_after_s
    row[columns.COUNT_TOLERANCE_UNITS] = policy.count_tolerance_units
    row[columns.COUNT_TOLERANCE_SHARE] = policy.count_tolerance_share
    row[columns.NEGATIVE_ALLOWED] = policy.negative
    row[columns.SEVERITY :] = policy.severities
    return row


def _or_nan(number: float | None) -> float:
    return math.nan if number is None else number
