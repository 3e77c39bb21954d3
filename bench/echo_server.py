"""A server with one method that does nothing, on the reference front: what a call alone costs.

`python -m bench.echo_server` serves `instanter.bench.EchoService/Echo` on a free port, which it
logs, until SIGTERM.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import Any

import uvloop
from google.protobuf.empty_pb2 import Empty

from instanter.clock import SystemClock
from instanter.events_log import make_events_log
from instanter.metrics import Metrics
from instanter.rpc.front import BatchedMethod, Service
from instanter.rpc.grpcio_front import GrpcioFront

METHOD = "instanter.bench.EchoService/Echo"


def _echo(requests: list[Any]) -> Sequence[Any]:
    return requests


async def _serve() -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    service, name = METHOD.split("/")
    front = GrpcioFront(
        [Service(service, (BatchedMethod(name, Empty, Empty, _echo),))],
        log=make_events_log(sys.stderr, as_json=True),
        metrics=Metrics(),
        clock=SystemClock(),
    )
    await front.start("127.0.0.1", 0)
    await stopping.wait()
    await front.stop(1_000_000_000)


if __name__ == "__main__":
    uvloop.run(_serve())
