"""The standard health service, as the fast front serves it: one more service of plain functions."""

from collections.abc import Iterable
from typing import Any, Final

from grpc_health.v1 import health_pb2

from instanter.errors import InstanterError, NotFoundError, nearest, show
from instanter.rpc.front import BatchedMethod, Service

HEALTH_NAME: Final = "grpc.health.v1.Health"
"""The service's full name."""

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Says whether services are served.

    Parameters
    ----------
    names
        Full names of the services; the empty name for the server as a whole is always known.

    Attributes
    ----------
    serving
        What it says of all of them.
    """

    __slots__ = ("_names", "serving")

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(("", *names))
        self.serving = False

    def make_service(self) -> Service:
        """Return the service; its streaming method `Watch` is not a part of it."""
        return Service(
            HEALTH_NAME,
            (
                BatchedMethod(
                    "Check",
                    health_pb2.HealthCheckRequest,
                    health_pb2.HealthCheckResponse,
                    self._check,
                ),
            ),
        )

    def _check(self, requests: list[Any]) -> list[Any | InstanterError]:
        """Answer the question for each service named."""
        state = _SERVING if self.serving else _NOT_SERVING
        return [
            health_pb2.HealthCheckResponse(status=state)
            if request.service in self._names
            else _unknown(request.service, self._names)
            for request in requests
        ]


def _unknown(name: str, names: frozenset[str]) -> NotFoundError:
    hint = nearest(name, names)
    meant = f"; did you mean '{hint}'?" if hint else ""
    return NotFoundError(f"service: there is no {show(name)} here{meant}", reason="SERVICE_UNKNOWN")
