"""Event kinds and derived attributes that change: numbers in the log and in states stay."""

from dataclasses import astuple, replace

import hypothesis
import pytest
from hypothesis import strategies as st

from instanter import limits
from instanter.catalogue.schema import AttributeSource
from instanter.errors import CatalogueInvalidError
from tests.catalogue.worlds import compile_files, problems_of

VISIT = "  - {name: visit, fields: [{name: page, kind: category, values: [a, b]}]}\n"
BUY = "  - {name: buy, fields: [{name: amount, kind: number}, {name: online, kind: flag}]}\n"
COUNT = """\
  - {name: buys, kind: number, source: derived,
     derive: {event: buy, function: count, window: 30d}}
"""
SUM = """\
  - {name: spent, kind: number, source: derived,
     derive: {event: buy, function: sum, field: amount, window: 30d}}
"""
PAGE = """\
  - {name: page, kind: category, values: [a, b], source: derived,
     derive: {event: visit, function: last, field: page, window: 30d}}
"""
AGE = "  - {name: age, kind: number}\n"


def _files(events, attributes=AGE):
    return {"a.yaml": f"attributes:\n{attributes}", "e.yaml": f"events:\n{events}"}


def _publish(*versions):
    """Publish (events, attributes) one after the other and return the last compilation."""
    compilation, previous = None, None
    for version in versions:
        compilation = compile_files(_files(*version), previous)
        previous = compilation.catalogue
    return compilation


def _states(compilation):
    return {d.attribute: d.state_id for d in compilation.catalogue.derivations}


def test_the_code_of_an_event_is_never_given_to_another():
    catalogue = _publish((VISIT + BUY,), (BUY,), (BUY + VISIT.replace("visit", "call"),)).catalogue
    assert [(e.name, e.code, e.withdrawn) for e in catalogue.events] == [
        ("visit", 1, True),
        ("buy", 2, False),
        ("call", 3, False),
    ]
    assert all(field.withdrawn for field in catalogue.events[0].fields)


def test_an_event_that_returns_has_its_code_and_its_indexes_back():
    more = BUY.replace("fields: [", "fields: [{name: shop, kind: flag}, ")
    catalogue = _publish((VISIT + BUY,), (VISIT,), (more + VISIT,)).catalogue
    assert [(e.name, e.code, e.withdrawn) for e in catalogue.events] == [
        ("visit", 1, False),
        ("buy", 2, False),
    ]
    fields = catalogue.events[1].fields
    assert [(f.name, f.index, f.withdrawn) for f in fields] == [
        ("amount", 0, False),
        ("online", 1, False),
        ("shop", 2, False),
    ]


def test_a_field_that_is_withdrawn_keeps_its_index_and_is_out_of_reach():
    without = BUY.replace("{name: amount, kind: number}, ", "")
    catalogue = _publish((BUY,), (without.replace("]", ", {name: paid, kind: number}]"),)).catalogue
    fields = catalogue.events[0].fields
    assert [(f.name, f.index, f.withdrawn) for f in fields] == [
        ("amount", 0, True),
        ("online", 1, False),
        ("paid", 2, False),
    ]
    (problem,) = problems_of(_files(without, SUM), catalogue)
    assert (problem.text, "is not a field of buy" in problem.message) == ("amount", True)


def test_the_kind_of_a_field_cannot_change():
    for versions in ([(BUY,)], [(BUY,), (VISIT,)]):
        previous = _publish(*versions).catalogue
        changed = BUY.replace("online, kind: flag", "online, kind: instant")
        (problem,) = problems_of(_files(changed), previous)
        assert (problem.file, problem.line) == ("e.yaml", 2)
        assert (problem.field, problem.text) == ("events/buy.fields/online.kind", "instant")
        assert "Declare it under a new name" in problem.message


def test_values_of_a_field_keep_their_codes():
    catalogue = _publish((VISIT,), (VISIT.replace("[a, b]", "[c, b]"),)).catalogue
    (field,) = catalogue.events[0].fields
    assert (field.values, field.withdrawn_codes) == (("a", "b", "c"), {0})


