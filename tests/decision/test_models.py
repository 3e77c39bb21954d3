"""The set of models as bytes, and the score table made of it."""

from dataclasses import fields, replace

import msgpack
import numpy as np
import pytest

from instanter.decision.binning_plan import make_plan
from instanter.decision.learner import LearnerSettings, learn, new_model, predict, serve
from instanter.decision.models import ModelSet
from instanter.decision.scoring import COLUMN_MULTIPLE, build_score_table
from instanter.errors import DamagedError, PreconditionError
from instanter.kernels.binning import select_rows
from instanter.kernels.propensity import propensity_of, score_rows
from tests.decision.worlds import FILES, draw_slots, make_catalogue
from tests.oracles import binning as binning_oracle
from tests.oracles import propensity as propensity_oracle

SETTINGS = LearnerSettings()
CHANNELS = ("store", "web")


@pytest.fixture(scope="module")
def catalogue():
    return make_catalogue(FILES)


def draw_context(catalogue, count, seed):
    draw = np.random.default_rng(seed)
    context = np.empty((count, catalogue.schema.context_slot_count), np.uint32)
    for attribute in catalogue.schema.context.values():
        column = draw.choice([0, 30, 60, 700], count).astype("f4").view("u4")
        if attribute.values:
            column = draw.integers(0, len(attribute.values), count)
        context[:, attribute.slot] = column
    context[draw.random(context.shape) < 0.2] = 0xFFFF_FFFF
    return context


