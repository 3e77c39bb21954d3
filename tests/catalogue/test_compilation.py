"""Catalogues that are refused, and what a compiled one holds."""

import math
import time

import numpy as np
import pytest

from instanter import limits
from instanter.catalogue.changes import Action
from instanter.errors import CatalogueInvalidError
from tests.catalogue.worlds import (
    ATTRIBUTES,
    FILES,
    OFFER,
    SHOP,
    compile_files,
    evaluate_rules,
    offers_with_rules,
    problems_of,
)


def _with_offer(lines):
    return {**FILES, "offers.yaml": f"{OFFER}    {lines}\n"}


def _with_attribute(entry):
    return {**FILES, "more.yaml": f"attributes:\n  - {entry}\n"}


def _the_problem(files, previous=None):
    (problem,) = problems_of(files, previous)
    return problem


def test_a_catalogue_compiles_to_arrays_in_the_order_of_names():
    files = {
        **FILES,
        "more.yaml": """\
offers:
  - name: americano
    value_minor: 1999
    valid_from: 2026-11-01
    valid_to: 2026-12-01T12:00:00+01:00
    lever: 1.5
    prior_propensity: 0.2
    eligibility: profile.age >= 18
    context_weights: [{when: context.basket_value > 10, weight: 2}]
    treatments:
      - {channel: web, placements: [home], weight: 3}
      - {channel: web, name: anywhere, content: banner-7}
      - {channel: store}
""",
    }
    catalogue = compile_files(files).catalogue
    assert [offer.name for offer in catalogue.offers] == ["americano", "espresso"]
    assert catalogue.value.tolist() == [19.99, 12.50]
    assert catalogue.lever.tolist() == [1.5, 1.0]
    assert catalogue.prior_propensity.tolist() == [0.2, 0.01]
    assert catalogue.valid_from_s.tolist() == [1793491200, 0]
    assert catalogue.valid_to_s.tolist() == [1796122800, 2.0**53]
    assert catalogue.rule_literal.shape == (3, 2)
    assert catalogue.rule_literal[0, 0] >= 0
    assert catalogue.rule_literal[1:].tolist() == [[-1, -1], [-1, -1]]
    assert catalogue.weight_offer.tolist() == [0]
    assert catalogue.weight_factor.tolist() == [2.0]
    shown = {pair: catalogue.treatment_index[i].tolist() for pair, i in catalogue.surfaces.items()}
    assert shown == {
        ("web", ""): [1, 0],
        ("web", "home"): [0, 0],
        ("web", "basket"): [1, 0],
        ("store", ""): [2, -1],
    }
    assert catalogue.treatment_weight[catalogue.surfaces["web", "home"]].tolist() == [3.0, 1.0]


def test_amounts_count_in_the_minor_unit_of_the_currency():
    for code, value in (("EUR", 12.5), ("JPY", 1250.0), ("KWD", 1.25)):
        files = {**FILES, "shop.yaml": SHOP.replace("EUR", code)}
        assert compile_files(files).catalogue.value.tolist() == [value]


def test_equal_comparisons_are_stored_once_and_unused_parts_not_at_all():
    rule = "profile.age > 18 && profile.income > 5.0 && profile.member && has(profile.age)"
    program = compile_files(offers_with_rules([rule] * 20)).catalogue.program
    assert len(program.predicate_value) == 4
    assert len(program.node_start) == 2
    assert len(program.constants) == 0
    assert len(program.input_slot) == 3


def test_all_mistakes_of_all_files_are_told_at_once():
    files = {
        **FILES,
        "bad.yaml": "offers:\n  - name: Mokka\n    valu_minor: 3\n",
        "broken.yaml": "offers: [\n",
        "empty.yaml": "# nothing\n",
    }
    found = [(p.file, p.line, p.field, p.suggestion) for p in problems_of(files)]
    assert found == [
        ("bad.yaml", 2, "offers/Mokka.treatments", ""),
        ("bad.yaml", 2, "offers/Mokka.value_minor", ""),
        ("bad.yaml", 2, "offers/Mokka.name", "mokka"),
        ("bad.yaml", 3, "offers/Mokka.valu_minor", "value_minor"),
        ("broken.yaml", 2, "content", ""),
        ("empty.yaml", 0, "content", ""),
    ]


