"""Outcomes: attributed to the decision's own inputs, counted once, late or out of order."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from instanter.decision.contacts import read_contacts
from instanter.decision.learner import LearnerSettings
from instanter.decision.models import ModelSet
from instanter.decision.online_models import Label, Labels, OnlineModels
from instanter.errors import InvalidFieldError
from instanter.keeper.attribution import OutcomeKind, OutcomeState, end_wait, take_outcome
from instanter.keeper.learner import read_labels
from instanter.keeper.outcomes import Outcome
from instanter.keeper.records import RecordKind
from instanter.kernels.learning import LABEL_REVERSED
from instanter.limits import DECISION_TRIES_MAX, OUTCOME_FUTURE_NS_MAX
from instanter.store.activity import CONTACTS, load_activity
from instanter.store.arm_figures import read_figures
from instanter.store.databases import DECISION_NAMES, DECISIONS, OUTCOME_MARKS, Database
from instanter.store.decision_index import find_name
from instanter.store.outcomes import NO_MARK, Mark, is_due
from instanter.store.records import key_of
from instanter.store.transaction import Transaction
from tests.keeper.answers import SHOP, START_NS, Answers, MovingClock, open_answers

PRESENTED, CLICKED, ACCEPTED, REJECTED, CONVERTED = OutcomeKind
RECORDED, DUPLICATE = OutcomeState.RECORDED, OutcomeState.DUPLICATE
FORGOTTEN = (DECISIONS, DECISION_NAMES, OUTCOME_MARKS)
AGES = [float(age) for age in range(20, 60)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Answers]:
    with open_answers(tmp_path / "store") as answers:
        answers.publish()
        answers.publish_plan(AGES)
        answers.put("anna", 33, 0)
        yield answers


def labels_of(answers: Answers) -> list[tuple[str, int, bytes]]:
    """Return all labels that the log holds: offer, truth, bins."""
    found = []
    answers.wait_learned()
    for record in answers.kept.log.read(answers.kept.log.first_sequence):
        if record.kind in (RecordKind.OUTCOMES, RecordKind.TICK):
            found += [(one.offer, one.truth, one.bins) for one in read_labels(record).labels]
    return found


def figures_of(answers: Answers) -> dict[str, tuple[int, int, int, int, int]]:
    """Return decisions, presentations, acceptances, value and squares of each offer, in sum."""
    found: dict[str, tuple[int, int, int, int, int]] = {}
    with answers.kept.state.read() as transaction:
        for one in read_figures(transaction, 0, 1 << 30):
            own = (one.decisions, one.presented, one.accepted, one.value_minor, one.value_squares)
            before = found.get(one.offer, (0, 0, 0, 0, 0))
            found[one.offer] = tuple(a + b for a, b in zip(before, own, strict=True))  # type: ignore[assignment]
    return found


def contacts_of(answers: Answers, customer: str) -> list[int]:
    """Return the kinds of a customer's contacts and answers."""
    with answers.kept.state.read() as transaction:
        sections = load_activity(transaction, key_of(customer)) or {}
    return [contact.kind for contact in read_contacts(sections.get(CONTACTS, b""))]


def test_an_acceptance_teaches_the_inputs_of_its_decision(shop: Answers) -> None:
    plan = shop.publish_plan(AGES)
    decision = shop.decide("anna", basket=5.0)
    assert shop.answer(decision, "anna", "tea", PRESENTED, ACCEPTED) == (RECORDED, RECORDED)
    (_, shown, _), (offer, truth, bins) = labels_of(shop)
    schema = shop.catalogue.schema
    slots = np.array([[np.float32(33).view(np.uint32), 0]], np.uint32)
    context = np.array([[np.float32(5).view(np.uint32)]], np.uint32)
    assert slots.shape[1] == schema.profile_slot_count
    rows = plan.bin_customers(slots, context, "web")
    assert (offer, shown, truth) == ("tea", 0, LABEL_REVERSED)
    np.testing.assert_array_equal(plan.find_rows(bins), rows)
    fresh = OnlineModels(shop_models(plan))
    labels = tuple(Label("tea", label, 0.2, bins) for label in (shown, truth))
    fresh.learn(Labels(fresh.plan_digest, 0, labels))
    assert shop.wait_learned() == {"tea": fresh.pack_state("tea")}


