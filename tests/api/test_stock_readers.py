"""Subscribers of all kinds, through the wire: slow ones, restless ones, many."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import pytest

from instanter import wire_limits
from instanter.rpc import alert_hub
from instanter.v1.stock_service_pb2_grpc import StockServiceStub
from tests.api.refusals import read_refusal
from tests.api.shop import Shop, open_shop
from tests.api.waiting import wait_until
from tests.api.warehouse import COUNT, WAREHOUSE, fall_and_rise, make_movement, record, watch


@pytest.fixture
def shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop that keeps stock: plenty is there."""
    with open_shop(tmp_path_factory.mktemp("readers") / "store", front_name) as opened:
        opened.apply(WAREHOUSE)
        record(opened, make_movement(COUNT, 100))
        yield opened


class SlowReader:
    """A subscriber that takes hardly anything from its socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        self._socket.connect(("127.0.0.1", port))
        # Literal headers, as few as the contract of gRPC asks for.
        headers = b"".join(
            b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
            for name, value in (
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/instanter.v1.StockService/WatchStockAlerts"),
                (b":authority", b"localhost"),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
            )
        )
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._socket.sendall(make_frame(4, 0, 0, b""))
        self._socket.sendall(make_frame(1, 4, 1, headers))
        self._socket.sendall(make_frame(0, 1, 1, b"\0\0\0\0\0"))

    def read_a_byte(self) -> None:
        self._socket.recv(1)

    def close(self) -> None:
        self._socket.close()


def make_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def test_a_subscriber_that_reads_a_byte_a_second_is_cut_and_nobody_else(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_hub, "SUBSCRIBER_LAG_NS_MAX", 300_000_000)
    slow = SlowReader(shop.server.port)
    try:
        with watch(shop.stock) as fast:
            fast.read()
            wait_until(lambda: shop.metrics.streams_open_count == 2, "the slow one subscribes")
            fallen = 0

            def go_on() -> bool:
                nonlocal fallen
                fall_and_rise(shop, 20)
                fallen += 20
                fast.read_transitions(20)
                slow.read_a_byte()
                return shop.hub.subscriber_count == 1

            wait_until(go_on, "the slow one is cut")
            assert [told.sequence for told in fast.transitions] == list(range(1, fallen + 1))
            assert fallen > wire_limits.STREAM_WAITING_MAX
    finally:
        slow.close()
    wait_until(lambda: shop.metrics.streams_open_count == 0, "all are gone")


def test_who_is_cut_reads_what_waited_and_goes_on_from_there(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_hub, "SUBSCRIBER_LAG_NS_MAX", 300_000_000)
    # With its defaults the client takes megabytes out of the socket that nobody has asked for.
    options = [("grpc.http2.bdp_probe", 0)]
    with (
        grpc.insecure_channel(shop.server.target, options) as channel,
        watch(StockServiceStub(channel)) as slow,
    ):
        slow.read()

        def is_cut() -> bool:
            fall_and_rise(shop, 20)
            return not shop.hub.subscriber_count

        wait_until(is_cut, "the slow one is cut")
        refusal = read_refusal(slow.read_error())
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "SUBSCRIBER_TOO_SLOW",
    )
    assert refusal.metadata["resume_token"] == slow.token
    with watch(shop.stock) as fresh:
        newest = fresh.read().progress.sequence
    with watch(shop.stock, resume_token=slow.token) as again:
        again.read_to(newest)
    sequences = [told.sequence for told in (*slow.transitions, *again.transitions)]
    assert sequences == list(range(1, newest + 1))


def test_one_who_does_not_read_hurts_nobody_on_the_same_connection(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_hub, "SUBSCRIBER_LAG_NS_MAX", 300_000_000)
    options = [("grpc.http2.bdp_probe", 0)]
    with (
        grpc.insecure_channel(shop.server.target, options) as channel,
        ExitStack() as watching,
        ExitStack() as leaving,
    ):
        stub = StockServiceStub(channel)
        slow, *kept = (watching.enter_context(watch(stub)) for _ in range(5))
        for each in (slow, leaving.enter_context(watch(stub)), *kept):
            each.read()
        fallen = 0

        def is_cut() -> bool:
            nonlocal fallen
            fall_and_rise(shop, 20)
            fallen += 20
            for each in kept:
                each.read_transitions(20)
            if fallen == 40:
                leaving.close()
            return shop.hub.subscriber_count == len(kept)

        wait_until(is_cut, "the slow one is cut")
        for each in kept:
            assert [told.sequence for told in each.transitions] == list(range(1, fallen + 1))
        refusal = read_refusal(slow.read_error())
        assert refusal.reason == "SUBSCRIBER_TOO_SLOW"
        assert [told.sequence for told in slow.transitions] == list(
            range(1, len(slow.transitions) + 1)
        )
        assert refusal.metadata["resume_token"] == slow.token


def test_many_subscribers_come_and_go_while_alerts_come(shop: Shop) -> None:
    seen: dict[int, list[int]] = {}
    total = 120

    def follow(number: int) -> None:
        token, mine = shop.tokens.format(0), seen.setdefault(number, [])
        with grpc.insecure_channel(shop.server.target) as channel:
            stub = StockServiceStub(channel)
            while len(mine) < total:
                with watch(stub, resume_token=token) as watcher:
                    for _ in range(1 + number % 7):
                        watcher.read()
                        if watcher.transitions and watcher.transitions[-1].sequence == total:
                            break
                token = watcher.token
                mine += [told.sequence for told in watcher.transitions]

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    fall_and_rise(shop, total)
    for thread in threads:
        thread.join(60)
    assert seen == {number: list(range(1, total + 1)) for number in range(8)}
