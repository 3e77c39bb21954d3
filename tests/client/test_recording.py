"""Events and outcomes through the two clients: what arrives, and what comes back."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from instanter import client as api
from instanter.client import Event, EventCounts, Outcome, OutcomeKind, OutcomeState
from instanter.v1 import durability_pb2
from tests.client.toy_server import ToyServer


def test_events_arrive_as_they_were_given(client: Any, toy: ToyServer) -> None:
    moment = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
    given = {"amount": 12.5, "online": True, "department": "food", "gift": None}
    events = [
        Event("c-1", "purchase", given, moment, "order-1"),
        Event("customers/c-2", "purchase"),
        Event("c-2", "purchase"),
    ]
    assert client.record_events(events) == EventCounts(3, 0)
    first, second, third = toy.seen[0].events
    assert (first.event_id, first.customer, first.kind) == ("order-1", "customers/c-1", "purchase")
    assert first.event_time.ToJsonString() == "2026-11-22T11:00:00.250Z"
    assert set(first.fields) == {"amount", "online", "department"}
    assert (second.customer, second.HasField("event_time")) == ("customers/c-2", False)
    assert len({second.event_id, third.event_id, ""}) == 3
    assert toy.seen[0].durability == durability_pb2.DURABILITY_DURABLE
    assert client.record_events(events[:1], relaxed=True) == EventCounts(0, 1)
    assert toy.seen[1].durability == durability_pb2.DURABILITY_RELAXED


def test_outcomes_arrive_as_they_were_given(client: Any, toy: ToyServer) -> None:
    moment = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone(timedelta(hours=1)))
    outcomes = [
        Outcome("a" * 32, "c-1", "espresso", OutcomeKind.CONVERTED, moment, 450),
        Outcome("decisions/" + "b" * 32, "customers/c-2", "offers/tea", OutcomeKind.PRESENTED),
        Outcome("c" * 32, "c-3", "", OutcomeKind.CONVERTED, value_minor=0),
    ]
    assert client.record_outcomes(outcomes) == (
        OutcomeState.RECORDED,
        OutcomeState.RECORDED,
        OutcomeState.DECISION_UNKNOWN,
    )
    first, second, third = toy.seen[0].outcomes
    assert (first.decision, first.customer) == ("decisions/" + "a" * 32, "customers/c-1")
    assert (first.offer, first.kind, first.value_minor) == ("offers/espresso", 5, 450)
    assert first.outcome_time.ToJsonString() == "2026-11-22T11:00:00Z"
    assert (second.decision, second.offer) == ("decisions/" + "b" * 32, "offers/tea")
    assert not second.HasField("outcome_time")
    assert not second.HasField("value_minor")
    assert (third.offer, third.HasField("value_minor")) == ("", True)
    assert toy.seen[0].durability == durability_pb2.DURABILITY_DURABLE
    client.record_outcomes(outcomes[:1], relaxed=True)
    assert toy.seen[1].durability == durability_pb2.DURABILITY_RELAXED


def test_what_is_wrong_with_an_event_is_told(client: Any) -> None:
    with pytest.raises(api.InvalidRequestError) as raised:
        client.record_events([Event("c", "purchase"), Event("c", "purchaze")])
    assert [violation.field for violation in raised.value.violations] == ["events[1].kind"]
    client.record_events([Event("c", "purchase", event_id="e")])
    with pytest.raises(api.ConflictError) as conflict:
        client.record_events([Event("d", "purchase", event_id="e")])
    assert conflict.value.reason == "EVENT_ID_CONFLICT"
    naive = datetime(2026, 11, 22)  # noqa: DTZ001 - a mistake of the caller's
    with pytest.raises(ValueError, match="event_time: 2026-11-22T00:00:00 has no time zone"):
        client.record_events([Event("c", "purchase", event_time=naive)])