def test_two_offers_of_one_name_are_refused_with_both_places():
    problem = _the_problem({**FILES, "zz.yaml": f"\n\n{OFFER}"})
    assert (problem.file, problem.line, problem.field) == ("zz.yaml", 4, "offers/espresso")
    assert "declared already in offers.yaml:2" in problem.message


def test_two_attributes_of_one_name_are_refused_with_both_places():
    problem = _the_problem(_with_attribute("{name: age, kind: flag, source: context}"))
    assert (problem.file, problem.field) == ("more.yaml", "attributes/age")
    assert "attributes.yaml:2" in problem.message


@pytest.mark.parametrize(
    ("entry", "field", "message", "suggestion"),
    [
        ("{name: 2nd, kind: flag}", "attributes/2nd.name", "does not begin with a digit", "_2nd"),
        ("{name: a b, kind: flag}", "attributes/a b.name", "letters, digits", "a_b"),
        ("{name: in, kind: flag}", "attributes/in.name", "CEL keeps this word", "in_"),
        ("{name: '', kind: flag}", "attributes[0].name", "is empty", ""),
        ("{name: a, kind: numbr}", "attributes/a.kind", "must be one of number", "number"),
        ("{name: a}", "attributes/a.kind", "is missing", ""),
        ("{kind: flag}", "attributes[0].name", "is missing", ""),
        ("{name: a, kind: category}", "attributes/a.values", "needs its values", ""),
        ("{name: a, kind: category, values: []}", "attributes/a.values", "at least one", ""),
        ("{name: a, kind: category, values: [x, x]}", "attributes/a.values", "twice", ""),
        ("{name: a, kind: category, values: [no]}", "attributes/a.values", "write 'no' in q", ""),
        ("{name: a, kind: flag, values: [x]}", "attributes/a.values", "belongs to a category", ""),
        ("{name: a, kind: flag, unit: m}", "attributes/a.unit", "belongs to a number", ""),
        ("{name: a, kind: number, range: [3, 1]}", "attributes/a.range", "must not be above", ""),
        ("{name: a, kind: number, range: [1]}", "attributes/a.range", "[lowest, highest]", ""),
        ("{name: a, kind: number, range: 3}", "attributes/a.range", "must be a list", ""),
        ("{name: a, kind: number, range: [.nan, 1]}", "attributes/a.range", "be finite", ""),
        ("{name: a, kind: number, range: [0, .inf]}", "attributes/a.range", "be finite", ""),
        ("{name: a, kind: number, range: [0, 1e39]}", "attributes/a.range", "at most 3.40282", ""),
        ("{name: a, kind: number, range: ['0', 1]}", "attributes/a.range", "without quotes", ""),
        ("{name: a, kind: number, range: [010, 11]}", "attributes/a.range", "leading zeros", ""),
        ("{name: a, kind: flag, source: load}", "attributes/a.source", "must be one of", "loaded"),
        ("{name: a, kind: flag, column: age}", "attributes/a.column", "fills age already", ""),
        (
            "{name: a, kind: flag, source: context, column: x}",
            "attributes/a.column",
            "only loaded attributes",
            "",
        ),
        ("{name: a, kind: flag, knd: 3}", "attributes/a.knd", "is not known here", "kind"),
        ("just text", "attributes[0]", "must be a mapping", ""),
        ("{name: [a], kind: flag}", "attributes[0].name", "must be a text", ""),
    ],
)
def test_a_wrong_attribute_is_refused(entry, field, message, suggestion):
    problem = _the_problem(_with_attribute(entry))
    assert (problem.file, problem.line, problem.field) == ("more.yaml", 2, field)
    assert message in problem.message
    assert problem.suggestion == suggestion


@pytest.mark.parametrize(
    ("lines", "field", "message"),
    [
        ("lever: -1", "lever", "at least 0"),
        ("lever: .nan", "lever", "must be finite"),
        ("lever: many", "lever", "must be a number"),
        ("prior_propensity: 0", "prior_propensity", "above 0 and below 1"),
        ("prior_propensity: 1", "prior_propensity", "above 0 and below 1"),
        ("valid_from: yesterday", "valid_from", "must be a date such as"),
        ("valid_from: 2026-02-30", "valid_from", "must be a date such as"),
        ("valid_from: 2026-02-03T10:00:00", "valid_from", "must be a date such as"),
        ("valid_from: 1969-12-31", "valid_from", "not before 1970"),
        ("valid_to: 1970-01-01", "valid_to", "later than valid_from"),
        ("title: no", "title", "write 'no' in quotes"),
        ("issue: Big Deal", "issue", "lower-case"),
        ("eligibility: [a]", "eligibility", "must be a rule in CEL"),
        ("eligibility: ''", "eligibility", "is empty"),
        ("context_weights: [{when: profile.member}]", "context_weights[0].weight", "is missing"),
        ("context_weights: [{when: profile.x, weight: 1}]", "context_weights[0].when", "schema"),
    ],
)
def test_a_wrong_offer_is_refused(lines, field, message):
    problem = _the_problem(_with_offer(lines))
    assert (problem.file, problem.line) == ("offers.yaml", 5)
    assert problem.field == f"offers/espresso.{field}"
    assert message in problem.message


