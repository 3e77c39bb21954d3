"""How often plunges are told that are none, and how soon those that are: online_retail, shuffled.

The times of all sales lines are shuffled among them, so each product sells at one rate, with
the shop's hours, weekdays and seasons, and every alarm is a false one. At five times in the second
half of the year sales of single products are made tenfold: as many lines of what follows are
theirs. The delay is the number of sales (lines at different times) from then to the alarm.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.learning import data_folder
from bench.measurement import Figure
from bench.stock.shop import Shop
from bench.stock.sizes import Sizes
from instanter.catalogue.stock import Cause
from instanter.kernels.stock_rows import ALERT_WORDS, ALERTS
from instanter.stock.questions import MovementKind, Recorded, TransitionKind

_FILE = "online_retail/online_retail.parquet"
_DECLARED = 0.001
_POLICY = f"{{negative: allowed, plunge: {{false_alarms_per_day: {_DECLARED}, severity: serious}}}}"
_DAY_MS = 86_400_000
_CUTS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""After which shares of the lines sales become tenfold."""
_FACTOR = 10
_TRIALS = 300
"""Products at each of those times."""
_HISTORY_MIN = 50
"""Sales of a product before it can be one of them."""
_DELAY_MAX = 100
_UNITS_MAX = 1_000_000_000
_LINES_MAX = 1_000
"""Movements of one batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Sales:
    """Lines of sales in the order of their times.

    Attributes
    ----------
    times_ms
        int64[N]: milliseconds since 1970.
    products, amounts
        int64[N]: numbers of products, units.
    product_count
        Products.
    """

    times_ms: NDArray[np.int64]
    products: NDArray[np.int64]
    amounts: NDArray[np.int64]
    product_count: int

    def shuffle(self, seed: int) -> "Sales":
        """Return the same lines with their times shuffled."""
        times = np.random.default_rng(seed).permutation(self.times_ms)
        order = np.argsort(times, kind="stable")
        return Sales(times[order], self.products[order], self.amounts[order], self.product_count)


@dataclass(frozen=True, slots=True)
class Run:
    """What a replay found.

    Attributes
    ----------
    alarm_count
        Plunges raised.
    position_days
        Trading days of each product from its first sale on, all together.
    delays
        Sales to the alarm, of each product whose demand was made tenfold.
    """

    alarm_count: int
    position_days: int
    delays: tuple[int, ...]

    def find_ratio(self) -> float:
        """Return alarms a position and day ÷ those declared."""
        return self.alarm_count / self.position_days / _DECLARED


def measure_plunges(sizes: Sizes) -> dict[str, Figure]:
    """Measure false alarms, and the delay to notice a tenfold demand."""
    bounds = {"plunge_false_rate_ratio": ("≤ 2", "≤ 1"), "plunge_delay_sales": ("≤ 8", "≤ 5")}
    file = data_folder() / _FILE
    if not file.exists():
        reason = "the data set online_retail is not there"
        return {key: Figure(None, *bound, reason=reason) for key, bound in bounds.items()}
    recorded = read_sales(file, sizes.plunge_positions)
    found = replay(recorded.shuffle(0), sizes.plunge_trials or _TRIALS)
    as_it_was = replay(recorded, 0)
    delays = np.array(found.delays)
    return {
        "plunge_false_rate_ratio": Figure(
            found.find_ratio(),
            *bounds["plunge_false_rate_ratio"],
            {
                "alarms": found.alarm_count,
                "position_days": found.position_days,
                "ratio_not_shuffled": as_it_was.find_ratio(),
            },
        ),
        "plunge_delay_sales": Figure(
            float(delays.mean()),
            *bounds["plunge_delay_sales"],
            {
                "runs": len(delays),
                "median": float(np.median(delays)),
                "p90": float(np.percentile(delays, 90)),
                "not_noticed": int((delays >= _DELAY_MAX).sum()),
            },
        ),
    }


def read_sales(file: Path, product_count: int) -> Sales:
    """Return the lines with units above 0, of the `product_count` products sold most; 0 for all."""
    table = pq.read_table(file, columns=["StockCode", "Quantity", "InvoiceDate"])
    amounts = table["Quantity"].to_numpy().astype(np.int64)
    sold = amounts > 0
    times = table["InvoiceDate"].to_numpy().astype("datetime64[ms]").astype(np.int64)[sold]
    codes = np.array(table["StockCode"].to_pylist())[sold]
    _, products, counts = np.unique(codes, return_inverse=True, return_counts=True)
    ranks = np.empty(len(counts), np.int64)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    products = ranks[products]
    wanted = products < (product_count or len(counts))
    order = np.argsort(times[wanted], kind="stable")
    return Sales(
        times[wanted][order],
        products[wanted][order],
        np.minimum(amounts[sold][wanted][order], _UNITS_MAX),
        int(products[wanted].max()) + 1,
    )


def replay(sales: Sales, trials: int) -> Run:
    """Run sales through the engine; from each cut on try `trials` products with tenfold demand."""
    shop = Shop("day", sales.product_count, _POLICY)
    draw = np.random.default_rng(1)
    cuts = [round(len(sales.times_ms) * share) for share in _CUTS] if trials else []
    alarms = at = 0
    delays: list[int] = []
    while at < len(sales.times_ms):
        if cuts and at >= cuts[0]:
            cuts.pop(0)
            delays += _try_runs(shop, sales, at, trials, draw)
        time_ms = int(sales.times_ms[at])
        end = min(int(np.searchsorted(sales.times_ms, time_ms, side="right")), at + _LINES_MAX)
        lines = slice(at, end)
        recorded, _ = shop.record(
            MovementKind.SALE, sales.products[lines], sales.amounts[lines], time_ms
        )
        alarms += _count_raised(recorded)
        at = end
    days, day_of_line = np.unique(sales.times_ms // _DAY_MS, return_inverse=True)
    firsts = np.full(sales.product_count, len(days))
    np.minimum.at(firsts, sales.products, day_of_line)
    return Run(alarms, int((len(days) - firsts).sum()), tuple(delays))


def _try_runs(
    shop: Shop, sales: Sales, at: int, trials: int, draw: np.random.Generator
) -> list[int]:
    """Return the delays of products whose demand becomes tenfold behind line `at`."""
    counts = np.bincount(sales.products[:at], minlength=sales.product_count)
    known = np.flatnonzero(counts >= _HISTORY_MIN)
    chosen = draw.choice(known, min(trials, len(known)), replace=False)
    states, profile = shop.states.copy(), shop.profile.copy()
    later = sales.times_ms[at:]
    delays = []
    for product in chosen.tolist():
        theirs = draw.random(len(later)) < _FACTOR * counts[product] / at
        plunge = ALERTS + (Cause.PLUNGE - 1) * ALERT_WORDS
        shop.states[product, plunge : plunge + ALERT_WORDS] = 0
        delays.append(_find_delay(shop, product, np.unique(later[theirs])[:_DELAY_MAX]))
        shop.profile[:] = profile
    shop.states[:] = states
    return delays


def _find_delay(shop: Shop, product: int, times_ms: NDArray[np.int64]) -> int:
    for sale, time_ms in enumerate(times_ms.tolist()):
        one = np.array([product]), np.array([1])
        recorded, _ = shop.record(MovementKind.SALE, *one, time_ms)
        if _count_raised(recorded):
            return sale + 1
    return _DELAY_MAX


def _count_raised(recorded: Recorded) -> int:
    return sum(
        transition.kind == TransitionKind.RAISED and transition.cause == Cause.PLUNGE
        for transition in recorded.transitions
    )
