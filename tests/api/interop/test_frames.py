"""Calls frame by frame: what a client may do, and the answers to what it may not."""

import gzip
import itertools
import random
import threading
import zlib
from typing import Any

import h2.settings
import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instanter.rpc.fast import intake
from instanter.rpc.fast.front import FastFront
from instanter.rpc.fast.wire import decompress
from instanter.wire_limits import MESSAGE_SIZE_BYTES_MAX, STREAMS_PER_CONNECTION_MAX
from tests.api.interop.echo import Echo
from tests.api.interop.raw import HELLO, RawClient, message, value
from tests.api.shop import Server
from tests.api.waiting import wait_until

OK, UNKNOWN, INVALID_ARGUMENT, DEADLINE, EXHAUSTED = "0", "2", "3", "4", "8"
UNIMPLEMENTED, INTERNAL = "12", "13"


def test_a_call_is_answered_with_message_and_trailers(raw: RawClient) -> None:
    reply = raw.call()
    assert reply.headers[":status"] == "200"
    assert reply.headers["content-type"].startswith("application/grpc")
    assert reply.data == HELLO
    assert reply.trailers["grpc-status"] == OK


def test_many_calls_on_one_connection_are_answered_each_with_its_own(raw: RawClient) -> None:
    streams = {}
    for i in range(200):
        stream_id = raw.begin()
        streams[stream_id] = message(value(b"%d" % i))
        raw.send(stream_id, streams[stream_id], end=True)
    for stream_id, body in streams.items():
        assert raw.wait(stream_id).data == body


def test_an_error_is_one_block_of_headers(raw: RawClient) -> None:
    reply = raw.call(body=message(value(b"missing")))
    assert reply.headers[":status"] == "200"
    assert reply.headers["grpc-status"] == "5"
    assert reply.text == "nothing was said: 100 %25 silence %E2%9C%93"
    details = reply.headers["grpc-status-details-bin"]
    assert not details.endswith("=")
    assert (reply.data, reply.trailers) == (b"", {})


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
def test_a_message_may_come_in_pieces(raw: RawClient, pieces: int) -> None:
    stream_id = raw.begin()
    for at in range(0, len(HELLO), pieces):
        raw.send(stream_id, HELLO[at : at + pieces])
        raw.flush()
    raw.send(stream_id, b"", end=True)
    assert raw.wait(stream_id).data == HELLO


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=100),
    cuts=st.lists(st.integers(0, 107), max_size=6),
    padding=st.integers(0, 30),
)
def test_cuts_and_padding_change_nothing(
    fast: None, raw: RawClient, body: bytes, cuts: list[int], padding: int
) -> None:
    whole = message(value(body))
    stream_id = raw.begin()
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    for start, end in itertools.pairwise(places):
        raw.h2.send_data(stream_id, whole[start:end], pad_length=padding or None)
    raw.send(stream_id, b"", end=True)
    reply = raw.wait(stream_id)
    assert (reply.status, reply.data) == (OK, whole)


def test_a_request_may_end_with_trailers(raw: RawClient) -> None:
    stream_id = raw.begin()
    raw.send(stream_id, HELLO)
    raw.h2.send_headers(stream_id, [("x-checksum", "1")], end_stream=True)
    assert raw.wait(stream_id).data == HELLO


@pytest.mark.parametrize("timeout", ["1H", "2M", "60S", "60000m", "60000000u", "99999999n"])
def test_deadlines_are_understood_in_all_units(raw: RawClient, timeout: str) -> None:
    assert raw.call(grpc_timeout=timeout).status == OK


@pytest.mark.parametrize("method", ["Say", "Repeat", "Hold"])
@pytest.mark.parametrize("timeout", ["1n", "100n", "0m"])
def test_a_call_that_comes_too_late_is_not_executed(
    fast: None, raw: RawClient, echo: Echo, method: str, timeout: str
) -> None:
    before = len(echo.said), len(echo.held)
    reply = raw.call(method, message(value(b"7")), grpc_timeout=timeout)
    assert reply.status == DEADLINE
    assert (len(echo.said), len(echo.held)) == before


def test_a_call_that_comes_too_late_for_the_loop_is_not_executed(
    front_name: str, server: Server, raw: RawClient, echo: Echo
) -> None:
    if front_name != "grpcio":
        pytest.skip("the fast front reads and answers on one loop; see the test before")
    raw.call()
    before = len(echo.said)
    answered = threading.Event()
    server.loop.call_soon_threadsafe(answered.wait, 20)
    # grpcio's own threads say that the time is up, while the loop is held up.
    assert raw.call(grpc_timeout="1m").status == DEADLINE
    answered.set()
    assert raw.call().data == HELLO
    assert len(echo.said) == before + 1


