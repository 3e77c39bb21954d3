"""Time as a dependency: everything that needs the time is given a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time. Tests give a clock of their own; nothing else reads the system's."""

    def now_ns(self) -> int:
        """Return the wall-clock time in nanoseconds since 1970-01-01T00:00:00Z."""
        ...

    def monotonic_ns(self) -> int:
        """Return a time that never goes back, in nanoseconds since an arbitrary moment."""
        ...


class SystemClock:
    """The clock of the machine."""

    __slots__ = ()

    def now_ns(self) -> int:
        """Return the wall-clock time in nanoseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return a time that never goes back, in nanoseconds since an arbitrary moment."""
        return time.perf_counter_ns()
