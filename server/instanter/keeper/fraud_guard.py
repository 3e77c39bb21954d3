"""The guard of rules: one that suddenly stops far more than it used to is paused, and reported.

What it goes by are counts, of the state and by the times of the transactions, so that pausing a
rule is the effect of a record like any other. Attempts with the same card count once, as long as it
is among the last cards that the rule stopped: who tries a stolen card two hundred times must not
switch off the rule that stops it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.fraud import FraudRule, Guard
from instanter.store.fraud_rules import (
    Period,
    RuleFigures,
    Totals,
    find_paused,
    load_figures,
    load_totals,
    pack_totals,
    put_figures,
    put_paused,
    put_totals,
    read_paused,
    view_totals,
)
from instanter.store.transaction import Transaction

_S_NS: Final = 1_000_000_000
_CARD_SIZE_BYTES: Final = 8
_CARDS_SIZE_BYTES: Final = 32 * _CARD_SIZE_BYTES
"""What is remembered of cards: of 32, more than are tried at the same moment."""


class Marked(NamedTuple):
    """An assessment of several, with what its rules did.

    Attributes
    ----------
    at
        Which of them it is.
    card, fired, stopping, shadowed
        As for `FraudGuard.count`.
    """

    at: int
    card: str
    fired: Sequence[str]
    stopping: Sequence[str]
    shadowed: Sequence[str]


class Guarded(NamedTuple):
    """What counting assessments leads to; nothing of it is written yet.

    Attributes
    ----------
    counted_count
        How many of the first are counted: all, or those up to the first that pauses a rule.
    wild
        The names of the rules that the last of them pauses.
    totals, figures
        What is then kept for all rules, and of those that did something.
    """

    counted_count: int
    wild: tuple[str, ...]
    totals: Totals
    figures: dict[str, RuleFigures]


class FraudGuard:
    """Counts what rules do, by the catalogue installed last."""

    __slots__ = ("_catalogue", "_lengths_ns", "_packed", "_rules", "_totals")

    def __init__(self) -> None:
        self._catalogue: CompiledCatalogue | None = None
        self._rules: Mapping[str, FraudRule] = {}
        self._lengths_ns: list[int] = []
        self._totals = Totals()
        self._packed = b""

    def install(self, catalogue: CompiledCatalogue) -> None:
        """Use a catalogue from now on, which has a `fraud`; costs nothing when it is in use."""
        if self._catalogue is catalogue:
            return
        assert catalogue.fraud is not None
        rules = catalogue.fraud.rules
        lengths_ns = {rule.guard.period_s * _S_NS for rule in rules if rule.guard.enabled}
        self._catalogue = catalogue
        self._rules = {rule.name: rule for rule in rules}
        self._lengths_ns = sorted(lengths_ns)

    def count(
        self,
        transaction: Transaction,
        *,
        card: str,
        time_ns: int,
        now_ns: int,
        fired: Sequence[str],
        stopping: Sequence[str],
        shadowed: Sequence[str],
    ) -> tuple[str, ...]:
        """Count an assessment, pause the rules that have run wild, and return their names.

        Parameters
        ----------
        transaction
            An open write transaction.
        card
            Token of the assessed transaction's card.
        time_ns
            When the assessed transaction counts.
        now_ns
            The time of the record.
        fired
            Rules that fired, nothing when it was approved.
        stopping
            Those among them that referred or declined it by themselves.
        shadowed
            Rules that would have fired.
        """
        marked = (Marked(0, card, fired, stopping, shadowed),) if fired or shadowed else ()
        guarded = self.foresee(transaction, (time_ns,), marked, now_ns)
        self.keep(transaction, guarded)
        return guarded.wild

    def foresee(
        self,
        transaction: Transaction,
        times_ns: Sequence[int],
        marked: Sequence[Marked],
        now_ns: int,
    ) -> Guarded:
        """Return what counting assessments leads to, in the order of their records, for `keep`.

        Those behind one that pauses a rule are left: that rule does not stop them.

        Parameters
        ----------
        transaction
            An open write transaction.
        times_ns
            When each counts, at least one.
        marked
            Those of them whose rules did something, in the same order.
        now_ns
            The time of the records.
        """
        totals, found, counted = self._load_totals(transaction), {}, 0
        for one in marked:
            end = one.at + 1
            totals = count_each(totals, self._lengths_ns, times_ns[counted:end])
            counted = end
            for name in (*one.fired, *one.shadowed):
                if name not in found:
                    found[name] = load_figures(transaction, name)
            wild = self._count_marked(found, one, totals, now_ns)
            if wild:
                return Guarded(counted, wild, totals, found)
        if counted < len(times_ns):
            totals = count_each(totals, self._lengths_ns, times_ns[counted:])
        return Guarded(len(times_ns), (), totals, found)

    def keep(self, transaction: Transaction, guarded: Guarded) -> None:
        """Write what `foresee` has found, nothing having been written in between."""
        self._totals = guarded.totals
        self._packed = pack_totals(guarded.totals)
        put_totals(transaction, self._packed)
        for name, figures in guarded.figures.items():
            put_figures(transaction, name, figures)
        if guarded.wild:
            put_paused(transaction, read_paused(find_paused(transaction)).union(guarded.wild))

    def _count_marked(
        self, found: dict[str, RuleFigures], one: Marked, totals: Totals, now_ns: int
    ) -> tuple[str, ...]:
        """Count what rules did in their figures, and return the names of those that are wild."""
        wild = []
        for name in one.fired:
            figures = found[name]
            figures = figures._replace(fired_count=figures.fired_count + 1)
            rule = self._rules.get(name)
            if rule is not None and name in one.stopping:
                period = _find_period(totals, rule.guard)
                figures = _count_stopped(figures, one.card, period, totals.assessed_count)
                if rule.guard.enabled and is_wild(
                    figures, period, totals.assessed_count, rule.guard
                ):
                    figures = figures._replace(paused_time_ns=now_ns)
                    wild.append(name)
            found[name] = figures
        for name in one.shadowed:
            figures = found[name]
            found[name] = figures._replace(shadowed_count=figures.shadowed_count + 1)
        return tuple(wild)

    def _load_totals(self, transaction: Transaction) -> Totals:
        """Return the totals as they are stored."""
        # What was packed here last is right, so equal bytes need not be read again.
        if view_totals(transaction) != self._packed:
            self._totals = load_totals(transaction)
        return self._totals


def is_wild(figures: RuleFigures, period: Period, count: int, guard: Guard) -> bool:
    """Return whether a rule stops so much more than before that it is to be paused.

    It is, when in the present period it has stopped more than `declines_min` transactions, more
    than `share_max` of all, and more than `times_history` times the share that it stopped before.

    Parameters
    ----------
    figures
        What the rule has done.
    period
        The present period of the rule's guard.
    count
        Assessments ever, of all.
    guard
        The bounds.
    """
    stopped_count = figures.period_stopped_count
    if stopped_count <= guard.declines_min:
        return False
    share = stopped_count / max(count - period.begin_count, 1)
    before_count = period.begin_count - figures.since_count
    history = figures.history_stopped_count / before_count if before_count > 0 else 0.0
    return share > guard.share_max and share > guard.times_history * history


def forgive(figures: RuleFigures) -> RuleFigures:
    """Return the figures of a rule with what it did in this period as part of its history."""
    history_count = figures.history_stopped_count + figures.period_stopped_count
    return figures._replace(history_stopped_count=history_count, period_stopped_count=0)


def count_each(totals: Totals, lengths_ns: Sequence[int], times_ns: Sequence[int]) -> Totals:
    """Return the totals with more assessments, and with new periods where some begin.

    A transaction that comes late counts in the present period: none begins again.
    """
    count = totals.assessed_count
    latest_ns = max(times_ns)
    if [period.length_ns for period in totals.periods] == lengths_ns and all(
        latest_ns // period.length_ns <= period.number for period in totals.periods
    ):
        return Totals(count + len(times_ns), totals.periods)
    known = {period.length_ns: period for period in totals.periods}
    for at, time_ns in enumerate(times_ns):
        for length_ns in lengths_ns:
            number, period = time_ns // length_ns, known.get(length_ns)
            if period is None or number > period.number:
                known[length_ns] = Period(length_ns, number, count + at)
    periods = tuple(known[length_ns] for length_ns in lengths_ns)
    return Totals(count + len(times_ns), periods)


def _find_period(totals: Totals, guard: Guard) -> Period:
    """Return the present period of a guard; one that is not enabled has the first for ever."""
    length_ns = guard.period_s * _S_NS
    for period in totals.periods:
        if period.length_ns == length_ns:
            return period
    return Period(length_ns, 0, 0)


def _count_stopped(figures: RuleFigures, card: str, period: Period, count: int) -> RuleFigures:
    """Return a rule's figures with one more transaction that it stopped."""
    cards = figures.recent_cards
    code = hashlib.blake2b(card.encode(), digest_size=_CARD_SIZE_BYTES).digest()
    known = any(
        cards[at : at + _CARD_SIZE_BYTES] == code for at in range(0, len(cards), _CARD_SIZE_BYTES)
    )
    is_first = not figures.stopped_count
    figures = figures._replace(stopped_count=figures.stopped_count + 1)
    if known:
        return figures
    if is_first:
        figures = figures._replace(since_count=count - 1, period=period.number)
    elif period.number > figures.period:
        figures = forgive(figures)._replace(period=period.number)
    return figures._replace(
        period_stopped_count=figures.period_stopped_count + 1,
        recent_cards=(code + cards)[:_CARDS_SIZE_BYTES],
    )
