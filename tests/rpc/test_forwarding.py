"""Calls that travel from a worker to its keeper, over a real socket, on one event loop."""

import asyncio
import io
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import code_pb2, status_pb2

from instanter import limits, wire_limits
from instanter.clock import SystemClock
from instanter.errors import ExhaustedError, NotFoundError, UnavailableError
from instanter.events_log import make_events_log
from instanter.frames import pack
from instanter.metrics import Metrics
from instanter.rpc.forwarding import SOCKET_NAME, Forwarder
from instanter.rpc.forwarding_door import ForwardingDoor
from instanter.rpc.front import (
    BatchedMethod,
    BlockingMethod,
    CallContext,
    DeferredMethod,
    ForwardedMethod,
    Lane,
    Service,
)

LANE = Lane("test", threads=2, waiting_max=1_024)
CONTEXT = CallContext(None, "ipv4:127.0.0.1:1")
CLOCK = SystemClock()
PUT = "/test.Store/Put"
GET = "/test.Store/Get"


class Store:
    """Its writes wait until they are told to go on; its reads answer at once."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Future[str]]] = []
        self.told: list[bytes] = []
        self.contexts: list[CallContext] = []

    def describe(self) -> Service:
        return Service(
            "test.Store",
            (
                DeferredMethod(
                    "Put", StringValue, StringValue, self.put, lambda v: StringValue(value=v), LANE
                ),
                BlockingMethod("Get", StringValue, StringValue, self.get, LANE),
                BatchedMethod("Look", StringValue, StringValue, list),
            ),
        )

    def put(self, request: StringValue, context: CallContext) -> Future[str]:
        future: Future[str] = Future()
        self.contexts.append(context)
        if request.value == "now":
            future.set_result("done")
        else:
            self.waiting.append((request.value, future))
        return future

    def get(self, request: StringValue, context: CallContext) -> StringValue:
        if request.value == "nothing":
            raise NotFoundError("there is nothing")
        return StringValue(value=request.value * 2)


@asynccontextmanager
async def kept(
    folder: Path, store: Store, greeting: bytes = b"hello"
) -> AsyncIterator[ForwardingDoor]:
    door = ForwardingDoor(
        [store.describe()],
        hearers={"told": store.told.append},
        greetings={"news": lambda: greeting},
        log=make_events_log(sys.stderr),
        metrics=Metrics(),
        clock=CLOCK,
    )
    await door.start(folder)
    try:
        yield door
    finally:
        await door.stop(0)


@asynccontextmanager
async def forwarding(
    folder: Path,
    metrics: Metrics | None = None,
    hear: Callable[[bytes], None] = lambda _: None,
    log: TextIO = sys.stderr,
) -> AsyncIterator[Forwarder]:
    forwarder = Forwarder(
        folder,
        log=make_events_log(log, as_json=True),
        metrics=metrics or Metrics(),
        clock=CLOCK,
        hearers={"news": hear},
    )
    await forwarder.start()
    try:
        yield forwarder
    finally:
        forwarder.stop()
        await asyncio.sleep(0.01)


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came")


def encode(value: str) -> bytes:
    return StringValue(value=value).SerializeToString()


async def test_calls_are_answered_each_with_its_own_answer(tmp_path: Path) -> None:
    store = Store()
    async with kept(tmp_path, store), forwarding(tmp_path) as forwarder:
        futures = [forwarder.forward(GET, encode(str(n)), CONTEXT) for n in range(200)]
        assert (tmp_path / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
        for number, future in enumerate(futures):
            assert StringValue.FromString(await future).value == str(number) * 2
        assert await forwarder.forward(PUT, encode("now"), CONTEXT) == encode("done")


async def test_errors_come_back_as_the_keeper_made_them(tmp_path: Path) -> None:
    async with kept(tmp_path, Store()), forwarding(tmp_path) as forwarder:
        found = [
            await forwarder.forward(path, request, CONTEXT)
            for path, request in (
                (GET, encode("nothing")),
                (GET, b"\xff\xff"),
                ("/test.Store/No", b""),
                ("/test.Store/Look", b""),
            )
        ]
    assert all(isinstance(each, status_pb2.Status) for each in found)
    assert [each.code for each in found] == [
        code_pb2.NOT_FOUND,
        code_pb2.INVALID_ARGUMENT,
        code_pb2.NOT_FOUND,
        code_pb2.NOT_FOUND,
    ]


async def test_who_calls_and_until_when_travels_along(tmp_path: Path) -> None:
    store = Store()
    deadline_ns = CLOCK.monotonic_ns() + 60_000_000_000
    async with kept(tmp_path, store), forwarding(tmp_path) as forwarder:
        await forwarder.forward(PUT, encode("now"), CallContext(deadline_ns, "ipv4:10.0.0.1:2"))
    (context,) = store.contexts
    assert context.peer == "ipv4:10.0.0.1:2"
    assert context.deadline_ns == pytest.approx(deadline_ns, abs=1_000_000_000)


async def test_workers_are_told_when_they_connect_and_whenever_there_is_news(
    tmp_path: Path,
) -> None:
    heard: list[bytes] = []
    others: list[bytes] = []
    async with forwarding(tmp_path, hear=heard.append), forwarding(tmp_path, hear=others.append):
        async with kept(tmp_path, Store(), b"first") as door:
            await until(lambda: heard and others)
            door.tell("news", b"second")
            await asyncio.to_thread(door.tell, "news", b"of a thread")
            await until(lambda: len(heard) == len(others) == 3)
        async with kept(tmp_path, Store(), b"of the next keeper"):
            await until(lambda: len(heard) == len(others) == 4)
    assert heard == others == [b"first", b"second", b"of a thread", b"of the next keeper"]


async def test_news_that_nobody_takes_or_that_fails_do_no_harm(tmp_path: Path) -> None:
    def fail(_: bytes) -> None:
        raise RuntimeError("odd")

    log = io.StringIO()
    async with kept(tmp_path, Store()) as door, forwarding(tmp_path, hear=fail, log=log) as worker:
        assert await worker.forward(PUT, encode("now"), CONTEXT) == encode("done")
        door.tell("unheard of", b"")
        await until(lambda: "topic_failed" in log.getvalue())
        await until(lambda: "topic_unknown" in log.getvalue())


async def test_a_caller_that_goes_away_is_told_to_the_keeper(tmp_path: Path) -> None:
    store = Store()
    async with kept(tmp_path, store), forwarding(tmp_path) as forwarder:
        future = forwarder.forward(PUT, encode("later"), CONTEXT)
        await until(lambda: store.waiting)
        future.cancel()
        await until(lambda: store.waiting[0][1].cancelled())


async def test_a_call_that_comes_before_the_keeper_waits_for_it(tmp_path: Path) -> None:
    async with forwarding(tmp_path) as forwarder:
        future = forwarder.forward(GET, encode("a"), CONTEXT)
        forwarder.tell("told", b"early")
        await asyncio.sleep(0.05)
        assert not future.done()
        store = Store()
        async with kept(tmp_path, store):
            assert StringValue.FromString(await future).value == "aa"
            assert store.told == [b"early"]


async def test_a_call_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEEPER_WAIT_NS_MAX", 50_000_000)
    async with forwarding(tmp_path) as forwarder:
        with pytest.raises(UnavailableError, match="nothing was written; retry"):
            await forwarder.forward(PUT, encode("a"), CONTEXT)


async def test_a_keeper_that_does_not_answer_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is frozen, or is being taken down, lets others connect."""
    monkeypatch.setattr(limits, "KEEPER_WAIT_NS_MAX", 200_000_000)
    received: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(100))
        writer.close()

    frozen = await asyncio.start_unix_server(listen, str(tmp_path / SOCKET_NAME))
    async with forwarding(tmp_path) as forwarder:
        with pytest.raises(UnavailableError, match="nothing was written; retry"):
            await forwarder.forward(PUT, encode("now"), CONTEXT)
        frozen.close()
    await until(lambda: received)
    assert received == [b""]


