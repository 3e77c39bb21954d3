"""Movements a second, recorded durably, and what they and open streams do to decisions."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import workload
from bench.decide.world import open_world
from bench.keeper.decisions import make_target, serve
from bench.measurement import Figure, summarise
from bench.stock.processes import fill_positions, make_subscribers, make_writer
from bench.stock.sizes import Sizes
from bench.stock.world import make_files
from instanter.client import Client


def measure_rate(folder: Path, sizes: Sizes) -> Figure:
    """Measure movements a second: clients that send one batch after the other."""
    rates = []
    times: list[NDArray[np.int64]] = []
    count = sizes.clients * sizes.batches * sizes.batch_movements
    with serve(folder / "movements") as server:
        with Client(f"127.0.0.1:{server.port}") as client:
            client.apply_catalogue(make_files(sizes))
        fill_positions(server.port, sizes)
        for at in range(-1, sizes.rounds):
            with make_writer(
                server.port, "batches", sizes, count=sizes.batches, seed=100 + at
            ) as writer:
                writer.tell()
                said = writer.finish()
            if at >= 0:  # the first warms up
                rates.append(count / said["elapsed_s"])
                times.append((np.array(said["times_s"]) * 1e9).astype(np.int64))
    detail = {
        "batch": summarise(np.concatenate(times)),
        "movements": sizes.rounds * count,
        "movements_of_a_batch": sizes.batch_movements,
        "clients": sizes.clients,
        "positions": sizes.sites * (sizes.units + sizes.watched_units),
        "rate_low_per_s": min(rates),
        "rate_high_per_s": max(rates),
    }
    return Figure(float(np.median(rates)), "≥ 15000", "≥ 40000", detail)


def measure_decisions(folder: Path, sizes: Sizes) -> dict[str, Figure]:
    """Measure times of decisions beside movements, and beside open streams, and alone."""
    store = folder / "beside"
    files = workload.make_files(sizes.offers) | make_files(sizes)
    with open_world(store, files, sizes.customers) as world:
        choice = world.choice
    with serve(store) as server:
        fill_positions(server.port, sizes)
        target = make_target(server, sizes.decisions_per_s, choice, 2)
        target.spend(0.25)
        alone, moving, watched = [], [], []
        for at in range(sizes.rounds):
            alone.append(target.time_paced(sizes.decisions_per_s, sizes.decide_seconds))
            calls_per_s = sizes.movements_per_s / sizes.receipt_movements
            # A second longer than the decisions: there are movements beside all of them.
            count = int(calls_per_s * (sizes.decide_seconds + 1.0))
            with make_writer(
                server.port, "steady", sizes, count=count, rate=calls_per_s, seed=500 + at
            ) as writer:
                writer.tell()
                moving.append(target.time_paced(sizes.decisions_per_s, sizes.decide_seconds))
                writer.finish()
            with make_subscribers(server.port, sizes.streams) as subscribers:
                watched.append(target.time_paced(sizes.decisions_per_s, sizes.decide_seconds))
                subscribers.tell()
                assert not subscribers.finish()["ended_count"], "a stream has ended"
    moved = {
        "movements_per_s": sizes.movements_per_s,
        "movements_of_a_call": sizes.receipt_movements,
    }
    return {
        "decide_p99_ratio": _compare(moving, alone, "≤ 1.5", "≤ 1.15", moved),
        "streams_p99_ratio": _compare(watched, alone, "≤ 1.3", "≤ 1.1", {"streams": sizes.streams}),
    }


def _compare(
    beside: list[NDArray[np.int64]],
    alone: list[NDArray[np.int64]],
    must: str,
    aim: str,
    more: dict[str, int],
) -> Figure:
    ratios = [
        float(np.percentile(b, 99) / np.percentile(a, 99))
        for b, a in zip(beside, alone, strict=True)
    ]
    detail = {
        "beside": summarise(np.concatenate(beside)),
        "alone": summarise(np.concatenate(alone)),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        **more,
    }
    return Figure(float(np.median(ratios)), must, aim, detail)
