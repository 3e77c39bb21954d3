"""What every front does alike between a decoded request and its answer.

Collects requests that arrive together, keeps blocking functions off the event loop, turns errors
into statuses, counts the outcomes, and keeps bugs from leaking: the caller gets a correlation id,
the log the traceback.
"""

import asyncio
import secrets
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import coroutine
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.rpc import code_pb2, status_pb2

from instanter.clock import Clock
from instanter.errors import (
    ExhaustedError,
    ExpiredError,
    InstanterError,
    InvalidFieldError,
    UnavailableError,
)
from instanter.events_log import EventsLog
from instanter.limits import BATCH_TURN_MAX
from instanter.metrics import Metrics
from instanter.rpc.front import (
    BatchedMethod,
    BlockingMethod,
    CallContext,
    DeferredMethod,
    Lane,
    StreamedMethod,
)
from instanter.rpc.response_stream import ResponseStream
from instanter.rpc.status import find_code, make_internal_status, make_status

_CODE_NAMES: Final = {number: name for name, number in code_pb2.Code.items()}


class Dispatcher:
    """Answers calls of services; every front has one. Belongs to one event loop.

    Parameters
    ----------
    log
        Takes the tracebacks of bugs.
    metrics
        Counts calls that failed, by code.
    clock
        Tells when a deadline has passed.
    """

    def __init__(self, *, log: EventsLog, metrics: Metrics, clock: Clock) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._lanes: dict[Lane, _LaneThreads] = {}

    def answer_batch(
        self, method: BatchedMethod, requests: list[Any]
    ) -> Sequence[Any | InstanterError | status_pb2.Status]:
        """Answer requests that arrived together; errors are returned as statuses.

        An unexpected exception is answered request by request, so that only the request that
        causes it gets it.
        """
        return self._answer(method.name, method.function, requests)

    def answer_encoded(
        self, method: BatchedMethod, requests: list[bytes]
    ) -> Sequence[bytes | status_pb2.Status]:
        """Do what `answer_batch` does with encoded requests and responses."""
        assert method.encoded is not None, f"{method.name} takes messages only"
        return self._answer(method.name, method.encoded, requests)

    def make_batcher(self, method: BatchedMethod) -> "Batcher":
        """Return what collects the requests of a method; call it on the running loop."""
        return Batcher(asyncio.get_running_loop(), partial(self.answer_batch, method))

    async def answer_blocking(
        self, method: BlockingMethod, request: Any, context: CallContext
    ) -> Any:
        """Answer one request on a thread of the method's lane: a response or a status."""
        work = partial(self._run, method, request, context)
        return await self.run_apart(method.name, method.lane, work)

    async def answer_deferred(
        self, method: DeferredMethod, request: Any, context: CallContext
    ) -> Any:
        """Answer one request, with a response or a status, when its future has a result."""
        try:
            result = await asyncio.wrap_future(method.function(request, context))
            if method.lane is None:
                return method.translate(result)
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            return self.fail(method.name, error)
        return await self.translate_apart(method, result)

    def begin(
        self, method: DeferredMethod, request: bytes | bytearray, context: CallContext
    ) -> Future[Any] | status_pb2.Status:
        """Hand the work of an encoded request over; return its future, or a status.

        `translate` makes the answer of that future's result.
        """
        try:
            return method.function(decode(method.request_type, request), context)
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            return self.fail(method.name, error)

    def translate(self, method: DeferredMethod, future: Future[Any]) -> Any:
        """Return the response that a future of `begin` stands for, or a status."""
        try:
            return method.translate(future.result())
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            return self.fail(method.name, error)

    def encode(self, method: DeferredMethod, outcome: Any) -> bytes | status_pb2.Status:
        """Return the encoded response that an outcome of gathered work stands for, or a status."""
        assert method.encode is not None, "gathered work has it"
        if isinstance(outcome, Exception):
            return self.fail(method.name, outcome)
        try:
            return method.encode(outcome)
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            return self.fail(method.name, error)

    async def translate_apart(self, method: DeferredMethod, result: Any) -> Any:
        """Return what `translate` does, made on a thread of the method's lane."""
        try:
            assert method.lane is not None, "others are translated on the loop"
            threads = self._find_threads(method.lane)
            return await asyncio.wrap_future(threads.submit(partial(method.translate, result)))
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            return self.fail(method.name, error)

    async def run_apart(self, method_name: str, lane: Lane, work: Callable[[], Any]) -> Any:
        """Do what takes too long for the event loop on a thread: its result, or a status."""
        try:
            threads = self._find_threads(lane)
            threads.check_room()
            return await asyncio.wrap_future(threads.submit(work))
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            return self.fail(method_name, error)

    def open_stream(self, method: StreamedMethod, wake: Callable[[], object]) -> ResponseStream:
        """Return the stream that a request is answered with; the front has to close it in the end.

        Parameters
        ----------
        method
            What is asked.
        wake
            Called on any thread when there is something to send.
        """
        stream = ResponseStream(wake, partial(self._log_bug, method.name))
        self._metrics.streams_open_count += 1
        stream.call_when_ended(self._count_stream_end)
        return stream

    def begin_stream(
        self, method: StreamedMethod, request: Any, context: CallContext, stream: ResponseStream
    ) -> None:
        """Begin to answer a request with a stream that the front has opened."""
        try:
            method.function(request, context, stream)
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            stream.fail(error)

    def take_responses(self, stream: ResponseStream, size_bytes: int) -> list[bytes]:
        """Return the responses that are sent now, about `size_bytes` bytes of them."""
        taken = stream.take(size_bytes)
        self._metrics.stream_responses_count += len(taken)
        return taken

    def count_responses(self, count: int) -> None:
        """Count responses of streams that were sent without waiting."""
        self._metrics.stream_responses_count += count

    def fail(self, method_name: str, error: Exception) -> status_pb2.Status:
        """Return the status of an error, count it, and log it when it is a bug."""
        if isinstance(error, InstanterError) and find_code(error) is not None:
            status = make_status(error)
        else:
            status = make_internal_status(self._log_bug(method_name, error))
        self._metrics.count_error(method_name, _CODE_NAMES[status.code])
        return status

    def close(self) -> None:
        """Let the lanes' threads end; work that has not begun is dropped."""
        for lane in self._lanes.values():
            lane.close()

    def _answer(
        self,
        method_name: str,
        function: Callable[[list[Any]], Sequence[Any]],
        requests: list[Any],
    ) -> Sequence[Any]:
        """Answer requests that arrived together by one call of a function, or one call each."""
        try:
            answers = function(requests)
        except InstanterError as error:
            return [self.fail(method_name, error) for _ in requests]
        except Exception as error:  # noqa: BLE001 - the last line of defence of every call
            if len(requests) == 1:
                return [self.fail(method_name, error)]
            return [self._answer(method_name, function, [request])[0] for request in requests]
        assert len(answers) == len(requests), f"{method_name} left requests unanswered"
        for answer in answers:
            if isinstance(answer, InstanterError):
                return [
                    self.fail(method_name, a) if isinstance(a, InstanterError) else a
                    for a in answers
                ]
        return answers

    def _log_bug(self, method_name: str, error: Exception) -> str:
        """Log the traceback of a bug; return the id by which it is found."""
        correlation_id = secrets.token_hex(8)
        self._log.error(
            "call_failed_by_bug",
            method=method_name,
            correlation_id=correlation_id,
            exc_info=error,
        )
        return correlation_id

    def _count_stream_end(self) -> None:
        self._metrics.streams_open_count -= 1

    def _find_threads(self, lane: Lane) -> "_LaneThreads":
        """Return the threads of a lane, which start with its first call."""
        threads = self._lanes.get(lane)
        if threads is None:
            threads = self._lanes[lane] = _LaneThreads(lane)
        return threads

    def _run(self, method: BlockingMethod, request: Any, context: CallContext) -> Any:
        """Run a blocking function, unless its caller waits no longer."""
        deadline_ns = context.deadline_ns
        if deadline_ns is not None and self._clock.monotonic_ns() >= deadline_ns:
            raise ExpiredError("the deadline passed while the call waited for a thread")
        return method.function(request, context)


