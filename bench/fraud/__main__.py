"""Measures everything that `make bench NAME=fraud` prints, in one run on one machine.

First what is timed, by itself. What is not (limits with processes killed, how well frauds are
ranked) then runs side by side, in processes of its own: in turn it takes twenty minutes.
"""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.command import run_benchmark, say
from bench.fraud.assessing import measure_assessing
from bench.fraud.backtesting import measure_backtest
from bench.fraud.in_process import measure_in_process
from bench.fraud.replays import measure_handbook, measure_synccfd
from bench.fraud.sizes import FULL, SMALL, Sizes
from bench.fraud.travelling import measure_travel
from bench.fraud.violations import measure_violations
from bench.measurement import Figure

KEYS = (
    "assess_p50_ratio",
    "assess_p99_ratio",
    "assess_rate_ratio",
    "assess_in_process_us",
    "velocity_violations_count",
    "handbook_auc",
    "handbook_ap",
    "handbook_cp100",
    "synccfd_auc",
    "synccfd_ap",
    "travel_false_count",
    "travel_missed_count",
    "card_size_bytes",
    "backtest_per_s",
)
"""The figures, in the order in which they are printed."""

_REPLAYS = (measure_handbook, measure_synccfd)


def measure(sizes: Sizes, folder: Path) -> dict[str, Figure]:
    """Measure all figures, with stores below `folder`."""
    say("assessing")
    found = measure_assessing(folder, sizes)
    say(f"assessing in process, {sizes.rules:,} rules")
    found["assess_in_process_us"] = measure_in_process(sizes)
    say("impossible travel")
    found |= measure_travel(sizes)
    say("back-testing")
    found["backtest_per_s"] = measure_backtest(sizes)
    say(f"replaying both data sets; {sizes.violation_rounds} rounds with a process killed in each")
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        violations = pool.submit(measure_violations, folder, sizes)
        replays = [pool.submit(replay, folder, sizes) for replay in _REPLAYS]
        for each in replays:
            found |= each.result()
        found["velocity_violations_count"] = violations.result()
    return {key: found[key] for key in KEYS}


if __name__ == "__main__":
    sys.exit(run_benchmark("fraud", __doc__, measure, full=FULL, small=SMALL))
