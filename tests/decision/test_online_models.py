"""Models that learn label by label: the same bits as a file's replay, and only what tells."""

from dataclasses import replace

import numpy as np
import pytest

from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Schema
from instanter.decision.binning_plan import Binner, make_plan
from instanter.decision.learner import ONLINE_SETTINGS, learn, new_model, predict, serve
from instanter.decision.models import ModelSet, model_to_bytes
from instanter.decision.online_models import Label, Labels, OnlineModels
from instanter.decision.quality import log_loss
from instanter.decision.selection import CHOSEN_MAX, CHOSEN_MIN, choose_predictors
from instanter.errors import DamagedError
from instanter.kernels.learning import LABEL_REVERSED

NO_CONTEXT = np.zeros(0, np.uint32)


def make_world(attributes, rows=600, seed=1):
    """Return a plan of numbers, their slots, and labels that follow from the first of them."""
    draw = np.random.default_rng(seed)
    numbers = draw.normal(size=(rows, attributes)).astype(np.float32)
    numbers[draw.random((rows, attributes)) < 0.1] = np.nan
    schema = Schema(
        1,
        tuple(
            Attribute(f"a{slot}", AttributeKind.NUMBER, AttributeSource.LOADED, slot)
            for slot in range(attributes)
        ),
        attributes,
        0,
    )
    slots = numbers.view(np.uint32)
    slots[np.isnan(numbers)] = 0xFFFFFFFF
    plan = make_plan(schema, slots, np.zeros((rows, 0), np.uint32))
    chance = 1.0 / (1.0 + np.exp(-3.0 * np.nan_to_num(numbers[:, 0])))
    return plan, slots, (draw.random(rows) < chance).astype(np.uint8)


def make_labels(plan, slots, truths, offer="tea"):
    """Return one label a row."""
    binner = Binner(plan)
    return [
        Label(offer, int(truth), 0.5, binner.find_bins(row, NO_CONTEXT, ""))
        for row, truth in zip(slots, truths, strict=True)
    ]


def teach(models, labels, half_life=0, size=7):
    """Let models learn labels, some at a time; return what was predicted before each."""
    found = []
    for start in range(0, len(labels), size):
        turn = Labels(models.plan_digest, half_life, tuple(labels[start : start + size]))
        found += [propensity for _, _, propensity in models.learn(turn)]
    return np.array(found)


def teach_late(models, labels, delay):
    """Let models take each label for a 0 first, and hear of a 1 so many labels later."""
    for at in range(len(labels) + delay):
        turn = []
        if at < len(labels):
            turn.append(replace(labels[at], truth=0))
        if at >= delay and labels[at - delay].truth:
            turn.append(replace(labels[at - delay], truth=LABEL_REVERSED))
        models.learn(Labels(models.plan_digest, 0, tuple(turn)))


@pytest.mark.parametrize("attributes", [3, 2 * CHOSEN_MAX])
def test_acceptances_that_come_late_bring_a_model_to_where_it_would_be(attributes):
    plan, slots, truths = make_world(attributes, rows=4000)
    truths &= np.random.default_rng(5).random(len(truths)) < 0.3
    labels = make_labels(plan, slots, truths)
    late, first = begin(plan), begin(plan)
    teach(first, labels)
    teach_late(late, labels, 20)
    rows = plan.bin_customers(slots, np.zeros((len(slots), 0), np.uint32), "")
    found, wanted = (predict(serve(plan, m.find_served("tea")), rows) for m in (late, first))
    assert late.models["tea"].label_count.tolist() == first.models["tea"].label_count.tolist()
    assert found.mean() == pytest.approx(wanted.mean(), abs=0.03)
    assert log_loss(truths, found) == pytest.approx(log_loss(truths, wanted), abs=0.01)


def test_answers_behind_all_presentations_do_not_carry_a_model_off():
    plan, slots, truths = make_world(3, rows=800)
    truths &= np.random.default_rng(5).random(len(truths)) < 0.3
    labels = make_labels(plan, slots, truths)
    models = begin(plan)
    rows = plan.bin_customers(slots, np.zeros((len(slots), 0), np.uint32), "")
    teach_late(models, labels, len(labels))
    found = predict(serve(plan, models.find_served("tea")), rows)
    # Half a unit of log-odds, what 100 labels leave open, and those of 0 that weigh less by now.
    assert truths.mean() / 2 < found.mean() < 2.5 * truths.mean()


def begin(plan):
    """Return models that have learned nothing."""
    return OnlineModels(ModelSet(plan, ONLINE_SETTINGS, {}))


