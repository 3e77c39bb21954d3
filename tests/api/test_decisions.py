"""`DecisionService` through the wire."""

import math
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.events_log import hash_customer_id
from instanter.store.databases import PROFILES
from instanter.store.records import key_of
from instanter.v1 import decision_service_pb2 as pb
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.customer_service_pb2 import Customer, UpdateCustomerRequest
from tests.api.refusals import refuse
from tests.api.shop import SHOP, Shop, open_shop


def ask(customer: str = "customers/nobody", **fields: Any) -> pb.DecideOffersRequest:
    fields.setdefault("channel", "web")
    return pb.DecideOffersRequest(customer=customer, **fields)


def number(value: float) -> AttributeValue:
    return AttributeValue(number_value=value)


@pytest.fixture(scope="module")
def adult(shop: Shop) -> str:
    """A customer of 40 years."""
    name = "customers/adult"
    customer = Customer(name=name, attributes={"age": number(40)})
    shop.customers.UpdateCustomer(
        UpdateCustomerRequest(customer=customer, allow_missing=True), timeout=20
    )
    return name


def test_a_known_customer_gets_ranked_offers_with_reasons(shop: Shop, adult: str) -> None:
    decision = shop.decisions.DecideOffers(ask(adult, offer_count=3), timeout=20)
    assert decision.decision.startswith("decisions/")
    assert decision.profile_state == pb.PROFILE_STATE_KNOWN
    assert decision.no_offer_reason == pb.NO_OFFER_REASON_UNSPECIFIED
    assert decision.catalogue_revision == 1
    assert decision.took_us >= 0
    best = decision.offers[0]
    assert best.offer == "offers/espresso"
    assert best.treatment == "banner"
    assert best.value_minor == 250
    assert best.propensity == pytest.approx(0.2)
    assert best.priority == pytest.approx(0.2 * 2.5)
    assert best.lever == 1
    assert list(best.reasons) == [pb.OFFER_REASON_PRIOR, pb.OFFER_REASON_RULES_HOLD]
    assert [offer.priority for offer in decision.offers] == sorted(
        (offer.priority for offer in decision.offers), reverse=True
    )


def test_an_unknown_customer_is_decided_without_a_profile_and_marked_so(shop: Shop) -> None:
    decision = shop.decisions.DecideOffers(ask(offer_count=3), timeout=20)
    assert decision.profile_state == pb.PROFILE_STATE_UNKNOWN
    assert "offers/espresso" not in [offer.offer for offer in decision.offers]
    assert "offers/tea" in [offer.offer for offer in decision.offers]
    reasons = {e.reason: e.offer_count for e in decision.exclusions}
    assert reasons[pb.EXCLUSION_REASON_ATTRIBUTE_MISSING] == 1


def test_one_offer_is_wanted_when_the_request_does_not_say(shop: Shop, adult: str) -> None:
    assert len(shop.decisions.DecideOffers(ask(adult), timeout=20).offers) == 1


def test_no_offer_is_a_regular_answer_with_its_reason(shop: Shop) -> None:
    decision = shop.decisions.DecideOffers(ask(channel="store"), timeout=20)
    assert not decision.offers
    assert decision.no_offer_reason == pb.NO_OFFER_REASON_NO_ELIGIBLE_OFFER


@pytest.mark.parametrize("front", ["fast", "grpcio"])
def test_a_catalogue_without_offers_has_none_for_anybody(tmp_path: Path, front: str) -> None:
    with open_shop(tmp_path / "store", front) as bank:
        bank.apply({"till.yaml": "currency: EUR\nchannels: {web: [basket]}\n"})
        request = pb.DecideOffersRequest(customer="customers/c", channel="web", placement="basket")
        decision = bank.decisions.DecideOffers(request, timeout=20)
        assert not decision.offers
        assert decision.no_offer_reason == pb.NO_OFFER_REASON_NO_CURRENT_OFFER


def test_context_moves_the_ranking(shop: Shop) -> None:
    rainy = {"weather": AttributeValue(category_value="rainy")}
    request = ask(placement="basket", context=rainy)
    decision = shop.decisions.DecideOffers(request, timeout=20)
    assert decision.offers[0].offer == "offers/umbrella"
    assert decision.offers[0].context_weight == pytest.approx(10)
    assert pb.OFFER_REASON_CONTEXT_WEIGHT in decision.offers[0].reasons


def test_every_kind_of_context_is_taken(shop: Shop) -> None:
    context = {
        "basket_minor": number(1999),
        "weather": AttributeValue(category_value="sunny"),
        "hurry": AttributeValue(flag_value=True),
        "opened": AttributeValue(instant_value=Timestamp(seconds=1_700_000_000, nanos=5)),
    }
    shop.decisions.DecideOffers(ask(context=context), timeout=20)


def test_a_context_value_without_a_member_is_missing(shop: Shop) -> None:
    shop.decisions.DecideOffers(ask(context={"basket_minor": AttributeValue()}), timeout=20)


