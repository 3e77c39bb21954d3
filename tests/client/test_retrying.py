"""The arithmetic of repetition, on a clock that the test owns."""

from hypothesis import given
from hypothesis import strategies as st

from instanter.client.errors import ClientError, UnavailableError
from instanter.client.retrying import Attempts, RetryPolicy

AWAY = UnavailableError("not now", code="UNAVAILABLE")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def make(policy: RetryPolicy, clock: Clock, timeout_s: float, draw: float = 0.5) -> Attempts:
    return Attempts(
        policy, repeatable=True, timeout_s=timeout_s, monotonic_s=clock, draw=lambda: draw
    )


def test_pauses_double_up_to_their_bound() -> None:
    attempts = make(RetryPolicy(6, 0.02, 0.1), Clock(), 10.0, draw=1.0)
    pauses = []
    for _ in range(6):
        attempts.begin_s()
        pauses.append(attempts.find_pause_s(AWAY))
    assert pauses == [0.02, 0.04, 0.08, 0.1, 0.1, None]


def test_each_attempt_has_what_is_left_of_the_whole() -> None:
    clock = Clock()
    attempts = make(RetryPolicy(), clock, 1.0)
    assert attempts.begin_s() == 1.0
    clock.now_s += 0.75
    assert attempts.begin_s() == 0.25
    clock.now_s += 5.0
    assert attempts.begin_s() == 0.0


def test_a_pause_that_would_end_after_the_deadline_is_not_made() -> None:
    clock = Clock()
    attempts = make(RetryPolicy(pause_s_first=0.2), clock, 0.25)
    attempts.begin_s()
    assert attempts.find_pause_s(AWAY) == 0.1
    clock.now_s += 0.2
    assert attempts.find_pause_s(AWAY) is None


def test_a_policy_of_one_attempt_never_repeats() -> None:
    attempts = make(RetryPolicy(attempts_max=1), Clock(), 1.0)
    attempts.begin_s()
    assert attempts.find_pause_s(AWAY) is None


def test_another_failure_is_not_repeated() -> None:
    attempts = make(RetryPolicy(), Clock(), 1.0)
    attempts.begin_s()
    assert attempts.find_pause_s(ClientError("no", code="INTERNAL")) is None


@given(
    attempts_max=st.integers(1, 8),
    timeout_s=st.floats(0.0, 3.0),
    draws=st.lists(st.floats(0.0, 0.999), min_size=8, max_size=8),
    costs=st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8),
)
def test_whatever_happens_attempts_are_bounded_and_begin_before_the_deadline(
    attempts_max: int, timeout_s: float, draws: list[float], costs: list[float]
) -> None:
    clock = Clock()
    left = iter(draws)
    attempts = Attempts(
        RetryPolicy(attempts_max),
        repeatable=True,
        timeout_s=timeout_s,
        monotonic_s=clock,
        draw=lambda: next(left),
    )
    made = 0
    for cost in costs:
        assert made == 0 or clock.now_s < 100.0 + timeout_s
        clock.now_s += min(cost, attempts.begin_s())
        made += 1
        pause = attempts.find_pause_s(AWAY)
        if pause is None:
            break
        clock.now_s += pause
    assert made <= attempts_max
