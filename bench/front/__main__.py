"""Measures everything that `make bench NAME=front` prints, in one run on one machine."""

import sys
from pathlib import Path

from bench import load, workload
from bench.command import run_benchmark, say
from bench.decide.world import open_world
from bench.front import wire
from bench.front.sizes import FULL, SMALL, Sizes
from bench.measurement import Figure

_RIVALS = {
    "rival_a_ratio": ("≥ 5", "≥ 10"),
    "rival_b_ratio": ("≥ 20", "≥ 50"),
    "rival_c_ratio": ("≥ 20", "≥ 100"),
    "rival_d_ratio": ("≥ 1", "≥ 3"),
}
_BOUNDS = {
    "echo_cpu_ratio": ("≤ 0.2", "≤ 0.1"),
    "decide_rate_ratio": ("≥ 2.5", "≥ 5"),
    "decide_cpu_ratio": ("≤ 0.45", "≤ 0.25"),
    "decide_p50_ratio": ("≤ 2", "≤ 1.4"),
    "tail_ratio": ("≤ 1.5", "≤ 1.1"),
    "tls_rate_ratio": ("≥ 0.5", "≥ 0.7"),
    "idle_streams_p99_ratio": ("≤ 1.2", ""),
    **_RIVALS,
    "victim_p99_ratio": ("≤ 3", "≤ 1.5"),
}
KEYS = tuple(_BOUNDS)
"""The figures, in the order in which they are printed."""


def measure(sizes: Sizes, folder: Path) -> dict[str, Figure]:
    """Measure all figures, with a store below `folder`."""
    found = {
        key: Figure(None, must, aim, reason="measured by `make bench-rivals`")
        for key, (must, aim) in _RIVALS.items()
    }
    if not load.is_available():
        return {
            key: found.get(key, Figure(None, *bounds, reason=load.MISSING_REASON))
            for key, bounds in _BOUNDS.items()
        }
    say(f"writing {sizes.customers:,} profiles")
    with open_world(folder / "store", workload.make_files(sizes.offers), sizes.customers) as world:
        choice = world.choice
    say("starting servers")
    with (
        wire.serve_echo("fast", sizes) as fast,
        wire.serve_echo("stock", sizes) as stock,
        wire.serve_echo("grpcio", sizes) as reference,
        wire.serve_decide(folder / "store", sizes, choice) as decide,
    ):
        say("measuring costs")
        found |= wire.measure_costs(fast, stock, reference, decide, sizes)
        say("measuring latency")
        found |= wire.measure_latency(fast, decide, sizes)
        found["idle_streams_p99_ratio"] = wire.measure_idle_streams(decide, sizes)
        say("attacking")
        found["victim_p99_ratio"] = wire.measure_victim(decide, sizes)
    found["tls_rate_ratio"] = _measure_tls(folder, sizes, choice)
    return {key: found[key] for key in KEYS}


def _measure_tls(folder: Path, sizes: Sizes, choice: workload.Choice) -> Figure:
    """Measure decisions with and without TLS on two servers, each with a store of its own."""
    say("measuring TLS")
    with open_world(folder / "other", workload.make_files(sizes.offers), sizes.customers):
        pass
    certificate = wire.make_certificate(folder)
    with (
        wire.serve_decide(folder / "store", sizes, choice) as plain,
        wire.serve_decide(folder / "other", sizes, choice, certificate) as encrypted,
    ):
        return wire.measure_tls(plain, encrypted, sizes)


if __name__ == "__main__":
    sys.exit(run_benchmark("front", __doc__, measure, full=FULL, small=SMALL))
