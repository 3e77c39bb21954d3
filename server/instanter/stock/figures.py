"""A position and the figures behind its alerts."""

import math

import numpy as np
from numpy.typing import NDArray

from instanter.kernels.stock_demand import INTERMITTENT_BELOW
from instanter.kernels.stock_policy import ORDER_UNITS, ORDER_UP_TO
from instanter.kernels.stock_rows import (
    COMMITTED,
    COUNTED_MS,
    DATA_ERRORS,
    LATEST_MS,
    ON_HAND,
    ON_ORDER,
    PLACE_POLICY,
    PLACE_ZONE,
    RUN_MS,
    RUN_SALES,
    RUN_UNITS,
    SELLING_RATE,
    SHORTFALL,
)
from instanter.kernels.stock_settling import find_own_ms
from instanter.kernels.stock_time import MS_PER_DAY, find_offset_ms
from instanter.kernels.stock_turns import (
    DESCRIBED_COUNT,
    DESCRIBED_COVER,
    DESCRIBED_EVIDENCE,
    DESCRIBED_EXPECTED,
    DESCRIBED_POINT,
    DESCRIBED_RATE,
    DESCRIBED_SAFETY,
    DESCRIBED_THRESHOLD,
    DESCRIBED_VARIANCE,
    describe_position,
)
from instanter.stock.outcomes import list_open_alerts
from instanter.stock.projection import find_order_units, project_stock_out
from instanter.stock.questions import DataError, Figures
from instanter.stock.tables import StockTables


def make_figures(
    tables: StockTables,
    place: NDArray[np.int64],
    state: NDArray[np.int64],
    profile: NDArray[np.float64],
    now_ms: int,
) -> Figures:
    """Return a position and the figures behind its alerts, as of now by its own clock.

    Parameters
    ----------
    tables
        Of the catalogue in use.
    place
        int64[PLACE_COLUMNS], read-only.
    state
        int64[STATE_WORDS], read-only.
    profile
        float64[PROFILE_WORDS], read-only: of its site.
    now_ms
        The server's time, milliseconds since 1970.
    """
    state, profile = state.copy(), profile.copy()
    policy = tables.policies[place[PLACE_POLICY]]
    own_ms = find_own_ms(state, now_ms)
    offset_ms = find_offset_ms(
        own_ms, place[PLACE_ZONE], tables.zone_start, tables.zone_until_s, tables.zone_offset_s
    )
    found = np.empty(DESCRIBED_COUNT)
    describe_position(policy, offset_ms, tables.period_days, now_ms, state, profile, found)
    words, numbers = state.tolist(), found.tolist()
    rate, variance = numbers[DESCRIBED_RATE], numbers[DESCRIBED_VARIANCE]
    available = words[ON_HAND] - words[COMMITTED]
    days = project_stock_out(available, rate, variance)
    out_ms, early_ms, late_ms = (
        None if ahead is None else own_ms + round(ahead * MS_PER_DAY) for ahead in days
    )
    point, cover = numbers[DESCRIBED_POINT], numbers[DESCRIBED_COVER]
    evidence = max(numbers[DESCRIBED_EVIDENCE], 1e-300) / numbers[DESCRIBED_THRESHOLD]
    return Figures(
        on_hand=words[ON_HAND],
        on_order=words[ON_ORDER],
        committed=words[COMMITTED],
        available=available,
        shortfall=words[SHORTFALL],
        data_errors=DataError(words[DATA_ERRORS]),
        demand_rate=_known(rate),
        demand_deviation=_known(math.sqrt(variance * tables.period_days)),
        is_intermittent=bool(state.view(np.float64)[SELLING_RATE] < INTERMITTENT_BELOW),
        days_of_cover=None if math.isinf(cover) else _known(cover),
        stock_out_ms=out_ms,
        stock_out_early_ms=early_ms,
        stock_out_late_ms=late_ms,
        safety_stock=_known(numbers[DESCRIBED_SAFETY]),
        reorder_point=_known(point),
        order_units=find_order_units(
            available + words[ON_ORDER],
            point,
            order_up_to=float(policy[ORDER_UP_TO]),
            order_units=float(policy[ORDER_UNITS]),
        ),
        recent_units=words[RUN_UNITS],
        recent_sales=words[RUN_SALES],
        recent_expected_units=_known(numbers[DESCRIBED_EXPECTED]),
        recent_ms=max(own_ms - words[RUN_MS], 0) if words[RUN_SALES] else 0,
        evidence=math.log(evidence),
        alerts=list_open_alerts(state),
        counted_ms=words[COUNTED_MS] or None,
        latest_ms=words[LATEST_MS] or None,
    )


def _known(number: float) -> float | None:
    return None if math.isnan(number) else number
