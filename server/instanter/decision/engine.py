"""The decision engine: from questions that arrived together to their decisions.

One read transaction for all of them; each profile is copied, checked, into a row of its own, so
that no view of the store outlives the transaction; then one kernel call for the whole turn. The
rows of a turn (64 × 4 kB) stay in the processor's second-level cache.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from instanter.catalogue.schema import MISSING_CODE
from instanter.catalogue.values import encode_value
from instanter.clock import Clock
from instanter.decision.derived_rows import DerivedRows
from instanter.decision.questions import Arm, Decision, NoOfferReason, Question, RankedOffer
from instanter.decision.recording import (
    Recorder,
    encode_turn,
    format_decision_id,
    hash_request,
)
from instanter.decision.reservations import Reservations
from instanter.decision.tables import DecisionTables, with_scores
from instanter.decision.turn_contacts import NO_CONTACTS, make_turn_contacts
from instanter.errors import InstanterError, InvalidFieldError, PreconditionError, nearest
from instanter.kernels.arbitration import (
    REASON_COOLING_OFF,
    REASON_NO_CONSENT,
    REASON_NO_PRIORITY,
    REASON_NO_TREATMENT,
    REASON_NOT_CURRENT,
)
from instanter.kernels.decision import (
    ASKED_COUNT,
    ASKED_STATE,
    ASKED_SURFACE,
    ASKED_WANTED,
    LISTED_COUNT,
    TOLD_COUNT,
    decide_batch,
)
from instanter.limits import BATCH_TURN_MAX, OFFER_COUNT_MAX
from instanter.store.activity import DAMAGED_ACTIVITY, copy_activity
from instanter.store.profiles import ProfileState, copy_slots
from instanter.store.records import key_of
from instanter.store.transaction import Readable, Transaction

_KNOWN = int(ProfileState.KNOWN)
_DAMAGED = int(ProfileState.DAMAGED)


class _Rows:
    """The arrays of one turn, made once for one set of tables and used again and again."""

    __slots__ = (
        "asked",
        "contacts",
        "context",
        "derived",
        "id_start",
        "listed",
        "revisions",
        "seed",
        "slots",
        "told",
    )

    def __init__(self, tables: DecisionTables, reservations: Reservations) -> None:
        count = BATCH_TURN_MAX
        self.slots = np.full((count, tables.profile_slot_count), MISSING_CODE, np.uint32)
        self.context = np.full((count, tables.context_slot_count), MISSING_CODE, np.uint32)
        self.asked = np.zeros((count, ASKED_COUNT), np.int32)
        self.revisions = np.zeros(count, np.int64)
        self.seed = np.zeros(count, np.uint64)
        self.contacts = make_turn_contacts(tables, reservations)
        self.derived = None if tables.derivations.is_empty else DerivedRows(tables.derivations)
        self.id_start = np.zeros(count + 1, np.int32)
        self.told = np.zeros((count, TOLD_COUNT), np.int32)
        self.listed = np.zeros((count, OFFER_COUNT_MAX, LISTED_COUNT))


class DecisionEngine:
    """Decides on one store, with the tables installed last. `decide` belongs to one thread.

    Parameters
    ----------
    environment
        The store that holds the profiles.
    clock
        Tells the moment that rules and validity dates are checked at.
    decision_id_prefix
        16 hex digits, different for every process that decides, so that ids never meet.
    on_damaged
        Called with the customer's id for each record that was found damaged and not used.
    record
        Takes what each turn leaves in the log; None when decisions are not recorded.
    reservations
        What capped offers have been listed a moment ago, shared by all engines of the process;
        None for an engine that is alone.
    """

    def __init__(
        self,
        environment: Readable,
        clock: Clock,
        *,
        decision_id_prefix: str,
        on_damaged: Callable[[str], None],
        record: Recorder | None = None,
        reservations: Reservations | None = None,
    ) -> None:
        self._environment = environment
        self._clock = clock
        self._prefix = bytes.fromhex(decision_id_prefix)
        self._turns = itertools.count(1)
        self._record = record
        self._reservations = Reservations() if reservations is None else reservations
        self._on_damaged = on_damaged
        self._installed: tuple[DecisionTables, _Rows] | None = None
        self._learned: tuple[int, Any] = (-1, None)

    @property
    def tables(self) -> DecisionTables | None:
        """The tables that decide now, or None before the first publication."""
        return self._installed[0] if self._installed else None

    def install(self, tables: DecisionTables) -> None:
        """Use these tables from the next call of `decide` on; may be called on any thread.

        Tables and their rows change hands as one reference, so that a decision on another thread
        sees the old pair or the new one, never half of each.
        """
        self._installed = (tables, _Rows(tables, self._reservations))

    def decide(self, questions: Sequence[Question]) -> list[Decision | InstanterError]:
        """Decide what arrived together, in one read transaction and at one moment.

        Parameters
        ----------
        questions
            Any number; a mistake in one of them is the answer to that one alone.

        Returns
        -------
        list
            For each question its decision or its error, in order.
        """
        installed = self._installed
        if installed is None:
            error = PreconditionError(
                "no catalogue has been published yet; publish one with `instanter apply -f FOLDER`",
                reason="CATALOGUE_MISSING",
            )
            return [error for _ in questions]
        tables, rows = installed
        now_ns = self._clock.now_ns()
        answers: list[Decision | InstanterError] = [_PENDING] * len(questions)
        with self._environment.read() as transaction:
            for start in range(0, len(questions), BATCH_TURN_MAX):
                places = range(start, min(start + BATCH_TURN_MAX, len(questions)))
                turn: Sequence[int] = places
                while turn:
                    turn = self._decide_turn(
                        tables, rows, transaction, questions, turn, now_ns, answers
                    )
        return answers

    def _decide_turn(
        self,
        tables: DecisionTables,
        rows: _Rows,
        transaction: Transaction,
        questions: Sequence[Question],
        places: Sequence[int],
        now_ns: int,
        answers: list[Decision | InstanterError],
    ) -> list[int]:
        """Decide the questions at these places, at most BATCH_TURN_MAX, and write their answers.

        Returns
        -------
        list of int
            The places of those that must wait for another turn: under a contact policy, a
            customer's second decision must know the first.
        """
        accepted: list[int] = []
        waiting: list[int] = []
        contacts = rows.contacts
        if contacts is not None:
            contacts.clear()
        if rows.derived is not None:
            rows.derived.clear()
        needs_activity = contacts is not None or rows.derived is not None
        for place in places:
            question = questions[place]
            row = len(accepted)
            key = key_of(question.customer_id)
            if contacts is not None and contacts.has(key):
                waiting.append(place)
                continue
            try:
                _fill_request(tables, rows, row, question)
            except InvalidFieldError as error:
                answers[place] = error
                continue
            rows.revisions[row] = 0
            state = int(copy_slots(transaction, key, rows.slots[row], rows.revisions, row))
            if state == _DAMAGED:
                self._on_damaged(question.customer_id)
            if needs_activity and not _add_activity(rows, key, transaction):
                self._on_damaged(question.customer_id)
            rows.asked[row, ASKED_STATE] = state
            accepted.append(place)
        if not accepted:
            return waiting
        if rows.derived is not None:
            rows.derived.evaluate(now_ns / 1e9, rows.slots)
        number = next(self._turns)
        asked = [questions[place] for place in accepted]
        decision_ids = [self._name_decision(q, number, row) for row, q in enumerate(asked)]
        generation, tables = self._run(tables, rows, asked, decision_ids, now_ns)
        for row, place in enumerate(accepted):
            answers[place] = _read_decision(tables, rows, row, asked[row], decision_ids[row])
        if self._record is not None:
            body = encode_turn(
                tables,
                asked,
                rows,
                prefix=self._prefix,
                turn=number,
                now_ns=now_ns,
                generation=generation,
            )
            self._record(body)
        return waiting

    def _run(
        self,
        tables: DecisionTables,
        rows: _Rows,
        asked: Sequence[Question],
        decision_ids: Sequence[bytes],
        now_ns: int,
    ) -> tuple[int, DecisionTables]:
        """Decide the filled rows by what has been learned up to now.

        Returns
        -------
        tuple
            Generation of the live table, 0 without one, and the tables that decided.
        """
        live = tables.live
        if live is None:
            _run_kernel(tables, rows, asked, decision_ids, now_ns)
            return 0, tables
        while True:
            generation = live.generation
            if generation != self._learned[0] or self._learned[1].live is not live:
                learned = with_scores(tables, live.view(generation))
                if not live.holds(generation):
                    continue
                self._learned = (generation, learned)
            learned = self._learned[1]
            _run_kernel(learned, rows, asked, decision_ids, now_ns)
            # The weights are not copied: learning may have overtaken the kernel.
            if live.holds(generation):
                return generation, learned

    def _name_decision(self, question: Question, number: int, row: int) -> bytes:
        """Return a new decision id, or for a retry the id that the first try got."""
        if question.request_id:
            return hash_request(question.customer_id, question.request_id)
        return format_decision_id(self._prefix, number, row)


def seed_of(decision_id: bytes) -> int:
    """Return what chance is drawn from in a decision: a uint64 of its id of 16 bytes."""
    return int.from_bytes(decision_id[:8]) ^ int.from_bytes(decision_id[8:])


_NO_IDS = np.zeros(0, np.uint8)
"""Stands for the customers' ids where there are no arms, which alone need them."""