async def test_calls_of_a_keeper_that_ends_are_of_unknown_outcome(tmp_path: Path) -> None:
    async with forwarding(tmp_path) as forwarder:
        first = Store()
        async with kept(tmp_path, first):
            lost = forwarder.forward(PUT, encode("later"), CONTEXT)
            await until(lambda: first.waiting)
        with pytest.raises(UnavailableError, match="outcome is not known; retry with the same id"):
            await lost
        waiting = forwarder.forward(PUT, encode("now"), CONTEXT)
        async with kept(tmp_path, Store()):
            assert await waiting == encode("done")


async def test_a_keeper_that_stops_answers_what_it_has_begun(tmp_path: Path) -> None:
    store = Store()
    async with kept(tmp_path, store) as door, forwarding(tmp_path) as forwarder:
        future = forwarder.forward(PUT, encode("later"), CONTEXT)
        await until(lambda: store.waiting)
        stopping = asyncio.create_task(door.stop(10_000_000_000))
        await asyncio.sleep(0.05)
        store.waiting[0][1].set_result("done")
        assert await future == encode("done")
        await stopping


async def test_too_many_calls_are_refused_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FORWARDED_CALLS_MAX", 3)
    store = Store()
    async with kept(tmp_path, store), forwarding(tmp_path) as forwarder:
        futures = [forwarder.forward(PUT, encode(str(n)), CONTEXT) for n in range(3)]
        with pytest.raises(ExhaustedError, match=r"3 calls with .* bytes wait for the keeper"):
            forwarder.forward(PUT, encode("more"), CONTEXT)
        await until(lambda: len(store.waiting) == 3)
        for _, future in store.waiting:
            future.set_result("done")
        assert [await future for future in futures] == [encode("done")] * 3
        assert await forwarder.forward(PUT, encode("now"), CONTEXT) == encode("done")