def test_another_unit_of_a_field_is_a_warning():
    changed = BUY.replace("kind: number", "kind: number, unit: EUR")
    (warning,) = [w for w in _publish((BUY,), (changed,)).warnings if "events/" in w]
    assert "events/buy.fields/amount: the unit changes from 'none' to 'EUR'" in warning


def test_withdrawn_events_fields_and_values_count_towards_the_limits(monkeypatch):
    previous = _publish((VISIT + BUY,)).catalogue
    cases = (
        ("EVENT_KINDS_MAX", 2, "  - {name: call}\n", "events"),
        ("EVENT_FIELDS_MAX", 2, "  - {name: buy, fields: [{name: x, kind: flag}]}\n", "events/buy"),
        ("CATEGORY_VALUES_MAX", 3, VISIT.replace("[a, b]", "[c, d]"), "events/visit.fields/page"),
    )
    for limit, value, events, field in cases:
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, value)
            (problem,) = problems_of(_files(events), previous)
            assert problem.field.startswith(field)
            assert "withdrawn ones" in problem.message


def test_a_derived_attribute_has_a_slot_of_the_profile_for_good():
    catalogue = _publish((BUY, COUNT + AGE), (BUY, AGE), (BUY, SUM + AGE)).catalogue
    slots = {a.name: (a.source, a.slot) for a in catalogue.schema}
    assert slots == {"age": (AttributeSource.LOADED, 1), "spent": (AttributeSource.DERIVED, 2)}
    assert catalogue.schema.profile_slot_count == 3
    assert [a.name for a in catalogue.schema.withdrawn] == ["buys"]


def test_a_loaded_attribute_cannot_become_a_derived_one_nor_the_other_way_round():
    loaded = "  - {name: buys, kind: number}\n"
    for before, after in ((COUNT, loaded), (loaded, COUNT)):
        previous = _publish((BUY, before)).catalogue
        (problem,) = problems_of(_files(BUY, after), previous)
        assert problem.field == "attributes/buys.source"


@pytest.mark.parametrize(
    ("events", "attributes"),
    [
        (BUY, SUM + COUNT + AGE),
        (VISIT + BUY, COUNT + SUM),
        (
            BUY.replace("number", "number, unit: EUR"),
            (COUNT + SUM).replace("source", "unit: x, source"),
        ),
        (BUY, COUNT + SUM.replace("kind", "description: all, kind")),
        (BUY, COUNT + SUM.replace("30d", "720h")),
    ],
)
def test_words_around_a_derivation_leave_its_state_alone(events, attributes):
    compilation = _publish((BUY, COUNT + SUM), (events, attributes))
    assert _states(compilation) == {"buys": 1, "spent": 2}
    assert compilation.catalogue.state_id_next == 3


@pytest.mark.parametrize(
    "changed",
    [
        COUNT.replace("30d", "29d"),
        COUNT.replace("window", "half_life"),
        COUNT.replace("window: 30d", "window: 30d, where: online"),
        COUNT.replace("event: buy", "event: visit"),
        COUNT.replace("function: count", "function: time_since_last"),
        COUNT.replace("function: count", "function: sum, field: amount"),
    ],
)
def test_another_derivation_gets_a_state_of_its_own(changed):
    compilation = _publish((BUY + VISIT, COUNT + SUM), (BUY + VISIT, changed + SUM))
    assert _states(compilation) == {"buys": 3, "spent": 2}
    back = _publish(
        (BUY + VISIT, COUNT + SUM), (BUY + VISIT, changed + SUM), (BUY + VISIT, COUNT + SUM)
    )
    assert _states(back) == {"buys": 4, "spent": 2}


def test_a_derived_attribute_that_returns_begins_with_a_new_state():
    compilation = _publish((BUY, COUNT + SUM), (BUY, SUM), (BUY, COUNT + SUM))
    assert _states(compilation) == {"buys": 3, "spent": 2}
    assert compilation.catalogue.schema.derived["buys"].slot == 0
    assert compilation.warnings == (
        "there are no offers: every decision will be empty",
        "attributes: return without the events so far, because they were withdrawn: buys",
    )


