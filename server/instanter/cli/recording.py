"""Sends events of a file of JSON lines to the server."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from instanter.cli.context_values import KINDS
from instanter.cli.failures import CommandError
from instanter.cli.json_objects import read_object
from instanter.cli.progress import show_progress
from instanter.cli.standard_streams import open_input
from instanter.client import (
    AttributeValue,
    Client,
    ClientError,
    ConflictError,
    Event,
    EventCounts,
    InvalidRequestError,
    StockMovementCounts,
)
from instanter.clock import SystemClock
from instanter.errors import show
from instanter.limits import EVENTS_BATCH_MAX

T = TypeVar("T")

Counts = EventCounts | StockMovementCounts
"""What became of a batch."""

_KEYS: Final = ("event_id", "customer", "kind", "event_time", "fields")
_REQUIRED: Final = _KEYS[:3]
_FIELD: Final = re.compile(r"events\[(\d+)\]\.?(.*)", re.DOTALL)
_LINE_SIZE_BYTES_MAX: Final = 1 << 20


@contextmanager
def open_lines(file: Path) -> Iterator[IO[bytes]]:
    """Yield the lines of a file, or of standard input for `-`."""
    if str(file) == "-":
        yield open_input().buffer
        return
    with file.open("rb") as lines:
        yield lines


def record_lines(client: Client, lines: IO[bytes], name: str, *, relaxed: bool) -> EventCounts:
    """Record the events of all lines and return what became of them.

    Parameters
    ----------
    client
        Where to.
    lines
        One JSON object each; empty lines are left out.
    name
        What to call the file in errors.
    relaxed
        Whether not to wait for the disk.

    Raises
    ------
    CommandError
        A line is no event, or the server refuses one: the line and the field are named. The
        batches before it are recorded.
    """
    batches = split_lines(lines, name, _read_event, EVENTS_BATCH_MAX)
    counts = record_batches(batches, partial(_record, client, name, relaxed=relaxed), "events")
    return EventCounts(*counts)


def record_batches(
    batches: Iterable[tuple[list[int], list[T]]],
    record: Callable[[list[int], list[T]], Counts],
    what: str,
) -> tuple[int, int]:
    """Record the batches of a file; return how many are recorded now, and how many were before.

    Parameters
    ----------
    batches
        What is recorded at once, with the numbers of its lines, as `split_lines` yields them.
    record
        Records a batch.
    what
        What they are: "events".

    Raises
    ------
    CommandError, ClientError
        What `batches` and `record` raise, with how much is recorded all the same.
    """
    recorded_count = duplicate_count = 0
    with show_progress("recording", what, SystemClock()) as tell:
        try:
            for numbers, batch in batches:
                counts = record(numbers, batch)
                recorded_count += counts.recorded_count
                duplicate_count += counts.duplicate_count
                tell(recorded_count + duplicate_count, 0)
        except (CommandError, ClientError) as error:
            raise _tell_recorded(error, recorded_count + duplicate_count, what) from error
    return recorded_count, duplicate_count


def _tell_recorded(error: Exception, sent_count: int, what: str) -> Exception:
    """Return the error that ended a file, with what of the file is recorded all the same.

    Parameters
    ----------
    error
        A mistake in the file, or of the server.
    sent_count
        How many batches before it brought.
    what
        What they are: "events".
    """
    recorded = f"{sent_count:,} {what} before its batch are recorded"
    if isinstance(error, CommandError):
        hint = f"{recorded}; mend the line and run it again: they count once"
        return CommandError(error.message, hint=hint)
    # What people read of it is made where the server's name is known.
    error.add_note(f"{recorded}; run it again: they count once")
    return error


def _record(
    client: Client, name: str, numbers: list[int], events: list[Event], *, relaxed: bool
) -> EventCounts:
    """Record a batch; what the server refuses is told with the number of its line."""
    try:
        return client.record_events(events, relaxed=relaxed)
    except (InvalidRequestError, ConflictError) as error:
        raise _at_line(error, numbers, name) from error


def split_lines(
    lines: IO[bytes], name: str, read: Callable[[bytes, str], T], count_max: int
) -> Iterator[tuple[list[int], list[T]]]:
    """Yield what stands on the lines in batches, with the numbers of their lines.

    Parameters
    ----------
    lines
        One JSON object each; empty lines are left out.
    name
        What to call the file in errors.
    read
        Returns what a line holds, from that and its place.
    count_max
        How many are a batch.
    """
    numbers: list[int] = []
    batch: list[T] = []
    for number, line in enumerate(read_lines(lines, name), 1):
        if not line.strip():
            continue
        numbers.append(number)
        batch.append(read(line, f"{name}:{number}"))
        if len(batch) == count_max:
            yield numbers, batch
            numbers, batch = [], []
    if batch:
        yield numbers, batch


def read_lines(lines: IO[bytes], name: str) -> Iterable[bytes]:
    """Yield lines that are not longer than any event."""
    number = 0
    while line := lines.readline(_LINE_SIZE_BYTES_MAX + 1):
        number += 1
        if len(line) > _LINE_SIZE_BYTES_MAX:
            raise CommandError(
                f"{name}:{number}: the line has more than {_LINE_SIZE_BYTES_MAX:,} bytes; expected "
                "one event a line"
            )
        yield line


def check_text(text: str, place: str) -> str:
    """Return a text as it is.

    Raises
    ------
    CommandError
        It has half of a surrogate pair, which JSON can name and UTF-8 has no bytes for.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandError(
            f"{place}: {show(text)} is not right; expected a text that UTF-8 can write"
        ) from None
    return text


