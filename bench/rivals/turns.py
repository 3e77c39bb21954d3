"""Measures the contestants in turn: what slows the machine down for a while slows all of them."""

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.rivals.contestants import IN_FLIGHT, Contestant
from bench.rivals.sizes import Sizes

_LATENCY_RUNS = 4


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one contestant.

    Attributes
    ----------
    request_count
        Requests behind the rate and the processor time.
    rate_per_core
        Requests a second of processor time, on the server's side: what one core does that is
        kept busy. The median over the rounds.
    rate_per_s
        Requests a second by the clock, with the server's side on one core: lower when the
        generator or a neighbour of the machine was in the way. The median over the rounds.
    cpu_us
        Processor time of one request, everything on the server's side. The median over the rounds.
    p50_us, p99_us, latency_count
        Of requests one at a time, and how many.
    rates_per_core
        float64[rounds].
    """

    request_count: int
    rate_per_core: float
    rate_per_s: float
    cpu_us: float
    p50_us: float
    p99_us: float
    latency_count: int
    rates_per_core: NDArray[np.float64]


def measure(
    contestants: Mapping[str, Contestant], choice: NDArray[np.int64], sizes: Sizes
) -> dict[str, Row]:
    """Measure everybody in every round, the order turned round from one to the next.

    Parameters
    ----------
    contestants
        By key.
    choice
        int64[N]: which customers come next; a contestant that knows fewer takes the remainder.
    sizes
        How much is measured.
    """
    customers = itertools.cycle(choice.tolist())
    counts = {
        key: _find_count(contestant, customers, sizes) for key, contestant in contestants.items()
    }
    spent: dict[str, list[tuple[int, float, float]]] = {key: [] for key in contestants}
    waited: dict[str, list[tuple[int, float, float]]] = {key: [] for key in contestants}
    for at in range(sizes.rounds):
        order = list(contestants.items())
        for key, contestant in order[:: -1 if at % 2 else 1]:
            chosen = _choose(contestant, customers, sizes.generators)
            spent[key].append(_spend(contestant, chosen, counts[key]))
    # One at a time everybody takes longer; a quarter of the requests keeps that in bounds.
    for _ in range(_LATENCY_RUNS):
        for key, contestant in contestants.items():
            count = max(20, min(sizes.requests_latency, counts[key] // 2) // _LATENCY_RUNS)
            run = contestant.ask(_choose(contestant, customers, 1), count, alone=True)
            waited[key].append((run.request_count, run.p50_us, run.p99_us))
    return {key: _summarise(spent[key], waited[key]) for key in contestants}


def _find_count(contestant: Contestant, customers: Iterator[int], sizes: Sizes) -> int:
    """Warm a contestant up, and return how many requests make a run long enough."""
    smallest = sizes.generators * IN_FLIGHT
    chosen = _choose(contestant, customers, sizes.generators)
    contestant.ask(chosen, sizes.requests_first, alone=False)
    count = sizes.requests_first
    for _ in range(2):
        begun = time.perf_counter()
        contestant.ask(chosen, count, alone=False)
        count = max(smallest, round(count * sizes.run_s / (time.perf_counter() - begun)))
    return count


def _choose(contestant: Contestant, customers: Iterator[int], count: int) -> list[int]:
    return [number % contestant.customer_count for number in itertools.islice(customers, count)]


def _spend(contestant: Contestant, customers: list[int], count: int) -> tuple[int, float, float]:
    """Return requests, processor seconds and seconds by the clock of one run."""
    before_s = contestant.read_cpu_s()
    begun = time.perf_counter()
    run = contestant.ask(customers, count, alone=False)
    clock_s = time.perf_counter() - begun
    return run.request_count, contestant.read_cpu_s() - before_s, clock_s


def _summarise(
    spent: list[tuple[int, float, float]], waited: list[tuple[int, float, float]]
) -> Row:
    requests, cpu_s, clock_s = np.array(spent).T
    # The tick of the processor's time is 10 ms; a run that shows none took less than one.
    rates = requests / np.maximum(cpu_s, 0.01)
    latency_counts, p50_us, p99_us = np.array(waited).T
    return Row(
        request_count=int(requests.sum()),
        rate_per_core=float(np.median(rates)),
        rate_per_s=float(np.median(requests / clock_s)),
        cpu_us=float(1e6 / np.median(rates)),
        p50_us=float(np.median(p50_us)),
        p99_us=float(np.median(p99_us)),
        latency_count=int(latency_counts.sum()),
        rates_per_core=rates,
    )
