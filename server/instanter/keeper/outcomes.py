"""Outcomes in the log: each attributed to its decision, with the inputs as they were then.

What a record says is complete: marks, waits, figures, and the bins that a model learns from. So
its effect needs no look-up, and what models learn is a function of the log alone.
"""

import contextlib
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.decision.contacts import make_contact
from instanter.decision.recording import ARM_HOLDOUT, ListedOffer, RecordedDecision
from instanter.errors import CatalogueMissingError, DamagedError, InvalidFieldError
from instanter.keeper.attribution import (
    LABEL_NONE,
    Effect,
    OutcomeKind,
    OutcomeState,
    take_outcome,
)
from instanter.keeper.commands import Answered, ApplyContext, pack_body, unpack_body
from instanter.keeper.contacts import CONTACT_OF, note_contact
from instanter.keeper.decisions import DAY_NS, S_NS, DecisionArchive, Try
from instanter.keeper.forgotten import lacks_contact, lacks_profile
from instanter.keeper.learning_inputs import CurrentProfiles, LearningInputs
from instanter.keeper.records import RecordKind
from instanter.limits import EXPIRED_KEYS_PER_RECORD, OUTCOME_FUTURE_NS_MAX
from instanter.store.arm_figures import add_figures
from instanter.store.databases import OUTCOME_MARKS
from instanter.store.decision_index import DECISION_QUEUE, expire_key
from instanter.store.expiry import drop_expired, expiry_hour
from instanter.store.log.frames import LogRecord
from instanter.store.outcomes import (
    Mark,
    Presentation,
    Waiting,
    delete_waiting,
    load_mark,
    mark_key,
    put_mark,
    put_waiting,
)
from instanter.store.transaction import Transaction

_EFFECT = slice(9, 16)
"""Where an entry has its effect; see `_Attribution`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one offer of one decision.

    Attributes
    ----------
    decision_id
        16 bytes.
    customer_id
        Whose decision it is said to be.
    offer
        Name of the offer; empty for a conversion in the holdout.
    kind
        What happened.
    time_ns
        When, nanoseconds since 1970; None for now.
    value_minor
        Its worth in minor units; None for what the offer was worth in the decision.
    """

    decision_id: bytes
    customer_id: str
    offer: str
    kind: OutcomeKind
    time_ns: int | None
    value_minor: int | None


