"""The mapping file of a replay of movements: which column is what, and what stands in none."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from instanter.cli.failures import CommandError
from instanter.cli.mapping_files import check_mapped_names, read_mapping_file
from instanter.cli.stock_recording import KINDS
from instanter.client import StockMovementKind
from instanter.errors import nearest, show

_COLUMNS: Final = (
    "movement_id", "time", "site", "unit", "units", "kind", "destination", "price_minor",
    "region", "category", "title",
)  # fmt: skip
"""What a column may be."""

_REQUIRED: Final = ("time", "site", "unit", "units", "kind")
_PREFIXED: Final = ("movement_id", "site", "unit")

Constant = str | int | float | bool
"""A value of what no column has."""


class DrawnStock(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Stock drawn for files that tell none: at each site, every so many days, of each unit.

    What is drawn is the mean of the last days' sales, times the lead time, times a number drawn
    evenly between two.

    Attributes
    ----------
    lead_days
        Days between two draws, and what is drawn for.
    mean_of_days
        Days whose sales are looked at.
    low, high
        What the number lies between.
    seed
        Of the draws.
    """

    lead_days: int = 5
    mean_of_days: int = 8
    low: float = 0.5
    high: float = 2.5
    seed: int = 0


class _Given(msgspec.Struct, forbid_unknown_fields=True):
    """The mapping file as it is written."""

    columns: dict[str, str]
    constants: dict[str, Constant] = {}
    prefixes: dict[str, str] = {}
    kinds: dict[str, str] = {}
    opening_units: int = 0
    draw: DrawnStock | None = None
    shift: str | int = "weeks"


@dataclass(frozen=True, slots=True)
class MovementMapping:
    """What a file's columns mean.

    Attributes
    ----------
    columns
        Column by what it is.
    constants
        Values of what no column has.
    prefixes
        What stands before ids, sites and units.
    kinds
        Kind of movement by the file's own word for it.
    opening_units
        Units that arrive at every position before its first movement; 0 for none.
    draw
        How stock is drawn; None for not at all.
    shift_weeks
        Weeks to move all times by; None to move the last movement to the week before now.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, Constant]
    prefixes: Mapping[str, str]
    kinds: Mapping[str, StockMovementKind]
    opening_units: int
    draw: DrawnStock | None
    shift_weeks: int | None


def load_movement_mapping(path: Path) -> MovementMapping:
    """Read a mapping file.

    Raises
    ------
    CommandError
        It is none; the message names what is wrong.
    """
    given = read_mapping_file(path, _Given)
    check_mapped_names(path, given, _COLUMNS, _PREFIXED, "a movement")
    missing = [name for name in _REQUIRED if name not in {*given.columns, *given.constants}]
    if missing:
        raise CommandError(
            f"{path}: nothing says what is {', '.join(missing)}; name a column under `columns`, or "
            "a value under `constants`"
        )
    if "time" not in given.columns:
        raise CommandError(f"{path}: time: movements have times of their own; name their column")
    _check_draw(path, given)
    shift = given.shift
    if isinstance(shift, str) and shift != "weeks":
        raise CommandError(f"{path}: shift: '{shift}'; expected `weeks`, or a number of weeks")
    words = dict(KINDS) | {kind.name: kind for kind in StockMovementKind}
    for word, name in given.kinds.items():
        if name not in KINDS:
            near = nearest(name, KINDS)
            hint = f"did you mean '{near}'?" if near else f"expected {', '.join(KINDS)}"
            raise CommandError(f"{path}: kinds: {word}: {show(name)} is no movement; {hint}")
        words[word] = KINDS[name]
    return MovementMapping(
        columns=given.columns,
        constants=given.constants,
        prefixes=given.prefixes,
        kinds=words,
        opening_units=given.opening_units,
        draw=given.draw,
        shift_weeks=shift if isinstance(shift, int) else None,
    )


def _check_draw(path: Path, given: _Given) -> None:
    if given.opening_units < 0:
        raise CommandError(f"{path}: opening_units: {given.opening_units}; expected 0 or more")
    draw = given.draw
    if draw is None:
        return
    if given.opening_units:
        raise CommandError(f"{path}: opening_units and draw: expected one of them")
    if draw.lead_days < 1 or draw.mean_of_days < 1 or not 0 <= draw.low <= draw.high:
        raise CommandError(
            f"{path}: draw: expected days of at least 1 and 0 ≤ low ≤ high, not {draw}"
        )
