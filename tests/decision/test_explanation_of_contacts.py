"""Explanations of what contacts stopped: those that are known now, and those that are not."""

import msgpack
import numpy as np
import pytest

from instanter.decision.contacts import (
    Contact,
    ContactKind,
    code_of,
    group_code_of,
    record_contact,
    tag_of,
)
from instanter.decision.explanation import explain_decision
from instanter.decision.recording import decode_turn
from instanter.decision.scoring import build_score_table
from instanter.decision.tables import make_tables
from instanter.kernels.arbitration import REASON_CAPPED, REASON_COOLING_OFF
from instanter.kernels.decision import TOLD_REASONS
from instanter.store.environment import Environment
from tests.decision.test_engine import NOW_NS, ask
from tests.decision.test_explanation import POLICY, World, by_name
from tests.decision.worlds import FILES


@pytest.fixture
def store(tmp_path):
    environment = Environment.open(tmp_path / "store")
    yield environment
    environment.close()


def test_contacts_after_the_decision_do_not_count(store):
    world = World(store, FILES | {"policy.yaml": POLICY})
    world.note("anna", "any", ContactKind.PRESENTED, 60)
    (_,) = world.engine.decide([ask("anna")])
    decision = decode_turn(world.records[-1]).decision(0)
    for later in (-10, -20, -30):
        world.note("anna", "any", ContactKind.PRESENTED, later)
    # Its own presentation falls into the same second.
    own = Contact(
        NOW_NS // 10**9, code_of("any"), 0, code_of("web"), 0, tag_of(decision.decision_id)
    )
    world.sections["anna"] = record_contact(world.sections["anna"], own)
    found = explain_decision(world.tables, decision, None, world.sections["anna"])
    assert by_name(found)["any"].exclusion_reason == 0


TOLD = 13
"""Place of `told` in the record of a turn."""

ONCE_EACH = "contact_policy: {caps: [{name: once, per: offer, count: 1, window: 1d}]}"
THREE = """
offers:
  - {name: best, value_minor: 10000, prior_propensity: 0.5, treatments: [{channel: web}]}
  - {name: good, value_minor: 100, prior_propensity: 0.5, treatments: [{channel: web}]}
  - {name: fair, value_minor: 1, prior_propensity: 0.5, treatments: [{channel: web}]}
"""


def open_three(store):
    """Return a world without models, half a second on, with three offers to be presented once."""
    files = FILES | {"offers.yaml": THREE, "policy.yaml": ONCE_EACH}
    world = World(store, files, now_ns=NOW_NS + 500_000_000)
    world.tables = make_tables(
        world.catalogue, build_score_table(None, world.catalogue, revision=1)
    )
    world.engine.install(world.tables)
    return world


def test_contacts_after_the_decision_in_its_own_second_do_not_count(store):
    world = open_three(store)
    (answer,) = world.engine.decide([ask("anna", count=1)])
    assert [offer.offer for offer in answer.offers] == ["best"]
    decision = decode_turn(world.records[-1]).decision(0)
    world.note("anna", "good", ContactKind.PRESENTED, -1)
    found = explain_decision(world.tables, decision, None, world.sections["anna"])
    assert by_name(found)["good"].exclusion_reason == 0
    assert found.runner_up.offer == "good"


def test_contacts_before_the_decision_in_its_own_second_count(store):
    world = open_three(store)
    world.note("anna", "best", ContactKind.PRESENTED, -1)
    answer, found = world.explain(ask("anna", count=1))
    assert [offer.offer for offer in answer.offers] == ["good"]
    assert by_name(found)["best"].exclusion_detail == (
        "cap 'once' allows 1 in 1d for the offer; 1 counted"
    )


def test_a_decision_of_a_build_that_knew_fewer_reasons_is_explained(store):
    world = open_three(store)
    world.engine.decide([ask("anna", count=1)])
    (answer,) = world.engine.decide([ask("anna", count=1)])
    assert [offer.offer for offer in answer.offers] == ["good"]
    fields = msgpack.unpackb(world.records[-1])
    # Reasons were counted up to this one, before stock told on offers.
    told = np.frombuffer(fields[TOLD], np.int16)[: TOLD_REASONS + REASON_COOLING_OFF + 1]
    fields[TOLD] = told.tobytes()
    decision = decode_turn(msgpack.packb(fields)).decision(0)
    found = by_name(explain_decision(world.tables, decision, None, b""))
    assert found["best"].exclusion_reason == REASON_CAPPED
    assert found["fair"].exclusion_reason == 0


def test_of_contacts_around_the_decision_in_its_own_second_those_of_the_better_offers_count(store):
    world = open_three(store)
    world.note("anna", "best", ContactKind.PRESENTED, -1)
    (answer,) = world.engine.decide([ask("anna", count=1)])
    assert [offer.offer for offer in answer.offers] == ["good"]
    decision = decode_turn(world.records[-1]).decision(0)
    world.note("anna", "fair", ContactKind.PRESENTED, -1)
    found = explain_decision(world.tables, decision, None, world.sections["anna"])
    assert by_name(found)["best"].exclusion_detail == (
        "cap 'once' allows 1 in 1d for the offer; 1 counted; what came in the second of the "
        "decision may have come after it"
    )
    assert by_name(found)["fair"].exclusion_reason == 0
    assert found.runner_up.offer == "fair"


REST = "contact_policy: {cool_off: [{after: rejected, per: offer, for: 30d}]}"


