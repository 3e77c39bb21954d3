"""The standard health service, as the fast front serves it.

A service like any other: `Check` answers, `Watch` streams what changes.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from grpc_health.v1 import health_pb2

from instanter.errors import InstanterError, NotFoundError, nearest, show
from instanter.rpc.front import BatchedMethod, CallContext, Service, Sink, StreamedMethod

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
        self._watches: dict[Sink, str] = {}

    def make_service(self) -> Service:
        """Return the service."""
        request, response = health_pb2.HealthCheckRequest, _Response
        return Service(
            HEALTH_NAME,
            (
                BatchedMethod("Check", request, response, self._check),
                StreamedMethod("Watch", request, response, self._watch),
            ),
        )

    def report(self, *, serving: bool) -> None:
        """Say from now on whether the services are served, to those who watch at once."""
        self._serving = serving
        for sink, name in tuple(self._watches.items()):
            sink.offer(self._describe(name))

    def _watch(self, request: Any, context: CallContext, sink: Sink) -> None:
        """Tell a caller about a service, which need not exist, until the call ends."""
        del context
        self._watches[sink] = request.service
        sink.call_when_ended(partial(self._watches.pop, sink, None))
        sink.offer(self._describe(request.service))

    def _describe(self, name: str) -> Any:
        """Return the response about a service that need not exist."""
        state = _Response.SERVING if self._serving else _Response.NOT_SERVING
        return _Response(status=state if name in self._names else _Response.SERVICE_UNKNOWN)

    def _check(self, requests: list[Any]) -> list[Any | InstanterError]:
        """Answer for each service named."""
        state = _Response.SERVING if self._serving else _Response.NOT_SERVING
        return [
            _Response(status=state)
            if request.service in self._names
            else _unknown(request.service, self._names)
            for request in requests
        ]


def _unknown(name: str, names: frozenset[str]) -> NotFoundError:
    hint = nearest(name, names)
    meant = f"; did you mean '{hint}'?" if hint else ""
    return NotFoundError(f"service: there is no {show(name)} here{meant}", reason="SERVICE_UNKNOWN")
