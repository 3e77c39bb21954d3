"""A worker's way to the keeper: calls that change something travel on, still encoded.

Everything goes over one Unix socket in the data folder, in batches: what one turn of the event
loop brings is one write. The messages are lists:

- `[number, path, remaining_ns, peer, request]` asks for a call; `remaining_ns` is None without a
  deadline;
- `[number]` says that nobody waits for that call any longer;
- `[0, topic, body]` tells something that nobody waits for;
- `[number, status, response]` answers a call: `status` is None when it succeeded;
- `[0, topic, body]` from the keeper tells all workers something;
- `[0]` is what a keeper begins with. Until then nothing is sent: a keeper that is frozen, or that
  is being taken down, lets others connect too.
"""

import asyncio
import itertools
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from google.rpc import status_pb2

from instanter import limits, wire_limits
from instanter.clock import Clock
from instanter.errors import ExhaustedError, UnavailableError
from instanter.events_log import EventsLog
from instanter.frames import Frames, pack
from instanter.metrics import Metrics
from instanter.rpc.front import (
    Answer,
    CallContext,
    DeferredMethod,
    ForwardedMethod,
    Method,
    Service,
)

SOCKET_NAME: Final = "keeper.sock"
"""The socket's name in the data folder."""

DECISIONS_TOPIC: Final = "decisions"
"""What workers tell of their decisions, a turn each."""

FRAME_SIZE_BYTES_MAX: Final = wire_limits.REPLY_SIZE_BYTES_MAX + (1 << 16)
"""Bytes of the longest message: a reply with what comes around it."""

