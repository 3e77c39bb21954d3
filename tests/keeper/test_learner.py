"""The learner: models follow the log, survive what happens to the process, and reach decisions."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from instanter.decision.learner import LearnerSettings, new_model
from instanter.decision.models import ModelSet
from instanter.decision.online_models import Label, Labels, OnlineModels, forget_by
from instanter.decision.published import load_tables
from instanter.errors import UnavailableError
from instanter.keeper.attribution import OutcomeKind
from instanter.keeper.learner import read_labels
from instanter.keeper.live_scores import LIVE_FOLDER_NAME
from instanter.keeper.records import RecordKind
from instanter.store.model_states import load_plan_digest, load_states
from tests.keeper.answers import SHOP, Answers, MovingClock, open_answers

PRESENTED, _, ACCEPTED, REJECTED, _ = OutcomeKind
AGES = [float(age) for age in range(20, 60)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Answers]:
    with open_answers(tmp_path / "store") as answers:
        answers.publish()
        for number in range(20):
            answers.put(f"c{number}", 20 + 2 * number, number % 2)
        yield answers


def answer_some(shop: Answers, count: int, seed: int) -> None:
    """Decide for customers and answer one offer of each decision."""
    draw = np.random.default_rng(seed)
    for number in draw.integers(0, 20, count):
        shop.clock.move(10)
        customer = f"c{number}"
        decision = shop.decide(customer, basket=float(draw.integers(0, 9)))
        offer = str(draw.choice(["tea", "cake"]))
        kind = ACCEPTED if number > 12 else REJECTED
        shop.answer(decision, customer, offer, PRESENTED, *([kind] if draw.random() < 0.7 else []))


def learn_again(shop: Answers, models: OnlineModels) -> dict[str, bytes]:
    """Return the states that models have after learning all labels of the log."""
    for record in shop.kept.log.read(1):
        if record.kind in (RecordKind.OUTCOMES, RecordKind.TICK):
            models.learn(read_labels(record))
    return {offer: models.pack_state(offer) for offer in models.models}


def test_models_after_a_crash_equal_those_that_lived_on_and_those_of_the_log(
    shop: Answers, tmp_path: Path
) -> None:
    plan = shop.publish_plan(AGES)
    fresh = OnlineModels(ModelSet(plan, LearnerSettings(), {}))
    answer_some(shop, 30, 1)
    shop.kept.keeper._folder._try_fold()
    with shop.kept.state.base.read() as transaction:
        assert load_states(transaction) == shop.wait_learned()
    answer_some(shop, 30, 2)
    shop.clock.move(4000)
    while shop.kept.ticker.tick():
        pass
    lived = shop.wait_learned()
    # What a power cut leaves: the base as it was folded, and the log.
    crashed = tmp_path / "crashed"
    folder = shop.kept.state.folder
    shutil.copytree(folder, crashed, ignore=shutil.ignore_patterns("overlay", "*.lock", "*.sock"))
    with open_answers(crashed, shop.clock) as again:
        assert again.wait_learned() == lived
        again.refresh()
        answer_some(again, 5, 3)
        on = again.wait_learned()
    with open_answers(crashed, shop.clock) as again:
        assert again.wait_learned() == on != lived
    assert learn_again(shop, fresh) == shop.wait_learned()


def test_a_clean_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder, clock = tmp_path / "store", MovingClock()
    with open_answers(folder, clock) as shop:
        shop.publish()
        for number in range(20):
            shop.put(f"c{number}", 20 + 2 * number, number % 2)
        plan = shop.publish_plan(AGES)
        answer_some(shop, 20, 1)
    with open_answers(folder, clock) as shop:
        shop.refresh()
        answer_some(shop, 20, 2)
        fresh = OnlineModels(ModelSet(plan, LearnerSettings(), {}))
        assert learn_again(shop, fresh) == shop.wait_learned()


def test_without_models_a_plan_is_made_from_the_profiles_and_learned_by(shop: Answers) -> None:
    assert shop.wait_learned() == {}
    shop.kept.ticker.tick()
    with shop.kept.state.read() as transaction:
        digest = load_plan_digest(transaction)
    assert digest
    shop.kept.ticker.tick()
    plans = [r for r in shop.kept.log.read(1) if r.kind == RecordKind.PLAN]
    assert len(plans) == 1, "one plan is enough"
    answer_some(shop, 10, 1)
    assert shop.wait_learned()
    for number in range(20, 90):
        shop.put(f"c{number}", number, 0)
    shop.kept.ticker.tick()
    with shop.kept.state.read() as transaction:
        assert load_plan_digest(transaction) != digest, "a plan of few profiles is made anew"


def test_publishing_models_keeps_what_others_have_learned_since(shop: Answers) -> None:
    plan = shop.publish_plan(AGES)
    answer_some(shop, 30, 1)
    before = shop.wait_learned()
    assert set(before) == {"cake", "tea"}
    fitted = new_model(plan, LearnerSettings(), 0.4)
    shop.publish_models(ModelSet(plan, LearnerSettings(), {"cake": fitted}))
    after = shop.wait_learned()
    assert after["tea"] == before["tea"]
    origin = OnlineModels(ModelSet(plan, LearnerSettings(), {"cake": fitted}))
    assert after["cake"] == origin.pack_state("cake")
    shop.kept.keeper._folder._try_fold()
    with shop.kept.state.base.read() as transaction:
        assert load_states(transaction)["tea"] == after["tea"]
    shop.publish_plan([1.0, 2.0])
    assert shop.wait_learned() == {}, "bins of another plan mean something else"


def test_what_is_learned_is_decided_by_at_once(shop: Answers) -> None:
    shop.publish_plan(AGES)
    answer_some(shop, 1, 1)
    shop.wait_learned()
    tables = load_tables(shop.kept.state, None, shop.kept.state.folder / LIVE_FOLDER_NAME)
    assert tables is not None
    assert tables.live is not None
    shop.engine.install(tables)
    before = {offer.offer: offer.propensity for offer in shop.decide("c19").offers}
    shop.answer(shop.decide("c19"), "c19", "tea", ACCEPTED)
    shop.wait_learned()
    generation = tables.live.generation
    after = {offer.offer: offer.propensity for offer in shop.decide("c19").offers}
    assert after["tea"] > before["tea"]
    assert after["cake"] == before["cake"]
    assert tables.live.generation == generation
    # Tools without the live table see what the last fold has written.
    shop.kept.keeper._folder._try_fold()
    static = load_tables(shop.kept.state)
    assert static is not None
    shop.engine.install(static)
    assert {o.offer: o.propensity for o in shop.decide("c19").offers} == after


def test_learning_can_be_switched_off(tmp_path: Path) -> None:
    files = {"shop.yaml": SHOP["shop.yaml"] + "learning: {enabled: false}\n"}
    with open_answers(tmp_path / "store") as shop:
        shop.publish(files)
        shop.publish_plan(AGES)
        shop.put("c1", 30, 0)
        shop.answer(shop.decide("c1"), "c1", "tea", ACCEPTED)
        assert shop.wait_learned() == {}


def test_a_half_life_makes_models_forget_faster() -> None:
    settings = LearnerSettings()
    faster = forget_by(settings, 100)
    assert faster.evidence_half_life == faster.base_rate_half_life == 100.0
    assert faster.weight_drift > settings.weight_drift
    assert faster.intercept_drift > settings.intercept_drift


def test_labels_of_another_plan_teach_nothing(shop: Answers) -> None:
    plan = shop.publish_plan(AGES)
    models = OnlineModels(ModelSet(plan, LearnerSettings(), {}))
    label = Label("tea", 1, 0.1, b"\1" * plan.predictor_count)
    assert models.learn(Labels(b"other", 0, (label,))) == []
    assert models.models == {}
    assert len(models.learn(Labels(models.plan_digest, 0, (label,)))) == 1


def test_a_learner_that_fails_holds_up_neither_writes_nor_folds(shop: Answers) -> None:
    shop.publish_plan(AGES)
    answer_some(shop, 3, 1)
    before = shop.wait_learned()

    def fail(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    shop.kept.learner._learn = fail  # type: ignore[method-assign,assignment]
    answer_some(shop, 3, 2)
    with pytest.raises(UnavailableError, match="a mistake of ours"):
        shop.wait_learned()
    shop.put("late", 1, 1)
    shop.kept.keeper._folder._try_fold()
    assert shop.kept.state.folded_sequence() == shop.kept.log.written_sequence
    assert "learner_failed" in shop.desk.written.getvalue()
    with shop.kept.state.base.read() as transaction:
        assert set(load_states(transaction)) <= set(before)