@pytest.mark.parametrize("value", ["-1", "1.5", "1e3", "'12'", "no", "1_000", "9999999999999999"])
def test_a_value_must_be_a_whole_number_of_minor_units(value):
    files = {**FILES, "offers.yaml": OFFER.replace("1250", value)}
    problem = _the_problem(files)
    assert problem.field == "offers/espresso.value_minor"
    assert "whole number, at least 0" in problem.message


@pytest.mark.parametrize(
    ("treatments", "field", "message", "suggestion"),
    [
        ("[]", "", "at least one", ""),
        ("[{channel: webb}]", "[0].channel", "not a declared channel", "web"),
        ("[{channel: web, placements: [hom]}]", "[0].placements", "not a placement", "home"),
        ("[{channel: store, placements: [home]}]", "[0].placements", "placements are: none", ""),
        ("[{channel: web}, {channel: web, name: b}]", "[1].placements", "already", ""),
        (
            "[{channel: web}, {channel: web, placements: [home]}]",
            "[1].name",
            "taken by another",
            "",
        ),
        ("[{channel: web, weight: -1}]", "[0].weight", "at least 0", ""),
        ("[{channel: web, wait: 1}]", "[0].wait", "not known", "weight"),
        ("[{name: a}]", "[0].channel", "is missing", ""),
    ],
)
def test_a_wrong_treatment_is_refused(treatments, field, message, suggestion):
    files = {**FILES, "offers.yaml": OFFER.replace("[{channel: web}]", treatments)}
    problem = _the_problem(files)
    assert problem.field == f"offers/espresso.treatments{field}"
    assert message in problem.message
    assert problem.suggestion == suggestion


@pytest.mark.parametrize(
    ("shop", "field", "message"),
    [
        (SHOP.replace("EUR", "eur"), "currency", "ISO 4217"),
        (SHOP.replace("EUR", "XAU"), "currency", "ISO 4217"),
        (SHOP.replace("currency: EUR", ""), "currency", "is missing"),
        (SHOP + "holdout: {rate: 1}\n", "holdout.rate", "below 1"),
        (SHOP + "holdout: {salt: x}\n", "holdout.rate", "is missing"),
        (SHOP.replace("basket", "home"), "channels/web", "twice"),
        (SHOP.replace("store", "Store"), "channels/Store", "lower-case"),
    ],
)
def test_a_wrong_policy_is_refused(shop, field, message):
    problem = _the_problem({**FILES, "shop.yaml": shop})
    assert (problem.file, problem.field) == (
        "offers.yaml" if "missing" in message and field == "currency" else "shop.yaml",
        field,
    )
    assert message in problem.message


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("currency: EUR", "currency"),
        ("holdout: {rate: 0.1}", "holdout"),
        ("channels: {web: []}", "channels/web"),
    ],
)
def test_what_is_said_once_is_refused_when_it_is_said_again(section, field):
    files = {**FILES, "shop.yaml": f"{SHOP}holdout: {{rate: 0.1}}\n", "zz.yaml": section}
    problem = _the_problem(files)
    assert (problem.file, problem.line, problem.field) == ("zz.yaml", 1, field)
    assert "already in shop.yaml:" in problem.message


def test_the_line_of_a_mistake_is_found_inside_every_kind_of_text():
    bad = "profile.bad > 1"
    styles = {
        f"eligibility: {bad}": 5,
        f"eligibility: |\n      profile.age > 1\n\n      && {bad}": 8,
        f"eligibility: >-\n      profile.age > 1\n      && profile.income > 3\n      && {bad}": 8,
        f"eligibility: profile.age > 1\n      && profile.income > 3\n      && {bad}": 7,
        f"eligibility: 'profile.segment == ''gold''\n      && {bad}'": 6,
        f'eligibility: "profile.age > 1 &&\n      {bad}"': 6,
        f"context_weights:\n    - weight: 2\n      when: {bad}": 7,
    }
    for lines, line in styles.items():
        problem = _the_problem(_with_offer(lines))
        assert (problem.line, problem.suggestion) == (line, ""), lines
        assert problem.text == "profile.bad"


