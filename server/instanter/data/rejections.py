"""The report of a load: what was rejected, bounded in memory, complete in a file."""

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from instanter import limits
from instanter.errors import InvalidFieldError


@dataclass(frozen=True, slots=True)
class RejectedValue:
    """One value that was not loaded, and its row with it.

    Attributes
    ----------
    row
        Number of the row, from 1; the header does not count.
    column
        The column, or empty when the row as a whole is meant.
    value
        The value, printable and cut to a line.
    reason
        What is wrong with it, and what would be right.
    """

    row: int
    column: str
    value: str
    reason: str


class RejectionLog:
    """Collects rejected values: keeps the first, counts all, and writes all to a file if wanted.

    Attributes
    ----------
    count
        Values rejected.
    row_count
        Rows with at least one rejected value; counted by whoever knows where a row ends.
    kept
        The first `LOAD_REJECTIONS_KEPT` of them.
    """

    def __init__(self, path: Path | None) -> None:
        self.count = 0
        self.row_count = 0
        self.kept: list[RejectedValue] = []
        self._file: IO[str] | None = None
        self._csv: Any = None
        if path is not None:
            self._open(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as end:
            # Whatever ended the load before is what should be told.
            if error is None:
                raise self._refuse(end) from end

    def add(self, row: int, column: str, value: str, reason: str) -> None:
        """Record one rejected value.

        Raises
        ------
        InvalidFieldError
            The file takes no more.
        """
        self.count += 1
        rejected = RejectedValue(row, column, value, reason)
        if len(self.kept) < limits.LOAD_REJECTIONS_KEPT:
            self.kept.append(rejected)
        try:
            if self._csv is not None:
                self._csv.writerow((row, column, value, reason))
            elif self._file is not None:
                self._file.write(json.dumps(asdict(rejected), ensure_ascii=False) + "\n")
        except OSError as error:
            raise self._refuse(error) from error

    def _open(self, path: Path) -> None:
        try:
            self._file = path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise _refuse(path, f"a file that can be written ({error.strerror})") from error
        if path.suffix.lower() not in {".jsonl", ".ndjson"}:
            self._csv = csv.writer(self._file)
            self._csv.writerow(("row", "column", "value", "reason"))

    def _refuse(self, error: OSError) -> InvalidFieldError:
        assert self._file is not None, "something was written"
        expected = f"a file that can be written ({error.strerror}); what was loaded before stays"
        return _refuse(Path(self._file.name), expected)


def check_apart(path: Path, rejects: Path | None) -> None:
    """Refuse to write rejected values over the file that they come from.

    Parameters
    ----------
    path
        The file that is loaded; it is there.
    rejects
        Where rejected values go, if anywhere.

    Raises
    ------
    InvalidFieldError
        Both are one file, by whatever names.
    """
    if rejects is not None and rejects.exists() and rejects.samefile(path):
        raise _refuse(rejects, "another file than the one that is loaded: it is replaced")


def _refuse(path: Path, expected: str) -> InvalidFieldError:
    return InvalidFieldError("--rejects", str(path), expected)
