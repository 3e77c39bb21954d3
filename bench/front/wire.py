"""What calls cost over the wire, each figure beside what it is compared with, in turn."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import grpc
import numpy as np
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from bench import load, workload
from bench.decide.wire import DECIDE_METHOD, check_answer
from bench.echo_server import METHOD as ECHO_METHOD
from bench.front.attacks import run_attacks
from bench.front.sizes import Sizes
from bench.measurement import Figure, Percentiles, summarise
from bench.server_process import ServerProcess, make_serve_command
from instanter.v1 import decision_service_pb2 as messages

_OFFER_COUNT = 3
_STREAMS = 4
_RATE_SHARE = 0.5
_STREAMS_PER_CONNECTION = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """What requests took.

    Attributes
    ----------
    cpu_s
        Processor time of the server.
    elapsed_s
        Time from the first to the last, the generator's start included.
    request_count
        How many there were.
    """

    cpu_s: float
    elapsed_s: float
    request_count: int

    @property
    def cpu_us_each(self) -> float:
        """Microseconds of processor time of one request."""
        return self.cpu_s / self.request_count * 1e6

    @property
    def rate_per_s(self) -> float:
        """Requests a second."""
        return self.request_count / self.elapsed_s


@dataclass(frozen=True, slots=True)
class Target:
    """A method of a running server, and how it is called.

    Attributes
    ----------
    server, method
        The server and the method's path.
    bodies
        Yields the encoded requests of one round, one for each process of the generator.
    request_count
        Requests of each process in a round.
    tls
        Whether the port is encrypted.
    """

    server: ServerProcess
    method: str
    bodies: Iterator[list[bytes]]
    request_count: int
    tls: bool = False

    def spend(self, share: float = 1.0) -> Cost:
        """Call as often as answers come, and return what it cost."""
        bodies = next(self.bodies)
        before_s, began_s = self.server.read_cpu_s(), time.perf_counter()
        result = load.run_load(
            self.server.port,
            self.method,
            bodies,
            request_count=max(int(self.request_count * share), _STREAMS),
            streams=_STREAMS,
            tls=self.tls,
        )
        elapsed_s = time.perf_counter() - began_s
        return Cost(self.server.read_cpu_s() - before_s, elapsed_s, result.request_count)

    def time_singles(self, count: int) -> NDArray[np.int64]:
        """Return the times of calls one after the other on one connection, int64[count] in ns."""
        return load.run_load(
            self.server.port,
            self.method,
            next(self.bodies)[:1],
            request_count=count,
            streams=1,
            keep_latency=True,
            tls=self.tls,
        ).latency_ns

    def time_paced(self, rate_per_s: float, seconds: float) -> NDArray[np.int64]:
        """Return the times of calls at a steady rate, int64[N] in ns."""
        bodies = next(self.bodies)
        return load.run_load(
            self.server.port,
            self.method,
            bodies,
            request_count=max(int(rate_per_s * seconds / len(bodies)), 10),
            streams=_STREAMS,
            rate_per_s=rate_per_s / len(bodies),
            keep_latency=True,
            tls=self.tls,
        ).latency_ns


@contextlib.contextmanager
def serve_echo(kind: str, sizes: Sizes) -> Iterator[Target]:
    """Serve the empty call on the front of that kind, and check that it is answered."""
    count = sizes.stock_echoes if kind == "stock" else sizes.echoes
    with ServerProcess([sys.executable, "-m", "bench.front.echo", kind]) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            ask = channel.unary_unary(f"/{ECHO_METHOD}", Empty.SerializeToString, Empty.FromString)
            assert ask(Empty(), timeout=30) == Empty()
        target = Target(server, ECHO_METHOD, cycle([[b""] * sizes.processes]), count)
        target.spend(0.25)
        yield target


@contextlib.contextmanager
def serve_decide(
    folder: Path, sizes: Sizes, choice: workload.Choice, certificate: Path | None = None
) -> Iterator[Target]:
    """Serve decisions on the fast front, and look at one of them."""
    command = [*make_serve_command(), "--transport", "fast"]
    command += ["--data", str(folder), "--listen", "127.0.0.1:0"]
    if certificate is not None:
        files = f"INSTANTER_TLS_CERTIFICATE={certificate}", f"INSTANTER_TLS_KEY={certificate}"
        command = ["env", *files, *command]
    with ServerProcess(command) as server:
        if certificate is None:
            check_answer(server.port)
        server.wait_settled()
        numbers = cycle(choice.skewed.tolist())
        bodies = (
            [make_request(number) for number in islice(numbers, sizes.processes)]
            for _ in iter(int, 1)
        )
        tls = certificate is not None
        target = Target(server, DECIDE_METHOD, bodies, sizes.decisions, tls)
        target.spend(0.25)
        yield target


def make_request(number: int) -> bytes:
    """Return the encoded request of a decision for one customer."""
    return messages.DecideOffersRequest(
        customer=f"customers/{workload.name_customer(number)}",
        channel=workload.CHANNEL,
        placement=workload.PLACEMENT,
        offer_count=_OFFER_COUNT,
    ).SerializeToString()


def make_certificate(folder: Path) -> Path:
    """Return a file with a certificate for localhost and its key."""
    path = folder / "certificate.pem"
    key = folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(path)],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


def measure_costs(
    fast: Target, stock: Target, reference: Target, decide: Target, sizes: Sizes
) -> dict[str, Figure]:
    """Measure what empty calls and decisions cost the server, and how many it answers."""
    rounds = [
        [target.spend() for target in (stock, fast, decide, reference)] for _ in range(sizes.rounds)
    ]
    by_target = list(zip(*rounds, strict=True))
    stock_costs, fast_costs, decide_costs, reference_costs = by_target
    detail = {
        f"{name}_{what}": float(np.median([getattr(cost, field) for cost in costs]))
        for name, costs in zip(
            ("stock_echo", "fast_echo", "fast_decide", "reference_echo"), by_target, strict=True
        )
        for what, field in (("cpu_us", "cpu_us_each"), ("rate_per_s", "rate_per_s"))
    }
    detail["rounds"] = sizes.rounds

    def cpu(cost: Cost) -> float:
        return cost.cpu_us_each

    def rate(cost: Cost) -> float:
        return cost.rate_per_s

    assert reference_costs, "the reference front stands in the details only"
    return {
        "echo_cpu_ratio": _ratio(fast_costs, stock_costs, cpu, "≤ 0.2", "≤ 0.1", detail),
        "decide_rate_ratio": _ratio(decide_costs, stock_costs, rate, "≥ 2.5", "≥ 5", detail),
        "decide_cpu_ratio": _ratio(decide_costs, stock_costs, cpu, "≤ 0.45", "≤ 0.25", detail),
    }


def measure_latency(fast: Target, decide: Target, sizes: Sizes) -> dict[str, Figure]:
    """Measure how long single calls take, and the tails at half of the peak rate."""
    singles = [
        (decide.time_singles(sizes.single_calls), fast.time_singles(sizes.single_calls))
        for _ in range(sizes.rounds)
    ]
    rate_per_s = find_rate(decide)
    paced = [
        (decide.time_paced(rate_per_s, sizes.paced_s), fast.time_paced(rate_per_s, sizes.paced_s))
        for _ in range(sizes.rounds)
    ]
    p50s = [float(np.median(a) / np.median(b)) for a, b in singles]
    tails = [_tail(a) / _tail(b) for a, b in paced]
    return {
        "decide_p50_ratio": Figure(
            float(np.median(p50s)), "≤ 2", "≤ 1.4", {
                "decide": _pool([a for a, _ in singles]), "echo": _pool([b for _, b in singles]),
            },
        ),
        "tail_ratio": Figure(
            float(np.median(tails)), "≤ 1.5", "≤ 1.1", {
                "decide": _pool([a for a, _ in paced]), "echo": _pool([b for _, b in paced]),
                "rate_per_s": round(rate_per_s),
            },
        ),
    }  # fmt: skip


def measure_tls(plain: Target, encrypted: Target, sizes: Sizes) -> Figure:
    """Decisions a second with TLS ÷ without."""
    rounds = [(encrypted.spend(), plain.spend()) for _ in range(sizes.rounds)]
    detail = {
        "encrypted_cpu_us": float(np.median([a.cpu_us_each for a, _ in rounds])),
        "plain_cpu_us": float(np.median([b.cpu_us_each for _, b in rounds])),
        "cpu_ratio": float(np.median([a.cpu_us_each / b.cpu_us_each for a, b in rounds])),
        "rounds": sizes.rounds,
    }
    ratio = float(np.median([a.rate_per_s / b.rate_per_s for a, b in rounds]))
    return Figure(ratio, "≥ 0.5", "≥ 0.7", detail)


def measure_idle_streams(decide: Target, sizes: Sizes) -> Figure:
    """p99 of decisions beside open streams ÷ without them, at half of the peak rate."""
    rate_per_s = find_rate(decide)
    alone, beside = [], []
    for _ in range(sizes.rounds):
        alone.append(decide.time_paced(rate_per_s, sizes.paced_s))
        with open_idle_streams(decide.server.port, sizes.idle_streams):
            beside.append(decide.time_paced(rate_per_s, sizes.paced_s))
    ratios = [_p99(b) / _p99(a) for a, b in zip(alone, beside, strict=True)]
    detail = {"alone": _pool(alone), "beside": _pool(beside), "streams": sizes.idle_streams}
    return Figure(float(np.median(ratios)), "≤ 1.2", "", detail)


def measure_victim(decide: Target, sizes: Sizes) -> Figure:
    """p99 of one client's decisions while others attack ÷ while nobody does; the worst attack."""
    idle: list[NDArray[np.int64]] = []
    ratios: dict[str, list[float]] = {}
    under: dict[str, list[NDArray[np.int64]]] = {}
    for _ in range(max(sizes.rounds // 2, 1)):
        idle.append(decide.time_singles(sizes.single_calls))
        for name in ("rapid_reset", "header_bomb", "half_messages"):
            with run_attacks(decide.server.port, name, sizes.attack_s) as attack:
                times = decide.time_singles(sizes.single_calls)
            assert attack.count_rounds() > 0, f"{name} did not attack"
            under.setdefault(name, []).append(times)
            ratios.setdefault(name, []).append(_p99(times) / _p99(idle[-1]))
    medians = {name: float(np.median(values)) for name, values in ratios.items()}
    detail = {
        "idle": _pool(idle),
        **{name: _pool(values) for name, values in under.items()},
        **{f"{name}_ratio": value for name, value in medians.items()},
    }
    return Figure(max(medians.values()), "≤ 3", "≤ 1.5", detail)


def find_rate(target: Target) -> float:
    """Return half of the rate that the server's processor time allows."""
    return _RATE_SHARE * 1e6 / target.spend().cpu_us_each


@contextlib.contextmanager
def open_idle_streams(port: int, count: int) -> Iterator[None]:
    """Keep streams open: each watches the server's health, which does not change."""
    with contextlib.ExitStack() as stack:
        watches = []
        for first in range(0, count, _STREAMS_PER_CONNECTION):
            # Channels to one target share a connection unless they are told not to.
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = stack.enter_context(
                grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
            )
            stub = health_pb2_grpc.HealthStub(channel)
            here = min(_STREAMS_PER_CONNECTION, count - first)
            watches += [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(here)]
        for watch in watches:
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        yield


def _ratio(
    first: Sequence[Cost],
    second: Sequence[Cost],
    value: Callable[[Cost], float],
    must: str,
    aim: str,
    detail: dict[str, float],
) -> Figure:
    ratios = [value(a) / value(b) for a, b in zip(first, second, strict=True)]
    low, middle, high = (float(ratio) for ratio in np.percentile(ratios, [25, 50, 75]))
    return Figure(middle, must, aim, {**detail, "ratio_low": low, "ratio_high": high})


def _pool(samples: Sequence[NDArray[np.int64]]) -> Percentiles:
    return summarise(np.concatenate(list(samples)))


def _p99(samples: NDArray[np.int64]) -> float:
    return float(np.percentile(samples, 99))


def _tail(samples: NDArray[np.int64]) -> float:
    return _p99(samples) / float(np.median(samples))
