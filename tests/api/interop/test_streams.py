"""Calls that stream their responses: order, back-pressure, and every way in which they end."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.wrappers_pb2 import BytesValue

from instanter import wire_limits
from instanter.rpc.fast.front import FastFront
from tests.api.interop.echo import NAME, Echo, Telling, too_slow
from tests.api.interop.raw import HELLO, RawClient, message, value
from tests.api.refusals import read_refusal
from tests.api.shop import Server, serve
from tests.api.waiting import wait_until

SIZE_BYTES = 1_000


@pytest.fixture
def echo() -> Echo:
    """What the service was asked, by one test alone."""
    return Echo()


@pytest.fixture
def server(front_name: str, echo: Echo) -> Iterator[Server]:
    with serve(front_name, [echo.describe()]) as served:
        yield served
        for telling in echo.tellings:
            telling.sink.finish()


def tell(channel: Any, request: bytes, **options: Any) -> Any:
    """Open a stream."""
    ask = channel.unary_stream(
        f"/{NAME}/Tell",
        request_serializer=BytesValue.SerializeToString,
        response_deserializer=BytesValue.FromString,
    )
    return ask(BytesValue(value=request), **{"timeout": 20, **options})


def say(channel: grpc.Channel) -> None:
    """Make a unary call beside the streams."""
    assert channel.unary_unary(f"/{NAME}/Say")(b"", timeout=20) == b""


def open_raw(client: RawClient, request: bytes, **changes: str) -> int:
    """Open a stream frame by frame."""
    stream_id = client.begin("Tell", **changes)
    client.send(stream_id, message(value(request)), end=True)
    client.flush()
    return stream_id


def read_rest(call: Any) -> tuple[list[bytes], grpc.RpcError | None]:
    """Return what a stream brings, and the error that it ends with."""
    responses = []
    try:
        for response in call:
            responses.append(response.value)
    except grpc.RpcError as error:
        return responses, error
    return responses, None


def numbers(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def wait_until_stalled(telling: Telling) -> int:
    """Wait until nothing more is told, because nothing is read; return how much was."""
    counts: list[int] = []

    def is_stalled() -> bool:
        counts.append(telling.told_count)
        return not telling.sink.wait_for_room(0) and counts[-20:] == [counts[-1]] * 20

    wait_until(is_stalled, "nothing more is told")
    return telling.told_count


def test_responses_come_in_their_order_and_none_gets_lost(channel: grpc.Channel) -> None:
    responses, error = read_rest(tell(channel, b"count 5000"))
    assert error is None
    assert responses == numbers(5_000)


@pytest.mark.parametrize("request_value", [b"count 0", b"count 1"])
def test_a_stream_may_be_short(channel: grpc.Channel, request_value: bytes) -> None:
    responses, error = read_rest(tell(channel, request_value))
    assert error is None
    assert len(responses) == int(request_value.split()[1])


def test_long_responses_are_streamed_through_narrow_windows(channel: grpc.Channel) -> None:
    responses, error = read_rest(tell(channel, b"count 12 300000"))
    assert error is None
    assert [len(response) for response in responses] == [
        len(number) + 300_000 for number in numbers(12)
    ]


async def test_the_asynchronous_client_reads_many_streams_at_once(server: Server) -> None:
    async with grpc.aio.insecure_channel(server.target) as channel:

        async def read() -> list[bytes]:
            return [response.value async for response in tell(channel, b"count 300")]

        found = await asyncio.gather(*(read() for _ in range(20)))
    assert found == [numbers(300)] * 20


def test_what_is_told_is_sent_at_once(channel: grpc.Channel, echo: Echo) -> None:
    call = tell(channel, b"wait")
    telling = echo.wait_for_telling()
    for number in range(5):
        assert telling.sink.offer(BytesValue(value=b"%d" % number))
        assert next(call).value == b"%d" % number
    telling.sink.finish()
    assert read_rest(call) == ([], None)
    assert telling.over.wait(20)
    assert not telling.sink.offer(BytesValue())


def test_the_function_knows_the_deadline_and_the_caller(channel: grpc.Channel, echo: Echo) -> None:
    read_rest(tell(channel, b"count 1"))
    context = echo.wait_for_telling().context
    assert context.deadline_ns is not None
    assert context.peer


def test_an_error_after_some_responses_comes_behind_them(
    server: Server, channel: grpc.Channel
) -> None:
    responses, error = read_rest(tell(channel, b"fail 100"))
    assert responses == numbers(100)
    refusal = read_refusal(error)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (refusal.reason, refusal.metadata) == ("STREAM_TOO_SLOW", {"told_count": "100"})
    assert server.metrics.list_errors() == {("Tell", "RESOURCE_EXHAUSTED"): 1}


@pytest.mark.parametrize(
    ("request_value", "code"),
    [(b"missing", grpc.StatusCode.NOT_FOUND), (b"bug", grpc.StatusCode.INTERNAL)],
)
def test_a_function_that_raises_ends_the_call(
    server: Server, channel: grpc.Channel, request_value: bytes, code: grpc.StatusCode
) -> None:
    responses, error = read_rest(tell(channel, request_value))
    assert responses == []
    assert read_refusal(error).code is code
    assert "secret" not in read_refusal(error).message
    assert server.metrics.streams_open_count == 0


def test_bytes_that_are_no_message_are_refused(server: Server, front_name: str) -> None:
    with RawClient(("127.0.0.1", server.port)) as client:
        assert client.call("Tell", message(b"\xff\xff")).status == "3"
        if front_name == "fast":
            assert client.call("Tell", HELLO + HELLO).status == "12"


def test_a_stream_whose_deadline_has_passed_does_not_begin(
    fast: None, server: Server, echo: Echo
) -> None:
    with RawClient(("127.0.0.1", server.port)) as client:
        stream_id = open_raw(client, b"wait", grpc_timeout="1n")
        assert client.wait(stream_id).status == "4"
    assert echo.tellings == []


def test_a_reader_that_stops_stops_its_stream_and_no_other(server: Server, echo: Echo) -> None:
    with RawClient(("127.0.0.1", server.port)) as slow:
        slow.reads = False
        stream_id = open_raw(slow, b"count 100000 %d" % SIZE_BYTES)
        telling = echo.wait_for_telling()
        # What is in front of the reader is all that it has not been sent.
        while len(slow.replies[stream_id].data) < 65_000:
            slow.read()
        told = wait_until_stalled(telling)
        # One window is on its way, one is ready, and for grpcio one more in its own buffers.
        windows = 3 * wire_limits.STREAM_AHEAD_SIZE_BYTES // SIZE_BYTES
        told_max = wire_limits.STREAM_WAITING_MAX + windows
        assert told <= told_max
        with grpc.insecure_channel(server.target) as channel:
            assert read_rest(tell(channel, b"count 2000"))[0] == numbers(2_000)
            say(channel)
        assert telling.told_count <= told_max
        slow.reads = True
        slow.h2.increment_flow_control_window(1 << 20, stream_id)
        slow.h2.increment_flow_control_window(1 << 20)
        slow.flush()
        while telling.told_count == told:
            slow.read()


def test_a_stopped_reader_reads_on_where_it_stopped(server: Server, echo: Echo) -> None:
    with RawClient(("127.0.0.1", server.port)) as slow:
        slow.reads = False
        stream_id = open_raw(slow, b"count 1000 %d" % SIZE_BYTES)
        wait_until_stalled(echo.wait_for_telling())
        slow.reads = True
        slow.h2.increment_flow_control_window(1 << 21, stream_id)
        slow.h2.increment_flow_control_window(1 << 21)
        reply = slow.wait(stream_id)
    assert reply.status == "0"
    expected = [
        BytesValue(value=number + b"." * SIZE_BYTES).SerializeToString()
        for number in numbers(1_000)
    ]
    assert reply.data == b"".join(message(raw) for raw in expected)


def test_a_subscriber_that_falls_behind_is_cut_and_the_others_are_not(
    server: Server, echo: Echo
) -> None:
    """As alerts are told: to all who watch, by one thread that waits for none of them."""
    count = 2_000
    with (
        RawClient(("127.0.0.1", server.port)) as slow,
        grpc.insecure_channel(server.target) as channel,
        ThreadPoolExecutor(3) as pool,
    ):
        slow.reads = False
        slow_id = open_raw(slow, b"wait")
        echo.wait_for_telling()
        calls = [tell(channel, b"wait") for _ in range(3)]
        reading = [pool.submit(read_rest, call) for call in calls]
        for _ in calls:
            echo.wait_for_telling()
        slow_telling, *others = echo.tellings
        cut_at = 0
        for number in range(count):
            alert = BytesValue(value=b"%d" % number + b"." * SIZE_BYTES)
            if not cut_at and not slow_telling.sink.offer(alert):
                cut_at = number
                slow_telling.sink.fail(too_slow(number))
            for telling in others:
                assert telling.sink.wait_for_room(20)
                assert telling.sink.offer(alert)
        for telling in others:
            telling.sink.finish()
        for read in reading:
            responses, error = read.result(20)
            assert error is None
            assert [int(response.rstrip(b".")) for response in responses] == list(range(count))
        assert wire_limits.STREAM_WAITING_MAX <= cut_at < count
        slow.reads = True
        slow.h2.increment_flow_control_window(1 << 21, slow_id)
        slow.h2.increment_flow_control_window(1 << 21)
        reply = slow.wait(slow_id)
        assert (reply.status, "fell behind" in reply.text) == ("8", True)
        told = BytesValue(value=b"0" + b"." * SIZE_BYTES).SerializeToString()
        assert reply.data.startswith(message(told))
        assert reply.data.count(b"." * SIZE_BYTES) == cut_at
    assert slow_telling.over.wait(20)


def test_a_cancelled_stream_stops_what_makes_it(
    server: Server, channel: grpc.Channel, echo: Echo
) -> None:
    call = tell(channel, b"count 100000000 %d" % SIZE_BYTES)
    assert next(call).value.startswith(b"0")
    telling = echo.wait_for_telling()
    call.cancel()
    assert telling.over.wait(20)
    assert telling.sink.ended
    say(channel)
    assert server.metrics.streams_open_count == 0


def test_a_deadline_ends_a_stream(channel: grpc.Channel, echo: Echo) -> None:
    say(channel)
    call = tell(channel, b"wait", timeout=1)
    telling = echo.wait_for_telling()
    assert telling.sink.offer(BytesValue(value=b"in time"))
    responses, error = read_rest(call)
    assert responses == [b"in time"]
    assert read_refusal(error).code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert telling.over.wait(20)


def test_a_client_that_goes_away_ends_its_streams(server: Server, echo: Echo) -> None:
    with grpc.insecure_channel(server.target) as channel:
        call = tell(channel, b"wait")
        telling = echo.wait_for_telling()
    assert call.done()
    assert telling.over.wait(20)


def test_a_connection_closed_on_one_side_ends_its_streams(server: Server, echo: Echo) -> None:
    with RawClient(("127.0.0.1", server.port)) as client:
        open_raw(client, b"wait")
        telling = echo.wait_for_telling()
        client.socket.shutdown(socket.SHUT_WR)
        assert telling.over.wait(20)


def test_a_reset_of_one_stream_leaves_its_neighbours_alone(server: Server, echo: Echo) -> None:
    with RawClient(("127.0.0.1", server.port)) as client:
        first, second = open_raw(client, b"wait"), open_raw(client, b"wait")
        for _ in range(2):
            echo.wait_for_telling()
        client.h2.reset_stream(first)
        client.flush()
        gone, there = echo.tellings
        assert gone.over.wait(20)
        there.sink.offer(BytesValue(value=b"hello"))
        there.sink.finish()
        assert client.wait(second).data == HELLO


def test_a_client_that_pings_while_responses_flow_is_no_nuisance(
    server: Server, echo: Echo
) -> None:
    """Clients measure the line with a ping for every few responses, as grpcio does."""
    with RawClient(("127.0.0.1", server.port)) as client:
        stream_id = open_raw(client, b"wait")
        telling = echo.wait_for_telling()
        for number in range(3 * wire_limits.PING_STRIKES_MAX):
            assert telling.sink.offer(BytesValue(value=b"%d" % number))
            while len(client.replies[stream_id].data) < 8 * (number + 1):
                client.read()
            client.h2.ping(b"%08d" % number)
            client.flush()
            while len(client.pongs) <= number:
                client.read()
        telling.sink.finish()
        assert client.wait(stream_id).status == "0"
        assert not client.goaways


def test_a_server_that_stops_sends_its_streams_elsewhere_at_once(
    front_name: str, echo: Echo
) -> None:
    with (
        serve(front_name, [echo.describe()]) as server,
        grpc.insecure_channel(server.target) as channel,
    ):
        call = tell(channel, b"wait")
        telling = echo.wait_for_telling()
        telling.sink.offer(BytesValue(value=b"before"))
        waiting = channel.unary_unary(f"/{NAME}/Hold").future(b"", timeout=20)
        held = echo.wait_for_held()
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        responses, error = read_rest(call)
        # At once, and not when other calls have ended or their time is up.
        assert not waiting.done()
        held.set_result(BytesValue())
        assert waiting.result(20) == b""
        assert responses == [b"before"]
        refusal = read_refusal(error)
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert refusal.reason == "CONNECTION_DRAINING"
        assert telling.over.wait(20)
        assert not telling.sink.offer(BytesValue())
        stopper.join(20)
        assert not stopper.is_alive()


def test_an_old_connection_sends_its_streams_elsewhere(
    fast: None, server: Server, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(server.front, FastFront)
    exchange = server.front.exchange
    monkeypatch.setattr(wire_limits, "CONNECTION_AGE_NS_MAX", 0)
    with RawClient(("127.0.0.1", server.port)) as client:
        stream_id = open_raw(client, b"wait")
        telling = echo.wait_for_telling()
        server.loop.call_soon_threadsafe(exchange.check)
        assert client.wait(stream_id).status == "14"
        assert telling.over.wait(20)
        client.wait_for_end()


def test_five_hundred_idle_streams_leave_calls_alone(
    server: Server, channel: grpc.Channel, echo: Echo
) -> None:
    clients = [RawClient(("127.0.0.1", server.port)) for _ in range(5)]
    try:
        streams = [(client, open_raw(client, b"wait")) for client in clients for _ in range(100)]
        for _ in streams:
            echo.wait_for_telling()
        assert server.metrics.streams_open_count == 500
        for _ in range(100):
            say(channel)
        for telling in echo.tellings:
            assert telling.sink.offer(BytesValue(value=b"hello"))
            telling.sink.finish()
        for client, stream_id in streams:
            assert client.wait(stream_id).data == HELLO
    finally:
        for client in clients:
            client.close()


def test_a_bug_at_the_end_of_a_stream_is_logged_and_hurts_nobody(
    server: Server, channel: grpc.Channel, echo: Echo
) -> None:
    call = tell(channel, b"wait")
    telling = echo.wait_for_telling()
    telling.sink.call_when_ended(lambda: 1 / 0)
    telling.sink.finish()
    assert read_rest(call) == ([], None)
    say(channel)
    events = [json.loads(line) for line in server.log.getvalue().splitlines()]
    (bug,) = [event for event in events if event["event"] == "call_failed_by_bug"]
    assert (bug["method"], "ZeroDivisionError" in bug["exception"]) == ("Tell", True)


@pytest.fixture(scope="session")
def uploads() -> str:
    """The name of a service whose methods take streams of requests, as descriptors know it."""
    name = "instanter.test.Uploads"
    file = descriptor_pb2.FileDescriptorProto(
        name="instanter/test/uploads.proto",
        package="instanter.test",
        dependency=["google/protobuf/wrappers.proto"],
    )
    service = file.service.add(name="Uploads")
    for method, server_streaming in (("Upload", False), ("Chat", True)):
        service.method.add(
            name=method,
            input_type=".google.protobuf.BytesValue",
            output_type=".google.protobuf.BytesValue",
            client_streaming=True,
            server_streaming=server_streaming,
        )
    descriptor_pool.Default().Add(file)
    return name


@pytest.mark.parametrize("name", ["Upload", "Chat"])
def test_streams_of_requests_are_refused_and_the_way_is_shown(
    front_name: str, channel: grpc.Channel, uploads: str, name: str
) -> None:
    path = f"/{uploads}/{name}"
    call = (
        channel.stream_unary(path).future(iter([b""]), timeout=20)
        if name == "Upload"
        else channel.stream_stream(path)(iter([b""]), timeout=20)
    )
    refusal = read_refusal(call)
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED
    if front_name == "fast":
        assert path in refusal.message
        assert "--transport grpcio" in refusal.message


def test_a_known_method_that_is_not_served_is_told_from_an_unknown_one(
    fast: None, channel: grpc.Channel
) -> None:
    for path, words in [
        ("/instanter.v1.DecisionService/DecideOffers", "known, but not served"),
        ("/instanter.v1.DecisionService/DecideOffer", "there is no method"),
        ("/", "there is no method"),
        ("/a.b", "there is no method"),
    ]:
        refusal = read_refusal(channel.unary_unary(path).future(b"", timeout=20))
        assert (refusal.code, words in refusal.message) == (grpc.StatusCode.UNIMPLEMENTED, True)
