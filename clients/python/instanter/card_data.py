"""What a card number or a verification code is, and which texts hold one: for server and client.

It imports nothing of either, and stands with the client because that imports none of the server.

What counts as a card number: 13 to 19 digits whose last one is right by the Luhn algorithm
(ISO/IEC 7812-1, annex B), the digits of any script, raised, lowered and in circles too, with what
is neither letter nor digit between them, or with characters that nobody sees. Digits that belong
together without such characters are one group, and a card number is made of whole groups: a date
before it hides it no more than a text around it. One number of that length in ten is right by
chance; a server that lets none in has to refuse those too, and ids of that form are better made
with letters.

Groups may stand as far apart as they like, but more than three characters apart only when they are
a card's: fours (or 4-6-5 and 4-6-4), or single digits. Without that rule, of two telephone numbers
with ` / +` between them 33 in 100 would be refused, and of tables of amounts up to 75; with it none
(of four years in a row 10).

Let through are UUIDs and digests with three different letters or more, because they are what ids
and tokens are made of: of 1,000 random ones 3 UUIDs, 2 digests of 32 and 5 of 64 hexadecimal digits
would be refused by chance. Of 10,000 one is left that has not as many letters.

A verification code is known by the word for it: 3 or 4 digits in a field of such a name, or behind
the word in a text.

The files of a catalogue are full of numbers that are none, so in them a card number is digits that
stand together or in a card's groups, within a line and with no comma or bracket between. There let
through are decimals, what begins with a zero, and article numbers (GTIN, by their own check digit).
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

SIZE_MIN: Final = 13
"""Digits of the shortest card number."""

SIZE_MAX: Final = 19
"""Digits of the longest (ISO/IEC 7812-1)."""

EXPECTED: Final = (
    "no card data: send the card's token, and ids of 13 and more digits with letters in between"
)
"""What errors say would be right."""

NUMBER_MIN: Final = 10 ** (SIZE_MIN - 1)
"""Least number of so many digits."""

_NUMBER_END: Final = 10**SIZE_MAX

_NUMBER: Final = "a card number"
_CODE: Final = "a verification code"

# (Without a way back, so that a hostile text takes no longer than its length.)
_BETWEEN: Final = r"[\W_]*+"
_SUSPECT: Final = re.compile(rf"\d(?:{_BETWEEN}\d){{{SIZE_MIN - 1}}}")
_STRETCH: Final = re.compile(rf"\d(?:{_BETWEEN}\d){{{SIZE_MIN - 1},}}")
_GROUP: Final = re.compile(r"\d+")
_GAP: Final = re.compile(r"\D+")
_GAP_SIZE_MAX: Final = 3
"""Characters between two groups of a number that need not be grouped as a card's are."""

_GROUPS_OF_15_AND_14: Final = ([4, 6, 5], [4, 6, 4])
_BETWEEN_ITEMS: Final = re.compile(r"[,;()\[\]{}]")
_DECIMAL: Final = re.compile(r"(?<![\d.])\d{1,12}\.\d+(?![\d.])")
_HEX: Final = re.compile(r"(?<![\w-])[0-9a-f-]{32,64}(?![\w-])", re.IGNORECASE)
_ARTICLE_SIZES: Final = (13, 14)
"""Digits of a GTIN that has as many as a card number."""

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
    r"(?<![^\W_])(?:cvv2?|cvc2?|cvn2?|(?:security|verification)\s++(?:code|value|number))"
    r"[\s:=#\"']*+(?:(?:is|was|code|no)[\s:=#.]++)?\d{3,4}(?!\d)",
    re.IGNORECASE,
)
_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]+"
)
"""Characters that have no width (Unicode, Default_Ignorable_Code_Point): soft hyphens, joiners."""

_CODE_VALUE: Final = re.compile(r"\D*\d{3,4}\D*", re.DOTALL)
_CODE_MAX: Final = 9_999


def holds_card_number(text: str) -> bool:
    """Return whether a text holds what may be a card number."""
    return any(
        _holds_number(found[0])
        for plain in _list_readings(text)
        if _SUSPECT.search(plain) is not None and not _is_made_of_hex(plain)
        for found in _STRETCH.finditer(plain)
    )


def holds_verification_code(text: str) -> bool:
    """Return whether a text holds a verification code beside the word for it."""
    return any(_CODE_TEXT.search(plain) is not None for plain in _list_readings(text))


def is_verification_code(name: str, value: str | float) -> bool:
    """Return whether a named value is a verification code: so called, and of 3 or 4 digits."""
    if all(_CODE_NAME.fullmatch(plain) is None for plain in _list_readings(name)):
        return False
    if isinstance(value, str):
        return any(_CODE_VALUE.fullmatch(plain) is not None for plain in _list_readings(value))
    # As a number a code has lost its zeros in front.
    return 0 <= value <= _CODE_MAX and value == int(value)