def test_every_mistake_of_a_rule_is_told():
    rule = "profile.aged > 1 && (profile.segment == 'golden' || !profile.membr) && 3"
    problems = problems_of(_with_offer(f"eligibility: {rule}"))
    assert [p.suggestion for p in problems] == ["profile.age", "gold", "profile.member", ""]


def test_a_rule_of_ten_megabytes_is_refused_at_once():
    rule = " || ".join(["profile.age > 1"] * 550_000)
    started = time.process_time()
    for size, field in ((10 << 20, "content"), (1 << 20, "offers/espresso.eligibility")):
        problem = _the_problem(_with_offer(f"eligibility: {rule[:size]}"))
        assert problem.field == field
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "rule",
    [
        "(" * 8_000 + "true" + ")" * 8_000,
        "!" * 16_000 + "profile.member",
        "profile.member ? " * 900,
        "profile.age > 1 + " * 500,
        "[" * 16_000,
        "f(" * 5_000,
        "has(" * 4_000,
        "'" * 16_000,
        "(profile.age < " * 1_000,
        "true || " * 2_000 + "(" * 50,
    ],
)
def test_a_rule_that_is_nested_too_deep_is_refused_at_once(rule):
    started = time.process_time()
    problems = problems_of(_with_offer(f'eligibility: "{rule}"'))
    assert time.process_time() - started < 2
    assert rule.startswith("!") or problems


def test_long_flat_rules_compile():
    rule = " || ".join(f"profile.age == {n}.0" for n in range(600))
    catalogue = compile_files(offers_with_rules([rule])).catalogue
    assert evaluate_rules(catalogue, {"age": 99}) == [2]


def test_all_rules_together_are_bounded(monkeypatch):
    rules = [f"profile.age > {n} && profile.income + {n}.0 > 1.0" for n in range(10)]
    for limit in ("PROGRAM_PREDICATES_MAX", "PROGRAM_EDGES_MAX", "PROGRAM_TERMS_MAX"):
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, 5)
            problem = _the_problem(offers_with_rules(rules))
            assert "in all rules together" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: &x 1\nb: *x\n", 1, "anchors are not allowed"),
        ("a: *x\n", 1, "aliases are not allowed"),
        ("currency: !!python/object/apply:os.system ['true']\n", 1, "tags such as"),
        ("currency: !!str EUR\n", 1, "tags such as"),
        ("currency: EUR\n---\ncurrency: EUR\n", 2, "one document"),
        ("currency:\n\t- EUR\n", 2, "not with tabs"),
        ("currency: 'a\x07'\n", 1, "control characters"),
        ("a\x00b", 1, "control characters"),
        ("? [a]\n: b\n", 1, "a key must be plain text"),
        ("[" * 40_000, 1, "nested deeper than 12"),
        ("- " * 40_000, 1, "nested deeper than 12"),
        ("{a: " * 40_000, 1, "nested deeper than 12"),
        ("offers: \ud800\n", 0, "UTF-8"),
        ("just text", 1, "must be a mapping"),
        ("- a\n", 1, "must be a mapping"),
        ("offers: 3\n", 1, "must be a list"),
        ("", 0, "holds nothing"),
        ("{}", 0, "holds nothing"),
        ("currency: EUR\ncurrency: EUR\n", 2, "stands here twice; first in line 1"),
        ("offer: []\n", 1, "is not known here"),
    ],
)
def test_yaml_that_is_more_than_plain_data_is_refused(text, line, message):
    problems = problems_of({"bad.yaml": text})
    assert problems
    assert message in problems[0].message
    assert (problems[0].file, problems[0].line) == ("bad.yaml", line)


