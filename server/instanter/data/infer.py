"""A first schema from a file, so that a thousand columns need no typing.

What is written is a proposal for people to read. Two choices behind it:

- Ranges stay open and the description says what was observed. A range taken from one file would
  reject the customer who spends more tomorrow; what is truly impossible only the owner knows.
- A column of 0 and 1 is a flag only when its name says so, `is_...` or `has_...` for example: a
  count that has been 0 or 1 until now would be rejected at 2. Text that says yes and no, or true
  and false, and nothing else, is a flag.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instanter import limits
from instanter.catalogue.names import make_attribute_name
from instanter.catalogue.schema import INSTANT_S_MAX, Attribute, AttributeKind, AttributeSource
from instanter.data.encoding import NULL_TEXTS, encode_column
from instanter.data.files import TableFile, open_table
from instanter.errors import InvalidFieldError, nearest

_DISTINCT_ALWAYS: Final = 20
"""Up to so many distinct texts make a category even in a file of a few rows."""

# A leading zero (007) is part of a code, not of a number.
_NUMBER_TEXT = r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_TIME_TEXT = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$"
_FLAG_NAME = re.compile(r"(^|_)(is|has|was|flag|ind|indicator)(_|$)|^(is|has)[A-Z]", re.ASCII)
_FLAG_PAIRS = ({"yes", "no"}, {"true", "false"})
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a column is, or why it is left out (`kind` is None)."""

    kind: AttributeKind | None
    text: str
    values: tuple[str, ...] = ()


def infer_schema(
    path: Path,
    key_column: str | None = None,
    exclude: Iterable[str] = (),
    *,
    warn: Callable[[str], None] | None = None,
) -> list[Attribute]:
    """Return the attributes that the columns of a file look like, in the file's order.

    Parameters
    ----------
    path
        A Parquet or CSV file; all of it is read.
    key_column
        Column of the customer ids; it becomes no attribute.
    exclude
        Further columns that become none: a target, or what is only known afterwards.
    warn
        Called with a sentence for each column that is left out: free text, all empty, or of a
        type that no attribute has.

    Raises
    ------
    InvalidFieldError
        The file cannot be read or has no rows, or it lacks a column that is named here.
    """
    table = open_table(path)
    skipped = list(exclude) if key_column is None else [key_column, *exclude]
    _check_columns(table, skipped)
    columns = {n: _Column(kind) for n, kind in table.column_types.items() if n not in skipped}
    row_count = 0
    # Without any column Arrow still counts the rows of Parquet, but not those of CSV.
    for batch in table.batches(list(columns) or skipped[:1]):
        row_count += len(batch.rows)
        for name, column in columns.items():
            column.add(batch.table.column(name))
    if not row_count:
        raise InvalidFieldError(
            "file", str(path), "at least one row of data", reason="FILE_INVALID"
        )
    return list(_attributes(columns, row_count, warn or (lambda _: None)))


def _attributes(
    columns: dict[str, "_Column"], row_count: int, warn: Callable[[str], None]
) -> Iterator[Attribute]:
    taken: set[str] = set()
    for name, column in columns.items():
        verdict = column.verdict(name)
        if verdict.kind is None:
            warn(f"column {name!r} is left out: {verdict.text}")
            continue
        attribute_name = _free_name(make_attribute_name(name), taken)
        missing_rate = 1 - column.value_count / row_count
        missing = f"; missing in {missing_rate:.1%} of {row_count:,} rows" if missing_rate else ""
        attribute = Attribute(
            name=attribute_name,
            kind=verdict.kind,
            source=AttributeSource.LOADED,
            slot=len(taken),
            values=verdict.values,
            column=name,
            description=f"{verdict.text}{missing}",
        )
        taken.add(attribute_name)
        yield attribute


