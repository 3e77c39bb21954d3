"""Back-test: what other rules would have done with the transactions of the past.

The same engine assesses the same transactions in the same order, over dictionaries in the place of
the store, and learns each label where the log has it: nothing is known earlier than it was.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.fraud_words import Disposition, EntityKind, ListKind
from instanter.fraud.book import EMPTY_STATE, EntityState
from instanter.fraud.checks import fit_fields
from instanter.fraud.engine import FraudEngine
from instanter.fraud.questions import CountedTransaction, Transaction
from instanter.fraud_limits import TRANSACTION_KEPT_NS

FindProfile = Callable[[str, int], NDArray[np.uint32]]
"""Returns a customer's attributes by slot at a time; empty when unknown."""

_NO_PROFILE: Final = np.zeros(0, np.uint32)
_NO_RULES: Final[frozenset[str]] = frozenset()
_FORGET_EVERY: Final = 1_024


def find_no_profile(customer: str, time_ns: int) -> NDArray[np.uint32]:
    """Return uint32[0]: nothing is known of anybody."""
    del customer, time_ns
    return _NO_PROFILE


class DictionaryBook:
    """Implements `fraud.book.Book` over dictionaries: what is put is there, and nothing is kept.

    Parameters
    ----------
    find_profile
        As `Book.find_profile`.

    Attributes
    ----------
    listed
        The hotlists on which something of the transaction stands that is assessed next.
    time_ns
        Its time; every hotlist is as fresh as that.
    """

    __slots__ = ("_model", "_states", "find_profile", "listed", "time_ns")

    def __init__(self, find_profile: FindProfile = find_no_profile) -> None:
        self._states: dict[EntityKind, dict[str, EntityState]] = {kind: {} for kind in EntityKind}
        self._model: tuple[int, bytes] = (0, b"")
        self.find_profile = find_profile
        self.listed: frozenset[ListKind] = frozenset()
        self.time_ns = 0

    def find_state(self, kind: EntityKind, name: str) -> EntityState:
        """Return what is kept of an entity."""
        return self._states[kind].get(name, EMPTY_STATE)

    def put_state(self, kind: EntityKind, name: str, state: EntityState) -> None:
        """Keep the state of an entity."""
        self._states[kind][name] = state

    def find_model(self, model_id: int) -> bytes:
        """Return the state of the model."""
        return self._model[1] if self._model[0] == model_id else b""

    def put_model(self, model_id: int, state: bytes) -> None:
        """Keep the state of the model."""
        self._model = (model_id, state)

    def is_hotlisted(self, kind: ListKind, entry: str, time_ns: int) -> bool:
        """Return whether an entry of the list stood against the transaction."""
        del entry, time_ns
        return kind in self.listed

    def find_hotlist_time_ns(self, kind: ListKind) -> int:
        """Return the transaction's time."""
        del kind
        return self.time_ns

    def find_paused_rules(self) -> frozenset[str]:
        """Return that no rule is paused."""
        return _NO_RULES

    def measure_states(self, kind: EntityKind) -> tuple[int, int]:
        """Return how many entities of a kind there are, and the bytes of their sections."""
        states = self._states[kind].values()
        return len(states), sum(len(section) for state in states for section in state)


