"""Schemas that change: slots and codes stay what they are."""

import pytest

from instanter import limits
from instanter.catalogue.schema import SCHEMA_EMPTY, Attribute, AttributeKind, AttributeSource
from tests.catalogue.worlds import compile_attributes, problems_of

AGE = "  - {name: age, kind: number, unit: years}\n"
TIER = "  - {name: tier, kind: category, values: [a, b, c]}\n"
MEMBER = "  - {name: member, kind: flag}\n"
DEVICE = "  - {name: device, kind: flag, source: context}\n"


def _publish(*versions):
    """Publish one version after the other and return the last compilation."""
    compilation, previous = None, None
    for version in versions:
        compilation = compile_attributes(version, previous)
        previous = compilation.catalogue
    return compilation


def _slots(compilation):
    return {a.name: a.slot for a in compilation.catalogue.schema}


def test_the_first_attributes_get_slots_in_the_order_they_stand_in():
    compilation = _publish(AGE + DEVICE + TIER)
    assert _slots(compilation) == {"age": 0, "tier": 1, "device": 0}
    schema = compilation.catalogue.schema
    assert (schema.profile_slot_count, schema.context_slot_count, schema.revision) == (2, 1, 1)


def test_a_slot_is_never_given_to_another_attribute():
    compilation = _publish(AGE + TIER, TIER, MEMBER + TIER)
    schema = compilation.catalogue.schema
    assert _slots(compilation) == {"tier": 1, "member": 2}
    assert schema.profile_slot_count == 3
    assert [a.name for a in schema.withdrawn] == ["age"]
    assert schema.revision == 3


def test_a_new_order_of_the_files_changes_nothing():
    compilation = _publish(AGE + TIER + DEVICE, DEVICE + TIER + AGE)
    assert _slots(compilation) == {"age": 0, "tier": 1, "device": 0}
    assert compilation.changes == ()
    assert compilation.catalogue.schema.revision == 1


def test_an_attribute_that_returns_gets_its_slot_and_codes_back():
    returned = TIER.replace("[a, b, c]", "[d, c]")
    compilation = _publish(TIER + AGE, AGE, AGE + returned)
    tier = compilation.catalogue.schema.loaded["tier"]
    assert (tier.slot, tier.values, tier.withdrawn_codes) == (0, ("a", "b", "c", "d"), {0, 1})
    assert compilation.catalogue.schema.withdrawn == ()
    assert "attributes/tier was withdrawn and returns" in compilation.warnings[0]


def test_an_attribute_that_returns_as_something_else_gets_a_new_slot():
    compilation = _publish(
        TIER + AGE, AGE, AGE + TIER.replace("category, values: [a, b, c]", "flag")
    )
    assert _slots(compilation) == {"age": 1, "tier": 2}
    assert compilation.catalogue.schema.withdrawn == ()


def test_category_values_keep_their_codes():
    compilation = _publish(TIER, TIER.replace("[a, b, c]", "[c, z, b]"))
    tier = compilation.catalogue.schema.loaded["tier"]
    assert tier.values == ("a", "b", "c", "z")
    assert tier.withdrawn_codes == {0}
    again = _publish(TIER, TIER.replace("[a, b, c]", "[c, z, b]"), TIER)
    assert again.catalogue.schema.loaded["tier"].withdrawn_codes == {3}


@pytest.mark.parametrize(
    ("changed", "field", "kind"),
    [
        ("  - {name: age, kind: flag}\n", "attributes/age.kind", "flag"),
        (AGE.replace("}", ", source: context}"), "attributes/age.source", "context"),
    ],
)
def test_kind_and_source_cannot_change(changed, field, kind):
    previous = _publish(AGE).catalogue
    (problem,) = problems_of({"b.yaml": f"attributes:\n{changed}"}, previous)
    assert (problem.file, problem.line, problem.field, problem.text) == ("b.yaml", 2, field, kind)
    assert "Declare it under a new name" in problem.message


def test_another_unit_is_a_warning():
    compilation = _publish(AGE, AGE.replace("years", "months"))
    assert "from 'years' to 'months'" in compilation.warnings[0]
    assert compilation.catalogue.schema.revision == 2


def test_more_than_a_page_of_slots_is_a_warning_and_more_than_two_an_error(monkeypatch):
    monkeypatch.setattr(limits, "PROFILE_SLOTS_PAGE", 2)
    monkeypatch.setattr(limits, "PROFILE_SLOTS_MAX", 3)
    monkeypatch.setattr(limits, "CONTEXT_SLOTS_MAX", 1)
    compilation = _publish(AGE + TIER, TIER + MEMBER)
    assert "3 slots, withdrawn ones included" in compilation.warnings[0]
    more = MEMBER.replace("member", "x")
    (problem,) = problems_of({"a.yaml": f"attributes:\n{more}{TIER}"}, compilation.catalogue)
    assert "would need 4 slots" in problem.message
    many = DEVICE + DEVICE.replace("device", "y")
    (problem,) = problems_of({"a.yaml": f"attributes:\n{many}"})
    assert "2 context attributes" in problem.message


def test_values_of_a_category_are_bounded_with_the_withdrawn_ones(monkeypatch):
    monkeypatch.setattr(limits, "CATEGORY_VALUES_MAX", 4)
    previous = _publish(TIER).catalogue
    changed = TIER.replace("[a, b, c]", "[x, y]")
    (problem,) = problems_of({"a.yaml": f"attributes:\n{changed}"}, previous)
    assert "5 values with withdrawn ones" in problem.message


def test_a_rule_cannot_use_what_was_withdrawn():
    shop = "currency: EUR\nchannels: {web: []}\noffers:\n  - name: o\n    value_minor: 1\n"
    rule = "    treatments: [{channel: web}]\n    eligibility: profile.tier == 'a'\n"
    previous = _publish(AGE + TIER).catalogue
    changed = TIER.replace("[a, b, c]", "[b]")
    files = {"a.yaml": f"attributes:\n{AGE}{changed}", "o.yaml": shop + rule}
    (problem,) = problems_of(files, previous)
    assert (problem.text, "is a withdrawn value" in problem.message) == ("a", True)
    (problem,) = problems_of({**files, "a.yaml": f"attributes:\n{AGE}"}, previous)
    assert (problem.file, problem.line, problem.text) == ("o.yaml", 7, "profile.tier")


def test_the_empty_schema_holds_nothing():
    assert list(SCHEMA_EMPTY) == []
    attribute = Attribute("a", AttributeKind.FLAG, AttributeSource.LOADED, 0)
    assert attribute.withdrawn_codes == frozenset()
