"""Sends events to a server and prints, as JSON, how long each acknowledgement took.

A process of its own, so that its work is not the server's. Requests are encoded beforehand; what a
request costs the sender (about 200 µs) is in the times.
"""

import argparse
import asyncio
import json
import sys
import time
import uuid
from typing import Any

import grpc
import numpy as np
import uvloop

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


async def send_paced(target: str, bodies: list[bytes], rate_per_s: float) -> list[float]:
    """Send bodies at a steady rate whatever the answers do; return seconds of each call."""
    times: list[float] = []
    async with grpc.aio.insecure_channel(target) as channel:
        send = channel.unary_unary(METHOD)

        async def run(body: bytes, due: float) -> None:
            await send(body, timeout=60)
            times.append(time.perf_counter() - due)

        waiting: set[asyncio.Task[Any]] = set()
        begun = time.perf_counter()
        for at, body in enumerate(bodies):
            due = begun + at / rate_per_s
            while (pause := due - time.perf_counter()) > 0.0:
                await asyncio.sleep(pause if pause > 0.002 else 0.0)
            task = asyncio.ensure_future(run(body, time.perf_counter()))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.gather(*waiting)
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
        if own:
            times = runner.run(send_batches(given.target, own))
        else:
            times = runner.run(send_paced(given.target, paced, given.rate))
    elapsed_s = time.perf_counter() - begun
    print(json.dumps({"elapsed_s": elapsed_s, "times_s": times}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
