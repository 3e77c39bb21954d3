"""Figures, rules and model of one transaction."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.fraud_figures import FIELD_FIRST
from instanter.catalogue.fraud_words import EntityKind, StandInCause
from instanter.catalogue.schema import MISSING_CODE
from instanter.errors import DamagedError
from instanter.fraud.book import DAMAGED_STATE, Book
from instanter.fraud.encoding import NS_PER_MS, NS_PER_S
from instanter.fraud.questions import TerminalRisk, Transaction
from instanter.fraud.snoozes import find_snoozed
from instanter.fraud.states import EntityStates
from instanter.fraud.tables import FraudTables, mark_silent
from instanter.fraud.verdicts import Scored
from instanter.kernels.fraud_scoring import TOTALS, score_rules
from instanter.kernels.velocities import evaluate_figures, evaluate_velocities

_NO_WORDS: Final = np.zeros(0, np.int64)
_NO_PROFILE: Final = np.zeros(0, np.uint32)


class Scorer:
    """Computes what rules see of a transaction, and what they say.

    Attributes
    ----------
    figures
        uint32[F]: of the transaction begun last.
    """

    __slots__ = (
        "_fired", "_paused", "_silent", "_states", "_tables", "_totals", "_truths", "_values",
        "figures",
    )  # fmt: skip

    def __init__(self, tables: FraudTables, states: EntityStates) -> None:
        plan = tables.plan
        self._tables = tables
        self._states = states
        self._paused: frozenset[str] = frozenset()
        self._silent = plan.shadow
        self._fired = np.zeros(len(tables.rules), np.int32)
        self._totals = np.zeros(TOTALS)
        self._truths = np.zeros(plan.truth_count, np.uint8)
        self._values = np.zeros(plan.value_count)
        self.figures = np.full(plan.figure_count, MISSING_CODE, np.uint32)

    def begin(self, event: bytes, fields: list[int]) -> None:
        """Take a transaction's own figures; all others are missing until `score`.

        Parameters
        ----------
        event
            The slots that every transaction has.
        fields
            Patterns of the declared fields.
        """
        figures = self.figures
        figures[self._tables.event_count :] = MISSING_CODE
        figures[:FIELD_FIRST] = np.frombuffer(event, np.uint32)
        if fields:
            figures[FIELD_FIRST : self._tables.event_count] = fields

    def score(
        self,
        transaction: Transaction,
        book: Book,
        *,
        place: tuple[float, float] | None,
        time_ns: int,
        digits: int,
        causes: list[StandInCause],
    ) -> Scored:
        """Return what rules say; fills the figures.

        Parameters
        ----------
        transaction, book
            What is asked, and what is known.
        place
            Of a card-present transaction; None without one.
        time_ns
            The time as of which it is assessed.
        digits
            Of its currency's minor unit.
        causes
            Takes what is damaged.
        """
        tables = self._tables
        plan, settings = tables.plan, tables.policy.settings
        states = self._states.read(transaction, book.find_state, tables.reads)
        if any(state is DAMAGED_STATE for state in states):
            causes.append(StandInCause.STATE_DAMAGED)
        latitude, longitude = place if place is not None else (math.nan, math.nan)
        evaluate_figures(
            time_ns // NS_PER_MS,
            self._states.lay_out(states),
            self._states.cut,
            self._states.known,
            plan.plan,
            plan.plan_cut,
            plan.scale,
            transaction.amount_minor / 10**digits,
            transaction.mcc,
            settings.baseline_half_life_s * 1000,
            latitude,
            longitude,
            settings.travel.distance_km_min,
            settings.travel.speed_kmh_max,
            plan.travel_slot,
            plan.fraud_count_slot,
            self.figures,
        )
        profile = _NO_PROFILE
        if tables.policy.reads_profile and transaction.customer:
            profile = _read_profile(transaction.customer, time_ns, book, causes)
        silent = self._find_silent(states[0].snoozes, time_ns, book)
        return self._fire(profile, time_ns, silent)

    def measure_terminal(self, terminal: str, book: Book, time_ns: int) -> TerminalRisk:
        """Return what labels say of a terminal at a moment; overwrites the figures.

        Parameters
        ----------
        terminal, book
            Its name, and what is known.
        time_ns
            The moment, nanoseconds since 1970.
        """
        plan, first = self._tables.plan, int(EntityKind.TERMINAL) - 1
        state = book.find_state(EntityKind.TERMINAL, terminal).velocities
        words = np.frombuffer(state, np.int64) if state else _NO_WORDS
        evaluate_velocities(
            time_ns // NS_PER_MS,
            words,
            0,
            len(words),
            int(plan.plan_cut[first]),
            int(plan.plan_cut[first + 1]),
            plan.plan,
            plan.scale,
            self.figures,
        )
        at = plan.fraud_count_slot
        frauds, labels = self.figures[at : at + 2].view(np.float32).tolist()
        rate = frauds / labels if labels else 0.0
        return TerminalRisk(terminal, rate, int(frauds), int(labels))

    def _fire(self, profile: NDArray[np.uint32], time_ns: int, silent: NDArray[np.uint8]) -> Scored:
        """Return which rules fire."""
        plan, rules = self._tables.plan, len(self._tables.rules)
        count = score_rules(
            profile,
            self.figures,
            time_ns / NS_PER_S,
            plan.rules.f64,
            plan.rules.i32,
            plan.rules.u8,
            plan.rules.cut[0],
            plan.rule_literal,
            plan.rule_points,
            plan.rule_severity,
            plan.valid_from_s,
            plan.valid_to_s,
            silent,
            self._values,
            self._truths,
            self._fired,
            self._totals,
        )
        fired = self._fired[:count].tolist()
        points, severity = self._totals.tolist()
        return Scored(
            points=points,
            severity=int(severity),
            fired=[index for index in fired if index < rules],
            silent=[index - rules for index in fired if index >= rules],
        )

    def _find_silent(self, snoozes: bytes, time_ns: int, book: Book) -> NDArray[np.uint8]:
        """Return which rules are only reported: shadow, paused, or snoozed for the card."""
        tables = self._tables
        paused = book.find_paused_rules()
        if paused is not self._paused:
            self._paused = paused
            self._silent = mark_silent(tables, paused)
        if not snoozes:
            return self._silent
        snoozed = find_snoozed(snoozes, time_ns)
        silent = self._silent.copy()
        for index, rule in enumerate(tables.rules):
            if rule.code in snoozed:
                silent[index] = 1
        return silent


def _read_profile(
    customer: str, time_ns: int, book: Book, causes: list[StandInCause]
) -> NDArray[np.uint32]:
    try:
        return book.find_profile(customer, time_ns)
    except DamagedError:
        if StandInCause.STATE_DAMAGED not in causes:
            causes.append(StandInCause.STATE_DAMAGED)
        return _NO_PROFILE
