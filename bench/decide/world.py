"""A store with the standard workload, published as the server finds it, and an engine on it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import workload
from instanter.catalogue import serialization
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.clock import SystemClock
from instanter.decision.engine import DecisionEngine
from instanter.decision.published import load_tables
from instanter.decision.questions import Decision, Question
from instanter.store.environment import Environment
from instanter.store.profiles import list_profiles, measure_profiles
from instanter.store.publications import CATALOGUE, MODELS, publish
from instanter.store.records import key_of
from instanter.store.transaction import Transaction

OFFER_COUNT = 3
_CHOICES = 1 << 16
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class World:
    """One store, open in this process.

    Attributes
    ----------
    folder, environment
        Where it is, and open.
    catalogue
        As published.
    customer_count
        Customers it holds, numbered from 0.
    choice
        Which of them come next.
    """

    folder: Path
    environment: Environment
    engine: DecisionEngine
    catalogue: CompiledCatalogue
    customer_count: int
    choice: workload.Choice

    def decide_skewed(self, at: int) -> None:
        """Decide for the customer at this place of the skewed sequence."""
        self.decide(int(self.choice.skewed[at % _CHOICES]))

    def decide_uniform(self, at: int) -> None:
        """Decide for the customer at this place of the uniform sequence."""
        self.decide(int(self.choice.uniform[at % _CHOICES]))

    def decide(self, number: int) -> Decision:
        """Decide for one customer, and check that it is a decision."""
        question = Question(
            workload.name_customer(number),
            workload.CHANNEL,
            workload.PLACEMENT,
            OFFER_COUNT,
            _NO_CONTEXT,
            "",
        )
        answer = self.engine.decide([question])[0]
        assert isinstance(answer, Decision), answer
        return answer

    def spend_cpu_us(self, count: int) -> float:
        """Return the processor time of one decision, the mean of `count`."""
        begun = time.process_time_ns()
        for at in range(count):
            self.decide_skewed(at)
        return (time.process_time_ns() - begun) / count / 1e3

    def find_eligible_share(self) -> float:
        """Return the share of offers that a customer may have, over a hundred of them."""
        question = Question("", workload.CHANNEL, workload.PLACEMENT, 100, _NO_CONTEXT, "")
        stopped = 0
        for number in range(min(100, self.customer_count)):
            question.customer_id = workload.name_customer(number)
            answer = self.engine.decide([question])[0]
            assert isinstance(answer, Decision)
            stopped += sum(count for _, count in answer.exclusions)
        return 1.0 - stopped / (min(100, self.customer_count) * len(self.catalogue.offers))

    def read_profile_size_bytes(self) -> float:
        """Return the bytes of the store that one profile takes, keys and tree included."""
        with self.environment.read() as transaction:
            figures = measure_profiles(transaction)
        return figures.size_bytes / figures.profile_count


_NO_CONTEXT: dict[str, float | str | bool] = {}


@contextmanager
def open_world(
    folder: Path, files: dict[str, str], customer_count: int, *, sparse: bool = False
) -> Iterator[World]:
    """Make a store in `folder`, or fill up one that holds fewer customers, and open it."""
    catalogue = workload.compile_files(files)
    with Environment.open(folder) as environment:
        _publish_once(environment, catalogue)
        with environment.read() as transaction:
            present = measure_profiles(transaction).profile_count
        workload.fill_store(environment, catalogue, customer_count, first=present, sparse=sparse)
        tables = load_tables(environment)
        assert tables is not None
        engine = DecisionEngine(
            environment, SystemClock(), decision_id_prefix="0" * 16, on_damaged=_refuse_damaged
        )
        engine.install(tables)
        _touch(environment)
        yield World(
            folder,
            environment,
            engine,
            catalogue,
            customer_count,
            workload.draw_choice(customer_count, _CHOICES),
        )


def _publish_once(environment: Environment, catalogue: CompiledCatalogue) -> None:
    if load_tables(environment) is not None:
        return
    models = workload.make_models(catalogue)

    def change(transaction: Transaction) -> None:
        now_ns = workload.PUBLISH_TIME_NS
        publish(transaction, CATALOGUE, serialization.to_bytes(catalogue), now_ns)
        publish(transaction, MODELS, models.to_bytes(), now_ns)

    environment.write(change)


def _touch(environment: Environment) -> None:
    """Read every profile once, so that no page of the store is read for the first time later."""
    after = b""
    while True:
        with environment.read() as transaction:
            page = list_profiles(transaction, after, _PAGE, 1)
        if not page:
            return
        after = key_of(page[-1].customer_id)


def _refuse_damaged(customer_id: str) -> None:
    raise AssertionError(f"the record of {customer_id} is damaged")