@dataclass(frozen=True, slots=True, eq=False)
class RecordOutcomes:
    """Records outcomes; its result is their states, in order.

    Attributes
    ----------
    outcomes
        What is recorded, in this order.
    archive
        Finds the decisions.
    inputs
        Finds what there was to learn from.
    unsettled
        Places of those that a decision whose record is on its way may turn into others; filled
        when the command is prepared.
    """

    outcomes: tuple[Outcome, ...]
    archive: DecisionArchive
    inputs: LearningInputs
    unsettled: set[int] = field(default_factory=set)

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.OUTCOMES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Attribute each outcome, and return the body of the record when one of them counts.

        Raises
        ------
        CatalogueMissingError
            No catalogue has been published.
        InvalidFieldError
            An outcome is too far in the future.
        """
        catalogue = context.published.load(transaction)
        if catalogue is None:
            raise CatalogueMissingError
        for index, outcome in enumerate(self.outcomes):
            _check_time(outcome, now_ns, index)
        attribution = _Attribution(transaction, now_ns, catalogue, self.archive, self.inputs)
        states = [attribution.take(outcome) for outcome in self.outcomes]
        self.unsettled.clear()
        self.unsettled.update(
            place
            for place, outcome in enumerate(self.outcomes)
            if attribution.may_change(states[place], outcome.decision_id)
        )
        if not attribution.entries:
            return Answered(tuple(states))
        return pack_body(
            {
                "states": bytes(states),
                "hour": expiry_hour(now_ns + catalogue.outcome_rules.accept_s * S_NS),
                "plan": attribution.plan_digest,
                "half_life": catalogue.learning_rules.half_life_labels,
                "entries": attribution.entries,
            }
        )


def _check_time(outcome: Outcome, now_ns: int, index: int) -> None:
    if outcome.time_ns is not None and outcome.time_ns > now_ns + OUTCOME_FUTURE_NS_MAX:
        raise InvalidFieldError(
            f"outcomes[{index}].outcome_time",
            f"{(outcome.time_ns - now_ns) / S_NS:,.0f} s ahead of the server's clock",
            f"at most {OUTCOME_FUTURE_NS_MAX // S_NS} s ahead",
            reason="OUTCOME_TIME_INVALID",
        )


class _Attribution:
    """Attributes the outcomes of one command, each knowing those before it."""

    def __init__(
        self,
        transaction: Transaction,
        now_ns: int,
        catalogue: CompiledCatalogue,
        archive: DecisionArchive,
        inputs: LearningInputs,
    ) -> None:
        self._transaction = transaction
        self._now_ns = now_ns
        self._catalogue = catalogue
        self._archive = archive
        self._inputs = inputs
        learns = catalogue.learning_rules.enabled
        self._plan = inputs.load_plan(transaction) if learns else None
        self._decisions: dict[bytes, list[Try]] = {}
        self._profiles = CurrentProfiles(transaction, catalogue.schema.profile_slot_count)
        # As they are stored, and as they are after the outcomes before.
        self._stored_marks: dict[tuple[bytes, str], Mark] = {}
        self._marks: dict[tuple[bytes, str], Mark] = {}
        self._bins: dict[tuple[bytes, int], bytes | None] = {}
        self.entries: list[list[Any]] = []

    @property
    def plan_digest(self) -> bytes:
        """Names the plan that the entries' bins are of; empty when there are none."""
        return b"" if self._plan is None else self._plan[1]

    def take(self, outcome: Outcome) -> OutcomeState:
        """Return whether an outcome counts, and add an entry for one that does."""
        decision_id = outcome.decision_id
        if decision_id not in self._decisions:
            self._decisions[decision_id] = self._find_tries(decision_id)
        tries = self._decisions[decision_id]
        if not tries:
            return OutcomeState.DECISION_UNKNOWN
        if tries[0].decision.customer_id != outcome.customer_id:
            return OutcomeState.CUSTOMER_MISMATCH
        # Retries may have listed other offers; what was shown is one of the lists.
        tries = [one for one in tries if _has_offer(one.decision, outcome)]
        if not tries:
            return OutcomeState.OFFER_MISMATCH
        time_ns = self._now_ns if outcome.time_ns is None else outcome.time_ns
        first = next((one for one in tries if one.decision.time_ns <= time_ns), None)
        if first is None:
            return OutcomeState.TOO_EARLY
        decision = first.decision
        # By the log's time, as now is: a clock that was put back makes no decision any older.
        if self._now_ns > first.recorded_ns + self._catalogue.outcome_rules.accept_s * S_NS:
            return OutcomeState.TOO_LATE
        mark = self._load_mark(decision_id, outcome.offer)
        if mark.has(outcome.kind):
            return OutcomeState.DUPLICATE
        self._add(outcome, decision, decision.find_offer(outcome.offer), time_ns, mark)
        return OutcomeState.RECORDED

    def may_change(self, state: OutcomeState, decision_id: bytes) -> bool:
        """Return whether the record of a decision, or of a later try of it, may change a state.

        One that is too late is so at once: an id that is used again after weeks, and answered
        within milliseconds, is no reason to let every call with an old outcome wait.
        """
        if state == OutcomeState.OFFER_MISMATCH:
            return bool(self._decisions[decision_id][0].decision.request_id)
        return state == OutcomeState.DECISION_UNKNOWN

    def _find_tries(self, decision_id: bytes) -> list[Try]:
        found: list[Try] = []
        # One damaged record must not hold up the outcomes of others; what was found before stays.
        with contextlib.suppress(DamagedError):
            found.extend(self._archive.find_tries(self._transaction, decision_id))
        return found

    def _load_mark(self, decision_id: bytes, offer: str) -> Mark:
        key = decision_id, offer
        if key not in self._marks:
            self._marks[key] = self._stored_marks[key] = load_mark(
                self._transaction, decision_id, offer
            )
        return self._marks[key]

    def _add(
        self,
        outcome: Outcome,
        decision: RecordedDecision,
        offer: ListedOffer | None,
        time_ns: int,
        mark: Mark,
    ) -> None:
        """Add the entry of an outcome that counts."""
        value_minor = outcome.value_minor
        if value_minor is None:
            value_minor = 0 if offer is None else offer.value_minor
        # Later than now in any case: what is due can be read out of the log.
        wait_ns = self._catalogue.outcome_rules.wait_s * S_NS
        due_ns = max(time_ns + wait_ns, self._now_ns + 1)
        take = partial(
            take_outcome,
            mark,
            outcome.kind,
            value_minor,
            due_ns,
            at_once=self._catalogue.learning_rules.negative_at_once,
        )
        effect = take()
        teaches = effect.label != LABEL_NONE or effect.begun_wait_ns
        forgotten = self._is_forgotten(decision, outcome.offer)
        bins = None
        if teaches and offer is not None and not forgotten:
            bins = self._find_bins(decision)
        if bins is None:
            effect = take(teachable=False)
        self._marks[decision.decision_id, outcome.offer] = effect.mark
        declared = self._inputs.find_offer(self._catalogue, outcome.offer)
        self.entries.append(
            [
                decision.decision_id,
                # Whoever was deleted since gets no new contact, and no place in the log.
                "" if forgotten else decision.customer_id,
                outcome.offer,
                int(outcome.kind),
                time_ns,
                decision.time_ns // DAY_NS,
                decision.arm,
                decision.channel,
                "" if declared is None else declared.group,
                *_pack_effect(effect),
                0.5 if declared is None else declared.prior_propensity,
                bins,
            ]
        )

    def _is_forgotten(self, decision: RecordedDecision, offer: str) -> bool:
        """Return whether the decision's customer was deleted since, as far as there is a trace."""
        decision_id = decision.decision_id
        # What this command itself tells is not applied yet.
        mark = self._stored_marks[decision_id, offer]
        return lacks_profile(self._profiles, decision) or (
            mark.has(OutcomeKind.PRESENTED)
            and lacks_contact(
                self._transaction,
                decision.customer_id,
                decision_id=decision_id,
                offer=offer,
                presented_ns=decision.time_ns,
            )
        )

    def _find_bins(self, decision: RecordedDecision) -> bytes | None:
        key = decision.decision_id, decision.time_ns
        if key not in self._bins:
            self._bins[key] = (
                None
                if self._plan is None
                else self._inputs.find_bins(
                    self._profiles, self._plan[0], self._catalogue.schema, decision
                )
            )
        return self._bins[key]


