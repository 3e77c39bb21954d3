"""Keeps card numbers and verification codes out: what holds one is refused before it is read.

Looked at are all texts of a request, ids and keys of maps among them, and its numbers. A refusal
names the field and never repeats its value, and nothing else of the request is looked at before:
so the number stands in no error, no log and no metric.

What counts as a card number: 13 to 19 digits whose last one is right by the Luhn algorithm
(ISO/IEC 7812-1, annex B), in any script, with up to three characters between two of them that are
neither letters nor digits. Digits that belong together without such characters are one group, and
a card number is made of whole groups: a date before it hides it no more than a text around it. One
number of that length in ten is right by chance; a server that lets none in has to refuse those
too, and ids of that form are better made with letters.

Let through are UUIDs and digests with three different letters or more, because they are what ids
and tokens are made of: of 1,000 random ones 3 UUIDs, 2 digests of 32 and 5 of 64 hexadecimal digits
would be refused by chance. Of 10,000 one is left that has not as many letters.

A verification code is known by the word for it: 3 or 4 digits in a field of such a name, or behind
the word in a text.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from instanter.errors import InvalidFieldError

SIZE_MIN: Final = 13
"""Digits of the shortest card number."""

SIZE_MAX: Final = 19
"""Digits of the longest (ISO/IEC 7812-1)."""

_NUMBER: Final = "a card number"
_CODE: Final = "a verification code"

_BETWEEN: Final = r"[\W_]{0,3}"
_SUSPECT: Final = re.compile(rf"\d(?:{_BETWEEN}\d){{{SIZE_MIN - 1}}}")
_STRETCH: Final = re.compile(rf"\d(?:{_BETWEEN}\d){{{SIZE_MIN - 1},}}")
_GROUP: Final = re.compile(r"\d+")
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)
_DIGEST: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE)
_DIGEST_LETTERS_MIN: Final = 3
"""Different letters of a digest. Nearly all have them; digits between a few letters do not."""

_CODE_NAME: Final = re.compile(
    r"(?:.*[\W_])?(?:cvv2?|cvc2?|cvn2?|cvd|cid|csc|cav2?|"
    r"(?:security|verification)[\W_]*(?:code|value|number))(?:[\W_]*(?:code|value|number|no))?",
    re.IGNORECASE,
)
_CODE_TEXT: Final = re.compile(
    r"(?<![^\W_])(?:cvv2?|cvc2?|cvn2?|(?:security|verification)\s{1,3}(?:code|value|number))"
    r"[\s:=#\"']{0,4}(?:(?:is|was|code|no)[\s:=#.]{1,3})?\d{3,4}(?!\d)",
    re.IGNORECASE,
)
_CODE_SUSPECT: Final = re.compile("c(?:v[vcdn]|sc|av|id|ode)|value|number")
_CODE_VALUE: Final = re.compile(r"\D*\d{3,4}\D*", re.DOTALL)
_CODE_MAX: Final = 9_999

_DIGITS: Final = b"1" * SIZE_MIN
_DIGITS_AS_ONES: Final = bytes(
    ord("1") if chr(code).isdecimal() else code for code in range(128)
).ljust(256)
_ASCII_BETWEEN: Final = bytes(code for code in range(128) if not chr(code).isalnum())
_NUMBER_MIN: Final = 10 ** (SIZE_MIN - 1)
_NUMBER_MAX: Final = 10**SIZE_MAX


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


def holds_card_number(text: str) -> bool:
    """Return whether a text holds what may be a card number."""
    if _SUSPECT.search(text) is None or _is_made_of_hex(text):
        return False
    return any(_holds_number(found[0]) for found in _STRETCH.finditer(text))


def holds_verification_code(text: str) -> bool:
    """Return whether a text holds a verification code beside the word for it."""
    return _CODE_TEXT.search(text) is not None


def is_verification_code(name: str, value: str | float) -> bool:
    """Return whether a named value is a verification code: so called, and of 3 or 4 digits."""
    if _CODE_NAME.fullmatch(name) is None:
        return False
    if isinstance(value, str):
        return _CODE_VALUE.fullmatch(value) is not None
    # As a number a code has lost its zeros in front.
    return 0 <= value <= _CODE_MAX and value == int(value)


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
    return bool(numbers) and not -_NUMBER_MIN < min(numbers) <= max(numbers) < _NUMBER_MIN


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
    size = abs(value)
    if (
        _NUMBER_MIN <= size < _NUMBER_MAX
        and size == int(size)
        and holds_card_number(str(int(size)))
    ):
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


def _is_made_of_hex(text: str) -> bool:
    """Return whether a text is a UUID (RFC 9562) or a digest, with letters as nearly all have."""
    if _UUID.fullmatch(text) is None and _DIGEST.fullmatch(text) is None:
        return False
    return len(set(text.lower()).intersection("abcdef")) >= _DIGEST_LETTERS_MIN


def _holds_number(stretch: str) -> bool:
    """Return whether groups of digits that stand one behind the other make a card number."""
    digits: list[int] = []
    ends: list[int] = []
    for group in _GROUP.findall(stretch):
        digits += map(unicodedata.digit, group)
        ends.append(len(digits))
    is_right = _make_check(digits)
    start = 0
    for at, end in enumerate(ends):
        if end - start > SIZE_MAX and _has_right_end(is_right, start, end):
            return True
        for last in ends[at : at + SIZE_MAX]:
            if last - start > SIZE_MAX:
                break
            if last - start >= SIZE_MIN and is_right(start, last):
                return True
        start = end
    return False


def _has_right_end(is_right: Callable[[int, int], bool], start: int, end: int) -> bool:
    """Return whether more digits than a card number has begin or end with one."""
    sizes = range(SIZE_MIN, SIZE_MAX + 1)
    return any(is_right(start, start + size) or is_right(end - size, end) for size in sizes)


def _make_check(digits: Sequence[int]) -> Callable[[int, int], bool]:
    """Return what tells whether the digits from a place up to another are right (Luhn).

    Every second digit is doubled, from the right, and the digits of all are added. The sums up to
    each place, with the even places doubled and with the odd ones, make each question one
    subtraction, so that a hostile text takes no longer than another.
    """
    sums: tuple[list[int], list[int]] = ([0], [0])
    for place, digit in enumerate(digits):
        doubled = 2 * digit - 9 * (digit > 4)
        for parity, running in enumerate(sums):
            running.append(running[-1] + (doubled if place % 2 == parity else digit))

    def is_right(start: int, end: int) -> bool:
        running = sums[end % 2]
        return (running[end] - running[start]) % 10 == 0

    return is_right
