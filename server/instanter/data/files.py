"""Table files: Parquet and CSV behind one shape, read batch by batch, with clear refusals.

Row 1 is the first row of data. Every field of a CSV file is handed on as text, so that a value
that cannot be read is one rejected value with a row number, not a failed file.
"""

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from instanter import limits
from instanter.errors import InvalidFieldError

SEPARATORS: Final = (",", ";", "\t", "|")
"""Separators that a CSV file may have; the one that cuts its first lines most is taken."""

_PARQUET_MAGIC = b"PAR1"
_SNIFFED_SIZE_BYTES = 256 << 10
_SNIFFED_LINES = 20
_CSV_BLOCK_SIZE_BYTES = 16 << 20
_FORMATS = "a Parquet file (.parquet) or a CSV file (.csv, .csv.gz) with a header line"


@dataclass(frozen=True, slots=True)
class MalformedRow:
    """A row of a CSV file that has another number of fields than the header."""

    row: int
    field_count: int
    expected_count: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class FileBatch:
    """Some rows of a file.

    Attributes
    ----------
    rows
        int64[n], numbers of the rows, from 1.
    table
        Their columns.
    malformed
        Rows met on the way that are no rows; they are not in `table`.
    bytes_rate
        Share of the file that has been read, in [0, 1].
    """

    rows: NDArray[np.int64]
    table: pa.RecordBatch
    malformed: tuple[MalformedRow, ...]
    bytes_rate: float


class TableFile(Protocol):
    """A file with named columns.

    Attributes
    ----------
    path
        Where it is.
    column_types
        Column name to Arrow type, in the file's order.
    """

    path: Path
    column_types: dict[str, pa.DataType]

    def batches(self, columns: Sequence[str]) -> Iterator[FileBatch]:
        """Yield the rows of some columns, at most `LOAD_BATCH_ROWS` at a time, in file order.

        Raises
        ------
        InvalidFieldError
            The file turns out to be damaged or cut off; what was yielded before is right.
        """
        ...


