"""The queue between whoever makes a stream's responses and the front that sends them."""

import threading
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from instanter import wire_limits
from instanter.errors import ExhaustedError, NotFoundError
from instanter.rpc.response_stream import ResponseStream

ALL = 1 << 40


class Front:
    """Counts how often it is woken."""

    def __init__(self) -> None:
        self.wakes = 0
        self.bugs: list[Exception] = []
        self.stream = ResponseStream(self.wake, self.bugs.append)

    def wake(self) -> None:
        self.wakes += 1


@pytest.fixture
def front() -> Front:
    return Front()


def response(value: bytes) -> Any:
    return BytesValue(value=value)


def encoded(*values: bytes) -> list[bytes]:
    return [BytesValue(value=value).SerializeToString() for value in values]


def test_responses_leave_encoded_and_in_their_order(front: Front) -> None:
    for value in (b"a", b"b", b"c"):
        assert front.stream.offer(response(value))
    assert front.stream.take(ALL) == encoded(b"a", b"b", b"c")
    assert front.stream.take(ALL) == []


def test_the_front_is_woken_once_until_it_has_looked(front: Front) -> None:
    for _ in range(3):
        front.stream.offer(response(b"a"))
    assert front.wakes == 1
    front.stream.take(ALL)
    front.stream.offer(response(b"b"))
    assert front.wakes == 2


def test_no_more_than_the_bound_wait(front: Front) -> None:
    taken = [front.stream.offer(response(b"a")) for _ in range(wire_limits.STREAM_WAITING_MAX + 3)]
    assert taken == [True] * wire_limits.STREAM_WAITING_MAX + [False] * 3
    assert not front.stream.ended
    front.stream.take(1)
    assert front.stream.offer(response(b"b"))
    assert not front.stream.offer(response(b"c"))


def test_no_more_bytes_than_the_bound_wait(front: Front) -> None:
    long = response(bytes(wire_limits.STREAM_WAITING_SIZE_BYTES_MAX))
    assert front.stream.offer(long), "one is always taken, however long"
    assert not front.stream.offer(response(b"a"))
    front.stream.take(1)
    assert front.stream.offer(response(b"a"))


def test_a_response_longer_than_responses_may_be_ends_the_stream(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_limits, "REPLY_SIZE_BYTES_MAX", 10)
    assert front.stream.offer(response(b"short"))
    assert not front.stream.offer(response(b"too long for it"))
    assert isinstance(front.stream.error, ExhaustedError)
    assert front.stream.take(ALL) == encoded(b"short")
    assert front.stream.drained


def test_a_take_stops_at_its_size(front: Front) -> None:
    for _ in range(4):
        front.stream.offer(response(b"x" * 100))
    assert front.stream.take(0) == []
    assert len(front.stream.take(1)) == 1
    assert len(front.stream.take(150)) == 2
    assert front.stream.has_more


def test_the_end_stands_behind_what_waits(front: Front) -> None:
    front.stream.offer(response(b"a"))
    error = NotFoundError("gone")
    front.stream.fail(error)
    front.stream.finish()
    assert front.stream.ended
    assert not front.stream.offer(response(b"b"))
    assert not front.stream.drained
    assert front.stream.take(ALL) == encoded(b"a")
    assert front.stream.drained
    assert front.stream.error is error


def test_a_closed_stream_drops_what_waits_and_tells_once(front: Front) -> None:
    told: list[str] = []
    front.stream.offer(response(b"a"))
    front.stream.call_when_ended(lambda: told.append("first"))
    front.stream.finish()
    assert told == [], "it has not been sent"
    front.stream.close()
    front.stream.close()
    front.stream.call_when_ended(lambda: told.append("late"))
    assert told == ["first", "late"]
    assert front.stream.take(ALL) == []


def test_an_encoded_response_leaves_as_it_came(front: Front) -> None:
    assert front.stream.offer_encoded(b"encoded")
    assert front.stream.take(ALL) == [b"encoded"]


