"""The seam between the wire and the services: what a front offers, and what a service hands it.

A service is a set of plain functions over decoded messages, described by a `Service`. A front
takes such descriptions and serves them on a port. No service knows which front runs, and no gRPC
object passes this seam.

A method is one of five kinds, by what its function may do. Requests are always one message: no
method of the contract takes a stream of them, and a caller that sends one is told so.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from google.rpc import status_pb2

from instanter.errors import InstanterError
from instanter.keeper.commands import Gather


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a function may know about the call beside its request.

    Attributes
    ----------
    deadline_ns
        Time of the clock's `monotonic_ns` at which the caller stops waiting; None for never.
    peer
        Who calls, as the front names connections; for people, never to decide on.
    """

    deadline_ns: int | None
    peer: str


@dataclass(frozen=True, slots=True)
class BatchedMethod:
    """A method whose requests are answered together when they arrive together.

    Attributes
    ----------
    name
        Name of the method in the contract.
    request_type, response_type
        Message classes.
    function
        From the requests of one turn (at most `limits.BATCH_TURN_MAX`) to as many answers in their
        order. It runs on the event loop, so it neither blocks nor takes longer than milliseconds,
        and it changes nothing: after an unexpected exception it is called again, request by
        request, so that one poisoned request does not spoil its neighbours.
    encoded
        The same from encoded requests to encoded responses, where that takes less; then a front
        may call it instead. None when there is none.
    """

    name: str
    request_type: Any
    response_type: Any
    function: Callable[[list[Any]], Sequence[Any | InstanterError]]
    encoded: Callable[[list[bytes]], Sequence[bytes | InstanterError]] | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """Threads that blocking methods run on, apart from other lanes.

    Attributes
    ----------
    name
        Names the threads; methods with equal lanes share them.
    threads
        How many calls run at the same time.
    waiting_max
        How many more may wait for a thread; further ones are refused with RESOURCE_EXHAUSTED.
    """

    name: str
    threads: int
    waiting_max: int


@dataclass(frozen=True, slots=True)
class BlockingMethod:
    """A method that takes its time: runs on a thread of its lane.

    Attributes
    ----------
    name, request_type, response_type
        As in `BatchedMethod`.
    function
        From request and context to the response; raises an `InstanterError` otherwise.
    lane
        Whose threads it runs on.
    """

    name: str
    request_type: Any
    response_type: Any
    function: Callable[[Any, CallContext], Any]
    lane: Lane


@dataclass(frozen=True, slots=True)
class GatheredWork:
    """How the requests of a deferred method are handed over together.

    Attributes
    ----------
    make
        From an encoded request and its deadline, as in `CallContext`, to what is handed over.
    gather
        Begins with a first one, see `keeper/commands.Gather`. What is told is a result, for the
        method's `encode`, or an error, also that of a request that cannot be decoded.
    """

    make: Callable[[bytes, int | None], Any]
    gather: Gather


@dataclass(frozen=True, slots=True)
class DeferredMethod:
    """A method that hands its work over and holds no thread while it waits, a write for example.

    Attributes
    ----------
    name, request_type, response_type
        As in `BatchedMethod`.
    function
        Called on the event loop; returns at once with the future of the result, or raises an
        `InstanterError`. The future is cancelled when the caller goes away.
    translate
        From that result to the response; runs on a thread of the lane, even when the lane is
        full, because the work is done by then.
    lane
        Whose threads translate; None for the event loop, where it takes microseconds.
    gathered
        How encoded requests are handed over together, where that takes less than one by one; then
        a front may do so instead. None when there is none, and always with a lane.
    encode
        From what becomes of one that was gathered to the encoded response; None as `gathered` is.
    """

    name: str
    request_type: Any
    response_type: Any
    function: Callable[[Any, CallContext], Future[Any]]
    translate: Callable[[Any], Any]
    lane: Lane | None
    gathered: GatheredWork | None = None
    encode: Callable[[Any], bytes] | None = None