def open_table(path: Path) -> TableFile:
    """Open a Parquet or CSV file and read its column names.

    Raises
    ------
    InvalidFieldError
        It is missing, a folder, empty, unreadable, neither Parquet nor CSV, or names a column
        twice.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_PARQUET_MAGIC))
    except IsADirectoryError as error:
        raise _refused(path, f"{_FORMATS}; this is a folder") from error
    except FileNotFoundError as error:
        raise _refused(path, "a file that exists", reason="FILE_NOT_FOUND") from error
    except OSError as error:
        raise _refused(path, f"a file that can be read ({error.strerror})") from error
    if not head:
        raise _refused(path, f"{_FORMATS}; this file is empty")
    suffixes = "".join(path.suffixes[-2:]).lower()
    if head == _PARQUET_MAGIC or suffixes.endswith((".parquet", ".pq")):
        return ParquetTable(path)
    if suffixes.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt")):
        return CsvTable(path)
    raise _refused(path, _FORMATS)


class ParquetTable:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise _refused(path, f"a whole Parquet file ({_first_line(error)})") from error
        schema = self._file.schema_arrow
        _check_names(path, schema.names)
        self.column_types: dict[str, pa.DataType] = dict(
            zip(schema.names, schema.types, strict=True)
        )

    def batches(self, columns: Sequence[str]) -> Iterator[FileBatch]:
        """Yield the rows of some columns, see `TableFile`."""
        total, done = max(self._file.metadata.num_rows, 1), 0
        try:
            for table in self._file.iter_batches(limits.LOAD_BATCH_ROWS, columns=list(columns)):
                rows = np.arange(done + 1, done + 1 + table.num_rows, dtype=np.int64)
                done += table.num_rows
                yield FileBatch(rows, table, (), done / total)
        except (pa.ArrowException, OSError) as error:
            raise _refused(
                self.path, f"a whole Parquet file ({_first_line(error)} after row {done:,})"
            ) from error


class CsvTable:
    """A CSV file, plain or compressed with gzip; all columns are text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        sample = _sample(path)
        self._separator = _separator(sample)
        try:
            names = next(csv.reader(io.StringIO(sample), delimiter=self._separator), [])
        except csv.Error as error:
            raise _refused(path, f"{_FORMATS} ({error})") from error
        _check_names(path, names)
        self.column_types: dict[str, pa.DataType] = dict.fromkeys(names, pa.string())

    def batches(self, columns: Sequence[str]) -> Iterator[FileBatch]:
        """Yield the rows of some columns, see `TableFile`."""
        malformed: list[MalformedRow] = []

        def skip(row: Any) -> str:
            # Arrow numbers the header 1, so a row of data has its number less one.
            malformed.append(
                MalformedRow(row.number - 1, row.actual_columns, row.expected_columns, row.text)
            )
            return "skip"

        total = max(self.path.stat().st_size, 1)
        next_row = 1
        try:
            with self.path.open("rb") as raw:
                for block in self._blocks(raw, columns, skip):
                    told = tuple(malformed)
                    malformed.clear()
                    rows, next_row = _row_numbers(next_row, block.num_rows, told)
                    rate = min(raw.tell() / total, 1.0)
                    for start in range(0, max(block.num_rows, 1), limits.LOAD_BATCH_ROWS):
                        part = slice(start, start + limits.LOAD_BATCH_ROWS)
                        table = block.slice(start, limits.LOAD_BATCH_ROWS)
                        yield FileBatch(rows[part], table, told if start == 0 else (), rate)
                if malformed:
                    # There may have been no block at all, when no row is well formed.
                    none = {name: pa.array([], pa.string()) for name in columns}
                    nothing = pa.RecordBatch.from_pydict(none)
                    yield FileBatch(np.empty(0, np.int64), nothing, tuple(malformed), 1.0)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise _refused(
                self.path,
                f"a whole CSV file in UTF-8 ({_first_line(error)} behind row {next_row - 1:,})",
            ) from error

    def _blocks(self, raw: Any, columns: Sequence[str], skip: Any) -> Iterator[pa.RecordBatch]:
        """Yield blocks of rows as text."""
        plain = gzip.GzipFile(fileobj=raw) if _is_gzip(self.path) else raw
        reader = pyarrow.csv.open_csv(
            pa.PythonFile(plain, "r"),
            # One thread: only then does Arrow number the rows that it cannot use.
            pyarrow.csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK_SIZE_BYTES),
            pyarrow.csv.ParseOptions(
                delimiter=self._separator, newlines_in_values=True, invalid_row_handler=skip
            ),
            pyarrow.csv.ConvertOptions(
                column_types=self.column_types,
                include_columns=list(columns),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        yield from reader


def _row_numbers(
    first: int, count: int, malformed: Sequence[MalformedRow]
) -> tuple[NDArray[np.int64], int]:
    """Return the numbers of `count` good rows from `first` on, and the number that follows.

    Arrow reports the malformed rows of a block before it hands out the block.
    """
    skipped = np.array([row.row for row in malformed], np.int64)
    candidates = np.arange(first, first + count + len(skipped), dtype=np.int64)
    rows = candidates[~np.isin(candidates, skipped)][:count]
    return rows, first + count + len(skipped)


def _sample(path: Path) -> str:
    """Return the beginning of a CSV file as text, without a byte order mark."""
    try:
        with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
            head: bytes = file.read(_SNIFFED_SIZE_BYTES)
    except (OSError, EOFError) as error:
        raise _refused(path, f"a CSV file, or one packed with gzip ({error})") from error
    try:
        # The last bytes may be half a character.
        return head[: head.rfind(b"\n") + 1 or None].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(
            path, f"a CSV file in UTF-8 (byte {error.start} is not); convert it first"
        ) from error


def _separator(sample: str) -> str:
    """Return the separator: the one that cuts most of the first lines into equally many fields."""
    lines = sample.splitlines()[:_SNIFFED_LINES]

    def quality(separator: str) -> tuple[int, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=separator)]
        if not counts or counts[0] < 2:
            return 0, 0
        return counts.count(counts[0]), counts[0]

    return max(SEPARATORS, key=quality)


def _check_names(path: Path, names: Sequence[str]) -> None:
    if not names:
        raise _refused(path, f"{_FORMATS}; this file has no columns")
    twice = sorted({name for name in names if names.count(name) > 1}) if _repeats(names) else []
    if twice:
        shown = ", ".join(repr(name) for name in twice[:5])
        raise _refused(path, f"columns with different names; {len(twice)} come twice: {shown}")


def _repeats(names: Sequence[str]) -> bool:
    return len(set(names)) < len(names)


def _is_gzip(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _refused(path: Path, expected: str, reason: str = "FILE_INVALID") -> InvalidFieldError:
    return InvalidFieldError("file", str(path), expected, reason=reason)