def _has_offer(decision: RecordedDecision, outcome: Outcome) -> bool:
    return decision.find_offer(outcome.offer) is not None or _is_holdout_conversion(
        outcome, decision
    )


def _is_holdout_conversion(outcome: Outcome, decision: RecordedDecision) -> bool:
    return (
        not outcome.offer and decision.arm == ARM_HOLDOUT and outcome.kind == OutcomeKind.CONVERTED
    )


def _pack_effect(effect: Effect) -> tuple[bytes, int, int, int, int, int, int]:
    return (
        effect.mark.to_bytes(),
        effect.label,
        effect.presented,
        effect.accepted,
        effect.value_minor,
        effect.ended_wait_ns,
        effect.begun_wait_ns,
    )


def apply_outcomes(
    transaction: Transaction, record: LogRecord, context: ApplyContext
) -> tuple[OutcomeState, ...]:
    """Write marks, waits, contacts and figures of a record of outcomes; return their states."""
    del context
    body = unpack_body(record)
    for index, entry in enumerate(body["entries"]):
        decision_id, _, offer, *_ = entry
        mark, _, presented, accepted, value_minor, ended_ns, begun_ns = entry[_EFFECT]
        put_mark(transaction, decision_id, offer, mark)
        known = Mark.from_bytes(mark)
        if known.is_first:
            expire_key(transaction, OUTCOME_MARKS, mark_key(decision_id, offer), body["hour"])
        if ended_ns:
            delete_waiting(transaction, ended_ns, decision_id, offer)
        if begun_ns:
            _begin_wait(transaction, record, index, entry)
        if presented or accepted or value_minor:
            _, _, _, _, _, day, arm, *_ = entry
            new_value = known.value_minor
            add_figures(
                transaction,
                day,
                arm,
                offer,
                presented=presented,
                accepted=accepted,
                value_minor=value_minor,
                value_squares=new_value**2 - (new_value - value_minor) ** 2,
            )
        _note_contact(transaction, entry)
    drop_expired(transaction, DECISION_QUEUE, record.time_ns, EXPIRED_KEYS_PER_RECORD)
    return tuple(map(OutcomeState, body["states"]))


def _begin_wait(transaction: Transaction, record: LogRecord, index: int, entry: list[Any]) -> None:
    """Write down that an answer is waited for, with what the contact needs when none comes.

    What it teaches stays in the log alone: the bins of 1000 predictors would take 2 kB more of the
    store for each wait, and outgrow there the limit that the log's size has.
    """
    decision_id, customer_id, offer, _, time_ns, _, _, channel, group, *_ = entry
    due_ns = entry[_EFFECT][-1]
    seen = Presentation(customer_id, time_ns, channel, group)
    put_waiting(transaction, Waiting(due_ns, decision_id, offer, record.position, index, seen))


def _note_contact(transaction: Transaction, entry: list[Any]) -> None:
    decision_id, customer_id, offer, kind, time_ns, _, _, channel, group, *_ = entry
    contact_kind = CONTACT_OF.get(OutcomeKind(kind))
    if offer and customer_id and contact_kind is not None:
        contact = make_contact(time_ns, offer, group, channel, contact_kind, decision_id)
        note_contact(transaction, customer_id, contact)