@pytest.fixture(scope="module")
def model_set(catalogue):
    """Models of two offers, one of them much surer than the other, and of one long gone."""
    slots, context = draw_slots(catalogue, 600, 1), draw_context(catalogue, 600, 2)
    plan = make_plan(catalogue.schema, slots, context, channels=CHANNELS)
    models = {}
    for seed, (name, passes) in enumerate([("adult", 1), ("gold", 3), ("gone", 1)]):
        draw = np.random.default_rng(seed)
        model = new_model(plan, SETTINGS)
        for channel in CHANNELS:
            rows = plan.bin_customers(slots, context, channel)
            age = slots[:, 0].copy().view(np.float32)
            logit = np.where(age > 18, 2.0, -3.0) + (1.5 if channel == "web" else 0.0) - seed
            labels = (draw.random(600) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
            learn(plan, SETTINGS, model, rows, labels, passes)
        models[name] = model
    return ModelSet(plan, SETTINGS, models)


def score(module_rows, module_score, table, slots, context, surface, known):
    """Return the totals of one customer, int32[C]."""
    count = len(table.predictor_slot)
    value, rows = np.zeros(count, np.float32), np.zeros(count, np.int32)
    total = np.zeros(len(table.base), np.int32)
    listed = module_rows(
        slots, context, surface, known, table.predictor_slot, table.predictor_source,
        table.profile_predictor_count, table.edge_start, table.edges, table.bin_count,
        table.row_start, table.modal_bin, value, rows,
    )  # fmt: skip
    module_score(table.weight, rows, listed, table.base, table.context_base, known, total)
    return total


def propensity(table, column, total, known):
    return propensity_of(
        column, total, known, table.scale, table.intercept, table.prior_logit,
        table.calibration_x, table.calibration_y,
    )  # fmt: skip


def column_of(catalogue, name):
    return [offer.name for offer in catalogue.offers].index(name)


def test_the_table_has_a_column_for_each_offer(catalogue, model_set):
    table = build_score_table(model_set, catalogue, revision=7)
    columns = len(table.base)
    assert columns % COLUMN_MULTIPLE == 0
    assert columns - len(catalogue.offers) < COLUMN_MULTIPLE
    assert table.revision == 7
    fitted = {o.name for o, yes in zip(catalogue.offers, table.fitted, strict=False) if yes}
    assert fitted == {"adult", "gold"}
    assert (np.diff(table.calibration_x) > 0).all()
    assert (np.diff(table.calibration_y) >= 0).all()
    assert table.row_start[-1] + table.bin_count[-1] == len(table.weight)


@pytest.mark.parametrize("known", [True, False])
def test_scores_equal_those_of_the_oracle_to_the_last_bit(catalogue, model_set, known):
    table = build_score_table(model_set, catalogue, revision=1)
    slots, context = draw_slots(catalogue, 60, 3), draw_context(catalogue, 60, 4)
    for i in range(60):
        surface = i % (len(catalogue.surfaces) + 1) - 1
        given = (table, slots[i], context[i], surface, known)
        wanted = score(binning_oracle.select_rows, propensity_oracle.score_rows, *given)
        assert score(select_rows, score_rows, *given).tolist() == wanted.tolist()


@pytest.mark.parametrize("offer", ["adult", "gold"])
def test_fixed_point_propensities_are_within_a_thousandth(catalogue, model_set, offer):
    table = build_score_table(model_set, catalogue, revision=1)
    slots, context = draw_slots(catalogue, 200, 5), draw_context(catalogue, 200, 6)
    column = column_of(catalogue, offer)
    served = serve(model_set.plan, model_set.models[offer])
    for (channel, _), surface in catalogue.surfaces.items():
        exact = predict(served, model_set.plan.bin_customers(slots, context, channel))
        for i in range(200):
            total = score(select_rows, score_rows, table, slots[i], context[i], surface, True)
            assert propensity(table, column, total, True) == pytest.approx(exact[i], abs=1e-3)


def test_a_thousand_predictors_stay_within_a_thousandth():
    draw = np.random.default_rng(8)
    lines = "".join(f"  - {{name: a{i:04}, kind: number}}\n" for i in range(1_000))
    shop = "currency: EUR\nchannels: {web: []}\nattributes:\n" + lines
    offers = "offers:\n  - {name: one, value_minor: 1, treatments: [{channel: web}]}\n"
    catalogue = make_catalogue({"shop.yaml": shop, "offers.yaml": offers})
    slots = draw.normal(size=(300, 1_000)).astype(np.float32).view(np.uint32)
    context = np.zeros((300, 0), np.uint32)
    plan = make_plan(catalogue.schema, slots, context)
    model = new_model(plan, SETTINGS)
    model.mean[:] = draw.normal(0, 0.1, plan.row_count)
    model.label_count[:] = 1
    table = build_score_table(ModelSet(plan, SETTINGS, {"one": model}), catalogue, revision=1)
    exact = predict(serve(plan, model), plan.bin_customers(slots, context, ""))
    for i in range(300):
        total = score(select_rows, score_rows, table, slots[i], context[i], 0, True)
        assert propensity(table, 0, total, True) == pytest.approx(exact[i], abs=1e-3)


def test_an_offer_without_a_model_has_its_declared_prior(catalogue, model_set):
    slots, context = draw_slots(catalogue, 1, 7), draw_context(catalogue, 1, 8)
    column = column_of(catalogue, "any")
    for models in (model_set, None):
        table = build_score_table(models, catalogue, revision=1)
        for known in (True, False):
            total = score(select_rows, score_rows, table, slots[0], context[0], 0, known)
            assert propensity(table, column, total, known) == pytest.approx(0.2)


def test_an_unknown_customer_gets_about_the_recent_base_rate(catalogue, model_set):
    table = build_score_table(model_set, catalogue, revision=1)
    context = draw_context(catalogue, 300, 9)
    nobody = np.zeros(0, np.uint32)
    column = column_of(catalogue, "adult")
    found = [
        propensity(
            table,
            column,
            score(select_rows, score_rows, table, nobody, row, surface, False),
            False,
        )
        for row in context
        for surface in (catalogue.surfaces["web", ""], catalogue.surfaces["store", ""])
    ]
    counts = model_set.models["adult"].counts
    assert np.mean(found) == pytest.approx(counts[3] / (counts[3] + counts[4]), abs=0.03)


def test_a_channel_matters_on_all_its_placements(catalogue, model_set):
    table = build_score_table(model_set, catalogue, revision=1)
    slots, context = draw_slots(catalogue, 1, 3), draw_context(catalogue, 1, 4)
    column = column_of(catalogue, "gold")
    found = {
        key: propensity(
            table,
            column,
            score(select_rows, score_rows, table, slots[0], context[0], surface, True),
            True,
        )
        for key, surface in catalogue.surfaces.items()
    }
    assert found["web", "home"] == found["web", "basket"] == found["web", ""]
    assert found["web", ""] > found["store", ""]


def test_extreme_weights_do_not_overflow(catalogue, model_set):
    model = model_set.models["adult"]
    wild = replace(model, mean=(model.mean * 1e6).astype(np.float32))
    table = build_score_table(model_set.replace_model("adult", wild), catalogue, revision=1)
    column = column_of(catalogue, "adult")
    assert np.abs(table.weight[:, column].astype(int)).max() == np.iinfo(np.int16).max
    slots, context = draw_slots(catalogue, 20, 3), draw_context(catalogue, 20, 4)
    for i in range(20):
        given = (table, slots[i], context[i], 0, True)
        wanted = score(binning_oracle.select_rows, propensity_oracle.score_rows, *given)
        assert score(select_rows, score_rows, *given).tolist() == wanted.tolist()


def test_a_set_survives_its_bytes(model_set):
    data = model_set.to_bytes()
    again = ModelSet.from_bytes(data)
    assert again.to_bytes() == data
    assert again.settings == model_set.settings
    assert again.plan.channels == CHANNELS
    learned = [s.models["adult"] for s in (model_set, again)]
    rows = np.array([again.plan.row_start], np.int32)
    for one, model in zip((model_set, again), learned, strict=True):
        copy = replace(model, **{f.name: getattr(model, f.name).copy() for f in fields(model)})
        found = learn(one.plan, one.settings, copy, rows, np.ones(1, np.uint8))
        assert found.tobytes() == learn(
            again.plan, again.settings, ModelSet.from_bytes(data).models["adult"], rows,
            np.ones(1, np.uint8),
        ).tobytes()  # fmt: skip


def damage(document, *path, value):
    for step in path[:-1]:
        document = document[step]
    document[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("plan", "row_start", 2), b"\x01" * 28),
        (("plan", "bin_count", 1), [3]),
        (("plan", "predictor_source", 0), "<f8"),
        (("plan", "edge_start", 2), b"\x7f" * 32),
        (("plan", "channels"), []),
        (("models", "adult", "mean", 2), b""),
        (("models", "adult", "counts", 2), np.full(5, np.nan).tobytes()),
        (("models", "adult", "counts", 2), np.full(5, -1.0).tobytes()),
        (("models", "adult", "counts", 1), [7]),
        (("models", "adult"), {}),
        (("models",), [1]),
        (("settings", "unheard_of"), 1.0),
        (("settings", "prior_variance"), float("inf")),
        (("settings", "prior_variance"), "much"),
    ],
)
def test_a_damaged_set_is_refused(model_set, path, value):
    document = msgpack.unpackb(model_set.to_bytes())
    damage(document, *path, value=value)
    with pytest.raises(DamagedError):
        ModelSet.from_bytes(msgpack.packb(document))


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_set_that_was_cut_off_is_refused(model_set, keep):
    with pytest.raises(DamagedError):
        ModelSet.from_bytes(model_set.to_bytes()[:keep])


@pytest.mark.parametrize("body", [b"\xc0", b"\x01", b"\x80", b"\x91\x01", b"\xa3abc"])
def test_other_messages_are_refused(body):
    with pytest.raises(DamagedError):
        ModelSet.from_bytes(body)


def test_a_set_of_a_newer_version_is_told_apart(model_set):
    document = msgpack.unpackb(model_set.to_bytes())
    document["format"] = 2
    with pytest.raises(PreconditionError, match="newer"):
        ModelSet.from_bytes(msgpack.packb(document))
