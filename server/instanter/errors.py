"""The errors of the domain, for mistakes and conditions that are the caller's to know.

Every error carries a stable `reason` (UPPER_SNAKE_CASE, part of the contract). `rpc/status.py` is
the one table that turns them into gRPC codes; the command line turns them into exit codes.
Messages name the field, show the value, and say what would be right.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

CATALOGUE_MISSING_MESSAGE: Final = (
    "no catalogue has been published yet; publish one with `instanter apply -f FOLDER`"
)
"""What to tell whoever comes before the first catalogue."""

_SHOWN_SIZE_MAX = 80
_COMPARED_MAX = 1_000


def show(value: object) -> str:
    """Return a short, printable form of a caller's value for an error message."""
    if isinstance(value, datetime):
        value = value.isoformat().replace("+00:00", "Z")
    text = value if isinstance(value, str) else repr(value)
    if len(text) > _SHOWN_SIZE_MAX:
        text = f"{text[:_SHOWN_SIZE_MAX]}… ({len(text):,} characters)"
    return ascii(text) if isinstance(value, str) and not text.isprintable() else f"'{text}'"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` was most likely meant to be, or None.

    None, too, where there are very many: to compare 50,000 takes 0.4 s, during which a server would
    answer nobody else.
    """
    known = list(islice(names, _COMPARED_MAX + 1))
    if len(known) > _COMPARED_MAX:
        return None
    found = difflib.get_close_matches(name[:_SHOWN_SIZE_MAX], known, n=1, cutoff=0.6)
    return found[0] if found else None


class InstanterError(Exception):
    """The root of all errors that a caller is meant to see.

    Attributes
    ----------
    reason
        Stable machine-readable reason, UPPER_SNAKE_CASE.
    field
        Path of the offending field in the request, or empty.
    metadata
        Further machine-readable facts.
    """

    reason = "UNSPECIFIED"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str = "",
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.field = field
        self.metadata = metadata or {}


class InvalidFieldError(InstanterError):
    """A field of a request is wrong: names the field, shows the value, says what would be right."""

    reason = "FIELD_INVALID"

    def __init__(
        self, field: str, value: object, expected: str, *, reason: str | None = None
    ) -> None:
        super().__init__(
            f"{field}: {show(value)} is not right; expected {expected}", reason=reason, field=field
        )
        self.value = value
        self.expected = expected


def place_field(error: InvalidFieldError, path: str) -> InvalidFieldError:
    """Return the error of a part of a request, with the path of that part before its field.

    So what checks many alike makes paths only when there is an error.
    """
    return InvalidFieldError(
        f"{path}.{error.field}", error.value, error.expected, reason=error.reason
    )


class NotFoundError(InstanterError):
    """What the request names does not exist."""

    reason = "NOT_FOUND"


class ConflictError(InstanterError):
    """Somebody else changed it first; read it again and retry."""

    reason = "REVISION_CONFLICT"


class AlreadyExistsError(InstanterError):
    """The id stands for something else already; give what is new an id of its own."""

    reason = "ALREADY_EXISTS"


class PreconditionError(InstanterError):
    """The system is not in the state that the request needs; retrying alone does not help."""

    reason = "PRECONDITION_FAILED"


class CatalogueMissingError(PreconditionError):
    """No catalogue has been published yet, so there is nothing to go by."""

    reason = "CATALOGUE_MISSING"

    def __init__(self) -> None:
        super().__init__(CATALOGUE_MISSING_MESSAGE)


class OutOfRangeError(InstanterError):
    """What the caller goes on from is not there any more, or not yet."""

    reason = "OUT_OF_RANGE"


class PermissionDeniedError(InstanterError):
    """The caller may not see or do this; asking again does not help."""

    reason = "PERMISSION_DENIED"


class ExhaustedError(InstanterError):
    """A limit or a resource is used up: disk, queue, size."""

    reason = "RESOURCE_EXHAUSTED"


class UnavailableError(InstanterError):
    """The server cannot serve now; retrying later helps."""

    reason = "UNAVAILABLE"


class ExpiredError(InstanterError):
    """The caller's deadline passed before the work began; none of it was done."""

    reason = "DEADLINE_EXPIRED"


class DamagedError(InstanterError):
    """Stored bytes are not what was written. They are never served."""

    reason = "RECORD_DAMAGED"


class LogDamagedError(DamagedError):
    """Records of the log are lost that were on disk once. Nothing is served in their place."""

    reason = "LOG_DAMAGED"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in what people wrote: where it stands, what it is, what would be right.

    Attributes
    ----------
    file
        Path of the file as it was given.
    line
        Line number from 1, or 0 when the file as a whole is meant.
    field
        The field, for example `offers/espresso.eligibility`.
    text
        The offending text.
    message
        What is wrong with it, and what would be right.
    suggestion
        The nearest valid name, or empty.
    """

    file: str
    line: int
    field: str
    text: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        text = f": {show(self.text)}" if self.text else ""
        return f"{place}: {self.field}{text}: {self.message}{hint}"


class CatalogueInvalidError(InstanterError):
    """A catalogue has mistakes; nothing of it was published."""

    reason = "CATALOGUE_INVALID"

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        head = "1 mistake" if count == 1 else f"{count} mistakes"
        super().__init__(f"the catalogue has {head}; first: {problems[0]}")
        self.problems = tuple(problems)
