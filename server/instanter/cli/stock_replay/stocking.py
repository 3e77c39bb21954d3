"""Stock for files that tell none: an opening delivery, or stock drawn again every few days.

Movements of sales alone would all be below nothing. What is drawn follows the protocol that stands
beside the recorded sales: so many days of the mean demand, times a number drawn evenly.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Final

import numpy as np

from instanter.cli.stock_replay.lines import RecordedLines
from instanter.cli.stock_replay.mapping import DrawnStock
from instanter.client import StockMovement, StockMovementKind

DAY_US: Final = 86_400_000_000

Position = tuple[str, str]
"""Site and unit."""

_SIGNS: Final = {
    StockMovementKind.SALE: -1,
    StockMovementKind.RETURN: 1,
    StockMovementKind.RECEIPT: 1,
    StockMovementKind.ADJUSTMENT: 1,
    StockMovementKind.TRANSFER: -1,
}


class OpeningStock:
    """Brings units to each position before its first movement.

    Parameters
    ----------
    lines
        The movements.
    """

    def __init__(self, lines: RecordedLines) -> None:
        self._lines = lines
        self._units = lines.mapping.opening_units
        self._known: set[Position] = set()

    def make_before(self, movement: StockMovement) -> StockMovement | None:
        """Return what arrives before a movement; None when nothing does."""
        position = (movement.site, movement.stock_keeping_unit)
        if not self._units or position in self._known:
            return None
        self._known.add(position)
        return StockMovement(
            *position,
            StockMovementKind.RECEIPT,
            self._units,
            _make_id("opening", 0, position),
            movement.movement_time,
        )


class StockDrawing:
    """Draws stock at the beginning of days.

    Parameters
    ----------
    lines
        The movements.
    draw
        How.
    """

    def __init__(self, lines: RecordedLines, draw: DrawnStock) -> None:
        self._lines = lines
        self._draw = draw
        self._random = np.random.default_rng(draw.seed)
        self._first = int(lines.times_us[0]) // DAY_US
        self._on_hand: dict[Position, int] = defaultdict(int)
        self._today: dict[Position, int] = defaultdict(int)
        self._days: deque[dict[Position, int]] = deque(maxlen=draw.mean_of_days)
        self._day = self._first

    def note(self, movement: StockMovement) -> None:
        """Take a movement that the server has recorded."""
        position = (movement.site, movement.stock_keeping_unit)
        sign = _SIGNS.get(movement.kind, 0)
        if movement.kind is StockMovementKind.COUNT:
            self._on_hand[position] = movement.units
        self._on_hand[position] += sign * movement.units
        if movement.kind is StockMovementKind.TRANSFER:
            there = (movement.destination_site, movement.stock_keeping_unit)
            self._on_hand[there] += movement.units
        if movement.kind is StockMovementKind.SALE:
            self._today[position] += movement.units

    def begin_day(self, day: int) -> Iterator[StockMovement]:
        """Yield what is drawn at the beginning of a day, counted since 1970."""
        while self._day < day:
            self._days.append(dict(self._today))
            self._today.clear()
            self._day += 1
            if self._day == day and (day - self._first) % self._draw.lead_days == 0:
                yield from self._make()

    def _make(self) -> Iterator[StockMovement]:
        time = self._lines.make_time(self._day * DAY_US)
        sold: dict[Position, int] = defaultdict(int)
        for day in self._days:
            for position, units in day.items():
                sold[position] += units
        draw = self._draw
        numbers = self._random.uniform(draw.low, draw.high, len(sold))
        for position, number in zip(sorted(sold), numbers.tolist(), strict=True):
            mean = sold[position] / len(self._days)
            change = round(mean * draw.lead_days * number) - self._on_hand[position]
            if change:
                yield StockMovement(
                    *position,
                    StockMovementKind.ADJUSTMENT,
                    change,
                    _make_id("drawn", self._day, position),
                    time,
                )


def _make_id(what: str, day: int, position: Position) -> str:
    """Return an id of 64 characters at most, the same in each replay of a file."""
    digest = hashlib.blake2b("/".join(position).encode(), digest_size=12).hexdigest()
    return f"{what}-{day}-{digest}"
