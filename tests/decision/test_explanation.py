"""Explanations: the replay finds what the decision found, and says it in words."""

import math

import numpy as np
import pytest

from instanter.catalogue.schema import MISSING_CODE
from instanter.decision.contacts import (
    Contact,
    ContactKind,
    code_of,
    group_code_of,
    record_contact,
)
from instanter.decision.engine import DecisionEngine
from instanter.decision.explanation import CONTRIBUTIONS_MAX, explain_decision
from instanter.decision.questions import Arm
from instanter.decision.recording import decode_turn
from instanter.decision.tables import make_tables
from instanter.kernels.arbitration import REASON_CAPPED, REASON_COOLING_OFF
from instanter.store.activity import CONTACTS, put_activity
from instanter.store.environment import Environment
from instanter.store.profiles import put_profile
from instanter.store.records import key_of
from tests.decision.test_engine import NOW_NS, StoppedClock, ask
from tests.decision.worlds import FILES, draw_slots, make_catalogue, make_score_table

POLICY = """
contact_policy:
  time_zone: Europe/Berlin
  caps: [{name: twice, per: offer, count: 2, window: 7d}]
  cool_off: [{after: rejected, per: offer, for: 30d}]
  quiet_hours: [{channels: [store], from: "00:00", to: "23:59"}]
  consent: [{attribute: member, purpose: gold}]
"""


@pytest.fixture
def store(tmp_path):
    environment = Environment.open(tmp_path / "store")
    yield environment
    environment.close()


class World:
    """An engine whose decisions are recorded, and what explains them."""

    def __init__(self, store, files=FILES, seed=1, now_ns=NOW_NS):
        self.store = store
        self.catalogue = make_catalogue(files)
        self.tables = make_tables(self.catalogue, make_score_table(self.catalogue, seed))
        self.records = []
        self.profiles = {}
        self.sections = {}
        self.engine = DecisionEngine(
            store,
            StoppedClock(now_ns),
            decision_id_prefix="0123456789abcdef",
            on_damaged=print,
            record=self.records.append,
        )
        self.engine.install(self.tables)

    def put(self, customer, **values):
        slots = np.full(self.catalogue.schema.profile_slot_count, MISSING_CODE, np.uint32)
        for name, value in values.items():
            attribute = self.catalogue.schema.loaded[name]
            number = isinstance(value, float)
            slots[attribute.slot] = np.float32(value).view("u4") if number else value
        self.put_slots(customer, slots)

    def put_slots(self, customer, slots):
        self.profiles[customer] = slots
        self.store.write(
            lambda t: put_profile(
                t, key_of(customer), slots, schema_revision=1, now_ms=1, slot_mask=None
            )
        )

    def note(self, customer, offer, kind, age_s=60):
        contact = Contact(
            NOW_NS // 10**9 - age_s,
            code_of(offer),
            group_code_of(offer, ""),
            code_of("web"),
            int(kind),
            abs(age_s),
        )
        section = record_contact(self.sections.get(customer, b""), contact)
        self.sections[customer] = section
        self.store.write(lambda t: put_activity(t, key_of(customer), {CONTACTS: section}))

    def explain(self, question, tables=None):
        (answer,) = self.engine.decide([question])
        decision = decode_turn(self.records[-1]).decision(0)
        customer = question.customer_id
        return answer, explain_decision(
            tables or self.tables,
            decision,
            self.profiles.get(customer),
            self.sections.get(customer, b""),
        )


def by_name(explanation):
    return {offer.offer: offer for offer in explanation.offers}


@pytest.mark.parametrize("seed", range(12))
def test_the_replay_finds_what_the_decision_found(store, seed):
    world = World(store, FILES | {"policy.yaml": POLICY}, seed)
    draw = np.random.default_rng(seed)
    for n, slots in enumerate(draw_slots(world.catalogue, 6, seed)):
        customer = f"customer-{n}"
        if n < 5:
            world.put_slots(customer, slots)
        for _ in range(draw.integers(0, 4)):
            offer = ["any", "adult", "gold"][draw.integers(3)]
            world.note(customer, offer, draw.choice([0, 0, 1]), int(draw.integers(1, 10**6)))
        answer, found = world.explain(ask(customer, context={"basket": 60.0, "device": "phone"}))
        decision = found.decision
        assert found.models_unchanged
        assert [o.offer for o in found.offers if o.rank] == [o.offer for o in answer.offers]
        if decision.arm == Arm.HOLDOUT:
            continue
        counts = [0] * len(decision.reason_counts)
        for offer in found.offers:
            counts[offer.exclusion_reason] += 1
            assert bool(offer.exclusion_detail) == bool(offer.exclusion_reason)
        assert tuple(counts) == decision.reason_counts