def test_few_predictors_are_learned_exactly_as_a_file_is_replayed():
    plan, slots, truths = make_world(CHOSEN_MAX)
    models = begin(plan)
    online = teach(models, make_labels(plan, slots, truths))
    model = new_model(plan, ONLINE_SETTINGS, 0.5)
    rows = plan.bin_customers(slots, np.zeros((len(slots), 0), np.uint32), "")
    np.testing.assert_array_equal(online, learn(plan, ONLINE_SETTINGS, model, rows, truths))
    assert model_to_bytes(models.models["tea"]) == model_to_bytes(model)
    assert models.find_served("tea") is models.models["tea"]


def test_of_many_predictors_those_are_chosen_that_tell_something():
    plan, slots, truths = make_world(400)
    models = begin(plan)
    online = teach(models, make_labels(plan, slots, truths))
    told = int(np.flatnonzero(plan.predictor_slot == 0)[0])
    chosen = models._chosen["tea"]
    assert told in chosen
    assert CHOSEN_MIN <= len(chosen) <= CHOSEN_MAX
    assert (np.diff(chosen) > 0).all()
    model = new_model(plan, ONLINE_SETTINGS, 0.5)
    rows = plan.bin_customers(slots, np.zeros((len(slots), 0), np.uint32), "")
    everything = learn(plan, ONLINE_SETTINGS, model, rows, truths)
    assert log_loss(truths[64:], online[64:]) < log_loss(truths[64:], everything[64:]) - 0.02


def test_what_is_served_is_what_the_learner_predicts():
    plan, slots, truths = make_world(100)
    models = begin(plan)
    labels = make_labels(plan, slots, truths)
    teach(models, labels[:500])
    rows = plan.bin_customers(slots, np.zeros((len(slots), 0), np.uint32), "")
    served = predict(serve(plan, models.find_served("tea")), rows[500:501])
    (predicted,) = teach(models, labels[500:501])
    assert served[0] == pytest.approx(predicted, abs=1e-5)


def test_a_restart_at_any_moment_changes_no_bit():
    plan, slots, truths = make_world(100, rows=300)
    labels = make_labels(plan, slots, truths)
    whole = begin(plan)
    teach(whole, labels, half_life=200)
    for cut in (1, 63, 64, 65, 130):
        first = begin(plan)
        teach(first, labels[:cut], half_life=200, size=1)
        second = begin(plan)
        second.restore({"tea": first.pack_state("tea")})
        teach(second, labels[cut:], half_life=200)
        assert second.pack_state("tea") == whole.pack_state("tea")


def test_labels_without_a_profile_are_learned_by_chosen_predictors_too():
    plan, slots, truths = make_world(100, rows=200)
    models = begin(plan)
    teach(models, make_labels(plan, slots, truths))
    before = models.models["tea"].mean.copy()
    teach(models, [Label("tea", 1, 0.5, b"")])
    np.testing.assert_array_equal(models.models["tea"].mean, before)
    assert models.models["tea"].label_count.sum() == 201


def test_a_model_that_was_fitted_keeps_all_its_predictors():
    plan, slots, truths = make_world(100, rows=300)
    fitted = new_model(plan, ONLINE_SETTINGS, 0.5)
    models = OnlineModels(ModelSet(plan, ONLINE_SETTINGS, {"tea": fitted}))
    teach(models, make_labels(plan, slots, truths))
    assert models.find_served("tea") is models.models["tea"]


def test_without_any_evidence_a_few_predictors_are_chosen_all_the_same():
    plan, slots, _ = make_world(100, rows=100)
    models = begin(plan)
    teach(models, make_labels(plan, slots, np.ones(100, np.uint8)))
    assert len(choose_predictors(plan, models.models["tea"])) == CHOSEN_MIN


def test_states_of_another_plan_or_beginning_are_left_out():
    plan, slots, truths = make_world(10, rows=50)
    models = begin(plan)
    teach(models, make_labels(plan, slots, truths))
    state = models.pack_state("tea")
    fitted = OnlineModels(
        ModelSet(plan, ONLINE_SETTINGS, {"tea": new_model(plan, ONLINE_SETTINGS, 0.3)})
    )
    before = fitted.pack_state("tea")
    fitted.restore({"tea": state})
    assert fitted.pack_state("tea") == before
    other = begin(make_world(11, rows=50)[0])
    other.restore({"tea": state})
    assert not other.models
    with pytest.raises(DamagedError, match="tea"):
        begin(plan).restore({"tea": b"\xc1"})
