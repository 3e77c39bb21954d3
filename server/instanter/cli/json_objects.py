"""One JSON object of what people write, read without guessing."""

import json
from collections.abc import Collection
from typing import Any, Never

from instanter.cli.failures import CommandError
from instanter.errors import nearest, show


class _Refused(ValueError):  # noqa: N818 - it never leaves this module
    """The text is JSON for some readers, and says nothing certain."""


def read_object(line: bytes, place: str, what: str, keys: Collection[str]) -> dict[str, Any]:
    """Return the object of one line.

    Parameters
    ----------
    line
        The line's bytes.
    place
        Where it stands, for errors.
    what
        What it should be: "event".
    keys
        Those that one may have.

    Raises
    ------
    CommandError
        It is no JSON object, says a key twice (readers differ in which of the two counts), has
        `NaN` or `Infinity`, which JSON knows no number for, or a key that one has not.
    """
    try:
        given = json.loads(line, object_pairs_hook=_make_object, parse_constant=_refuse_constant)
    except _Refused as error:
        raise CommandError(f"{place}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{place}: {show(_text(line))} is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise CommandError(f"{place}: {show(_text(line))} is no {what}; expected a JSON object")
    for key in given:
        if key not in keys:
            near = nearest(key, keys)
            hint = f"did you mean '{near}'?" if near else f"expected {', '.join(keys)}"
            article = "an" if what[0] in "aeiou" else "a"
            raise CommandError(f"{place}: {show(key)} is nothing that {article} {what} has; {hint}")
    return given


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            both = f"{show(made[key])} and {show(value)}"
            raise _Refused(f"{show(key)} stands there twice, with {both}; expected it once")
        made[key] = value
    return made


def _refuse_constant(name: str) -> Never:
    raise _Refused(f"'{name}' is no number of JSON; expected a finite one, or null for none")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").strip()