def shop_models(plan):  # type: ignore[no-untyped-def]
    """Return the models that `publish_plan` publishes."""
    return ModelSet(plan, LearnerSettings(), {})


def test_a_profile_that_was_overwritten_since_teaches_what_it_was(shop: Answers) -> None:
    decision = shop.decide("anna")
    other = shop.decide("anna")
    shop.answer(decision, "anna", "tea", REJECTED)
    shop.put("anna", 58, 1)
    shop.answer(other, "anna", "tea", ACCEPTED)
    (_, no, before), (_, yes, after) = labels_of(shop)
    assert (no, yes) == (0, 1)
    assert before == after
    shop.answer(shop.decide("anna"), "anna", "tea", ACCEPTED)
    assert labels_of(shop)[2][2] != before


def test_a_profile_that_was_deleted_teaches_nothing_not_even_as_another(shop: Answers) -> None:
    decisions = [shop.decide("anna") for _ in range(2)]
    shop.desk.delete("anna").result(20)
    assert shop.answer(decisions[0], "anna", "tea", ACCEPTED) == (RECORDED,)
    shop.clock.move(1)
    shop.put("anna", 58, 1)
    assert shop.answer(decisions[1], "anna", "tea", ACCEPTED) == (RECORDED,)
    assert labels_of(shop) == []


def test_a_decision_without_a_profile_teaches_its_context_alone(shop: Answers) -> None:
    decision = shop.decide("nobody", basket=3.0)
    shop.answer(decision, "nobody", "cake", ACCEPTED)
    ((_, _, bins),) = labels_of(shop)
    assert len(bins) == 2, "basket and channel"


@pytest.mark.parametrize("kind", OutcomeKind)
def test_the_same_outcome_counts_once(shop: Answers, kind: OutcomeKind) -> None:
    decision = shop.decide("anna")
    assert shop.answer(decision, "anna", "tea", kind, kind) == (RECORDED, DUPLICATE)
    assert shop.answer(decision, "anna", "tea", kind) == (DUPLICATE,)
    assert shop.answer(decision, "anna", "cake", kind) == (RECORDED,)
    assert len(labels_of(shop)) == 2 * (kind != CLICKED)


def test_what_cannot_count_is_refused_and_holds_nothing_up(shop: Answers) -> None:
    decision = shop.decide("anna", count=1)
    other = {"tea": "cake", "cake": "tea"}[decision.offers[0].offer]
    first = decision.offers[0].offer
    assert shop.answer(decision, "bert", first, ACCEPTED) == (OutcomeState.CUSTOMER_MISMATCH,)
    assert shop.answer(decision, "anna", other, ACCEPTED) == (OutcomeState.OFFER_MISMATCH,)
    assert shop.answer(decision, "anna", "", CONVERTED) == (OutcomeState.OFFER_MISMATCH,)
    assert shop.answer(decision, "anna", first, ACCEPTED, at_ns=START_NS - 1) == (
        OutcomeState.TOO_EARLY,
    )
    too_far = START_NS + OUTCOME_FUTURE_NS_MAX + 1
    with pytest.raises(InvalidFieldError, match=r"outcomes\[0\]\.outcome_time"):
        shop.answer(decision, "anna", first, ACCEPTED, at_ns=too_far)
    shop.clock.move(30 * 86_400 + 1)
    assert shop.answer(decision, "anna", first, ACCEPTED) == (OutcomeState.TOO_LATE,)
    assert labels_of(shop) == []
    assert figures_of(shop) == {"": (1, 0, 0, 0, 0)}


def test_a_decision_that_was_never_made_is_told_after_a_second(shop: Answers) -> None:
    decision = shop.decide("anna")
    wrong_row = decision.decision_id[:-4] + "0007"
    given = [wrong_row, "f" * 32, decision.decision_id]
    shop.clock.move(2)
    # The clock stands: each of them waits until it is moved, and then it is too late at once.
    states = []
    for name in given:
        shop.kept.response._running = False
        states += shop.answer(name, "anna", "tea", ACCEPTED)
    assert states == [OutcomeState.DECISION_UNKNOWN] * 2 + [RECORDED]


