"""Offers that stock tells on, through the wire: a movement, and the very next decision."""

from collections.abc import Iterator
from typing import Any

import pytest

from instanter.v1 import decision_service_pb2 as pb
from instanter.v1 import event_service_pb2 as events_pb
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.customer_service_pb2 import Customer, UpdateCustomerRequest
from tests.api.shop import Shop, open_shop
from tests.api.warehouse import (
    COUNT,
    RECEIPT,
    RELEASE,
    RESERVATION,
    SALE,
    TRANSFER,
    make_movement,
    record,
)

STOCKED = {
    "shop.yaml": """\
currency: EUR
channels: {web: []}
attributes:
  - {name: store, kind: category, source: context, values: [berlin, bonn]}
  - {name: home, kind: category, values: [berlin, bonn]}
offers:
  - {name: beans, value_minor: 900, prior_propensity: 0.1, stock_keeping_unit: BEANS,
     treatments: [{channel: web}]}
  - {name: club, value_minor: 100, prior_propensity: 0.1, treatments: [{channel: web}]}
  - {name: tea, value_minor: 500, prior_propensity: 0.1, stock_keeping_unit: GREEN,
     treatments: [{channel: web}]}
events:
  - name: purchase
    fields:
      - {name: sku, kind: category, values: [BEANS, GREEN]}
      - {name: store, kind: category, values: [berlin, bonn]}
stock:
  sites: {berlin: , bonn: }
  units: {BEANS: coffee, GREEN: tea}
  purchases: {purchase: {unit: sku, site: store}}
  offers: {site: context.store, reachable: [profile.home]}
"""
}