def test_an_answer_that_was_told_with_a_time_ahead_of_the_decision_is_found(store):
    world = World(store, FILES | {"policy.yaml": REST})
    world.note("anna", "any", ContactKind.REJECTED, -120)
    answer, found = world.explain(ask("anna"))
    assert "any" not in [offer.offer for offer in answer.offers]
    offer = by_name(found)["any"]
    assert offer.exclusion_reason == REASON_COOLING_OFF
    assert offer.exclusion_detail == (
        "the offer rests for 30d after rejected; the latest that is known, at "
        "2026-09-21T14:15:20Z, is later than the decision"
    )


def test_an_answer_that_a_later_one_has_taken_the_place_of_is_found(store):
    world = World(store, FILES | {"policy.yaml": REST})
    world.note("anna", "any", ContactKind.REJECTED, 60)
    world.engine.decide([ask("anna")])
    decision = decode_turn(world.records[-1]).decision(0)
    world.note("anna", "adult", ContactKind.REJECTED, -10)
    world.note("anna", "any", ContactKind.REJECTED, -3_600)
    offers = by_name(explain_decision(world.tables, decision, None, world.sections["anna"]))
    assert offers["any"].exclusion_reason == REASON_COOLING_OFF
    assert offers["adult"].exclusion_reason != REASON_COOLING_OFF


def test_an_answer_that_one_to_the_decision_itself_has_taken_the_place_of_is_found(store):
    world = World(store, FILES | {"policy.yaml": REST})
    world.note("anna", "any", ContactKind.REJECTED, 60)
    world.engine.decide([ask("anna")])
    decision = decode_turn(world.records[-1]).decision(0)
    own = tag_of(decision.decision_id)
    answer = Contact(NOW_NS // 10**9 + 9, code_of("any"), group_code_of("any", ""), 0, 1, own)
    section = record_contact(world.sections["anna"], answer)
    offers = by_name(explain_decision(world.tables, decision, None, section))
    assert offers["any"].exclusion_reason == REASON_COOLING_OFF


def test_how_many_of_those_that_rest_a_cap_stopped_first_is_said(store):
    rest = "cool_off: [{after: rejected, per: customer, for: 30d}]"
    policy = f"contact_policy: {{caps: [{{name: o, per: offer, count: 1, window: 1d}}], {rest}}}"
    files = FILES | {"offers.yaml": THREE, "policy.yaml": policy}
    world = World(store, files)
    world.engine.decide([ask("anna", count=1)])
    world.note("anna", "good", ContactKind.REJECTED)
    answer, found = world.explain(ask("anna"))
    assert list(answer.exclusions) == [(REASON_CAPPED, 1), (REASON_COOLING_OFF, 2)]
    assert by_name(found)["best"].exclusion_detail == (
        "everything rests for 30d after rejected at 2026-09-21T14:12:20Z; of the 3 offers of which "
        "that holds, a cap stopped 1 first"
    )


def test_answers_after_the_decision_let_nothing_rest(store):
    world = World(store, FILES | {"policy.yaml": REST})
    world.engine.decide([ask("anna")])
    decision = decode_turn(world.records[-1]).decision(0)
    world.note("anna", "any", ContactKind.REJECTED, -10)
    found = explain_decision(world.tables, decision, None, world.sections["anna"])
    assert by_name(found)["any"].exclusion_reason == 0


@pytest.mark.parametrize("stop", ["no priority", "rest"])
def test_what_reservations_stopped_first_is_not_told_as_stopped_by_what_comes_later(store, stop):
    caps = "caps: [{name: once, per: customer, count: 1, window: 1d}]"
    rests = "cool_off: [{after: rejected, per: offer, for: 30d}]"
    world = World(store, FILES | {"policy.yaml": f"contact_policy: {{{caps}, {rests}}}"})
    if stop == "rest":
        world.note("anna", "any", ContactKind.REJECTED)
        world.put("anna", age=30.0)
    world.explain(ask("anna"))
    answer, found = world.explain(ask("anna"))
    assert answer.offers == []
    offer = by_name(found)["any" if stop == "rest" else "worthless"]
    assert offer.exclusion_reason == REASON_CAPPED
    assert "others that had just been listed" in offer.exclusion_detail
    counts = [0] * len(found.decision.reason_counts)
    for one in found.offers:
        counts[one.exclusion_reason] += 1
    assert tuple(counts) == found.decision.reason_counts


def test_what_reservations_stopped_is_said_although_they_are_gone(store):
    policy = "contact_policy: {caps: [{name: once, per: customer, count: 1, window: 1d}]}"
    world = World(store, FILES | {"policy.yaml": policy})
    world.explain(ask("anna"))
    answer, found = world.explain(ask("anna"))
    assert answer.offers == []
    offer = by_name(found)["any"]
    assert offer.exclusion_reason == REASON_CAPPED
    assert "others that had just been listed" in offer.exclusion_detail


def test_what_reservations_stopped_is_said_although_the_list_is_full(store):
    world = open_three(store)
    world.engine.decide([ask("anna", count=1)])
    answer, found = world.explain(ask("anna", count=1))
    assert [offer.offer for offer in answer.offers] == ["good"]
    offers = by_name(found)
    assert offers["best"].exclusion_reason == REASON_CAPPED
    assert "others that had just been listed" in offers["best"].exclusion_detail
    assert offers["fair"].exclusion_reason == 0
    assert found.runner_up.offer == "fair", "the best offer lacked a contact, and no value"