def test_an_attribute_has_the_codes_of_the_field_that_it_shows():
    changed = VISIT.replace("[a, b]", "[c, b]")
    late = _publish((VISIT,), (changed, PAGE.replace("[a, b]", "[b, c]"))).catalogue
    page = late.schema.derived["page"]
    assert (page.values, page.withdrawn_codes) == (("a", "b", "c"), {0})
    both = _publish((VISIT, PAGE), (changed, PAGE.replace("[a, b]", "[c, b]"))).catalogue
    assert both.schema.derived["page"].values == ("a", "b", "c")


def test_codes_that_differ_from_those_of_the_field_are_refused():
    other = VISIT + "  - {name: view, fields: [{name: page, kind: category, values: [b, a]}]}\n"
    previous = _publish((other, PAGE)).catalogue
    (problem,) = problems_of(_files(other, PAGE.replace("visit", "view")), previous)
    assert problem.field == "attributes/page.values"
    assert "have other codes than those of view.page" in problem.message
    late = other.replace("[a, b]", "[a, b, c, d]")
    (problem,) = problems_of(_files(late, PAGE.replace("[a, b]", "[a, b, d, c]")), previous)
    assert "list new values in the same order" in problem.message


def test_another_field_is_another_derivation():
    buy = BUY.replace("fields: [", "fields: [{name: tax, kind: number}, ")
    changed = SUM.replace("field: amount", "field: tax")
    assert _states(_publish((buy, SUM), (buy, changed))) == {"spent": 2}


def test_a_field_that_is_gone_is_told_as_gone():
    compilation = _publish((BUY,), (BUY.replace(", {name: online, kind: flag}", ""),))
    (change,) = compilation.changes
    (field,) = change.fields
    assert "online" in field.old_value
    assert "online" not in field.new_value


_KINDS = {"a": "number", "b": "flag", "c": "category, values: [x, y]"}
_derive = st.sampled_from(
    [
        "{event: e1, function: count, window: 1d}",
        "{event: e2, function: count, half_life: 1d}",
        "{event: e1, function: count, window: 1d, where: has(event.b)}",
        "{event: e2, function: distinct, field: b, window: 1d}",
        "{event: e2, function: distinct, field: c, window: 1d}",
    ]
)
_versions = st.fixed_dictionaries(
    {
        "events": st.dictionaries(
            st.sampled_from(["e1", "e2", "e3"]),
            st.lists(st.sampled_from(sorted(_KINDS)), unique=True),
            min_size=1,
        ),
        "derived": st.dictionaries(st.sampled_from(["d1", "d2"]), _derive),
        "loaded": st.lists(st.sampled_from(["l1", "l2"]), unique=True),
    }
)


def _write(version):
    events = "".join(
        f"  - name: {name}\n    fields: ["
        + ", ".join(f"{{name: {field}, kind: {_KINDS[field]}}}" for field in fields)
        + "]\n"
        for name, fields in version["events"].items()
    )
    attributes = "".join(f"  - {{name: {name}, kind: number}}\n" for name in version["loaded"])
    attributes += "".join(
        f"  - {{name: {name}, kind: number, source: derived, derive: {derive}}}\n"
        for name, derive in version["derived"].items()
    )
    return _files(events, attributes or AGE)


@hypothesis.settings(max_examples=60)
@hypothesis.given(st.lists(_versions, min_size=2, max_size=8))
def test_no_number_ever_means_something_else(versions):
    meanings = {}
    previous = None
    for version in versions:
        try:
            previous = compile_files(_write(version), previous).catalogue
        except CatalogueInvalidError:
            continue
        found = {("event", e.code): e.name for e in previous.events}
        for event in previous.events:
            found.update({("field", event.name, f.index): f.name for f in event.fields})
            assert [f.index for f in event.fields] == list(range(len(event.fields)))
        found.update({("slot", a.slot): a.name for a in previous.schema})
        for d in previous.derivations:
            found["state", d.state_id] = (d.attribute, *astuple(replace(d, condition_literal=0)))
            assert d.state_id < previous.state_id_next
        for number, meaning in found.items():
            assert meanings.setdefault(number, meaning) == meaning