def test_an_outcome_that_comes_before_its_decision_waits_for_it(shop: Answers) -> None:
    shop.held_back = []
    decision = shop.decide("anna")
    outcome = (bytes.fromhex(decision.decision_id), "anna", "tea", ACCEPTED, None, None)
    future = shop.kept.response.record_outcomes((Outcome(*outcome), Outcome(*outcome)))
    shop.desk.put("bert").result(20)
    assert not future.done()
    shop.kept.response.record_decisions(shop.held_back[0])
    assert future.result(20) == (RECORDED, DUPLICATE)


def test_mark_and_profile_of_an_outcome_are_read_once(
    shop: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []
    get, get_profile = Transaction.get, Transaction.get_profile

    def note_get(self: Transaction, database: Database, key: bytes) -> object:
        read.append(database)
        return get(self, database, key)

    def note_get_profile(self: Transaction, key: bytes) -> object:
        read.append("profile")
        return get_profile(self, key)

    decisions = [shop.decide("anna") for _ in range(2)]
    monkeypatch.setattr(Transaction, "get", note_get)
    monkeypatch.setattr(Transaction, "get_profile", note_get_profile)
    shop.answer(decisions[0], "anna", "tea", PRESENTED, ACCEPTED)
    assert (read.count(OUTCOME_MARKS), read.count("profile")) == (1, 1)
    shop.answer(decisions[1], "anna", "tea", ACCEPTED)
    assert (read.count(OUTCOME_MARKS), read.count("profile")) == (2, 2)


def test_an_answer_ends_the_wait(shop: Answers) -> None:
    for kind in (ACCEPTED, REJECTED, CONVERTED):
        decision = shop.decide("anna")
        shop.answer(decision, "anna", "tea", PRESENTED, kind)
        # Told before the presentation, it lets no wait begin.
        shop.answer(decision, "anna", "cake", kind, PRESENTED)
    with shop.kept.state.read() as transaction:
        assert not is_due(transaction, 1 << 62)


def test_figures_count_each_offer_of_a_decision_once(shop: Answers) -> None:
    decision = shop.decide("anna")
    shop.answer(decision, "anna", "tea", ACCEPTED)
    assert figures_of(shop)["tea"] == (0, 0, 0, 200, 40_000)
    shop.answer(decision, "anna", "tea", PRESENTED)
    shop.answer(decision, "anna", "tea", CONVERTED, value_minor=750)
    assert figures_of(shop) == {"": (1, 0, 0, 0, 0), "tea": (0, 1, 1, 750, 562_500)}


def test_a_retry_of_a_decision_counts_once_and_what_any_try_listed_can_be_answered(
    shop: Answers,
) -> None:
    first = shop.decide("anna", request_id="once")
    shop.clock.move(1)
    shop.publish({"shop.yaml": "\n".join(SHOP["shop.yaml"].splitlines()[:-1])})
    again = shop.decide("anna", request_id="once")
    assert first.decision_id == again.decision_id
    assert [len(decision.offers) for decision in (first, again)] == [2, 1]
    assert figures_of(shop)[""] == (1, 0, 0, 0, 0)
    states = [shop.answer(again, "anna", name, PRESENTED)[0] for name in ("tea", "cake")]
    assert states == [RECORDED, RECORDED]
    assert shop.answer(again, "anna", "tea", PRESENTED) == (DUPLICATE,)


def test_an_outcome_of_a_first_try_is_not_too_early_for_the_retry(shop: Answers) -> None:
    first = shop.decide("anna", request_id="once")
    shop.clock.move(60)
    shop.put("anna", 58, 1)
    shop.decide("anna", request_id="once")
    early = (OutcomeState.TOO_EARLY,)
    assert shop.answer(first, "anna", "tea", ACCEPTED, at_ns=START_NS - 1) == early
    assert shop.answer(first, "anna", "tea", ACCEPTED, at_ns=START_NS + 30 * 10**9) == (RECORDED,)
    assert shop.answer(first, "anna", "cake", ACCEPTED) == (RECORDED,)
    (_, _, then), (_, _, now) = labels_of(shop)
    assert then != now, "each teaches the inputs of its own try"


def test_an_outcome_that_comes_before_its_retry_is_not_judged_by_an_earlier_try(
    shop: Answers,
) -> None:
    shop.publish({"shop.yaml": "\n".join(SHOP["shop.yaml"].splitlines()[:-1])})
    shop.decide("anna", request_id="once")
    shop.clock.move(86_400)
    shop.publish()
    shop.held_back = []
    again = shop.decide("anna", request_id="once")
    outcome = Outcome(bytes.fromhex(again.decision_id), "anna", "cake", ACCEPTED, None, None)
    future = shop.kept.response.record_outcomes((outcome,))
    shop.desk.put("carla").result(20)
    assert not future.done()
    shop.kept.response.record_decisions(shop.held_back[0])
    assert future.result(20) == (RECORDED,)


def test_what_no_try_listed_is_told_after_a_second(shop: Answers) -> None:
    decision = shop.decide("anna", request_id="once")
    shop.kept.response._running = False
    assert shop.answer(decision, "anna", "jam", PRESENTED) == (OutcomeState.OFFER_MISMATCH,)


def test_what_comes_too_late_for_a_decision_with_a_request_id_is_told_at_once(
    shop: Answers,
) -> None:
    decision = shop.decide("anna", request_id="once")
    shop.clock.move(31 * 86_400)
    assert shop.answer(decision, "anna", "tea", PRESENTED) == (OutcomeState.TOO_LATE,)


@pytest.mark.parametrize("is_remembered", [True, False])
def test_what_was_decided_when_the_clock_had_been_put_back_is_not_too_late(
    shop: Answers, is_remembered: bool
) -> None:
    shop.clock.move(40 * 86_400)
    shop.put("anna", 30.0, None)
    shop.clock.move(-40 * 86_400)
    decision = shop.decide("anna")
    if not is_remembered:
        shop.kept.response._archive._recent.clear()
    assert shop.answer(decision, "anna", "tea", PRESENTED) == (RECORDED,)
    assert len(contacts_of(shop, "anna")) == 1, "so that caps go on counting"


def test_what_a_decision_without_a_request_id_did_not_list_is_told_at_once(shop: Answers) -> None:
    decision = shop.decide("anna")
    assert shop.answer(decision, "anna", "jam", PRESENTED) == (OutcomeState.OFFER_MISMATCH,)


def test_of_many_tries_the_latest_are_remembered(shop: Answers) -> None:
    for _ in range(DECISION_TRIES_MAX + 2):
        decision = shop.decide("anna", request_id="once")
        shop.clock.move(1)
    decision_id = bytes.fromhex(decision.decision_id)
    with shop.kept.state.read() as transaction:
        turns = [turn for _, turn, _ in find_name(transaction, decision_id)]
    assert turns == [*range(DECISION_TRIES_MAX + 2, 2, -1)]


def test_an_id_that_is_used_again_long_after_is_known_as_long_as_its_latest_try(
    shop: Answers,
) -> None:
    decision = shop.decide("anna", request_id="every fortnight")
    decision_id = bytes.fromhex(decision.decision_id)
    for days, tries in ((14, 1), (0, 2), (14, 2), (0, 3), (14, 3), (31, 0)):
        if not days:
            assert shop.decide("anna", request_id="every fortnight").offers
        shop.clock.move(days * 86_400)
        shop.decide("bert")
        with shop.kept.state.read() as transaction:
            assert len(find_name(transaction, decision_id)) == tries
        if days == 14:
            assert shop.answer(decision, "anna", "tea", CLICKED) in ((RECORDED,), (DUPLICATE,))
    with shop.kept.state.read() as transaction:
        assert transaction.count(DECISION_NAMES) == 0


def test_an_offer_that_is_gone_from_the_catalogue_can_still_be_answered(shop: Answers) -> None:
    decision = shop.decide("anna")
    files = {"shop.yaml": "\n".join(SHOP["shop.yaml"].splitlines()[:-1])}
    shop.publish(files)
    assert [offer.name for offer in shop.catalogue.offers] == ["tea"]
    assert shop.answer(decision, "anna", "cake", CONVERTED) == (RECORDED,)
    assert figures_of(shop)["cake"] == (0, 0, 0, 300, 90_000)
    assert [offer for offer, _, _ in labels_of(shop)] == ["cake"]
    assert "cake" in shop.wait_learned()


def test_conversions_in_the_holdout_count_without_an_offer(tmp_path: Path) -> None:
    files = {"shop.yaml": SHOP["shop.yaml"] + "holdout: {rate: 0.99, salt: s}\n"}
    with open_answers(tmp_path / "store") as shop:
        shop.publish(files)
        decision = next(d for n in range(99) if (d := shop.decide("held")).in_holdout or n == 98)
        assert decision.in_holdout
        assert shop.answer(decision, "held", "tea", CONVERTED) == (OutcomeState.OFFER_MISMATCH,)
        assert shop.answer(decision, "held", "", PRESENTED) == (OutcomeState.OFFER_MISMATCH,)
        assert shop.answer(decision, "held", "", CONVERTED, value_minor=70) == (RECORDED,)
        assert shop.answer(decision, "held", "", CONVERTED, value_minor=70) == (DUPLICATE,)
        assert figures_of(shop)[""][3] == 70
        assert contacts_of(shop, "held") == []


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("count", range(1, 6))
def test_the_order_of_outcomes_makes_no_difference(count: int, at_once: bool) -> None:
    """All orders of the same outcomes leave the same marks, figures and, in sum, labels."""
    for kinds in itertools.combinations(OutcomeKind, count):
        found = {end_of(order, at_once) for order in itertools.permutations(kinds)}
        ((mark, sums, labels),) = found
        positive = ACCEPTED in kinds or CONVERTED in kinds
        assert labels == (positive, REJECTED in kinds or (PRESENTED in kinds and not positive))
        if count == len(OutcomeKind):
            assert sums == (1, 1, 750)
            assert (mark.due_ns, end_wait(mark, teachable=True)) == (0, (mark, -1))


def end_of(
    kinds: tuple[OutcomeKind, ...], at_once: bool
) -> tuple[Mark, tuple[int, int, int], tuple[int, int]]:
    """Return what outcomes leave once all waiting is over: mark, figures, labels of 1 and of 0."""
    mark, sums, labels = NO_MARK, [0, 0, 0], []
    for kind in kinds:
        value = {ACCEPTED: 200, CONVERTED: 750}.get(kind, 0)
        effect = take_outcome(mark, kind, value, 99, at_once=at_once)
        mark = effect.mark
        sums[0] += effect.presented
        sums[1] += effect.accepted
        sums[2] += effect.value_minor
        labels.append(effect.label)
    if mark.due_ns:
        mark, label = end_wait(mark, teachable=True)
        labels.append(label)
    reversed_count = labels.count(LABEL_REVERSED)
    told = labels.count(1) + reversed_count, labels.count(0) - reversed_count
    return mark, (sums[0], sums[1], sums[2]), told


def test_old_decisions_and_marks_are_forgotten_in_time(tmp_path: Path) -> None:
    clock = MovingClock()
    with open_answers(tmp_path / "store", clock) as shop:
        shop.publish()
        old = shop.decide("anna", request_id="r")
        shop.answer(old, "anna", "tea", PRESENTED, ACCEPTED)
        with shop.kept.state.read() as transaction:
            before = {d.name: transaction.count(d) for d in FORGOTTEN}
        assert min(before.values()) >= 1
        clock.move(31 * 86_400)
        shop.decide("bert")
        with shop.kept.state.read() as transaction:
            after = {d.name: transaction.count(d) for d in FORGOTTEN}
        assert after == {"decisions": 1, "decision_names": 0, "outcome_marks": 0}


def test_a_turn_that_comes_after_its_hour_has_passed_is_forgotten_in_the_next(
    tmp_path: Path,
) -> None:
    with open_answers(tmp_path / "store", MovingClock()) as shop:
        shop.publish()
        shop.held_back = []
        shop.decide("anna")
        shop.clock.move(40 * 86_400)
        (late,), shop.held_back = shop.held_back, None
        shop.decide("bert")
        shop.kept.response.record_decisions(late).result(20)
        with shop.kept.state.read() as transaction:
            assert transaction.count(DECISIONS) == 2
        shop.clock.move(3_600)
        shop.decide("carla")
        with shop.kept.state.read() as transaction:
            assert transaction.count(DECISIONS) == 2