def _read_event(line: bytes, place: str) -> Event:
    """Return the event of one line."""
    given = read_object(line, place, "event", _KEYS)
    for key in _REQUIRED:
        if not isinstance(given.get(key), str) or not given[key]:
            raise CommandError(
                f"{place}: {key}: {show(given.get(key, 'nothing'))} is not right; expected a text"
            )
        check_text(given[key], f"{place}: {key}")
    fields = given.get("fields") or {}
    if not isinstance(fields, dict):
        raise CommandError(f"{place}: fields: {show(fields)} is not right; expected an object")
    for key in fields:
        check_text(key, f"{place}: fields")
    return Event(
        given["customer"],
        given["kind"],
        {key: _read_value(value, f'{place}: fields["{key}"]') for key, value in fields.items()},
        read_line_time(given.get("event_time"), f"{place}: event_time"),
        given["event_id"],
    )


def _read_value(value: Any, place: str) -> AttributeValue | None:
    """Return a field's value; a text that looks like an instant is one."""
    if isinstance(value, str):
        instant = KINDS["instant"](value)
        return check_text(value, place) if instant is None else instant
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 1 << 63:
        return value
    raise CommandError(
        f"{place}: {show(value)} is not right; expected a number, a text, true or false"
    )


def read_line_time(value: Any, place: str) -> datetime | None:
    """Return an instant of a line, None for none.

    Raises
    ------
    CommandError
        It is none.
    """
    if value is None:
        return None
    instant = KINDS["instant"](value) if isinstance(value, str) else None
    if not isinstance(instant, datetime):
        raise CommandError(
            f"{place}: {show(value)} is not right; expected an RFC 3339 instant, "
            "2026-03-01T12:00:00Z for example"
        )
    return instant


def _at_line(
    error: InvalidRequestError | ConflictError, numbers: list[int], name: str
) -> CommandError:
    """Return the server's error with the line instead of the index of the event."""
    place, message = name, error.message
    for violation in error.violations:
        found = _FIELD.fullmatch(violation.field)
        if found is not None and int(found[1]) < len(numbers):
            place = f"{name}:{numbers[int(found[1])]}"
            message = message.removeprefix(f"events[{found[1]}].")
    return CommandError(f"{place}: {message}")
