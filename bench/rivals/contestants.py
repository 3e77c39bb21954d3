"""The contestants: Instanter on each of its fronts, and what a user would pick instead.

Each is started with its best reasonable settings on the server's core, and asked from the
generator's core with the same number of requests in flight.
"""

import json
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench import load, workload
from bench.rivals.redis_process import Redis
from instanter.v1 import decision_service_pb2 as messages

DECIDE_METHOD = "instanter.v1.DecisionService/DecideOffers"
DECIDE_PATH = "/decide-offers"
FETCH_PATH = "/get-online-features"
OFFER_COUNT = 3
IN_FLIGHT = 4
"""Requests in flight for each process of the generator."""

_KEY_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the generator did.

    Attributes
    ----------
    request_count
        Requests answered.
    p50_us, p99_us
        Of the times of single requests; 0 unless asked for.
    """

    request_count: int
    p50_us: float = 0.0
    p99_us: float = 0.0


class Asking(Protocol):
    """Asks a contestant, from one process for each customer."""

    def __call__(self, customers: Sequence[int], request_count: int, *, alone: bool) -> Run:
        """Send `request_count` requests in all; `alone` means one at a time, each timed."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One server, or several that work together, ready to be asked.

    Attributes
    ----------
    key
        In the results.
    title
        For people.
    customer_count
        How many customers it knows, numbered from 0.
    ask
        Asks it.
    read_cpu_s
        Returns the processor time of everything on its side so far.
    """

    key: str
    title: str
    customer_count: int
    ask: Asking
    read_cpu_s: Callable[[], float]


def ask_over_grpc(port: int) -> Asking:
    """Return how to ask for decisions by the contract, of Instanter and of rival (a)."""

    def ask(customers: Sequence[int], request_count: int, *, alone: bool) -> Run:
        bodies = [make_request(number).SerializeToString() for number in customers]
        result = load.run_load(
            port,
            DECIDE_METHOD,
            bodies,
            request_count=max(1, request_count // len(bodies)),
            streams=1 if alone else IN_FLIGHT,
            keep_latency=alone,
        )
        return _summarise(result)

    return ask


def ask_over_http(port: int, path: str, make_body: Callable[[int], bytes]) -> Asking:
    """Return how to ask with JSON over HTTP/1.1."""

    def ask(customers: Sequence[int], request_count: int, *, alone: bool) -> Run:
        result = load.run_http_load(
            port,
            path,
            [make_body(number) for number in customers],
            request_count=max(IN_FLIGHT, request_count // len(customers)),
            connections=1 if alone else IN_FLIGHT,
            keep_latency=alone,
        )
        return _summarise(result)

    return ask


def ask_redis(redis: Redis, command: list[str], customer_count: int) -> Asking:
    """Return how to fetch with Redis' own benchmark program, customers chosen uniformly."""

    def ask(customers: Sequence[int], request_count: int, *, alone: bool) -> Run:
        connections = 1 if alone else IN_FLIGHT * len(customers)
        found = redis.fetch(
            command, request_count=request_count, connections=connections, keys=customer_count
        )
        return Run(found.request_count, found.p50_us, found.p99_us)

    return ask


def make_request(number: int, offer_count: int = OFFER_COUNT) -> messages.DecideOffersRequest:
    """Return the question about one customer."""
    return messages.DecideOffersRequest(
        customer=f"customers/{workload.name_customer(number)}",
        channel=workload.CHANNEL,
        placement=workload.PLACEMENT,
        offer_count=offer_count,
    )


def make_json_request(number: int) -> bytes:
    """Return the same question as JSON, for rival (b)."""
    question = {
        "customer": name_hash(number),
        "channel": workload.CHANNEL,
        "placement": workload.PLACEMENT,
        "offer_count": OFFER_COUNT,
    }
    return json.dumps(question).encode()


def make_fetch(number: int, attributes: Sequence[str]) -> bytes:
    """Return the request for all attributes of one customer, for Feast.

    All of them by name: with the name of a feature service instead, Feast 0.67 parses the
    service's declaration anew for each request, and takes 94 instead of 37 ms.
    """
    features = [f"profile:{name}" for name in attributes]
    customers = [workload.name_customer(number)]
    return json.dumps({"features": features, "entities": {"customer": customers}}).encode()


def name_hash(number: int) -> str:
    """Return the key of a customer's hash, as `redis-benchmark` fills in its numbers."""
    return f"customer:{number:0{_KEY_DIGITS}d}"


def name_packed(number: int) -> str:
    """Return the key of a customer's whole profile in one string."""
    return f"packed:{number:0{_KEY_DIGITS}d}"


def post(port: int, path: str, body: bytes) -> dict[str, object]:
    """Post JSON once, as a client does, and return the JSON that it answers."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def _summarise(result: load.LoadResult) -> Run:
    if not len(result.latency_ns):
        return Run(result.request_count)
    p50_us, p99_us = np.percentile(result.latency_ns, [50, 99]) / 1e3
    return Run(result.request_count, float(p50_us), float(p99_us))
