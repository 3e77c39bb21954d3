"""The decision engine: from questions that arrived together to their decisions.

One read transaction for all of them; each profile is copied, checked, into a row of its own, so
that no view of the store outlives the transaction; then one kernel call for the whole turn. The
rows of a turn (64 × 4 kB) stay in the processor's second-level cache.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgpack
import numpy as np

from instanter.clock import Clock
from instanter.decision.answers import Translate, read_decisions
from instanter.decision.decision_ids import name_decisions
from instanter.decision.questions import Decision, Question
from instanter.decision.recording import Recorder, encode_turn
from instanter.decision.reservations import Reservations
from instanter.decision.tables import DecisionTables, with_scores
from instanter.decision.turn_contacts import NO_CONTACTS
from instanter.decision.turn_rows import TurnRows
from instanter.errors import CatalogueMissingError, InstanterError, InvalidFieldError
from instanter.kernels.turns import decide_batch
from instanter.limits import BATCH_TURN_MAX
from instanter.store.profiles import ProfileState
from instanter.store.records import key_of
from instanter.store.transaction import Readable, Transaction

_DAMAGED = int(ProfileState.DAMAGED)

T = TypeVar("T")

CallLater = Callable[[Callable[[], None]], object]


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
    call_later
        Calls a function soon, on this thread, when the answers are on their way: turns are
        recorded then. None to record each before it is answered.
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
        call_later: CallLater | None = None,
    ) -> None:
        self._environment = environment
        self._clock = clock
        self._prefix = bytes.fromhex(decision_id_prefix)
        self._turns = itertools.count(1)
        self._record = record
        self._pack = msgpack.Packer().pack
        self._reservations = Reservations() if reservations is None else reservations
        self._on_damaged = on_damaged
        self._installed: tuple[DecisionTables, TurnRows] | None = None
        self._learned: tuple[int, Any] = (-1, None)
        self._call_later = call_later
        self._unrecorded: Callable[[], bytes] | None = None

    @property
    def tables(self) -> DecisionTables | None:
        """The tables that decide now, or None before the first publication."""
        return self._installed[0] if self._installed else None

    def install(self, tables: DecisionTables) -> None:
        """Use these tables from the next call of `decide` on; may be called on any thread.

        Tables and their rows change hands as one reference, so that a decision on another thread
        sees the old pair or the new one, never half of each.
        """
        self._installed = (tables, TurnRows(tables, self._reservations))

    def decide(self, questions: Sequence[Question]) -> list[Decision | InstanterError]:
        """Do what `decide_as` does, with decisions as answers."""
        return self.decide_as(questions, read_decisions)

    def decide_as(
        self, questions: Sequence[Question], translate: Translate[T]
    ) -> list[T | InstanterError]:
        """Decide what arrived together, in one read transaction and at one moment.

        Parameters
        ----------
        questions
            Any number; a mistake in one of them is the answer to that one alone.
        translate
            Makes the answers of each turn.

        Returns
        -------
        list
            For each question its answer or its error, in order.
        """
        installed = self._installed
        if installed is None:
            error = CatalogueMissingError()
            return [error for _ in questions]
        tables, rows = installed
        now_ns = self._clock.now_ns()
        answers: list[T | InstanterError] = [_PENDING] * len(questions)
        with self._environment.read() as transaction:
            for start in range(0, len(questions), BATCH_TURN_MAX):
                places = range(start, min(start + BATCH_TURN_MAX, len(questions)))
                turn: Sequence[int] = places
                while turn:
                    turn = self._decide_turn(
                        tables, rows, transaction, questions, turn, now_ns, translate, answers
                    )
        return answers

    def _decide_turn(
        self,
        tables: DecisionTables,
        rows: TurnRows,
        transaction: Transaction,
        questions: Sequence[Question],
        places: Sequence[int],
        now_ns: int,
        translate: Translate[T],
        answers: list[T | InstanterError],
    ) -> list[int]:
        """Decide the questions at these places, at most BATCH_TURN_MAX, and write their answers.

        Returns
        -------
        list of int
            The places of those that must wait for another turn: under a contact policy, a
            customer's second decision must know the first.
        """
        self._settle()
        accepted: list[int] = []
        asked: list[Question] = []
        waiting: list[int] = []
        contacts = rows.contacts
        rows.clear(len(places))
        for place in places:
            question = questions[place]
            key = key_of(question.customer_id)
            if contacts is not None and contacts.has(key):
                waiting.append(place)
                continue
            row = len(accepted)
            try:
                rows.fill(tables, row, question)
            except InvalidFieldError as error:
                answers[place] = error
                continue
            state, good = rows.read(transaction, row, key)
            if state == _DAMAGED:
                self._on_damaged(question.customer_id)
            if not good:
                self._on_damaged(question.customer_id)
            accepted.append(place)
            asked.append(question)
        if not accepted:
            return waiting
        if rows.derived is not None:
            rows.derived.evaluate(now_ns / 1e9, rows.slots)
        if rows.stock is not None:
            rows.stock.fill(transaction, len(asked), rows.slots, rows.context)
        number = next(self._turns)
        decision_ids = name_decisions(self._prefix, number, asked, rows.context)
        generation, tables = self._run(tables, rows, asked, decision_ids, now_ns)
        found = translate(tables, asked, rows, decision_ids)
        for place, answer in zip(accepted, found, strict=True):
            answers[place] = answer
        if self._record is not None:
            self._unrecorded = partial(
                encode_turn,
                tables,
                asked,
                rows,
                decision_ids,
                prefix=self._prefix,
                turn=number,
                now_ns=now_ns,
                generation=generation,
                pack=self._pack,
            )
            if self._call_later is None:
                self._settle()
            else:
                self._call_later(self._settle)
        return waiting

    def _settle(self) -> None:
        """Record the turn that is not recorded yet, if there is one, before its rows are reused."""
        encode, self._unrecorded = self._unrecorded, None
        if encode is not None and self._record is not None:
            self._record(encode())

    def _run(
        self,
        tables: DecisionTables,
        rows: TurnRows,
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


def seed_of(decision_id: bytes) -> int:
    """Return what chance is drawn from in a decision: a uint64 of its id of 16 bytes."""
    return int.from_bytes(decision_id[:8]) ^ int.from_bytes(decision_id[8:])


_NO_IDS = np.zeros(0, np.uint8)
"""Stands for the customers' ids where there are no arms, which alone need them."""

_PENDING: Any = object()
"""Stands in the answers for a decision that is yet to be made."""


def _run_kernel(
    tables: DecisionTables,
    rows: TurnRows,
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
            held = contacts.fill(rows.asked, asked, decision_ids, now_ns)
        if rows.stock is not None:
            held = rows.stock.add_to(held)
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
