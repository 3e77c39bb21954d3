"""Hours of ordinary life in seconds: calls, errors, cancellations, deadlines, clients that come and
go; nothing may grow. `SOAK_SECONDS=600` is the long run."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from tests.api.interop.echo import NAME
from tests.api.interop.raw import HELLO, RawClient
from tests.conftest import REPOSITORY

SECONDS = float(os.environ.get("SOAK_SECONDS", "4"))
MEMORY_GROWTH_SIZE_BYTES_MAX = 8 << 20
OBJECTS_GROWTH_MAX = 500
CLIENTS = 8


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


class SoakServer:
    """The server's process, and what it says of itself."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.api.interop.soak_server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, cwd=REPOSITORY,
        )  # fmt: skip
        self.port = int(self._read())

    def ask(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._read())
        return answer

    def stop(self) -> None:
        self._process.communicate(timeout=20)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@pytest.fixture
def soak_server() -> Iterator[SoakServer]:
    started = SoakServer()
    yield started
    started.stop()


@pytest.mark.timeout(2 * SECONDS + 120)
async def test_nothing_grows(soak_server: SoakServer) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    target = f"127.0.0.1:{soak_server.port}"
    chance = random.Random(seed)
    await asyncio.gather(*(live(target, seed + i, SECONDS / 4) for i in range(CLIENTS)))
    before = await settle(soak_server)
    living = [asyncio.ensure_future(live(target, seed + 100 + i, SECONDS)) for i in range(CLIENTS)]
    while not all(task.done() for task in living):
        await asyncio.to_thread(leave_at_random, soak_server.port, chance)
    count = sum([await task for task in living])
    after = await settle(soak_server)
    print(count, before, after)
    assert count > 20 * SECONDS
    assert (after["calls"], after["connections"], after["unfinished"]) == (0, 0, 0)
    assert (after["bugs"], after["closed"]) == (0, {})
    assert after["descriptors"] == before["descriptors"]
    assert after["objects"] <= before["objects"] + OBJECTS_GROWTH_MAX
    assert after["memory_size_bytes"] <= before["memory_size_bytes"] + MEMORY_GROWTH_SIZE_BYTES_MAX


async def settle(server: SoakServer) -> dict[str, Any]:
    """Return what the server holds when all clients have gone."""
    for _ in range(500):
        said = await asyncio.to_thread(server.ask)
        if not said["connections"]:
            break
        await asyncio.sleep(0.01)
    return said
