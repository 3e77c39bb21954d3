"""Presentations: what they teach, until when, and what becomes of those that nobody answers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from instanter.decision.contacts import ContactKind
from instanter.errors import NotFoundError
from instanter.keeper.attribution import OutcomeKind, OutcomeState
from instanter.kernels.learning import LABEL_REVERSED
from instanter.limits import CONTACTS_KEPT
from instanter.store.outcomes import is_due
from tests.keeper.answers import PATIENT_SHOP, Answers, open_answers
from tests.keeper.test_outcomes import AGES, contacts_of, labels_of

PRESENTED, CLICKED, ACCEPTED, REJECTED, CONVERTED = OutcomeKind
RECORDED = OutcomeState.RECORDED


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Answers]:
    with open_answers(tmp_path / "store") as answers:
        answers.publish()
        answers.publish_plan(AGES)
        answers.put("anna", 33, 0)
        yield answers


@pytest.fixture
def patient(shop: Answers) -> Answers:
    """A shop whose presentations count as not accepted only when their wait has ended."""
    shop.publish(PATIENT_SHOP)
    return shop


def lose_log(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ticks find nothing more in the log."""

    def gone(_: object) -> None:
        raise NotFoundError("it is not kept any more", reason="LOG_RECORD_NOT_KEPT")

    monkeypatch.setattr(answers.kept.response, "_read_at", gone)


def test_an_unanswered_presentation_is_ignored_after_the_wait(patient: Answers) -> None:
    decision = patient.decide("anna")
    patient.answer(decision, "anna", "tea", PRESENTED)
    patient.answer(decision, "anna", "cake", PRESENTED, CLICKED)
    patient.clock.move(3599)
    assert not patient.kept.ticker.tick()
    assert labels_of(patient) == []
    patient.clock.move(2)
    while patient.kept.ticker.tick():
        pass
    found = labels_of(patient)
    assert sorted((offer, truth) for offer, truth, _ in found) == [("cake", 0), ("tea", 0)]
    kinds = contacts_of(patient, "anna")
    assert sorted(kinds) == [ContactKind.PRESENTED, ContactKind.PRESENTED, ContactKind.IGNORED]
    with patient.kept.state.read() as transaction:
        assert not is_due(transaction, 1 << 62)
    # A late answer takes back what was learned; a late refusal has been learned already.
    assert patient.answer(decision, "anna", "tea", ACCEPTED) == (RECORDED,)
    assert patient.answer(decision, "anna", "cake", REJECTED) == (RECORDED,)
    assert [truth for _, truth, _ in labels_of(patient)] == [0, 0, LABEL_REVERSED]


def test_a_presentation_is_not_accepted_until_it_is(shop: Answers) -> None:
    decision = shop.decide("anna")
    shop.answer(decision, "anna", "tea", PRESENTED)
    shop.answer(decision, "anna", "cake", PRESENTED)
    assert [(offer, truth) for offer, truth, _ in labels_of(shop)] == [("tea", 0), ("cake", 0)]
    shop.clock.move(7200)
    while shop.kept.ticker.tick():
        pass
    kinds = contacts_of(shop, "anna")
    assert kinds.count(ContactKind.IGNORED) == 2
    assert len(labels_of(shop)) == 2, "the end of the wait teaches nothing more"
    shop.answer(decision, "anna", "tea", CLICKED)
    shop.answer(decision, "anna", "tea", ACCEPTED)
    shop.answer(decision, "anna", "tea", CONVERTED)
    shop.answer(decision, "anna", "cake", REJECTED)
    shop.answer(decision, "anna", "cake", ACCEPTED)
    (_, _, bins), *_ = labels_of(shop)
    assert labels_of(shop)[2:] == [("tea", LABEL_REVERSED, bins), ("cake", 1, bins)]


