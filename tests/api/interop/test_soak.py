"""Hours of ordinary life in seconds: calls, errors, cancellations, deadlines, clients that come and
go; nothing may grow. `SOAK_SECONDS=600` is the long run."""

import asyncio
import ctypes
import os
import random
from pathlib import Path

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

from instanter.rpc.fast.front import FastFront
from tests.api.interop.echo import NAME
from tests.api.interop.raw import HELLO, RawClient
from tests.api.shop import Server

SECONDS = float(os.environ.get("SOAK_SECONDS", "4"))
MEMORY_GROWTH_SIZE_BYTES_MAX = 24 << 20
CLIENTS = 8


def read_memory_size_bytes() -> int:
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def call_at_random(channel: grpc.aio.Channel, chance: random.Random) -> None:
    """Make one call of a random kind, and end it in a random way."""
    kind = chance.choice(["Say", "Say", "Say", "Repeat", "Hold"])
    value = {"Say": b"missing" if chance.random() < 0.2 else b"hello", "Hold": b""}.get(
        kind, b"%d" % chance.choice([0, 10, 100_000])
    )
    call = channel.unary_unary(f"/{NAME}/{kind}", request_serializer=BytesValue.SerializeToString)(
        BytesValue(value=value), timeout=chance.choice([0.005, 0.05]) if kind == "Hold" else 20
    )
    if chance.random() < 0.3:
        await asyncio.sleep(chance.choice([0, 0, 0.002]))
        call.cancel()
    try:
        await call
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        return


async def live(target: str, seed: int, seconds: float) -> int:
    """Be a client for a while; return how many calls were made."""
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    count = 0
    while loop.time() < end:
        # A local pool of channels of its own: it goes with all its connections.
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            for _ in range(chance.randrange(2, 20)):
                together = chance.randrange(1, 8)
                await asyncio.gather(*(call_at_random(channel, chance) for _ in range(together)))
                count += together
    return count


def leave_at_random(port: int, chance: random.Random) -> None:
    """Connect, begin calls, and go away in the middle of them."""
    with RawClient(("127.0.0.1", port)) as client:
        for _ in range(chance.randrange(0, 10)):
            stream_id = client.begin(chance.choice(["Say", "Hold", "Repeat"]))
            client.send(stream_id, HELLO[: chance.randrange(len(HELLO))])
            if chance.random() < 0.3:
                client.h2.reset_stream(stream_id)
        client.flush()


async def test_nothing_grows(fast: None, server: Server, echo: object) -> None:
    assert isinstance(server.front, FastFront)
    exchange = server.front.exchange
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    await asyncio.gather(*(live(server.target, seed + i, SECONDS / 4) for i in range(CLIENTS)))
    echo.held.clear()
    memory, descriptors = read_memory_size_bytes(), count_descriptors()
    living = [
        asyncio.ensure_future(live(server.target, seed + 100 + i, SECONDS)) for i in range(CLIENTS)
    ]
    while not all(task.done() for task in living):
        await asyncio.to_thread(leave_at_random, server.port, chance)
        echo.held.clear()
    assert sum([await task for task in living]) > 50 * SECONDS
    for _ in range(500):
        if not exchange.calls_count and not exchange.connections:
            break
        await asyncio.sleep(0.01)
    assert exchange.calls_count == 0
    assert not exchange.connections
    assert exchange.unfinished_size_bytes == 0
    assert "bug" not in exchange.closed_counts
    assert "call_failed_by_bug" not in server.log.getvalue()
    assert count_descriptors() <= descriptors + 2
    assert read_memory_size_bytes() - memory < MEMORY_GROWTH_SIZE_BYTES_MAX
