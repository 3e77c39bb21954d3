"""What all connections of the fast front share: the routes, the turn, and the common limits."""

import asyncio
from typing import Protocol

from ngh2 import ErrorCode

from instanter import wire_limits
from instanter.clock import Clock
from instanter.descriptors import count_connections_max
from instanter.events_log import EventsLog
from instanter.rpc.dispatch import Dispatcher
from instanter.rpc.fast.calls import Route, Turn
from instanter.rpc.fast.wire import Framing


class Connected(Protocol):
    """A connection, as whoever looks after all of them sees it."""

    draining: bool

    def check(self, now_ns: int) -> None:
        """Enforce the limits on time."""
        ...

    def drain(self) -> None:
        """Ask the client to take new calls elsewhere; let those in flight finish."""
        ...

    def close(self) -> None:
        """End all calls with UNAVAILABLE, and close."""
        ...

    def abort(self, reason: str) -> None:
        """Disconnect at once."""
        ...


class Exchange:
    """The state of one front, as its connections see it.

    Parameters
    ----------
    routes
        From path, `/package.Service/Method`, to what answers it.
    loop, turn, dispatcher, clock, log
        What connections work with.

    Attributes
    ----------
    connections
        Connections that are open.
    framing
        Frames what many calls are sent.
    handshakes_count
        Connections that are being encrypted.
    calls_count
        Calls that have begun and not ended.
    unfinished_size_bytes
        Bytes of requests that have not arrived whole.
    closed_counts
        Connections that ended before their time, by reason.
    """

    __slots__ = (
        "_closed_logged_count", "_closed_logged_ns", "calls_count", "clock", "closed_counts",
        "connections", "dispatcher", "framing", "handshakes_count", "log", "loop", "routes", "turn",
        "unfinished_size_bytes",
    )  # fmt: skip

    def __init__(
        self,
        routes: dict[bytes, Route],
        *,
        loop: asyncio.AbstractEventLoop,
        turn: Turn,
        dispatcher: Dispatcher,
        clock: Clock,
        log: EventsLog,
    ) -> None:
        self.routes = routes
        self.loop = loop
        self.turn = turn
        self.dispatcher = dispatcher
        self.clock = clock
        self.log = log
        self.connections: set[Connected] = set()
        self.framing = Framing()
        self.handshakes_count = 0
        self.calls_count = 0
        self.unfinished_size_bytes = 0
        self.closed_counts: dict[str, int] = {}
        self._closed_logged_count = 0
        self._closed_logged_ns = 0

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return len(self.connections) + self.handshakes_count >= count_connections_max()

    def count_closed(self, reason: str) -> None:
        """Count a connection that ends before its time, and why."""
        self.closed_counts[reason] = self.closed_counts.get(reason, 0) + 1

    def count_closed_code(self, code: int) -> None:
        """Count a connection that ends with an error code of HTTP/2; peers send any number."""
        if code:
            known = code in set(ErrorCode)
            self.count_closed(ErrorCode(code).name.lower() if known else "unknown_error")

    def check(self) -> None:
        """Look after the time limits of every connection; called about once a second."""
        now_ns = self.clock.monotonic_ns()
        for connection in tuple(self.connections):
            try:
                connection.check(now_ns)
            except Exception as error:
                self.log.error("connection_failed_by_bug", exc_info=error)
                connection.abort("bug")
        self._log_closed(now_ns)

    def _log_closed(self, now_ns: int) -> None:
        """Log how many connections were closed, at most one line a minute: floods must not."""
        count = sum(self.closed_counts.values())
        if count == self._closed_logged_count:
            return
        if (
            now_ns - self._closed_logged_ns >= wire_limits.KEEPALIVE_NS
            or not self._closed_logged_count
        ):
            self._closed_logged_count = count
            self._closed_logged_ns = now_ns
            self.log.warning("connections_closed", total_by_reason=dict(self.closed_counts))