_RETRY_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call that has no answer yet."""

    path: str
    request: bytes
    context: CallContext
    begun_ns: int
    future: asyncio.Future[Answer]


class Forwarder:
    """Forwards calls to the keeper, over a connection that it makes anew when it breaks.

    For one event loop.

    Parameters
    ----------
    folder
        The data folder.
    log, metrics, clock
        What takes the connection's story, what counts, and what tells how long a call waits.
    hearers
        By topic, what takes that which the keeper tells; called on the event loop.
    """

    def __init__(
        self,
        folder: Path,
        *,
        log: EventsLog,
        metrics: Metrics,
        clock: Clock,
        hearers: Mapping[str, Callable[[bytes], None]] = MappingProxyType({}),
    ) -> None:
        self._folder = folder
        self._hearers = hearers
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._numbers = itertools.count(1)
        self._early: dict[int, _Asked] = {}
        self._sent: dict[int, _Asked] = {}
        self._size_bytes = 0
        self._told: deque[bytes] = deque()
        self._told_size_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._attempt: asyncio.BaseTransport | None = None
        self._outgoing: list[bytes] = []
        self._connecting: asyncio.Task[None] | None = None
        self._thread = 0
        self._stopping = False

    async def start(self) -> None:
        """Begin to connect; calls may be forwarded from now on."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._connecting = self._loop.create_task(self._connect())

    def stop(self) -> None:
        """Close the connection; calls without an answer fail."""
        self._stopping = True
        if self._connecting is not None:
            self._connecting.cancel()
        for number in tuple(self._early):
            self._fail(self._early, number, _replaced())
        if self._transport is not None:
            self._flush()
            self._transport.close()
        elif self._attempt is not None:
            self._attempt.close()

    def redirect(
        self,
        service: Service,
        further: Iterable[str],
        after: Mapping[str, Callable[[], object]] = MappingProxyType({}),
    ) -> Service:
        """Return a service whose deferred methods are forwarded.

        Parameters
        ----------
        service
            The service as it is where it is answered.
        further
            Names of more methods to forward.
        after
            By method, what runs on a thread after it has succeeded, before its caller hears of it.
        """
        named = frozenset(further)
        methods: list[Method] = []
        for method in service.methods:
            if not isinstance(method, DeferredMethod) and method.name not in named:
                methods.append(method)
                continue
            path = f"/{service.name}/{method.name}"
            function = partial(self.forward, path)
            if method.name in after:
                function = partial(self._forward_and, after[method.name], path)
            methods.append(ForwardedMethod(method.name, function))
        return Service(service.name, tuple(methods))

    def forward(self, path: str, request: bytes, context: CallContext) -> asyncio.Future[Answer]:
        """Hand a call to the keeper; the future has its answer.

        It raises an `UnavailableError` when there is no keeper for `limits.KEEPER_WAIT_NS_MAX`, or
        when the one that had the call ended before it answered. Cancelling it tells the keeper
        that nobody waits any longer.

        Parameters
        ----------
        path
            Service and method, `/instanter.v1.CustomerService/UpdateCustomer` for example.
        request, context
            The encoded request, and what is known about the call.

        Raises
        ------
        ExhaustedError
            Too many calls wait for the keeper.
        """
        waiting_count = len(self._early) + len(self._sent)
        if (
            waiting_count >= limits.FORWARDED_CALLS_MAX
            or self._size_bytes + len(request) > limits.FORWARDED_SIZE_BYTES_MAX
        ):
            raise ExhaustedError(
                f"{waiting_count} calls with {self._size_bytes:,} bytes wait for the keeper; retry"
                " later",
                reason="WRITES_WAITING_EXHAUSTED",
            )
        number = next(self._numbers)
        future: asyncio.Future[Answer] = self._loop.create_future()
        asked = _Asked(path, request, context, self._clock.monotonic_ns(), future)
        self._size_bytes += len(request)
        future.add_done_callback(partial(self._forget, number, len(request)))
        self._metrics.calls_forwarded_count += 1
        if self._transport is None:
            self._early[number] = asked
        else:
            self._ask(number, asked)
        return future

    def _forward_and(
        self, after: Callable[[], object], path: str, request: bytes, context: CallContext
    ) -> asyncio.Future[Answer]:
        """Forward a call, and call `after` before its success is told."""

        async def forward() -> Answer:
            answer = await self.forward(path, request, context)
            if isinstance(answer, bytes):
                await asyncio.to_thread(after)
            return answer

        return self._loop.create_task(forward())

    def tell(self, topic: str, body: bytes) -> None:
        """Tell the keeper something that nobody waits for; on any thread.

        When it does not take it, because there is none or it is behind, at most
        `limits.TOLD_SIZE_BYTES_MAX` bytes wait; what comes on top is dropped and counted.
        """
        message = pack((0, topic, body))
        if threading.get_ident() == self._thread:
            self._tell(message)
        else:
            self._loop.call_soon_threadsafe(self._tell, message)

    def _tell(self, message: bytes) -> None:
        transport = self._transport
        waiting = self._told_size_bytes if transport is None else transport.get_write_buffer_size()
        if waiting + len(message) > limits.TOLD_SIZE_BYTES_MAX:
            self._metrics.decision_records_dropped_count += 1
        elif transport is None:
            self._told.append(message)
            self._told_size_bytes += len(message)
        else:
            self._send(message)

    def _ask(self, number: int, asked: _Asked) -> None:
        """Send a call."""
        deadline_ns = asked.context.deadline_ns
        remaining_ns = None if deadline_ns is None else deadline_ns - self._clock.monotonic_ns()
        self._sent[number] = asked
        self._send(pack((number, asked.path, remaining_ns, asked.context.peer, asked.request)))

    def _send(self, message: bytes) -> None:
        """Send a message with the others of this turn."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(message)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and self._transport is not None:
            self._transport.write(b"".join(outgoing))

    def _forget(self, number: int, size_bytes: int, future: asyncio.Future[Answer]) -> None:
        """Let go of a call that is done; tell the keeper when nobody waits for it any longer."""
        self._size_bytes -= size_bytes
        self._early.pop(number, None)
        if (
            self._sent.pop(number, None) is not None
            and future.cancelled()
            and self._transport is not None
        ):
            self._send(pack((number,)))

    def _fail(self, asked: dict[int, _Asked], number: int, error: UnavailableError) -> None:
        future = asked.pop(number).future
        if not future.done():
            future.set_exception(error)

    async def _connect(self) -> None:
        """Try to reach a keeper until one answers; what waits for longer than it may fails."""
        while self._transport is None:
            attempt = self._attempt
            if (attempt is None or attempt.is_closing()) and (
                opened := _open_socket(self._folder)
            ) is not None:
                self._attempt, _ = await self._loop.create_unix_connection(
                    lambda: _KeeperProtocol(self), sock=opened
                )
            now_ns = self._clock.monotonic_ns()
            for number, asked in tuple(self._early.items()):
                if now_ns - asked.begun_ns >= limits.KEEPER_WAIT_NS_MAX:
                    self._fail(self._early, number, _replaced())
            await asyncio.sleep(_RETRY_S)

    def attach(self, transport: asyncio.Transport) -> None:
        """Use a connection, for what has waited first. For the protocol of the connection."""
        self._transport = transport
        transport.set_write_buffer_limits(wire_limits.WRITE_BUFFER_SIZE_BYTES_MAX)
        self._outgoing.extend(self._told)
        self._told.clear()
        self._told_size_bytes = 0
        early, self._early = self._early, {}
        for number, asked in early.items():
            if not asked.future.done():
                self._ask(number, asked)
        self._loop.call_soon(self._flush)
        self._log.info("keeper_reached")

    def detach(self) -> None:
        """Give up a connection that has ended, and look for the next. For its protocol."""
        self._attempt = None
        if self._transport is None:
            return
        self._transport = None
        self._outgoing.clear()
        lost_count = len(self._sent)
        for number in tuple(self._sent):
            self._fail(self._sent, number, _lost())
        if not self._stopping:
            self._log.warning("keeper_lost", calls=lost_count)
            self._connecting = self._loop.create_task(self._connect())

    def take(self, message: Any) -> None:
        """Take an answer of the keeper. For the protocol of the connection."""
        number, status, response = message
        asked = self._sent.get(number)
        if asked is not None and not asked.future.done():
            answer = response if status is None else status_pb2.Status.FromString(status)
            asked.future.set_result(answer)

    def hear(self, topic: str, body: bytes) -> None:
        """Hand on what the keeper tells. For the protocol of the connection."""
        hearer = self._hearers.get(topic)
        if hearer is None:
            self._log.error("topic_unknown", topic=topic)
            return
        try:
            hearer(body)
        except Exception as error:  # noqa: BLE001 - nobody waits for it, and calls go on
            self._log.error("topic_failed", topic=topic, exc_info=error)


class _KeeperProtocol(asyncio.Protocol):
    """The worker's end of one connection."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._frames = Frames(FRAME_SIZE_BYTES_MAX)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                if message[0]:
                    self._forwarder.take(message)
                elif len(message) == 1:
                    self._forwarder.attach(self._transport)
                else:
                    self._forwarder.hear(message[1], message[2])
        except ValueError:
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._forwarder.detach()


def _open_socket(folder: Path) -> socket.socket | None:
    """Return a socket that is connected to the keeper, or None when there is none."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with short_path(folder) as path:
            opened.connect(path)
    except OSError:
        opened.close()
        return None
    return opened


@contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """Yield a short path of the keeper's socket: one of more than 107 bytes is refused."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


def _replaced() -> UnavailableError:
    return UnavailableError(
        "the process that writes is being replaced; nothing was written; retry",
        reason="KEEPER_UNAVAILABLE",
    )


def _lost() -> UnavailableError:
    return UnavailableError(
        "the process that writes ended before it answered: the outcome is not known; retry with"
        " the same id",
        reason="KEEPER_LOST",
    )
