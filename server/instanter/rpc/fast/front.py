"""The fast front: opens the port, makes the routes, keeps the time limits, and drains."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from google.protobuf import descriptor_pool

from instanter import limits
from instanter.clock import Clock
from instanter.events_log import EventsLog
from instanter.metrics import Metrics
from instanter.rpc.dispatch import Dispatcher
from instanter.rpc.fast.calls import BatchedRoute, Route, SingleRoute, Turn
from instanter.rpc.fast.connection import FastConnection
from instanter.rpc.fast.deferred import DeferredRoute, GatheredRoute
from instanter.rpc.fast.encrypted_port import EncryptedPort
from instanter.rpc.fast.exchange import Exchange
from instanter.rpc.fast.forwarded import ForwardedRoute
from instanter.rpc.fast.health import HEALTH_NAME, Health
from instanter.rpc.fast.listening import (
    BACKLOG,
    UNIX_SCHEME,
    make_tls_context,
    open_sockets,
)
from instanter.rpc.fast.reflection import REFLECTION_NAMES, ReflectionRoute
from instanter.rpc.fast.streams import StreamedRoute
from instanter.rpc.front import (
    BatchedMethod,
    DeferredMethod,
    ForwardedMethod,
    Service,
    StreamedMethod,
)
from instanter.rpc.tls import TlsFiles

_CHECK_S: Final = 1.0
_DRAIN_CHECK_S: Final = 0.01


class FastFront:
    """Serves services over HTTP/2 by itself. A `Front`; for one event loop, started once.

    Parameters
    ----------
    services
        What it serves, beside health and reflection.
    log, metrics, clock
        As in `Dispatcher`.
    reuse_port
        Let several processes listen on one port. Off by default, so that a second server on the
        port is refused instead of quietly taking half of the connections.
    tls
        Contents of the PEM files; None for plain text.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        log: EventsLog,
        metrics: Metrics,
        clock: Clock,
        reuse_port: bool = False,
        tls: TlsFiles | None = None,
    ) -> None:
        self._services = tuple(services)
        self._log = log
        self._clock = clock
        self._reuse_port = reuse_port
        self._tls = tls
        self._dispatcher = Dispatcher(log=log, metrics=metrics, clock=clock)
        self._health = Health(service.name for service in services)
        self._exchange: Exchange | None = None
        self._ports: list[asyncio.AbstractServer | EncryptedPort] = []
        self._unix_path: Path | None = None
        self._check_timer: asyncio.TimerHandle | None = None

    @property
    def exchange(self) -> Exchange:
        """The state of the started front: its connections, its calls, and what it closed."""
        assert self._exchange is not None, "the front has been started"
        return self._exchange

    async def start(self, address: str, port: int) -> int:
        """Open the port, serve, and report healthy; return the port that was bound.

        Parameters
        ----------
        address
            Host name or address to listen on, or `unix:` and the path of a Unix socket.
        port
            TCP port; 0 for any free one. Without meaning for a Unix socket.

        Raises
        ------
        UnavailableError
            The port cannot be opened, because another server has it for example; or the
            certificate cannot be used.
        """
        assert self._exchange is None, "a front is started once"
        loop = asyncio.get_running_loop()
        context = self._make_tls_context()
        exchange = self._exchange = self._make_exchange(loop)
        bound = 0
        for opened in open_sockets(address, port, reuse_port=self._reuse_port):
            self._ports.append(await _listen(opened, exchange, context))
            bound = 0 if opened.family == socket.AF_UNIX else int(opened.getsockname()[1])
        if address.startswith(UNIX_SCHEME):
            self._unix_path = Path(address.removeprefix(UNIX_SCHEME))
        self._health.report(serving=True)
        self._check_timer = loop.call_later(_CHECK_S, self._check, loop)
        self._log.info("front_started", front="fast", address=address, port=bound)
        return bound

    async def stop(self, grace_ns: int) -> None:
        """Report unhealthy, take no new calls, let those in flight finish for `grace_ns`."""
        if not self._ports:
            return
        exchange = self.exchange
        self._health.report(serving=False)
        for port in self._ports:
            port.close()
        self._ports.clear()
        if self._unix_path is not None:
            self._unix_path.unlink(missing_ok=True)
        for connection in tuple(exchange.connections):
            connection.drain()
        end_ns = self._clock.monotonic_ns() + min(grace_ns, limits.DRAIN_NS_MAX)
        while exchange.connections and self._clock.monotonic_ns() < end_ns:
            await asyncio.sleep(_DRAIN_CHECK_S)
        for connection in tuple(exchange.connections):
            connection.close()
        # What a client does not read within two turns is not waited for.
        for _ in range(2):
            await asyncio.sleep(0)
        for connection in tuple(exchange.connections):
            connection.abort("stopped")
        if self._check_timer is not None:
            self._check_timer.cancel()
        self._dispatcher.close()
        self._log.info("front_stopped", front="fast")

    def _make_exchange(self, loop: asyncio.AbstractEventLoop) -> Exchange:
        """Return what the connections share, with a route for each method."""
        turn = Turn(loop)
        routes: dict[bytes, Route] = {}
        names = [HEALTH_NAME, *REFLECTION_NAMES, *(service.name for service in self._services)]
        reflect = ReflectionRoute(
            names, descriptor_pool.Default(), self._dispatcher, loop, self._clock
        )
        for name in REFLECTION_NAMES:
            routes[f"/{name}/{reflect.name}".encode()] = reflect
        for service in (*self._services, self._health.make_service()):
            for method in service.methods:
                path = f"/{service.name}/{method.name}".encode()
                if isinstance(method, BatchedMethod):
                    routes[path] = BatchedRoute(method, self._dispatcher, turn, self._clock)
                elif isinstance(method, DeferredMethod):
                    routes[path] = self._make_deferred(method, loop)
                elif isinstance(method, ForwardedMethod):
                    routes[path] = ForwardedRoute(method, self._dispatcher, loop, self._clock)
                elif isinstance(method, StreamedMethod):
                    routes[path] = StreamedRoute(method, self._dispatcher, loop, self._clock)
                else:
                    routes[path] = SingleRoute(method, self._dispatcher, loop, self._clock)
        return Exchange(
            routes,
            loop=loop,
            turn=turn,
            dispatcher=self._dispatcher,
            clock=self._clock,
            log=self._log,
        )

    def _make_deferred(self, method: DeferredMethod, loop: asyncio.AbstractEventLoop) -> Route:
        if method.gathered is None:
            return DeferredRoute(method, self._dispatcher, loop, self._clock)
        return GatheredRoute(method, method.gathered, self._dispatcher, loop, self._clock)

    def _make_tls_context(self) -> ssl.SSLContext | None:
        """Return the settings of an encrypted port, if it is one."""
        return None if self._tls is None else make_tls_context(self._tls)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look after the time limits, again and again."""
        self.exchange.check()
        self._check_timer = loop.call_later(_CHECK_S, self._check, loop)


async def _listen(
    opened: socket.socket, exchange: Exchange, context: ssl.SSLContext | None
) -> asyncio.AbstractServer | EncryptedPort:
    """Take connections from a listening socket."""
    if context is not None:
        return EncryptedPort(opened, exchange, context)
    loop = exchange.loop
    create = loop.create_unix_server if opened.family == socket.AF_UNIX else loop.create_server
    # (The loop listens anew, by default for 100 connections that wait.)
    return await create(lambda: FastConnection(exchange), sock=opened, backlog=BACKLOG)