class Batcher:
    """Collects the requests that become ready in one turn of the event loop, and answers them.

    The first request of a turn leads: it lets the turn end and then answers all. A future for it
    too would cost one more turn of the loop for every call that arrives alone, as nearly all do.

    Parameters
    ----------
    loop
        The running event loop.
    answer
        From requests to as many answers; must not raise.
    """

    __slots__ = ("_answer", "_followers", "_led", "_loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, answer: Callable[[list[Any]], Sequence[Any]]
    ) -> None:
        self._loop = loop
        self._answer = answer
        self._followers: list[tuple[Any, asyncio.Future[Any]]] = []
        self._led = False

    async def answer(self, request: Any) -> Any:
        """Return the answer to a request, given together with those that are ready now."""
        if self._led and len(self._followers) < BATCH_TURN_MAX - 1:
            future = self._loop.create_future()
            self._followers.append((request, future))
            return await future
        if self._led:
            # The turn is full: this request decides alone rather than making others wait.
            return self._answer([request])[0]
        self._led = True
        cancelled = True
        try:
            await _end_turn()
            cancelled = False
        finally:
            self._led = False
            followers, self._followers = self._followers, []
            if cancelled and followers:
                self._lead([], followers)
        if not followers:
            return self._answer([request])[0]
        return self._lead([request], followers)[0]

    def _lead(
        self, requests: list[Any], followers: list[tuple[Any, "asyncio.Future[Any]"]]
    ) -> Sequence[Any]:
        """Answer the leader's request, if any, and its followers'; cancelled ones are dropped."""
        count = len(requests)
        live = [pair for pair in followers if not pair[1].done()]
        requests.extend(request for request, _ in live)
        answers = self._answer(requests) if requests else ()
        for (_, future), answer in zip(live, answers[count:], strict=True):
            future.set_result(answer)
        return answers


