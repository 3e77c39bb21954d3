"""When a failed call is worth another attempt, and how long to wait before it.

The policy is a plain calculation; the two clients bring the waiting. Only UNAVAILABLE is tried
again (the server was not there, or said that it is going), only calls whose repetition changes
nothing, a bounded number of times, and never past the deadline of the whole.
"""

from collections.abc import Callable
from dataclasses import dataclass

from instanter.client.errors import ClientError, UnavailableError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a call is repeated.

    Attributes
    ----------
    attempts_max
        Attempts of one call, the first included; 1 never repeats.
    pause_s_first, pause_s_max
        Upper bounds of the pause before the second attempt, and of any. The bound doubles with
        each attempt and the pause is drawn evenly below it ("full jitter"), so that clients which
        failed together do not come back together. Source of the method: M. Brooker, "Exponential
        Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts_max: int = 3
    pause_s_first: float = 0.02
    pause_s_max: float = 0.5


class Attempts:
    """The attempts of one call.

    Parameters
    ----------
    policy
        How often and how patiently.
    repeatable
        Whether a repetition changes nothing.
    timeout_s
        Time for all attempts together, in seconds.
    monotonic_s
        Clock in seconds that never goes back.
    draw
        Gives even random numbers in [0, 1).
    """

    __slots__ = ("_deadline_s", "_draw", "_made_count", "_monotonic_s", "_policy", "_repeatable")

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        repeatable: bool,
        timeout_s: float,
        monotonic_s: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._repeatable = repeatable
        self._monotonic_s = monotonic_s
        self._draw = draw
        self._deadline_s = monotonic_s() + timeout_s
        self._made_count = 0

    def begin_s(self) -> float:
        """Count one more attempt, and return the seconds that it may take."""
        self._made_count += 1
        return max(self._deadline_s - self._monotonic_s(), 0.0)

    def find_pause_s(self, failure: ClientError) -> float | None:
        """Return how long to wait before the next attempt, None when there shall be none."""
        if not (self._repeatable and isinstance(failure, UnavailableError)):
            return None
        if self._made_count >= self._policy.attempts_max:
            return None
        bound = min(
            self._policy.pause_s_first * 2 ** (self._made_count - 1), self._policy.pause_s_max
        )
        pause = self._draw() * bound
        return pause if self._monotonic_s() + pause < self._deadline_s else None
