"""The route of gathered calls: each call ends by itself, whatever is wrong with another."""

import asyncio
import io
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue

from instanter.clock import SystemClock
from instanter.errors import NotFoundError
from instanter.events_log import make_events_log
from instanter.keeper.commands import Gathering, Tell
from instanter.metrics import Metrics
from instanter.rpc.dispatch import Dispatcher
from instanter.rpc.fast.calls import Call
from instanter.rpc.fast.deferred import GatheredRoute
from instanter.rpc.front import DeferredMethod, GatheredWork


class Connection:
    """Takes answers, or breaks over them."""

    def __init__(self, *, broken: bool = False) -> None:
        self.answers: list[Any] = []
        self._broken = broken

    def reply(self, call: Call, message: bytes) -> None:
        if self._broken:
            raise RuntimeError("it is gone")
        call.open = False
        self.answers.append(message)

    def refuse(self, call: Call, headers: Sequence[Any]) -> None:
        call.open = False
        self.answers.append(dict(headers)[b"grpc-status"])


class Gathered:
    """A gathering that takes two."""

    def __init__(self, made: Any, call: Any, tell: Tell) -> None:
        self.made, self.calls, self._tell = [made], [call], tell

    def add(self, command: Any, caller: Any) -> bool:
        if len(self.made) == 2:
            return False
        self.made.append(command)
        self.calls.append(caller)
        return True

    def end(self, outcomes: Sequence[Any]) -> None:
        self._tell(self.calls, outcomes)


def serve(log: io.StringIO) -> tuple[GatheredRoute, list[Gathered]]:
    begun: list[Gathered] = []

    def gather(command: Any, caller: Any, tell: Tell) -> Gathering:
        begun.append(Gathered(command, caller, tell))
        return begun[-1]

    def make(request: bytes, _: int | None) -> bytes:
        if request == b"bad":
            raise NotFoundError("nothing of the kind")
        return request

    def submit(*_: Any) -> Future[Any]:
        raise AssertionError("it is gathered")

    method = DeferredMethod(
        "Try", BytesValue, BytesValue, submit, bytes, None, GatheredWork(make, gather), bytes
    )
    clock = SystemClock()
    dispatcher = Dispatcher(log=make_events_log(log, as_json=True), metrics=Metrics(), clock=clock)
    assert method.gathered is not None
    loop = asyncio.new_event_loop()
    try:
        return GatheredRoute(method, method.gathered, dispatcher, loop, clock), begun
    finally:
        loop.close()


def ask(route: GatheredRoute, connection: Connection, message: bytes) -> Call:
    call = Call(connection, 1, route, None)  # type: ignore[arg-type]
    route.accept(call, message)
    return call


def test_each_call_has_its_own_answer() -> None:
    route, begun = serve(io.StringIO())
    connections = [Connection() for _ in range(4)]
    for at, connection in enumerate(connections):
        ask(route, connection, b"%d" % at)
    assert [gathered.made for gathered in begun] == [[b"0", b"1"], [b"2", b"3"]]
    begun[0].end([b"zero", NotFoundError("no")])
    begun[1].end([b"two", b"three"])
    assert [each.answers for each in connections] == [[b"zero"], [b"5"], [b"two"], [b"three"]]


def test_a_request_that_makes_no_command_is_answered_at_once() -> None:
    route, begun = serve(io.StringIO())
    connection = Connection()
    ask(route, connection, b"bad")
    assert connection.answers == [b"5"]
    assert not begun


def test_a_call_that_has_ended_is_not_answered_again() -> None:
    route, begun = serve(io.StringIO())
    connection = Connection()
    ask(route, connection, b"a").open = False
    begun[0].end([b"late"])
    assert connection.answers == []


def test_a_broken_connection_keeps_no_other_call_from_its_answer() -> None:
    log = io.StringIO()
    route, begun = serve(log)
    broken, whole = Connection(broken=True), Connection()
    ask(route, broken, b"a")
    ask(route, whole, b"b")
    begun[0].end([b"one", b"two"])
    assert whole.answers == [b"two"]
    assert "it is gone" in log.getvalue()
