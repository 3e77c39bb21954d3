"""The seam between the wire and the services: what a front offers, and what a service hands it.

A service is a set of plain functions over decoded messages, described by a `Service`. A front
takes such descriptions and serves them on a port. No service knows which front runs, and no gRPC
object passes this seam.

A method is one of three kinds, by what its function may do. A fourth kind, for server streaming,
would be one more dataclass beside them, one more member of `Method`, and one more branch in
`rpc/dispatch.py`; the three below would not change.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from instanter.errors import InstanterError


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
    """

    name: str
    request_type: Any
    response_type: Any
    function: Callable[[list[Any]], Sequence[Any | InstanterError]]


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
        Whose threads translate.
    """

    name: str
    request_type: Any
    response_type: Any
    function: Callable[[Any, CallContext], Future[Any]]
    translate: Callable[[Any], Any]
    lane: Lane


Method = BatchedMethod | BlockingMethod | DeferredMethod
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
