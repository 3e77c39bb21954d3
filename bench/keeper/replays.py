"""What learning while serving is worth: replays of logged choices and of a bank's calls.

Hillstrom's mails (protocol of the data's description, after Li et al. 2011): rows in file order;
the engine decides for the row's customer; only when it chooses the mail that was sent at random
does the row count, and is learned. The bank's calls: each row is decided and answered through the
keeper, with its log; what was predicted online must be what the offline replay predicts, bit for
bit.
"""

import heapq
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.learning import (
    BANK_EXCLUDED,
    BANK_FILE,
    BANK_PLAN_ROWS,
    BANK_TARGET,
    data_folder,
    read_rows,
)
from bench.measurement import Figure
from instanter.catalogue.compilation import compile_catalogue
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.schema import Attribute, AttributeKind, Schema
from instanter.clock import SystemClock
from instanter.data.files import open_table
from instanter.data.fit import FitOptions, LabelledRows
from instanter.decision.binning_plan import Binner, BinningPlan, make_plan
from instanter.decision.engine import DecisionEngine
from instanter.decision.learner import ONLINE_SETTINGS, LearnerSettings, learn, new_model
from instanter.decision.models import ModelSet
from instanter.decision.online_models import Label, Labels, OnlineModels
from instanter.decision.published import load_tables
from instanter.decision.quality import log_loss
from instanter.decision.questions import Decision, Question
from instanter.decision.scoring import make_blank_table, refresh_column
from instanter.decision.tables import make_tables, with_scores
from instanter.events_log import make_events_log
from instanter.keeper.attribution import OutcomeKind, OutcomeState
from instanter.keeper.compiler import LocalCompiler
from instanter.keeper.loading import LoadBlock
from instanter.keeper.opening import KeptStore
from instanter.keeper.outcomes import Outcome
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.publishing import CataloguePublisher, PublishDocument
from instanter.keeper.records import RecordKind
from instanter.kernels.learning import LABEL_REVERSED
from instanter.metrics import Metrics
from instanter.store.environment import Environment
from instanter.store.profiles import put_block
from instanter.store.records import key_of
from instanter.store.transaction import Transaction

HILLSTROM_FILE: Final = "hillstrom_email/hillstrom-rows-00001-42667.csv.gz"
HILLSTROM_SEEDS: Final = (1, 2, 3)
MAILS: Final = {"Mens E-Mail": "mens", "Womens E-Mail": "womens", "No E-Mail": "none"}
"""Text of the file to the offer's name."""

_HILLSTROM_OUTCOMES: Final = ("segment", "conversion", "spend")
_PRIOR: Final = 0.1
_LATE: Final = 100
_WAIT: Final = 1_000
"""Mails that count until the visit of an earlier one is known, and until none is expected."""
_DEPOSIT: Final = "deposit"
_BANK_BLOCK: Final = 1_000
_SCHEMA_REVISION: Final = 1


