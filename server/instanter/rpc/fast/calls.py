"""Calls and where they go: one call, the routes that answer it, and the turn they are answered in.

A route belongs to one method. What arrives in one turn of the event loop, over however many
connections, is answered at its end together: one call of a batched method's function for all of
its requests, then one write for each connection.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from google.protobuf.message import DecodeError, EncodeError
from google.rpc import status_pb2
from ngh2 import Header

from instanter.clock import Clock
from instanter.errors import ExpiredError
from instanter.limits import BATCH_TURN_MAX
from instanter.rpc.dispatch import Dispatcher, undecodable
from instanter.rpc.fast.wire import make_status_headers
from instanter.rpc.front import BatchedMethod, BlockingMethod, CallContext, SinkGroup
from instanter.rpc.response_stream import reply_too_long
from instanter.wire_limits import REPLY_SIZE_BYTES_MAX

_Status: Final = status_pb2.Status


class Replies(Protocol):
    """Takes what calls are answered with: a connection."""

    peer: str
    unfinished_size_bytes: int
    draining: bool
    group: SinkGroup

    def take_message(self, call: "Call", message: bytes | bytearray) -> None:
        """Take the message of a call that came in pieces and is complete."""
        ...

    def reply(self, call: "Call", message: bytes) -> None:
        """End a call with its one message."""
        ...

    def refuse(self, call: "Call", headers: Sequence[Header]) -> None:
        """End a call without a message, or without a further one."""
        ...

    def send(self, call: "Call", message: bytes) -> None:
        """Send one message of a call that streams its responses."""
        ...

    def end(self, call: "Call") -> None:
        """End a call that has streamed its responses."""
        ...

    def get_unread_size_bytes(self, call: "Call") -> int:
        """Return how much of what a call was sent waits for its reader."""
        ...

    def call_after_write(self, function: Callable[[], None]) -> None:
        """Call a function once, after the next write that takes anything off what waits."""
        ...

    def flush(self) -> None:
        """Write what is due."""
        ...

    def read_on(self) -> None:
        """Take more of what the socket has brought."""
        ...


class Call:
    """One call, from its headers to its end.

    Attributes
    ----------
    connection, stream_id
        Where its answer goes.
    route
        Who answers it.
    deadline_ns
        Time of the clock's `monotonic_ns` at which the caller stops waiting, or None.
    begun_ns
        Time at which the call was seen to be incomplete; 0 for one that came whole.
    buffer
        What has arrived of its message with prefix; None unless it came in pieces.
    encoding
        How its message may be compressed; empty for not at all.
    half_closed
        The caller has sent everything.
    open
        It has not ended.
    request
        The decoded message.
    responding
        The first of several responses has been sent.
    work, timer
        What is in progress for it, and the end of its time.
    """

    __slots__ = (
        "begun_ns", "buffer", "connection", "deadline_ns", "encoding", "half_closed", "open",
        "request", "responding", "route", "stream_id", "timer", "work",
    )  # fmt: skip

    def __init__(
        self, connection: Replies, stream_id: int, route: "Route", deadline_ns: int | None
    ) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.route = route
        self.deadline_ns = deadline_ns
        self.begun_ns = 0
        self.buffer: bytearray | None = None
        self.encoding = b""
        self.half_closed = False
        self.open = True
        self.request: Any = None
        self.responding = False
        self.work: Work | None = None
        self.timer: asyncio.TimerHandle | None = None

    def release(self) -> None:
        """Stop the work in progress; nobody waits for it any longer."""
        self.open = False
        self.buffer = None
        if self.work is not None:
            self.work.cancel()
        if self.timer is not None:
            self.timer.cancel()


class Work(Protocol):
    """What is in progress for a call, and stops when nobody waits for it: a task, for example."""

    def cancel(self) -> object:
        """Stop."""
        ...


@runtime_checkable
class EndlessWork(Protocol):
    """Work that has no end of its own, and so is asked to end in order: a stream, for example."""

    def cancel(self) -> object:
        """Stop."""
        ...

    def drain(self) -> None:
        """End in order, soon."""
        ...


class Route(Protocol):
    """Answers the calls of one method."""

    @property
    def name(self) -> str:
        """The method's name."""
        ...

    @property
    def takes_many(self) -> bool:
        """Whether a request may have any number of messages."""
        ...

    def accept(self, call: Call, message: bytes | bytearray) -> None:
        """Take a message of a call; unless it takes many, the whole request."""
        ...


