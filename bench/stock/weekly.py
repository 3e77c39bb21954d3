"""How well stock-outs are foretold on weekly sales: the alert protocol of the data set's README.

All 811 series run through the engine as one shop that sells each week's units on Wednesday at noon.
At the begin of a week the engine says rate and deviation of each position. Errors are judged on the
last 13 weeks (MASE over the 803 series that vary, by the mean absolute step of the 39 weeks
before). Alerts are judged at the last 13 weeks that two weeks of demand follow: 38 to 50.
"""

import csv
import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.learning import data_folder
from bench.measurement import Figure
from bench.stock.shop import Shop
from bench.stock.sizes import Sizes
from instanter.data.ranking_quality import find_auc, find_average_precision
from instanter.stock.questions import MovementKind

_FILE = "weekly_sales_uci/weekly_sales.csv.gz"
_POLICY = "{negative: allowed}"
_WEEK_MS = 7 * 86_400_000
_MONDAY_MS = 2_500 * _WEEK_MS - 3 * 86_400_000
"""A Monday of 2017; the data set does not say which weeks its are."""
_SALE_MS = 60 * 3_600_000
_TEST_WEEKS = 13
_LEAD_WEEKS = 2
_MEAN_WEEKS = 8
_DEVIATION_MIN = 1.0
"""Stock is drawn in whole units, so nothing is surer than by one."""


def measure_weekly(sizes: Sizes) -> dict[str, Figure]:
    """Measure errors of forecasts, and how well alerts tell what runs out."""
    bounds = {
        "weekly_auc": ("≥ 0.869", "≥ 0.88"),
        "weekly_ap": ("≥ 0.73", "≥ 0.75"),
        "weekly_mase": ("≤ 1.037", "≤ 1.02"),
    }
    file = data_folder() / _FILE
    if not file.exists():
        reason = "the data set weekly_sales_uci is not there"
        return {key: Figure(None, *bound, reason=reason) for key, bound in bounds.items()}
    sales = read_weekly_sales(file)[: sizes.weekly_units or None]
    rates, deviations = forecast(sales)
    auc, average_precision, share = judge_alerts(sales, rates, deviations)
    mase, series = find_mase(sales, rates)
    alerts = {"positions": len(sales), "weeks": _TEST_WEEKS, "share_running_out": share}
    return {
        "weekly_auc": Figure(auc, *bounds["weekly_auc"], alerts),
        "weekly_ap": Figure(average_precision, *bounds["weekly_ap"], alerts),
        "weekly_mase": Figure(mase, *bounds["weekly_mase"], {"series": series}),
    }


def read_weekly_sales(file: Path) -> NDArray[np.int64]:
    """Return the units of each product and week, int64[products, weeks]."""
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    return np.array([[int(float(cell)) for cell in row[1:]] for row in rows], np.int64)


def forecast(sales: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the engine says at the begin of each week: units a week, and their deviation.

    Parameters
    ----------
    sales
        int64[N, T], read-only.

    Returns
    -------
    tuple of arrays
        float64[N, T] each; NaN in the first week.
    """
    count, weeks = sales.shape
    shop = Shop("week", count, _POLICY)
    rates, deviations = (np.full(sales.shape, np.nan) for _ in range(2))
    everything = np.arange(count)
    # Every product was on its shelf from the first week on, whether or not it sold.
    shop.record(MovementKind.RECEIPT, everything, np.full(count, 1_000_000), _MONDAY_MS)
    for week in range(weeks):
        begin_ms = _MONDAY_MS + week * _WEEK_MS
        for unit in range(count if week else 0):
            found = shop.describe(unit, begin_ms)
            if found.demand_rate is not None and found.demand_deviation is not None:
                rates[unit, week] = 7.0 * found.demand_rate
                deviations[unit, week] = found.demand_deviation
        sold = np.flatnonzero(sales[:, week])
        shop.record(MovementKind.SALE, sold, sales[sold, week], begin_ms + _SALE_MS)
    return rates, deviations


def find_mase(sales: NDArray[np.int64], rates: NDArray[np.float64]) -> tuple[float, int]:
    """Return the mean absolute scaled error of the last weeks, and of how many series.

    Hyndman and Koehler 2006; series that never change before have no scale and are left out.
    """
    begin = sales.shape[1] - _TEST_WEEKS
    scales = np.abs(np.diff(sales[:, :begin], axis=1)).mean(axis=1)
    varies = scales > 0.0
    errors = np.abs(sales[:, begin:] - rates[:, begin:]).mean(axis=1)
    return float((errors[varies] / scales[varies]).mean()), int(varies.sum())


def judge_alerts(
    sales: NDArray[np.int64], rates: NDArray[np.float64], deviations: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Return AUC and average precision of the score for running out, and how many do.

    Stock is drawn as the README says: round(mean of 8 weeks × lead × uniform(0.5, 2.5)).
    """
    count, weeks = sales.shape
    draw = np.random.default_rng(0)
    scores, truths = [], []
    last = weeks - _LEAD_WEEKS
    for week in range(last - _TEST_WEEKS + 1, last + 1):
        mean = sales[:, week - _MEAN_WEEKS : week].mean(axis=1)
        stock = np.round(mean * _LEAD_WEEKS * draw.uniform(0.5, 2.5, count))
        deviation = np.sqrt(_LEAD_WEEKS) * deviations[:, week]
        spread = np.maximum(deviation, _DEVIATION_MIN)
        scores.append((_LEAD_WEEKS * rates[:, week] - stock) / spread)
        truths.append(sales[:, week : week + _LEAD_WEEKS].sum(axis=1) > stock)
    score, truth = np.concatenate(scores), np.concatenate(truths)
    return find_auc(score, truth), find_average_precision(score, truth), float(truth.mean())
