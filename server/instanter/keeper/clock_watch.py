"""Tells that the log's time is ahead of the clock: that was wrong for a while, and was put right.

Times of records never go back while a keeper runs, so they stand until the clock has reached them.
Until then transactions seem late by as much, and above `clock: {behind_max}` all of them are
answered by the stand-in table; an operator should hear of that before his customers do.
"""

from collections.abc import Callable

from instanter.clock import Clock
from instanter.events_log import EventsLog
from instanter.limits import LOG_AHEAD_NS_TOLD, LOG_AHEAD_TOLD_EVERY_NS
from instanter.metrics import Metrics

_S_NS = 1_000_000_000


class ClockWatch:
    """Compares the log's time with the clock whenever it is asked to. Belongs to one thread.

    Parameters
    ----------
    log_time_ns
        Returns the time of the latest record; 0 before the first.
    clock
        What it is compared with.
    metrics
        Has how far it is ahead.
    events_log
        Is told, once a minute at most.
    """

    def __init__(
        self,
        log_time_ns: Callable[[], int],
        *,
        clock: Clock,
        metrics: Metrics,
        events_log: EventsLog,
    ) -> None:
        self._log_time_ns = log_time_ns
        self._clock = clock
        self._metrics = metrics
        self._events_log = events_log
        self._told_ns: int | None = None

    def look(self) -> None:
        """Note how far the log is ahead now, and tell it when that is too far."""
        ahead_ns = max(self._log_time_ns() - self._clock.now_ns(), 0)
        self._metrics.log_ahead_s = ahead_ns / _S_NS
        if ahead_ns < LOG_AHEAD_NS_TOLD:
            if self._told_ns is not None:
                self._events_log.info("log_time_reached")
            self._told_ns = None
            return
        now_ns = self._clock.monotonic_ns()
        if self._told_ns is None or now_ns - self._told_ns >= LOG_AHEAD_TOLD_EVERY_NS:
            self._told_ns = now_ns
            self._events_log.error(
                "log_ahead_of_clock",
                ahead_s=round(ahead_ns / _S_NS),
                message="the clock was put back; the log's time stands until it is reached, and "
                "card transactions seem late by as much. When the clock is right, restart the "
                "server, or publish fraud: {clock: {behind_max}} of more than ahead_s",
            )
