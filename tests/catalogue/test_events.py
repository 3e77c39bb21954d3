"""Events, derived attributes, contact policy, arms, outcomes and learning, as they compile."""

import numpy as np
import pytest

from instanter import limits
from instanter.catalogue.changes import Action
from instanter.catalogue.contact_policy import (
    CONTACT_POLICY_EMPTY,
    Cap,
    Consent,
    ContactPolicy,
    ContactScope,
    CoolOff,
    CoolOffCause,
    QuietHours,
)
from instanter.catalogue.events import Aggregation, Derivation, EventField, EventKind
from instanter.catalogue.program_builder import SOURCE_PROFILE_CODE, SOURCE_PROFILE_NUMBER
from instanter.catalogue.response import Arms, LearningRules, OutcomeRules
from instanter.catalogue.schema import AttributeKind, AttributeSource
from instanter.catalogue.serialization import from_bytes, to_bytes
from tests.catalogue.event_worlds import EVENT_FILES, evaluate_condition
from tests.catalogue.worlds import FILES, compile_files, problems_of

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
    assert catalogue.learning_rules == LearningRules(True, 5_000, 1.0, negative_at_once=False)
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


def _without(path):
    return {name: text for name, text in EVENT_FILES.items() if name != path}


def _with(path, old, new):
    assert old in EVENT_FILES[path]
    return {**EVENT_FILES, path: EVENT_FILES[path].replace(old, new)}


def test_a_catalogue_without_any_of_it_has_the_defaults():
    catalogue = compile_files(FILES).catalogue
    assert (catalogue.events, catalogue.derivations, catalogue.event_programs) == ((), (), {})
    assert catalogue.contact_policy == CONTACT_POLICY_EMPTY
    assert catalogue.arms == Arms()
    assert catalogue.outcome_rules == OutcomeRules()
    assert catalogue.learning_rules == LearningRules()
    assert catalogue.state_id_next == 1


def test_what_is_left_out_of_a_section_has_its_default():
    files = {
        **_without("response.yaml"),
        "response.yaml": "arms: {salt: x}\noutcomes: {wait: 30d}\nlearning: {exploration: 0.5}\n",
        "policy.yaml": "contact_policy:\n  caps: [{name: all, count: 9, window: 90d}]\n"
        "  cool_off: [{after: ignored, for: 90s}]\n  time_zone: Asia/Tokyo\n"
        "  quiet_hours: [{from: 12:30, to: '23:59'}]\n",
    }
    catalogue = compile_files(files).catalogue
    assert catalogue.arms == Arms(0.0, "x")
    assert catalogue.outcome_rules == OutcomeRules(30 * DAY_S, 30 * DAY_S)
    assert catalogue.learning_rules == LearningRules(True, 0, 0.5)
    assert catalogue.contact_policy == ContactPolicy(
        caps=(Cap("all", ContactScope.CUSTOMER, 9, 90 * DAY_S),),
        cool_offs=(CoolOff(CoolOffCause.IGNORED, ContactScope.OFFER, 90),),
        quiet_hours=(QuietHours((), 12 * 60 + 30, 23 * 60 + 59),),
        time_zone="Asia/Tokyo",
    )


def test_each_section_is_said_once():
    for section in ("contact_policy: {}", "arms: {}", "outcomes: {}", "learning: {}"):
        (problem,) = problems_of({**EVENT_FILES, "zz.yaml": f"{section}\n"})
        assert (problem.file, problem.line) == ("zz.yaml", 1)
        assert "is said already in " in problem.message


def test_rules_of_offers_read_derived_attributes_from_the_profile():
    catalogue = compile_files(EVENT_FILES).catalogue
    program = catalogue.program
    inputs = set(zip(program.input_source.tolist(), program.input_slot.tolist(), strict=True))
    assert inputs == {(SOURCE_PROFILE_NUMBER, 4), (SOURCE_PROFILE_CODE, 7)}


_QUIET = 'quiet_hours: [{from: "21:00", to: "08:00"}]'


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (
            "caps: [{name: a, count: 5, window: 1d}, {name: b, count: 3, window: 2d}]",
            ["caps/a can never be reached: b allows 3 in 2d already"],
        ),
        (
            "caps: [{name: a, count: 3, window: 1d, channel: web},{name: b, count: 3, window: 1d}]",
            ["caps/a can never be reached: b allows 3 in 1d"],
        ),
        ("caps: [{name: a, count: 3, window: 1d}, {name: b, count: 3, window: 1d}]", ["caps/a"]),
        ("caps: [{name: a, count: 3, window: 1d}, {name: b, count: 2, window: 1h}]", []),
        ("caps: [{name: a, count: 3, window: 1d}, {name: b, count: 4, window: 2d}]", []),
        (
            "caps: [{name: a, count: 3, window: 1d}, {name: b, count: 2, window: 2d, per: offer}]",
            [],
        ),
        (
            "caps: [{name: a, count: 3, window: 9h},{name: b, count: 2, window: 9d, channel: sms}]",
            [],
        ),
        (
            "caps: [{name: a, count: 3, window: 1d, channel: tv}]",
            ["no offer is shown in tv, which cap a names"],
        ),
        ("caps: [{name: a, count: 3, window: 1d, per: group}]", ["no offer has a group"]),
        ("cool_off: [{after: accepted, for: 1d, per: group}]", ["no offer has a group"]),
        (_QUIET, ["quiet hours are those of UTC for everybody; name the attribute"]),
        (f"{_QUIET}\n  time_zone: Asia/Tokyo", ["quiet hours are those of Asia/Tokyo"]),
        (f"{_QUIET}\n  time_zone: {{attribute: time_zone, default: UTC}}", []),
        (
            "consent: [{attribute: consent_email, purpose: marketin}]",
            ["no offer has the purpose marketin, which consent consent_email names; did you mean"],
        ),
        ("consent: [{attribute: consent_email, channel: tv}]", ["no offer is shown in tv"]),
        ("{}", []),
    ],
)  # fmt: skip
def test_a_policy_that_is_allowed_but_odd_is_a_warning(policy, words):
    files = {
        **EVENT_FILES,
        "policy.yaml": f"contact_policy:\n  {policy}\n",
        "offers.yaml": EVENT_FILES["offers.yaml"].replace("sms: []", "sms: [], tv: []"),
    }
    warnings = compile_files(files).warnings
    assert len(warnings) == len(words)
    for warning, part in zip(warnings, words, strict=True):
        assert warning.startswith("contact_policy")
        assert part in warning


