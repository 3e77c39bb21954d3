"""A service whose calls can be counted, held and made to fail, for clients of every kind."""

import threading
from concurrent.futures import Future
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue

from instanter.errors import NotFoundError
from instanter.rpc.front import (
    BatchedMethod,
    BlockingMethod,
    CallContext,
    DeferredMethod,
    Lane,
    Service,
)

NAME = "instanter.test.Echo"
LANE = Lane("interop", threads=2, waiting_max=1_000)


class Echo:
    """Answers with what it is asked; keeps what it was asked."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.said: list[bytes] = []
        self.held: list[Future[BytesValue]] = []
        self.holding = threading.Semaphore(0)

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

    def wait_for_held(self) -> "Future[BytesValue]":
        """Return the future of the next call that is held."""
        assert self.holding.acquire(timeout=20)
        return self.held[-1]

    def describe(self) -> Service:
        return Service(
            NAME,
            (
                BatchedMethod("Say", BytesValue, BytesValue, self.say),
                BlockingMethod("Repeat", BytesValue, BytesValue, self.repeat, LANE),
                DeferredMethod(
                    "Hold", BytesValue, BytesValue, self.hold, lambda answer: answer, LANE
                ),
            ),
        )
