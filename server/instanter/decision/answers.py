"""From what a turn has decided to decisions: one row of the kernel's output each."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from instanter.decision.questions import Arm, Decision, NoOfferReason, Question, RankedOffer
from instanter.decision.recording import TurnArrays
from instanter.decision.tables import DecisionTables
from instanter.kernels.decision import ASKED_STATE, ASKED_SURFACE
from instanter.kernels.responses import STAGES, explain_nothing
from instanter.store.profiles import ProfileState

_KNOWN = int(ProfileState.KNOWN)

AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class Translate(Protocol[AnswerT_co]):
    """Makes the answers of one turn."""

    def __call__(
        self,
        tables: DecisionTables,
        questions: Sequence[Question],
        arrays: TurnArrays,
        decision_ids: Sequence[bytes],
    ) -> Sequence[AnswerT_co]:
        """Return the answers.

        Parameters
        ----------
        tables
            What decided.
        questions
            What was asked, a row each.
        arrays
            What came in and went out; read-only, and used again for the next turn.
        decision_ids
            16 bytes for each row.
        """


def read_decisions(
    tables: DecisionTables,
    questions: Sequence[Question],
    arrays: TurnArrays,
    decision_ids: Sequence[bytes],
) -> list[Decision]:
    """Return the decisions of one turn, as `Translate` says."""
    return [
        _read_decision(tables, arrays, row, question, decision_ids[row])
        for row, question in enumerate(questions)
    ]


def _read_decision(
    tables: DecisionTables, arrays: TurnArrays, row: int, question: Question, decision_id: bytes
) -> Decision:
    """Turn one row of the kernel's output into a decision."""
    held, count, arm, *reasons = arrays.told[row].tolist()
    state = int(arrays.asked[row, ASKED_STATE])
    exclusions: list[tuple[int, int]] = []
    no_offer = int(NoOfferReason.UNSPECIFIED)
    if count < question.offer_count and not held:
        exclusions = [(stage, reasons[stage]) for stage in STAGES if reasons[stage]]
    if not count:
        no_offer = explain_nothing(arrays.told[row], count, len(tables.offers))
    return Decision(
        decision_id.hex(),
        _list_offers(
            tables, arrays, row, count, tables.reasons[arm == Arm.RANDOM][state == _KNOWN]
        ),
        no_offer,
        state,
        bool(held),
        tables.catalogue.revision,
        tables.score_table.revision,
        exclusions,
        arm,
    )


def _list_offers(
    tables: DecisionTables,
    arrays: TurnArrays,
    row: int,
    count: int,
    reasons: tuple[tuple[tuple[int, ...], ...], ...],
) -> list[RankedOffer]:
    """List the offers of one row, best first."""
    if not count:
        return []
    names = tables.treatment_names[arrays.asked[row, ASKED_SURFACE]]
    offers = tables.offers
    found = []
    listed = arrays.listed[row, :count].tolist()
    for place, priority, propensity, weight, weighted, choice in listed:
        o = int(place)
        offer = offers[o]
        found.append(
            RankedOffer(
                offer.name,
                names[o],
                priority,
                propensity,
                offer.value_minor,
                weight,
                offer.lever,
                reasons[int(weighted)][o],
                choice,
            )
        )
    return found
