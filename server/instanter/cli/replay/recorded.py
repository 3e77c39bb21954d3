"""Recorded transactions: read from a file by a mapping, in the order of their times."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from instanter.catalogue.currencies import find_minor_digits
from instanter.catalogue.instants import INSTANT_EXPECTED, find_instant_s
from instanter.cli.failures import CommandError
from instanter.cli.plain_numbers import find_number, find_whole
from instanter.cli.replay.mapping import ReplayMapping
from instanter.client import CardTransaction
from instanter.errors import show

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK_US: Final = 7 * 86_400 * 1_000_000
_S_US: Final = 1_000_000
_US_MIN: Final = int((datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) / timedelta(microseconds=1))
_US_END: Final = int((datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH) / timedelta(microseconds=1))
"""Times that were recorded; others are mistakes, and one of them would move all by centuries."""
_SECONDS_END: Final = 1e12
"""Further away than any time."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedTransactions:
    """The rows of a file in the order of their times.

    Attributes
    ----------
    times_us
        int64[N]: times of the file, microseconds since 1970 (UTC), ascending; read-only.
    shift_us
        What is added to them before they are sent.
    frauds
        bool[N]: labels; None when the file has none.
    scenarios
        Text of each row's scenario; None when the file has none.
    cards
        int64[N]: a number for each card.
    """

    times_us: NDArray[np.int64]
    shift_us: int
    frauds: NDArray[np.bool_] | None
    scenarios: Sequence[str] | None
    cards: NDArray[np.int64]
    values: dict[str, list[Any]]
    fields: dict[str, list[Any]]
    mapping: ReplayMapping
    places: dict[str, tuple[float, float]]

    def __len__(self) -> int:
        return len(self.times_us)

    def make_id(self, row: int) -> str:
        """Return the id of the transaction of a row."""
        return self._id("transaction_id", row)

    def make(self, row: int) -> CardTransaction:
        """Return the transaction of a row, its time moved."""
        latitude, longitude = self._find_place(row)
        return CardTransaction(
            card_token=self._id("card", row),
            terminal=self._id("terminal", row),
            merchant=self._id("merchant", row),
            mcc=self.values["mcc"][row],
            amount_minor=self.values["amount_minor"][row],
            currency=str(self.values["currency"][row]),
            card_present=self._is_present(row),
            transaction_id=self.make_id(row),
            transaction_time=_EPOCH
            + timedelta(microseconds=int(self.times_us[row]) + self.shift_us),
            customer=self._id("customer", row),
            device=self._id("device", row),
            latitude=latitude,
            longitude=longitude,
            bin=self._text("bin", row),
            fields={name: values[row] for name, values in self.fields.items()},
        )

    def find_scored(self) -> NDArray[np.bool_]:
        """Return bool[N]: which rows are judged."""
        start = read_moment_us(self.mapping.score_from, "score_from")
        end = read_moment_us(self.mapping.score_to, "score_to")
        scored = np.ones(len(self), np.bool_)
        if start is not None:
            scored &= self.times_us >= start
        if end is not None:
            scored &= self.times_us < end
        return scored

    def _text(self, name: str, row: int) -> str:
        values = self.values.get(name)
        value = None if values is None else values[row]
        return "" if value is None else str(value)

    def _id(self, name: str, row: int) -> str:
        text = self._text(name, row)
        return self.mapping.prefixes.get(name, "") + text if text else ""

    def _is_present(self, row: int) -> bool:
        present = self.mapping.present_values
        return not present or self._text("channel", row) in present

    def _find_place(self, row: int) -> tuple[float | None, float | None]:
        if self.places and self._is_present(row):
            found = self.places.get(self._text("terminal", row))
            return found if found is not None else (None, None)
        latitude, longitude = (
            None if values is None else values[row]
            for values in (self.values.get("latitude"), self.values.get("longitude"))
        )
        if latitude is None or longitude is None:
            return None, None
        return latitude, longitude


