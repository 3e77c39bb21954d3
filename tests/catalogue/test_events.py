"""Events, derived attributes, contact policy, arms, outcomes and learning, as they compile."""

import numpy as np

from instanter.catalogue.contact_policy import (
    Cap,
    Consent,
    ContactPolicy,
    ContactScope,
    CoolOff,
    CoolOffCause,
    QuietHours,
)
from instanter.catalogue.events import Aggregation, Derivation, EventField, EventKind
from instanter.catalogue.response import Arms, LearningRules, OutcomeRules
from instanter.catalogue.schema import AttributeKind, AttributeSource
from instanter.catalogue.serialization import from_bytes, to_bytes
from tests.catalogue.event_worlds import EVENT_FILES, evaluate_condition
from tests.catalogue.worlds import compile_files

DAY_S = 86_400


def test_what_is_declared_is_what_compiles():
    catalogue = compile_files(EVENT_FILES).catalogue
    assert catalogue.events == (
        EventKind(
            "purchase",
            1,
            (
                EventField("amount", AttributeKind.NUMBER, 0, "EUR", 0.0, 100_000.0, required=True),
                EventField("department", AttributeKind.CATEGORY, 1, values=("food", "toys")),
                EventField("online", AttributeKind.FLAG, 2),
            ),
            "Something was paid for.",
        ),
    )
    slots = {name: attribute.slot for name, attribute in catalogue.schema.derived.items()}
    assert catalogue.schema.profile_slot_count == 10
    assert set(slots.values()) == set(range(4, 10))
    assert catalogue.derivations == (
        Derivation("purchases_30d", 4, 1, Aggregation.COUNT, "purchase", window_s=30 * DAY_S),
        Derivation(
            "purchases_online_30d",
            5,
            2,
            Aggregation.COUNT,
            "purchase",
            condition_literal=catalogue.derivations[1].condition_literal,
            condition="amount > 10.0 && online",
            window_s=30 * DAY_S,
        ),
        Derivation("spend", 6, 3, Aggregation.SUM, "purchase", 0, half_life_s=7 * DAY_S),
        Derivation("last_department", 7, 4, Aggregation.LAST, "purchase", 1, window_s=90 * DAY_S),
        Derivation("quiet_for", 8, 5, Aggregation.TIME_SINCE_LAST, "purchase", window_s=90 * DAY_S),
        Derivation("online_share", 9, 6, Aggregation.RATIO, numerator=5, denominator=4),
    )
    assert catalogue.state_id_next == 7
    assert catalogue.contact_policy == ContactPolicy(
        caps=(
            Cap("web_daily", ContactScope.CUSTOMER, 3, DAY_S, "web"),
            Cap("same_offer", ContactScope.OFFER, 2, 7 * DAY_S),
        ),
        cool_offs=(CoolOff(CoolOffCause.REJECTED, ContactScope.OFFER, 30 * DAY_S),),
        quiet_hours=(QuietHours(("sms",), 21 * 60, 8 * 60),),
        consents=(
            Consent("consent_email", 1, channel="email"),
            Consent("consent_marketing", 2, purpose="marketing"),
        ),
        time_zone="Europe/Berlin",
        time_zone_slot=3,
    )
    assert catalogue.arms == Arms(0.05, "winter")
    assert catalogue.outcome_rules == OutcomeRules(DAY_S, 30 * DAY_S)
    assert catalogue.learning_rules == LearningRules(True, 5_000, 1.0)
    assert [offer.purpose for offer in catalogue.offers] == ["marketing"]


def test_conditions_look_at_the_fields_of_one_event():
    catalogue = compile_files(EVENT_FILES).catalogue
    name = "purchases_online_30d"
    assert evaluate_condition(catalogue, name, {"amount": 11, "online": True}) == 2
    assert evaluate_condition(catalogue, name, {"amount": 10, "online": True}) == 0
    assert evaluate_condition(catalogue, name, {"amount": 11}) == 1


def test_everything_comes_back_from_bytes():
    catalogue = compile_files(EVENT_FILES).catalogue
    back = from_bytes(to_bytes(catalogue))
    assert compile_files(EVENT_FILES, back).changes == ()
    for name in (
        "events", "derivations", "state_id_next", "contact_policy", "arms", "outcome_rules",
        "learning_rules", "offers",
    ):  # fmt: skip
        assert getattr(back, name) == getattr(catalogue, name)
    assert all(a.source is AttributeSource.DERIVED for a in back.schema.derived.values())
    for event, program in catalogue.event_programs.items():
        for name in program.__slots__:
            ours, theirs = getattr(program, name), getattr(back.event_programs[event], name)
            np.testing.assert_array_equal(ours, theirs)
            assert not theirs.flags.writeable
