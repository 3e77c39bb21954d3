"""Contact policy and arms in the engine: caps are exact, whoever asks, however often at once."""

import itertools
import threading

import numpy as np
import pytest

from instanter.decision.contacts import Contact, ContactKind, code_of, group_code_of, record_contact
from instanter.decision.contacts import tag_of as tag
from instanter.decision.engine import DecisionEngine, seed_of
from instanter.decision.questions import Arm, NoOfferReason, OfferReason
from instanter.decision.reservations import Reservations
from instanter.decision.tables import make_tables
from instanter.kernels.arbitration import REASON_CAPPED, REASON_COOLING_OFF
from instanter.limits import RESERVATION_NS
from instanter.store.activity import CONTACTS, load_activity, put_activity
from instanter.store.databases import ACTIVITY
from instanter.store.environment import Environment
from instanter.store.records import key_of
from tests.decision.test_engine import NOW_NS, StoppedClock, ask
from tests.decision.worlds import make_catalogue, make_score_table

SHOP = """
currency: EUR
channels: {web: [home], mail: []}
"""
OFFERS = """
offers:
  - {name: card, value_minor: 300, prior_propensity: 0.3, treatments: [{channel: web}]}
  - {name: gift, value_minor: 100, prior_propensity: 0.2, treatments: [{channel: web}]}
  - {name: loan, value_minor: 900, prior_propensity: 0.1, treatments: [{channel: web}]}
  - {name: mail, value_minor: 900, prior_propensity: 0.1, treatments: [{channel: mail}]}
"""
ONCE = "contact_policy: {caps: [{name: once, per: customer, count: 1, window: 1d}]}\n"
TWICE = "contact_policy: {caps: [{name: twice, per: customer, count: 2, window: 1d}]}\n"


@pytest.fixture
def store(tmp_path):
    environment = Environment.open(tmp_path / "store")
    yield environment
    environment.close()


def make_engine(store, policy="", reservations=None, clock=None, damaged=None, prefix="0" * 16):
    engine = DecisionEngine(
        store,
        clock or StoppedClock(),
        decision_id_prefix=prefix,
        on_damaged=(damaged if damaged is not None else []).append,
        reservations=reservations,
    )
    install(engine, policy)
    return engine


def install(engine, policy, offers=OFFERS):
    catalogue = make_catalogue({"shop.yaml": SHOP + policy, "offers.yaml": offers})
    scores = make_score_table(catalogue, 1)
    scores.fitted[:] = 0
    engine.install(make_tables(catalogue, scores))


def present(store, customer, decision, offer, kind=ContactKind.PRESENTED, at_ns=NOW_NS):
    """Record an outcome the way the keeper does."""
    contact = Contact(
        at_ns // 10**9,
        code_of(offer),
        group_code_of(offer, ""),
        code_of("web"),
        int(kind),
        tag(bytes.fromhex(decision)),
    )

    def change(transaction):
        key = key_of(customer)

        sections = load_activity(transaction, key) or {}
        sections[CONTACTS] = record_contact(sections.get(CONTACTS, b""), contact)
        put_activity(transaction, key, sections)

    store.write(change)


def offers_of(decision):
    return [ranked.offer for ranked in decision.offers]


def test_a_list_is_no_longer_than_the_caps_leave(store):
    (decision,) = make_engine(store, TWICE).decide([ask("anna", count=3)])
    assert len(decision.offers) == 2
    assert (REASON_CAPPED, 1) in decision.exclusions
    assert decision.no_offer_reason == NoOfferReason.UNSPECIFIED


def test_a_listed_offer_counts_before_it_is_presented_and_only_for_a_while(store):
    clock = StoppedClock()
    engine = make_engine(store, ONCE, clock=clock)
    assert len(engine.decide([ask("anna")])[0].offers) == 1
    (second,) = engine.decide([ask("anna")])
    assert second.no_offer_reason == NoOfferReason.CONTACT_POLICY
    assert second.exclusions[-1] == (REASON_CAPPED, 3)
    assert len(engine.decide([ask("bert")])[0].offers) == 1
    clock.time_ns += RESERVATION_NS
    assert len(engine.decide([ask("anna")])[0].offers) == 1