def test_a_retry_is_the_same_decision(shop: Shop) -> None:
    names = {
        shop.decisions.DecideOffers(ask(request_id="r-1"), timeout=20).decision for _ in range(3)
    }
    others = {shop.decisions.DecideOffers(ask(), timeout=20).decision for _ in range(3)}
    assert len(names) == 1
    assert len(others) == 3


BAD_REQUESTS: dict[str, tuple[pb.DecideOffersRequest, str, str, str]] = {
    "no customer": (ask(""), "customer", "CUSTOMER_NAME_INVALID", "customers/"),
    "empty id": (ask("customers/"), "customer", "CUSTOMER_NAME_INVALID", "is empty"),
    "512 characters": (
        ask("customers/" + "x" * 512), "customer", "CUSTOMER_NAME_INVALID", "512 characters",
    ),
    "100,000 characters": (
        ask("customers/" + "x" * 100_000), "customer", "CUSTOMER_NAME_INVALID",
        "100,000 characters",
    ),
    "control characters": (
        ask("customers/a\x07b"), "customer", "CUSTOMER_NAME_INVALID", "U+0007",
    ),
    "a slash": (ask("customers/a/b"), "customer", "CUSTOMER_NAME_INVALID", "'/'"),
    "no channel": (ask(channel=""), "channel", "CHANNEL_MISSING", "a channel"),
    "unknown channel": (ask(channel="wep"), "channel", "CHANNEL_UNKNOWN", "did you mean 'web'"),
    "unknown placement": (
        ask(placement="home_heroe"), "placement", "PLACEMENT_UNKNOWN", "did you mean 'home_hero'",
    ),
    "no offers wanted": (ask(offer_count=0), "offer_count", "OFFER_COUNT_INVALID", "1 to 100"),
    "negative": (ask(offer_count=-1), "offer_count", "OFFER_COUNT_INVALID", "'-1'"),
    "too many": (ask(offer_count=10_000), "offer_count", "OFFER_COUNT_INVALID", "'10000'"),
    "unknown attribute": (
        ask(context={"basket_mino": number(1)}), 'context["basket_mino"]', "ATTRIBUTE_UNKNOWN",
        "did you mean 'basket_minor'",
    ),
    "loaded attribute": (
        ask(context={"age": number(1)}), 'context["age"]', "ATTRIBUTE_UNKNOWN", "loaded",
    ),
    "derived attribute": (
        ask(context={"since_visit": number(1)}), 'context["since_visit"]', "ATTRIBUTE_UNKNOWN",
        "derived from events",
    ),
    "NaN": (
        ask(context={"basket_minor": number(math.nan)}), 'context["basket_minor"]',
        "ATTRIBUTE_OUT_OF_RANGE", "nan",
    ),
    "infinity": (
        ask(context={"basket_minor": number(math.inf)}), 'context["basket_minor"]',
        "ATTRIBUTE_OUT_OF_RANGE", "inf",
    ),
    "out of range": (
        ask(context={"basket_minor": number(-0.5)}), 'context["basket_minor"]',
        "ATTRIBUTE_OUT_OF_RANGE", "from 0 to",
    ),
    "wrong kind": (
        ask(context={"basket_minor": AttributeValue(category_value="12")}),
        'context["basket_minor"]', "ATTRIBUTE_KIND_MISMATCH", "a number",
    ),
    "number for an instant": (
        ask(context={"opened": number(5)}), 'context["opened"]', "ATTRIBUTE_KIND_MISMATCH",
        "an instant",
    ),
    "instant for a number": (
        ask(context={"basket_minor": AttributeValue(instant_value=Timestamp(seconds=5))}),
        'context["basket_minor"]', "ATTRIBUTE_KIND_MISMATCH", "a number",
    ),
    "flag for a number": (
        ask(context={"basket_minor": AttributeValue(flag_value=True)}),
        'context["basket_minor"]', "ATTRIBUTE_KIND_MISMATCH", "a number",
    ),
    "unknown category": (
        ask(context={"weather": AttributeValue(category_value="rainny")}), 'context["weather"]',
        "ATTRIBUTE_VALUE_UNKNOWN", "did you mean 'rainy'",
    ),
    "instant before 1970": (
        ask(context={"opened": AttributeValue(instant_value=Timestamp(seconds=-1))}),
        'context["opened"]', "ATTRIBUTE_OUT_OF_RANGE", "1970",
    ),
    "instant beyond the calendar": (
        ask(context={"opened": AttributeValue(instant_value=Timestamp(seconds=1 << 60))}),
        'context["opened"]', "ATTRIBUTE_OUT_OF_RANGE", "2106",
    ),
    "instant with odd nanos": (
        ask(context={"opened": AttributeValue(instant_value=Timestamp(seconds=5, nanos=-1))}),
        'context["opened"]', "ATTRIBUTE_OUT_OF_RANGE", "0 to 999999999 ns",
    ),
    "too much context": (
        ask(context={f"a{i}": number(1) for i in range(101)}), "context", "CONTEXT_TOO_LONG",
        "at most 100",
    ),
    "long request id": (
        ask(request_id="r" * 65), "request_id", "REQUEST_ID_INVALID", "1 to 64",
    ),
    "odd request id": (ask(request_id="ü"), "request_id", "REQUEST_ID_INVALID", "ASCII"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_refused_and_the_field_is_named(shop: Shop, name: str) -> None:
    request, field, reason, hint = BAD_REQUESTS[name]
    refusal = refuse(shop.decisions.DecideOffers, request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == reason
    assert refusal.domain == "instanter.dev"
    assert refusal.fields == [field]
    assert field in refusal.message
    assert hint in refusal.message
    assert len(refusal.message) < 800


@pytest.mark.parametrize("size", [1, 256])
def test_ids_of_the_shortest_and_the_longest_size_are_taken(shop: Shop, size: int) -> None:
    shop.decisions.DecideOffers(ask("customers/" + "x" * size), timeout=20)


def test_a_batch_is_answered_in_order(shop: Shop, adult: str) -> None:
    names = [adult, "customers/nobody"] * 150
    request = pb.BatchDecideOffersRequest(requests=[ask(name) for name in names])
    responses = shop.decisions.BatchDecideOffers(request, timeout=20).responses
    states = [response.profile_state for response in responses]
    assert states == [pb.PROFILE_STATE_KNOWN, pb.PROFILE_STATE_UNKNOWN] * 150
    assert len({response.decision for response in responses}) == 300


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (ask(offer_count=0), "offer_count"),
        (ask(channel="wep"), "channel"),
        (ask(context={"basket_minor": number(-1)}), 'context["basket_minor"]'),
    ],
)
def test_one_bad_request_refuses_the_batch_and_names_its_index(
    shop: Shop, bad: pb.DecideOffersRequest, field: str
) -> None:
    request = pb.BatchDecideOffersRequest(requests=[ask(), ask(), ask(), bad, bad])
    refusal = refuse(shop.decisions.BatchDecideOffers, request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == [f"requests[3].{field}"]
    assert refusal.message.startswith(f"requests[3].{field}: ")


@pytest.mark.parametrize("count", [0, 1_001])
def test_a_batch_has_1_to_1000_requests(shop: Shop, count: int) -> None:
    request = pb.BatchDecideOffersRequest(requests=[ask()] * count)
    refusal = refuse(shop.decisions.BatchDecideOffers, request)
    assert refusal.fields == ["requests"]
    assert refusal.reason == "REQUEST_COUNT_INVALID"


def test_before_the_first_publication_there_is_no_decision(empty_shop: Shop) -> None:
    for call, request in (
        (empty_shop.decisions.DecideOffers, ask()),
        (empty_shop.decisions.BatchDecideOffers, pb.BatchDecideOffersRequest(requests=[ask()])),
    ):
        refusal = refuse(call, request)
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "CATALOGUE_MISSING"


def test_a_customer_in_the_holdout_gets_no_offer(empty_shop: Shop) -> None:
    held = SHOP["shop.yaml"].replace("rate: 0.0", "rate: 0.999999")
    empty_shop.apply({**SHOP, "shop.yaml": held})
    decision = empty_shop.decisions.DecideOffers(ask(), timeout=20)
    assert decision.in_holdout
    assert decision.no_offer_reason == pb.NO_OFFER_REASON_HOLDOUT
    assert not decision.offers


def test_a_damaged_record_is_never_used_and_is_counted_and_logged(shop: Shop, adult: str) -> None:
    other = "customers/damaged"
    key, source = key_of("damaged"), key_of("adult")
    shop.state.write(
        lambda transaction: transaction.put(
            PROFILES, key, bytes(transaction.get(PROFILES, source) or b"")
        )
    )
    before = shop.metrics.records_damaged_count
    decision = shop.decisions.DecideOffers(ask(other, offer_count=3), timeout=20)
    assert decision.profile_state == pb.PROFILE_STATE_DAMAGED
    assert "offers/espresso" not in [offer.offer for offer in decision.offers]
    assert shop.metrics.records_damaged_count == before + 1
    assert hash_customer_id("damaged") in shop.log.getvalue()


def test_decisions_are_counted(shop: Shop) -> None:
    before = shop.metrics.decisions_by_state[pb.PROFILE_STATE_UNKNOWN]
    for _ in range(5):
        shop.decisions.DecideOffers(ask(), timeout=20)
    assert shop.metrics.decisions_by_state[pb.PROFILE_STATE_UNKNOWN] == before + 5


def test_patterns_of_offers_are_not_kept_across_revisions(empty_shop: Shop) -> None:
    empty_shop.apply(SHOP)
    first = empty_shop.decisions.DecideOffers(ask(), timeout=20)
    dearer = SHOP["offers.yaml"].replace("value_minor: 200", "value_minor: 900")
    empty_shop.apply({**SHOP, "offers.yaml": dearer})
    second = empty_shop.decisions.DecideOffers(ask(), timeout=20)
    assert (first.offers[0].value_minor, second.offers[0].value_minor) == (200, 900)
    assert (first.catalogue_revision, second.catalogue_revision) == (1, 2)
