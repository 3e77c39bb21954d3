"""A server with one method that does nothing, on the front that is named.

`python -m bench.front.echo fast` serves `instanter.bench.EchoService/Echo` on a free port, which it
logs, until SIGTERM; `stock` is grpcio's own server with its thread pool, as its tutorial shows it.
"""

import asyncio
import json
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import uvloop
from google.protobuf.empty_pb2 import Empty

from bench.echo_server import METHOD
from instanter.clock import SystemClock
from instanter.events_log import make_events_log
from instanter.metrics import Metrics
from instanter.rpc.fast.front import FastFront
from instanter.rpc.front import BatchedMethod, Service
from instanter.rpc.grpcio_front import GrpcioFront

KINDS = ("fast", "grpcio", "stock")
"""The fronts: both of Instanter, and grpcio as it comes."""

_STOCK_THREADS = 10


def _echo(requests: list[Any]) -> Sequence[Any]:
    return requests


async def _serve(kind: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    service, name = METHOD.split("/")
    front = (FastFront if kind == "fast" else GrpcioFront)(
        [Service(service, (BatchedMethod(name, Empty, Empty, _echo),))],
        log=make_events_log(sys.stderr, as_json=True),
        metrics=Metrics(),
        clock=SystemClock(),
    )
    await front.start("127.0.0.1", 0)
    await stopping.wait()
    await front.stop(1_000_000_000)


def _serve_stock() -> None:
    service, name = METHOD.split("/")
    server = grpc.server(ThreadPoolExecutor(max_workers=_STOCK_THREADS))
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, _: request,
        request_deserializer=Empty.FromString,
        response_serializer=Empty.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {name: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    server.start()
    sys.stderr.write(json.dumps({"event": "front_started", "front": "stock", "port": port}) + "\n")
    sys.stderr.flush()
    stopping.wait()
    server.stop(1).wait()


if __name__ == "__main__":
    if sys.argv[1] == "stock":
        _serve_stock()
    else:
        uvloop.run(_serve(sys.argv[1]))
