"""How soon and how often transactions are assessed, beside a bare write and a bare echo."""

import sys
from pathlib import Path

import numpy as np

from bench.fraud.sizes import Sizes
from bench.fraud.worlds import apply_world
from bench.keeper.decisions import serve
from bench.keeper.disk import time_syncs
from bench.keeper.writes import Generator, Sent
from bench.measurement import Figure, summarise
from bench.server_process import ServerProcess

_MODULE = "bench.fraud.generator"
WORLD = "handbook"
"""Its 12 velocities, three rules and model are what the server assesses by."""


def measure_assessing(folder: Path, sizes: Sizes) -> dict[str, Figure]:
    """Measure times at a steady rate and the rate of several clients, each beside its rival."""
    echo = [sys.executable, "-m", "bench.front.echo"]
    with serve(folder / "assess") as server:
        apply_world(server.port, WORLD)
        with ServerProcess([*echo, "fast"]) as bare:
            times = _measure_times(server, bare, folder, sizes)
        with ServerProcess([*echo, "stock"]) as stock:
            rate = _measure_rate(server, stock, sizes)
    return {**times, "assess_rate_ratio": rate}


def _measure_times(
    server: ServerProcess, bare: ServerProcess, folder: Path, sizes: Sizes
) -> dict[str, Figure]:
    assessed, echoed, written, paced = [], [], [], []
    _send(server, sizes, seed=99)
    for at in range(sizes.rounds):
        written.append(time_syncs(folder, sizes.syncs))
        paced.append(time_syncs(folder, sizes.syncs, sizes.assess_rate_per_s))
        echoed.append(_send(bare, sizes, seed=at, echo=True).times_ns)
        assessed.append(_send(server, sizes, seed=100 + at).times_ns)
    detail = {
        "assessed": summarise(np.concatenate(assessed)),
        "bare_write": summarise(np.concatenate(written)),
        # What of the ratio is the disk's own: the same write, as often as transactions come.
        "bare_write_at_this_rate": summarise(np.concatenate(paced)),
        "bare_echo": summarise(np.concatenate(echoed)),
    }

    def ratio(percentile: float) -> float:
        rounds = zip(assessed, written, echoed, strict=True)
        return float(
            np.median(
                [
                    np.percentile(a, percentile)
                    / (np.percentile(w, percentile) + np.percentile(e, percentile))
                    for a, w, e in rounds
                ]
            )
        )

    return {
        "assess_p50_ratio": Figure(ratio(50), "≤ 2", "≤ 1.3", detail),
        "assess_p99_ratio": Figure(ratio(99), "≤ 2", "≤ 1.3", detail),
    }


def _measure_rate(server: ServerProcess, stock: ServerProcess, sizes: Sizes) -> Figure:
    rates, stock_rates = [], []
    for at in range(sizes.rounds):
        count = sizes.clients * sizes.client_calls
        sent = _send(server, sizes, seed=200 + at, clients=sizes.clients)
        rates.append(count / sent.elapsed_s)
        sent = _send(stock, sizes, seed=at, clients=sizes.clients, echo=True)
        stock_rates.append(count / sent.elapsed_s)
    ratios = [own / other for own, other in zip(rates, stock_rates, strict=True)]
    detail = {
        "assessments_per_s": float(np.median(rates)),
        "stock_echoes_per_s": float(np.median(stock_rates)),
        "clients": sizes.clients,
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }
    return Figure(float(np.median(ratios)), "≥ 1.5", "≥ 3", detail)


def _send(
    server: ServerProcess, sizes: Sizes, *, seed: int, clients: int = 0, echo: bool = False
) -> Sent:
    """Send at the steady rate, or with so many clients as fast as they are answered."""
    calls = sizes.client_calls if clients else int(sizes.assess_rate_per_s * sizes.assess_seconds)
    flags = ["--echo"] if echo else []
    generator = Generator(
        server.port,
        module=_MODULE,
        flags=flags,
        cards=sizes.cards,
        seed=seed,
        clients=clients,
        calls=calls,
        rate=sizes.assess_rate_per_s,
    )
    generator.go()
    return generator.finish()