def test_what_can_be_sent_at_once_passes_the_queue_and_nothing_else(front: Front) -> None:
    sent: list[bytes] = []
    takes = [False]

    def send_now(raw: bytes) -> bool:
        if takes[0]:
            sent.append(raw)
        return takes[0]

    front.stream.send_now = send_now
    assert front.stream.offer_encoded(b"a"), "its reader is behind"
    takes[0] = True
    assert front.stream.offer_encoded(b"b"), "behind a"
    assert (sent, front.stream.take(ALL)) == ([], [b"a", b"b"])
    assert front.stream.offer_encoded(b"c")
    assert (sent, front.stream.take(ALL), front.wakes) == ([b"c"], [], 1)
    front.stream.finish()
    assert not front.stream.offer_encoded(b"d")
    front.stream.close()
    assert not front.stream.offer_encoded(b"e")
    assert sent == [b"c"]


def test_what_is_offered_for_room_does_not_overtake_what_was_taken(front: Front) -> None:
    sent: list[bytes] = []
    while front.stream.offer_encoded(b"x"):
        pass
    front.stream.send_now = lambda raw: sent.append(raw) is None
    front.stream.call_when_room(lambda: front.stream.offer_encoded(b"behind"))
    assert front.stream.take(ALL) == [b"x"] * wire_limits.STREAM_WAITING_MAX
    assert (sent, front.stream.take(ALL)) == ([], [b"behind"])
    assert front.stream.offer_encoded(b"now")
    assert sent == [b"now"]


def test_whoever_wants_room_is_called_once_half_of_it_is_free(front: Front) -> None:
    told: list[str] = []
    front.stream.call_when_room(lambda: told.append("at once"))
    while front.stream.offer_encoded(b"x"):
        pass
    front.stream.call_when_room(lambda: told.append("later"))
    front.stream.take(wire_limits.STREAM_WAITING_MAX // 2 - 1)
    assert told == ["at once"]
    front.stream.take(1)
    front.stream.take(1)
    assert told == ["at once", "later"]


def test_nobody_is_told_of_room_in_a_stream_that_has_ended(front: Front) -> None:
    while front.stream.offer_encoded(b"x"):
        pass
    front.stream.call_when_room(pytest.fail)
    front.stream.finish()
    front.stream.take(ALL)
    front.stream.close()


def test_one_function_that_fails_at_the_end_does_not_stop_the_next(front: Front) -> None:
    told: list[str] = []
    front.stream.call_when_ended(lambda: 1 / 0)
    front.stream.call_when_ended(lambda: told.append("next"))
    front.stream.close()
    assert told == ["next"]
    assert [type(bug) for bug in front.bugs] == [ZeroDivisionError]


def test_a_front_whose_loop_is_closed_is_no_error_of_the_maker() -> None:
    def wake() -> None:
        raise RuntimeError("Event loop is closed")

    stream = ResponseStream(wake, pytest.fail)
    assert stream.offer(response(b"a"))
    stream.finish()


@pytest.mark.parametrize("end", ["take", "close", "fail"])
def test_whoever_waits_for_room_is_woken(front: Front, end: str) -> None:
    while front.stream.offer(response(b"a")):
        pass
    assert not front.stream.wait_for_room(0)
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(front.stream.wait_for_room(20)))
    waiting.start()
    {
        "take": lambda: front.stream.take(1),
        "close": front.stream.close,
        "fail": lambda: front.stream.fail(NotFoundError("gone")),
    }[end]()
    waiting.join(20)
    assert found == [end == "take"]


def test_several_makers_lose_nothing(front: Front) -> None:
    count, makers = 2_000, 4
    taken: list[bytes] = []

    def make(maker: int) -> None:
        for number in range(count):
            while not front.stream.offer(response(b"%d %d" % (maker, number))):
                assert front.stream.wait_for_room(20)

    threads = [threading.Thread(target=make, args=(maker,)) for maker in range(makers)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or front.stream.has_more:
        taken += front.stream.take(1_000)
    assert len(taken) == count * makers
    for maker in range(makers):
        mine = [raw for raw in taken if BytesValue.FromString(raw).value.startswith(b"%d " % maker)]
        assert mine == encoded(*(b"%d %d" % (maker, number) for number in range(count)))