def load_recorded(
    file: Path, mapping: ReplayMapping, now: datetime, limit: int | None = None
) -> RecordedTransactions:
    """Read a file.

    Parameters
    ----------
    file
        CSV (also .gz) or Parquet.
    mapping
        What its columns mean.
    now
        The last transaction comes to lie in the week before it.
    limit
        The first so many by time; None for all.

    Raises
    ------
    CommandError
        The file is none, a column is missing, or a value cannot be what it stands for.
    """
    wanted = {*mapping.columns.values(), *mapping.fields.values()}
    table = read_table(file, wanted)
    times_us = read_times_us(table.column(mapping.columns["time"]), file)
    order = np.argsort(times_us, kind="stable")[:limit]
    times_us = times_us[order]
    if not len(times_us):
        raise CommandError(f"{file}: there is no transaction in it")
    ordered = {name: table.column(name).take(pa.array(order)) for name in wanted}
    count = len(order)
    values: dict[str, list[Any]] = {
        name: list(itertools.repeat(constant, count))
        for name, constant in mapping.constants.items()
    }
    for name, column in mapping.columns.items():
        if name != "time":
            values[name] = ordered[column].to_pylist()
    values.setdefault("transaction_id", [str(row) for row in order.tolist()])
    rows = (order + 1).tolist()
    values["amount_minor"] = _read_amounts(values, rows, file)
    values["mcc"] = _read_numbers("mcc", values["mcc"], rows, file, find_whole)
    for name in {"latitude", "longitude"} & values.keys():
        given = [None if value == "" else value for value in values[name]]
        values[name] = _read_numbers(name, given, rows, file, find_number, has_gaps=True)
    frauds = None
    if "fraud" in values:
        frauds = np.fromiter((_is_true(value) for value in values["fraud"]), np.bool_, count)
    scenarios = [str(value) for value in values["scenario"]] if "scenario" in values else None
    _, cards = np.unique(np.array([str(card) for card in values["card"]]), return_inverse=True)
    last_us = int(times_us[-1])
    now_us = int((now - _EPOCH) / timedelta(microseconds=1))
    weeks = mapping.shift_weeks
    shift_us = (now_us - last_us) // _WEEK_US * _WEEK_US if weeks is None else weeks * _WEEK_US
    return RecordedTransactions(
        times_us=times_us,
        shift_us=shift_us,
        frauds=frauds,
        scenarios=scenarios,
        cards=cards.astype(np.int64),
        values=values,
        fields={name: ordered[column].to_pylist() for name, column in mapping.fields.items()},
        mapping=mapping,
        places=dict(_read_places(mapping)),
    )


def read_moment_us(text: str, name: str) -> int | None:
    """Return microseconds since 1970 of a date or instant; None for an empty text.

    Raises
    ------
    CommandError
        It is none.
    """
    if not text:
        return None
    seconds = find_instant_s(text)
    if seconds is None:
        raise CommandError(f"{name}: {show(text)} is not right; expected {INSTANT_EXPECTED}")
    return round(seconds * _S_US)


def read_table(file: Path, columns: set[str]) -> pa.Table:
    """Return columns of a CSV (also .gz) or Parquet file.

    Raises
    ------
    CommandError
        The file is neither, or a column is missing.
    """
    try:
        with file.open("rb") as opened:
            is_parquet = opened.read(4) == b"PAR1"
        if is_parquet:
            names = pq.read_schema(file).names
            _check_columns(file, columns, names)
            return pq.read_table(file, columns=sorted(columns))
        table = pa_csv.read_csv(file)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        raise CommandError(f"{file}: it is neither Parquet nor CSV: {reason}") from None
    _check_columns(file, columns, table.column_names)
    return table


def _check_columns(file: Path, wanted: set[str], names: Sequence[str]) -> None:
    missing = sorted(wanted - set(names))
    if missing:
        raise CommandError(
            f"{file}: it has no column {', '.join(missing)}; it has {', '.join(names)}"
        )