async def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORWARDED_SIZE_BYTES_MAX", 100)
    async with forwarding(tmp_path) as forwarder:
        first = forwarder.forward(PUT, encode("a" * 80), CONTEXT)
        with pytest.raises(ExhaustedError):
            forwarder.forward(PUT, encode("b" * 80), CONTEXT)
        first.cancel()
        await asyncio.sleep(0)
        forwarder.forward(PUT, encode("c" * 80), CONTEXT).cancel()


async def test_long_requests_and_replies_come_whole(tmp_path: Path) -> None:
    text = "x" * (wire_limits.MESSAGE_SIZE_BYTES_MAX - 100)
    async with kept(tmp_path, Store()), forwarding(tmp_path) as forwarder:
        answer = await forwarder.forward(GET, encode(text), CONTEXT)
        assert StringValue.FromString(answer).value == text * 2


async def test_a_reply_that_is_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_limits, "REPLY_SIZE_BYTES_MAX", 1_000)
    async with kept(tmp_path, Store()), forwarding(tmp_path) as forwarder:
        answer = await forwarder.forward(GET, encode("x" * 600), CONTEXT)
        assert answer.code == code_pb2.RESOURCE_EXHAUSTED


async def test_what_nobody_waits_for_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOLD_SIZE_BYTES_MAX", 1_000)
    metrics = Metrics()
    store = Store()
    async with forwarding(tmp_path, metrics) as forwarder:
        for _ in range(10):
            forwarder.tell("told", b"x" * 300)
        assert metrics.decision_records_dropped_count == 7
        async with kept(tmp_path, store):
            await until(lambda: len(store.told) == 3)
            other = threading.Thread(target=forwarder.tell, args=("told", b"of a thread"))
            other.start()
            other.join()
            forwarder.tell("unheard", b"of")
            await until(lambda: store.told[-1] == b"of a thread")
            assert await forwarder.forward(PUT, encode("now"), CONTEXT) == encode("done")


async def test_what_was_told_before_a_call_is_heard_before_it(tmp_path: Path) -> None:
    store = Store()
    async with kept(tmp_path, store), forwarding(tmp_path) as forwarder:
        for number in range(20):
            forwarder.tell("told", str(number).encode())
            await forwarder.forward(PUT, encode("now"), CONTEXT)
            assert store.told[-1] == str(number).encode()


async def test_a_keeper_that_stops_hears_what_workers_told_before_they_ended(
    tmp_path: Path,
) -> None:
    store = Store()
    async with kept(tmp_path, store) as door:
        async with forwarding(tmp_path) as forwarder:
            await forwarder.forward(PUT, encode("now"), CONTEXT)
            for _ in range(1_000):
                forwarder.tell("told", b"x" * 1_000)
            forwarder.stop()
            await door.stop(10_000_000_000)
        assert len(store.told) == 1_000


async def test_a_stranger_that_talks_nonsense_is_hung_up_on(tmp_path: Path) -> None:
    async with kept(tmp_path, Store()), forwarding(tmp_path) as forwarder:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET_NAME))
        writer.write(b"\xc1" * 100)
        assert await reader.read() == pack((0,)) + pack((0, "news", b"hello"))
        writer.close()
        assert await forwarder.forward(PUT, encode("now"), CONTEXT) == encode("done")


async def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 120)
    folder.mkdir()
    async with kept(folder, Store()), forwarding(folder) as forwarder:
        assert await forwarder.forward(PUT, encode("now"), CONTEXT) == encode("done")


async def test_a_service_is_redirected_by_the_kinds_of_its_methods(tmp_path: Path) -> None:
    ran: list[str] = []
    async with kept(tmp_path, Store()), forwarding(tmp_path) as forwarder:
        after = {"Get": lambda: ran.append(threading.current_thread().name)}
        service = forwarder.redirect(Store().describe(), {"Get"}, after)
        put, get, look = service.methods
        assert isinstance(put, ForwardedMethod)
        assert isinstance(get, ForwardedMethod)
        assert isinstance(look, BatchedMethod)
        assert await put.function(encode("now"), CONTEXT) == encode("done")
        assert not ran
        assert await get.function(encode("a"), CONTEXT) == encode("aa")
        assert ran != [threading.current_thread().name]
        assert len(ran) == 1
        assert (await get.function(encode("nothing"), CONTEXT)).code == code_pb2.NOT_FOUND
        assert len(ran) == 1, "nothing follows a failure"
