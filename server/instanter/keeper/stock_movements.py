"""Movements of stock: how a batch of them becomes a record, and what that does to positions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from instanter.keeper.records import RecordKind


class GivenMovement(NamedTuple):
    """One movement as its sender gave it. A tuple: a batch of them is turned into columns.

    Attributes
    ----------
    movement_id
        1 to 64 printable ASCII characters, checked.
    kind
        A `stock.questions.MovementKind`, checked.
    site, unit
        Names, unchecked.
    units
        An int64, unchecked.
    time_ns
        When it happened, nanoseconds since 1970, at least 0; None for when it is recorded.
    destination_site
        Name, unchecked; empty for none.
    price_minor
        Price in minor units, unchecked; 0 for none.
    """

    movement_id: str
    kind: int
    site: str
    unit: str
    units: int
    time_ns: int | None
    destination_site: str = ""
    price_minor: int = 0


class MovementCounts(NamedTuple):
    """What became of a batch of movements.

    Attributes
    ----------
    recorded_count
        Movements that are recorded now and were not before.
    duplicate_count
        Movements that had been recorded before, or stand in the batch twice.
    """

    recorded_count: int
    duplicate_count: int


@dataclass(frozen=True, slots=True, eq=False)
class RecordStockMovements:
    """Records movements of stock, all of them or none; its result is the `MovementCounts`.

    Attributes
    ----------
    read_movements
        Returns the movements, 1 to `stock_limits.MOVEMENTS_BATCH_MAX`; raises an `InstanterError`
        when one of them cannot be read.
    """

    read_movements: Callable[[], Sequence[GivenMovement]]

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.STOCK_MOVEMENTS
