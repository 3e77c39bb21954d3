"""Collects the mistakes of a catalogue, so that people see all of them at once."""

from collections.abc import Iterable

from instanter import limits
from instanter.errors import CatalogueInvalidError, Problem, nearest

_TEXT_SIZE_MAX = 200


class Problems:
    """The mistakes found so far, at most `limits.CATALOGUE_PROBLEMS_MAX` of them."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(
        self, file: str, line: int, field: str, text: str, message: str, suggestion: str = ""
    ) -> None:
        """Record one mistake; see `errors.Problem` for the arguments."""
        if len(self._found) < limits.CATALOGUE_PROBLEMS_MAX:
            shown = text if len(text) <= _TEXT_SIZE_MAX else f"{text[:_TEXT_SIZE_MAX]}…"
            self._found.append(Problem(file, line, field, shown, message, suggestion))

    def check(self) -> None:
        """Raise CatalogueInvalidError with everything found, by file and line, if anything was."""
        if self._found:
            raise CatalogueInvalidError(sorted(self._found, key=lambda p: (p.file, p.line)))


def suggest(name: str, names: Iterable[str]) -> str:
    """Return the nearest of `names`, or an empty text."""
    return nearest(name, names) or ""