def test_rules_are_shown_with_the_values_that_decided(store):
    world = World(store)
    world.put("anna", age=17.0, segment=1)
    _, found = world.explain(ask("anna"))
    offers = by_name(found)
    assert offers["adult"].exclusion_detail == (
        "eligibility `profile.age >= 18` is false: profile.age is 17"
    )
    assert offers["gold"].exclusion_detail == (
        "eligibility `profile.segment == 'gold' || profile.spend > 500` cannot be decided: "
        "profile.spend is missing"
    )
    assert offers["late"].exclusion_detail == "valid from 2030-01-01T00:00:00Z"
    assert offers["worthless"].exclusion_detail.endswith("× value 0 × lever 1 is 0")
    assert "context.device is missing" in offers["phone"].exclusion_detail


def test_an_offer_without_a_treatment_here_says_where(store):
    _, found = World(store).explain(ask("anna", placement="basket"))
    assert by_name(found)["adult"].exclusion_detail == (
        "no treatment for channel 'web' and placement 'basket'"
    )


@pytest.mark.parametrize(
    ("treatments", "detail"),
    [
        (
            "{channel: web, placements: [home]}",
            "no treatment for channel 'web' without a placement; it has one at 'home'",
        ),
        (
            "{channel: web, name: b, placements: [basket]}, {channel: web, placements: [home]}",
            "no treatment for channel 'web' without a placement; it has one at 'basket' and 'home'",
        ),
        ("{channel: store}", "no treatment for channel 'web'"),
    ],
)
def test_an_offer_for_placements_says_so_where_none_was_asked_for(store, treatments, detail):
    offers = f"""
offers:
  - name: placed
    value_minor: 100
    treatments: [{treatments}]
"""
    _, found = World(store, FILES | {"offers.yaml": offers}).explain(ask("anna", placement=""))
    assert by_name(found)["placed"].exclusion_detail == detail


def test_the_contact_policy_is_explained_with_counts_times_and_names(store):
    files = FILES | {"policy.yaml": POLICY}
    files["offers.yaml"] = files["offers.yaml"].replace(
        "name: gold\n", "name: gold\n    purpose: gold\n"
    )
    world = World(store, files)
    world.put("anna", age=30.0, segment=0, member=0)
    for age_s in (60, 3_600):
        world.note("anna", "any", ContactKind.PRESENTED, age_s)
    world.note("anna", "adult", ContactKind.REJECTED)
    _, found = world.explain(ask("anna"))
    offers = by_name(found)
    assert offers["any"].exclusion_reason == REASON_CAPPED
    assert offers["any"].exclusion_detail == ("cap 'twice' allows 2 in 7d for the offer; 2 counted")
    assert offers["adult"].exclusion_reason == REASON_COOLING_OFF
    assert offers["adult"].exclusion_detail == (
        "the offer rests for 30d after rejected at 2026-09-21T14:12:20Z"
    )
    _, found = world.explain(ask("anna", channel="store", placement=""))
    assert by_name(found)["any"].exclusion_detail == (
        "quiet from 00:00 to 23:59; the customer's time was 16:13"
    )
    world.put("anna", age=30.0, segment=0, member=1)
    _, found = world.explain(ask("anna"))
    assert by_name(found)["gold"].exclusion_detail == ""


def test_a_missing_consent_names_what_needs_it(store):
    policy = "contact_policy: {consent: [{attribute: member, channel: web}]}"
    world = World(store, FILES | {"policy.yaml": policy})
    _, found = world.explain(ask("nobody"))
    assert by_name(found)["any"].exclusion_detail == "member is missing; channel 'web' needs it"
    world.put("anna", member=0)
    _, found = world.explain(ask("anna"))
    assert by_name(found)["any"].exclusion_detail == "member is false; channel 'web' needs it"


