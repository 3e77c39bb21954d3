"""Sends recorded movements to a server in their order, and notes what it refuses and tells."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from instanter.cli.failures import CommandError
from instanter.cli.stock_recording import find_index
from instanter.cli.stock_replay.lines import LineRejectedError, RecordedLines
from instanter.cli.stock_replay.stocking import DAY_US, OpeningStock, StockDrawing
from instanter.client import (
    Client,
    ConflictError,
    InvalidRequestError,
    PreconditionError,
    StockAlertProgress,
    StockAlertTransition,
    StockMovement,
)
from instanter.clock import Clock

_BATCH: Final = 500
"""Movements of one call: a refusal sends half a batch again."""

_CONFLICT: Final = "MOVEMENT_ID_CONFLICT"

_DRAWN: Final = 0
"""In the place of a line's number: a movement that stands in no line."""


class _CaughtUpError(Exception):
    """Everything up to now has been told."""


@dataclass(frozen=True, slots=True)
class RejectedLines:
    """Lines that were refused for one reason.

    Attributes
    ----------
    reason
        Stable and machine-readable.
    count
        How many.
    first_line
        The first of them in the file, from 1, a head not counted; 0 for a drawn movement.
    first_message
        What is wrong with it.
    """

    reason: str
    count: int
    first_line: int
    first_message: str


class Sent:
    """What became of a file.

    Parameters
    ----------
    line_count
        Lines.

    Attributes
    ----------
    line_count
        Lines.
    drawn_count
        Movements taken that stand in no line: opening stock, drawn stock.
    recorded_count, duplicate_count
        Movements recorded now, and before.
    rejected
        By reason, and whether they stand in a line.
    took_ns
        From the first to the last answer.
    """

    __slots__ = (
        "drawn_count", "duplicate_count", "line_count", "recorded_count", "rejected", "took_ns",
    )  # fmt: skip

    def __init__(self, line_count: int) -> None:
        self.line_count = line_count
        self.recorded_count = 0
        self.duplicate_count = 0
        self.drawn_count = 0
        self.rejected: dict[tuple[str, bool], RejectedLines] = {}
        self.took_ns = 0

    def reject(self, reason: str, line: int, message: str) -> None:
        """Count a line that was refused."""
        key = (reason, line != _DRAWN)
        before = self.rejected.get(key)
        self.rejected[key] = (
            RejectedLines(reason, 1, line, message)
            if before is None
            else RejectedLines(reason, before.count + 1, before.first_line, before.first_message)
        )


class MovementReplay:
    """One replay.

    Parameters
    ----------
    lines
        What is sent.
    clock
        Takes the time.
    tell
        Told how many lines are done, and of how many.
    """

    def __init__(
        self, lines: RecordedLines, *, clock: Clock, tell: Callable[[int, int], None]
    ) -> None:
        self._lines = lines
        self._clock = clock
        self._tell = tell
        self._sent = Sent(len(lines))
        self._opening = OpeningStock(lines)
        draw = lines.mapping.draw
        self._drawing = None if draw is None else StockDrawing(lines, draw)

    def run(self, client: Client) -> Sent:
        """Send everything, and return what became of it.

        Raises
        ------
        CommandError
            Nothing but refusals: the mapping file is wrong, or the catalogue.
        ClientError
            The server cannot be reached.
        """
        start_ns = self._clock.monotonic_ns()
        waiting: list[tuple[int, StockMovement]] = []
        for row, day in enumerate((self._lines.times_us // DAY_US).tolist()):
            if self._drawing is not None and row and day != self._lines.times_us[row - 1] // DAY_US:
                # What is drawn depends on what was recorded until then.
                self._send(client, waiting)
                waiting = []
                drawn = [(_DRAWN, movement) for movement in self._drawing.begin_day(day)]
                for first in range(0, len(drawn), _BATCH):
                    self._send(client, drawn[first : first + _BATCH])
            waiting += self._make(row)
            if len(waiting) >= _BATCH:
                self._send(client, waiting)
                waiting = []
                self._check(row + 1)
                self._tell(row + 1, len(self._lines))
        self._send(client, waiting)
        self._check(len(self._lines))
        self._sent.took_ns = self._clock.monotonic_ns() - start_ns
        return self._sent

    def _make(self, row: int) -> Iterator[tuple[int, StockMovement]]:
        """Yield what a row becomes: its movement, and what is to come before it."""
        number = int(self._lines.numbers[row])
        try:
            movement = self._lines.make(row)
        except LineRejectedError as error:
            self._sent.reject(error.reason, number, error.message)
            return
        opening = self._opening.make_before(movement)
        if opening is not None:
            yield _DRAWN, opening
        yield number, movement

    def _send(self, client: Client, batch: list[tuple[int, StockMovement]]) -> None:
        """Send a batch; what is refused is left out, what stands before it is sent before."""
        parts = [batch]
        while parts:
            part = parts.pop()
            if not part:
                continue
            try:
                counts = client.stock.record_movements([movement for _, movement in part])
            except (InvalidRequestError, ConflictError, PreconditionError) as error:
                at = find_index(error)
                if at is None or at >= len(part):
                    raise
                message = error.message.removeprefix(f"movements[{at}].")
                reason = next((each.reason for each in error.violations if each.reason), "")
                self._sent.reject(reason or error.reason, part[at][0], message)
                parts += [part[at + 1 :], part[:at]]
                continue
            self._sent.drawn_count += sum(number == _DRAWN for number, _ in part)
            self._sent.recorded_count += counts.recorded_count
            self._sent.duplicate_count += counts.duplicate_count
            if self._drawing is not None:
                for _, movement in part:
                    self._drawing.note(movement)

    def _check(self, done_count: int) -> None:
        """Give up when nothing at all is taken."""
        sent = self._sent
        if sent.recorded_count or sent.duplicate_count or not sent.rejected:
            return
        first = next(iter(sent.rejected.values()))
        hint = "mend the mapping file, or declare its sites and units: --declare FILE"
        if first.reason == _CONFLICT:
            hint = (
                "it was replayed before, with other times (another --limit, another week): use a "
                "new store, or another prefix for movement_id"
            )
        raise CommandError(
            f"none of the first {done_count:,} lines is taken; line {first.first_line}: "
            f"{first.first_message}",
            hint=hint,
        )


def find_token(client: Client) -> str:
    """Return the token of this moment: what is told behind it comes from here on."""
    token = ""

    def note(progress: StockAlertProgress) -> None:
        nonlocal token
        token = progress.resume_token
        raise _CaughtUpError

    with contextlib.suppress(_CaughtUpError):
        next(client.stock.watch_stock_alerts(on_progress=note))
    return token


def count_transitions(client: Client, token: str) -> dict[str, dict[str, int]]:
    """Return how often alerts of each cause changed how since a token."""

    def stop(_: StockAlertProgress) -> None:
        raise _CaughtUpError

    found: dict[str, dict[str, int]] = {}
    with contextlib.suppress(_CaughtUpError):
        for told in client.stock.watch_stock_alerts(resume_token=token, on_progress=stop):
            if isinstance(told, StockAlertTransition):
                changes = found.setdefault(told.alert.cause.name, {})
                changes[told.change.name] = changes.get(told.change.name, 0) + 1
    return found
