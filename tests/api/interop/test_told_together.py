"""Streams that are told the same in one pass: each as if it were alone."""

import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from instanter import wire_limits
from instanter.metrics import Metrics
from instanter.rpc.front import Sink
from tests.api.interop.echo import Echo
from tests.api.interop.raw import RawClient, message, value
from tests.api.shop import Server, serve

SIZE_BYTES = 1_000


@pytest.fixture
def echo() -> Echo:
    """What the service was asked, by one test alone."""
    return Echo()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def server(front_name: str, echo: Echo, metrics: Metrics) -> Iterator[Server]:
    with serve(front_name, [echo.describe()], metrics) as served:
        yield served
        for telling in echo.tellings:
            telling.sink.finish()


def open_streams(client: RawClient, echo: Echo, count: int) -> dict[int, Sink]:
    """Open streams; return their sinks by stream."""
    opened: dict[int, Sink] = {}
    for _ in range(count):
        stream_id = client.begin("Tell")
        client.send(stream_id, message(value(b"wait")), end=True)
        client.flush()
        opened[stream_id] = echo.wait_for_telling().sink
    return opened


def make(number: int, size_bytes: int = SIZE_BYTES) -> bytes:
    return BytesValue(value=b"%d" % number + b"." * size_bytes).SerializeToString()


def offer(sinks: list[Sink], raw: bytes) -> list[Any]:
    """Tell all sinks of a group at once; return those that have not taken it."""
    groups = {sink.group for sink in sinks}
    assert len(groups) == 1, "one connection"
    return groups.pop().offer_encoded(raw, sinks)


def offer_on_loop(server: Server, sinks: list[Sink], raw: bytes) -> list[Any]:
    async def offer_there() -> list[Any]:
        return offer(sinks, raw)

    found: list[Any] = server.run(offer_there())
    return found


def read_numbers(client: RawClient, stream_id: int) -> list[int]:
    """Return the numbers of the whole messages that a stream has brought."""
    data, found, at = client.replies[stream_id].data, [], 0
    while len(data) - at >= 5:
        size_bytes = struct.unpack_from(">BI", data, at)[1]
        if len(data) - at - 5 < size_bytes:
            break
        told = BytesValue.FromString(data[at + 5 : at + 5 + size_bytes]).value
        found.append(int(told.rstrip(b".")))
        at += 5 + size_bytes
    return found


def read_until_told(client: RawClient, streams: Any, count: int) -> None:
    """Read until each of some streams has brought so many messages, which are the first ones."""
    while any(len(read_numbers(client, stream_id)) < count for stream_id in streams):
        client.read()
        assert not client.closed
    for stream_id in streams:
        assert read_numbers(client, stream_id) == list(range(count))


@pytest.mark.parametrize("on_loop", [True, False])
def test_all_are_told_everything_in_order_on_whichever_thread(
    server: Server, raw: RawClient, echo: Echo, metrics: Metrics, *, on_loop: bool
) -> None:
    opened = open_streams(raw, echo, 7)
    sinks = list(opened.values())
    for number in range(200):
        refused = (
            offer_on_loop(server, sinks, make(number)) if on_loop else offer(sinks, make(number))
        )
        assert refused == []
        if number % 50 == 49:
            read_until_told(raw, opened, number + 1)
    assert metrics.stream_responses_count == 7 * 200


def test_another_thread_leaves_the_connection_to_the_loop(
    server: Server, raw: RawClient, echo: Echo, fast: None
) -> None:
    opened = open_streams(raw, echo, 3)
    sinks = list(opened.values())
    assert offer_on_loop(server, sinks, make(0)) == []
    read_until_told(raw, opened, 1)
    (connection,) = server.front.exchange.connections  # type: ignore[attr-defined]

    async def wait_for_another() -> int:
        another = threading.Thread(target=offer, args=(sinks, make(1)))
        another.start()
        another.join(20)
        return int(connection._http2.queued_body_size())

    assert server.run(wait_for_another()) == 0
    read_until_told(raw, opened, 2)


def test_what_one_alone_is_told_stays_in_its_place(
    server: Server, raw: RawClient, echo: Echo
) -> None:
    opened = open_streams(raw, echo, 3)
    sinks = list(opened.values())

    async def tell() -> None:
        for number in range(30):
            if number % 3:
                offer(sinks, make(number))
            else:
                for sink in sinks:
                    sink.offer_encoded(make(number))

    server.run(tell())
    read_until_told(raw, opened, 30)


