"""Until when something is put off, as people write it, and whether that is over."""

from datetime import UTC, datetime, timedelta

from instanter.catalogue.instants import INSTANT_EXPECTED, find_duration_s, find_instant_s
from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.clock import Clock
from instanter.errors import show


def read_end(text: str, option: str, clock: Clock) -> datetime:
    """Return the moment of a date, of an instant, or of so many hours from now.

    Raises
    ------
    CommandError
        With exit code 2, when it is none.
    """
    seconds = find_instant_s(text)
    if seconds is not None:
        return datetime.fromtimestamp(seconds, UTC)
    ahead_s = find_duration_s(text)
    try:
        if ahead_s is not None:
            now = datetime.fromtimestamp(clock.now_ns() // 1_000_000_000, UTC)
            return now + timedelta(seconds=ahead_s)
    except OverflowError:
        pass
    raise CommandError(
        f"{option} {show(text)}: expected {INSTANT_EXPECTED}, or a time from now such as 72h",
        exit_code=EXIT_USAGE,
    )


def is_over(moment: datetime, clock: Clock) -> bool:
    """Return whether a moment has passed, as far as this machine knows."""
    return moment.timestamp() * 1e9 <= clock.now_ns()
