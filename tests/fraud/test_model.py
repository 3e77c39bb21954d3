"""The model in the engine: what it adds to the risk, and what labels teach it."""

import math

import pytest

from instanter import fraud_limits
from instanter.catalogue.fraud_words import Disposition, EntityKind, Source, StandInCause
from instanter.errors import DamagedError
from instanter.kernels.fraud_model import count_model_words
from tests.catalogue.worlds import problems_of
from tests.fraud.worlds import NOW_NS, SECOND_NS, Desk, make_catalogue

MODEL = """\
  velocities:
    n: {per: card, function: count, window: 1h}
  model:
    features: [transaction.amount, transaction.channel, velocity.n, travel.impossible]
    pairs: [[transaction.amount, transaction.channel]]
    points: 80
    start_rate: 0.05
  rules:
    big: {when: transaction.amount > 1000, points: 25, reason: BIG}
  thresholds: [{refer: 40, decline: 90}]
"""


def _teach(desk, count):
    """Label card-not-present transactions as fraud and all others as genuine."""
    for number in range(count):
        present = number % 3 != 0
        counted = desk.take(
            number, present=present, amount_minor=1_000 + 7 * number, card=f"c{number}",
            time_ns=NOW_NS + number * SECOND_NS,
        ).counted  # fmt: skip
        desk.engine.label(counted, desk.book, fraud=not present)


def test_before_any_label_it_says_the_declared_share():
    desk = Desk(MODEL)
    found = desk.assess()
    assert found.probability == pytest.approx(0.05)
    assert found.risk == pytest.approx(4.0)
    assert (found.disposition, found.reasons) == (Disposition.APPROVE, ("MODEL",))


def test_it_learns_from_labels_and_says_so():
    desk = Desk(MODEL)
    _teach(desk, 600)
    later = {"time_ns": NOW_NS + 1_000 * SECOND_NS, "card": "new"}
    good, bad = desk.assess(**later), desk.assess(present=False, **later)
    assert good.probability < 0.1
    assert bad.probability > 0.8
    assert (bad.disposition, bad.source) == (Disposition.REFER, Source.MODEL)
    assert bad.reasons == ("MODEL",)
    assert bad.risk == pytest.approx(80 * bad.probability)
    both = desk.assess(present=False, amount_minor=200_000, **later)
    assert both.reasons == ("MODEL", "BIG")
    assert both.fired == ("big",)


def test_it_learns_the_row_as_it_was_and_only_its_own():
    desk = Desk(MODEL)
    counted = desk.take().counted
    assert len(counted.features) == 4 * 4
    assert counted.model_id == 1
    other = make_catalogue(MODEL.replace(", travel.impossible", ""), desk.catalogue, revision=2)
    desk.engine.install(other)
    desk.engine.label(counted, desk.book, fraud=True)
    assert desk.book.models == {}, "another model saw it"
    assert desk.book.states[EntityKind.TERMINAL, "t1"].velocities, "the label counts all the same"
    same = make_catalogue(MODEL.replace("points: 80", "points: 10"), desk.catalogue, revision=3)
    desk.engine.install(same)
    desk.engine.label(counted, desk.book, fraud=True)
    assert list(desk.book.models) == [1]


def test_the_same_labels_leave_the_same_bytes():
    first, second = Desk(MODEL), Desk(MODEL)
    for desk in (first, second):
        _teach(desk, 50)
    assert first.book.models == second.book.models
    assert first.book.states == second.book.states


@pytest.mark.parametrize("damage", ["raises", "short"])
def test_a_damaged_model_is_answered_by_the_stand_in_and_begins_anew(damage):
    desk = Desk(MODEL)
    counted = desk.take().counted
    desk.engine.label(counted, desk.book, fraud=True)
    if damage == "raises":
        desk.book.failures = {"find_model": DamagedError("bad")}
    else:
        desk.book.models = {1: desk.book.models[1][:-8]}
    found = desk.assess()
    assert found.stand_in_causes == (StandInCause.STATE_DAMAGED,)
    assert (found.disposition, found.source) == (Disposition.REFER, Source.STAND_IN)
    assert math.isnan(found.probability)
    desk.engine.label(counted, desk.book, fraud=True)
    desk.book.failures = {}
    assert not desk.assess().stand_in_causes


def test_without_a_model_nothing_is_said():
    desk = Desk("  clock: {}\n")
    found = desk.assess()
    assert math.isnan(found.probability)
    assert (found.counted.features, found.counted.model_id) == (b"", 0)


def test_a_model_of_all_that_is_allowed_has_64_kilobytes():
    words = count_model_words(fraud_limits.FRAUD_FEATURES_MAX, fraud_limits.FRAUD_PAIRS_MAX)
    assert 4 * words <= 64 << 10


@pytest.mark.parametrize(
    ("pairs", "suggestion"),
    [
        ("[[transaction.amount]]", ""),
        ("[[transaction.amount, transaction.amount]]", ""),
        ("[[transaction.amount, transaction.chanel]]", "transaction.channel"),
        ("[[transaction.amount, velocity.m, velocity.n]]", ""),
        ("transaction.amount", ""),
    ],
)
def test_pairs_are_two_features(pairs, suggestion):
    text = MODEL.replace("[[transaction.amount, transaction.channel]]", pairs)
    problems = problems_of({"fraud.yaml": f"fraud:\n{text}"})
    assert {problem.field for problem in problems} == {"fraud.model.pairs"}
    assert problems[0].suggestion == suggestion
    assert problems[0].line == 6