def test_what_was_presented_counts_once_however_it_is_known(store):
    engine = make_engine(store, TWICE)
    (first,) = engine.decide([ask("anna", count=1)])
    present(store, "anna", first.decision_id, first.offers[0].offer)
    (second,) = engine.decide([ask("anna", count=1)])
    assert len(second.offers) == 1
    (third,) = engine.decide([ask("anna", count=1)])
    assert third.no_offer_reason == NoOfferReason.CONTACT_POLICY


def test_the_second_question_of_a_turn_knows_the_first(store):
    questions = [ask("anna"), ask("bert"), ask("anna"), ask("anna"), ask("bert")]
    counts = [len(decision.offers) for decision in make_engine(store, ONCE).decide(questions)]
    assert counts == [1, 1, 0, 0, 0]


def find_neighbours(reservations):
    """Return three customers whose reservations are in one bucket."""
    found: dict[int, list[str]] = {}
    for number in itertools.count():
        customer = f"customer-{number}"
        bucket = found.setdefault(reservations.view(key_of(customer)).place, [])
        bucket.append(customer)
        if len(bucket) == 3:
            return bucket
    raise AssertionError


def test_customers_of_a_turn_who_share_a_bucket_of_reservations_are_all_answered(
    store, monkeypatch
):
    reservations = Reservations()
    customers = find_neighbours(reservations)
    views = itertools.count(1)
    view = Reservations.view

    def view_so_often(self, key):
        assert next(views) <= 100, "the turn is decided again and again"
        return view(self, key)

    monkeypatch.setattr(Reservations, "view", view_so_often)
    engine = make_engine(store, ONCE, reservations)
    counts = [
        [len(decision.offers) for decision in engine.decide([ask(c) for c in customers])]
        for _ in range(2)
    ]
    assert counts == [[1, 1, 1], [0, 0, 0]]


def test_answers_of_a_split_turn_stand_in_the_order_of_the_questions(store):
    questions = [ask("anna"), ask("anna", channel="wap"), ask("anna"), ask("bert")]
    first, mistake, third, fourth = make_engine(store, ONCE).decide(questions)
    assert "wap" in str(mistake)
    assert [len(decision.offers) for decision in (first, third, fourth)] == [1, 0, 1]
    assert len({first.decision_id, third.decision_id, fourth.decision_id}) == 3


def test_a_retry_is_not_in_its_own_way(store):
    engine = make_engine(store, ONCE)
    (first,) = engine.decide([ask("anna", request_id="r1")])
    (again,) = engine.decide([ask("anna", request_id="r1")])
    assert offers_of(again) == offers_of(first) != []
    assert engine.decide([ask("anna", request_id="r2")])[0].offers == []


def test_a_retry_is_not_in_its_own_way_when_its_offer_was_presented_or_rejected(store):
    rest = ", cool_off: [{after: rejected, per: customer, for: 30d}]}"
    engine = make_engine(store, ONCE.rstrip("}\n") + rest)
    (first,) = engine.decide([ask("anna", request_id="r1")])
    present(store, "anna", first.decision_id, first.offers[0].offer)
    (again,) = engine.decide([ask("anna", request_id="r1")])
    assert offers_of(again) == offers_of(first) != []
    present(store, "anna", first.decision_id, first.offers[0].offer, ContactKind.REJECTED)
    (again,) = engine.decide([ask("anna", request_id="r1")])
    assert offers_of(again) == offers_of(first)
    others = engine.decide([ask("anna", request_id="r2"), ask("anna")])
    assert [offers_of(other) for other in others] == [[], []]
    (stopped,) = engine.decide([ask("anna", request_id="r2")])
    assert stopped.exclusions[-1] == (REASON_CAPPED, 3), "of another's contact a retry knows"


