"""Reads `name=value` of the command line as a typed context value.

The command does not know the schema, so the value's own look decides: a number, `true` or
`false`, an RFC 3339 instant, and everything else a category. `name:kind=value` says it.
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.cli.plain_numbers import find_number
from instanter.errors import nearest, show

Value = float | bool | str | datetime

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _read_number(text: str) -> Value | None:
    return None if text != text.strip() else find_number(text)


def _read_flag(text: str) -> Value | None:
    return {"true": True, "false": False}.get(text)


def _read_instant(text: str) -> Value | None:
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None


def _read_category(text: str) -> Value | None:
    return text


KINDS: Final[dict[str, Callable[[str], Value | None]]] = {
    "number": _read_number,
    "flag": _read_flag,
    "instant": _read_instant,
    "category": _read_category,
}
"""How each kind is read, in the order in which a value without a kind tries them."""

_EXPECTED = {
    "number": "a finite number, 12.5 for example",
    "flag": "true or false",
    "instant": "an RFC 3339 instant, 2026-03-01T12:00:00Z for example",
}


def read_context(entries: Iterable[str], option: str = "--context") -> dict[str, Value]:
    """Return the value of each `name=value` or `name:kind=value`.

    Parameters
    ----------
    entries
        What was given.
    option
        What it was given with, for the error.

    Raises
    ------
    CommandError
        With exit code 2, for an entry without `=`, an unknown kind, a value that is not of the
        kind that was said, and a name given twice.
    """
    context: dict[str, Value] = {}
    for entry in entries:
        head, equals, text = entry.partition("=")
        name, colon, kind = head.partition(":")
        if not equals or not name:
            raise _refuse(option, entry, "expected name=value, basket_value=12.5 for example")
        if name in context:
            raise _refuse(option, entry, f"'{name}' is given twice")
        if colon and kind not in KINDS:
            near = nearest(kind, KINDS)
            hint = f"; did you mean '{near}'?" if near else ""
            raise _refuse(option, entry, f"'{kind}' is no kind, expected {', '.join(KINDS)}{hint}")
        value = _read(text, (kind,) if colon else tuple(KINDS))
        if value is None:
            raise _refuse(option, entry, f"{show(text)} is not {_EXPECTED[kind]}")
        context[name] = value
    return context


def _read(text: str, kinds: Iterable[str]) -> Value | None:
    for kind in kinds:
        value = KINDS[kind](text)
        if value is not None:
            return value
    return None


def _refuse(option: str, entry: str, message: str) -> CommandError:
    return CommandError(f"{option} {show(entry)}: {message}", exit_code=EXIT_USAGE)