@pytest.mark.parametrize("timeout", ["", "5", "S", "-1S", "1.5S", "123456789S", "1s", "²S"])
def test_a_malformed_deadline_is_refused(fast: None, raw: RawClient, timeout: str) -> None:
    reply = raw.call(grpc_timeout=timeout)
    assert reply.status == INTERNAL
    assert "grpc-timeout" in reply.text


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_compressed_requests_are_read(raw: RawClient, encoding: str, pack: Any) -> None:
    raw_request = value(b"a" * 100)
    reply = raw.call(body=message(pack(raw_request), flag=1), grpc_encoding=encoding)
    assert reply.status == OK
    assert reply.data == message(raw_request)
    # A message may still say that it is not compressed itself.
    assert raw.call(grpc_encoding=encoding).data == HELLO
    assert raw.call(grpc_encoding="identity").data == HELLO


def test_an_unknown_encoding_is_refused_with_those_that_are_known(
    raw: RawClient, front_name: str
) -> None:
    reply = raw.call(body=message(b"\1\2", flag=1), grpc_encoding="snappy")
    if front_name != "fast":
        # The specification says UNIMPLEMENTED and the list; grpcio says INTERNAL.
        assert reply.status == INTERNAL
        return
    assert reply.status == UNIMPLEMENTED
    known = reply.headers["grpc-accept-encoding"].replace(" ", "").split(",")
    assert {"identity", "gzip", "deflate"} <= set(known)


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (message(value(b"x"), flag=1), None, INTERNAL),
        (message(value(b"x"), flag=1), "identity", INTERNAL),
        (message(value(b"x"), flag=2), None, INTERNAL),
        (message(b"no gzip", flag=1), "gzip", INVALID_ARGUMENT),
        (message(gzip.compress(b"cut")[:-3], flag=1), "gzip", INVALID_ARGUMENT),
        (message(gzip.compress(b"two") * 2, flag=1), "gzip", INVALID_ARGUMENT),
    ],
    # (Names of their own, because gzip's bytes hold the time, and workers must agree on names.)
    ids=["undeclared", "denied", "unknown flag", "no gzip", "cut", "two in one"],
)
def test_a_message_that_is_not_what_it_says_is_refused(
    fast: None, raw: RawClient, body: bytes, encoding: str | None, status: str
) -> None:
    assert raw.call(body=body, grpc_encoding=encoding).status == status


def test_a_message_that_swells_beyond_the_limit_is_refused(raw: RawClient) -> None:
    bomb = gzip.compress(bytes(MESSAGE_SIZE_BYTES_MAX + 1))
    assert len(bomb) < 20_000
    stream_id = raw.begin(grpc_encoding="gzip")
    body = message(bomb, flag=1)
    raw.send(stream_id, body[:15_000])
    raw.send(stream_id, body[15_000:], end=True)
    assert raw.wait(stream_id).status == EXHAUSTED


def test_a_bomb_is_opened_apart_and_no_further_than_allowed(
    fast: None, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """128 megabytes in 130 kB: the loop answers others meanwhile, and memory stays bounded."""
    threads = []

    def decompress_and_note(*given: Any) -> bytearray:
        threads.append(threading.current_thread().name)
        return decompress(*given)

    monkeypatch.setattr(intake, "decompress", decompress_and_note)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    bomb = b"".join([packer.compress(zeros) for _ in range(1 << 7)] + [packer.flush()])
    assert len(bomb) < 140_000
    stream_id = raw.begin(grpc_encoding="gzip")
    body = message(bomb, flag=1)
    for at in range(0, len(body), 16_000):
        raw.send(stream_id, body[at : at + 16_000], end=at + 16_000 >= len(body))
        raw.flush()
        while raw.h2.local_flow_control_window(stream_id) < 16_000:
            raw.read()
    assert raw.wait(stream_id).status == EXHAUSTED
    assert raw.call().data == HELLO
    assert [name.startswith("decompress") for name in threads] == [True]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("size_bytes", [70_000, 65_531, 1 << 20])
def test_long_compressed_requests_are_read(raw: RawClient, encoding: str, size_bytes: int) -> None:
    noise = random.Random(size_bytes).randbytes(size_bytes // 2) * 2
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    whole = BytesValue(value=noise).SerializeToString()
    body = message(pack(whole), flag=1)
    stream_id = raw.begin(grpc_encoding=encoding)
    for at in range(0, len(body), 16_000):
        raw.send(stream_id, body[at : at + 16_000], end=at + 16_000 >= len(body))
        raw.flush()
        while raw.h2.local_flow_control_window(stream_id) < 16_000:
            raw.read()
    reply = raw.wait(stream_id)
    assert (reply.status, reply.data) == (OK, message(whole))


def test_a_call_that_is_cancelled_while_it_is_opened_is_not_executed(
    fast: None, server: Server, raw: RawClient, echo: Echo
) -> None:
    before = len(echo.said)
    stream_id = raw.begin(grpc_encoding="gzip")
    body = message(gzip.compress(value(b"x") + bytes(range(256)) * 10_000), flag=1)
    raw.send(stream_id, body, end=True)
    raw.h2.reset_stream(stream_id)
    raw.flush()
    assert raw.call().data == HELLO
    assert isinstance(server.front, FastFront)
    exchange = server.front.exchange
    wait_until(lambda: not exchange.calls_count, "the call is forgotten")
    assert exchange.unfinished_size_bytes == 0
    assert len(echo.said) == before + 1


def test_a_message_that_is_too_long_is_refused_by_its_prefix(raw: RawClient) -> None:
    stream_id = raw.begin()
    raw.send(stream_id, b"\0" + (MESSAGE_SIZE_BYTES_MAX + 1).to_bytes(4, "big") + b"x")
    assert raw.wait(stream_id).status == EXHAUSTED


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", UNIMPLEMENTED),
        (HELLO + HELLO, UNIMPLEMENTED),
        (b"\0\0", INTERNAL),
        (HELLO[:-1], INTERNAL),
    ],
    ids=["none", "two", "half a prefix", "half a message"],
)
def test_a_unary_call_takes_exactly_one_message(
    fast: None, raw: RawClient, body: bytes, status: str
) -> None:
    assert raw.call(body=body).status == status


