"""The server of the soak, in a process of its own: its memory is then nobody else's.

`python -m tests.api.interop.soak_server` serves the echo on the fast front, prints its port, and
for every line that it is sent how much it holds.
"""

import asyncio
import ctypes
import gc
import json
import os
import sys
from pathlib import Path

import uvloop

from instanter.clock import SystemClock
from instanter.events_log import make_events_log
from instanter.metrics import Metrics
from instanter.rpc.fast.front import FastFront
from tests.api.interop.echo import Echo


def describe(front: FastFront, metrics: Metrics) -> dict[str, object]:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    exchange = front.exchange
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "calls": exchange.calls_count,
        "connections": len(exchange.connections),
        "unfinished": exchange.unfinished_size_bytes,
        "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "objects": len(gc.get_objects()),
        "memory_size_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "closed": exchange.closed_counts,
        "bugs": sum(n for (_, code), n in metrics.list_errors().items() if code == "INTERNAL"),
    }


async def forget(echo: Echo) -> None:
    """Drop what the service keeps for tests that look at it."""
    while True:
        for kept in (echo.held, echo.said, echo.turns):
            kept.clear()
        await asyncio.sleep(0.1)


async def main() -> None:
    echo, metrics = Echo(), Metrics()
    front = FastFront(
        [echo.describe()], log=make_events_log(sys.stderr), metrics=metrics, clock=SystemClock()
    )
    print(await front.start("127.0.0.1", 0), flush=True)
    loop = asyncio.get_running_loop()
    forgetting = loop.create_task(forget(echo))
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(describe(front, metrics)), flush=True)
    forgetting.cancel()
    await front.stop(0)


if __name__ == "__main__":
    uvloop.run(main())