class _Column:
    """What has been seen of one column."""

    def __init__(self, kind: pa.DataType) -> None:
        self.value_count = 0
        self._type = kind.value_type if pa.types.is_dictionary(kind) else kind
        self._texts: Counter[str] = Counter()
        self._is_free_text = False
        self._is_number_text = self._is_time_text = True
        self._low, self._high = np.inf, -np.inf
        self._is_binary = True

    def add(self, array: Any) -> None:
        """Look at some rows."""
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            self._add_texts(array.cast(pa.string()).drop_null())
        elif pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
            self._add_numbers(_seconds(array))
        elif self._has_numbers():
            self._add_numbers(array.drop_null())
        else:
            self.value_count += len(array) - array.null_count

    def verdict(self, name: str) -> _Verdict:
        """Return what the column is."""
        kind = self._type
        if not self.value_count:
            return _Verdict(None, "it has no value in this file")
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return self._text_verdict(name)
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            if self._low < 0 or self._high > INSTANT_S_MAX:
                return _Verdict(None, "it has times before 1970 or after 2106; load a number")
            return _Verdict(AttributeKind.INSTANT, "times")
        if pa.types.is_boolean(kind):
            return _Verdict(AttributeKind.FLAG, "true or false")
        if self._has_numbers():
            return self._number_verdict(name)
        return _Verdict(None, f"its type {kind} fits no attribute")

    def _has_numbers(self) -> bool:
        kind = self._type
        return bool(
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_boolean(kind)
        )

    def _add_numbers(self, array: Any) -> None:
        self.value_count += len(array)
        if pa.types.is_boolean(array.type):
            return
        values = array.to_numpy(zero_copy_only=False).astype(np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            self._low = min(self._low, float(values.min()))
            self._high = max(self._high, float(values.max()))
            self._is_binary = self._is_binary and bool(((values == 0) | (values == 1)).all())

    def _add_texts(self, array: Any) -> None:
        nothing = pc.is_in(array, value_set=pa.array(NULL_TEXTS, pa.string()))
        values = array.filter(pc.invert(nothing))
        if not self._is_free_text:
            for entry in pc.value_counts(array).to_pylist():
                self._texts[entry["values"]] += entry["counts"]
            self._is_free_text = len(self._texts) > limits.INFER_CATEGORY_VALUES_MAX
            if self._is_free_text:
                self._texts.clear()
        self._is_number_text = self._is_number_text and _all_match(values, _NUMBER_TEXT)
        self._is_time_text = self._is_time_text and _all_match(values, _TIME_TEXT)
        if self._is_number_text:
            plain = pc.utf8_ltrim(pc.utf8_trim_whitespace(values), characters="+")
            self._add_numbers(plain.cast(pa.float64()))
        elif self._is_time_text:
            self._add_numbers(_seconds(values))
        else:
            self.value_count += len(values)

    def _text_verdict(self, name: str) -> _Verdict:
        if self._is_number_text:
            return self._number_verdict(name)
        if self._is_time_text and self._low >= 0 and self._high <= INSTANT_S_MAX:
            return _Verdict(AttributeKind.INSTANT, "times")
        # What spells "nothing" is a missing value; "NA" is one only as long as nobody declares it.
        counts = Counter({t: n for t, n in self._texts.items() if t not in NULL_TEXTS})
        if {text.lower() for text in counts} in _FLAG_PAIRS:
            return _Verdict(AttributeKind.FLAG, "yes or no")
        many = max(_DISTINCT_ALWAYS, self.value_count // 2)
        if self._is_free_text or len(counts) > many:
            known = f"more than {limits.INFER_CATEGORY_VALUES_MAX}" if self._is_free_text else ""
            count = known or f"{len(counts)}"
            return _Verdict(
                None, f"it has {count} distinct texts; a category has few, declared values"
            )
        values = tuple(sorted(counts, key=lambda text: (-counts[text], text)))
        for text in values:
            if len(text.encode()) > limits.CATEGORY_VALUE_SIZE_BYTES_MAX or _CONTROL.search(text):
                return _Verdict(None, "it has texts that are too long or have control characters")
        return _Verdict(
            AttributeKind.CATEGORY, f"{len(values)} values, the most frequent first", values
        )

    def _number_verdict(self, name: str) -> _Verdict:
        if self._low > self._high:
            return _Verdict(None, "it has no finite number in this file")
        if self._is_binary and self._low < self._high and _FLAG_NAME.search(name):
            return _Verdict(AttributeKind.FLAG, "0 or 1")
        observed = f"observed {self._low:.6g} to {self._high:.6g}"
        return _Verdict(AttributeKind.NUMBER, observed)


def _seconds(array: Any) -> Any:
    """Return seconds since 1970 of the times that are there; those a slot cannot hold as −1."""
    instant = Attribute("time", AttributeKind.INSTANT, AttributeSource.LOADED, 0)
    present = array.drop_null()
    slots, rejections = encode_column(instant, present)
    seconds = slots.astype(np.float64)
    seconds[[rejection.row for rejection in rejections]] = -1
    return pa.array(seconds)


def _all_match(array: Any, pattern: str) -> bool:
    trimmed = pc.utf8_trim_whitespace(array)
    return bool(pc.all(pc.match_substring_regex(trimmed, pattern), min_count=0).as_py())


def _free_name(name: str, taken: set[str]) -> str:
    """Return a name that is not taken yet: the given one, or with a number behind it."""
    free, number = name, 2
    while free in taken:
        suffix = f"_{number}"
        free = f"{name[: limits.NAME_SIZE_MAX - len(suffix)]}{suffix}"
        number += 1
    return free


def _check_columns(table: TableFile, columns: Iterable[str]) -> None:
    for column in columns:
        if column not in table.column_types:
            close = nearest(column, table.column_types)
            hint = f"; did you mean {close!r}?" if close else ""
            raise InvalidFieldError(
                "column", column, f"a column of {table.path.name}{hint}", reason="COLUMN_UNKNOWN"
            )
