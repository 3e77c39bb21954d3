"""The rules and customers of `tests/cases`, which anybody can read and add to."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.catalogue.event_worlds import EVENT_FILES
from tests.catalogue.worlds import compile_rules, evaluate_rules, offers_with_rules, problems_of

CASES = Path(__file__).parents[1] / "cases"
FILES = sorted((CASES / "rules").glob("*.yaml"))
MISTAKES = yaml.safe_load((CASES / "rule_mistakes.yaml").read_text("utf-8"))["mistakes"]
DECLARED = yaml.safe_load((CASES / "declaration_mistakes.yaml").read_text("utf-8"))["mistakes"]
COMPARISONS = yaml.safe_load((CASES / "rules" / "comparisons.yaml").read_text("utf-8"))
TRUTHS = {"fails": 0, "unknown": 1, "holds": 2}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_rule_says_what_its_case_says(path):
    world = yaml.safe_load(path.read_text("utf-8"))
    rules = [case["rule"] for case in world["rules"]]
    catalogue = compile_rules(rules, yaml.safe_dump({"attributes": world["attributes"]}))
    checked = 0
    for index, case in enumerate(world["rules"]):
        assert set(case) <= {"rule", *TRUTHS}, "a case has a rule and customers, nothing else"
        for word, truth in TRUTHS.items():
            for customer in case.get(word, ()):
                values = dict(customer)
                now = values.pop("now", datetime(2026, 11, 1, tzinfo=UTC))
                found = evaluate_rules(catalogue, values, now.timestamp())[index]
                assert (case["rule"], customer, found) == (case["rule"], customer, truth)
                checked += 1
    assert checked > 10


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake["rule"])
def test_a_wrong_rule_is_refused_with_what_would_be_right(mistake):
    files = offers_with_rules([mistake["rule"]])
    files["attributes.yaml"] = yaml.safe_dump({"attributes": COMPARISONS["attributes"]})
    (problem,) = problems_of(files)
    assert problem.file == "offers.yaml"
    assert problem.field == "offers/r0.eligibility"
    assert mistake["part"] in problem.text
    assert mistake["says"] in problem.message
    assert problem.suggestion == mistake.get("meant", "")


@pytest.mark.parametrize(
    ("rule", "part", "says"),
    [
        ("profile.age > " + "9" * 10_000, "(10,000 characters)", "to 9223372036854775807; write"),
        ("profile.age > -" + "9" * 10_000, "(10,001 characters)", "from -9223372036854775808 to"),
        ("profile.age > 9223372036854775808", "9223372036854775808'", "its number is too large"),
        ("profile.age > 0x" + "9" * 10_000, "(10,002 characters)", "to 9223372036854775807; write"),
        ("profile.age > 1e" + "9" * 10_000, "inf", "no finite value; numbers go up to 1.79e308"),
        ("profile." + "9" * 10_000 + " > 1", "characters)", "characters) cannot stand here"),
    ],
    ids=str.__len__,
)
def test_a_long_number_is_refused_in_short_with_its_bound(rule, part, says):
    files = offers_with_rules([rule])
    files["attributes.yaml"] = yaml.safe_dump({"attributes": COMPARISONS["attributes"]})
    (problem,) = problems_of(files)
    told = str(problem)
    assert part in told
    assert says in told
    assert len(told) < 300


def test_the_hint_of_a_long_number_is_not_about_zeros():
    files = dict(offers_with_rules(["true"]))
    long = "9" * 10_000
    files["offers.yaml"] = files["offers.yaml"].replace("value_minor:", f"value_minor: {long} #")
    (problem,) = problems_of(files)
    assert (problem.text, problem.message) == (
        f"{long[:50]}… (10,000 characters)",
        "must be a whole number, at least 0 and at most 1e+15",
    )


@pytest.mark.parametrize("mistake", DECLARED, ids=lambda mistake: mistake["declared"])
def test_a_wrong_declaration_is_refused_with_its_place_and_what_would_be_right(mistake):
    files = {path: text for path, text in EVENT_FILES.items() if path != mistake.get("instead_of")}
    (problem,) = problems_of({**files, "more.yaml": mistake["declared"]})
    assert (problem.file, problem.line) == ("more.yaml", mistake["line"])
    assert (problem.field, problem.text) == (mistake["field"], mistake.get("part", ""))
    assert mistake["says"] in problem.message
    assert problem.suggestion == mistake.get("meant", "")
