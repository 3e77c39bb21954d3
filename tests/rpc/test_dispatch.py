"""What every front does alike: batching, lanes, failures."""

import asyncio
import io
import json
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import code_pb2, status_pb2

from instanter.clock import SystemClock
from instanter.errors import InvalidFieldError, NotFoundError
from instanter.events_log import make_events_log
from instanter.limits import BATCH_TURN_MAX
from instanter.metrics import Metrics
from instanter.rpc.dispatch import Dispatcher
from instanter.rpc.front import BatchedMethod, BlockingMethod, CallContext, DeferredMethod, Lane

LANE = Lane("test", threads=1, waiting_max=1)
CONTEXT = CallContext(None, "test")


class Workshop:
    """A dispatcher with its log and metrics in sight."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.metrics = Metrics()
        self.dispatcher = Dispatcher(
            log=make_events_log(self.stream, as_json=True),
            metrics=self.metrics,
            clock=SystemClock(),
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def workshop() -> Any:
    made = Workshop()
    yield made
    made.dispatcher.close()


def batched(function: Any) -> BatchedMethod:
    return BatchedMethod("Echo", StringValue, StringValue, function)


def echo_in(turns: list[list[str]]) -> BatchedMethod:
    def function(requests: list[str]) -> list[str]:
        turns.append(list(requests))
        return [request.upper() for request in requests]

    return batched(function)


async def test_requests_of_one_turn_are_answered_together(workshop: Workshop) -> None:
    turns: list[list[str]] = []
    batcher = workshop.dispatcher.make_batcher(echo_in(turns))
    answers = await asyncio.gather(*(batcher.answer(text) for text in "abc"))
    assert answers == ["A", "B", "C"]
    assert turns == [["a", "b", "c"]]


async def test_requests_of_two_turns_are_not(workshop: Workshop) -> None:
    turns: list[list[str]] = []
    batcher = workshop.dispatcher.make_batcher(echo_in(turns))
    assert await batcher.answer("a") == "A"
    assert await batcher.answer("b") == "B"
    assert turns == [["a"], ["b"]]


async def test_a_turn_takes_no_more_than_its_limit(workshop: Workshop) -> None:
    turns: list[list[str]] = []
    batcher = workshop.dispatcher.make_batcher(echo_in(turns))
    texts = [f"t{number}" for number in range(3 * BATCH_TURN_MAX)]
    answers = await asyncio.gather(*(batcher.answer(text) for text in texts))
    assert answers == [text.upper() for text in texts]
    assert max(map(len, turns)) == BATCH_TURN_MAX


async def test_cancelled_requests_of_a_turn_are_dropped_and_the_others_answered(
    workshop: Workshop,
) -> None:
    for cancelled in range(3):
        turns: list[list[str]] = []
        batcher = workshop.dispatcher.make_batcher(echo_in(turns))
        tasks = [asyncio.ensure_future(batcher.answer(text)) for text in "abc"]
        asyncio.get_running_loop().call_soon(tasks[cancelled].cancel)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        expected: list[Any] = ["A", "B", "C"]
        assert isinstance(answers.pop(cancelled), asyncio.CancelledError)
        del expected[cancelled]
        assert answers == expected
        assert sum(map(len, turns)) == 2
        assert await batcher.answer("d") == "D"


async def test_a_refused_request_leaves_its_neighbours_alone(workshop: Workshop) -> None:
    def function(requests: list[str]) -> list[Any]:
        return [NotFoundError(r) if r == "bad" else r for r in requests]

    good, bad = workshop.dispatcher.answer_batch(batched(function), ["good", "bad"])
    assert good == "good"
    assert isinstance(bad, status_pb2.Status)
    assert bad.code == code_pb2.NOT_FOUND
    assert workshop.metrics.list_errors() == {("Echo", "NOT_FOUND"): 1}
    assert workshop.events == []


async def test_a_bug_hits_only_the_request_that_causes_it(workshop: Workshop) -> None:
    def function(requests: list[str]) -> list[str]:
        if "bad" in requests:
            raise ZeroDivisionError("secret")
        return requests

    answers = workshop.dispatcher.answer_batch(batched(function), ["a", "bad", "c"])
    assert (answers[0], answers[2]) == ("a", "c")
    status = answers[1]
    assert isinstance(status, status_pb2.Status)
    assert status.code == code_pb2.INTERNAL
    assert "secret" not in status.message
    (event,) = workshop.events
    assert event["correlation_id"] in status.message
    assert "ZeroDivisionError: secret" in event["exception"]


async def test_an_error_for_the_whole_turn_answers_each_request(workshop: Workshop) -> None:
    def function(requests: list[str]) -> list[str]:
        raise InvalidFieldError("name", "x", "y")

    answers = workshop.dispatcher.answer_batch(batched(function), ["a", "b"])
    assert [a.code for a in answers] == [code_pb2.INVALID_ARGUMENT] * 2  # type: ignore[union-attr]


async def test_a_full_lane_refuses(workshop: Workshop) -> None:
    release = threading.Event()

    def function(request: str, context: CallContext) -> str:
        assert release.wait(20)
        return request

    method = BlockingMethod("Slow", StringValue, StringValue, function, LANE)
    answer = workshop.dispatcher.answer_blocking
    waiting = [asyncio.ensure_future(answer(method, text, CONTEXT)) for text in "ab"]
    await asyncio.sleep(0)
    refused = await answer(method, "c", CONTEXT)
    assert refused.code == code_pb2.RESOURCE_EXHAUSTED
    release.set()
    assert await asyncio.gather(*waiting) == ["a", "b"]
    assert await answer(method, "d", CONTEXT) == "d"


async def test_a_call_whose_deadline_passes_in_the_lane_is_not_executed(
    workshop: Workshop,
) -> None:
    called: list[str] = []

    def function(request: str, context: CallContext) -> str:
        called.append(request)
        return request

    method = BlockingMethod("Get", StringValue, StringValue, function, LANE)
    late = CallContext(SystemClock().monotonic_ns() - 1, "test")
    refused = await workshop.dispatcher.answer_blocking(method, "a", late)
    assert refused.code == code_pb2.DEADLINE_EXCEEDED
    assert called == []


async def test_a_deferred_call_is_translated_even_when_its_lane_is_full(
    workshop: Workshop,
) -> None:
    release = threading.Event()
    blocking = BlockingMethod("Slow", 0, 0, lambda r, c: release.wait(20), LANE)
    waiting = [
        asyncio.ensure_future(workshop.dispatcher.answer_blocking(blocking, "", CONTEXT))
        for _ in range(2)
    ]
    await asyncio.sleep(0)
    future: Future[str] = Future()
    future.set_result("written")
    method = DeferredMethod("Put", 0, 0, lambda r, c: future, str.upper, LANE)
    deferred = asyncio.ensure_future(workshop.dispatcher.answer_deferred(method, "", CONTEXT))
    await asyncio.sleep(0)
    release.set()
    assert await deferred == "WRITTEN"
    await asyncio.gather(*waiting)


async def test_a_cancelled_deferred_call_cancels_its_future(workshop: Workshop) -> None:
    future: Future[str] = Future()
    method = DeferredMethod("Put", 0, 0, lambda r, c: future, str.upper, LANE)
    task = asyncio.ensure_future(workshop.dispatcher.answer_deferred(method, "", CONTEXT))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert future.cancelled()
