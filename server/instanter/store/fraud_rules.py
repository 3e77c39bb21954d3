"""What the guard of rules has counted, and which rules it has paused.

Three kinds of keys: a rule's name, whose value is what that rule did; and two that no name can
have, for what counts for all rules and for those that are paused, which each assessment asks for.
"""

import struct
from typing import Final, NamedTuple

from instanter.errors import DamagedError
from instanter.store.databases import FRAUD_RULES
from instanter.store.records import key_of, seal, unseal
from instanter.store.transaction import Transaction

_TOTALS_KEY: Final = b"\0" * 8
_PAUSED_KEY: Final = b"\0" * 7 + b"\1"
_FIGURES: Final = struct.Struct("<qqqqqqqq")
_TOTALS: Final = struct.Struct("<q")
_PERIOD: Final = struct.Struct("<qqq")
_NOTHING: Final = memoryview(b"")


class RuleFigures(NamedTuple):
    """What one rule has done, as far as the guard looks.

    Attributes
    ----------
    fired_count
        Transactions that were not approved and on which it fired.
    shadowed_count
        Transactions on which it would have fired, but was shadow, paused or snoozed.
    stopped_count
        Transactions that it declined or referred, ever.
    period
        Number of the period in which it last did: time divided by the period's length.
    period_stopped_count
        The same in that period, of each card once while it is among the last ones.
    since_count
        Assessments there had been, of all, when its history began.
    history_stopped_count
        The like before that period.
    paused_time_ns
        When it was paused last, nanoseconds since 1970; 0 for never.
    recent_cards
        8 bytes for each of the cards that it stopped last.
    """

    fired_count: int = 0
    shadowed_count: int = 0
    stopped_count: int = 0
    period: int = 0
    period_stopped_count: int = 0
    since_count: int = 0
    history_stopped_count: int = 0
    paused_time_ns: int = 0
    recent_cards: bytes = b""


NO_FIGURES: Final = RuleFigures()
"""Of a rule that never fired."""


class Period(NamedTuple):
    """How many assessments there were when a period began.

    Attributes
    ----------
    length_ns
        Length of the period, which names it.
    number
        Which one: time divided by the length.
    begin_count
        Assessments before it.
    """

    length_ns: int
    number: int
    begin_count: int


class Totals(NamedTuple):
    """What counts for all rules.

    Attributes
    ----------
    assessed_count
        Assessments ever.
    periods
        One for each length of a guard's period.
    """

    assessed_count: int = 0
    periods: tuple[Period, ...] = ()


def view_totals(transaction: Transaction) -> memoryview:
    """Return a view of what counts for all rules, as `pack_totals` packs it; empty for nothing.

    It is not to be used after the next change made through the transaction.
    """
    found = transaction.get(FRAUD_RULES, _TOTALS_KEY)
    return _NOTHING if found is None else found


def load_totals(transaction: Transaction) -> Totals:
    """Return what counts for all rules; of a damaged entry it begins anew."""
    found = _find(transaction, _TOTALS_KEY)
    if not found:
        return Totals()
    (count,) = _TOTALS.unpack_from(found)
    return Totals(count, tuple(map(Period._make, _PERIOD.iter_unpack(found[_TOTALS.size :]))))


def pack_totals(totals: Totals) -> bytes:
    """Return what counts for all rules as it is stored."""
    value = _TOTALS.pack(totals.assessed_count)
    value += b"".join([_PERIOD.pack(*each) for each in totals.periods])
    return seal(_TOTALS_KEY, value)


def put_totals(transaction: Transaction, packed: bytes) -> None:
    """Write what counts for all rules, from `pack_totals`."""
    transaction.put(FRAUD_RULES, _TOTALS_KEY, packed)


def load_figures(transaction: Transaction, rule: str) -> RuleFigures:
    """Return what a rule has done; of a damaged entry it begins anew."""
    found = _find(transaction, key_of(rule))
    return _read_figures(found) if found else NO_FIGURES


def put_figures(transaction: Transaction, rule: str, figures: RuleFigures) -> None:
    """Write what a rule has done."""
    key = key_of(rule)
    transaction.put(
        FRAUD_RULES, key, seal(key, _FIGURES.pack(*figures[:-1]) + figures.recent_cards)
    )


def _read_figures(found: bytes) -> RuleFigures:
    return RuleFigures._make((*_FIGURES.unpack_from(found), found[_FIGURES.size :]))


def find_paused(transaction: Transaction) -> bytes:
    """Return the names of the paused rules, packed, for `read_paused`; of a damaged entry none."""
    return _find(transaction, _PAUSED_KEY)


def read_paused(packed: bytes) -> frozenset[str]:
    """Return what `find_paused` has found."""
    return frozenset(packed.decode().split("\0")) if packed else frozenset()


def put_paused(transaction: Transaction, names: frozenset[str]) -> None:
    """Write which rules are paused."""
    if names:
        packed = "\0".join(sorted(names)).encode()
        transaction.put(FRAUD_RULES, _PAUSED_KEY, seal(_PAUSED_KEY, packed))
    else:
        transaction.delete(FRAUD_RULES, _PAUSED_KEY)


def _find(transaction: Transaction, key: bytes) -> bytes:
    """Return what is stored under a key, nothing for what is damaged.

    The guard protects against a rule that is wrong; it must not stop those that are right.
    """
    found = transaction.get(FRAUD_RULES, key)
    try:
        return b"" if found is None else unseal(key, found)
    except DamagedError:
        return b""
