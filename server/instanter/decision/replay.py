"""A past decision made anew, stage by stage, so that each stage can be looked at."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.schema import MISSING_CODE
from instanter.decision.contacts import (
    EMPTY,
    IN_DOUBT,
    Contact,
    ContactKind,
    code_of,
    is_whole,
    read_contacts,
    record_contact,
    tag_of,
)
from instanter.decision.recording import ARM_HOLDOUT, RecordedDecision
from instanter.decision.tables import DecisionTables
from instanter.kernels.arbitration import REASON_CAPPED, REASON_COOLING_OFF
from instanter.kernels.binning import select_rows
from instanter.kernels.contact_policy import apply_policy
from instanter.kernels.decision import (
    LISTED_COUNT,
    check_offers,
    list_offers,
    score_offers,
)
from instanter.kernels.holdout import ARM_DECIDED
from instanter.kernels.packed_policy import measure_room
from instanter.kernels.stocked_offers import withhold_offers
from instanter.store.profiles import ProfileState

_SECOND_NS: Final = 1_000_000_000
_NO_POLICY: Final = np.zeros(0, np.int64)
_NO_SEED: Final = np.uint64(0)
_PACKED: Final = slice(6, 12)
_ARGUMENT_POLICY: Final = 15
"""Places in `DecisionTables.kernel_arguments`."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What a decision was made of.

    Attributes
    ----------
    slots, context
        uint32[S], uint32[X]: profile slots with the derived ones, and context slots.
    known
        Whether there was a profile.
    contacts
        Section of contacts, as it was at that moment.
    doubtful
        Contacts and answers of the decision's own second that are not in it: they may have come
        before the decision or after it.
    later
        Answers to the decision itself, or with later times, in the order of their times: each may
        have been told before the decision with a time ahead of it, or have taken the place of an
        earlier one of its kind.
    guessed
        Whether it was a guess which of those are in it by now.
    """

    slots: NDArray[np.uint32]
    context: NDArray[np.uint32]
    known: bool
    contacts: bytes
    doubtful: tuple[Contact, ...] = ()
    later: tuple[Contact, ...] = ()
    guessed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What each stage found.

    Attributes
    ----------
    surface
        Index of the surface.
    truths
        uint8: truth of each literal of the rules.
    reason
        uint8[O]: the first reason that stopped each offer.
    propensity, weight, priority
        float64[O]: of the offers that stayed; 0 elsewhere.
    shelf
        float32[U]: as in `kernels/stocked_offers`; empty when stock did not tell.
    rows
        int32[n]: rows of the score table that differ from the modal bins.
    """

    surface: int
    truths: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    propensity: NDArray[np.float64]
    weight: NDArray[np.float64]
    priority: NDArray[np.float64]
    shelf: NDArray[np.float32]
    rows: NDArray[np.int32]


def gather_inputs(
    tables: DecisionTables,
    decision: RecordedDecision,
    profile: NDArray[np.uint32] | None,
    section: bytes,
) -> Inputs:
    """Put together what a decision was made of.

    Parameters
    ----------
    tables
        Those of the catalogue that decided.
    decision
        As the log has it.
    profile
        uint32[≤ S]: the profile's slots of that revision; None when there was none.
    section
        The customer's contacts as they are now; what came later is left out.
    """
    slots = np.full(tables.profile_slot_count, MISSING_CODE, np.uint32)
    if profile is not None:
        count = min(len(slots), len(profile))
        slots[:count] = profile[:count]
    for slot, code in decision.derived.items():
        slots[slot] = code
    context = np.full(tables.context_slot_count, MISSING_CODE, np.uint32)
    for slot, code in decision.context.items():
        context[slot] = code
    known = decision.profile_state == ProfileState.KNOWN
    return Inputs(slots, context, known, *_cut_off(section, decision))


def list_contacts(inputs: Inputs) -> list[Contact]:
    """Return the contacts and answers up to the decision."""
    return read_contacts(inputs.contacts)


def replay_decision(tables: DecisionTables, decision: RecordedDecision, inputs: Inputs) -> Replay:
    """Decide anew by the rules, the policy and the scores of `tables`, without chance.

    Parameters
    ----------
    tables
        Those of the catalogue that decided.
    decision
        As the log has it; its surface is one of the catalogue's.
    inputs
        From `gather_inputs`.
    """
    surface = tables.surfaces[decision.channel, decision.placement]
    scores = tables.score_table
    packed = tables.kernel_arguments[_PACKED]
    policy = tables.kernel_arguments[_ARGUMENT_POLICY]
    offer_count, now_s = len(tables.offers), decision.time_ns / 1e9
    program = tables.catalogue.program
    truths = np.zeros(program.truth_count, np.uint8)
    reason = np.zeros(offer_count, np.uint8)
    room = np.zeros(measure_room(policy), np.int32)
    propensity, weight = np.zeros(offer_count), np.zeros(offer_count)
    priority, predictors = np.zeros(offer_count), len(scores.predictor_slot)
    numbers, rows = np.zeros(predictors, np.float32), np.zeros(predictors, np.int32)
    check_offers(
        now_s, inputs.slots, inputs.context, surface, *packed, tables.catalogue.treatment_index,
        np.zeros(program.value_count), truths, reason,
    )  # fmt: skip
    if len(policy):
        held = np.frombuffer(inputs.contacts, np.uint32)
        apply_policy(now_s, inputs.slots, surface, held, 0, 0, policy, reason, room)
    shelf = tables.stock.restore_shelf(decision.shelf)
    if len(shelf):
        withhold_offers(tables.stock.shelf_place, shelf, reason)
    score_offers(
        inputs.slots, inputs.context, surface, inputs.known, scores.profile_predictor_count,
        *packed, scores.edges, scores.weight, reason, numbers, rows,
        np.zeros(scores.weight.shape[1], np.int32), propensity,
    )  # fmt: skip
    list_offers(
        surface, offer_count, ARM_DECIDED, _NO_SEED, 0.0, *packed[:4], _NO_POLICY, shelf, truths,
        propensity, reason, room, weight, np.zeros(offer_count, np.uint8), priority,
        np.zeros(offer_count), np.zeros(offer_count, np.int32),
        np.zeros((offer_count, LISTED_COUNT)),
    )  # fmt: skip
    count = select_rows(
        inputs.slots, inputs.context, surface, inputs.known, scores.predictor_slot,
        scores.predictor_source, scores.profile_predictor_count, scores.edge_start, scores.edges,
        scores.bin_count, scores.row_start, scores.modal_bin, numbers, rows,
    )  # fmt: skip
    return Replay(surface, truths, reason, propensity, weight, priority, shelf, rows[:count])