class Turn:
    """What is left to do before the present turn of the event loop ends.

    Parameters
    ----------
    loop
        The running event loop.
    """

    __slots__ = ("_loop", "_readers", "_routes", "_scheduled", "_writers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._routes: list[BatchedRoute] = []
        self._writers: list[Replies] = []
        self._readers: list[Replies] = []
        self._scheduled = False

    def answer(self, route: "BatchedRoute") -> None:
        """Let a route answer its calls at the end of the turn."""
        self._routes.append(route)
        if not self._scheduled:
            self._schedule()

    def write(self, connection: Replies) -> None:
        """Let a connection write at the end of the turn."""
        self._writers.append(connection)
        if not self._scheduled:
            self._schedule()

    def read(self, connection: Replies) -> None:
        """Let a connection take more of what it has in the next turn."""
        self._readers.append(connection)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        """Answer, then write, then read on; what follows from that waits for the next turn."""
        routes, self._routes = self._routes, []
        for route in routes:
            route.answer()
        writers, self._writers = self._writers, []
        readers, self._readers = self._readers, []
        self._scheduled = False
        if self._routes:
            self._schedule()
        for connection in writers:
            connection.flush()
        for connection in readers:
            connection.read_on()


class BatchedRoute:
    """The route of a batched method: the hot path of the server.

    Parameters
    ----------
    method
        The method.
    dispatcher
        Answers its requests.
    turn
        Says when.
    clock
        Tells which deadlines have passed.
    """

    __slots__ = (
        "_answer", "_clock", "_decode", "_dispatcher", "_method", "_turn", "_waiting", "name",
    )  # fmt: skip

    takes_many: Final = False

    def __init__(
        self, method: BatchedMethod, dispatcher: Dispatcher, turn: Turn, clock: Clock
    ) -> None:
        self.name = method.name
        self._method = method
        if method.encoded is None:
            self._decode, self._answer = method.request_type.FromString, dispatcher.answer_batch
        else:
            self._decode, self._answer = bytes, dispatcher.answer_encoded
        self._dispatcher = dispatcher
        self._turn = turn
        self._clock = clock
        self._waiting: list[Call] = []

    def accept(self, call: Call, message: bytes | bytearray) -> None:
        """Take a call whose one message is complete; it is answered when the turn ends."""
        try:
            call.request = self._decode(message)
        except DecodeError as error:
            status = self._dispatcher.fail(self.name, undecodable(error))
            call.connection.refuse(call, make_status_headers(status))
            return
        if not self._waiting:
            self._turn.answer(self)
        self._waiting.append(call)

    def answer(self) -> None:
        """Answer the calls that wait, at most `BATCH_TURN_MAX`; the others in the next turn."""
        calls = self._waiting
        self._waiting = calls[BATCH_TURN_MAX:]
        if self._waiting:
            self._turn.answer(self)
            del calls[BATCH_TURN_MAX:]
        now_ns = self._clock.monotonic_ns()
        live = []
        for call in calls:
            if call.deadline_ns is not None and call.deadline_ns <= now_ns and call.open:
                expire(call, self._dispatcher)
            elif call.open:
                live.append(call)
        if not live:
            return
        requests = [call.request for call in live]
        answers: Sequence[Any]
        try:
            answers = self._answer(self._method, requests)
        except Exception as error:  # noqa: BLE001 - other methods are answered after this one
            answers = [self._dispatcher.fail(self.name, error) for _ in live]
        for call, answer in zip(live, answers, strict=True):
            finish(call, answer, self._dispatcher)


class SingleRoute:
    """The route of a blocking method: a task for each call.

    Parameters
    ----------
    method
        The method.
    dispatcher
        Answers its requests.
    loop
        The running event loop.
    clock
        Tells how long until a deadline.
    """

    __slots__ = ("_clock", "_decode", "_dispatcher", "_loop", "_method", "name")

    takes_many: Final = False

    def __init__(
        self,
        method: BlockingMethod,
        dispatcher: Dispatcher,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self.name = method.name
        self._method = method
        self._decode = method.request_type.FromString
        self._dispatcher = dispatcher
        self._loop = loop
        self._clock = clock

    def accept(self, call: Call, message: bytes | bytearray) -> None:
        """Take a call whose one message is complete, and begin to answer it."""
        if not start_timer(call, self._dispatcher, self._loop, self._clock):
            return
        try:
            request = self._decode(message)
        except DecodeError as error:
            finish(call, self._dispatcher.fail(self.name, undecodable(error)), self._dispatcher)
            return
        context = CallContext(call.deadline_ns, call.connection.peer)
        call.work = self._loop.create_task(self._answer(call, request, context))

    async def _answer(self, call: Call, request: Any, context: CallContext) -> None:
        """Answer a call; cancelled when nobody waits for it any longer."""
        answer = await self._dispatcher.answer_blocking(self._method, request, context)
        # The task ends by itself from here on: nobody has to cancel it.
        call.work = None
        if call.open:
            finish(call, answer, self._dispatcher)


def start_timer(
    call: Call, dispatcher: Dispatcher, loop: asyncio.AbstractEventLoop, clock: Clock
) -> bool:
    """Let a call expire at its deadline; return whether there is time left."""
    if call.deadline_ns is None:
        return True
    remaining_ns = call.deadline_ns - clock.monotonic_ns()
    if remaining_ns <= 0:
        expire(call, dispatcher)
        return False
    call.timer = loop.call_later(remaining_ns / 1e9, expire, call, dispatcher)
    return True


def expire(call: Call, dispatcher: Dispatcher) -> None:
    """End a call whose deadline has passed."""
    error = ExpiredError(
        "the deadline passed before the call began"
        if call.work is None
        else "the deadline passed while the call was being answered"
    )
    status = dispatcher.fail(call.route.name, error)
    call.connection.refuse(call, make_status_headers(status))


def finish(call: Call, answer: Any, dispatcher: Dispatcher) -> None:
    """End a call with its response, encoded or not, or with the status it failed with."""
    if answer.__class__ is not _Status:
        try:
            raw = answer if answer.__class__ is bytes else answer.SerializeToString()
        except (EncodeError, ValueError) as error:
            answer = dispatcher.fail(call.route.name, error)
        else:
            if len(raw) <= REPLY_SIZE_BYTES_MAX:
                call.connection.reply(call, raw)
                return
            answer = dispatcher.fail(call.route.name, reply_too_long(len(raw)))
    call.connection.refuse(call, make_status_headers(answer))