class SinkGroup(Protocol):
    """Takes one response for many sinks at once, where that takes less than one after the other."""

    def offer_encoded(self, response: bytes, sinks: Sequence[Any]) -> list[Any]:
        """Do what `offer_encoded` of each sink does; return those that have not taken it.

        Parameters
        ----------
        response
            The encoded response.
        sinks
            Sinks of this group, each of them once.
        """
        ...


class Sink(Protocol):
    """Takes the responses of one streamed call. May be used on any thread, also after the end.

    What has been taken is sent in its order, as fast as the caller reads it; the end comes behind
    it. A caller that goes away, or whose deadline passes, ends the stream at once.
    """

    @property
    def group(self) -> SinkGroup:
        """What takes a response for this sink and others with the same group; never changes."""
        ...

    @property
    def ended(self) -> bool:
        """Whether no further response is taken, because the caller is gone for example."""
        ...

    def offer(self, response: Any) -> bool:
        """Take a response to be sent, unless the stream has ended or too many wait; never waits.

        When `wire_limits.STREAM_WAITING_MAX` responses wait, the caller does not keep up. Whoever
        makes responses at a pace that is not the caller's then ends the stream with `fail` and an
        error that says from where to go on; whoever can wait calls `wait_for_room`.
        """
        ...

    def offer_encoded(self, response: bytes) -> bool:
        """Do what `offer` does with an encoded response, which many sinks may share."""
        ...

    def call_when_room(self, function: Callable[[], object]) -> None:
        """Call a function once when half of what may wait has left; never when the stream ends.

        It is called on the event loop, so it neither blocks nor takes long.
        """
        ...

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until a response is taken; False when the stream has ended or time is up.

        Never on the event loop.
        """
        ...

    def finish(self) -> None:
        """End the stream: the call has succeeded."""
        ...

    def fail(self, error: Exception) -> None:
        """End the stream with an error; one that is no `InstanterError` is a bug."""
        ...

    def call_when_ended(self, function: Callable[[], object]) -> None:
        """Call a function once when the call is over, however it ends; at once when it is.

        It is called on the event loop as a rule, so it neither blocks nor takes long.
        """
        ...


@dataclass(frozen=True, slots=True)
class StreamedMethod:
    """A method with any number of responses, made when there is something to tell.

    No thread waits for the next response of a stream: whoever makes responses, on a thread of its
    own, keeps the sinks of those who want them.

    Attributes
    ----------
    name, request_type, response_type
        As in `BatchedMethod`.
    function
        Called on the event loop; hands the sink to whoever makes the responses and returns at
        once, or raises an `InstanterError`. It is the sink that ends the call, not the return.
    """

    name: str
    request_type: Any
    response_type: Any
    function: Callable[[Any, CallContext, Sink], None]


Answer: TypeAlias = bytes | status_pb2.Status
"""An encoded response, or the status that a call failed with."""


@dataclass(frozen=True, slots=True)
class ForwardedMethod:
    """A method that another process answers: what passes through stays encoded.

    Attributes
    ----------
    name
        As in `BatchedMethod`.
    function
        From the encoded request to the future of the answer. Called on the event loop; returns at
        once, or raises an `InstanterError`. The future is cancelled when the caller goes away; a
        failed call is counted where it is answered, unless the future has an error.
    """

    name: str
    function: Callable[[bytes, CallContext], asyncio.Future[Answer]]


Method = BatchedMethod | BlockingMethod | DeferredMethod | ForwardedMethod | StreamedMethod
"""A method of any kind."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the contract and the functions that answer for it.

    Attributes
    ----------
    name
        Full name, `instanter.v1.DecisionService` for example.
    methods
        All of its methods.
    """

    name: str
    methods: tuple[Method, ...]


class Front(Protocol):
    """Serves services on a port. Its methods are called on the event loop it serves from."""

    async def start(self, address: str, port: int) -> int:
        """Open the port, serve, and report healthy; return the port that was bound.

        Parameters
        ----------
        address
            Host name or address to listen on.
        port
            TCP port; 0 for any free one.

        Raises
        ------
        UnavailableError
            The port could not be opened, because another server has it for example.
        """
        ...

    async def stop(self, grace_ns: int) -> None:
        """Report unhealthy, take no new calls, let those in flight finish for `grace_ns`."""
        ...
