"""A place among a server's processes: its role, who has it, and when it is filled again."""

from typing import Final

from instanter.clock import Clock
from instanter.supervisor.assignments import Role
from instanter.supervisor.process import ChildProcess, Stage

_SERVED_NS_MIN: Final = 1_000_000_000
"""A process that served for less has failed to start, as far as the next one is concerned."""

_FREE_TRIES: Final = 2
_DELAY_NS: Final = 100_000_000
_DELAY_NS_MAX: Final = 5_000_000_000


class Place:
    """One place. It is filled again at once, unless those who take it fail again and again.

    Parameters
    ----------
    role
        What its holder does.
    clock
        Tells how long a holder served.

    Attributes
    ----------
    child
        Who has it, or None.
    failures_count
        Holders in a row that did not serve for a second.
    retry_ns
        Time of the clock's `monotonic_ns` before which it stays empty.
    """

    def __init__(self, role: Role, clock: Clock) -> None:
        self._clock = clock
        self.role = role
        self.child: ChildProcess | None = None
        self.failures_count = 0
        self.retry_ns = 0

    @property
    def serves(self) -> bool:
        """Whether its holder serves."""
        return self.child is not None and self.child.stage is Stage.SERVING

    @staticmethod
    def find_delay_ns(failures_count: int) -> int:
        """Return how long to wait after so many failures in a row: nothing at first, then more."""
        if failures_count <= _FREE_TRIES:
            return 0
        return min(_DELAY_NS << min(failures_count - _FREE_TRIES, 16), _DELAY_NS_MAX)

    def fill(self, child: ChildProcess) -> None:
        """Give it to a process."""
        self.child = child

    def empty(self) -> None:
        """Take note that its holder has ended."""
        assert self.child is not None, "only a filled place is emptied"
        now_ns = self._clock.monotonic_ns()
        served = self.child.ready_ns and now_ns - self.child.ready_ns >= _SERVED_NS_MIN
        self.child = None
        self.failures_count = 0 if served else self.failures_count + 1
        self.retry_ns = now_ns + self.find_delay_ns(self.failures_count)
