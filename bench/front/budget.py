"""Where the time of a whole decision goes: `make bench NAME=front.budget`.

The stages are measured within the server (`bench.front.stages`), under the load of `bench.front`;
what is left of its processor time are the event loop and the system calls.
"""

import json
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from bench import load, workload
from bench.command import run_benchmark
from bench.decide.wire import DECIDE_METHOD, check_answer
from bench.decide.world import open_world
from bench.front.sizes import FULL, SMALL, Sizes
from bench.front.stages import STAGES
from bench.front.wire import Target, make_request
from bench.measurement import Figure
from bench.server_process import ServerProcess

REST = "loop_and_system"
"""What is left: the event loop, reading and writing the sockets, waiting for them."""

KEYS = tuple(f"{stage}_share" for stage in (*STAGES, REST))
"""The figures, in the order in which they are printed: shares of a decision's processor time."""


def measure(sizes: Sizes, folder: Path) -> dict[str, Figure]:
    """Measure the shares of all stages, with a store below `folder`."""
    if not load.is_available():
        return {key: Figure(None, reason=load.MISSING_REASON) for key in KEYS}
    files = workload.make_files(sizes.offers)
    with open_world(folder / "store", files, sizes.customers) as world:
        choice = world.choice
    path = folder / "stages.json"
    command = [sys.executable, "-m", "bench.front.stages", str(path), str(folder / "store")]
    with ServerProcess(command) as server:
        check_answer(server.port)
        numbers = cycle(choice.skewed.tolist())
        bodies = (
            [make_request(number) for number in islice(numbers, sizes.processes)]
            for _ in iter(int, 1)
        )
        target = Target(server, DECIDE_METHOD, bodies, sizes.decisions)
        target.spend(0.25)
        rounds = [_spend(target, path) for _ in range(sizes.rounds)]
    return _make_figures(rounds)


def _spend(target: Target, path: Path) -> dict[str, float]:
    """Make the calls of one round; return microseconds of each decision by stage."""
    before = _read(path)
    count = target.spend().request_count
    after = _read(path)
    calls = sum(after["calls"][stage] - before["calls"][stage] for stage in STAGES)
    found = {
        stage: (after["took_ns"][stage] - before["took_ns"][stage]) / count / 1e3
        for stage in STAGES
    }
    measuring_us = calls * after["cost_ns"] / count / 1e3
    whole_us = (after["cpu_ns"] - before["cpu_ns"]) / count / 1e3 - measuring_us
    found[REST] = whole_us - sum(found.values())
    return found | {"whole": whole_us, "measuring": measuring_us, "count": count}


def _read(path: Path) -> dict[str, Any]:
    """Return what the server has measured up to now, once it has been quiet for a while."""
    found: dict[str, Any] = {}
    while True:
        time.sleep(0.12)
        last, found = found, json.loads(path.read_text())
        if last.get("calls") == found["calls"]:
            return found


def _make_figures(rounds: list[dict[str, float]]) -> dict[str, Figure]:
    """Return each stage's share: the median of the rounds."""
    decisions = int(sum(found["count"] for found in rounds))
    whole_us = float(np.median([found["whole"] for found in rounds]))
    measuring_us = float(np.median([found["measuring"] for found in rounds]))
    figures = {}
    for stage in (*STAGES, REST):
        shares = [found[stage] / found["whole"] for found in rounds]
        low, middle, high = (float(share) for share in np.percentile(shares, [25, 50, 75]))
        detail = {
            "us_each": middle * whole_us,
            "share_low": low,
            "share_high": high,
            "whole_us": whole_us,
            "left_out_measuring_us": measuring_us,
            "decisions": decisions,
            "rounds": len(rounds),
        }
        figures[f"{stage}_share"] = Figure(middle, detail=detail)
    return figures


if __name__ == "__main__":
    sys.exit(run_benchmark("budget", __doc__, measure, full=FULL, small=SMALL))
