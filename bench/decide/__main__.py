"""Measures everything that `make bench NAME=decide` prints, in one run on one machine."""

import shutil
import sys
from pathlib import Path

from bench import workload
from bench.command import run_benchmark, say
from bench.decide.in_process import (
    measure_decide_ratio,
    measure_growth,
    measure_profile_size,
)
from bench.decide.rules import measure_rules_ratio
from bench.decide.sizes import FULL, SMALL, Sizes
from bench.decide.start import count_late_compilations, measure_help_ratio, measure_start
from bench.decide.wire import measure_over_the_wire
from bench.decide.world import open_world
from bench.learning import measure_learning
from bench.measurement import Figure

_STORE_SIZE_BYTES_EACH = 4_200
_MEMORY_SIZE_BYTES_SPARE = 2 << 30

KEYS = (
    "decide_in_process_ratio",
    "decide_cpu_ratio_reference_front",
    "batch_cpu_ratio",
    "profile_size_bytes",
    "growth_ratio",
    "rules_ratio",
    "start_s",
    "help_ratio",
    "late_compilations_count",
    "bank_log_loss",
    "bank_block_auc_ratio",
    "profiles_auc",
    "profiles_log_loss",
)
"""The figures, in the order in which they are printed."""


def measure(sizes: Sizes, folder: Path) -> dict[str, Figure]:
    """Measure all figures, with stores below `folder`."""
    files = workload.make_files(sizes.offers)
    found: dict[str, Figure] = {
        "rules_ratio": measure_rules_ratio(sizes),
        "help_ratio": measure_help_ratio(),
        **measure_learning(sizes.fresh_rows),
    }
    say(f"writing {sizes.customers:,} profiles")
    with open_world(folder / "main", files, sizes.customers) as world:
        with open_world(folder / "sparse", files, sizes.customers_few, sparse=True) as sparse:
            found["decide_in_process_ratio"] = measure_decide_ratio(world, sparse, sizes)
        found["profile_size_bytes"] = measure_profile_size(world)
        say("calling over gRPC")
        found |= measure_over_the_wire(world, sizes)
    say(f"writing {sizes.customers_many:,} profiles")
    with (
        open_world(folder / "main", files, sizes.customers_many) as many,
        open_world(folder / "few", files, sizes.customers_few) as few,
    ):
        found["growth_ratio"] = measure_growth(few, many, sizes)
    say("starting servers")
    found["start_s"] = measure_start(folder / "main", sizes.customers_many, sizes)
    # The last, because it publishes another catalogue.
    found["late_compilations_count"] = count_late_compilations(folder / "main", files)
    return {key: found[key] for key in KEYS}


def check_room(folder: Path, sizes: Sizes) -> str:
    """Return why there is too little disk or memory for the stores, or an empty text."""
    needed = sizes.customers_many * _STORE_SIZE_BYTES_EACH
    needed += 2 * sizes.customers_few * _STORE_SIZE_BYTES_EACH
    free = shutil.disk_usage(folder).free
    if free < needed:
        return f"{folder} has {free / 1e9:.1f} GB free, the stores take {needed / 1e9:.1f} GB"
    available = _read_available_memory_size_bytes()
    if available < needed + _MEMORY_SIZE_BYTES_SPARE:
        return (
            f"{available / 1e9:.1f} GB of memory are available, the stores take"
            f" {needed / 1e9:.1f} GB and must stay in memory; run it with SMALL=1"
        )
    return ""


def _read_available_memory_size_bytes() -> int:
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    sys.exit(
        run_benchmark("decide", __doc__, measure, full=FULL, small=SMALL, check_room=check_room)
    )
