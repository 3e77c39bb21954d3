"""A future of what becomes of another one's result."""

from concurrent.futures import CancelledError, Future

import pytest

from instanter.rpc.chaining import chain


def test_a_result_and_an_error_are_handed_on() -> None:
    first: Future[int] = Future()
    made = chain(first, lambda value: value + 1)
    assert not made.done()
    first.set_result(1)
    assert made.result(0) == 2
    failed: Future[int] = Future()
    failed.set_exception(OSError("x"))
    with pytest.raises(OSError, match="x"):
        chain(failed, lambda value: value).result(0)


def test_what_the_function_raises_is_the_result() -> None:
    first: Future[int] = Future()
    first.set_result(0)
    with pytest.raises(ZeroDivisionError):
        chain(first, lambda value: 1 // value).result(0)


def test_cancelling_goes_both_ways() -> None:
    first: Future[int] = Future()
    made = chain(first, lambda value: value)
    assert made.cancel()
    assert first.cancelled()
    other: Future[int] = Future()
    made = chain(other, lambda value: value)
    other.cancel()
    assert made.cancelled()
    with pytest.raises(CancelledError):
        made.result(0)


def test_a_result_that_comes_after_the_caller_went_is_dropped() -> None:
    first: Future[int] = Future()
    first.set_running_or_notify_cancel()
    made = chain(first, lambda value: value)
    assert made.cancel()
    first.set_result(1)
    assert made.cancelled()
