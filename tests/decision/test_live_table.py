"""The live table: what is learned reaches whoever decides, whole, and nobody reads a mixture."""

import dataclasses

import numpy as np
import pytest

from instanter.clock import SystemClock
from instanter.decision.binning_plan import make_plan
from instanter.decision.engine import DecisionEngine
from instanter.decision.learner import LearnerSettings, learn, new_model
from instanter.decision.live_table import LiveTable, LiveTableWriter, live_path
from instanter.decision.models import ModelSet
from instanter.decision.questions import Question
from instanter.decision.recording import decode_turn
from instanter.decision.score_table import ScoreTable
from instanter.decision.scoring import build_score_table, make_blank_table, refresh_column
from instanter.decision.tables import make_tables
from instanter.store.environment import Environment
from tests.decision.worlds import draw_slots, make_catalogue

ARRAYS = [field.name for field in dataclasses.fields(ScoreTable)]


@pytest.fixture(scope="module")
def world():
    """A catalogue, a plan over all its attributes, and models of three of its offers."""
    catalogue = make_catalogue()
    slots = draw_slots(catalogue, 400, 1)
    context = np.full((400, catalogue.schema.context_slot_count), 0xFFFFFFFF, np.uint32)
    plan = make_plan(catalogue.schema, slots, context, channels=("web", "store"))
    settings = LearnerSettings()
    draw = np.random.default_rng(1)
    models = {}
    for name in ("adult", "any", "phone"):
        models[name] = new_model(plan, settings, 0.2)
        rows = plan.bin_customers(slots, context, "web")
        learn(plan, settings, models[name], rows, draw.integers(0, 2, 400).astype(np.uint8))
    return catalogue, ModelSet(plan, settings, models)


def assert_same(found, expected):
    """Compare two score tables, array by array."""
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)


def fill(table, layout, catalogue, models):
    """Refresh every column of a table."""
    for column, offer in enumerate(catalogue.offers):
        model = models.get(offer.name)
        refresh_column(table, layout, column, model, offer.prior_propensity)


def test_a_table_refreshed_column_by_column_equals_one_built_at_once(world):
    catalogue, models = world
    table, layout = make_blank_table(models.plan, catalogue, revision=3)
    # What stood there before must leave no trace.
    fill(table, layout, catalogue, {o.name: models.models["any"] for o in catalogue.offers})
    fill(table, layout, catalogue, models.models)
    assert_same(table, build_score_table(models, catalogue, revision=3))


def make_writer(tmp_path, world, waits=None):
    """Return a writer, its table, and how to fill that."""
    catalogue, models = world
    table, layout = make_blank_table(models.plan, catalogue, revision=0)
    fill(table, layout, catalogue, {})
    path = live_path(tmp_path / "live", 1, 0, b"digest")
    wait = (lambda seconds: None) if waits is None else waits.append
    return LiveTableWriter(path, table, clock=SystemClock(), wait=wait), table, layout


def test_a_reader_sees_each_publication_whole(tmp_path, world):
    catalogue, models = world
    writer, table, layout = make_writer(tmp_path, world)
    reader = LiveTable.find(writer.path, table)
    for name in ("any", "adult", "any", "phone"):
        column = [offer.name for offer in catalogue.offers].index(name)
        refresh_column(table, layout, column, models.models[name], 0.2)
        before = reader.generation
        writer.publish([column])
        assert reader.generation == before + 1
        assert reader.holds(before + 1)
        assert_same(reader.view(reader.generation), table)


def test_a_reader_learns_that_it_was_overtaken_before_its_copy_changes(tmp_path, world):
    waits = []
    writer, table, _ = make_writer(tmp_path, world, waits)
    reader = LiveTable.find(writer.path, table)
    generation = reader.generation
    view = reader.view(generation)
    table.intercept[0] = 7.0
    writer.publish([0])
    assert reader.holds(generation), "the other copy was written"
    assert view.intercept[0] != 7.0
    writer.publish([0])
    assert not reader.holds(generation)
    assert view.intercept[0] == 7.0
    assert len(waits) == 2, "readers were left time to leave a copy"


def test_a_writer_that_died_half_way_is_followed_by_one_whose_table_is_whole(tmp_path, world):
    writer, table, _ = make_writer(tmp_path, world)
    reader = LiveTable.find(writer.path, table)
    generation = reader.generation
    writer._begin()
    writer._mapping.copies[(generation + 1) & 1].intercept[:] = 99.0
    successor, own, _ = make_writer(tmp_path, world)
    assert reader.generation > generation
    assert not reader.holds(generation)
    assert_same(reader.view(reader.generation), own)
    own.intercept[1] = 3.0
    successor.publish([1])
    assert_same(reader.view(reader.generation), own)


def test_a_file_of_another_layout_is_not_read(tmp_path, world):
    _, models = world
    writer, table, _ = make_writer(tmp_path, world)
    other = dataclasses.replace(table, modal_bin=table.modal_bin + 1)
    assert LiveTable.find(writer.path, other) is None
    assert LiveTable.find(tmp_path / "absent", table) is None
    short, _ = make_blank_table(models.plan, make_catalogue(), revision=0)
    writer.path.write_bytes(b"\0" * 4096)
    assert LiveTable.find(writer.path, short) is None


def test_an_engine_decides_by_what_was_learned_a_moment_ago(tmp_path, world):
    catalogue, models = world
    writer, table, layout = make_writer(tmp_path, world)
    recorded = []
    with Environment.open(tmp_path / "store") as environment:
        engine = DecisionEngine(
            environment,
            SystemClock(),
            decision_id_prefix="0" * 16,
            on_damaged=lambda customer: None,
            record=recorded.append,
        )
        static = make_tables(catalogue, build_score_table(None, catalogue, revision=0))
        structure, _ = make_blank_table(models.plan, catalogue, revision=0)
        live = make_tables(catalogue, structure)
        question = Question("c1", "web", "home", 3, {}, "")
        engine.install(static)
        before = engine.decide([question])[0].offers
        engine.install(dataclasses.replace(live, live=LiveTable.find(writer.path, table)))
        assert engine.decide([question])[0].offers == before
        names = [offer.name for offer in catalogue.offers]
        refresh_column(table, layout, names.index("any"), models.models["any"], 0.2)
        writer.publish([names.index("any")])
        after = engine.decide([question])[0].offers
        engine.install(make_tables(catalogue, table))
        assert after == engine.decide([question])[0].offers
        assert after != before
    generations = [decode_turn(body).generation for body in recorded]
    assert generations == [0, writer.generation - 1, writer.generation, 0]
