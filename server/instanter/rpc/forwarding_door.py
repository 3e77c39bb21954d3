"""The keeper's end of the forwarding of calls, see `rpc/forwarding`: runs what workers ask for."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from google.protobuf.message import EncodeError
from google.rpc import status_pb2

from instanter import wire_limits
from instanter.clock import Clock
from instanter.errors import InvalidFieldError, NotFoundError
from instanter.events_log import EventsLog
from instanter.frames import Frames, pack
from instanter.keeper.commands import Gathering
from instanter.metrics import Metrics
from instanter.rpc.dispatch import Dispatcher, decode
from instanter.rpc.forwarding import FRAME_SIZE_BYTES_MAX, SOCKET_NAME, short_path
from instanter.rpc.front import (
    BlockingMethod,
    CallContext,
    DeferredMethod,
    GatheredWork,
    Service,
)
from instanter.rpc.response_stream import reply_too_long

_BACKLOG: Final = 64
_DRAIN_CHECK_S: Final = 0.01
_IDLE_NS: Final = 100_000_000
"""Time without a call after which workers that are still there are hung up on."""

Answerable = BlockingMethod | DeferredMethod

Encoded = tuple[bytes | None, bytes]
"""Status, None for success, and response of a call, both encoded."""


class ForwardingDoor:
    """Answers the calls that workers forward. For one event loop, started once.

    Parameters
    ----------
    services
        Whose blocking and deferred methods are answered.
    hearers
        By topic, what takes that which workers tell; called on the event loop.
    greetings
        By topic, what returns that which a worker is told when it connects.
    log, metrics, clock
        As in `Dispatcher`.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        hearers: Mapping[str, Callable[[bytes], None]],
        greetings: Mapping[str, Callable[[], bytes]] = MappingProxyType({}),
        log: EventsLog,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._methods = {
            f"/{service.name}/{method.name}": method
            for service in services
            for method in service.methods
            if isinstance(method, BlockingMethod | DeferredMethod)
        }
        self._hearers = hearers
        self._greetings = greetings
        self._log = log
        self._clock = clock
        self._dispatcher = Dispatcher(log=log, metrics=metrics, clock=clock)
        self._gatherings: dict[str, Gathering] = {}
        self._folder: Path | None = None
        self._server: asyncio.AbstractServer | None = None
        self.visitors: set[_WorkerProtocol] = set()

    async def start(self, folder: Path) -> None:
        """Open the socket in the data folder, for this user alone.

        Raises
        ------
        OSError
            It cannot be opened.
        """
        loop = self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        # Whoever left it there is dead: the keeper's lock has been taken before.
        (folder / SOCKET_NAME).unlink(missing_ok=True)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_path(folder) as path:
                opened.bind(path)
            os.chmod(folder / SOCKET_NAME, 0o600)  # noqa: PTH101 - beside bind, which takes a path
            opened.listen(_BACKLOG)
            self._server = await loop.create_unix_server(lambda: _WorkerProtocol(self), sock=opened)
        except BaseException:
            opened.close()
            raise
        self._folder = folder

    async def stop(self, grace_ns: int) -> None:
        """Take no more workers, and let calls in flight finish for `grace_ns`."""
        if self._server is None or self._folder is None:
            return
        self._server.close()
        (self._folder / SOCKET_NAME).unlink(missing_ok=True)
        idle_ns = begun_ns = self._clock.monotonic_ns()
        # A worker that has ended is gone once all that it told is heard; one that has not may
        # have told something that is still in the socket.
        while self.visitors and idle_ns - begun_ns < grace_ns:
            now_ns = self._clock.monotonic_ns()
            if any(visitor.is_busy for visitor in self.visitors):
                idle_ns = now_ns
            elif now_ns - idle_ns >= _IDLE_NS:
                break
            await asyncio.sleep(_DRAIN_CHECK_S)
        for visitor in tuple(self.visitors):
            visitor.close()
        self._dispatcher.close()

    def tell(self, topic: str, body: bytes) -> None:
        """Tell all workers something; on any thread."""
        message = pack((0, topic, body))
        if threading.get_ident() == self._thread:
            self._tell(message)
        else:
            self._loop.call_soon_threadsafe(self._tell, message)

    def _tell(self, message: bytes) -> None:
        for visitor in self.visitors:
            visitor.send(message)

    def greet(self) -> bytes:
        """Return what a worker is told when it connects. For the connections."""
        told = [pack((0, topic, describe())) for topic, describe in self._greetings.items()]
        return b"".join((pack((0,)), *told))

    def hear(self, topic: str, body: bytes) -> None:
        """Hand on what a worker tells; what nobody takes is logged. For the connections."""
        hearer = self._hearers.get(topic)
        if hearer is None:
            self._log.error("topic_unknown", topic=topic)
            return
        try:
            hearer(body)
        except Exception as error:  # noqa: BLE001 - nobody waits for it, and others are served on
            self._log.error("topic_failed", topic=topic, exc_info=error)

    def answer(
        self,
        path: str,
        remaining_ns: int | None,
        peer: str,
        request: bytes,
        end: Callable[[Encoded], None],
    ) -> "Future[Any] | asyncio.Task[None] | _Gathered | None":
        """Begin to answer one call; for the connections.

        Parameters
        ----------
        path, remaining_ns, peer, request
            What is asked, and how long somebody waits for it.
        end
            Called on the loop with the answer, unless what is returned was cancelled.

        Returns
        -------
        object or None
            What is cancelled when nobody waits any longer; None when it is answered already.
        """
        dispatcher = self._dispatcher
        method = self._methods.get(path)
        if method is None:
            error = NotFoundError(f"the keeper has no method {path}", reason="METHOD_UNKNOWN")
            end((dispatcher.fail(path, error).SerializeToString(), b""))
            return None
        deadline_ns = None
        if remaining_ns is not None:
            deadline_ns = self._clock.monotonic_ns() + remaining_ns
        context = CallContext(deadline_ns, peer)
        if isinstance(method, BlockingMethod) or method.lane is not None:
            try:
                decoded = decode(method.request_type, request)
            except InvalidFieldError as error:
                end((dispatcher.fail(method.name, error).SerializeToString(), b""))
                return None
            loop = asyncio.get_running_loop()
            return loop.create_task(self._answer_apart(method, decoded, context, end))
        if method.gathered is not None:
            return self._gather(path, method, method.gathered, request, deadline_ns, end)
        future = dispatcher.begin(method, request, context)
        if not isinstance(future, Future):
            end(self._encode(method, future))
            return None
        future.add_done_callback(partial(self._take, method, end))
        return future

    async def _answer_apart(
        self,
        method: Answerable,
        request: Any,
        context: CallContext,
        end: Callable[[Encoded], None],
    ) -> None:
        if isinstance(method, BlockingMethod):
            answer = await self._dispatcher.answer_blocking(method, request, context)
        else:
            answer = await self._dispatcher.answer_deferred(method, request, context)
        end(self._encode(method, answer))

    def _gather(
        self,
        path: str,
        method: DeferredMethod,
        work: GatheredWork,
        request: bytes,
        deadline_ns: int | None,
        end: Callable[[Encoded], None],
    ) -> "_Gathered | None":
        """Hand a call over together with those that came before it."""
        asked = _Gathered(end)
        gathering = self._gatherings.get(path)
        try:
            made = work.make(request, deadline_ns)
            if gathering is None or not gathering.add(made, asked):
                tell = partial(self._take_gathered, method)
                self._gatherings[path] = work.gather(made, asked, tell)
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            end(self._encode(method, self._dispatcher.fail(method.name, error)))
            return None
        return asked

    def _take_gathered(
        self, method: DeferredMethod, asked: Sequence["_Gathered"], outcomes: Sequence[Any]
    ) -> None:
        """End calls whose work is done, on whichever thread that was."""
        if threading.get_ident() == self._thread:
            self._end_gathered(method, asked, outcomes)
        else:
            self._loop.call_soon_threadsafe(self._end_gathered, method, asked, outcomes)

    def _end_gathered(
        self, method: DeferredMethod, asked: Sequence["_Gathered"], outcomes: Sequence[Any]
    ) -> None:
        for each, outcome in zip(asked, outcomes, strict=True):
            if each.open:
                each.open = False
                try:
                    each.end(self._encode(method, self._dispatcher.encode(method, outcome)))
                except Exception as error:  # noqa: BLE001 - the others have to be told, too
                    self._dispatcher.fail(method.name, error)

    def _take(
        self, method: DeferredMethod, end: Callable[[Encoded], None], future: Future[Any]
    ) -> None:
        """End a call whose work is done, on whichever thread that was."""
        if threading.get_ident() == self._thread:
            self._end(method, end, future)
        else:
            self._loop.call_soon_threadsafe(self._end, method, end, future)

    def _end(
        self, method: DeferredMethod, end: Callable[[Encoded], None], future: Future[Any]
    ) -> None:
        if not future.cancelled():
            end(self._encode(method, self._dispatcher.translate(method, future)))

    def _encode(self, method: Answerable, answer: Any) -> Encoded:
        if isinstance(answer, status_pb2.Status):
            return answer.SerializeToString(), b""
        try:
            raw = answer if isinstance(answer, bytes) else answer.SerializeToString()
        except (EncodeError, ValueError) as error:
            return self._dispatcher.fail(method.name, error).SerializeToString(), b""
        if len(raw) > wire_limits.REPLY_SIZE_BYTES_MAX:
            too_long = reply_too_long(len(raw))
            return self._dispatcher.fail(method.name, too_long).SerializeToString(), b""
        return None, raw


