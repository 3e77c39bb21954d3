"""A service whose calls can be counted, held and made to fail, for clients of every kind."""

import threading
from concurrent.futures import Future
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue

from instanter.errors import ExhaustedError, NotFoundError
from instanter.rpc.front import (
    BatchedMethod,
    BlockingMethod,
    CallContext,
    DeferredMethod,
    Lane,
    Service,
    Sink,
    StreamedMethod,
)

NAME = "instanter.test.Echo"
LANE = Lane("interop", threads=2, waiting_max=1_000)


class Telling:
    """One call that streams, as whoever makes its responses sees it."""

    def __init__(self, sink: Sink, context: CallContext) -> None:
        self.sink = sink
        self.context = context
        self.over = threading.Event()
        self.told_count = 0
        sink.call_when_ended(self.over.set)

    def tell(self, count: int, size_bytes: int = 0) -> None:
        """Stream numbers, as fast as they are read."""
        for number in range(count):
            response = BytesValue(value=b"%d" % number + b"." * size_bytes)
            while not self.sink.offer(response):
                if not self.sink.wait_for_room(20):
                    return
            self.told_count += 1

    def tell_and_finish(self, count: int, size_bytes: int) -> None:
        self.tell(count, size_bytes)
        self.sink.finish()

    def tell_and_fail(self, count: int) -> None:
        self.tell(count)
        self.sink.fail(too_slow(count))


def too_slow(told_count: int) -> ExhaustedError:
    """Return the error that a client can go on from."""
    return ExhaustedError(
        "the stream fell behind; open it again",
        reason="STREAM_TOO_SLOW",
        metadata={"told_count": str(told_count)},
    )


class Echo:
    """Answers with what it is asked; keeps what it was asked."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.said: list[bytes] = []
        self.held: list[Future[BytesValue]] = []
        self.holding = threading.Semaphore(0)
        self.tellings: list[Telling] = []
        self.beginning = threading.Semaphore(0)

    def say(self, requests: list[BytesValue]) -> list[Any]:
        self.turns.append(len(requests))
        self.said.extend(request.value[:40] for request in requests)
        return [
            NotFoundError("nothing was said: 100 % silence ✓", reason="SILENCE")
            if request.value == b"missing"
            else request
            for request in requests
        ]

    def hold(self, request: BytesValue, context: CallContext) -> Future[BytesValue]:
        """Answer when the test lets go, or never."""
        future: Future[BytesValue] = Future()
        self.held.append(future)
        self.holding.release()
        return future

    def repeat(self, request: BytesValue, context: CallContext) -> BytesValue:
        """Answer with as many bytes as the request says."""
        return BytesValue(value=b"x" * int(request.value))

    def tell(self, request: BytesValue, context: CallContext, sink: Sink) -> None:
        """Stream what the request says: `count 5`, `count 5 1000`, `fail 5`, `wait`, `missing`."""
        word, *numbers = request.value.split()
        if word == b"missing":
            raise NotFoundError("nothing is told", reason="SILENCE")
        if word == b"bug":
            raise ZeroDivisionError("a secret of the server")
        telling = Telling(sink, context)
        self.tellings.append(telling)
        self.beginning.release()
        if word != b"wait":
            make = telling.tell_and_fail if word == b"fail" else telling.tell_and_finish
            sizes = [int(number) for number in numbers]
            arguments = sizes if word == b"fail" else [*sizes, 0][:2]
            threading.Thread(target=make, args=arguments, name="teller").start()

    def wait_for_telling(self) -> Telling:
        """Return the next call that streams, as its maker sees it."""
        assert self.beginning.acquire(timeout=20)
        return self.tellings[-1]

    def wait_for_held(self) -> "Future[BytesValue]":
        """Return the future of the next call that is held."""
        assert self.holding.acquire(timeout=20)
        return self.held[-1]

    def describe(self) -> Service:
        return Service(
            NAME,
            (
                BatchedMethod("Say", BytesValue, BytesValue, self.say),
                StreamedMethod("Tell", BytesValue, BytesValue, self.tell),
                BlockingMethod("Repeat", BytesValue, BytesValue, self.repeat, LANE),
                DeferredMethod(
                    "Hold", BytesValue, BytesValue, self.hold, lambda answer: answer, LANE
                ),
            ),
        )
