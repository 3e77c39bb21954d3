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

from instanter.card_data import (
    NUMBER_MIN,
    SIZE_MIN,
    holds_card_number,
    holds_verification_code,
    is_card_number,
    is_verification_code,
)
from instanter.errors import InvalidFieldError

_NUMBER: Final = "a card number"
_CODE: Final = "a verification code"

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
        super().__init__(
            field,
            what,
            "no card data: send the card's token, and ids of 13 and more digits with letters in"
            " between",
        )


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


def check_text(field: str, text: str) -> None:
    """Raise when a text holds a card number or a verification code.

    Raises
    ------
    CardNumberRefusedError
        It does.
    """
    if holds_card_number(text):
        raise CardNumberRefusedError(field, _NUMBER)
    if holds_verification_code(text):
        raise CardNumberRefusedError(field, _CODE)


def check_number(field: str, value: float) -> None:
    """Raise when a number is a card number.

    Raises
    ------
    CardNumberRefusedError
        It is.
    """
    if is_card_number(value):
        raise CardNumberRefusedError(field, _NUMBER)


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
            _check_value(field, descriptor.name, value)
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
                    _check_value(place, descriptor.name, item)


def _check_map(field: str, values: Mapping[str, Any]) -> None:
    """Check keys and values of a map; a key that is no name is not shown."""
    for at, (key, value) in enumerate(values.items()):
        place = f"{field}[{at}]"
        check_text(f"{place} (its name)", key)
        if isinstance(value, Message):
            for descriptor, member in value.ListFields():
                if isinstance(member, Message):
                    check_message(member, place)
                else:
                    _check_value(f"{place}.{descriptor.name}", key, member)
        else:
            _check_value(place, key, value)


def _check_value(field: str, name: str, value: Any) -> None:
    if isinstance(value, str):
        check_text(field, value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        check_number(field, value)
    else:
        return
    if is_verification_code(name, value):
        raise CardNumberRefusedError(field, _CODE)