@pytest.mark.parametrize(
    ("eligibility", "age", "detail"),
    [
        ("has(profile.spend)", 17.0, "is false: profile.spend is missing"),
        (
            "profile.age / profile.spend > 3",
            17.0,
            "cannot be decided: profile.age is 17, profile.spend is missing",
        ),
        (
            "profile.age / (profile.age - profile.age) > 3",
            17.0,
            "cannot be decided: profile.age is 17",
        ),
        ("profile.age > 17.0001", 17.00001, "is false: profile.age is 17.00001"),
    ],
)
def test_a_rule_is_explained_with_all_that_it_turns_on(store, eligibility, age, detail):
    offer = "  - {name: any, value_minor: 1, treatments: [{channel: web}], eligibility: %s}\n"
    world = World(store, FILES | {"offers.yaml": "offers:\n" + offer % eligibility})
    world.put("anna", age=age)
    _, found = world.explain(ask("anna"))
    assert by_name(found)["any"].exclusion_detail == f"eligibility `{eligibility}` {detail}"


def test_contributions_are_the_strongest_differences_to_the_most_frequent_values(store):
    world = World(store)
    world.put("anna", age=71.0, spend=17.5, segment=1, member=1)
    _, found = world.explain(ask("anna", context={"basket": 60.0}))
    offer = by_name(found)["any"]
    strengths = [abs(c.log_odds) for c in offer.contributions]
    assert strengths == sorted(strengths, reverse=True)
    assert 0 < len(strengths) <= CONTRIBUTIONS_MAX
    values = {c.attribute: c.value for c in offer.contributions}
    assert (
        values.items()
        <= {
            "age": "71",
            "spend": "17.5",
            "segment": "silver",
            "member": "true",
            "joined": "missing",
            "basket": "60",
            "device": "missing",
            "channel": "web",
        }.items()
    )
    scores = world.tables.score_table
    raw = scores.scale[1] * (scores.base[1] + scores.context_base[1]) + scores.intercept[1]
    moved = raw + sum(c.log_odds for c in offer.contributions)
    calibrated = np.interp(moved, scores.calibration_x[1], scores.calibration_y[1])
    inside = scores.calibration_x[1][0] <= moved <= scores.calibration_x[1][-1]
    if inside:
        assert offer.propensity == pytest.approx(1 / (1 + math.exp(-calibrated)), rel=1e-9)


@pytest.mark.parametrize("lack", ["propensity", "value", "lever"])
def test_the_runner_up_wins_with_what_it_lacked_and_not_with_less(store, lack):
    world = World(store)
    world.put("anna", age=40.0, segment=0, spend=600.0, member=1)
    answer, found = world.explain(ask("anna"))
    first, second = answer.offers[:2]
    needed = found.runner_up
    assert needed.offer == second.offer
    factors = {
        "propensity": (needed.propensity_needed, second.propensity),
        "value": (needed.value_minor_needed, second.value_minor),
        "lever": (needed.lever_needed, second.lever),
    }
    wanted, had = factors[lack]
    assert wanted > had
    assert second.priority * wanted / had >= first.priority
    less = wanted - 1 if lack == "value" else wanted * (1 - 1e-6)
    assert second.priority * less / had <= first.priority


def test_other_models_are_told_and_the_recorded_figures_are_shown(store):
    world = World(store)
    other = make_tables(world.catalogue, make_score_table(world.catalogue, 99))
    answer, found = world.explain(ask("anna"), other)
    assert not found.models_unchanged
    assert found.offers[0].propensity == answer.offers[0].propensity


def test_in_the_holdout_it_is_shown_what_would_have_been(store):
    files = FILES | {"shop.yaml": FILES["shop.yaml"].replace("rate: 0.1", "rate: 0.999")}
    answer, found = World(store, files).explain(ask("anna"))
    assert answer.in_holdout
    assert found.runner_up is None
    assert all(offer.rank == 0 for offer in found.offers)
    assert by_name(found)["any"].priority > 0


@pytest.mark.parametrize(
    ("lever", "weight"), [("0.001", "1"), ("1e-8", "1e-7"), ("1e-200", "1e-120")]
)
def test_what_a_runner_up_needed_is_a_number_however_much_that_is(store, lever, weight):
    offers = f"""
offers:
  - {{name: mortgage, value_minor: 1000000000000000, treatments: [{{channel: web}}]}}
  - name: trinket
    value_minor: 1
    lever: {lever}
    treatments: [{{channel: web, weight: {weight}}}]
"""
    world = World(store, FILES | {"offers.yaml": offers})
    answer, found = world.explain(ask("anna"))
    assert [offer.offer for offer in answer.offers] == ["mortgage", "trinket"]
    needed = found.runner_up
    assert needed.offer == "trinket"
    assert needed.value_minor_needed <= 2**63 - 1
    # More than a catalogue may say.
    assert needed.value_minor_needed > 10**15
    assert math.isfinite(needed.propensity_needed)
    assert math.isfinite(needed.lever_needed)
