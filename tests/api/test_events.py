"""`EventService` through the wire: what is recorded, what it changes, what is refused."""

import itertools
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.v1 import customer_service_pb2 as customers_pb
from instanter.v1 import event_service_pb2 as pb
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.decision_service_pb2 import DecideOffersRequest
from instanter.v1.durability_pb2 import Durability
from tests.api.refusals import refuse
from tests.api.shop import Shop, open_shop

FILES = {
    "shop.yaml": """\
currency: EUR
channels: {web: []}
events:
  - name: purchase
    fields:
      - {name: amount, kind: number, unit: EUR, range: [0, 10000], required: true}
      - {name: department, kind: category, values: [food, toys]}
      - {name: online, kind: flag}
      - {name: promised, kind: instant}
  - {name: visit}
attributes:
  - {name: age, kind: number}
  - {name: purchases, kind: number, source: derived,
     derive: {event: purchase, function: count, window: 30d}}
  - {name: spend, kind: number, unit: EUR, source: derived,
     derive: {event: purchase, function: sum, field: amount, window: 30d}}
  - {name: department, kind: category, values: [food, toys], source: derived,
     derive: {event: purchase, function: last, field: department, window: 30d}}
offers:
  - {name: welcome, treatments: [{channel: web}], value_minor: 1,
     eligibility: profile.purchases == 0}
  - {name: thanks, treatments: [{channel: web}], value_minor: 1,
     eligibility: profile.purchases > 0 && profile.department == 'toys'}
""",
}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop whose catalogue has events."""
    with open_shop(tmp_path_factory.mktemp("events") / "store", front_name) as opened:
        opened.apply(FILES)
        yield opened


@pytest.fixture
def customer() -> str:
    """A customer that no other test uses."""
    return f"customers/c{next(_numbers):05}"


def number(value: float) -> AttributeValue:
    return AttributeValue(number_value=value)


def purchase(customer: str, amount: float = 20.0, **given: Any) -> pb.Event:
    given.setdefault("event_id", f"e{next(_numbers)}")
    given.setdefault("fields", {"amount": number(amount)})
    given.setdefault("kind", "purchase")
    return pb.Event(customer=customer, **given)


def record(shop: Shop, *events: pb.Event, **given: Any) -> tuple[int, int]:
    request = pb.RecordEventsRequest(events=events, **given)
    response = shop.events.RecordEvents(request, timeout=20)
    return response.recorded_count, response.duplicate_count


def get(shop: Shop, name: str, *paths: str) -> customers_pb.Customer:
    request = customers_pb.GetCustomerRequest(name=name, read_mask=FieldMask(paths=paths))
    return shop.customers.GetCustomer(request, timeout=20)


def decide(shop: Shop, customer: str) -> list[str]:
    request = DecideOffersRequest(customer=customer, channel="web", offer_count=5)
    response = shop.decisions.DecideOffers(request, timeout=20)
    return [offer.offer.removeprefix("offers/") for offer in response.offers]


def ago(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(time.time() - seconds))


def test_an_acknowledged_event_counts_in_the_very_next_decision_and_read(
    shop: Shop, customer: str
) -> None:
    assert decide(shop, customer) == ["welcome"]
    for count in range(1, 20):
        fields = {"amount": number(10), "department": AttributeValue(category_value="toys")}
        assert record(shop, purchase(customer, fields=fields)) == (1, 0)
        assert decide(shop, customer) == ["thanks"]
        attributes = get(shop, customer).attributes
        assert attributes["purchases"].number_value == count
        assert attributes["spend"].number_value == 10 * count
        assert attributes["department"].category_value == "toys"


def test_a_retry_counts_once_even_at_the_same_moment(shop: Shop, customer: str) -> None:
    events = [purchase(customer, n) for n in range(10)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: record(shop, *events), range(16)))
    assert sorted(found) == [(0, 10)] * 15 + [(10, 0)]
    assert get(shop, customer).attributes["purchases"].number_value == 10


def test_an_event_twice_in_one_batch_counts_once(shop: Shop, customer: str) -> None:
    event = purchase(customer)
    assert record(shop, event, purchase(customer), event) == (2, 1)


def test_one_id_for_two_events_is_refused(shop: Shop, customer: str) -> None:
    first = purchase(customer)
    record(shop, first)
    other = purchase(customer, 21, event_id=first.event_id)
    request = pb.RecordEventsRequest(events=[purchase(customer), other])
    refusal = refuse(shop.events.RecordEvents, request)
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert refusal.reason == "EVENT_ID_CONFLICT"
    assert refusal.fields == ["events[1].event_id"]
    assert refusal.metadata == {"event_id": first.event_id}
    assert get(shop, customer).attributes["purchases"].number_value == 1


def test_late_events_and_any_order_give_the_same(shop: Shop) -> None:
    names = [f"customers/order{next(_numbers)}" for _ in range(2)]
    amounts = [(0.1 * n, 3600 * n) for n in range(24)]
    for name, order in zip(names, (amounts, amounts[::-1]), strict=True):
        for amount, seconds in order:
            record(shop, purchase(name, amount, event_time=ago(seconds)))
    first, second = (get(shop, name).attributes for name in names)
    assert dict(first) == dict(second)
    assert first["spend"].number_value == pytest.approx(27.6)


def test_a_customer_without_a_profile_is_read_with_what_is_derived(
    shop: Shop, customer: str
) -> None:
    request = customers_pb.GetCustomerRequest(name=customer)
    assert refuse(shop.customers.GetCustomer, request).code is grpc.StatusCode.NOT_FOUND
    record(shop, purchase(customer))
    found = get(shop, customer)
    assert found.revision == 0
    assert not found.HasField("create_time")
    assert set(found.attributes) == {"purchases", "spend"}
    batch = customers_pb.BatchGetCustomersRequest(names=[customer, "customers/nobody"])
    response = shop.customers.BatchGetCustomers(batch, timeout=20)
    assert [c.name for c in response.customers] == [customer]
    assert response.not_found_names == ["customers/nobody"]


def test_a_read_mask_names_derived_attributes_and_an_update_may_not(
    shop: Shop, customer: str
) -> None:
    update = customers_pb.UpdateCustomerRequest(
        customer=customers_pb.Customer(name=customer, attributes={"age": number(40)}),
        allow_missing=True,
    )
    shop.customers.UpdateCustomer(update, timeout=20)
    record(shop, purchase(customer))
    assert dict(get(shop, customer, "attributes.purchases").attributes) == {"purchases": number(1)}
    written = shop.customers.UpdateCustomer(update, timeout=20)
    assert dict(written.attributes) == dict(get(shop, customer).attributes)
    assert set(written.attributes) == {"age", "purchases", "spend"}
    update.update_mask.paths.append("attributes.purchases")
    refusal = refuse(shop.customers.UpdateCustomer, update)
    assert refusal.reason == "MASK_PATH_INVALID"
    assert "derived from events" in refusal.message
    pages = shop.customers.ListCustomers(customers_pb.ListCustomersRequest(), timeout=20)
    (listed,) = (c for c in pages.customers if c.name == customer)
    assert listed.attributes["purchases"] == number(1)


@pytest.mark.parametrize("with_profile", [True, False])
def test_deleting_a_customer_deletes_what_was_derived(
    shop: Shop, customer: str, with_profile: bool
) -> None:
    if with_profile:
        update = customers_pb.UpdateCustomerRequest(
            customer=customers_pb.Customer(name=customer), allow_missing=True
        )
        shop.customers.UpdateCustomer(update, timeout=20)
    record(shop, purchase(customer))
    delete = customers_pb.DeleteCustomerRequest(name=customer)
    shop.customers.DeleteCustomer(delete, timeout=20)
    request = customers_pb.GetCustomerRequest(name=customer)
    assert refuse(shop.customers.GetCustomer, request).code is grpc.StatusCode.NOT_FOUND
    assert decide(shop, customer) == ["welcome"]


def test_a_relaxed_event_is_seen_at_once_too(shop: Shop, customer: str) -> None:
    record(shop, purchase(customer), durability=Durability.DURABILITY_RELAXED)
    assert get(shop, customer).attributes["purchases"].number_value == 1


def test_a_thousand_events_are_one_batch_and_one_more_is_refused(shop: Shop) -> None:
    events = [purchase(f"customers/many{n % 300}") for n in range(1001)]
    request = pb.RecordEventsRequest(events=events)
    refusal = refuse(shop.events.RecordEvents, request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.fields) == ("EVENT_COUNT_INVALID", ["events"])
    assert record(shop, *events[:1000]) == (1000, 0)
    assert get(shop, "customers/many7").attributes["purchases"].number_value == 4


def bad(**given: Any) -> pb.Event:
    return purchase(given.pop("customer", "customers/bad"), **given)


def fields(**given: AttributeValue) -> dict[str, AttributeValue]:
    return {"amount": number(1), **given}


WRONG = {
    "no id": (bad(event_id=""), "event_id", "EVENT_ID_INVALID"),
    "long id": (bad(event_id="x" * 65), "event_id", "EVENT_ID_INVALID"),
    "hostile id": (bad(event_id="a\0b"), "event_id", "EVENT_ID_INVALID"),
    "id of letters": (bad(event_id="é"), "event_id", "EVENT_ID_INVALID"),
    "no customer": (bad(customer=""), "customer", "CUSTOMER_NAME_INVALID"),
    "no name": (bad(customer="anna"), "customer", "CUSTOMER_NAME_INVALID"),
    "no kind": (bad(kind=""), "kind", "EVENT_KIND_UNKNOWN"),
    "unknown kind": (bad(kind="purchaze"), "kind", "EVENT_KIND_UNKNOWN"),
    "huge kind": (bad(kind="x" * 100_000), "kind", "EVENT_KIND_UNKNOWN"),
    "missing field": (bad(fields={"online": AttributeValue(flag_value=True)}),
                      'fields["amount"]', "EVENT_FIELD_MISSING"),
    "field without a value": (bad(fields={"amount": AttributeValue()}),
                              'fields["amount"]', "EVENT_FIELD_MISSING"),
    "unknown field": (bad(fields=fields(amuont=number(1))),
                      'fields["amuont"]', "EVENT_FIELD_UNKNOWN"),
    "hostile field": (bad(fields=fields(**{"\n\"]": number(1)})),
                      'fields["\n"]"]', "EVENT_FIELD_UNKNOWN"),
    "text for a number": (bad(fields={"amount": AttributeValue(category_value="1")}),
                          'fields["amount"]', "ATTRIBUTE_KIND_MISMATCH"),
    "too much": (bad(amount=10_001), 'fields["amount"]', "ATTRIBUTE_OUT_OF_RANGE"),
    "not a number": (bad(amount=math.nan), 'fields["amount"]', "ATTRIBUTE_OUT_OF_RANGE"),
    "infinite": (bad(amount=math.inf), 'fields["amount"]', "ATTRIBUTE_OUT_OF_RANGE"),
    "unknown value": (bad(fields=fields(department=AttributeValue(category_value="fod"))),
                      'fields["department"]', "ATTRIBUTE_VALUE_UNKNOWN"),
    "number for a flag": (bad(fields=fields(online=number(1))),
                          'fields["online"]', "ATTRIBUTE_KIND_MISMATCH"),
    "far instant": (bad(fields=fields(promised=AttributeValue(
                        instant_value=Timestamp(seconds=2**60)))),
                    'fields["promised"]', "ATTRIBUTE_OUT_OF_RANGE"),
    "instant with odd nanos": (bad(fields=fields(promised=AttributeValue(
                        instant_value=Timestamp(seconds=5, nanos=10**9)))),
                    'fields["promised"]', "ATTRIBUTE_OUT_OF_RANGE"),
    "many fields": (bad(fields={f"f{n}": number(1) for n in range(51)}),
                    "fields", "EVENT_FIELDS_TOO_MANY"),
    "tomorrow": (bad(event_time=ago(-86_400)), "event_time", "EVENT_TIME_OUT_OF_RANGE"),
    "last year": (bad(event_time=ago(365 * 86_400)), "event_time", "EVENT_TIME_OUT_OF_RANGE"),
    "before all": (bad(event_time=Timestamp(seconds=-1)), "event_time", "EVENT_TIME_OUT_OF_RANGE"),
    "never": (bad(event_time=Timestamp(seconds=2**62)), "event_time", "EVENT_TIME_OUT_OF_RANGE"),
    "odd nanos": (bad(event_time=Timestamp(seconds=1, nanos=-1)),
                  "event_time", "EVENT_TIME_OUT_OF_RANGE"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_one_mistake_refuses_the_whole_batch_and_is_named(
    shop: Shop, customer: str, name: str
) -> None:
    event, field, reason = WRONG[name]
    good = purchase(customer)
    request = pb.RecordEventsRequest(events=[good, event, purchase(customer)])
    refusal = refuse(shop.events.RecordEvents, request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == [f"events[1].{field}"]
    assert refusal.reason == reason
    found = refuse(shop.customers.GetCustomer, customers_pb.GetCustomerRequest(name=customer))
    assert found.code is grpc.StatusCode.NOT_FOUND
    assert record(shop, good) == (1, 0)


def test_the_nearest_names_are_told(shop: Shop) -> None:
    for name, words in [("unknown kind", "purchase"), ("unknown field", "amount")]:
        request = pb.RecordEventsRequest(events=[WRONG[name][0]])
        assert f"did you mean '{words}'" in refuse(shop.events.RecordEvents, request).message


def test_an_empty_batch_and_an_unknown_durability_are_refused(shop: Shop, customer: str) -> None:
    refusal = refuse(shop.events.RecordEvents, pb.RecordEventsRequest())
    assert refusal.fields == ["events"]
    request = pb.RecordEventsRequest(events=[purchase(customer)])
    request.durability = 77  # type: ignore[assignment] # as a newer client might
    assert refuse(shop.events.RecordEvents, request).fields == ["durability"]


def test_before_the_first_publication_events_are_refused(empty_shop: Shop) -> None:
    request = pb.RecordEventsRequest(events=[purchase("customers/a")])
    refusal = refuse(empty_shop.events.RecordEvents, request)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "CATALOGUE_MISSING"


@pytest.mark.parametrize(
    ("wire", "reason", "field"),
    [
        (b"\x0a\x03abc", "REQUEST_UNDECODABLE", "request"),
        (b"\x0a\x02\x0a\x05", "REQUEST_UNDECODABLE", "request"),
        (b"\x0a\x04\x0a\x02\xff\xfe", "REQUEST_UNDECODABLE", "request"),
        (b"\x0a", "REQUEST_UNDECODABLE", "request"),
        (b"", "EVENT_COUNT_INVALID", "events"),
        (b"\x0a\x00" * 1_001, "EVENT_COUNT_INVALID", "events"),
        (b"\x0a\x00", "EVENT_ID_INVALID", "events[0].event_id"),
        (b"\x0a\x00\x10\x09", "DURABILITY_INVALID", "durability"),
        (
            b"\x0a\x00\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "DURABILITY_INVALID",
            "durability",
        ),
    ],
)
def test_bytes_that_no_client_sends_are_refused(
    shop: Shop, wire: bytes, reason: str, field: str
) -> None:
    call = shop.channel.unary_unary("/instanter.v1.EventService/RecordEvents")
    refusal = refuse(call, wire)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.fields) == (reason, [field])


def test_a_field_twice_on_the_wire_counts_with_its_last_value(shop: Shop, customer: str) -> None:
    call = shop.channel.unary_unary("/instanter.v1.EventService/RecordEvents")
    wire = purchase(customer, 20.0).SerializeToString()
    entry = pb.Event(fields={"amount": number(30.0)}).SerializeToString()
    request = b"\x0a" + bytes([len(wire + entry)]) + wire + entry
    assert pb.RecordEventsResponse.FromString(call(request, timeout=20)).recorded_count == 1
    assert get(shop, customer).attributes["spend"].number_value == 30.0
