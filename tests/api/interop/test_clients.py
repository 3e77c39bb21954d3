"""Calls with the clients that people use, unmodified."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from bench.load import MISSING_REASON, is_available, run_load
from tests.api.interop.echo import NAME, Echo
from tests.api.refusals import read_refusal, refuse
from tests.api.shop import Server, Shop

MIB = 1 << 20
SAID = BytesValue(value=b"said")


def method(channel: Any, name: str) -> Any:
    return channel.unary_unary(
        f"/{NAME}/{name}",
        request_serializer=BytesValue.SerializeToString,
        response_deserializer=BytesValue.FromString,
    )


def is_given_up(held: "Future[BytesValue]") -> bool:
    """Wait until the server has cancelled the work of a call; False when it never does."""
    try:
        held.result(timeout=20)
    except CancelledError:
        return True
    except TimeoutError:
        return False
    return False


def test_a_rich_error_arrives_whole(channel: grpc.Channel) -> None:
    refusal = refuse(method(channel, "Say"), BytesValue(value=b"missing"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.message == "nothing was said: 100 % silence ✓"
    assert (refusal.reason, refusal.domain) == ("SILENCE", "instanter.dev")


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_request_has_a_plain_reply(
    channel: grpc.Channel, compression: grpc.Compression
) -> None:
    request = BytesValue(value=b"again and " * 10_000)
    say = method(channel, "Say")
    assert say(request, timeout=20, compression=compression) == request


def test_metadata_of_all_kinds_are_taken(channel: grpc.Channel) -> None:
    metadata = [("x-text", "v"), ("x-text", "w"), ("x-bytes-bin", bytes(range(256)))]
    request = BytesValue(value=b"m")
    assert method(channel, "Say")(request, timeout=20, metadata=metadata) == request


@pytest.mark.parametrize("size", [0, 1, 65_530, MIB, 5 * MIB])
def test_messages_of_all_sizes_come_back(channel: grpc.Channel, size: int) -> None:
    request = BytesValue(value=b"s" * size)
    assert method(channel, "Say")(request, timeout=20) == request
    assert len(method(channel, "Repeat")(BytesValue(value=b"%d" % size), timeout=20).value) == size


def test_a_deadline_ends_a_call_that_waits_and_its_work(channel: grpc.Channel, echo: Echo) -> None:
    method(channel, "Say")(SAID, timeout=20)
    call = method(channel, "Hold").future(BytesValue(), timeout=1)
    future = echo.wait_for_held()
    assert read_refusal(call).code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert is_given_up(future)


def test_a_cancelled_call_stops_its_work(channel: grpc.Channel, echo: Echo) -> None:
    call = method(channel, "Hold").future(BytesValue(), timeout=20)
    future = echo.wait_for_held()
    call.cancel()
    assert is_given_up(future)
    assert method(channel, "Say")(SAID, timeout=20) == SAID


def test_a_client_that_goes_away_stops_its_work(server: Server, echo: Echo) -> None:
    with grpc.insecure_channel(server.target) as channel:
        call = method(channel, "Hold").future(BytesValue(), timeout=20)
        future = echo.wait_for_held()
    assert call.done()
    assert is_given_up(future)


def test_work_that_is_done_is_answered(channel: grpc.Channel, echo: Echo) -> None:
    call = method(channel, "Hold").future(BytesValue(), timeout=20)
    echo.wait_for_held().set_result(BytesValue(value=b"done"))
    assert call.result(20).value == b"done"


async def test_the_asynchronous_client_makes_many_calls_at_once(
    server: Server, front_name: str
) -> None:
    # The reference refuses streams beyond its limit although the client keeps to it.
    count = 1_000 if front_name == "fast" else 200
    async with grpc.aio.insecure_channel(server.target) as channel:
        say = method(channel, "Say")
        requests = [BytesValue(value=b"%d" % i) for i in range(count)]
        answers = await asyncio.gather(*(say(request, timeout=20) for request in requests))
    assert answers == requests


async def test_the_asynchronous_client_cancels(server: Server, echo: Echo) -> None:
    async with grpc.aio.insecure_channel(server.target) as channel:
        call = method(channel, "Hold")(BytesValue(), timeout=20)
        waiting = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        future = await asyncio.to_thread(echo.wait_for_held)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.to_thread(is_given_up, future)
        assert await method(channel, "Say")(SAID, timeout=20) == SAID


@pytest.mark.skipif(not is_available(), reason=MISSING_REASON)
def test_h2load_gets_an_answer_to_every_call(server: Server, echo: Echo) -> None:
    before = len(echo.turns), sum(echo.turns)
    result = run_load(
        server.port,
        f"{NAME}/Say",
        [BytesValue(value=b"load").SerializeToString()],
        request_count=3_000,
        connections=4,
        streams=16,
    )
    assert result.request_count == 3_000
    assert result.received_size_bytes == 3_000 * 11
    turns, calls = len(echo.turns) - before[0], sum(echo.turns) - before[1]
    assert calls == 3_000
    assert turns < calls, "calls that arrive together are answered together"


def test_buf_curl_finds_the_service_and_calls_it(shop: Shop) -> None:
    buf = Path(sys.executable).with_name("buf")
    if not buf.exists():
        pytest.skip("buf is not installed; it comes with the package buf-bin")
    url = f"http://127.0.0.1:{shop.server.port}/instanter.v1.CatalogueService/GetCatalogue"
    command = [str(buf), "curl", "--http2-prior-knowledge", "--protocol", "grpc"]
    done = subprocess.run(
        [*command, "--reflect", "--data", '{"name": "catalogue"}', url],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(json.loads(done.stdout)["revision"]) >= 1


def test_the_client_of_node_calls_and_reads_errors_and_streams(server: Server, echo: Echo) -> None:
    """`GRPC_JS` names a folder in which `npm install @grpc/grpc-js` was run."""
    folder = os.environ.get("GRPC_JS", "")
    if not folder or shutil.which("node") is None:
        pytest.skip("needs node, and the variable GRPC_JS with a folder that has @grpc/grpc-js")
    program = Path(__file__).with_name("client.js").read_text("utf-8")
    done = subprocess.run(
        ["node", "-e", program, server.target, NAME],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "answers": 200,
        "code": 5,
        "details": "nothing was said: 100 % silence ✓",
        "late": 4,
        "cancelled": 1,
        "streams": [
            {"count": 2_000, "ordered": True, "code": 0, "details": ""},
            {
                "count": 7,
                "ordered": True,
                "code": 8,
                "details": "the stream fell behind; open it again",
            },
            {"count": 0, "ordered": True, "code": 5, "details": "nothing is told"},
        ],
        "left": 1,
    }
    assert all(telling.over.wait(20) for telling in echo.tellings), "also the one it left"
    # (The next test must not take these calls for its own.)
    assert all(is_given_up(echo.wait_for_held()) for _ in ("late", "cancelled"))


def test_k6_finds_the_service_and_calls_it(shop: Shop) -> None:
    """`K6` names the program; the package k6 brings it, which is as large as all others."""
    k6 = os.environ.get("K6") or shutil.which("k6")
    if not k6:
        pytest.skip("k6 is not installed; it comes with the package k6, and K6 says where it is")
    command = [k6, "run", "--quiet", "--no-usage-report", "--no-color", "--address", ""]
    program = Path(__file__).with_name("k6.js")
    for _ in range(3):
        done = subprocess.run(
            [*command, "-e", f"TARGET={shop.server.target}", str(program)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        # k6 itself panics now and then while it registers what reflection has told it.
        if "is already registered" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"decided": [200, 0], "refused": [200, 0]}, done.stderr