_PENDING: Any = object()
"""Stands in the answers for a decision that is yet to be made."""


def _add_activity(rows: _Rows, key: bytes, transaction: Transaction) -> bool:
    """Give the next row its customer's activity; return whether the record is undamaged."""
    sections = copy_activity(transaction, key)
    if rows.derived is not None:
        rows.derived.add(sections)
    if rows.contacts is not None:
        return rows.contacts.add(key, sections)
    return sections is not DAMAGED_ACTIVITY


def _read_decision(
    tables: DecisionTables, rows: _Rows, row: int, question: Question, decision_id: bytes
) -> Decision:
    """Turn one row of the kernel's output into a decision."""
    held, count, arm, *reasons = rows.told[row].tolist()
    state = int(rows.asked[row, ASKED_STATE])
    exclusions: list[tuple[int, int]] = []
    no_offer = int(NoOfferReason.UNSPECIFIED)
    if count < question.offer_count and not held:
        exclusions = [(stage, reasons[stage]) for stage in _STAGES if reasons[stage]]
        if not count:
            no_offer = _explain_nothing(reasons, len(tables.offers))
    elif held:
        no_offer = int(NoOfferReason.HOLDOUT)
    return Decision(
        decision_id.hex(),
        _list_offers(tables, rows, row, count, tables.reasons[arm == Arm.RANDOM][state == _KNOWN]),
        no_offer,
        state,
        bool(held),
        tables.catalogue.revision,
        tables.score_table.revision,
        exclusions,
        arm,
    )