class _Gathered:
    """A call that is handed over together with others."""

    __slots__ = ("end", "open")

    def __init__(self, end: Callable[[Encoded], None]) -> None:
        self.end = end
        self.open = True

    def cancel(self) -> None:
        """Have it dropped: nobody waits any longer."""
        self.open = False

    def done(self) -> bool:
        """Return whether it has ended."""
        return not self.open


class _WorkerProtocol(asyncio.Protocol):
    """The keeper's end of the connection of one worker."""

    def __init__(self, door: ForwardingDoor) -> None:
        self._door = door
        self._frames = Frames(FRAME_SIZE_BYTES_MAX)
        self._works: dict[int, Future[Any] | asyncio.Task[None] | _Gathered] = {}
        self._outgoing: list[bytes] = []

    @property
    def is_busy(self) -> bool:
        """Whether a call is being answered, or an answer waits to be read."""
        return bool(self._works or self._outgoing or self._transport.get_write_buffer_size())

    def close(self) -> None:
        """End the connection."""
        self._flush()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._transport.set_write_buffer_limits(wire_limits.WRITE_BUFFER_SIZE_BYTES_MAX)
        self._door.visitors.add(self)
        self._transport.write(self._door.greet())

    def connection_lost(self, _: Exception | None) -> None:
        self._door.visitors.discard(self)
        for work in tuple(self._works.values()):
            work.cancel()
        self._works.clear()

    def pause_writing(self) -> None:
        """Take no more calls of a worker that does not read its answers."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._take(message)
        except ValueError:
            self._transport.abort()

    def _take(self, message: Any) -> None:
        number = message[0]
        if number == 0:
            self._door.hear(message[1], message[2])
        elif len(message) == 1:
            work = self._works.pop(number, None)
            if work is not None:
                work.cancel()
        else:
            path, remaining_ns, peer, request = message[1:]
            end = partial(self._answer, number)
            work = self._door.answer(path, remaining_ns, peer, request, end)
            if work is not None and not work.done():
                self._works[number] = work

    def _answer(self, number: int, answer: Encoded) -> None:
        """Send an answer at the end of the turn."""
        self._works.pop(number, None)
        self.send(pack((number, *answer)))

    def send(self, message: bytes) -> None:
        """Send a message at the end of the turn."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(message)

    def _flush(self) -> None:
        """Send the answers of this turn in one write."""
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and not self._transport.is_closing():
            self._transport.write(b"".join(outgoing))
