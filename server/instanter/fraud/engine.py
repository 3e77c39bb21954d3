"""The engine of the check at the till: assesses transactions, counts them, learns from labels.

No clock, no randomness and nothing of the store: all follows from the catalogue, the transaction
and what the book says. Whatever is missing or fails ends in the stand-in table, never in an
approval that nobody declared.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.fraud_plan import ATTEMPT, LABEL
from instanter.catalogue.fraud_words import Disposition, ListKind, StandInCause
from instanter.catalogue.schema import MISSING_CODE
from instanter.catalogue.values import AttributeValue, decode_value
from instanter.fraud.book import Book
from instanter.fraud.checks import check_transaction, encode_fields
from instanter.fraud.encoding import encode_transaction, mark_approved, mark_fraud
from instanter.fraud.hotlists import ReportFailure, find_list_causes, find_listed
from instanter.fraud.model import FraudLearner
from instanter.fraud.questions import (
    Assessment,
    CountedTransaction,
    TerminalRisk,
    Transaction,
)
from instanter.fraud.scoring import Scorer
from instanter.fraud.states import EntityStates
from instanter.fraud.tables import FraudTables, make_tables
from instanter.fraud.verdicts import (
    Scored,
    Verdict,
    combine,
    find_limit,
    find_stand_in,
    judge,
    list_reasons,
)
from instanter.fraud.withdrawal import withdraw_label

_NO_MODEL: Final = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Installed:
    """One catalogue, and the parts that work by it."""

    tables: FraudTables
    states: EntityStates
    scorer: Scorer
    learner: FraudLearner | None


def _take_note(error: Exception) -> None:
    """Do no more about a failure than answering by the stand-in table, as a back-test does."""
    del error


class FraudEngine:
    """Assesses by the catalogue installed last. Belongs to one thread.

    Parameters
    ----------
    report
        Takes what failed unexpectedly, for a log; the transaction is answered by the stand-in
        table, and its causes say so.
    """

    __slots__ = ("_installed", "_report")

    def __init__(self, report: ReportFailure = _take_note) -> None:
        self._report = report
        self._installed: _Installed | None = None

    def install(self, catalogue: CompiledCatalogue) -> bool:
        """Use a catalogue from now on; return False, soon, when it is the one in use already.

        Raises
        ------
        PreconditionError
            It declares no check at the till; reason FRAUD_NOT_DECLARED.
        """
        installed = self._installed
        if installed is not None and installed.tables.catalogue is catalogue:
            return False
        tables = make_tables(catalogue)
        states = EntityStates(tables)
        learner = FraudLearner(tables) if tables.policy.model is not None else None
        self._installed = _Installed(tables, states, Scorer(tables, states), learner)
        return True

    @property
    def tables(self) -> FraudTables:
        """The catalogue in use, as the engine uses it."""
        return self._in_use().tables

    def find_model(self, book: Book) -> NDArray[np.float32]:
        """Return the state of the model, float32[n], empty when it has learned nothing.

        Raises
        ------
        DamagedError
            It is not what was written.
        """
        learner = self._in_use().learner
        return _NO_MODEL if learner is None else learner.read(book)

    def assess(
        self,
        transaction: Transaction,
        book: Book,
        *,
        now_ns: int,
        deadline_short: bool = False,
        fields: list[int] | None = None,
    ) -> Assessment:
        """Return what a transaction is answered; writes nothing.

        Parameters
        ----------
        transaction
            As its terminal asks.
        book
            What is known.
        now_ns
            The server's time, nanoseconds since 1970: transactions that are ahead of it, or too
            far from it, are assessed as of it.
        deadline_short
            Whether there is no time for rules.
        fields
            The patterns of the declared fields, when they are known; None to encode what the
            transaction has, all of which has to fit.

        Raises
        ------
        InvalidFieldError
            Something of the transaction cannot be.
        """
        installed = self._in_use()
        tables, scorer = installed.tables, installed.scorer
        digits = check_transaction(transaction)
        if fields is None:
            fields = []
            if tables.field_count or transaction.fields:
                fields = encode_fields(
                    transaction.fields, tables.fields, tables.fields_required, tables.field_count
                )
        causes: list[StandInCause] = []
        time_ns = _find_time(tables, transaction.time_ns, now_ns, causes)
        place = _find_place(tables, transaction, causes)
        hotlists, failed = find_listed(transaction, book, time_ns, self._report)
        if failed:
            causes.append(StandInCause.HOTLIST_MISSING)
        if tables.policy.settings.hotlists.expected:
            causes += find_list_causes(tables, book, now_ns, self._report)
        event = encode_transaction(
            transaction, digits=digits, has_place=place is not None, time_ns=time_ns, now_ns=now_ns
        )
        scorer.begin(event, fields)
        scored: Scored | None = None
        verdict: Verdict | None = None
        if deadline_short:
            causes.append(StandInCause.DEADLINE_SHORT)
        else:
            try:
                scored = scorer.score(
                    transaction, book, place=place, time_ns=time_ns, digits=digits, causes=causes
                )
                if installed.learner is not None:
                    scored.features = installed.learner.gather(scorer.figures)
                    scored.probability, scored.model_points = installed.learner.predict(
                        book, causes
                    )
                limit = find_limit(tables.limits, transaction.merchant, transaction.amount_minor)
                verdict = judge(tables, scored, limit)
            # Whatever it is: the transaction gets an answer, and that is no approval.
            except Exception as error:  # noqa: BLE001
                self._report(error)
                scored = verdict = None
                failed = True
                causes.append(StandInCause.STATE_DAMAGED)
        answer = _Answer(causes, hotlists, scored, verdict, place, time_ns, failed)
        return self._make_assessment(transaction, answer)

    def count(self, counted: CountedTransaction, book: Book) -> None:
        """Count an assessed transaction in the states of its entities.

        Parameters
        ----------
        counted
            From its assessment, or from its record.
        book
            Is written.
        """
        states = self._in_use().states
        states.count(counted, book.find_state, book.put_state, ATTEMPT, counted.event)

    def label(self, counted: CountedTransaction, book: Book, *, fraud: bool) -> None:
        """Count what became of a transaction, at the transaction's time, and learn from it.

        Parameters
        ----------
        counted
            From its assessment, or from its row.
        book
            Is written.
        fraud
            Whether it was fraud.
        """
        event = mark_fraud(counted.event, fraud=fraud)
        installed = self._in_use()
        installed.states.count(counted, book.find_state, book.put_state, LABEL, event)
        if installed.learner is not None:
            installed.learner.learn(counted, book, fraud=fraud)

    def relabel(self, counted: CountedTransaction, book: Book, *, fraud: bool) -> None:
        """Count the opposite of the label that was counted before, and that one no longer.

        What the model has learned from the first label stays; it learns the second one too.

        Parameters
        ----------
        counted, book
            As for `label`.
        fraud
            Whether it was fraud, as is known now.
        """
        event = mark_fraud(counted.event, fraud=not fraud)
        withdraw_label(self._in_use().states, counted, book, event)
        self.label(counted, book, fraud=fraud)

    def suggest_terminal(self, terminal: str, book: Book, time_ns: int) -> TerminalRisk | None:
        """Return the risk of a terminal that should be put on the hotlist, or None.

        Parameters
        ----------
        terminal, book
            Its name, and what is known.
        time_ns
            The moment, nanoseconds since 1970.
        """
        installed = self._in_use()
        rule = installed.tables.policy.settings.compromised_terminal
        risk = installed.scorer.measure_terminal(terminal, book, time_ns)
        if risk.label_count < rule.labels_min or risk.fraud_rate < rule.suggest_rate:
            return None
        return risk

    def describe(self, figures: bytes) -> tuple[tuple[str, AttributeValue], ...]:
        """Return the figures that are there, by the names that rules have for them.

        Parameters
        ----------
        figures
            Of an assessment by the catalogue in use.
        """
        patterns = np.frombuffer(figures, np.uint32).tolist()
        named = []
        for name, attribute in self._in_use().tables.figure_names:
            pattern = patterns[attribute.slot]
            # Before the call: a good part of them is missing mostly.
            if pattern != MISSING_CODE:
                value = decode_value(attribute, pattern)
                if value is not None:
                    named.append((name, value))
        return tuple(named)

    def _make_assessment(self, transaction: Transaction, answer: "_Answer") -> Assessment:
        installed = self._in_use()
        tables = installed.tables
        scored, verdict = answer.scored, answer.verdict
        stand_in, speaking = 0, answer.causes
        if answer.causes or answer.failed:
            own = tables.policy.settings.stand_in
            amount = transaction.amount_minor
            stand_in, speaking = find_stand_in(own, answer.causes, amount, failed=answer.failed)
        disposition, source = combine(tables, verdict, stand_in, answer.hotlists)
        figures = installed.scorer.figures.tobytes()
        approved = disposition is Disposition.APPROVE
        model = tables.policy.model
        latitude, longitude = answer.place if answer.place is not None else (None, None)
        counted = CountedTransaction(
            transaction.card,
            transaction.customer,
            transaction.terminal,
            transaction.merchant,
            transaction.device,
            answer.time_ns,
            transaction.amount_minor,
            transaction.currency,
            transaction.mcc,
            approved,
            latitude,
            longitude,
            mark_approved(figures[: 4 * tables.event_count], approved=approved),
            b"" if scored is None else scored.features,
            0 if scored is None or model is None else model.model_id,
        )
        return Assessment(
            disposition,
            source,
            0.0 if verdict is None else verdict.risk,
            math.nan if scored is None else scored.probability,
            list_reasons(tables, scored, answer.hotlists, speaking),
            () if scored is None else tuple([tables.names[i] for i in scored.fired]),
            () if scored is None else tuple([tables.names[i] for i in scored.silent]),
            () if verdict is None else verdict.declining,
            () if verdict is None else verdict.referring,
            tuple(dict.fromkeys(answer.causes)),
            tuple(answer.hotlists),
            counted,
            figures,
            tables.catalogue.revision,
        )

    def _in_use(self) -> _Installed:
        assert self._installed is not None, "a catalogue is installed first"
        return self._installed


@dataclass(slots=True)
class _Answer:
    """What was found of one transaction. Not frozen: one is made for each."""

    causes: list[StandInCause]
    hotlists: list[ListKind]
    scored: Scored | None
    verdict: Verdict | None
    place: tuple[float, float] | None
    time_ns: int
    failed: bool


def _find_time(tables: FraudTables, given_ns: int, now_ns: int, causes: list[StandInCause]) -> int:
    """Return the time as of which a transaction is assessed and counted.

    Never later than the server's: a clock that is ahead would push windows on, and what it pushes
    out of them would not count.
    """
    if not now_ns - tables.behind_ns <= given_ns <= now_ns + tables.ahead_ns:
        causes.append(StandInCause.CLOCK_JUMPED)
        return now_ns
    return min(given_ns, now_ns)


def _find_place(
    tables: FraudTables, transaction: Transaction, causes: list[StandInCause]
) -> tuple[float, float] | None:
    """Return the place of a card-present transaction: its own, or its terminal's."""
    if not transaction.present:
        return None
    if transaction.latitude is not None and transaction.longitude is not None:
        return transaction.latitude, transaction.longitude
    place = tables.places.get(transaction.terminal)
    if place is None:
        causes.append(StandInCause.PLACE_MISSING)
    return place