def is_card_number(value: float) -> bool:
    """Return whether a number is what may be a card number."""
    size = abs(value)
    return (
        NUMBER_MIN <= size < _NUMBER_END and size == int(size) and holds_card_number(str(int(size)))
    )


def find_card_data(value: object, name: str = "") -> str | None:
    """Return what of card data a value is or holds, in words without it; None for nothing.

    Parameters
    ----------
    value
        Anything; nothing but texts and numbers can hold any.
    name
        What the value is called: a verification code is known by that too.
    """
    if isinstance(value, str):
        if holds_card_number(value):
            return _NUMBER
        if holds_verification_code(value):
            return _CODE
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    elif is_card_number(value):
        return _NUMBER
    return _CODE if is_verification_code(name, value) else None


def list_card_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a catalogue's file that hold card data, from 1, with what each holds."""
    for number, line in enumerate(_make_plain(text).splitlines(), 1):
        readings = _list_readings(line)
        if any(_SUSPECT.search(each) is not None and _holds_lone_number(each) for each in readings):
            yield number, _NUMBER
        elif holds_verification_code(line):
            yield number, _CODE


def _holds_lone_number(line: str) -> bool:
    """Return whether a line of a catalogue's file holds a card number."""
    items = _BETWEEN_ITEMS.sub("x", _HEX.sub(_leave_out_hex, _DECIMAL.sub("x", line)))
    return any(_holds_number(found[0], is_listed=True) for found in _STRETCH.finditer(items))


def _leave_out_hex(found: re.Match[str]) -> str:
    return "x" if _is_made_of_hex(found[0]) else found[0]


def _make_plain(text: str) -> str:
    """Return a text with ASCII digits in the place of all others, also those that are no decimals.

    To a regular expression a raised or circled digit is neither a digit nor something between two.
    """
    if text.isascii():
        return text
    return "".join(str(unicodedata.digit(character, character)) for character in text)


def _list_readings(text: str) -> tuple[str, ...]:
    """Return a text as it is looked at, see `_make_plain`.

    What nobody sees may hide a number as well as the end of one: such a text is looked at without
    those characters, and with a blank in the place of each run of them.
    """
    plain = _make_plain(text)
    if plain.isascii() or _UNSEEN.search(plain) is None:
        return (plain,)
    return _UNSEEN.sub("", plain), _UNSEEN.sub(" ", plain)


def _is_made_of_hex(text: str) -> bool:
    """Return whether a text is a UUID (RFC 9562) or a digest, with letters as nearly all have."""
    if _UUID.fullmatch(text) is None and _DIGEST.fullmatch(text) is None:
        return False
    return len(set(text.lower()).intersection("abcdef")) >= _DIGEST_LETTERS_MIN


def _holds_number(stretch: str, *, is_listed: bool = False) -> bool:
    """Return whether groups of digits that stand one behind the other make a card number.

    Parameters
    ----------
    stretch
        The groups and what is between them.
    is_listed
        Whether it is of a catalogue's file, see the module.
    """
    groups = _GROUP.findall(stretch)
    sizes = [len(group) for group in groups]
    gaps = _GAP.findall(stretch)
    digits = [int(digit) for group in groups for digit in group]
    ends = list(accumulate(sizes))
    is_right = _make_check(digits)
    gap_size_max = 0 if is_listed else _GAP_SIZE_MAX
    start = 0
    for at, end in enumerate(ends):
        if end - start > SIZE_MAX and _has_right_end(is_right, start, end):
            return True
        for to, last in enumerate(ends[at : at + SIZE_MAX], at):
            if last - start > SIZE_MAX:
                break
            if (
                last - start >= SIZE_MIN
                and is_right(start, last)
                and _is_grouped_as_one(sizes[at : to + 1], gaps[at:to], gap_size_max)
                and not (is_listed and _is_no_card(digits[start:last]))
            ):
                return True
        start = end
    return False


def _is_no_card(digits: list[int]) -> bool:
    """Return whether digits with a right check digit are something else in a catalogue.

    No industry that has cards begins its numbers with a zero (ISO/IEC 7812-1), but padded article
    numbers begin so; others are GTINs (GS1 General Specifications, 7.9).
    """
    if digits[0] == 0:
        return True
    total = sum(digits[::-2]) + 3 * sum(digits[-2::-2])
    return len(digits) in _ARTICLE_SIZES and total % 10 == 0


def _is_grouped_as_one(sizes: list[int], gaps: list[str], gap_size_max: int) -> bool:
    """Return whether groups of digits that far apart may be one number."""
    if max(map(len, gaps), default=0) <= gap_size_max:
        return True
    head, tail = set(sizes[:-1]), sizes[-1]
    return (head == {4} and tail <= 4) or max(sizes) == 1 or sizes in _GROUPS_OF_15_AND_14


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