def replay_as_recorded(
    tables: DecisionTables, decision: RecordedDecision, inputs: Inputs
) -> tuple[Inputs, Replay]:
    """Decide anew as `replay_decision`, with those doubtful contacts that go with the record.

    Times of contacts are whole seconds, so those of the decision's own second may have come after
    it. What was recorded with the decision is believed: they are taken in as long as no more offers
    are stopped than were then, and none that was listed. Where not all of them fit, the ones of
    the offers that rank highest are tried first, because those would have been listed if nothing
    had stopped them. In the holdout nothing was recorded to tell by, so that all are taken in.

    Where more offers rested than these explain, later answers are taken in, one by one, as long as
    each lets one more rest.

    Parameters
    ----------
    tables, decision, inputs
        As in `replay_decision`.

    Returns
    -------
    tuple
        The inputs with the contacts that were believed, and what they lead to.
    """
    believed, replayed = _believe_doubtful(tables, decision, inputs)
    if decision.arm == ARM_HOLDOUT:
        return believed, replayed
    for contact in inputs.later:
        if _count_resting(replayed) >= decision.reason_counts[REASON_COOLING_OFF]:
            break
        more = _take_in(believed, (contact,))
        found = replay_decision(tables, decision, more)
        if _agrees(decision, found) and _count_resting(found) > _count_resting(replayed):
            believed, replayed = more, found
    return believed, replayed


def _believe_doubtful(
    tables: DecisionTables, decision: RecordedDecision, inputs: Inputs
) -> tuple[Inputs, Replay]:
    """Return what `replay_as_recorded` finds without answers that have later times."""
    certain = replay_decision(tables, decision, inputs)
    if not inputs.doubtful:
        return inputs, certain
    every = _take_in(inputs, inputs.doubtful)
    found = replay_decision(tables, decision, every)
    if _agrees(decision, found):
        return replace(every, guessed=decision.arm == ARM_HOLDOUT), found
    priorities: dict[int, float] = {
        code_of(offer.name): float(certain.priority[o]) for o, offer in enumerate(tables.offers)
    }
    believed, replayed, count = inputs, certain, 0
    for contact in sorted(inputs.doubtful, key=lambda c: -priorities.get(c.offer, 0.0)):
        more = _take_in(believed, (contact,))
        found = replay_decision(tables, decision, more)
        if _agrees(decision, found):
            believed, replayed, count = more, found, count + 1
    return replace(believed, guessed=count > 0), replayed


def _take_in(inputs: Inputs, contacts: tuple[Contact, ...]) -> Inputs:
    section = inputs.contacts
    for contact in contacts:
        section = record_contact(section, contact)
    return replace(inputs, contacts=section)


def _agrees(decision: RecordedDecision, replay: Replay) -> bool:
    """Return whether contacts stop nothing in a replay that they did not stop in the decision.

    Caps come before rests: one contact less may turn an offer that was capped into one that rests,
    so that rests are compared together with caps. Reservations are not in a replay: it may
    stop less.
    """
    if decision.arm == ARM_HOLDOUT:
        return True
    counted = decision.reason_counts
    capped = int((replay.reason == REASON_CAPPED).sum())
    resting = _count_resting(replay)
    return (
        capped <= counted[REASON_CAPPED]
        and capped + resting <= counted[REASON_CAPPED] + counted[REASON_COOLING_OFF]
        and all(
            replay.reason[offer.place] not in (REASON_CAPPED, REASON_COOLING_OFF)
            for offer in decision.offers
        )
    )


def _count_resting(replay: Replay) -> int:
    return int((replay.reason == REASON_COOLING_OFF).sum())


def _cut_off(
    section: bytes, decision: RecordedDecision
) -> tuple[bytes, tuple[Contact, ...], tuple[Contact, ...]]:
    """Return the contacts as they were before a decision, as far as they are still known.

    Rows that later ones have pushed out cannot be brought back; what was recorded late counts as if
    it had been on time.

    Returns
    -------
    tuple
        The section of those that surely came before it, those of which that is not known, and the
        answers to it or with later times.
    """
    if not section:
        return EMPTY, (), ()
    if not is_whole(section):
        return IN_DOUBT, (), ()
    own_tag = tag_of(decision.decision_id)
    then = EMPTY
    doubtful: list[Contact] = []
    later: list[Contact] = []
    for contact in read_contacts(section):
        if contact.tag == own_tag:
            if contact.kind != ContactKind.PRESENTED:
                later.append(contact)
            continue
        # Times are rounded up to whole seconds.
        if contact.time_s * _SECOND_NS <= decision.time_ns:
            then = record_contact(then, contact)
        elif (contact.time_s - 1) * _SECOND_NS < decision.time_ns:
            doubtful.append(contact)
        elif contact.kind != ContactKind.PRESENTED:
            later.append(contact)
    return then, tuple(doubtful), tuple(later)