def test_one_that_has_ended_is_named_and_the_others_are_told(
    server: Server, raw: RawClient, echo: Echo
) -> None:
    opened = open_streams(raw, echo, 5)
    sinks = list(opened.values())
    assert offer_on_loop(server, sinks, make(0)) == []
    gone, finished, *kept = opened
    raw.h2.reset_stream(gone)
    raw.flush()
    assert echo.tellings[0].over.wait(20)
    echo.tellings[1].sink.finish()
    assert offer_on_loop(server, sinks, make(1)) == [opened[gone], opened[finished]]
    assert offer_on_loop(server, sinks[2:], make(2)) == []
    read_until_told(raw, kept, 3)
    assert raw.wait(finished).status == "0"
    assert read_numbers(raw, finished) == [0]


def test_one_that_is_full_falls_behind_alone(server: Server, raw: RawClient, echo: Echo) -> None:
    raw.h2.increment_flow_control_window(1 << 24)
    opened = open_streams(raw, echo, 5)
    sinks = list(opened.values())
    deaf = list(opened)[1]
    others = [stream_id for stream_id in opened if stream_id != deaf]
    raw.deaf.add(deaf)
    count, refused = 0, []
    while not refused:
        refused = offer_on_loop(server, sinks, make(count))
        count += 1
        read_until_told(raw, others, count)
        assert count < 5_000, "its reader does not read"
    assert refused == [opened[deaf]]
    assert not opened[deaf].ended
    assert count > wire_limits.STREAM_WAITING_MAX
    assert offer_on_loop(server, [opened[each] for each in others], make(count)) == []
    read_until_told(raw, others, count + 1)
    # It reads again, and finds all that it was told before it was full.
    raw.deaf.clear()
    raw.h2.increment_flow_control_window(1 << 24, deaf)
    raw.flush()
    read_until_told(raw, [deaf], count - 1)


def test_a_connection_at_its_limit_takes_no_more_than_that(
    server: Server, raw: RawClient, echo: Echo, fast: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_bytes = 100_000
    monkeypatch.setattr(wire_limits, "REPLIES_WAITING_SIZE_BYTES_MAX", limit_bytes)
    raw.reads = False
    opened = open_streams(raw, echo, 7)
    (connection,) = server.front.exchange.connections  # type: ignore[attr-defined]
    count = 0
    while not any(sink.ended for sink in opened.values()):
        going = [sink for sink in opened.values() if not sink.ended]
        offer_on_loop(server, going, make(count))
        count += 1
        assert connection._http2.queued_body_size() <= limit_bytes
    assert connection._http2.queued_body_size() > limit_bytes - 2 * SIZE_BYTES
    kept = [stream_id for stream_id, sink in opened.items() if not sink.ended]
    assert kept, "only those end that there was no room for"
    raw.reads = True
    raw.h2.increment_flow_control_window(1 << 24)
    for stream_id in opened:
        raw.h2.increment_flow_control_window(1 << 20, stream_id)
    raw.flush()
    for stream_id in opened.keys() - set(kept):
        assert raw.wait(stream_id).status == "8"
        assert "bytes of replies wait" in raw.replies[stream_id].text
        assert read_numbers(raw, stream_id) == list(range(count - 1))
    read_until_told(raw, kept, count)


def test_a_response_too_long_ends_all(
    server: Server, raw: RawClient, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_streams(raw, echo, 3)
    sinks = list(opened.values())
    assert offer_on_loop(server, sinks, make(0)) == []
    monkeypatch.setattr(wire_limits, "REPLY_SIZE_BYTES_MAX", SIZE_BYTES)
    assert offer_on_loop(server, sinks, make(1)) == sinks
    for stream_id in opened:
        assert raw.wait(stream_id).status == "8"
        assert read_numbers(raw, stream_id) == [0]


def test_a_connection_is_told_in_one_write(
    server: Server, raw: RawClient, echo: Echo, fast: None
) -> None:
    opened = open_streams(raw, echo, 20)
    assert offer_on_loop(server, list(opened.values()), make(0, 10)) == []
    read_until_told(raw, opened, 1)
    assert offer_on_loop(server, list(opened.values()), make(1, 10)) == []
    raw.read()
    assert [read_numbers(raw, each) for each in opened] == [[0, 1]] * 20
