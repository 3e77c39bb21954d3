"""Explanations and reports as the client returns them."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from instanter.client import (
    Arm,
    AsyncClient,
    Client,
    Estimate,
    ExclusionReason,
    NotFoundError,
    RunnerUp,
)
from tests.client.reported import DECISION, EXPLANATION, UPLIFT
from tests.client.toy_server import ToyServer


@pytest.fixture(params=["blocking", "asynchronous"])
def ask(request: pytest.FixtureRequest, toy: ToyServer) -> Any:
    """Call a method of either client by name."""
    toy.explanation.CopyFrom(EXPLANATION)
    toy.uplift.CopyFrom(UPLIFT)

    async def call_asynchronously(name: str, *arguments: Any) -> Any:
        async with AsyncClient(toy.address) as client:
            return await getattr(client, name)(*arguments)

    def call(name: str, *arguments: Any) -> Any:
        if request.param == "asynchronous":
            return asyncio.run(call_asynchronously(name, *arguments))
        with Client(toy.address) as client:
            return getattr(client, name)(*arguments)

    return call


@pytest.mark.parametrize("name", [DECISION, f"decisions/{DECISION}"])
def test_an_explanation_is_plain_values(ask: Any, name: str) -> None:
    found = ask("explain_decision", name)
    assert (found.decision, found.customer, found.arm) == (DECISION, "c-17", Arm.DECIDED)
    assert found.decision_time == datetime(2026, 9, 21, 14, 13, 20, 250_000, UTC)
    assert [offer.rank for offer in found.offers] == [1, 0, 0, 0]
    assert found.offers[0].contributions[1].log_odds == -0.125
    assert [offer.stock_factor for offer in found.offers[:2]] == [0.0, 0.5]
    assert found.offers[2].exclusion_reason is ExclusionReason.CAPPED
    assert found.runner_up == RunnerUp("tea", 0.75, 1_201, 6.0)
    assert found.models_unchanged


def test_without_a_runner_up_there_is_none(ask: Any, toy: ToyServer) -> None:
    toy.explanation.ClearField("runner_up")
    assert ask("explain_decision", DECISION).runner_up is None


def test_a_decision_that_was_never_made_is_not_found(ask: Any) -> None:
    with pytest.raises(NotFoundError, match="never made"):
        ask("explain_decision", "0" * 32)


def test_what_is_not_known_of_the_uplift_is_none(ask: Any) -> None:
    found = ask("report_uplift")
    assert found.currency == "EUR"
    assert [arm.arm for arm in found.arms] == [Arm.DECIDED, Arm.HOLDOUT]
    assert found.arms[0].acceptance == Estimate(0.1, 0.0936, 0.1068)
    assert found.arms[1].acceptance is None
    assert found.acceptance_uplift is None
    assert found.value_uplift_over_holdout == Estimate(20.0, 15.25, 24.75)


def test_a_report_is_asked_for_by_times_and_offer(ask: Any, toy: ToyServer) -> None:
    start, end = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
    ask("report_uplift", start, end, "tea")
    (request,) = toy.seen
    assert (request.start_time.ToDatetime(UTC), request.end_time.ToDatetime(UTC)) == (start, end)
    assert request.offer == "offers/tea"
    ask("report_uplift")
    assert not toy.seen[1].HasField("start_time")
    assert toy.seen[1].offer == ""


def test_a_time_without_a_zone_is_refused_before_it_is_sent(ask: Any, toy: ToyServer) -> None:
    with pytest.raises(ValueError, match="start: 2026-11-01T00:00:00 has no time zone"):
        ask("report_uplift", datetime(2026, 11, 1))  # noqa: DTZ001 - the mistake itself
    assert toy.seen == []
