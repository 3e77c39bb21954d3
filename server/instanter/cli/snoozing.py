"""Until when something is put off, as people write it, and whether that is over."""

from datetime import datetime

from instanter.clock import Clock


def is_over(moment: datetime, clock: Clock) -> bool:
    """Return whether a moment has passed, as far as this machine knows."""
    return moment.timestamp() * 1e9 <= clock.now_ns()
