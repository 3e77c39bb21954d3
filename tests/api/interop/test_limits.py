"""The limits of the fast front at work: each is lowered, met, and told."""

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Callable

import pytest
import trustme

from instanter import wire_limits
from instanter.rpc.fast import encrypted_port
from instanter.rpc.fast.exchange import Exchange
from instanter.rpc.fast.front import FastFront
from instanter.wire_limits import MESSAGE_SIZE_BYTES_MAX
from tests.api.interop.echo import Echo
from tests.api.interop.raw import HELLO, RawClient, message, value
from tests.api.interop.test_connections import issue, trust
from tests.api.shop import Server, serve
from tests.api.waiting import wait_until

DEADLINE, EXHAUSTED, INTERNAL = "4", "8", "13"
REFLECTION_PATH = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


@pytest.fixture
def lower(fast: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Give a limit another value for one test."""
    return lambda name, value: monkeypatch.setattr(wire_limits, name, value)


@pytest.fixture
def exchange(fast: None, server: Server) -> Exchange:
    """The front's state, without the connections of earlier tests."""
    assert isinstance(server.front, FastFront)
    exchange = server.front.exchange
    wait_until(lambda: not exchange.connections, "the connections of earlier tests are gone")
    return exchange


def is_closed(client: socket.socket) -> bool:
    """Wait until the server has closed a connection."""
    with contextlib.suppress(ConnectionError):
        while client.recv(1 << 12):
            pass
    return True


def check(server: Server, exchange: Exchange) -> None:
    """Do now what happens once a second."""

    async def run() -> None:
        exchange.check()

    server.run(run())


def test_connections_beyond_the_limit_are_closed(
    lower: Callable[[str, int], None], server: Server, exchange: Exchange
) -> None:
    with RawClient(("127.0.0.1", server.port)) as first:
        first.call()
        lower("CONNECTIONS_MAX", len(exchange.connections))
        with RawClient(("127.0.0.1", server.port)) as second:
            second.wait_for_end()
        assert exchange.closed_counts["too_many_connections"] == 1
        assert first.call().data == HELLO


def test_calls_beyond_the_limit_are_refused_and_later_ones_are_not(
    lower: Callable[[str, int], None], raw: RawClient, echo: Echo
) -> None:
    stream_id = raw.begin("Hold")
    raw.send(stream_id, HELLO, end=True)
    raw.flush()
    echo.wait_for_held()
    lower("CALLS_IN_FLIGHT_MAX", 1)
    refused = raw.call()
    assert refused.status == EXHAUSTED
    assert "retry later" in refused.text
    raw.h2.reset_stream(stream_id)
    assert raw.call().data == HELLO


def test_a_request_that_takes_too_long_to_arrive_is_ended(
    lower: Callable[[str, int], None], server: Server, exchange: Exchange, raw: RawClient
) -> None:
    stream_id = raw.begin()
    raw.send(stream_id, HELLO[:3])
    raw.call()
    check(server, exchange)
    assert raw.call().data == HELLO
    assert not raw.replies[stream_id].ended
    lower("REQUEST_ARRIVAL_NS_MAX", 0)
    check(server, exchange)
    reply = raw.wait(stream_id)
    assert (reply.status, "too long to arrive" in reply.text) == (DEADLINE, True)


def test_a_deadline_ends_a_request_that_has_not_arrived(
    server: Server, exchange: Exchange, raw: RawClient
) -> None:
    stream_id = raw.begin(grpc_timeout="1m")
    raw.send(stream_id, HELLO[:3])
    raw.call()
    reply = raw.replies[stream_id]
    while not reply.ended:
        check(server, exchange)
        raw.call()
    assert reply.status == DEADLINE


@pytest.mark.parametrize(
    "begun",
    [
        struct.pack(">BI", 0, MESSAGE_SIZE_BYTES_MAX + 1),
        message(b"x", flag=7),
        message(b"x", flag=1),
    ],
    ids=["too long", "unknown flag", "undeclared"],
)
def test_a_refused_stream_of_requests_is_taken_off_the_account_once(
    exchange: Exchange, raw: RawClient, begun: bytes
) -> None:
    stream_id = raw.begin(**{":path": REFLECTION_PATH})
    raw.send(stream_id, begun + bytes(10_000))
    assert raw.wait(stream_id).status in (EXHAUSTED, INTERNAL)
    assert exchange.unfinished_size_bytes == 0


def test_a_connection_that_says_nothing_is_closed(
    lower: Callable[[str, int], None], server: Server, exchange: Exchange
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent:
        wait_until(lambda: len(exchange.connections) == 1, "the connection is there")
        check(server, exchange)
        lower("HANDSHAKE_NS_MAX", 0)
        check(server, exchange)
        while silent.recv(1_000):
            pass
    assert exchange.closed_counts["handshake_too_slow"] == 1


def test_a_silent_connection_is_asked_and_lives_when_it_answers(
    lower: Callable[[str, int], None], server: Server, exchange: Exchange, raw: RawClient
) -> None:
    raw.call()
    check(server, exchange)
    lower("KEEPALIVE_NS", 0)
    lower("KEEPALIVE_ANSWER_NS_MAX", 60_000_000_000)
    check(server, exchange)
    # The answer goes out with what is read next.
    assert raw.call().data == HELLO
    check(server, exchange)
    assert raw.call().data == HELLO


@pytest.mark.parametrize("limit", ["CONNECTION_IDLE_NS_MAX", "CONNECTION_AGE_NS_MAX"])
def test_an_idle_or_old_connection_is_ended_in_order(
    lower: Callable[[str, int], None], server: Server, exchange: Exchange, limit: str
) -> None:
    lower(limit, 0)
    with RawClient(("127.0.0.1", server.port)) as client:
        client.call()
        check(server, exchange)
        client.wait_for_end()
    assert [goaway.error_code for goaway in client.goaways] == [0, 0]
    assert client.goaways[0].last_stream_id == 2**31 - 1
    assert client.goaways[1].last_stream_id == 1


def begin_unread(raw: RawClient) -> int:
    """Have a long reply wait until more of it is allowed; return its stream."""
    raw.reads = False
    stream_id = raw.begin("Repeat")
    raw.send(stream_id, message(value(b"500000")), end=True)
    raw.flush()
    while len(raw.replies[stream_id].data) < 65_000:
        raw.read()
    return stream_id


def test_a_reader_that_stops_is_disconnected_in_the_end(
    lower: Callable[[str, int], None], server: Server, exchange: Exchange, raw: RawClient
) -> None:
    begin_unread(raw)
    check(server, exchange)
    stopped_count = exchange.closed_counts.get("reader_stopped", 0)
    lower("READER_STOPPED_NS_MAX", 0)
    check(server, exchange)
    raw.wait_for_end()
    assert exchange.closed_counts["reader_stopped"] == stopped_count + 1


def test_a_reader_that_is_slow_by_its_windows_is_not_one_that_stops(
    lower: Callable[[str, int], None], server: Server, exchange: Exchange, raw: RawClient
) -> None:
    stopped_count = exchange.closed_counts.get("reader_stopped", 0)
    stream_id = begin_unread(raw)
    check(server, exchange)
    lower("READER_STOPPED_NS_MAX", 600_000_000)
    for _ in range(5):
        read_before = len(raw.replies[stream_id].data)
        for window in (stream_id, None):
            raw.h2.increment_flow_control_window(16_000, window)
        raw.flush()
        while len(raw.replies[stream_id].data) < read_before + 16_000:
            assert not raw.closed
            raw.read()
        time.sleep(0.2)
        check(server, exchange)
    assert exchange.closed_counts.get("reader_stopped", 0) == stopped_count
    time.sleep(0.7)
    check(server, exchange)
    raw.wait_for_end()
    assert exchange.closed_counts["reader_stopped"] == stopped_count + 1


def test_a_handshake_counts_as_a_connection(
    lower: Callable[[str, int], None], front_name: str, echo: Echo
) -> None:
    authority = trustme.CA()
    with serve(front_name, [echo.describe()], tls=issue(authority)) as server:
        assert isinstance(server.front, FastFront)
        exchange = server.front.exchange
        address = ("127.0.0.1", server.port)
        lower("CONNECTIONS_MAX", 3)
        silent = [socket.create_connection(address, timeout=20) for _ in range(3)]
        wait_until(lambda: exchange.handshakes_count == 3, "three handshakes have begun")
        with socket.create_connection(address, timeout=20) as refused:
            assert is_closed(refused)
        assert exchange.closed_counts == {"too_many_connections": 1}
        silent.pop().close()
        wait_until(lambda: exchange.handshakes_count == 2, "one handshake is given up")
        with RawClient(address, tls=trust(authority, "h2")) as client:
            assert client.call().data == HELLO
            assert (len(exchange.connections), exchange.handshakes_count) == (1, 2)
        for left in silent:
            left.close()
        wait_until(lambda: not exchange.handshakes_count, "all handshakes are given up")
        assert exchange.closed_counts["handshake_failed"] == 3


def test_a_handshake_that_is_not_made_ends_in_time(
    lower: Callable[[str, int], None], front_name: str, echo: Echo
) -> None:
    with serve(front_name, [echo.describe()], tls=issue(trustme.CA())) as server:
        assert isinstance(server.front, FastFront)
        exchange = server.front.exchange
        lower("HANDSHAKE_NS_MAX", 50_000_000)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent:
            assert is_closed(silent)
        wait_until(lambda: not exchange.handshakes_count, "the handshake is given up")
        assert exchange.closed_counts == {"handshake_failed": 1}


def test_a_server_without_descriptors_takes_connections_again_later(
    fast: None, front_name: str, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    monkeypatch.setattr(encrypted_port, "_NO_ROOM_PAUSE_S", 0.01)
    with serve(front_name, [echo.describe()], tls=issue(authority)) as server:
        assert isinstance(server.front, FastFront)
        (port,) = server.front._ports
        assert isinstance(port, encrypted_port.EncryptedPort)
        opened = port._opened

        class Exhausted:
            """The socket, which has no descriptor left for the first connection."""

            def accept(self) -> None:
                port._opened = opened
                raise OSError(errno.EMFILE, "Too many open files")

            def fileno(self) -> int:
                return opened.fileno()

        port._opened = Exhausted()  # type: ignore[assignment]
        with RawClient(("127.0.0.1", server.port), tls=trust(authority, "h2")) as client:
            assert client.call().data == HELLO
        assert server.front.exchange.closed_counts == {"no_descriptors": 1}