def read_times_us(column: pa.ChunkedArray, file: Path) -> NDArray[np.int64]:
    """Return int64[N], microseconds since 1970; times without a zone are UTC.

    Raises
    ------
    CommandError
        They are none.
    """
    kind = column.type
    absent = pc.index(pc.is_null(column, nan_is_null=True), pa.scalar(True)).as_py()
    if absent >= 0:
        raise _no_time(file, absent + 1, "")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        found = [_read_text_us(text, file, row) for row, text in enumerate(column.to_pylist(), 1)]
        times_us = np.array(found, np.int64)
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        moments = column.cast(pa.timestamp("us"), safe=False).to_numpy()
        times_us = np.asarray(moments.astype("datetime64[us]").astype(np.int64))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        # Clipped first: what no int64 can hold would be anything.
        seconds = np.clip(column.to_numpy().astype(np.float64), -_SECONDS_END, _SECONDS_END)
        times_us = np.asarray(np.round(seconds * 1e6).astype(np.int64))
    else:
        raise CommandError(f"{file}: times of type {kind}; expected instants, texts or seconds")
    (outside,) = np.nonzero((times_us < _US_MIN) | (times_us >= _US_END))
    if len(outside):
        raise _no_time(file, int(outside[0]) + 1, str(column[int(outside[0])]))
    return times_us


def _no_time(file: Path, row: int, text: str) -> CommandError:
    """Return the error for a row of which nobody can tell when it was."""
    return CommandError(
        f"{file}: row {row}: {show(text)} is no time; expected RFC 3339, from 1900 to 2199"
    )


def _read_text_us(text: str, file: Path, row: int) -> int:
    plain = text.strip().replace(" ", "T", 1)
    is_zoned = plain.endswith(("Z", "z")) or "+" in plain[10:] or "-" in plain[10:]
    seconds = find_instant_s(plain if is_zoned or "T" not in plain else f"{plain}Z")
    if seconds is None:
        raise _no_time(file, row, text)
    return round(seconds * _S_US)


def _read_numbers(
    name: str,
    given: Sequence[Any],
    rows: Sequence[int],
    file: Path,
    find: Callable[[object], float | None],
    *,
    has_gaps: bool = False,
) -> list[Any]:
    """Return a number a row, as `find` reads it, None only where there may be gaps."""
    found: list[Any] = []
    for row, value in zip(rows, given, strict=True):
        number = find(value)
        if number is None and not (has_gaps and value is None):
            expected = "a whole number" if find is find_whole else "a number"
            raise CommandError(
                f"{file}: row {row}: {name}: {show(str(value))} is not right; expected {expected} "
                "in digits from 0 to 9"
            )
        found.append(number)
    return found


def _read_amounts(values: dict[str, list[Any]], rows: Sequence[int], file: Path) -> list[int]:
    """Return amounts in minor units."""
    if "amount_minor" in values:
        return _read_numbers("amount_minor", values["amount_minor"], rows, file, find_whole)
    currencies = values["currency"]
    factors = {code: find_minor_digits(str(code)) for code in set(currencies)}
    amounts: list[int] = []
    for row, amount, code in zip(rows, values["amount"], currencies, strict=True):
        digits, number = factors[code], find_number(amount)
        if digits is None or number is None:
            raise CommandError(
                f"{file}: row {row}: {show(str(amount))} {show(str(code))} is no amount"
            )
        amounts.append(round(number * 10**digits))
    return amounts


def _is_true(value: object) -> bool:
    return value in (True, 1) or str(value).strip().lower() in ("1", "true", "yes", "fraud")


def _read_places(mapping: ReplayMapping) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield the places of terminals by their ids as the file has them."""
    places = mapping.places
    if places is None:
        return
    table = read_table(places.file, {places.terminal, places.latitude, places.longitude})
    rows = range(1, table.num_rows + 1)
    latitudes, longitudes = (
        _read_numbers(name, table.column(name).to_pylist(), rows, places.file, find_number)
        for name in (places.latitude, places.longitude)
    )
    terminals = map(str, table.column(places.terminal).to_pylist())
    yield from zip(terminals, zip(latitudes, longitudes, strict=True), strict=True)