def test_a_request_of_headers_alone_has_no_message(fast: None, raw: RawClient) -> None:
    assert raw.wait(raw.begin(end=True)).status == UNIMPLEMENTED


def test_a_call_waits_for_the_end_of_its_request(fast: None, raw: RawClient, echo: Echo) -> None:
    before = len(echo.said)
    stream_id = raw.begin()
    raw.send(stream_id, HELLO)
    raw.flush()
    raw.call()
    assert len(echo.said) == before + 1
    raw.send(stream_id, b"", end=True)
    assert raw.wait(stream_id).data == HELLO


def test_a_refused_client_is_told_to_stop_sending(fast: None, raw: RawClient) -> None:
    stream_id = raw.begin("Nothing")
    reply = raw.wait(stream_id)
    assert reply.status == UNIMPLEMENTED
    while reply.reset_code is None:
        raw.read()
    assert reply.reset_code == 0


@pytest.mark.parametrize(
    ("content_type", "served"),
    [
        ("application/grpc+proto", True),
        ("application/grpc;charset=utf-8", True),
        ("application/grpc+json", False),
        ("application/grpc-web", False),
        ("application/json", False),
        (None, False),
    ],
)
def test_the_content_type_is_grpc_with_protobuf(
    fast: None, raw: RawClient, content_type: str | None, served: bool
) -> None:
    reply = raw.call(content_type=content_type)
    assert reply.headers[":status"] == ("200" if served else "415")
    assert (reply.data == HELLO) == served


def test_another_http_method_is_refused(fast: None, raw: RawClient) -> None:
    reply = raw.call(http_method="GET")
    assert (reply.headers[":status"], reply.headers["allow"]) == ("405", "POST")


def test_a_path_that_swallows_trailers_is_noticed(fast: None, raw: RawClient) -> None:
    reply = raw.call(te=None)
    assert reply.status == INTERNAL
    assert "trailers" in reply.text


def test_long_headers_are_refused_and_the_connection_lives(fast: None, raw: RawClient) -> None:
    for extra in ({"x_long": "x" * 17_000}, {f"x_{i}": "y" * 60 for i in range(200)}):
        assert raw.call(**extra).status == EXHAUSTED
    assert raw.call().status == OK


def test_bytes_that_are_no_message_are_refused(raw: RawClient) -> None:
    assert raw.call(body=message(b"\xff\xff")).status == INVALID_ARGUMENT


def test_a_reader_that_stops_is_sent_no_more_than_its_window(server: Server) -> None:
    window = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10_000}
    with RawClient(("127.0.0.1", server.port), settings=window) as slow:
        slow.call()
        slow.reads = False
        stream_id = slow.begin("Repeat")
        slow.send(stream_id, message(value(b"50000")), end=True)
        reply = slow.replies[stream_id]
        slow.flush()
        while len(reply.data) < 10_000:
            slow.read()
        # The connection is not held up by the stream: another call goes past it.
        assert slow.call().status == OK
        assert len(reply.data) == 10_000
        assert not reply.ended
        slow.reads = True
        slow.h2.increment_flow_control_window(60_000, stream_id)
        slow.h2.increment_flow_control_window(60_000)
        assert slow.wait(stream_id).status == OK
        assert len(reply.data) == 5 + 4 + 50_000


def test_more_calls_at_a_time_than_allowed_end_the_connection(fast: None, raw: RawClient) -> None:
    raw.call()
    assert raw.h2.remote_settings.max_concurrent_streams == STREAMS_PER_CONNECTION_MAX
    raw.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 10_000
    raw.h2.remote_settings.acknowledge()
    for _ in range(STREAMS_PER_CONNECTION_MAX + 1):
        raw.begin("Hold")
    raw.flush()
    raw.wait_for_end()
    assert raw.goaways[0].error_code == 1
