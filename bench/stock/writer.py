"""Sends stock movements, or empty calls, and notes when each was answered; a process of its own.

It waits for answers without spinning: it shares its core with the subscribers.
"""

import argparse
import gc
import json
import select
import socket
import sys
import time

import numpy as np

from bench.http2 import PREFACE, Answers, encode_call, encode_headers, send_closed
from bench.stock.sizes import FULL, SMALL, Sizes
from bench.stock.wire import Till
from bench.stock.world import RECORD_METHOD, AlertingMovements, make_sales
from instanter.v1 import stock_service_pb2 as messages

_IN_FLIGHT_MAX = 200
_ECHO_METHOD = "/instanter.bench.EchoService/Echo"
"""That of `bench.echo_server`, which imports half of the server."""


def send_one_by_one(
    target: str, method: str, bodies: list[bytes], rate_per_s: float
) -> tuple[list[int], list[int]]:
    """Make one call after the other, at a steady pace as long as answers come in time.

    Returns
    -------
    tuple of list of int
        When each was sent, and when it was answered, by the monotonic clock in ns.
    """
    till = Till(target, method)
    sent: list[int] = []
    answered: list[int] = []
    begun_s = time.perf_counter()
    for at, body in enumerate(bodies):
        wait_s = begun_s + at / rate_per_s - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        sent_ns, answered_ns = till.call(body)
        sent.append(sent_ns)
        answered.append(answered_ns)
    till.close()
    return sent, answered


def send_steadily(target: str, bodies: list[bytes], rate_per_s: float) -> list[float]:
    """Send bodies at a steady rate whatever the answers do; return seconds from each one's due."""
    host, _, port = target.rpartition(":")
    block = encode_headers(RECORD_METHOD)
    frames = [encode_call(2 * at + 1, block, body) for at, body in enumerate(bodies)]
    times = [0.0] * len(bodies)
    dues: list[float] = []
    answers = Answers()
    answered_count = 0
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(PREFACE)
        begun_s = time.perf_counter()
        while answered_count < len(bodies):
            due_s = begun_s + len(dues) / rate_per_s
            wait_s: float | None = None
            if len(dues) < len(bodies) and len(dues) - answered_count < _IN_FLIGHT_MAX:
                wait_s = max(due_s - time.perf_counter(), 0.0)
                if wait_s == 0.0:
                    connection.sendall(answers.take_replies() + frames[len(dues)])
                    dues.append(due_s)
            readable, _, _ = select.select([connection], [], [], wait_s)
            if not readable:
                continue
            received = connection.recv(1 << 16)
            assert received, "the server hung up"
            now_s = time.perf_counter()
            for stream in answers.feed(received):
                times[stream // 2] = now_s - dues[stream // 2]
                answered_count += 1
    answers.check()
    return times


def _make_alerting(sizes: Sizes, first: int, count: int) -> list[bytes]:
    alerting = AlertingMovements(sizes, first)
    return [
        messages.RecordStockMovementsRequest(movements=[alerting.make()]).SerializeToString()
        for _ in range(count)
    ]


def main() -> int:
    """Send what the arguments say; print `ready`, then one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("what", choices=["alerting", "echo", "batches", "steady"])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sizes = SMALL if given.small else FULL
    draw = np.random.default_rng(given.seed)
    bodies: list[bytes] = []
    batches: list[list[bytes]] = []
    if given.what == "alerting":
        bodies = _make_alerting(sizes, given.first, given.count)
    elif given.what == "echo":
        bodies = [b""] * given.count
    elif given.what == "steady":
        bodies = [make_sales(draw, sizes, sizes.receipt_movements) for _ in range(given.count)]
    else:
        batches = [
            [make_sales(draw, sizes, sizes.batch_movements) for _ in range(given.count)]
            for _ in range(sizes.clients)
        ]
    gc.collect()
    gc.disable()
    print("ready", flush=True)
    sys.stdin.readline()
    begun_s = time.perf_counter()
    found: dict[str, object] = {}
    if given.what == "batches":
        found["times_s"] = send_closed(given.target, batches, RECORD_METHOD)
    elif given.what == "steady":
        found["times_s"] = send_steadily(given.target, bodies, given.rate)
    else:
        method = _ECHO_METHOD if given.what == "echo" else RECORD_METHOD
        sent, answered = send_one_by_one(given.target, method, bodies, given.rate)
        found |= {"sent_ns": sent, "answered_ns": answered}
    found["elapsed_s"] = time.perf_counter() - begun_s
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
