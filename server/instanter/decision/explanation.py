"""Why a past decision was made: what stopped each offer, what spoke for it, what came next."""

import math
import sys
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.schema import Attribute
from instanter.decision.exclusion_words import ExclusionWords, show_value
from instanter.decision.questions import Arm
from instanter.decision.recording import ListedOffer, RecordedDecision
from instanter.decision.replay import Inputs, Replay, gather_inputs, replay_as_recorded
from instanter.decision.tables import DecisionTables
from instanter.kernels.arbitration import (
    REASON_CAPPED,
    REASON_COOLING_OFF,
    REASON_NO_PRIORITY,
    REASON_OUT_OF_STOCK,
    REASON_STOCK_UNKNOWN,
)
from instanter.kernels.binning import (
    SOURCE_CONTEXT_CODE,
    SOURCE_CONTEXT_NUMBER,
    SOURCE_SURFACE,
)

CONTRIBUTIONS_MAX: Final = 10
"""Contributions shown of one offer: the rest moves little."""

_BEHIND_CAPS: Final = (
    REASON_COOLING_OFF,
    REASON_OUT_OF_STOCK,
    REASON_STOCK_UNKNOWN,
    REASON_NO_PRIORITY,
)
"""Reasons that an offer is stopped for only when no cap has stopped it."""

_LOG_ODDS_MAX: Final = 60.0
_VALUE_NEEDED_MAX: Final = 2**63 - 1
_FACTOR_NEEDED_MAX: Final = sys.float_info.max
"""JSON has no infinity."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one attribute did to one propensity.

    Attributes
    ----------
    attribute, value
        Its name (`channel` for the channel itself), and its value as text or `missing`.
    log_odds
        What it added to the raw score, compared with its most frequent values.
    """

    attribute: str
    value: str
    log_odds: float


