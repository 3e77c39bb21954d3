"""Measures everything that `make bench NAME=stock` prints, in one run on one machine."""

import sys
from pathlib import Path

from bench import load
from bench.command import run_benchmark, say
from bench.measurement import Figure
from bench.stock.alerts import measure_alerts
from bench.stock.losses import measure_losses
from bench.stock.movements import measure_decisions, measure_rate
from bench.stock.plunges import measure_plunges
from bench.stock.sizes import FULL, SMALL, Sizes
from bench.stock.weekly import measure_weekly

_BOUNDS = {
    "alert_p50_ratio": ("≤ 3", "≤ 1.5"),
    "alert_p99_ratio": ("≤ 4", "≤ 2"),
    "alert_1000_p50_ratio": ("≤ 5", ""),
    "alert_1000_p99_ratio": ("≤ 8", ""),
    "alert_1000_memory_mib": ("≤ 64", ""),
    "movements_per_s": ("≥ 15000", "≥ 40000"),
    "alerts_lost_count": ("0", ""),
    "weekly_auc": ("≥ 0.869", "≥ 0.88"),
    "weekly_ap": ("≥ 0.73", "≥ 0.75"),
    "weekly_mase": ("≤ 1.037", "≤ 1.02"),
    "plunge_false_rate_ratio": ("≤ 2", "≤ 1"),
    "plunge_delay_sales": ("≤ 8", "≤ 5"),
    "decide_p99_ratio": ("≤ 1.5", "≤ 1.15"),
    "streams_p99_ratio": ("≤ 1.3", "≤ 1.1"),
}
KEYS = tuple(_BOUNDS)
"""The figures, in the order in which they are printed."""


def measure(sizes: Sizes, folder: Path) -> dict[str, Figure]:
    """Measure all figures, with stores below `folder`."""
    say(f"alerts to {sizes.subscribers:,} subscribers, and to {sizes.many_subscribers:,}")
    found = measure_alerts(folder, sizes)
    say("recording movements")
    found["movements_per_s"] = measure_rate(folder, sizes)
    if load.is_available():
        say("deciding beside movements and open streams")
        found |= measure_decisions(folder, sizes)
    say("stock-outs foretold on weekly sales, plunges on shuffled ones")
    found |= measure_weekly(sizes) | measure_plunges(sizes)
    say(f"{sizes.lost_alerts:,} alerts, subscribers and keepers killed meanwhile")
    found["alerts_lost_count"] = measure_losses(folder, sizes)
    return {
        key: found.get(key, Figure(None, *bounds, reason=load.MISSING_REASON))
        for key, bounds in _BOUNDS.items()
    }


if __name__ == "__main__":
    sys.exit(run_benchmark("stock", __doc__, measure, full=FULL, small=SMALL))