def moved() -> UnavailableError:
    """Return the error of a stream whose connection or server ends in order."""
    return UnavailableError(
        "the connection ends; open the stream again, from where it has come to",
        reason="CONNECTION_DRAINING",
    )


def decode(message_type: Any, encoded: bytes | bytearray) -> Any:
    """Return an encoded message of a type.

    Raises
    ------
    InvalidFieldError
        It is none.
    """
    try:
        return message_type.FromString(encoded)
    except DecodeError as error:
        raise undecodable(error) from None


def undecodable(error: DecodeError) -> InvalidFieldError:
    """Return the error of bytes that are no message of the method's request type."""
    return InvalidFieldError(
        "request",
        str(error),
        "an encoded message of the method's request type",
        reason="REQUEST_UNDECODABLE",
    )


@coroutine
def _end_turn() -> Generator[None, None, None]:
    """Let everything run that is ready, then go on: `asyncio.sleep(0)` without its checks."""
    yield


class _LaneThreads:
    """The threads of one lane, with a bound on the calls that wait for them."""

    __slots__ = ("_executor", "_in_flight_count", "_lane", "_lock")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._executor = ThreadPoolExecutor(lane.threads, thread_name_prefix=lane.name)
        self._in_flight_count = 0
        self._lock = threading.Lock()

    def check_room(self) -> None:
        """Raise ExhaustedError when too many calls wait for a thread already."""
        lane = self._lane
        if self._in_flight_count >= lane.threads + lane.waiting_max:
            raise ExhaustedError(
                f"{self._in_flight_count} calls are being answered or wait in lane"
                f" '{lane.name}'; retry later",
                reason="CALLS_WAITING_EXHAUSTED",
            )

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Run `work` on a thread of the lane."""
        with self._lock:
            self._in_flight_count += 1
        future = self._executor.submit(work)
        future.add_done_callback(self._leave)
        return future

    def close(self) -> None:
        """Take no more work, and drop what has not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _leave(self, _: Future[Any]) -> None:
        """Make room for the next call."""
        with self._lock:
            self._in_flight_count -= 1
