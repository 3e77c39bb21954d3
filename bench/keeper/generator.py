"""Sends events to a server and prints, as JSON, how long each acknowledgement took.

A process of its own, so that its work is not the server's. Requests are encoded beforehand.
"""

import argparse
import asyncio
import json
import sys
import time
import uuid

import grpc
import numpy as np
import uvloop

from bench.http2 import send_paced
from bench.keeper.catalogue import DEPARTMENTS, EVENT_KIND
from bench.workload import name_customer
from instanter.v1 import attribute_value_pb2 as values
from instanter.v1 import event_service_pb2 as messages

METHOD = "/instanter.v1.EventService/RecordEvents"


def make_request(draw: np.random.Generator, customers: int, count: int) -> bytes:
    """Return an encoded request of `count` events of customers drawn at random."""
    request = messages.RecordEventsRequest()
    for number, amount, department in zip(
        draw.integers(0, customers, count).tolist(),
        draw.exponential(40.0, count).tolist(),
        draw.integers(0, len(DEPARTMENTS), count).tolist(),
        strict=True,
    ):
        request.events.add(
            event_id=uuid.UUID(bytes=draw.bytes(16)).hex,
            customer=f"customers/{name_customer(number)}",
            kind=EVENT_KIND,
            fields={
                "amount": values.AttributeValue(number_value=round(amount, 2)),
                "department": values.AttributeValue(category_value=DEPARTMENTS[department]),
                "online": values.AttributeValue(flag_value=amount > 40.0),
            },
        )
    return request.SerializeToString()


async def send_batches(target: str, bodies: list[list[bytes]]) -> list[float]:
    """Send each client's bodies one after the other; return seconds of each call."""
    times: list[float] = []

    async def run(own: list[bytes]) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            send = channel.unary_unary(METHOD)
            for body in own:
                begun = time.perf_counter()
                await send(body, timeout=60)
                times.append(time.perf_counter() - begun)

    await asyncio.gather(*(run(own) for own in bodies))
    return times


def main() -> int:
    """Send what the arguments say; print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--customers", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--clients", type=int, default=0)
    parser.add_argument("--batches", type=int, default=0)
    parser.add_argument("--events", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    given = parser.parse_args()
    draw = np.random.default_rng(given.seed)

    def make(count: int) -> list[bytes]:
        return [make_request(draw, given.customers, given.events) for _ in range(count)]

    own = [make(given.batches) for _ in range(given.clients)]
    paced = make(int(given.rate * given.seconds))
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        times = runner.run(send_batches(given.target, own)) if own else []
    if not own:
        times = send_paced(given.target, paced, given.rate, METHOD)
    elapsed_s = time.perf_counter() - begun
    print(json.dumps({"elapsed_s": elapsed_s, "times_s": times}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