def measure_hillstrom(rows: int = 0) -> dict[str, Figure]:
    """Return the visit rates, overall and of the second half; mean of the seeds.

    Parameters
    ----------
    rows
        Rows of the file to use; 0 for all.
    """
    bounds = {
        "hillstrom_rate": ("≥ 0.177", "≥ 0.180"),
        "hillstrom_second_half_rate": ("≥ 0.180", "≥ 0.183"),
    }
    path = data_folder() / HILLSTROM_FILE
    if not path.is_file():
        reason = f"no real data: {HILLSTROM_FILE} is not there"
        return {name: Figure(None, *both, reason=reason) for name, both in bounds.items()}
    with open_mails(path, rows) as mails:
        replays = [mails.replay(seed) for seed in HILLSTROM_SEEDS]
        late_rates = [
            [mails.replay(seed, _LATE, wait).mean() for seed in HILLSTROM_SEEDS]
            for wait in (0, _WAIT)
        ]
    rates = {
        "hillstrom_rate": [visits.mean() for visits in replays],
        "hillstrom_second_half_rate": [visits[len(visits) // 2 :].mean() for visits in replays],
    }
    late = {
        "late_rate": float(np.mean(late_rates[0])),
        "late_after_wait_rate": float(np.mean(late_rates[1])),
        "answers_late_by": _LATE,
        "wait": _WAIT,
    }
    return {
        name: Figure(
            float(np.mean(found)),
            *bounds[name],
            {
                "seeds": list(HILLSTROM_SEEDS),
                "rates": [float(rate) for rate in found],
                "matches": [len(visits) for visits in replays],
                **late,
            },
        )
        for name, found in rates.items()
    }


@dataclass(frozen=True, slots=True, eq=False)
class Mails:
    """Hillstrom's customers in a store, with the mail that each got and whether they visited.

    Attributes
    ----------
    environment, catalogue
        The store, and a catalogue of the three mails.
    plan
        How the customers' attributes are binned.
    data, sent
        The rows, and the offer that each of them got.
    """

    environment: Environment
    catalogue: CompiledCatalogue
    plan: BinningPlan
    data: LabelledRows
    sent: list[str]

    def replay(self, seed: int, late: int = 0, wait: int = 0) -> NDArray[np.uint8]:
        """Decide for each row in turn; return the visits of those that count, uint8[matches].

        Parameters
        ----------
        seed
            Of the decisions' ids.
        late
            Mails that count until a visit is learned: 0 to learn at once what became of each mail.
            Else it is a negative label until then, see `LearningRules.negative_at_once`,
        wait
            or, unless 0, only so many mails later, when nobody has come.
        """
        models = OnlineModels(ModelSet(self.plan, ONLINE_SETTINGS, {}))
        table, layout = make_blank_table(self.plan, self.catalogue, revision=0)
        columns = {offer.name: column for column, offer in enumerate(self.catalogue.offers)}
        for column in columns.values():
            refresh_column(table, layout, column, None, _PRIOR)
        tables = make_tables(self.catalogue, table)
        engine = DecisionEngine(
            self.environment,
            SystemClock(),
            decision_id_prefix=f"{seed:016x}",
            on_damaged=_refuse_damaged,
        )
        engine.install(tables)
        binner = Binner(self.plan)
        no_context = np.zeros(0, np.uint32)
        visits: list[int] = []
        coming: list[tuple[int, int, Label]] = []
        for row, sent in enumerate(self.sent):
            (decision,) = engine.decide([Question(f"c{row}", "mail", "", 1, {}, "")])
            assert isinstance(decision, Decision)
            chosen = decision.offers[0].offer
            if chosen != sent:
                continue
            visit = int(self.data.labels[row])
            visits.append(visit)
            bins = binner.find_bins(self.data.slots[row], no_context, "mail")
            mail = len(visits)
            for after, truth in _list_labels(visit, late, wait):
                label = Label(chosen, truth, _PRIOR, bins)
                heapq.heappush(coming, (mail + after, row, label))
            while coming and coming[0][0] <= mail:
                label = heapq.heappop(coming)[-1]
                models.learn(Labels(models.plan_digest, 0, (label,)))
                column = columns[label.offer]
                refresh_column(table, layout, column, models.models[label.offer], _PRIOR)
            engine.install(with_scores(tables, table))
        return np.array(visits, np.uint8)


def _list_labels(visit: int, late: int, wait: int) -> list[tuple[int, int]]:
    """Return what is learned of a mail: after how many more, and which label."""
    if not late:
        return [(0, visit)]
    if wait:
        return [(late, 1) if visit else (wait, 0)]
    return [(0, 0), (late, LABEL_REVERSED)] if visit else [(0, 0)]


@contextmanager
def open_mails(path: Path, rows: int) -> Iterator[Mails]:
    """Put the customers of the file into a store of its own while the block runs."""
    options = FitOptions("visit", "none", excluded_columns=_HILLSTROM_OUTCOMES)
    schema, data = read_rows(path, options, rows)
    segments = open_table(path).batches(["segment"])
    texts = [text for batch in segments for text in batch.table.column("segment").to_pylist()]
    sent = [MAILS[text] for text in texts[: len(data.labels)]]
    catalogue = _make_catalogue(schema, "mail", tuple(MAILS.values()), "{exploration: 1}")
    plan = make_plan(catalogue.schema, data.slots, data.context)
    with (
        TemporaryDirectory(prefix="instanter-mails-") as folder,
        Environment.open(Path(folder)) as environment,
    ):
        keys = [key_of(f"c{row}") for row in range(len(sent))]

        def write(transaction: Transaction) -> None:
            put_block(transaction, keys, data.slots, schema_revision=1, now_ms=1)

        environment.write(write)
        yield Mails(environment, catalogue, plan, data, sent)


def _make_catalogue(
    schema: Schema, channel: str, offers: tuple[str, ...], learning: str
) -> CompiledCatalogue:
    """Compile a catalogue with a schema's attributes, in their slots, and offers of equal worth."""
    files = {"world.yaml": make_world(schema, channel, offers, learning)}
    found = compile_catalogue(files, None, revision=1, publish_time_ns=1).catalogue
    assert [a.slot for a in found.schema.loaded.values()] == [a.slot for a in schema]
    return found


def make_world(schema: Schema, channel: str, offers: tuple[str, ...], learning: str) -> str:
    """Return a catalogue's text."""
    lines = ["currency: EUR", f"channels: {{{channel}: []}}", f"learning: {learning}"]
    lines += ["attributes:", *(f"  - {_declare(attribute)}" for attribute in schema)]
    lines += ["offers:"]
    lines += [
        f"  - {{name: {name}, value_minor: 100, prior_propensity: {_PRIOR},"
        f" treatments: [{{channel: {channel}}}]}}"
        for name in offers
    ]
    return "\n".join(lines) + "\n"


def _declare(attribute: Attribute) -> str:
    values = ""
    if attribute.kind is AttributeKind.CATEGORY:
        values = ", values: [" + ", ".join(f"'{value}'" for value in attribute.values) + "]"
    return f"{{name: {attribute.name}, kind: {attribute.kind.name.lower()}{values}}}"


def _refuse_damaged(customer_id: str) -> None:
    raise AssertionError(f"the profile of {customer_id} is damaged")


def measure_bank(rows: int, folder: Path) -> Figure:
    """Return the largest difference between what is predicted online and what offline.

    Each row becomes a customer who is decided for, and whose answer is recorded, in file order.

    Parameters
    ----------
    rows
        Rows of the file to use; 0 for all.
    folder
        Where the store of the replay goes.
    """
    path = data_folder() / BANK_FILE
    if not path.is_file():
        return Figure(None, "0", "", reason=f"no real data: {BANK_FILE} is not there")
    options = FitOptions(BANK_TARGET, _DEPOSIT, excluded_columns=BANK_EXCLUDED)
    schema, data = read_rows(path, options, rows)
    plan = make_plan(schema, data.slots[:BANK_PLAN_ROWS], data.context[:BANK_PLAN_ROWS])
    offline = _fit_offline(plan, data)
    online = _answer_online(folder, schema, plan, data)
    differences = np.abs(online - offline)
    facts = {"rows": len(offline), "log_loss": log_loss(data.labels, online)}
    return Figure(float(differences.max(initial=0.0)), "0", "", facts)


def _fit_offline(plan: BinningPlan, data: LabelledRows) -> NDArray[np.float64]:
    """Return what the offline replay predicts before each label."""
    settings = LearnerSettings()
    model = new_model(plan, settings, _PRIOR)
    binned = plan.bin_customers(data.slots, data.context, "")
    return learn(plan, settings, model, binned, data.labels)


def _answer_online(
    folder: Path, schema: Schema, plan: BinningPlan, data: LabelledRows
) -> NDArray[np.float64]:
    """Decide for each row and record its answer; return what was predicted before each label."""
    predicted: list[float] = []
    log = make_events_log(io.StringIO())
    with KeptStore.open(
        folder,
        clock=SystemClock(),
        metrics=Metrics(),
        events_log=log,
        on_learned=lambda labels: predicted.extend(p for _, _, p in labels),
    ) as kept:
        files = {"world.yaml": make_world(schema, "phone", (_DEPOSIT,), "{enabled: true}")}
        publisher = CataloguePublisher(
            kept.state,
            compiler=LocalCompiler(),
            submit=kept.keeper.submit,
            published=PublishedCatalogue(),
            clock=SystemClock(),
        )
        publisher.apply(files, validate_only=False, expected_revision=None, deadline_ns=None)
        models = ModelSet(plan, LearnerSettings(), {})
        command = PublishDocument(RecordKind.PUBLISH_MODELS, models.to_bytes())
        kept.keeper.submit(command).result()
        tables = load_tables(kept.state)
        assert tables is not None
        engine = DecisionEngine(
            kept.state,
            SystemClock(),
            decision_id_prefix="0" * 16,
            on_damaged=_refuse_damaged,
            record=kept.response.record_decisions,
        )
        engine.install(tables)
        for start in range(0, len(data.labels), _BANK_BLOCK):
            _answer_block(kept, engine, data, start)
        kept.learner.wait(kept.log.written_sequence)
    return np.array(predicted)


def _answer_block(kept: KeptStore, engine: DecisionEngine, data: LabelledRows, start: int) -> None:
    """Load some customers, decide for them, and record their answers in one request."""
    block = slice(start, start + _BANK_BLOCK)
    slots, labels = data.slots[block], data.labels[block]
    names = [f"c{start + row}" for row in range(len(labels))]
    keys = [key_of(name) for name in names]
    kept.keeper.submit(LoadBlock(keys, slots, None, _SCHEMA_REVISION)).result()
    decisions = engine.decide([Question(name, "phone", "", 1, {}, "") for name in names])
    outcomes = []
    for name, decision, label in zip(names, decisions, labels.tolist(), strict=True):
        assert isinstance(decision, Decision)
        kind = OutcomeKind.ACCEPTED if label else OutcomeKind.REJECTED
        decision_id = bytes.fromhex(decision.decision_id)
        outcomes.append(Outcome(decision_id, name, _DEPOSIT, kind, None, None))
    states = kept.response.record_outcomes(tuple(outcomes)).result()
    assert set(states) == {OutcomeState.RECORDED}