@pytest.fixture
def shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with ten of everything in Berlin, and nothing in Bonn."""
    with open_shop(tmp_path_factory.mktemp("stocked") / "store", front_name) as opened:
        opened.apply(STOCKED)
        for site, units in (("berlin", 10), ("bonn", 0)):
            counts = [make_movement(COUNT, units, unit, site) for unit in ("BEANS", "GREEN")]
            record(opened, *counts)
        yield opened


def ask(customer: str = "anna", store: str = "berlin") -> pb.DecideOffersRequest:
    """Return a question for all offers at one site; "" for none."""
    context = {"store": AttributeValue(category_value=store)} if store else {}
    return pb.DecideOffersRequest(
        customer=f"customers/{customer}", channel="web", offer_count=9, context=context
    )


def decide(shop: Shop, **asked: Any) -> pb.DecideOffersResponse:
    """Return a decision."""
    response = shop.decisions.DecideOffers(ask(**asked), timeout=20)
    assert isinstance(response, pb.DecideOffersResponse)
    return response


def names(response: pb.DecideOffersResponse) -> list[str]:
    """Return the offers of a decision, best first."""
    return [offer.offer.removeprefix("offers/") for offer in response.offers]


def test_the_sale_of_the_last_piece_changes_the_very_next_decision(shop: Shop) -> None:
    assert names(decide(shop)) == ["beans", "tea", "club"]
    for _ in range(10):
        record(shop, make_movement(SALE, 10))
        without = decide(shop)
        assert names(without) == ["tea", "club"]
        assert [(one.reason, one.offer_count) for one in without.exclusions] == [
            (pb.EXCLUSION_REASON_OUT_OF_STOCK, 1)
        ]
        record(shop, make_movement(RECEIPT, 10))
        assert names(decide(shop)) == ["beans", "tea", "club"]


def test_what_is_promised_is_not_there_for_others(shop: Shop) -> None:
    record(shop, make_movement(RESERVATION, 10, "GREEN"))
    assert names(decide(shop)) == ["beans", "club"]
    record(shop, make_movement(RELEASE, 1, "GREEN"))
    assert names(decide(shop)) == ["beans", "tea", "club"]


def test_what_moves_to_another_site_is_offered_there(shop: Shop) -> None:
    assert names(decide(shop, store="bonn")) == ["club"]
    record(shop, make_movement(TRANSFER, 10, destination_site="sites/bonn"))
    assert names(decide(shop, store="bonn")) == ["beans", "club"]
    assert names(decide(shop, store="berlin")) == ["tea", "club"]


def test_a_purchase_that_is_told_as_an_event_counts_too(shop: Shop) -> None:
    record(shop, make_movement(SALE, 9))
    assert "beans" in names(decide(shop))
    event = events_pb.Event(
        event_id="receipt-1",
        customer="customers/anna",
        kind="purchase",
        fields={
            "sku": AttributeValue(category_value="BEANS"),
            "store": AttributeValue(category_value="berlin"),
        },
    )
    for _ in range(2):
        shop.events.RecordEvents(events_pb.RecordEventsRequest(events=[event]), timeout=20)
        assert "beans" not in names(decide(shop))


def test_a_batch_is_decided_as_single_requests_are(shop: Shop) -> None:
    record(shop, make_movement(SALE, 10))
    stores = ["berlin", "bonn", ""] * 30
    batch = pb.BatchDecideOffersRequest(requests=[ask(store=store) for store in stores])
    found = shop.decisions.BatchDecideOffers(batch, timeout=20).responses
    expected = {"berlin": ["tea", "club"], "bonn": ["club"], "": ["club"]}
    assert [names(one) for one in found] == [expected[store] for store in stores]
    for store, wanted in expected.items():
        assert names(decide(shop, store=store)) == wanted


def test_without_a_chosen_site_the_customers_own_counts(shop: Shop) -> None:
    assert names(decide(shop, store="", customer="bert")) == ["club"]
    for home, wanted in (("berlin", ["beans", "tea", "club"]), ("bonn", ["club"])):
        shop.customers.UpdateCustomer(
            UpdateCustomerRequest(
                customer=Customer(
                    name="customers/bert",
                    attributes={"home": AttributeValue(category_value=home)},
                ),
                allow_missing=True,
            ),
            timeout=20,
        )
        assert names(decide(shop, store="", customer="bert")) == wanted


def test_the_decision_is_explained_with_the_stock_of_that_moment(shop: Shop) -> None:
    record(shop, make_movement(SALE, 10))
    decision = decide(shop)
    record(shop, make_movement(RECEIPT, 5), make_movement(SALE, 10, "GREEN"))
    found = shop.decisions.ExplainDecision(
        pb.ExplainDecisionRequest(name=decision.decision), timeout=20
    )
    offers = {one.offer: one for one in found.offers}
    beans, tea, club = (offers[f"offers/{name}"] for name in ("beans", "tea", "club"))
    assert beans.exclusion_reason == pb.EXCLUSION_REASON_OUT_OF_STOCK
    assert beans.exclusion_detail == "unit 'BEANS' is not available at site 'berlin'"
    assert (beans.stock_factor, tea.stock_factor, club.stock_factor) == (0.0, 1.0, 1.0)
    assert (tea.rank, club.rank) == (1, 2)
    unknown = decide(shop, store="")
    found = shop.decisions.ExplainDecision(
        pb.ExplainDecisionRequest(name=unknown.decision), timeout=20
    )
    told = {one.offer: one for one in found.offers}["offers/beans"]
    assert told.exclusion_reason == pb.EXCLUSION_REASON_STOCK_UNKNOWN
    assert told.exclusion_detail.startswith("at which site unit 'BEANS' would have to be")


def test_when_only_stock_stops_offers_the_reason_is_stock(shop: Shop) -> None:
    catalogue = STOCKED["shop.yaml"].replace(
        "- {name: club,", "- {name: club, valid_to: 2020-01-01,"
    )
    shop.apply({"shop.yaml": catalogue})
    response = decide(shop, store="bonn")
    assert not response.offers
    assert response.no_offer_reason == pb.NO_OFFER_REASON_STOCK
