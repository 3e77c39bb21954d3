"""Collects the mistakes of a catalogue, so that people see all of them at once."""

from collections.abc import Iterable

from instanter import limits
from instanter.errors import CatalogueInvalidError, Problem, nearest

_TEXT_SIZE_MAX = 200
_LONG_TEXT_SIZE = 50
"""Characters of a longer text that are shown: with its length it fits into what errors show."""


class Problems:
    """The mistakes found so far, at most `limits.CATALOGUE_PROBLEMS_MAX` of them."""

    __slots__ = ("_follows", "_found")

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._follows: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(
        self,
        file: str,
        line: int,
        field: str,
        text: str,
        message: str,
        suggestion: str = "",
        follows: str = "",
    ) -> None:
        """Record one mistake.

        Parameters
        ----------
        file, line, field, text, message, suggestion
            As in `errors.Problem`.
        follows
            The field of the declaration that this one misses. Where that has a mistake of its own,
            which is why it is not there, nothing else is wrong.
        """
        if len(self._found) < limits.CATALOGUE_PROBLEMS_MAX:
            self._found.append(Problem(file, line, field, _cut(text), message, suggestion))
            self._follows.append(follows)

    def check(self) -> None:
        """Raise CatalogueInvalidError with everything found, by file and line, if anything was."""
        if self._found:
            fields = {problem.field for problem in self._found}
            wrong = fields | {field[:at] for field in fields for at in _find_dots(field)}
            own = [
                p
                for p, f in zip(self._found, self._follows, strict=True)
                if not f or f not in wrong
            ]
            raise CatalogueInvalidError(sorted(own, key=lambda p: (p.file, p.line)))


def _find_dots(field: str) -> list[int]:
    return [at for at, character in enumerate(field) if character == "."]


def _cut(text: str) -> str:
    if len(text) <= _TEXT_SIZE_MAX:
        return text
    return f"{text[:_LONG_TEXT_SIZE]}… ({len(text):,} characters)"


def suggest(name: str, names: Iterable[str]) -> str:
    """Return the nearest of `names`, or an empty text."""
    return nearest(name, names) or ""
