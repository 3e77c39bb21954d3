"""Whole numbers for which a message has no room: refused by the client, and not repeated."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from instanter.client import (
    CardTransaction,
    CaseChange,
    CaseFilter,
    DecisionRequest,
    InvalidRequestError,
    Outcome,
    OutcomeKind,
    StockMovement,
    StockMovementKind,
    StockPositionFilter,
    fraud_requests,
    requests,
    stock_requests,
)
from tests.client.toy_server import ToyServer

WIDE = 1 << 70
PURCHASE = CardTransaction("card", "berlin", "m1", 5812, 1_999, "EUR", transaction_id="t")
NO_ROOM: dict[str, tuple[str, Callable[[], object]]] = {
    "decision": (
        "offer_count",
        lambda: requests.decide_offers(DecisionRequest("c", "web", offer_count=1 << 31)),
    ),
    "outcome": (
        "outcomes[1].value_minor",
        lambda: requests.record_outcomes(
            [
                Outcome("d", "c", "tea", OutcomeKind.CONVERTED, value_minor=value)
                for value in (None, WIDE)
            ],
            relaxed=False,
        ),
    ),
    "customers": ("page_size", lambda: requests.list_customers(-(1 << 31) - 1, "", None)),
    "catalogue": (
        "expected_revision",
        lambda: requests.apply_catalogue({}, validate_only=False, expected_revision=1 << 63),
    ),
    "amount": (
        "amount_minor",
        lambda: fraud_requests.assess_transaction(replace(PURCHASE, amount_minor=WIDE)),
    ),
    "category": (
        "mcc",
        lambda: fraud_requests.assess_transaction(replace(PURCHASE, mcc=3_000_000_000)),
    ),
    "case": (
        "expected_revision",
        lambda: fraud_requests.update_case("1", CaseChange(expected_revision=-(1 << 63) - 1)),
    ),
    "cases": ("page_size", lambda: fraud_requests.list_cases(WIDE, "", CaseFilter())),
    "rules": ("page_size", lambda: fraud_requests.list_rules(WIDE, "")),
    "hotlist": ("page_size", lambda: fraud_requests.list_entries("cards", WIDE, "")),
    "units": (
        "movements[0].units",
        lambda: stock_requests.record_movements(
            [StockMovement("berlin", "tea", StockMovementKind.SALE, units=WIDE)], relaxed=False
        ),
    ),
    "price": (
        "movements[0].price_minor",
        lambda: stock_requests.record_movements(
            [StockMovement("berlin", "tea", StockMovementKind.PRICE_CHANGE, price_minor=WIDE)],
            relaxed=False,
        ),
    ),
    "positions": (
        "page_size",
        lambda: stock_requests.list_positions(WIDE, "", StockPositionFilter()),
    ),
    "available": (
        "available_below_units",
        lambda: stock_requests.list_positions(
            0, "", StockPositionFilter(available_below_units=WIDE)
        ),
    ),
}


@pytest.mark.parametrize("given", NO_ROOM)
def test_a_number_without_room_in_its_message_is_refused_and_not_repeated(given: str) -> None:
    field, make = NO_ROOM[given]
    with pytest.raises(InvalidRequestError) as caught:
        make()
    assert caught.value.violations[0].field == field
    assert caught.value.message.startswith(f"{field}: ")
    assert str(WIDE) not in str(caught.value).replace(",", "")


def test_a_call_with_such_a_number_is_not_sent(client: Any, toy: ToyServer) -> None:
    with pytest.raises(InvalidRequestError, match="offer_count: there is no room"):
        client.decide_offers("c", "web", offer_count=1 << 31)
    with pytest.raises(InvalidRequestError, match="OFFER_COUNT_INVALID"):
        client.decide_offers("c", "web", offer_count=(1 << 31) - 1)
    assert [asked.offer_count for asked in toy.seen] == [(1 << 31) - 1]
