"""Measures everything that `make bench NAME=keeper` prints, in one run on one machine."""

import sys
from pathlib import Path

from bench import load
from bench.command import run_benchmark, say
from bench.decide.world import open_world
from bench.keeper import decisions, recovery, writes
from bench.keeper.catalogue import make_files
from bench.keeper.replays import measure_bank, measure_hillstrom
from bench.keeper.sizes import FULL, SMALL, Sizes
from bench.measurement import Figure

_BOUNDS = {
    "events_per_s": ("≥ 15000", "≥ 40000"),
    "events_sqlite_ratio": ("≥ 1", "≥ 3"),
    "ack_p50_ratio": ("≤ 5", "≤ 3"),
    "ack_p99_ratio": ("≤ 8", "≤ 4"),
    "decide_p99_ratio": ("≤ 1.5", "≤ 1.15"),
    "learning_delay_ms": ("≤ 250", "≤ 20"),
    "workers_2_rate_ratio": ("", ""),
    "recovery_s": ("≤ 15", "≤ 5"),
    "hillstrom_rate": ("≥ 0.177", "≥ 0.18"),
    "hillstrom_second_half_rate": ("≥ 0.18", "≥ 0.183"),
    "bank_online_difference": ("0", ""),
}
KEYS = tuple(_BOUNDS)
"""The figures, in the order in which they are printed."""

_DELAY_WORKERS = 2


def measure(sizes: Sizes, folder: Path) -> dict[str, Figure]:
    """Measure all figures, with stores below `folder`."""
    found: dict[str, Figure] = {}
    store = folder / "store"
    say(f"writing {sizes.customers:,} profiles")
    with open_world(store, make_files(sizes.offers), sizes.customers) as world:
        choice = world.choice
    with decisions.serve(store) as server:
        say("recording events")
        found |= writes.measure_writes(server.port, folder, sizes)
        if load.is_available():
            say("deciding beside events")
            found["decide_p99_ratio"] = decisions.measure_beside(server, choice, sizes)
    say("learning")
    found["learning_delay_ms"] = decisions.measure_learning_delay(store, sizes, _DELAY_WORKERS)
    if load.is_available():
        say("deciding with one worker and with two")
        found["workers_2_rate_ratio"] = decisions.measure_workers(store, choice, sizes)
    say(f"writing {sizes.recovery_customers:,} profiles")
    other = folder / "recovery"
    with open_world(other, make_files(sizes.offers), sizes.recovery_customers):
        pass
    say("recovering")
    found["recovery_s"] = recovery.measure_recovery(other, sizes)
    say("replaying")
    found |= measure_hillstrom(sizes.replay_rows)
    found["bank_online_difference"] = measure_bank(sizes.replay_rows, folder / "bank")
    return {
        key: found.get(key, Figure(None, *bounds, reason=load.MISSING_REASON))
        for key, bounds in _BOUNDS.items()
    }


if __name__ == "__main__":
    sys.exit(run_benchmark("keeper", __doc__, measure, full=FULL, small=SMALL))