def test_the_end_of_a_wait_needs_no_log_where_it_teaches_nothing(
    shop: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = shop.decide("anna")
    shop.answer(decision, "anna", "tea", PRESENTED)
    shop.clock.move(3601)
    lose_log(shop, monkeypatch)
    while shop.kept.ticker.tick():
        pass
    assert contacts_of(shop, "anna") == [ContactKind.PRESENTED, ContactKind.IGNORED]
    assert "waits_lost" not in shop.desk.written.getvalue()


def test_a_presentation_that_could_teach_nothing_is_not_taken_back(tmp_path: Path) -> None:
    with open_answers(tmp_path / "store") as shop:
        shop.kept.ticker.stop()
        shop.publish()
        shop.put("anna", 33, 0)
        # There is no plan yet by which a model could learn.
        decision = shop.decide("anna")
        shop.answer(decision, "anna", "tea", PRESENTED)
        shop.publish_plan(AGES)
        shop.answer(decision, "anna", "tea", ACCEPTED)
        assert [truth for _, truth, _ in labels_of(shop)] == [1]


def test_who_was_deleted_since_takes_nothing_back(shop: Answers) -> None:
    decision = shop.decide("anna")
    shop.answer(decision, "anna", "tea", PRESENTED)
    shop.clock.move(1)
    shop.desk.delete("anna").result(20)
    assert shop.answer(decision, "anna", "tea", ACCEPTED) == (RECORDED,)
    assert [truth for _, truth, _ in labels_of(shop)] == [0]


def test_a_presentation_that_the_log_no_longer_has_is_told(
    patient: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = patient.decide("anna")
    patient.answer(decision, "anna", "tea", PRESENTED)
    patient.clock.move(3601)
    lose_log(patient, monkeypatch)
    while patient.kept.ticker.tick():
        pass
    assert contacts_of(patient, "anna") == [ContactKind.PRESENTED, ContactKind.IGNORED]
    assert labels_of(patient) == []
    (told,) = [
        line for line in patient.desk.written.getvalue().splitlines() if "waits_lost" in line
    ]
    assert json.loads(told)["presentation_count"] == 1


@pytest.mark.parametrize("comes_back", [None, "profile", "contacts"])
@pytest.mark.parametrize("customer", ["anna", "nobody"])
def test_who_was_deleted_is_neither_noted_nor_learned_from_when_the_wait_ends(
    patient: Answers, customer: str, comes_back: str | None
) -> None:
    decision = patient.decide(customer)
    other = patient.decide(customer)
    patient.answer(decision, customer, "tea", PRESENTED)
    patient.clock.move(1)
    patient.desk.delete(customer).result(20)
    patient.clock.move(1)
    if comes_back == "profile":
        patient.put(customer, 58, 1)
    elif comes_back == "contacts":
        patient.answer(patient.decide(customer), customer, "cake", PRESENTED)
    expected = contacts_of(patient, customer)
    assert len(expected) == (comes_back == "contacts")
    patient.clock.move(3600)
    while patient.kept.ticker.tick():
        pass
    noted = [ContactKind.IGNORED] if comes_back == "contacts" else []
    assert contacts_of(patient, customer) == expected + noted, (
        "of the one after, not of the one before"
    )
    assert len(labels_of(patient)) == len(noted)
    assert patient.answer(decision, customer, "tea", ACCEPTED) == (RECORDED,)
    assert contacts_of(patient, customer) == expected + noted
    assert len(labels_of(patient)) == len(noted)
    if customer == "anna":
        assert patient.answer(other, customer, "tea", PRESENTED, REJECTED) == (RECORDED, RECORDED)
        assert contacts_of(patient, customer) == expected + noted


def test_of_many_contacts_those_that_made_way_are_no_sign_of_a_deletion(shop: Answers) -> None:
    decision = shop.decide("anna")
    shop.answer(decision, "anna", "tea", PRESENTED)
    for _ in range(CONTACTS_KEPT + 1):
        shop.clock.move(1)
        shop.answer(shop.decide("anna"), "anna", "cake", PRESENTED, ACCEPTED)
    shop.clock.move(3600)
    while shop.kept.ticker.tick():
        pass
    assert ("tea", 0) in [(offer, truth) for offer, truth, _ in labels_of(shop)]
    assert ContactKind.IGNORED in contacts_of(shop, "anna")


def test_a_presentation_of_an_older_plan_teaches_nothing(patient: Answers) -> None:
    decision = patient.decide("anna")
    patient.answer(decision, "anna", "tea", PRESENTED)
    patient.publish_plan([1.0, 2.0, 3.0])
    patient.clock.move(3601)
    while patient.kept.ticker.tick():
        pass
    assert labels_of(patient) == []
    assert ContactKind.IGNORED in contacts_of(patient, "anna")
