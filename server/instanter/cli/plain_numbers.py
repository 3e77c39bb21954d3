"""Numbers as files and command lines spell them: with digits from 0 to 9, and nothing between.

Python reads more as a number: `1_000`, and digits of every script. In what people give us these
are slips, and a figure that is taken for another one is found by nobody.
"""

import inspect
import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, Final, get_args

import typer
from typer.models import ParameterInfo

from instanter.errors import show

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INT64_END: Final = 1 << 63
_CARD_DIGITS_MIN: Final = 12


def find_number(value: object) -> float | None:
    """Return the finite number that a value of a file is or spells; None when it is none."""
    if isinstance(value, str):
        text = value.strip()
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return None
    else:
        return None
    return number if math.isfinite(number) else None


def find_whole(value: object) -> int | None:
    """Return the whole number of 64 bits that a value is or spells; None when it is none."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < _INT64_END else None
    number = find_number(value)
    if number is None or not number.is_integer() or abs(number) >= _INT64_END:
        return None
    return int(number)


def parse_whole(text: str | int) -> int:
    """Return the whole number of an option; a default comes as one already.

    Raises
    ------
    typer.BadParameter
        It is none.
    """
    found = find_whole(text) if isinstance(text, int) or _WHOLE.fullmatch(text) else None
    if found is None:
        raise typer.BadParameter(
            f"{_show(str(text))} is no whole number of 64 bits; expected digits from 0 to 9"
        )
    return found


def parse_number(text: str | float) -> float:
    """Return the number of an option; a default comes as one already.

    Raises
    ------
    typer.BadParameter
        It is none.
    """
    found = find_number(text)
    if found is None:
        raise typer.BadParameter(
            f"{_show(str(text))} is no number; expected digits from 0 to 9, as in 2.5"
        )
    return found


_PARSERS: Final[dict[object, Callable[[Any], float]]] = {
    int: parse_whole,
    int | None: parse_whole,
    float: parse_number,
    float | None: parse_number,
}


def read_plainly(function: Callable[..., Any]) -> None:
    """Let the numeric options of a command take what files take as numbers, and nothing else."""
    for parameter in inspect.signature(function).parameters.values():
        kinds, *notes = get_args(parameter.annotation) or (parameter.annotation,)
        for info in notes:
            if isinstance(info, ParameterInfo) and info.parser is None:
                parse = _PARSERS.get(kinds)
                if parse is not None:
                    info.parser = partial(_parse_within, parse, info.min, info.max)


def _parse_within(
    parse: Callable[[Any], float], least: float | None, most: float | None, text: Any
) -> float:
    """Return the number of an option that has bounds."""
    number = parse(text)
    if least is not None and number < least:
        raise typer.BadParameter(f"{_show(str(text))} is not right; expected at least {least:,}")
    if most is not None and number > most:
        raise typer.BadParameter(f"{_show(str(text))} is not right; expected at most {most:,}")
    return number


def _show(text: str) -> str:
    """Return a text as messages show it; not one that may be a card number in the wrong place."""
    digits = sum(character.isdecimal() for character in text)
    return show(text) if digits < _CARD_DIGITS_MIN else f"a text with {digits:,} digits"