@dataclass(frozen=True, slots=True)
class OfferExplanation:
    """One offer in an explanation; the fields are the contract's."""

    offer: str
    rank: int
    exclusion_reason: int
    exclusion_detail: str
    propensity: float
    context_weight: float
    value_minor: int
    lever: float
    priority: float
    contributions: tuple[Contribution, ...]
    stock_factor: float


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """What the next offer lacked to be ranked first; the fields are the contract's."""

    offer: str
    propensity_needed: float
    value_minor_needed: int
    lever_needed: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and why it was made.

    Attributes
    ----------
    decision
        As the log has it.
    offers
        First the listed ones in their order, then the others that stayed by priority, then those
        that were stopped, by name.
    runner_up
        None when there was none, or when chance chose.
    models_unchanged
        Whether the listed offers' propensities came out as they were recorded.
    """

    decision: RecordedDecision
    offers: tuple[OfferExplanation, ...]
    runner_up: RunnerUp | None
    models_unchanged: bool


def explain_decision(
    tables: DecisionTables,
    decision: RecordedDecision,
    profile: NDArray[np.uint32] | None,
    section: bytes,
) -> Explanation:
    """Decide anew and say why.

    Parameters
    ----------
    tables
        Those of the catalogue that decided, with the models that come nearest to those that did.
    decision
        As the log has it.
    profile
        uint32[S]: slots of the profile at the revision that was used; None when none was.
    section
        The customer's contacts as they are now; empty for none.
    """
    inputs = gather_inputs(tables, decision, profile, section)
    inputs, replay = replay_as_recorded(tables, decision, inputs)
    return _Explainer(tables, decision, inputs, replay).explain()


class _Explainer:
    """Puts one explanation together."""

    __slots__ = (
        "_capped",
        "_decision",
        "_inputs",
        "_listed",
        "_partly_capped",
        "_replay",
        "_tables",
        "_words",
    )

    def __init__(
        self, tables: DecisionTables, decision: RecordedDecision, inputs: Inputs, replay: Replay
    ) -> None:
        self._tables = tables
        self._decision = decision
        self._inputs = inputs
        self._replay = replay
        self._words = ExclusionWords(tables, decision, inputs, replay)
        self._listed = {offer.place for offer in decision.offers}
        self._capped = self._find_capped_unseen()
        self._partly_capped = self._find_partly_capped()

    def explain(self) -> Explanation:
        """Return the explanation."""
        offers = self._tables.offers
        listed = [self._explain_listed(r, o) for r, o in enumerate(self._decision.offers, 1)]
        priority, reason = self._replay.priority, self._replay.reason
        others = [o for o in range(len(offers)) if o not in self._listed]
        stopped = [o for o in others if reason[o] or o in self._capped]
        stayed = sorted(set(others) - set(stopped), key=lambda o: (-priority[o], o))
        return Explanation(
            self._decision,
            (*listed, *(self._explain_other(o) for o in stayed + stopped)),
            self._find_runner_up(),
            self._reproduces(),
        )

    def _explain_listed(self, rank: int, recorded: ListedOffer) -> OfferExplanation:
        """Explain an offer with the figures that its response had."""
        offer = self._tables.offers[recorded.place]
        return OfferExplanation(
            recorded.name,
            rank,
            0,
            "",
            recorded.propensity,
            recorded.context_weight,
            recorded.value_minor,
            offer.lever,
            recorded.priority,
            self._list_contributions(recorded.place),
            self._find_stock_factor(recorded.place),
        )

    def _explain_other(self, o: int) -> OfferExplanation:
        """Explain an offer that was not listed with the figures of the replay."""
        offer, replay = self._tables.offers[o], self._replay
        reason, detail = int(replay.reason[o]), self._words.describe(o)
        if o in self._capped:
            reason = REASON_CAPPED
            detail = (
                "a cap was reached by the offers listed before it, or by others that had just "
                "been listed"
            )
        elif reason in self._partly_capped:
            count, total = self._partly_capped[reason]
            detail += f"; of the {total} offers of which that holds, a cap stopped {count} first"
        scored = replay.propensity[o] > 0.0
        return OfferExplanation(
            offer.name,
            0,
            reason,
            detail,
            float(replay.propensity[o]),
            float(replay.weight[o]) if scored else 0.0,
            offer.value_minor,
            offer.lever,
            float(replay.priority[o]),
            self._list_contributions(o) if scored else (),
            self._find_stock_factor(o),
        )

    def _find_stock_factor(self, o: int) -> float:
        """Return what low cover took off; 0 where there was nothing, or nothing was known."""
        shelf = self._replay.shelf
        place = int(self._tables.stock.shelf_place[o + 1]) if len(shelf) else -1
        return 1.0 if place < 0 else max(float(shelf[place]), 0.0)

    def _find_capped_unseen(self) -> frozenset[int]:
        """Find the offers that a cap must have stopped, although it does not in the replay.

        Reservations leave no trace but the counts: more offers were capped than the contacts of
        that moment explain. Caps come before rests, stock and priority, so what these stop in the
        replay and did not stop in the decision was capped, as far as the counts tell which. Of
        those that stay: where the list is shorter than was asked for, whatever is not in it was
        stopped; else what would have come before the last of it, unless chance had a say.
        """
        decision, replay = self._decision, self._replay
        capped = int((replay.reason == REASON_CAPPED).sum())
        if decision.arm == Arm.HOLDOUT or decision.reason_counts[REASON_CAPPED] <= capped:
            return frozenset()
        behind = [
            o
            for reason in _BEHIND_CAPS
            if not decision.reason_counts[reason]
            for o in np.flatnonzero(replay.reason == reason).tolist()
        ]
        return frozenset(behind) | self._find_capped_staying()

    def _find_partly_capped(self) -> dict[int, tuple[int, int]]:
        """Find the reasons that hold for more offers than they stopped: caps had come first.

        For which offers, the counts do not tell.

        Returns
        -------
        dict
            By reason, how many were capped, and of how many it holds.
        """
        decision, replay = self._decision, self._replay
        capped = int((replay.reason == REASON_CAPPED).sum())
        if decision.arm == Arm.HOLDOUT or decision.reason_counts[REASON_CAPPED] <= capped:
            return {}
        totals = {reason: int((replay.reason == reason).sum()) for reason in _BEHIND_CAPS}
        return {
            reason: (total - decision.reason_counts[reason], total)
            for reason, total in totals.items()
            if total > decision.reason_counts[reason] > 0
        }

    def _find_capped_staying(self) -> frozenset[int]:
        """Find those of `_find_capped_unseen` that stay in the replay."""
        decision, replay = self._decision, self._replay
        stayed = {o for o in np.flatnonzero(replay.reason == 0).tolist() if o not in self._listed}
        if len(decision.offers) < decision.offer_count:
            return frozenset(stayed)
        explores = self._tables.catalogue.learning_rules.exploration > 0.0
        if decision.arm != Arm.DECIDED or explores or not self._reproduces():
            return frozenset()
        last = decision.offers[-1]
        return frozenset(
            o for o in stayed if (-replay.priority[o], o) < (-last.priority, last.place)
        )

    def _list_contributions(self, o: int) -> tuple[Contribution, ...]:
        """List what moved an offer's raw score most, strongest first."""
        scores = self._tables.score_table
        rows = self._replay.rows
        moved = scores.weight[rows, o].astype(float) * scores.scale[o]
        predictors = np.searchsorted(scores.row_start, rows, side="right") - 1
        strongest = np.argsort(-np.abs(moved), kind="stable")[:CONTRIBUTIONS_MAX]
        return tuple(
            Contribution(
                *self._name_predictor(int(predictors[n])),
                min(max(float(moved[n]), -_LOG_ODDS_MAX), _LOG_ODDS_MAX),
            )
            for n in strongest.tolist()
            if moved[n]
        )

    def _name_predictor(self, p: int) -> tuple[str, str]:
        """Return name and value of the attribute that a predictor reads."""
        scores, schema = self._tables.score_table, self._tables.catalogue.schema
        source, slot = int(scores.predictor_source[p]), int(scores.predictor_slot[p])
        if source == SOURCE_SURFACE:
            return "channel", self._decision.channel
        in_context = source in (SOURCE_CONTEXT_NUMBER, SOURCE_CONTEXT_CODE)
        attributes = schema.context if in_context else schema.loaded | schema.derived
        slots = self._inputs.context if in_context else self._inputs.slots
        attribute = _find_by_slot(attributes, slot)
        if attribute is None:
            return f"slot {slot}", "missing"
        return attribute.name, show_value(attribute, int(slots[slot])) or "missing"

    def _find_runner_up(self) -> RunnerUp | None:
        """Find the offer that would have been first without the first, and what it lacked."""
        decision, replay = self._decision, self._replay
        if decision.arm != Arm.DECIDED or not decision.offers:
            return None
        first = decision.offers[0]
        priorities = {
            o: float(replay.priority[o])
            for o in range(len(self._tables.offers))
            if o != first.place and not replay.reason[o]
        }
        # What would have been first, had no cap been reached, lacked neither value nor lever.
        priorities = {
            o: priority
            for o, priority in priorities.items()
            if o not in self._capped or (-priority, o) > (-first.priority, first.place)
        }
        priorities |= {offer.place: offer.priority for offer in decision.offers[1:]}
        if not priorities:
            return None
        o = min(priorities, key=lambda o: (-priorities[o], o))
        ratio = first.priority / priorities[o]
        if ratio < 1.0:
            # Exploration had put another one first: nothing was lacking but luck.
            return None
        offer = self._tables.offers[o]
        recorded = next((one for one in decision.offers if one.place == o), None)
        propensity = float(replay.propensity[o]) if recorded is None else recorded.propensity
        # Equal priorities rank by name: the one behind must have a hair more.
        behind = o > first.place
        value_needed = _find_value_needed(offer.value_minor * ratio, behind=behind)
        hair = 1.0 + 1e-9 if behind else 1.0
        return RunnerUp(
            offer.name,
            min(propensity * ratio * hair, _FACTOR_NEEDED_MAX),
            value_needed,
            min(offer.lever * ratio * hair, _FACTOR_NEEDED_MAX),
        )

    def _reproduces(self) -> bool:
        """Return whether the models say of the listed offers what they said then."""
        return all(
            math.isclose(self._replay.propensity[offer.place], offer.propensity, rel_tol=1e-12)
            for offer in self._decision.offers
        ) and (
            bool(self._decision.offers)
            or self._decision.model_revision == self._tables.score_table.revision
        )


def _find_value_needed(exactly: float, *, behind: bool) -> int:
    """Return the value that makes an offer first, where `exactly` that many units make it equal.

    Levers and weights may be so small that what is needed does not fit the contract's field, or
    is infinite: then it is the most that fits, which is still more than any offer may be worth.
    """
    if exactly >= _VALUE_NEEDED_MAX:
        return _VALUE_NEEDED_MAX
    needed = math.ceil(exactly)
    return needed + 1 if behind and needed <= exactly else needed


def _find_by_slot(attributes: dict[str, Attribute], slot: int) -> Attribute | None:
    return next((a for a in attributes.values() if a.slot == slot), None)