@dataclass(frozen=True, slots=True)
class RuleSetFigures:
    """What one set of rules did with the transactions counted; stopped is referred or declined.

    Attributes
    ----------
    transaction_count, referred_count, declined_count
        All of them, and those that were not approved.
    caught_count, caught_minor
        Frauds stopped, and their amounts in minor units.
    missed_count, missed_minor
        Frauds approved.
    false_positive_count, false_positive_minor
        Stopped, and not labelled as fraud.
    """

    transaction_count: int
    referred_count: int
    declined_count: int
    caught_count: int
    caught_minor: int
    missed_count: int
    missed_minor: int
    false_positive_count: int
    false_positive_minor: int


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """What one of the given rules did: how often it fired, on frauds, and on others."""

    rule: str
    fired_count: int
    caught_count: int
    false_positive_count: int


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What the given rules would have done, beside what the live ones did.

    Attributes
    ----------
    live, given
        Of each.
    rules
        The given rules that fired, those that did most often first.
    newly_stopped_count, newly_caught_count
        Stopped by the given rules alone, and those of them that were frauds.
    released_count, newly_missed_count
        Stopped by the live rules alone, and those of them that were frauds.
    misfit_count
        Transactions whose declared fields are not what the given catalogue takes.
    start_ns, end_ns
        Times of the first and the last transaction counted, nanoseconds since 1970; 0 for none.
    """

    live: RuleSetFigures
    given: RuleSetFigures
    rules: tuple[RuleRecord, ...]
    newly_stopped_count: int
    newly_caught_count: int
    released_count: int
    newly_missed_count: int
    misfit_count: int
    start_ns: int
    end_ns: int


class _Row(NamedTuple):
    """One counted transaction, until the end tells which were frauds."""

    live: Disposition
    given: Disposition
    amount_minor: int
    time_ns: int
    fired: tuple[str, ...]
    fits: bool


class Simulation:
    """Replays transactions and labels, in the order in which the log has them.

    Parameters
    ----------
    catalogue
        With the given rules.
    start_ns, end_ns
        Transactions from here (included) to there (excluded) are counted in the result; earlier
        ones fill states only.
    find_profile
        As `Book.find_profile`. The past of profiles is not known, so they are as of today.
    """

    __slots__ = (
        "_book",
        "_count",
        "_end_ns",
        "_engine",
        "_labels",
        "_rows",
        "_start_ns",
        "_waiting",
    )

    def __init__(
        self,
        catalogue: CompiledCatalogue,
        *,
        start_ns: int = 0,
        end_ns: int = 2**63 - 1,
        find_profile: FindProfile = find_no_profile,
    ) -> None:
        self._engine = FraudEngine()
        self._engine.install(catalogue)
        self._book = DictionaryBook(find_profile)
        self._start_ns = start_ns
        self._end_ns = end_ns
        self._count = 0
        self._rows: dict[Hashable, _Row] = {}
        self._labels: dict[Hashable, bool] = {}
        self._waiting: dict[Hashable, CountedTransaction] = {}

    def assess(
        self,
        key: Hashable,
        transaction: Transaction,
        *,
        now_ns: int,
        live: Disposition,
        listed: frozenset[ListKind] = frozenset(),
    ) -> float:
        """Assess one transaction and count it; return the model's probability, NaN without one.

        The fields that were declared then may be others than the given catalogue has, and one old
        transaction must not keep all others from being replayed: what it has too many is left out,
        and what it lacks, or has otherwise, is missing.

        Parameters
        ----------
        key
            Stands for it when its label comes.
        transaction
            As it was asked.
        now_ns
            The server's time then.
        live
            What it was answered.
        listed
            The hotlists on which something of it stood.

        Raises
        ------
        InvalidFieldError
            Something of it cannot be, whatever the catalogue.
        """
        book = self._book
        book.time_ns = now_ns
        book.listed = listed
        fields, fits = self._fit(transaction)
        found = self._engine.assess(transaction, book, now_ns=now_ns, fields=fields)
        self._engine.count(found.counted, book)
        self._waiting[key] = found.counted
        self._count += 1
        if self._count % _FORGET_EVERY == 0:
            self._forget(now_ns)
        if self._start_ns <= transaction.time_ns < self._end_ns:
            amount = transaction.amount_minor
            self._rows[key] = _Row(
                live, found.disposition, amount, transaction.time_ns, found.fired, fits
            )
        return found.probability

    def label(self, key: Hashable, *, fraud: bool) -> None:
        """Learn what became of a transaction; nothing of one that was not replayed.

        A label that changes takes the place of the one before, in states, model and result, as it
        does live; the same one again changes nothing.
        """
        known = self._labels.get(key)
        if fraud == known:
            return
        self._labels[key] = fraud
        counted = self._waiting.get(key)
        if counted is not None:
            learn = self._engine.label if known is None else self._engine.relabel
            learn(counted, self._book, fraud=fraud)

    def finish(self) -> SimulationResult:
        """Return the result, by the labels known until now."""
        fired: Counter[str] = Counter()
        caught: Counter[str] = Counter()
        for key, row in self._rows.items():
            fired.update(row.fired)
            if self._labels.get(key):
                caught.update(row.fired)
        rows = list(self._rows.values())
        frauds = [self._labels.get(key, False) for key in self._rows]
        changes = Counter(
            (_stops(row.live), _stops(row.given), fraud)
            for row, fraud in zip(rows, frauds, strict=True)
        )
        times_ns = [row.time_ns for row in rows]
        return SimulationResult(
            live=_measure([row.live for row in rows], rows, frauds),
            given=_measure([row.given for row in rows], rows, frauds),
            rules=tuple(
                RuleRecord(rule, count, caught[rule], count - caught[rule])
                for rule, count in fired.most_common()
            ),
            newly_stopped_count=changes[False, True, True] + changes[False, True, False],
            newly_caught_count=changes[False, True, True],
            released_count=changes[True, False, True] + changes[True, False, False],
            newly_missed_count=changes[True, False, True],
            misfit_count=sum(not row.fits for row in rows),
            start_ns=min(times_ns, default=0),
            end_ns=max(times_ns, default=0),
        )

    @property
    def book(self) -> DictionaryBook:
        """What is known so far."""
        return self._book

    def _fit(self, transaction: Transaction) -> tuple[list[int], bool]:
        """Return the patterns of the declared fields, and whether the transaction fits them."""
        tables = self._engine.tables
        if not tables.field_count and not transaction.fields:
            return [], True
        return fit_fields(
            transaction.fields, tables.fields, tables.fields_required, tables.field_count
        )

    def _forget(self, now_ns: int) -> None:
        """Forget transactions of which the server would take neither a label nor a change."""
        for key, counted in list(islice(self._waiting.items(), 2 * _FORGET_EVERY)):
            if counted.time_ns >= now_ns - TRANSACTION_KEPT_NS:
                break
            del self._waiting[key]


def _stops(disposition: Disposition) -> bool:
    return disposition is not Disposition.APPROVE


def _measure(
    dispositions: Sequence[Disposition], rows: Sequence[_Row], frauds: Sequence[bool]
) -> RuleSetFigures:
    """Return what rules with these dispositions did."""
    kinds = Counter(dispositions)
    counts: Counter[tuple[bool, bool]] = Counter()
    amounts: Counter[tuple[bool, bool]] = Counter()
    for disposition, row, fraud in zip(dispositions, rows, frauds, strict=True):
        kind = (_stops(disposition), fraud)
        counts[kind] += 1
        amounts[kind] += row.amount_minor
    return RuleSetFigures(
        transaction_count=len(rows),
        referred_count=kinds[Disposition.REFER],
        declined_count=kinds[Disposition.DECLINE],
        caught_count=counts[True, True],
        caught_minor=amounts[True, True],
        missed_count=counts[False, True],
        missed_minor=amounts[False, True],
        false_positive_count=counts[True, False],
        false_positive_minor=amounts[True, False],
    )