_STAGES = (
    *range(1, REASON_NO_PRIORITY),
    *range(REASON_NO_CONSENT, REASON_COOLING_OFF + 1),
    REASON_NO_PRIORITY,
)
"""The reasons in the order in which they are looked for."""


def _fill_request(tables: DecisionTables, rows: _Rows, row: int, question: Question) -> None:
    """Write a question's surface, count and context into a row; raise when one is wrong."""
    surface = tables.surfaces.get((question.channel, question.placement))
    if surface is None:
        raise _surface_error(tables, question)
    rows.asked[row, ASKED_SURFACE] = surface
    rows.asked[row, ASKED_WANTED] = question.offer_count
    if tables.context_slot_count:
        rows.context[row] = MISSING_CODE
    for name, value in question.context.items():
        field = f'context["{name}"]'
        attribute = tables.context.get(name)
        if attribute is None:
            raise _context_error(tables, name, field)
        rows.context[row, attribute.slot] = encode_value(attribute, value, field)


def _surface_error(tables: DecisionTables, question: Question) -> InvalidFieldError:
    """Say which of channel and placement is not declared, and what is."""
    channels = tables.catalogue.channels
    placements = channels.get(question.channel)
    if placements is None:
        return InvalidFieldError(
            "channel",
            question.channel,
            _expect("a declared channel", question.channel, channels),
            reason="CHANNEL_UNKNOWN",
        )
    return InvalidFieldError(
        "placement",
        question.placement,
        _expect(f"a placement of channel '{question.channel}'", question.placement, placements),
        reason="PLACEMENT_UNKNOWN",
    )


