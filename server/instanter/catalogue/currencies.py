"""Currencies: how many digits their minor unit has (ISO 4217:2015, list one)."""

import re
from typing import Final

_CODE = re.compile(r"[A-Z]{3}", re.ASCII)
_DIGITS_DEFAULT = 2

MINOR_DIGITS: Final = {
    **dict.fromkeys(
        (
            "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI",
            "VND", "VUV", "XAF", "XOF", "XPF",
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    "CLF": 4,
    "UYW": 4,
}  # fmt: skip
"""Currencies whose minor unit is not a hundredth; all others have two digits.

The exceptions are the table, not the codes: they have hardly changed in decades, while codes come
and go, and a server must not refuse a new one.
"""

_WITHOUT_MINOR_UNIT = frozenset(
    {
        "XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX",
    }
)  # fmt: skip


def find_minor_digits(code: str) -> int | None:
    """Return the decimal digits of a currency's minor unit.

    None when the code is not three upper-case letters, or stands for something without a minor
    unit (gold, special drawing rights, tests).
    """
    if not _CODE.fullmatch(code) or code in _WITHOUT_MINOR_UNIT:
        return None
    return MINOR_DIGITS.get(code, _DIGITS_DEFAULT)
