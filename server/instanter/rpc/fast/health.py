"""The standard health service, as the fast front serves it.

`Check` is one more method of plain functions. `Watch` streams, so it has a route of its own, which
keeps the calls that watch and tells them when the state changes.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from instanter.clock import Clock
from instanter.errors import InstanterError, NotFoundError, nearest, show
from instanter.rpc.dispatch import Dispatcher, undecodable
from instanter.rpc.fast.calls import Call, finish, start_timer
from instanter.rpc.front import BatchedMethod, Service

HEALTH_NAME: Final = "grpc.health.v1.Health"
"""The service's full name."""

_Response: Final = health_pb2.HealthCheckResponse


class Health:
    """Says whether services are served, the same of all of them.

    Parameters
    ----------
    names
        Full names of the services; the empty name for the server as a whole is always known.
    """

    __slots__ = ("_names", "_serving", "_watches")

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(("", *names))
        self._serving = False
        self._watches: set[_Watch] = set()

    def make_service(self) -> Service:
        """Return the service without its streaming method."""
        method = BatchedMethod("Check", health_pb2.HealthCheckRequest, _Response, self._check)
        return Service(HEALTH_NAME, (method,))

    def report(self, *, serving: bool) -> None:
        """Say from now on whether the services are served, to those who watch at once."""
        self._serving = serving
        for watch in tuple(self._watches):
            watch.call.connection.send(watch.call, self.describe(watch.name))

    def describe(self, name: str) -> bytes:
        """Return the encoded response about a service that need not exist."""
        state = _Response.SERVING if self._serving else _Response.NOT_SERVING
        known = name in self._names
        raw: bytes = _Response(
            status=state if known else _Response.SERVICE_UNKNOWN
        ).SerializeToString()
        return raw

    def watch(self, call: Call, name: str) -> None:
        """Tell a call about a service until it ends."""
        watch = call.work = _Watch(self._watches, call, name)
        self._watches.add(watch)
        call.connection.send(call, self.describe(name))

    def _check(self, requests: list[Any]) -> list[Any | InstanterError]:
        """Answer for each service named."""
        state = _Response.SERVING if self._serving else _Response.NOT_SERVING
        return [
            _Response(status=state)
            if request.service in self._names
            else _unknown(request.service, self._names)
            for request in requests
        ]


class WatchRoute:
    """The route of `Watch`.

    Parameters
    ----------
    health
        What is watched.
    dispatcher, loop, clock
        As in `SingleRoute`.
    """

    __slots__ = ("_clock", "_dispatcher", "_health", "_loop")

    name: Final = "Watch"
    takes_many: Final = False

    def __init__(
        self,
        health: Health,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self._health = health
        self._dispatcher = dispatcher
        self._loop = loop
        self._clock = clock

    def accept(self, call: Call, message: bytes) -> None:
        """Begin to tell a call about a service."""
        if not start_timer(call, self._dispatcher, self._loop, self._clock):
            return
        try:
            request = health_pb2.HealthCheckRequest.FromString(message)
        except DecodeError as error:
            status = self._dispatcher.fail(self.name, undecodable(error))
            finish(call, status, self._dispatcher)
            return
        self._health.watch(call, request.service)


class _Watch:
    """A call that watches; among the others until it ends."""

    __slots__ = ("_others", "call", "name")

    def __init__(self, others: "set[_Watch]", call: Call, name: str) -> None:
        self._others = others
        self.call = call
        self.name = name

    def cancel(self) -> None:
        """Watch no longer."""
        self._others.discard(self)


def _unknown(name: str, names: frozenset[str]) -> NotFoundError:
    hint = nearest(name, names)
    meant = f"; did you mean '{hint}'?" if hint else ""
    return NotFoundError(f"service: there is no {show(name)} here{meant}", reason="SERVICE_UNKNOWN")