def test_a_byte_order_mark_is_no_mistake():
    assert problems_of({**FILES, "shop.yaml": f"\ufeff{SHOP}"}) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no files"),
        ({"a.txt": SHOP}, "must end in .yaml"),
        ({"": SHOP}, "must be 1 to 255"),
        ({"a" * 252 + ".yaml": SHOP}, "must be 1 to 255"),
        ({f"{n}.yaml": "" for n in range(1001)}, "at most 1,000"),
        ({f"{n}.yaml": "#" * (4 << 20) for n in range(4)}, "at most 12,582,912"),
        ({"a.yaml": "#" * (4 << 20) + "#"}, "at most 4,194,304"),
    ],
    ids=["none", "suffix", "unnamed", "path", "count", "all", "one"],
)
def test_files_beyond_the_limits_are_refused(files, message):
    assert message in problems_of(files)[0].message


def test_a_flood_of_mistakes_is_cut_off():
    entries = "\n".join(f"  - {{name: a{n}, kind: nothing}}" for n in range(500))
    problems = problems_of({"a.yaml": f"attributes:\n{entries}\n"})
    assert len(problems) == limits.CATALOGUE_PROBLEMS_MAX


def test_a_catalogue_of_attributes_alone_compiles_with_a_warning():
    compilation = compile_files({"attributes.yaml": ATTRIBUTES})
    assert compilation.warnings == ("there are no offers: every decision will be empty",)
    assert compilation.catalogue.rule_literal.shape == (3, 0)


def test_numbers_as_text_keep_their_spelling():
    files = _with_offer("stock_keeping_unit: 00470011")
    assert compile_files(files).catalogue.offers[0].stock_keeping_unit == "00470011"


def test_nothing_that_is_kept_is_not_finite():
    catalogue = compile_files(_with_offer("lever: 1e6")).catalogue
    for name in ("value", "lever", "prior_propensity", "treatment_weight"):
        assert np.isfinite(getattr(catalogue, name)).all()
    assert math.isfinite(catalogue.holdout_rate)


def test_the_error_names_the_first_mistake():
    with pytest.raises(CatalogueInvalidError, match=r"2 mistakes; first: a\.yaml: content"):
        compile_files({"a.yaml": "", "b.yaml": ""})


def test_changes_are_told_in_the_words_of_the_files():
    old = compile_files({**FILES, "shop.yaml": f"{SHOP}  mobile: []\n"}).catalogue
    new = {
        "attributes.yaml": ATTRIBUTES.replace("[0, 120]", "[0, null]").replace(
            "  - {name: member, kind: flag}\n", "  - {name: premium, kind: flag}\n"
        ),
        "offers.yaml": OFFER.replace("1250", "1300") + "    valid_to: 2027-01-01\n",
        "shop.yaml": SHOP.replace("basket", "cart") + "holdout: {rate: 0.1}\n",
        "more.yaml": OFFER.replace("espresso", "lungo"),
    }
    changes = compile_files(new, old).changes
    assert [(c.action, c.resource) for c in changes] == [
        (Action.UPDATE, "attributes/age"),
        (Action.DELETE, "attributes/member"),
        (Action.CREATE, "attributes/premium"),
        (Action.DELETE, "channels/mobile"),
        (Action.UPDATE, "channels/web"),
        (Action.UPDATE, "offers/espresso"),
        (Action.CREATE, "offers/lungo"),
        (Action.UPDATE, "policies/holdout"),
    ]
    fields = {c.resource: [(f.field, f.old_value, f.new_value) for f in c.fields] for c in changes}
    assert fields["attributes/age"] == [("range", "[0.0, 120.0]", "[0.0, null]")]
    assert fields["channels/web"] == [("placements", "[home, basket]", "[home, cart]")]
    assert fields["offers/espresso"] == [
        ("valid_to", "", "'2027-01-01T00:00:00Z'"),
        ("value_minor", "1250", "1300"),
    ]
    assert fields["policies/holdout"] == [("rate", "0.0", "0.1")]
    assert fields["offers/lungo"] == []


def test_the_same_catalogue_in_other_files_and_words_is_no_change():
    old = compile_files(FILES).catalogue
    moved = {
        "all/everything.yml": f"# comment\n{SHOP}{ATTRIBUTES}"
        + OFFER.replace("1250", "+1250")
        + "    title: 'espresso'\n    lever: 1.0\n",
    }
    compilation = compile_files(moved, old, revision=2)
    assert compilation.changes == ()
    assert compilation.catalogue.schema.revision == 1
    assert compilation.catalogue.revision == 2


def test_compiling_is_a_pure_function():
    one, other = (compile_files(FILES).catalogue for _ in range(2))
    assert one.offers == other.offers
    for name in one.program.__slots__:
        np.testing.assert_array_equal(getattr(one.program, name), getattr(other.program, name))
