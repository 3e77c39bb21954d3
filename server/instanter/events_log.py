"""Events for the people who run the server: what is logged, where to, and in which form.

Never a line per decision. One JSON object a line, so that a log collector can read it; on a
terminal a readable line instead. The logger is made here and handed on: nothing global is
configured.
"""

import hashlib
import os
from contextlib import suppress
from typing import Final, Protocol, TextIO, cast

import structlog

from instanter.clock import Clock
from instanter.metrics import Metrics

DAMAGED_EVENTS_PER_MINUTE_MAX: Final = 10
"""Damaged records that are logged one by one in a minute; the counter has them all."""

_MINUTE_NS: Final = 60_000_000_000


class EventsLog(Protocol):
    """Takes events: a name in snake_case and facts by keyword."""

    def info(self, event: str, **facts: object) -> object:
        """Record what is good to know."""
        ...

    def warning(self, event: str, **facts: object) -> object:
        """Record what somebody should look at."""
        ...

    def error(self, event: str, **facts: object) -> object:
        """Record what somebody must look at; `exc_info` takes an exception."""
        ...


def make_events_log(stream: TextIO, *, as_json: bool | None = None) -> EventsLog:
    """Return the logger of the server.

    Parameters
    ----------
    stream
        Where the lines go, standard error as a rule.
    as_json
        One JSON object a line; by default when the stream is no terminal.
    """
    if as_json is None:
        as_json = not stream.isatty()
    form: list[structlog.typing.Processor]
    if as_json:
        form = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        wants_colors = stream.isatty() and not os.environ.get("NO_COLOR")
        form = [structlog.dev.ConsoleRenderer(colors=wants_colors)]
    log: EventsLog = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", _UnfailingStream(stream))),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *form,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        cache_logger_on_first_use=True,
    )
    return log


class _UnfailingStream:
    """A stream that drops what cannot be written, to a full disk for example.

    What there is to log is worth less than the server that goes on.
    """

    __slots__ = ("__weakref__", "_stream")

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Hand over what was written."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def hash_customer_id(customer_id: str) -> str:
    """Return the 16 hex digits that stand for a customer in the log.

    An id may be an e-mail address or a telephone number, and logs travel further than the store
    and are kept longer; so ids stay out. Whoever may read the store can compute the digest of
    each id and find the record. A digest without a key can be guessed by trying ids: this keeps
    ids out of sight, it does not make the log anonymous.
    """
    return hashlib.blake2b(
        customer_id.encode("utf-8", "surrogatepass"), digest_size=8, person=b"instanter-log"
    ).hexdigest()


class DamagedRecords:
    """Counts damaged records, and logs the first few of each minute. An engine's `on_damaged`.

    Parameters
    ----------
    log, metrics, clock
        Where it logs, where it counts, and what tells the minutes apart.
    """

    __slots__ = ("_clock", "_log", "_logged_count", "_metrics", "_minute_start_ns")

    def __init__(self, *, log: EventsLog, metrics: Metrics, clock: Clock) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._minute_start_ns = clock.monotonic_ns()
        self._logged_count = 0

    def __call__(self, customer_id: str) -> None:
        """Record that this customer's record is damaged and was not used."""
        self._metrics.records_damaged_count += 1
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._minute_start_ns >= _MINUTE_NS:
            self._minute_start_ns, self._logged_count = now_ns, 0
        if self._logged_count < DAMAGED_EVENTS_PER_MINUTE_MAX:
            self._logged_count += 1
            self._log.error("record_damaged", customer_hash=hash_customer_id(customer_id))
