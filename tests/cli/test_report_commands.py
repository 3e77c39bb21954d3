"""`instanter explain` and `instanter report uplift`: what people read, and what programs do."""

import json

import pytest

from tests.cli.outcomes import Command
from tests.client.reported import DECISION, EXPLANATION, UPLIFT
from tests.client.toy_server import ToyServer


@pytest.fixture
def asked(command: Command, toy: ToyServer, monkeypatch: pytest.MonkeyPatch) -> Command:
    toy.explanation.CopyFrom(EXPLANATION)
    toy.uplift.CopyFrom(UPLIFT)
    monkeypatch.setenv("INSTANTER_SERVER", toy.address)
    return command


def test_an_explanation_says_who_won_what_was_stopped_and_what_came_next(asked: Command) -> None:
    found = asked("explain", DECISION)
    assert (found.code, found.err) == (0, "")
    for words in (
        "customers/c-17, web/home, 2026-09-21T14:13:20.250000Z, decided arm",
        "age 44 years +0.75, plan missing -0.125",
        "To be first, tea would have needed propensity 0.75, or value 1201, or lever 6.",
        "cap 'weekly' allows 3 in 7d for everything; 3 counted",
        "eligibility `profile.age < 30` is false: profile.age is 44",
        f"decision {DECISION}, profile 5, catalogue 3, models 2",
    ):
        assert words in found.out
    assert "they have learned since" not in found.out


def test_what_low_cover_takes_off_is_shown_beside_the_weight(asked: Command) -> None:
    assert "1 (stock × 0.5)" in asked("explain", DECISION).out


def test_stopped_offers_beyond_the_wanted_ones_are_counted(asked: Command) -> None:
    found = asked("explain", DECISION, "--stopped", "1")
    assert "and 1 offer more stopped" in found.out
    assert "profile.age" not in found.out


def test_what_cannot_be_reached_by_propensity_and_newer_models_are_said(
    asked: Command, toy: ToyServer
) -> None:
    toy.explanation.runner_up.propensity_needed = 1.25
    toy.explanation.models_unchanged = False
    found = asked("explain", DECISION)
    told = " ".join(found.out.split())
    assert "needed value 1201, or lever 6; no propensity would have been enough." in told
    toy.explanation.runner_up.value_minor_needed = 10**15 + 1
    told = " ".join(asked("explain", DECISION).out.split())
    assert "needed lever 6; no propensity and no value would have been enough." in told
    toy.explanation.runner_up.lever_needed = 1e7
    told = " ".join(asked("explain", DECISION).out.split())
    assert "No propensity, value or lever would have been enough for tea to be first." in told
    assert "models 2 (they have learned since)" in found.out


def test_an_explanation_as_json_has_all_fields(asked: Command) -> None:
    found = json.loads(asked("explain", DECISION, "--json").out)
    assert found["offers"][2]["exclusion_reason"] == "CAPPED"
    assert found["runner_up"]["value_minor_needed"] == 1_201


def test_a_decision_that_was_never_made_is_an_error_in_one_line(asked: Command) -> None:
    found = asked("explain", "0" * 32)
    assert found.code == 1
    assert found.err.startswith("error: 'decisions/000")


def test_the_report_is_a_table_of_arms_and_the_uplift(asked: Command) -> None:
    found = asked("report", "uplift")
    assert (found.code, found.err) == (0, "")
    for words in (
        "10,000",
        "10.00% [9.36%, 10.68%]",
        "32.00 [29.50, 34.50]",
        "uplift of acceptance, decided over random: not known",
        "over the holdout: +20.00 [+15.25, +24.75]",
        "minor units of EUR",
    ):
        assert words in found.out


def test_without_decisions_the_report_says_so(asked: Command, toy: ToyServer) -> None:
    toy.uplift.Clear()
    assert asked("report", "uplift").out == "No decisions.\n"


def test_the_report_is_asked_for_by_whole_days(asked: Command, toy: ToyServer) -> None:
    asked("report", "uplift", "--from", "2026-11-01", "--to", "2026-11-30", "--offer", "tea")
    (request,) = toy.seen
    assert request.start_time.ToJsonString() == "2026-11-01T00:00:00Z"
    assert request.end_time.ToJsonString() == "2026-11-30T23:59:59Z"
    assert request.offer == "offers/tea"


def test_a_day_that_is_none_is_a_usage_mistake(asked: Command, toy: ToyServer) -> None:
    found = asked("report", "uplift", "--from", "yesterday")
    assert found.code == 2
    assert "--from: 'yesterday' is no date; expected one such as 2026-11-30" in found.err
    assert toy.seen == []


def test_the_report_as_json_has_null_for_what_is_not_known(asked: Command) -> None:
    found = json.loads(asked("report", "uplift", "--json").out)
    assert found["acceptance_uplift"] is None
    assert found["arms"][0]["acceptance"] == {"value": 0.1, "low": 0.0936, "high": 0.1068}
