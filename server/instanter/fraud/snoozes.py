"""Rules that are silent for one card until an end: a section of the card's state.

A snooze is two int64 words: the code of the rule (`FraudRule.code`), and the end in nanoseconds
since 1970. They are in ascending order of codes, and not more than
`fraud_limits.FRAUD_SNOOZES_PER_CARD_MAX`.
"""

import struct
from typing import Final

from instanter.errors import ExhaustedError
from instanter.fraud_limits import FRAUD_SNOOZES_PER_CARD_MAX

_SNOOZE: Final = struct.Struct("<qq")


def snooze_rule(snoozes: bytes, rule_code: int, until_ns: int, now_ns: int) -> bytes:
    """Return the snoozes with one more, or with another end; those that are over are left out.

    Parameters
    ----------
    snoozes
        The section as it was.
    rule_code
        Code of the rule.
    until_ns
        The end; one that is not after `now_ns` ends the rule's snooze.
    now_ns
        The moment.

    Raises
    ------
    ExhaustedError
        The card has as many snoozes as a card may have.
    """
    kept = {code: end for code, end in _SNOOZE.iter_unpack(snoozes) if end > now_ns}
    kept.pop(rule_code, None)
    if until_ns > now_ns:
        if len(kept) >= FRAUD_SNOOZES_PER_CARD_MAX:
            raise ExhaustedError(
                f"{len(kept)} rules are snoozed for this card, as many as can be; end one of them",
                reason="SNOOZES_EXHAUSTED",
            )
        kept[rule_code] = until_ns
    return b"".join(_SNOOZE.pack(code, kept[code]) for code in sorted(kept))


def find_snoozed(snoozes: bytes, time_ns: int) -> frozenset[int]:
    """Return the codes of the rules that are silent at a time."""
    return frozenset(code for code, end in _SNOOZE.iter_unpack(snoozes) if end > time_ns)