def test_another_unit_than_that_of_the_field_is_a_warning():
    (warning,) = compile_files(_with("attributes.yaml", "unit: EUR, source", "source")).warnings
    assert "its unit is 'none', but that of purchase.amount" in warning


def test_a_time_zone_attribute_has_time_zones_for_values():
    (problem,) = problems_of(_with("attributes.yaml", "Asia/Tokyo", "Asia/Toky"))
    assert (problem.file, problem.field) == ("policy.yaml", "contact_policy.time_zone.attribute")
    assert "has the value 'Asia/Toky'" in problem.message


def test_all_of_it_is_bounded(monkeypatch):
    for limit, field in (
        ("EVENT_KINDS_MAX", "events"),
        ("EVENT_FIELDS_MAX", "events/purchase.fields"),
        ("DERIVATIONS_MAX", "attributes"),
        ("CAPS_MAX", "contact_policy.caps"),
        ("COOL_OFFS_MAX", "contact_policy.cool_off"),
        ("QUIET_HOURS_MAX", "contact_policy.quiet_hours"),
        ("CONSENTS_MAX", "contact_policy.consent"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, 0)
            assert field in [problem.field for problem in problems_of(EVENT_FILES)], limit


def test_conditions_of_one_event_are_bounded_together(monkeypatch):
    monkeypatch.setattr(limits, "PROGRAM_PREDICATES_MAX", 1)
    files = _with("offers.yaml", " && profile.last_department == 'food'", "")
    (problem,) = problems_of(files)
    assert (problem.field, problem.line) == ("attributes/purchases_online_30d.derive.where", 11)
    assert "more than 1 distinct comparisons" in problem.message


def test_changes_are_told_in_the_words_of_the_files():
    old = compile_files(EVENT_FILES).catalogue
    files = {
        "attributes.yaml": EVENT_FILES["attributes.yaml"]
        .replace("amount > 10.0 && online", "amount > 20.0 && online")
        .replace("half_life: 7d", "window: 36h"),
        "events.yaml": EVENT_FILES["events.yaml"].replace(", required: true", "")
        + "  - {name: visit}\n",
        "offers.yaml": EVENT_FILES["offers.yaml"].replace("purpose: marketing", "purpose: service"),
        "policy.yaml": EVENT_FILES["policy.yaml"].replace("count: 3", "count: 4"),
        "response.yaml": "holdout: {rate: 0.1}\nlearning: {exploration: 0.5}\n",
    }
    changes = compile_files(files, old).changes
    told = {
        change.resource: [(f.field, f.old_value, f.new_value) for f in change.fields]
        for change in changes
    }
    count = "event: purchase, function: count, window: 30d"
    spend = "event: purchase, function: sum, field: amount"
    amount = "name: amount, kind: number, unit: EUR, range: [0.0, 100000.0]"
    others = "{name: department, kind: category, values: [food, toys]}, {name: online, kind: flag}"
    web = "window: 1d, per: customer, channel: web"
    same_offer = "{name: same_offer, count: 2, window: 7d, per: offer}"
    assert told == {
        "attributes/purchases_online_30d": [
            (
                "derive",
                f"{{{count}, where: amount > 10.0 && online}}",
                f"{{{count}, where: amount > 20.0 && online}}",
            )
        ],
        "attributes/spend": [
            ("derive", f"{{{spend}, half_life: 7d}}", f"{{{spend}, window: 36h}}")
        ],
        "events/purchase": [
            (
                "fields",
                f"[{{{amount}, required: true}}, {others}]",
                f"[{{{amount}}}, {others}]",
            )
        ],
        "events/visit": [],
        "offers/espresso": [("purpose", "marketing", "service")],
        "policies/arms": [],
        "policies/contact_policy": [
            (
                "caps",
                f"[{{name: web_daily, count: 3, {web}}}, {same_offer}]",
                f"[{{name: web_daily, count: 4, {web}}}, {same_offer}]",
            )
        ],
        "policies/learning": [
            ("half_life_labels", "5000", "0"),
            ("exploration", "1.0", "0.5"),
            ("unanswered", "after_wait", "at_once"),
        ],
    }
    actions = {change.resource: change.action for change in changes}
    assert actions["events/visit"] is Action.CREATE
    assert actions["policies/arms"] is Action.DELETE


def test_everything_new_is_a_change_of_a_catalogue_that_had_none_of_it():
    old = compile_files(FILES).catalogue
    created = {
        c.resource for c in compile_files(EVENT_FILES, old).changes if c.action is Action.CREATE
    }
    assert {
        "attributes/spend",
        "events/purchase",
        "policies/arms",
        "policies/contact_policy",
        "policies/learning",
    } <= created
    assert "policies/outcomes" not in created, "24h and 30d are the defaults"
