"""What durable writes do to decisions, and how soon an outcome changes them."""

import contextlib
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import grpc
import numpy as np

from bench import load, workload
from bench.decide.wire import DECIDE_METHOD
from bench.front.wire import Target, make_request
from bench.keeper.sizes import Sizes
from bench.keeper.writes import make_singles
from bench.measurement import Figure, summarise
from bench.server_process import ServerProcess, make_serve_command
from instanter.v1 import decision_service_pb2 as messages
from instanter.v1 import decision_service_pb2_grpc as services

_CHANNELS_PER_WORKER = 8


@contextlib.contextmanager
def serve(folder: Path, *, workers: int = 0, pinned: bool = True) -> Iterator[ServerProcess]:
    """Serve a store on the fast front."""
    command = [*make_serve_command(), "--transport", "fast"]
    command += ["--data", str(folder), "--listen", "127.0.0.1:0", "--workers", str(workers)]
    with ServerProcess(command, pinned=pinned) as server:
        server.wait_settled(min(1 + workers, 2))
        yield server


def make_target(
    server: ServerProcess, decisions_per_s: int, choice: workload.Choice, processes: int
) -> Target:
    """Return the method `DecideOffers` of a server, called for customers drawn by `choice`."""
    numbers = cycle(choice.skewed.tolist())
    bodies = ([make_request(number) for number in islice(numbers, processes)] for _ in iter(int, 1))
    return Target(server, DECIDE_METHOD, bodies, decisions_per_s)


def measure_beside(server: ServerProcess, choice: workload.Choice, sizes: Sizes) -> Figure:
    """Measure the times of decisions with events recorded beside them, and without."""
    target = make_target(server, sizes.decisions_per_s, choice, 2)
    target.spend(0.25)
    quiet, busy = [], []
    for at in range(sizes.rounds):
        quiet.append(target.time_paced(sizes.decisions_per_s, sizes.event_seconds))
        generator = make_singles(server.port, sizes, seed=300 + at)
        generator.go()
        busy.append(target.time_paced(sizes.decisions_per_s, sizes.event_seconds))
        generator.finish()
    ratios = [
        float(np.percentile(b, 99) / np.percentile(q, 99)) for b, q in zip(busy, quiet, strict=True)
    ]
    detail = {
        "with_events": summarise(np.concatenate(busy)),
        "without": summarise(np.concatenate(quiet)),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }
    return Figure(float(np.median(ratios)), "≤ 1.5", "≤ 1.15", detail)


def measure_learning_delay(folder: Path, sizes: Sizes, workers: int) -> Figure:
    """Time from the acknowledgement of an outcome until every worker decides with it.

    Many connections are asked in turn, because the operating system hands them out among the
    workers; the delay is that of the last one whose propensity changes.
    """
    delays_ms = []
    with serve(folder, workers=workers, pinned=False) as server, contextlib.ExitStack() as stack:
        count = _CHANNELS_PER_WORKER * max(workers, 1)
        stubs = [services.DecisionServiceStub(_connect(server.port, stack)) for _ in range(count)]
        for at in range(sizes.learning_outcomes):
            customer = f"customers/{workload.name_customer(at % sizes.customers)}"
            ask = messages.DecideOffersRequest(
                customer=customer, channel=workload.CHANNEL, placement=workload.PLACEMENT
            )
            decision = stubs[0].DecideOffers(ask, timeout=20)
            if not decision.offers:
                continue
            before = decision.offers[0]
            outcome = messages.Outcome(
                decision=decision.decision,
                customer=customer,
                offer=before.offer,
                kind=messages.OUTCOME_KIND_REJECTED,
            )
            request = messages.RecordOutcomesRequest(outcomes=[outcome])
            (result,) = stubs[0].RecordOutcomes(request, timeout=20).results
            assert result.state == messages.OUTCOME_STATE_RECORDED, result
            acknowledged = time.perf_counter()
            for stub in stubs:
                while _is_same(stub.DecideOffers(ask, timeout=20), before):
                    assert time.perf_counter() - acknowledged < 10, "nothing was learned"
            delays_ms.append((time.perf_counter() - acknowledged) * 1e3)
    assert delays_ms, "no customer had an offer"
    detail = {
        "workers": workers,
        "outcomes": len(delays_ms),
        "p90_ms": float(np.percentile(delays_ms, 90)),
        "worst_ms": max(delays_ms),
    }
    return Figure(float(np.median(delays_ms)), "≤ 250", "≤ 20", detail)


def measure_workers(folder: Path, choice: workload.Choice, sizes: Sizes) -> Figure:
    """Measure how many decisions two workers make for those of one, on all cores."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(sizes.rounds):
        for workers, found in rates.items():
            with serve(folder, workers=workers, pinned=False) as server:
                target = make_target(server, sizes.decisions_per_s, choice, 4)
                target.spend(0.25)
                found.append(target.spend(4.0).rate_per_s)
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    detail = {f"workers_{count}_rate_per_s": float(np.median(r)) for count, r in rates.items()}
    return Figure(float(np.median(ratios)), "", "", {**detail, "rounds": sizes.rounds})


def _connect(port: int, stack: contextlib.ExitStack) -> grpc.Channel:
    options = [("grpc.use_local_subchannel_pool", 1)]
    return stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}", options=options))


def _is_same(decision: messages.DecideOffersResponse, before: messages.RankedOffer) -> bool:
    """Return whether a decision was made with the propensities of the one before."""
    for offer in decision.offers:
        if offer.offer == before.offer:
            return bool(offer.propensity == before.propensity)
    return False


def is_available() -> bool:
    """Return whether what generates decisions is installed."""
    return load.is_available()
