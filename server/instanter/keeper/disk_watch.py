"""Tells that writes are refused because the disk is full or fails.

Each caller is told as well; but callers are terminals and shops, and an operator makes the room.
"""

from instanter.clock import Clock
from instanter.errors import ExhaustedError
from instanter.events_log import EventsLog
from instanter.limits import DISK_FULL_TOLD_EVERY_NS
from instanter.store.lmdb_errors import STORE_DISK_FULL
from instanter.store.log.opening import DISK_FULL


class DiskWatch:
    """Is told of every refusal. Whoever carries out a group may tell it, one at a time.

    Parameters
    ----------
    clock
        Tells when it is time to say so again.
    events_log
        Is told at the first refusal, then once a minute at most.
    """

    def __init__(self, *, clock: Clock, events_log: EventsLog) -> None:
        self._clock = clock
        self._events_log = events_log
        self._refused_count = 0
        self._told_ns: int | None = None

    def note(self, error: Exception, refused_count: int) -> None:
        """Note that writes were refused with an error, whatever it is."""
        if not isinstance(error, ExhaustedError) or error.reason not in (
            DISK_FULL,
            STORE_DISK_FULL,
        ):
            return
        self._refused_count += refused_count
        now_ns = self._clock.monotonic_ns()
        if self._told_ns is None or now_ns - self._told_ns >= DISK_FULL_TOLD_EVERY_NS:
            self._told_ns = now_ns
            self._events_log.error(
                "writes_refused",
                reason=error.reason,
                refused_count=self._refused_count,
                message=error.message,
            )
            self._refused_count = 0
