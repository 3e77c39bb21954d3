"""The learner of one offer: honest predictions, repeatable state, calibrated propensities."""

from dataclasses import replace

import numpy as np
import pytest

from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Schema
from instanter.decision.binning_plan import make_plan
from instanter.decision.learner import LearnerSettings, learn, new_model, predict, serve
from instanter.decision.quality import area_under_curve, log_loss

SETTINGS = LearnerSettings()


@pytest.fixture(scope="module")
def world():
    """4,000 customers with 40 attributes, of which three matter, and 20 copies of one."""
    draw = np.random.default_rng(11)
    values = draw.normal(size=(4_000, 40)).astype(np.float32)
    values[:, 20:] = values[:, [0]] + 0.1 * draw.normal(size=(4_000, 20))
    logit = values[:, 0] - 0.8 * np.abs(values[:, 1]) + 0.5 * (values[:, 2] > 1) - 1.5
    labels = (draw.random(4_000) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    attributes = [
        Attribute(f"a{i}", AttributeKind.NUMBER, AttributeSource.LOADED, i) for i in range(40)
    ]
    slots, context = values.view(np.uint32), np.zeros((4_000, 0), np.uint32)
    plan = make_plan(Schema(1, tuple(attributes), 40, 0), slots, context)
    return plan, plan.bin_customers(slots, context, ""), labels, logit


@pytest.mark.parametrize(("passes", "gap_max"), [(1, 0.03), (3, 0.03), (10, 0.03)])
def test_propensities_come_near_to_the_truth(world, passes, gap_max):
    plan, rows, labels, logit = world
    model = new_model(plan, SETTINGS)
    learn(plan, SETTINGS, model, rows[:3_000], labels[:3_000], passes)
    found = predict(serve(plan, model), rows[3_000:])
    truth = 1 / (1 + np.exp(-logit[3_000:]))
    assert log_loss(labels[3_000:], found) - log_loss(labels[3_000:], truth) < gap_max
    # The truth itself reaches 0.761 on these rows.
    assert area_under_curve(labels[3_000:], found) > 0.72
    assert found.mean() == pytest.approx(truth.mean(), abs=0.06)


def test_nothing_learned_is_the_prior(world):
    plan, rows, _, _ = world
    model = new_model(plan, SETTINGS, prior_propensity=0.07)
    found = predict(serve(plan, model), rows[:10])
    assert found == pytest.approx(0.07)


def test_what_is_served_is_what_was_predicted(world):
    plan, rows, labels, _ = world
    model = new_model(plan, SETTINGS)
    learn(plan, SETTINGS, model, rows[:500], labels[:500])
    found = predict(serve(plan, model), rows[500:501])
    predicted = learn(plan, SETTINGS, model, rows[500:501], labels[500:501])
    assert found == pytest.approx(predicted, abs=1e-6)


def test_learning_is_repeatable_to_the_last_bit(world):
    plan, rows, labels, _ = world
    models = [new_model(plan, SETTINGS) for _ in range(2)]
    for model in models:
        learn(plan, SETTINGS, model, rows[:400], labels[:400], passes=2)
    for first, second in zip(models[0].arrays(), models[1].arrays(), strict=True):
        assert first.tobytes() == second.tobytes()


def test_every_row_is_counted_once_however_many_passes(world):
    plan, rows, labels, _ = world
    model = new_model(plan, SETTINGS)
    learn(plan, SETTINGS, model, rows[:300], labels[:300], passes=5)
    assert model.label_count.tolist() == [300 - labels[:300].sum(), labels[:300].sum()]
    assert model.positive.sum() + model.negative.sum() == pytest.approx(300 * 40, rel=0.02)


def test_more_passes_come_to_rest(world):
    plan, rows, labels, _ = world
    served = []
    for passes in (1, 10, 30):
        model = new_model(plan, SETTINGS)
        learn(plan, SETTINGS, model, rows[:1_000], labels[:1_000], passes)
        served.append(predict(serve(plan, model), rows[3_000:]))
    near, far = (np.abs(served[i] - served[2]).mean() for i in (1, 0))
    assert near < 0.01 < far


def test_predictors_left_out_keep_weights_of_zero(world):
    plan, rows, labels, _ = world
    model = new_model(plan, SETTINGS)
    used = np.ascontiguousarray(rows[:300, 5:])
    learn(plan, SETTINGS, model, used, labels[:300], passes=2)
    left_out = plan.row_start[5]
    assert not model.mean[:left_out].any()
    assert not model.evidence[:left_out].any()
    assert model.mean[left_out:].any()


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_kind_only_give_no_nonsense(world, label):
    plan, rows, _, _ = world
    model = new_model(plan, SETTINGS)
    learn(plan, SETTINGS, model, rows[:2_000], np.full(2_000, label, np.uint8), passes=2)
    served = serve(plan, model)
    found = predict(served, rows)
    assert np.isfinite(served.weight).all()
    assert (np.abs(found - label) < 0.1).all()
    assert np.isfinite(served.prior_logit)


def test_no_rows_teach_nothing(world):
    plan, rows, labels, _ = world
    model = new_model(plan, SETTINGS)
    assert learn(plan, SETTINGS, model, rows[:0], labels[:0], passes=3).tolist() == []
    assert not model.mean.any()


def test_the_base_rate_of_an_unknown_customer_follows_recent_labels(world):
    plan, rows, _, _ = world
    model = new_model(plan, replace(SETTINGS, base_rate_half_life=100.0))
    quick = replace(SETTINGS, base_rate_half_life=100.0)
    labels = np.concatenate([np.ones(1_000), np.arange(1_000) % 10 == 0]).astype(np.uint8)
    learn(plan, quick, model, rows[:2_000], labels)
    served = serve(plan, model)
    slope = (served.calibration_y[1] - served.calibration_y[0]) / (
        served.calibration_x[1] - served.calibration_x[0]
    )
    logit = served.calibration_y[0] + slope * (served.prior_logit - served.calibration_x[0])
    assert 1 / (1 + np.exp(-logit)) == pytest.approx(0.1, abs=0.03)
    assert slope > 0


def test_quality_figures_are_those_of_the_book():
    labels = np.array([0, 1, 1, 0], np.uint8)
    propensity = np.array([0.2, 0.2, 0.9, 0.1])
    # Pairs: 0.2 against 0.2 counts half, the other three are right.
    assert area_under_curve(labels, propensity) == 3.5 / 4
    wanted = -np.log([0.8, 0.2, 0.9, 0.9]).mean()
    assert log_loss(labels, propensity) == pytest.approx(wanted)
    assert np.isnan(area_under_curve(labels[1:3], propensity[1:3]))
    assert np.isnan(log_loss(labels[:0], propensity[:0]))
    assert np.isfinite(log_loss(labels, np.array([1.0, 0.0, 0.0, 1.0])))