def _context_error(tables: DecisionTables, name: str, field: str) -> InvalidFieldError:
    """Say that a context attribute is not declared, and what would be right."""
    expected = _expect("a context attribute of the schema", name, tables.context)
    if name in tables.catalogue.schema.loaded:
        expected = "a context attribute; this one is loaded and cannot be given in a request"
    elif name in tables.catalogue.schema.derived:
        expected = "a context attribute; this one is derived from events"
    return InvalidFieldError(field, name, expected, reason="ATTRIBUTE_UNKNOWN")


def _expect(what: str, given: str, names: Sequence[str] | dict[str, Any]) -> str:
    """Describe what would be right, with the nearest name or else the first few."""
    near = nearest(given, names)
    if near:
        return f"{what}; did you mean '{near}'?"
    listed = ", ".join(f"'{name}'" for name in itertools.islice(names, 8))
    return f"{what}: {listed}" if listed else f"{what}, but none is declared"


def _run_kernel(
    tables: DecisionTables,
    rows: _Rows,
    asked: Sequence[Question],
    decision_ids: Sequence[bytes],
    now_ns: int,
) -> None:
    """Decide the filled rows with one kernel call, and again while others decide for them too."""
    ids = _NO_IDS
    if tables.draws_arms:
        encoded = [question.customer_id.encode() for question in asked]
        ids = np.frombuffer(b"".join(encoded), np.uint8)
        end = 0
        for row, customer_id in enumerate(encoded):
            end += len(customer_id)
            rows.id_start[row + 1] = end
    if tables.draws_choices:
        rows.seed[: len(asked)] = [seed_of(decision_id) for decision_id in decision_ids]
    contacts = rows.contacts
    while True:
        held = NO_CONTACTS
        if contacts is not None:
            held = contacts.fill(rows.asked, decision_ids, now_ns)
        decide_batch(
            len(asked),
            now_ns / 1e9,
            ids,
            rows.id_start,
            rows.slots,
            rows.context,
            rows.asked,
            rows.seed,
            held,
            *tables.kernel_arguments,
            rows.told,
            rows.listed,
        )
        if contacts is None or contacts.reserve(rows.asked, rows.told, rows.listed, now_ns):
            return


def _list_offers(
    tables: DecisionTables,
    rows: _Rows,
    row: int,
    count: int,
    reasons: tuple[tuple[tuple[int, ...], ...], ...],
) -> list[RankedOffer]:
    """List the offers of one row, best first."""
    if not count:
        return []
    names = tables.treatment_names[rows.asked[row, ASKED_SURFACE]]
    offers = tables.offers
    found = []
    for place, priority, propensity, weight, weighted, choice in rows.listed[row, :count].tolist():
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


def _explain_nothing(counts: list[int], offer_count: int) -> int:
    """Say why no offer is left: the stage that the last offers fell at."""
    if counts[REASON_NOT_CURRENT] + counts[REASON_NO_TREATMENT] == offer_count:
        return int(NoOfferReason.NO_CURRENT_OFFER)
    if counts[REASON_NO_PRIORITY]:
        return int(NoOfferReason.NO_PRIORITY)
    if any(counts[REASON_NO_CONSENT : REASON_COOLING_OFF + 1]):
        return int(NoOfferReason.CONTACT_POLICY)
    return int(NoOfferReason.NO_ELIGIBLE_OFFER)
