"""What a decision costs the server over gRPC: processor time beside an empty call, and in batches.

Processor time, not throughput, because the generator and the server share a small machine; and
always beside something else that is measured in turn, because the machine is not always as fast.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import grpc
import numpy as np

from bench import load, workload
from bench.decide.sizes import Sizes
from bench.decide.world import World
from bench.echo_server import METHOD as ECHO_METHOD
from bench.measurement import Figure, summarise
from bench.server_process import ServerProcess
from instanter.v1 import decision_service_pb2 as messages

DECIDE_METHOD = "instanter.v1.DecisionService/DecideOffers"
BATCH_METHOD = "instanter.v1.DecisionService/BatchDecideOffers"
_OFFER_COUNT = 3
_STREAMS = 4
_RATE_SHARE = 0.5
_GENERATORS_AT_RATE = 2


class WrongAnswerError(Exception):
    """The server answered, but not with a decision: its speed would mean nothing."""


@dataclass(frozen=True, slots=True)
class _Cost:
    """Processor time of a server, and the requests it was for."""

    cpu_s: float
    request_count: int

    @property
    def us_each(self) -> float:
        """Microseconds of processor time of one request."""
        return self.cpu_s / self.request_count * 1e6


def measure_over_the_wire(world: World, sizes: Sizes) -> dict[str, Figure]:
    """Measure everything that needs a server and the generator."""
    if not load.is_available():
        return {
            "decide_cpu_ratio_reference_front": Figure(
                None, "≤ 1.5", "≤ 1.2", reason=load.MISSING_REASON
            ),
            "batch_cpu_ratio": Figure(None, "≤ 1.6", "≤ 1.1", reason=load.MISSING_REASON),
        }
    with ServerProcess.serve(world.folder) as server, ServerProcess.echo() as echo:
        check_answer(server.port)
        server.wait_settled()
        singles = _make_singles(world, sizes)
        return {
            "decide_cpu_ratio_reference_front": _measure_decide(server, echo, singles, sizes),
            "batch_cpu_ratio": _measure_batch(server, world, sizes),
        }


def check_answer(port: int, customer: str = "c00000000") -> messages.DecideOffersResponse:
    """Ask for one decision as a client does, and look at it.

    Raises
    ------
    WrongAnswerError
        The profile was not used, or no model was.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary(
            f"/{DECIDE_METHOD}",
            request_serializer=messages.DecideOffersRequest.SerializeToString,
            response_deserializer=messages.DecideOffersResponse.FromString,
        )
        answer: messages.DecideOffersResponse = ask(_make_request(customer), timeout=30)
    if answer.profile_state != messages.PROFILE_STATE_KNOWN or answer.model_revision < 1:
        raise WrongAnswerError(f"not a decision on profile and models: {answer}")
    return answer


def _measure_decide(
    server: ServerProcess, echo: ServerProcess, singles: list[list[bytes]], sizes: Sizes
) -> Figure:
    """Processor time of a decision ÷ that of an empty call, on the same front."""
    rounds = []
    latencies = []
    empty = [b""] * sizes.wire_processes
    _spend(server, DECIDE_METHOD, singles[0], sizes.wire_requests // 4)
    _spend(echo, ECHO_METHOD, empty, sizes.wire_requests // 4)
    for messages_of_round in singles:
        decide = _spend(server, DECIDE_METHOD, messages_of_round, sizes.wire_requests)
        nothing = _spend(echo, ECHO_METHOD, empty, sizes.wire_requests)
        rounds.append((decide, nothing))
    decide, nothing = _add(cost for cost, _ in rounds), _add(cost for _, cost in rounds)
    # Latency is quoted at a rate that the server can keep up, never at its peak; and from two
    # generators only, for more of them would wait for one another on their core.
    rate_per_s = _RATE_SHARE * decide.request_count / decide.cpu_s
    for messages_of_round in singles[:4]:
        result = load.run_load(
            server.port,
            DECIDE_METHOD,
            messages_of_round[:_GENERATORS_AT_RATE],
            request_count=sizes.wire_requests,
            streams=_STREAMS,
            rate_per_s=rate_per_s / _GENERATORS_AT_RATE,
            keep_latency=True,
        )
        latencies.append(result.latency_ns)
    ratios = [a.us_each / b.us_each for a, b in rounds]
    return Figure(
        decide.us_each / nothing.us_each,
        "≤ 1.5",
        "≤ 1.2",
        {
            "decide_cpu_us": round(decide.us_each, 1),
            "echo_cpu_us": round(nothing.us_each, 1),
            "ratio_low": float(np.percentile(ratios, 25)),
            "ratio_high": float(np.percentile(ratios, 75)),
            "requests": decide.request_count,
            "rate_per_s": round(rate_per_s),
            "latency_at_that_rate": summarise(np.concatenate(latencies)),
        },
    )


def _measure_batch(server: ServerProcess, world: World, sizes: Sizes) -> Figure:
    """Processor time of a decision in a batch call ÷ that of one decided in process."""
    batches = [_make_batch(world, sizes, at) for at in range(2 * sizes.wire_rounds)]
    requests = max(sizes.wire_requests // sizes.batch_size, 4)
    _spend(server, BATCH_METHOD, batches[:2], requests)
    rounds = []
    for at in range(sizes.wire_rounds):
        batched = _spend(server, BATCH_METHOD, batches[2 * at : 2 * at + 2], 4 * requests)
        single_us = world.spend_cpu_us(sizes.wire_requests)
        rounds.append((batched, single_us))
    batched = _add(cost for cost, _ in rounds)
    single_us = float(np.mean([us for _, us in rounds]))
    batched_us = batched.us_each / sizes.batch_size
    return Figure(
        batched_us / single_us,
        "≤ 1.6",
        "≤ 1.1",
        {
            "batched_cpu_us": round(batched_us, 1),
            "in_process_cpu_us": round(single_us, 1),
            "decisions": batched.request_count * sizes.batch_size,
            "batch_size": sizes.batch_size,
        },
    )


def _spend(
    server: ServerProcess, method: str, bodies: Sequence[bytes], request_count: int
) -> _Cost:
    """Send requests and return what they cost the server."""
    before_s = server.read_cpu_s()
    result = load.run_load(
        server.port, method, bodies, request_count=request_count, streams=_STREAMS
    )
    return _Cost(server.read_cpu_s() - before_s, result.request_count)


def _add(costs: Iterable[_Cost]) -> _Cost:
    every = list(costs)
    return _Cost(sum(cost.cpu_s for cost in every), sum(cost.request_count for cost in every))


def _make_request(customer: str) -> messages.DecideOffersRequest:
    return messages.DecideOffersRequest(
        customer=f"customers/{customer}",
        channel=workload.CHANNEL,
        placement=workload.PLACEMENT,
        offer_count=_OFFER_COUNT,
    )


def _make_singles(world: World, sizes: Sizes) -> list[list[bytes]]:
    """Return for each round the requests of its generators, customers chosen skewed."""
    customers = cycle(world.choice.skewed.tolist())
    return [
        [
            _make_request(workload.name_customer(number)).SerializeToString()
            for number in islice(customers, sizes.wire_processes)
        ]
        for _ in range(sizes.wire_rounds)
    ]


def _make_batch(world: World, sizes: Sizes, at: int) -> bytes:
    start = at * sizes.batch_size
    numbers = np.take(world.choice.skewed, range(start, start + sizes.batch_size), mode="wrap")
    return messages.BatchDecideOffersRequest(
        requests=[_make_request(workload.name_customer(int(number))) for number in numbers]
    ).SerializeToString()
