"""Recorded movements: read from a file by a mapping, in the order of their times."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from instanter.cli.failures import CommandError
from instanter.cli.plain_numbers import find_whole
from instanter.cli.replay.recorded import read_table, read_times_us
from instanter.cli.stock_replay.mapping import MovementMapping
from instanter.client import StockMovement, StockMovementKind
from instanter.errors import show
from instanter.stock_limits import STOCK_KEEPING_UNIT_SIZE_MAX

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK_US: Final = 7 * 86_400 * 1_000_000
_NAME: Final = re.compile(rf"(?=\S)[ -.0-~]{{1,{STOCK_KEEPING_UNIT_SIZE_MAX}}}(?<=\S)")

_OPPOSITES: Final = {
    StockMovementKind.SALE: StockMovementKind.RETURN,
    StockMovementKind.RETURN: StockMovementKind.SALE,
    StockMovementKind.RESERVATION: StockMovementKind.RELEASE,
    StockMovementKind.RELEASE: StockMovementKind.RESERVATION,
    StockMovementKind.ORDER: StockMovementKind.ORDER_CANCELLATION,
    StockMovementKind.ORDER_CANCELLATION: StockMovementKind.ORDER,
}
"""What a negative number of units means."""


_WITHOUT_UNITS: Final = (StockMovementKind.COUNT, StockMovementKind.PRICE_CHANGE)
"""What may have no units."""


class LineRejectedError(Exception):
    """A line is no movement.

    Parameters
    ----------
    reason
        Stable, as the server's reasons are.
    message
        What is wrong with it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True, eq=False)
class RecordedLines:
    """The lines of a file in the order of their times.

    Attributes
    ----------
    times_us
        int64[N]: times of the file, microseconds since 1970 (UTC), ascending; read-only.
    shift_us
        What is added to them before they are sent.
    numbers
        int64[N]: each one's line in the file, from 1, a head not counted.
    values
        By what they are, a value each.
    mapping
        What the columns mean.
    """

    times_us: NDArray[np.int64]
    shift_us: int
    numbers: NDArray[np.int64]
    values: Mapping[str, Sequence[Any]]
    mapping: MovementMapping

    def __len__(self) -> int:
        return len(self.times_us)

    def make(self, row: int) -> StockMovement:
        """Return the movement of a row, its time moved.

        Raises
        ------
        LineRejectedError
            It is none.
        """
        word = self._text("kind", row)
        kind = self.mapping.kinds.get(word)
        if kind is None:
            raise LineRejectedError("KIND_UNKNOWN", f"kind {show(word)} is not in `kinds`")
        units = self._read_units(row)
        if units < 0 and kind is not StockMovementKind.ADJUSTMENT:
            opposite = _OPPOSITES.get(kind)
            if opposite is None:
                raise LineRejectedError("UNITS_INVALID", f"{units} units of a {word}")
            kind, units = opposite, -units
        if units == 0 and kind not in _WITHOUT_UNITS:
            raise LineRejectedError("UNITS_INVALID", f"0 units of a {word}")
        return StockMovement(
            site=self.find_site(row),
            stock_keeping_unit=self.find_unit(row),
            kind=kind,
            units=units,
            movement_id=self._make_id(row),
            movement_time=self.make_time(int(self.times_us[row])),
            destination_site=self._text("destination", row),
            price_minor=self._read_price(row),
        )

    def make_time(self, time_us: int) -> datetime:
        """Return the moved time of a time of the file."""
        return EPOCH + timedelta(microseconds=time_us + self.shift_us)

    def find_site(self, row: int) -> str:
        """Return the site of a row."""
        return self._name("site", row)

    def find_unit(self, row: int) -> str:
        """Return the stock-keeping unit of a row."""
        return self._name("unit", row)

    def find_text(self, name: str, row: int) -> str:
        """Return what else a row says; empty when the file has no such column."""
        return self._text(name, row)

    def _name(self, name: str, row: int) -> str:
        text = self._text(name, row)
        if text:
            text = self.mapping.prefixes.get(name, "") + text
        if not _NAME.fullmatch(text):
            raise LineRejectedError(
                f"{name.upper()}_INVALID",
                f"{name} {show(text)} is not right; expected 1 to {STOCK_KEEPING_UNIT_SIZE_MAX} "
                "printable ASCII characters without /, and no blanks at its ends",
            )
        return text

    def _make_id(self, row: int) -> str:
        own = self._text("movement_id", row) or str(self.numbers[row])
        return self.mapping.prefixes.get("movement_id", "") + own

    def _read_units(self, row: int) -> int:
        value = self.values["units"][row]
        units = find_whole(value)
        if units is None:
            raise LineRejectedError("UNITS_INVALID", f"units {show(str(value))} is no whole number")
        return units

    def _read_price(self, row: int) -> int:
        values = self.values.get("price_minor")
        value = None if values is None else values[row]
        price_minor = 0 if value is None or value == "" else find_whole(value)
        if price_minor is None:
            raise LineRejectedError(
                "PRICE_INVALID", f"price_minor {show(str(value))} is no whole number"
            )
        return price_minor

    def _text(self, name: str, row: int) -> str:
        values = self.values.get(name)
        value = None if values is None else values[row]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if value is None else str(value)


def load_lines(
    file: Path, mapping: MovementMapping, now: datetime, limit: int | None = None
) -> RecordedLines:
    """Read a file.

    Parameters
    ----------
    file
        CSV (also .gz) or Parquet.
    mapping
        What its columns mean.
    now
        The last movement comes to lie in the week before it.
    limit
        The first so many by time; None for all.

    Raises
    ------
    CommandError
        The file is none, a column is missing, or a time is none.
    """
    wanted = set(mapping.columns.values())
    table = read_table(file, wanted)
    times_us = read_times_us(table.column(mapping.columns["time"]), file)
    order = np.argsort(times_us, kind="stable")[:limit]
    times_us = times_us[order]
    if not len(times_us):
        raise CommandError(f"{file}: there is no movement in it")
    rows = pa.array(order)
    values: dict[str, Sequence[Any]] = {
        name: list(itertools.repeat(constant, len(order)))
        for name, constant in mapping.constants.items()
    }
    for name, column in mapping.columns.items():
        if name != "time":
            values[name] = table.column(column).take(rows).to_pylist()
    now_us = int((now - EPOCH) / timedelta(microseconds=1))
    weeks = mapping.shift_weeks
    shift_us = (
        (now_us - int(times_us[-1])) // _WEEK_US * _WEEK_US if weeks is None else weeks * _WEEK_US
    )
    return RecordedLines(times_us, shift_us, order + 1, values, mapping)
