"""Outcomes through the wire: what counts, what is refused, and which request cannot be read."""

from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.v1 import decision_service_pb2 as messages
from instanter.v1.decision_service_pb2 import (
    DecideOffersRequest,
    DecideOffersResponse,
    Outcome,
    OutcomeResult,
    RecordOutcomesRequest,
)
from tests.api.refusals import refuse
from tests.api.shop import Shop

PRESENTED, ACCEPTED = messages.OUTCOME_KIND_PRESENTED, messages.OUTCOME_KIND_ACCEPTED
RECORDED, DUPLICATE = messages.OUTCOME_STATE_RECORDED, messages.OUTCOME_STATE_DUPLICATE


def decide(shop: Shop, customer: str) -> DecideOffersResponse:
    """Return a decision with at least one offer."""
    request = DecideOffersRequest(customer=f"customers/{customer}", channel="web", offer_count=5)
    response = shop.decisions.DecideOffers(request, timeout=20)
    assert response.offers
    return response


def make_outcome(made: DecideOffersResponse, /, **fields: Any) -> Outcome:
    """Return an outcome of the first offer."""
    given = {
        "decision": made.decision,
        "customer": "customers/olga",
        "offer": made.offers[0].offer,
        "kind": PRESENTED,
    }
    return Outcome(**{**given, **fields})


def record(shop: Shop, *outcomes: Outcome, **fields: Any) -> list[int]:
    """Record outcomes and return their states."""
    request = RecordOutcomesRequest(outcomes=outcomes, **fields)
    response = shop.decisions.RecordOutcomes(request, timeout=20)
    assert all(isinstance(result, OutcomeResult) for result in response.results)
    return [result.state for result in response.results]


def test_outcomes_count_once_in_the_request_s_order(shop: Shop) -> None:
    decision = decide(shop, "olga")
    presented = make_outcome(decision)
    accepted = make_outcome(decision, kind=ACCEPTED, value_minor=300)
    strange = make_outcome(decision, customer="customers/else")
    assert record(shop, presented, strange, accepted, presented) == [
        RECORDED,
        messages.OUTCOME_STATE_CUSTOMER_MISMATCH,
        RECORDED,
        DUPLICATE,
    ]
    assert record(shop, accepted, durability="DURABILITY_RELAXED") == [DUPLICATE]


def test_a_decision_nobody_made_is_unknown_after_a_moment(shop: Shop) -> None:
    decision = decide(shop, "olga")
    never = make_outcome(decision, decision="decisions/" + "0" * 32)
    assert record(shop, never, make_outcome(decision)) == [
        messages.OUTCOME_STATE_DECISION_UNKNOWN,
        RECORDED,
    ]


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"decision": "decisions/x"}, "outcomes[0].decision", "DECISION_NAME_INVALID"),
        ({"decision": ""}, "outcomes[0].decision", "DECISION_NAME_INVALID"),
        ({"customer": "olga"}, "outcomes[0].customer", "CUSTOMER_NAME_INVALID"),
        ({"offer": "tea"}, "outcomes[0].offer", "OFFER_NAME_INVALID"),
        ({"offer": ""}, "outcomes[0].offer", "OFFER_NAME_INVALID"),
        ({"kind": 0}, "outcomes[0].kind", "OUTCOME_KIND_INVALID"),
        ({"kind": 9}, "outcomes[0].kind", "OUTCOME_KIND_INVALID"),
        ({"value_minor": 1}, "outcomes[0].value_minor", "OUTCOME_VALUE_INVALID"),
        (
            {"kind": ACCEPTED, "value_minor": -1},
            "outcomes[0].value_minor",
            "OUTCOME_VALUE_INVALID",
        ),
        (
            {"outcome_time": Timestamp(seconds=-1)},
            "outcomes[0].outcome_time",
            "OUTCOME_TIME_INVALID",
        ),
        (
            {"outcome_time": Timestamp(seconds=8_000_000_000)},
            "outcomes[0].outcome_time",
            "OUTCOME_TIME_INVALID",
        ),
    ],
)
def test_an_outcome_that_cannot_be_one_refuses_the_call(
    shop: Shop, fields: dict[str, Any], field: str, reason: str
) -> None:
    decision = decide(shop, "olga")
    request = RecordOutcomesRequest(outcomes=[make_outcome(decision, **fields)])
    refusal = refuse(shop.decisions.RecordOutcomes, request)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert refusal.fields == [field]
    if "decision" not in fields:
        # Nothing half-done stays behind.
        assert record(shop, make_outcome(decision)) == [RECORDED]


@pytest.mark.parametrize("count", [0, 1001])
def test_no_or_too_many_outcomes_are_refused(shop: Shop, count: int) -> None:
    outcome = make_outcome(decide(shop, "olga"))
    request = RecordOutcomesRequest(outcomes=[outcome] * count)
    refusal = refuse(shop.decisions.RecordOutcomes, request)
    assert (refusal.reason, refusal.fields) == ("OUTCOME_COUNT_INVALID", ["outcomes"])
