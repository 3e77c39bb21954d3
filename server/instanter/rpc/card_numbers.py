"""Keeps card numbers and verification codes out: what holds one is refused before it is read.

Looked at are all texts of a request, ids and keys of maps among them, and its numbers. A refusal
names the field and never repeats its value, and nothing else of the request is looked at before:
so the number stands in no error, no log and no metric.

What counts as card data stands in `instanter.card_data`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from instanter.card_data import EXPECTED, NUMBER_MIN, SIZE_MIN, find_card_data
from instanter.errors import InvalidFieldError

_CODE_SUSPECT: Final = re.compile("c(?:v[vcdn]|sc|av|id|ode)|value|number")
_DIGITS: Final = b"1" * SIZE_MIN
_DIGITS_AS_ONES: Final = bytes(
    ord("1") if chr(code).isdecimal() else code for code in range(128)
).ljust(256)
_ASCII_BETWEEN: Final = bytes(code for code in range(128) if not chr(code).isalnum())


class CardNumberRefusedError(InvalidFieldError):
    """A field holds a card number or a verification code; the error does not.

    Parameters
    ----------
    field
        Path of the field. No key of a map stands in it: that may be the number.
    what
        What it holds.
    """

    reason = "CARD_NUMBER_REFUSED"

    def __init__(self, field: str, what: str) -> None:
        super().__init__(field, what, EXPECTED)


def may_hold_card_data(texts: Iterable[str], numbers: Sequence[float] = ()) -> bool:
    """Return whether it takes a closer look to say that nothing among texts and numbers is refused.

    Nearly always False, for a tenth of what the look at each by itself would take.
    """
    joined = "x".join(texts)
    if not joined.isascii() or _CODE_SUSPECT.search(joined.lower()) is not None:
        return True
    # A regular expression for digits with something between them takes 20 times as long.
    if _DIGITS in joined.encode().translate(_DIGITS_AS_ONES, _ASCII_BETWEEN):
        return True
    # (A NaN is either no greatest number, or compares as none that is small enough.)
    return bool(numbers) and not -NUMBER_MIN < min(numbers) <= max(numbers) < NUMBER_MIN


def check_value(field: str, value: object, name: str = "") -> None:
    """Raise when a value of that name is, or holds, a card number or a verification code.

    Raises
    ------
    CardNumberRefusedError
        It does.
    """
    what = find_card_data(value, name)
    if what is not None:
        raise CardNumberRefusedError(field, what)


def check_message(message: Message, path: str = "") -> None:
    """Raise when anything in a message is, or holds, a card number or a verification code.

    Parameters
    ----------
    message
        A decoded request or a part of one.
    path
        Path of the part in the request.

    Raises
    ------
    CardNumberRefusedError
        Something does; the fields are looked at in the order of their numbers.
    """
    for descriptor, value in message.ListFields():
        field = f"{path}.{descriptor.name}" if path else descriptor.name
        if isinstance(value, str | int | float):
            check_value(field, value, descriptor.name)
        elif isinstance(value, Message):
            check_message(value, field)
        elif isinstance(value, Mapping):
            _check_map(field, value)
        elif not isinstance(value, bytes):
            for at, item in enumerate(value):
                place = f"{field}[{at}]"
                if isinstance(item, Message):
                    check_message(item, place)
                else:
                    check_value(place, item, descriptor.name)


def _check_map(field: str, values: Mapping[str, Any]) -> None:
    """Check keys and values of a map; a key that is no name is not shown."""
    for at, (key, value) in enumerate(values.items()):
        place = f"{field}[{at}]"
        check_value(f"{place} (its name)", key)
        if isinstance(value, Message):
            for descriptor, member in value.ListFields():
                if isinstance(member, Message):
                    check_message(member, place)
                else:
                    check_value(f"{place}.{descriptor.name}", member, key)
        else:
            check_value(place, value, key)
