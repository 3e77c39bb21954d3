"""Which front serves: the only place that knows them all."""

from collections.abc import Sequence
from typing import Final

from instanter.clock import Clock
from instanter.events_log import EventsLog
from instanter.metrics import Metrics
from instanter.rpc.fast.front import FastFront
from instanter.rpc.front import Front, Service
from instanter.rpc.grpcio_front import GrpcioFront
from instanter.rpc.listening import Listening

_FRONTS: Final[dict[str, type[FastFront] | type[GrpcioFront]]] = {
    "auto": FastFront,
    "fast": FastFront,
    "grpcio": GrpcioFront,
}


def make_front(
    listening: Listening,
    services: Sequence[Service],
    *,
    log: EventsLog,
    metrics: Metrics,
    clock: Clock,
) -> Front:
    """Return the front that `listening` names, for these services."""
    return _FRONTS[listening.transport](
        services,
        log=log,
        metrics=metrics,
        clock=clock,
        reuse_port=listening.reuse_port,
        tls=listening.tls,
    )
