"""A keeper with an engine before it, whose decisions are recorded and answered."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.decision.binning_plan import BinningPlan, make_plan
from instanter.decision.engine import DecisionEngine
from instanter.decision.learner import LearnerSettings
from instanter.decision.models import ModelSet
from instanter.decision.published import load_tables
from instanter.decision.questions import Decision, Question
from instanter.keeper.attribution import OutcomeKind, OutcomeState
from instanter.keeper.customers import SlotChange, UpdateCustomer
from instanter.keeper.outcomes import Outcome
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.publishing import PublishDocument
from instanter.keeper.records import RecordKind
from instanter.store.log.retention import Retention
from tests.keeper.desk import Desk

SECOND_NS = 1_000_000_000
START_NS = 1_800_000_000 * SECOND_NS
SHOP = {
    "shop.yaml": """\
currency: EUR
channels: {web: [home]}
attributes:
  - {name: age, kind: number}
  - {name: segment, kind: category, values: [gold, silver]}
  - {name: basket, kind: number, source: context}
outcomes: {wait: 1h, accept_for: 30d}
offers:
  - {name: tea, treatments: [{channel: web}], value_minor: 200, prior_propensity: 0.2}
  - {name: cake, treatments: [{channel: web}], value_minor: 300, prior_propensity: 0.1}
"""
}

PATIENT_SHOP = {"shop.yaml": SHOP["shop.yaml"] + "learning: {unanswered: after_wait}\n"}
"""The same, whose presentations teach nothing before their wait has ended."""


class MovingClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time_ns = START_NS

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.time_ns

    def move(self, seconds: float) -> None:
        self.time_ns += int(seconds * SECOND_NS)


class Answers:
    """A store with a keeper, an engine, and ways to decide and to answer."""

    def __init__(
        self, folder: Path, clock: MovingClock, retention: Retention | None = None
    ) -> None:
        self.clock = clock
        self.desk = Desk(folder, clock, retention=retention)
        self.kept = self.desk.kept
        self.published = PublishedCatalogue()
        self.held_back: list[bytes] | None = None

    def publish(self, files: dict[str, str] = SHOP) -> None:
        """Publish a catalogue and decide by it."""
        self.desk.publish(files)
        self.refresh()

    def refresh(self) -> None:
        """Decide by what is published."""
        tables = load_tables(self.kept.state)
        assert tables is not None
        self.engine = DecisionEngine(
            self.kept.state,
            self.clock,
            decision_id_prefix=f"{self.clock.time_ns:016x}",
            on_damaged=lambda customer: None,
            record=self.record,
        )
        self.engine.install(tables)

    def record(self, body: bytes) -> None:
        """Record a turn, unless turns are held back."""
        if self.held_back is not None:
            self.held_back.append(body)
        else:
            self.kept.response.record_decisions(body).result(20)

    @property
    def catalogue(self) -> CompiledCatalogue:
        """The catalogue in force."""
        with self.kept.state.read() as transaction:
            found = self.published.load(transaction)
        assert found is not None
        return found

    def put(self, customer: str, *values: float | None) -> None:
        """Write a customer's age and segment code."""
        codes = [
            0xFFFFFFFF if v is None else int(np.float32(v).view(np.uint32)) if at == 0 else int(v)
            for at, v in enumerate(values)
        ]
        change = SlotChange(tuple(range(len(codes))), tuple(codes), replaces_all=True)
        self.desk.keeper.submit(UpdateCustomer(customer, lambda _: change, True)).result(20)

    def publish_plan(self, ages: Sequence[float]) -> BinningPlan:
        """Publish models without a label, whose plan is made from these ages."""
        schema = self.catalogue.schema
        slots = np.full((len(ages), schema.profile_slot_count), 0xFFFFFFFF, np.uint32)
        slots[:, 0] = np.array(ages, np.float32).view(np.uint32)
        slots[:, 1] = np.arange(len(ages)) % 2
        context = np.full((len(ages), schema.context_slot_count), 0xFFFFFFFF, np.uint32)
        plan = make_plan(schema, slots, context, channels=("web",))
        self.publish_models(ModelSet(plan, LearnerSettings(), {}))
        return plan

    def publish_models(self, models: ModelSet) -> None:
        """Publish models and decide by them."""
        command = PublishDocument(RecordKind.PUBLISH_MODELS, models.to_bytes())
        self.desk.keeper.submit(command).result(20)
        self.refresh()

    def decide(
        self, customer: str, count: int = 2, request_id: str = "", **context: float
    ) -> Decision:
        """Ask for offers in the web."""
        (found,) = self.engine.decide([Question(customer, "web", "", count, context, request_id)])
        assert isinstance(found, Decision)
        return found

    def answer(
        self,
        decision: Decision | str,
        customer: str,
        offer: str,
        *kinds: OutcomeKind,
        at_ns: int | None = None,
        value_minor: int | None = None,
    ) -> tuple[OutcomeState, ...]:
        """Record outcomes of one offer, and return their states."""
        name = decision if isinstance(decision, str) else decision.decision_id
        given = tuple(
            Outcome(bytes.fromhex(name), customer, offer, kind, at_ns, value_minor)
            for kind in kinds
        )
        return self.kept.response.record_outcomes(given).result(20)

    def wait_learned(self) -> dict[str, bytes]:
        """Return the states of all models once everything has been learned."""
        sequence = self.kept.log.written_sequence
        self.kept.learner.wait(sequence, shown=True)
        return self.kept.learner.checkpoint(sequence)


@contextmanager
def open_answers(
    folder: Path, clock: MovingClock | None = None, retention: Retention | None = None
) -> Iterator[Answers]:
    """Open a store with a keeper, and close it."""
    answers = Answers(folder, clock or MovingClock(), retention)
    try:
        yield answers
    finally:
        answers.desk.close()