def test_a_retry_that_offers_others_counts_what_was_presented(store):
    clock = StoppedClock()
    one, two = make_engine(store, ONCE), make_engine(store, TWICE, clock=clock)
    (first,) = one.decide([ask("anna", request_id="r1")])
    present(store, "anna", first.decision_id, *offers_of(first))
    (both,) = two.decide([ask("bert", request_id="r1", count=2)])
    for offer in offers_of(both):
        present(store, "bert", both.decision_id, offer)
    (half,) = two.decide([ask("carl", request_id="r1", count=2)])
    present(store, "carl", half.decision_id, offers_of(half)[0])
    # They may not have it any more, as after a change of the profile.
    gone = offers_of(first)[0]
    fewer = "".join(line for line in OFFERS.splitlines(True) if f"name: {gone}" not in line)
    install(one, ONCE, fewer)
    assert offers_of(one.decide([ask("anna", request_id="r1")])[0]) == []
    assert offers_of(one.decide([ask("dora", request_id="r1")])[0]) != []
    gone = offers_of(both)[1]
    fewer = "".join(line for line in OFFERS.splitlines(True) if f"name: {gone}" not in line)
    install(two, TWICE, fewer)
    questions = [ask(name, request_id="r1", count=2) for name in ("bert", "carl", "dora")]
    found = [offers_of(decision) for decision in two.decide(questions)]
    assert [len(offers) for offers in found] == [1, 1, 2]
    assert found[0] == offers_of(both)[:1], "what was seen may be seen again, and nothing else"
    assert found[1] == offers_of(half)[:1], "what may be seen counts as well"
    clock.time_ns += RESERVATION_NS
    (later,) = two.decide([ask("carl", request_id="r1", count=2)])
    assert len(later.offers) == 2, "what was not presented in time was not seen"
    assert later.offers[0].offer == offers_of(half)[0]


def without(name):
    return "".join(line for line in OFFERS.splitlines(True) if f"name: {name}" not in line)


def worth_most(name):
    """Return the offers with one that now ranks first."""
    return OFFERS.replace(f"name: {name}, value_minor: ", f"name: {name}, value_minor: 99")


@pytest.mark.parametrize("cap", [1, 2])
def test_a_retry_lists_no_others_beside_what_the_first_try_may_have_shown(store, cap):
    policy = ONCE if cap == 1 else TWICE
    engine = make_engine(store, policy)
    (first,) = engine.decide([ask("anna", count=1, request_id="r1")])
    install(engine, policy, without(*offers_of(first)))
    (again,) = engine.decide([ask("anna", count=1, request_id="r1")])
    assert len(again.offers) == cap - 1
    assert offers_of(again) != offers_of(first)
    # Either list may be shown, so both are held.
    assert engine.decide([ask("anna", count=1)])[0].offers == []
    assert offers_of(engine.decide([ask("anna", count=1, request_id="r1")])[0]) == offers_of(again)


def test_a_retry_after_others_have_come_to_rank_first_lists_what_the_first_try_listed(store):
    engine = make_engine(store, ONCE)
    (first,) = engine.decide([ask("anna", count=1, request_id="r1")])
    other = next(name for name in ("card", "gift", "loan") if name != first.offers[0].offer)
    install(engine, ONCE, worth_most(other))
    assert offers_of(engine.decide([ask("bert", count=1)])[0]) == [other]
    (again,) = engine.decide([ask("anna", count=1, request_id="r1")])
    assert offers_of(again) == offers_of(first)
    present(store, "anna", first.decision_id, first.offers[0].offer)
    (again,) = engine.decide([ask("anna", count=1, request_id="r1")])
    assert offers_of(again) == offers_of(first)


def test_a_retry_may_list_others_where_the_caps_leave_room_for_both(store):
    engine = make_engine(store, TWICE)
    (first,) = engine.decide([ask("anna", count=1, request_id="r1")])
    other = next(name for name in ("card", "gift", "loan") if name != first.offers[0].offer)
    install(engine, TWICE, worth_most(other))
    (again,) = engine.decide([ask("anna", count=1, request_id="r1")])
    assert offers_of(again) == [other]
    assert engine.decide([ask("anna", count=1)])[0].offers == []


@pytest.mark.parametrize("together", [True, False])
def test_another_question_with_the_same_request_id_is_capped_by_the_first(store, together):
    engine = make_engine(store, ONCE)
    questions = [
        ask("anna", placement="home", request_id="page-1"),
        ask("anna", placement="", request_id="page-1"),
        ask("anna", channel="mail", placement="", request_id="page-1"),
    ]
    turns = [questions] if together else [[question] for question in questions]
    made = [decision for turn in turns for decision in engine.decide(turn)]
    assert len({decision.decision_id for decision in made}) == 3
    assert [len(decision.offers) for decision in made] == [1, 0, 0]


@pytest.mark.parametrize("cap", [1, 3])
def test_many_threads_never_hand_out_more_than_the_cap(store, cap):
    policy = f"contact_policy: {{caps: [{{name: few, per: customer, count: {cap}, window: 1d}}]}}\n"
    reservations = Reservations()
    handed_out: dict[str, int] = {}
    lock = threading.Lock()
    start = threading.Barrier(4)

    def decide(number):
        engine = make_engine(store, policy, reservations, prefix=f"{number:016x}")
        start.wait()
        for _ in range(25):
            questions = [ask(f"customer-{n}", count=1) for n in range(8)]
            for question, decision in zip(questions, engine.decide(questions), strict=True):
                with lock:
                    total = handed_out.get(question.customer_id, 0) + len(decision.offers)
                    handed_out[question.customer_id] = total

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handed_out == {f"customer-{n}": cap for n in range(8)}


def test_a_rejection_lets_the_offer_rest_until_its_time_has_come(store):
    policy = "contact_policy: {cool_off: [{after: rejected, per: offer, for: 1h}]}\n"
    clock = StoppedClock()
    engine = make_engine(store, policy, clock=clock)
    (first,) = engine.decide([ask("anna", count=3)])
    present(store, "anna", first.decision_id, "card", ContactKind.REJECTED)
    (second,) = engine.decide([ask("anna", count=3)])
    assert sorted(offers_of(second)) == ["gift", "loan"]
    assert (REASON_COOLING_OFF, 1) in second.exclusions
    clock.time_ns += 3_600_000_000_000
    assert len(engine.decide([ask("anna", count=3)])[0].offers) == 3


def test_contacts_that_cannot_be_read_stop_what_is_capped_and_are_told(store):
    damaged = []
    engine = make_engine(store, ONCE, damaged=damaged)
    present(store, "anna", "00" * 16, "gone")

    def flip(transaction):
        record = bytearray(transaction.get(ACTIVITY, key_of("anna")))
        record[40] ^= 1
        transaction.put(ACTIVITY, key_of("anna"), bytes(record))

    store.write(flip)
    (decision,) = engine.decide([ask("anna")])
    assert decision.no_offer_reason == NoOfferReason.CONTACT_POLICY
    assert damaged == ["anna"]


RANDOM = "arms: {random_rate: 0.5, salt: x}\nholdout: {rate: 0.2, salt: y}\n"


def test_customers_stay_in_their_arm_and_the_shares_are_as_declared(store):
    engine = make_engine(store, RANDOM)
    questions = [ask(f"customer-{n}") for n in range(3_000)]
    arms = [decision.arm for decision in engine.decide(questions)]
    assert arms == [decision.arm for decision in make_engine(store, RANDOM).decide(questions)]
    shares = np.bincount(arms, minlength=4) / len(arms)
    # Of all customers; one standard deviation is 0.009.
    assert shares[[Arm.DECIDED, Arm.RANDOM, Arm.HOLDOUT]] == pytest.approx(
        [0.3, 0.5, 0.2], abs=0.04
    )


def test_chance_gives_each_eligible_offer_alike_and_says_so(store):
    engine = make_engine(store, "arms: {random_rate: 0.99, salt: x}\n")
    decisions = [d for d in engine.decide([ask("one", count=2)] * 3_000) if d.arm == Arm.RANDOM]
    first = [decision.offers[0] for decision in decisions]
    assert {ranked.choice_propensity for ranked in first} == {1 / 3}
    assert all(OfferReason.RANDOM_ARM in ranked.reasons for ranked in first)
    assert all(decision.offers[1].choice_propensity == 0 for decision in decisions)
    names = [ranked.offer for ranked in first]
    assert [names.count(name) / 3_000 for name in ("card", "gift", "loan")] == pytest.approx(
        [1 / 3] * 3, abs=0.04
    )


def test_without_chance_the_first_offer_was_certain(store):
    (decision,) = make_engine(store).decide([ask("anna", count=3)])
    assert [ranked.choice_propensity for ranked in decision.offers] == [1.0, 0.0, 0.0]
    assert decision.arm == Arm.DECIDED


def test_a_decision_can_be_repeated_from_its_id(store):
    policy = "arms: {random_rate: 0.99, salt: x}\n"
    engine = make_engine(store, policy)
    decisions = engine.decide([ask("one", count=3, request_id=f"r{n}") for n in range(50)])
    again = make_engine(store, policy, prefix="f" * 16).decide(
        [ask("one", count=3, request_id=f"r{n}") for n in range(50)]
    )
    assert [offers_of(d) for d in decisions] == [offers_of(d) for d in again]
    assert len({tuple(offers_of(d)) for d in decisions}) > 1
    assert seed_of(bytes(15) + b"\x05") == 5
