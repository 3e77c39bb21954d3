"""`CustomerService` through the wire."""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.store.databases import PROFILES
from instanter.store.profiles import put_profile
from instanter.store.records import key_of
from instanter.v1 import customer_service_pb2 as pb
from instanter.v1.attribute_value_pb2 import AttributeValue
from tests.api.refusals import refuse
from tests.api.shop import Shop

VALUES = {
    "age": AttributeValue(number_value=40),
    "segment": AttributeValue(category_value="worker"),
    "opted_in": AttributeValue(flag_value=True),
    "last_visit": AttributeValue(instant_value=Timestamp(seconds=1_700_000_000)),
}
_numbers = itertools.count()


def number(value: float) -> AttributeValue:
    return AttributeValue(number_value=value)


@pytest.fixture
def name() -> str:
    """A customer that no other test uses."""
    return f"customers/c{next(_numbers):05}"


def update(
    shop: Shop, name: str, attributes: Any = None, mask: list[str] | None = None, **fields: Any
) -> pb.Customer:
    return shop.customers.UpdateCustomer(make_update(name, attributes, mask, **fields), timeout=20)


def make_update(
    name: str, attributes: Any = None, mask: list[str] | None = None, **fields: Any
) -> pb.UpdateCustomerRequest:
    fields.setdefault("allow_missing", True)
    return pb.UpdateCustomerRequest(
        customer=pb.Customer(name=name, attributes=attributes or {}),
        update_mask=FieldMask(paths=mask or []),
        **fields,
    )


def get(shop: Shop, name: str, mask: list[str] | None = None) -> pb.Customer:
    request = pb.GetCustomerRequest(name=name, read_mask=FieldMask(paths=mask or []))
    return shop.customers.GetCustomer(request, timeout=20)


def damage(shop: Shop, name: str) -> None:
    """Put one customer's record under another's key, as a misdirected write would."""
    other = key_of("somebody-else")
    key = key_of(name.removeprefix("customers/"))

    def change(transaction: Any) -> None:
        import numpy as np

        slots = np.zeros(5, np.uint32)
        put_profile(transaction, other, slots, schema_revision=1, now_ms=1)
        transaction.put(PROFILES, key, bytes(transaction.get(PROFILES, other)))
        transaction.delete(PROFILES, other)

    shop.state.write(change)


def test_what_is_written_is_read_back(shop: Shop, name: str) -> None:
    written = update(shop, name, VALUES)
    assert written == get(shop, name)
    assert written.name == name
    assert dict(written.attributes) == VALUES
    assert written.revision == 1
    assert written.create_time == written.update_time
    assert written.create_time.nanos % 1_000_000 == 0


def test_a_number_reads_as_it_was_written(shop: Shop, name: str) -> None:
    assert update(shop, name, {"age": number(0.1)}).attributes["age"].number_value == 0.1


def test_each_write_counts_a_revision_and_keeps_the_create_time(shop: Shop, name: str) -> None:
    first = update(shop, name, VALUES)
    second = update(shop, name, {"age": number(41)})
    assert second.revision == 2
    assert second.create_time == first.create_time
    assert second.update_time.ToNanoseconds() >= first.update_time.ToNanoseconds()


def test_without_a_mask_exactly_what_is_carried_is_written(shop: Shop, name: str) -> None:
    update(shop, name, VALUES)
    after = update(shop, name, {"age": number(41)})
    assert dict(after.attributes) == {**VALUES, "age": number(41)}


def test_a_value_without_a_member_becomes_missing(shop: Shop, name: str) -> None:
    update(shop, name, VALUES)
    after = update(shop, name, {"segment": AttributeValue()})
    assert set(after.attributes) == set(VALUES) - {"segment"}


def test_what_the_mask_names_and_the_customer_lacks_becomes_missing(shop: Shop, name: str) -> None:
    update(shop, name, VALUES)
    after = update(shop, name, {"age": number(3)}, ["attributes.age", "attributes.segment"])
    expected = {k: v for k, v in VALUES.items() if k != "segment"} | {"age": number(3)}
    assert dict(after.attributes) == expected


def test_what_the_mask_does_not_name_is_not_looked_at(shop: Shop, name: str) -> None:
    update(shop, name, VALUES)
    attributes = {"age": number(3), "opted_in": number(9), "no_such": number(1)}
    after = update(shop, name, attributes, ["attributes.age"])
    assert dict(after.attributes) == {**VALUES, "age": number(3)}


@pytest.mark.parametrize("path", ["attributes", "*"])
def test_a_mask_of_everything_replaces_the_profile(shop: Shop, name: str, path: str) -> None:
    update(shop, name, VALUES)
    after = update(shop, name, {"opted_in": AttributeValue(flag_value=False)}, [path])
    assert dict(after.attributes) == {"opted_in": AttributeValue(flag_value=False)}
    assert after.revision == 2


def test_output_only_fields_are_ignored(shop: Shop, name: str) -> None:
    request = make_update(name, VALUES)
    request.customer.revision = 99
    request.customer.create_time.seconds = 5
    assert shop.customers.UpdateCustomer(request, timeout=20).revision == 1


@pytest.mark.parametrize("mask", [[], ["*"], ["attributes.age"]])
def test_a_missing_customer_is_created_only_when_allowed(
    shop: Shop, name: str, mask: list[str]
) -> None:
    request = make_update(name, {"age": number(1)}, mask, allow_missing=False)
    refusal = refuse(shop.customers.UpdateCustomer, request)
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "CUSTOMER_NOT_FOUND"
    update(shop, name, {"age": number(1)}, mask)
    update(shop, name, {"age": number(2)}, mask, allow_missing=False)
    assert get(shop, name).revision == 2


BAD_ATTRIBUTES: dict[str, tuple[str, AttributeValue, str, str]] = {
    "unknown": ("agee", number(1), "ATTRIBUTE_UNKNOWN", "did you mean 'age'"),
    "context": ("basket_minor", number(1), "ATTRIBUTE_UNKNOWN", "given with each request"),
    "derived": ("since_visit", number(1), "ATTRIBUTE_UNKNOWN", "derived from events"),
    "NaN": ("age", number(math.nan), "ATTRIBUTE_OUT_OF_RANGE", "nan"),
    "infinity": ("income_minor", number(math.inf), "ATTRIBUTE_OUT_OF_RANGE", "inf"),
    "beyond float32": ("income_minor", number(1e39), "ATTRIBUTE_OUT_OF_RANGE", "1e+39"),
    "out of range": ("age", number(121), "ATTRIBUTE_OUT_OF_RANGE", "from 0 to 120"),
    "wrong kind": ("age", AttributeValue(flag_value=True), "ATTRIBUTE_KIND_MISMATCH", "a number"),
    "never seen": (
        "segment", AttributeValue(category_value="Worker"), "ATTRIBUTE_VALUE_UNKNOWN",
        "did you mean 'worker'",
    ),
    "too many nanos": (
        "last_visit", AttributeValue(instant_value=Timestamp(seconds=5, nanos=10**9)),
        "ATTRIBUTE_OUT_OF_RANGE", "5 s 1000000000 ns",
    ),
    "negative nanos": (
        "last_visit", AttributeValue(instant_value=Timestamp(seconds=5, nanos=-1)),
        "ATTRIBUTE_OUT_OF_RANGE", "with 0 to 999999999 ns",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ATTRIBUTES)
def test_a_bad_attribute_is_refused_and_nothing_is_written(
    shop: Shop, name: str, case: str
) -> None:
    attribute, value, reason, hint = BAD_ATTRIBUTES[case]
    update(shop, name, VALUES)
    request = make_update(name, {"last_visit": AttributeValue(), attribute: value})
    refusal = refuse(shop.customers.UpdateCustomer, request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == reason
    assert refusal.fields == [f'customer.attributes["{attribute}"]']
    assert hint in refusal.message
    assert get(shop, name).revision == 1


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("attributes.agee", "did you mean 'age'"),
        ("age", "did you mean 'age'"),
        ("attributes.", "attributes.{attribute}"),
        ("attributes.age.number_value", "attributes.{attribute}"),
        ("name", "'*'"),
        ("", "'*'"),
    ],
)
def test_a_wrong_path_of_a_mask_is_refused(shop: Shop, name: str, path: str, hint: str) -> None:
    update(shop, name, VALUES)
    calls: list[tuple[Any, Any, str]] = [
        (shop.customers.UpdateCustomer, make_update(name, VALUES, [path]), "update_mask"),
        (
            shop.customers.GetCustomer,
            pb.GetCustomerRequest(name=name, read_mask=FieldMask(paths=["*", path])),
            "read_mask",
        ),
        (
            shop.customers.ListCustomers,
            pb.ListCustomersRequest(read_mask=FieldMask(paths=[path])),
            "read_mask",
        ),
    ]
    for call, request, field in calls:
        refusal = refuse(call, request)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.reason == "MASK_PATH_INVALID"
        assert refusal.fields == [field]
        assert hint in refusal.message


def test_a_read_mask_selects_attributes(shop: Shop, name: str) -> None:
    update(shop, name, VALUES)
    assert set(get(shop, name, ["attributes.age"]).attributes) == {"age"}
    assert set(get(shop, name, ["attributes.income_minor"]).attributes) == set()
    assert set(get(shop, name, ["attributes"]).attributes) == set(VALUES)
    assert get(shop, name, ["attributes.age"]).revision == 1


def test_a_customer_that_does_not_exist_is_not_found(shop: Shop, name: str) -> None:
    refusal = refuse(shop.customers.GetCustomer, pb.GetCustomerRequest(name=name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "CUSTOMER_NOT_FOUND"


@pytest.mark.parametrize("bad", ["", "customers/", "customers/a\0", "customers/" + "x" * 100_000])
def test_a_wrong_name_is_refused_by_every_method(shop: Shop, bad: str) -> None:
    customers = shop.customers
    calls: list[tuple[Any, Any, str]] = [
        (customers.GetCustomer, pb.GetCustomerRequest(name=bad), "name"),
        (customers.DeleteCustomer, pb.DeleteCustomerRequest(name=bad), "name"),
        (customers.UpdateCustomer, make_update(bad), "customer.name"),
        (
            customers.BatchGetCustomers,
            pb.BatchGetCustomersRequest(names=["customers/a", bad]),
            "names[1]",
        ),
    ]
    for call, request, field in calls:
        refusal = refuse(call, request)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.fields == [field]


def test_several_customers_are_read_in_order_and_missing_ones_listed(shop: Shop, name: str) -> None:
    update(shop, name, VALUES)
    names = [name, "customers/missing-1", name, "customers/missing-0"]
    request = pb.BatchGetCustomersRequest(names=names)
    response = shop.customers.BatchGetCustomers(request, timeout=20)
    assert [customer.name for customer in response.customers] == [name, name]
    assert list(response.not_found_names) == ["customers/missing-1", "customers/missing-0"]


@pytest.mark.parametrize("count", [0, 1_001])
def test_a_batch_has_1_to_1000_names(shop: Shop, count: int) -> None:
    request = pb.BatchGetCustomersRequest(names=["customers/a"] * count)
    assert refuse(shop.customers.BatchGetCustomers, request).fields == ["names"]


def test_a_deleted_customer_is_gone(shop: Shop, name: str) -> None:
    update(shop, name, VALUES)
    shop.customers.DeleteCustomer(pb.DeleteCustomerRequest(name=name), timeout=20)
    again = pb.DeleteCustomerRequest(name=name)
    assert refuse(shop.customers.DeleteCustomer, again).code is grpc.StatusCode.NOT_FOUND
    again.allow_missing = True
    shop.customers.DeleteCustomer(again, timeout=20)
    assert update(shop, name, VALUES).revision == 1


def test_a_damaged_record_is_never_served(shop: Shop, name: str) -> None:
    damage(shop, name)
    calls: list[tuple[Any, Any]] = [
        (shop.customers.GetCustomer, pb.GetCustomerRequest(name=name)),
        (shop.customers.BatchGetCustomers, pb.BatchGetCustomersRequest(names=[name])),
        (shop.customers.UpdateCustomer, make_update(name, {"age": number(3)})),
    ]
    for call, request in calls:
        refusal = refuse(call, request)
        assert refusal.code is grpc.StatusCode.DATA_LOSS
        assert refusal.reason == "RECORD_DAMAGED"
    assert update(shop, name, VALUES, ["*"], allow_missing=False).revision == 1
    assert dict(get(shop, name).attributes) == VALUES


def list_all(shop: Shop, page_size: int, **fields: Any) -> list[pb.ListCustomersResponse]:
    pages = []
    token = ""
    while True:
        request = pb.ListCustomersRequest(page_size=page_size, page_token=token, **fields)
        pages.append(shop.customers.ListCustomers(request, timeout=20))
        token = pages[-1].next_page_token
        if not token:
            return pages


def test_pages_hold_every_customer_once_in_byte_order(empty_shop: Shop) -> None:
    from tests.api.shop import SHOP

    empty_shop.apply(SHOP)
    assert list_all(empty_shop, 2) == [pb.ListCustomersResponse()]
    ids = ["a", "b", "ba", "ä", "zz", "b-1", "Z"]
    for customer_id in ids:
        update(empty_shop, f"customers/{customer_id}", VALUES)
    expected = [f"customers/{i}" for i in sorted(ids, key=str.encode)]
    for page_size in (1, 2, 3, 7, 8, 5_000):
        pages = list_all(empty_shop, page_size)
        listed = [customer.name for page in pages for customer in page.customers]
        assert listed == expected
        assert len(pages) == math.ceil(len(ids) / min(page_size, len(ids)))
    damage(empty_shop, "customers/ba")
    (page,) = list_all(empty_shop, 100)
    assert [customer.name for customer in page.customers] == [
        n for n in expected if n != "customers/ba"
    ]
    assert page.damaged_count == 1


def test_a_page_that_would_be_too_long_is_cut(
    shop: Shop, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in "abc":
        update(shop, name + suffix, VALUES)
    monkeypatch.setattr("instanter.rpc.customers.PAGE_SIZE_BYTES_MAX", 100)
    pages = list_all(shop, 1_000)
    assert len(pages) >= 3
    assert all(len(page.customers) + page.damaged_count >= 1 for page in pages)
    listed = [customer.name for page in pages for customer in page.customers]
    assert listed == sorted(set(listed))


def test_a_batch_that_would_be_too_long_is_refused(
    shop: Shop, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    update(shop, name, VALUES)
    monkeypatch.setattr("instanter.rpc.customers.REPLY_SIZE_BYTES_MAX", 100)
    request = pb.BatchGetCustomersRequest(names=[name] * 5)
    refusal = refuse(shop.customers.BatchGetCustomers, request)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "read_mask" in refusal.message


@pytest.mark.parametrize(
    ("request_", "field", "reason"),
    [
        (pb.ListCustomersRequest(page_size=-1), "page_size", "PAGE_SIZE_INVALID"),
        (pb.ListCustomersRequest(page_token="x"), "page_token", "PAGE_TOKEN_INVALID"),
        (pb.ListCustomersRequest(page_token="YWJj" * 9), "page_token", "PAGE_TOKEN_INVALID"),
    ],
)
def test_a_bad_list_is_refused(
    shop: Shop, request_: pb.ListCustomersRequest, field: str, reason: str
) -> None:
    refusal = refuse(shop.customers.ListCustomers, request_)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == [field]
    assert refusal.reason == reason


def test_concurrent_updates_of_one_customer_lose_nothing(shop: Shop, name: str) -> None:
    update(shop, name, VALUES)
    before = shop.metrics.write_groups_count
    writes = [{("age", "income_minor")[i % 2]: number(i % 100)} for i in range(200)]
    with ThreadPoolExecutor(16) as pool:
        revisions = [c.revision for c in pool.map(lambda w: update(shop, name, w), writes)]
    assert sorted(revisions) == list(range(2, 202))
    assert get(shop, name).revision == 201
    assert set(get(shop, name).attributes) == {*VALUES, "income_minor"}
    assert shop.metrics.write_groups_count - before < 200


def test_nothing_is_written_before_a_catalogue_is_published(empty_shop: Shop, name: str) -> None:
    refusal = refuse(empty_shop.customers.UpdateCustomer, make_update(name, VALUES))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "CATALOGUE_MISSING"
    missing = refuse(empty_shop.customers.GetCustomer, pb.GetCustomerRequest(name=name))
    assert missing.code is grpc.StatusCode.NOT_FOUND
    assert list_all(empty_shop, 10) == [pb.ListCustomersResponse()]


def test_the_same_request_twice_is_one_write_with_one_answer(shop: Shop, name: str) -> None:
    request = make_update(name, VALUES, request_id="first")
    written = shop.customers.UpdateCustomer(request, timeout=20)
    assert shop.customers.UpdateCustomer(request, timeout=20) == written
    later = update(shop, name, {**VALUES, "age": AttributeValue(number_value=1)})
    assert later.revision == 2
    assert shop.customers.UpdateCustomer(request, timeout=20) == written
    assert get(shop, name) == later
    deletion = pb.DeleteCustomerRequest(name=name, request_id="first")
    for _ in range(3):
        shop.customers.DeleteCustomer(deletion, timeout=20)
    assert refuse(shop.customers.UpdateCustomer, request).code is grpc.StatusCode.NOT_FOUND


def test_a_request_id_belongs_to_one_request(shop: Shop, name: str) -> None:
    shop.customers.UpdateCustomer(make_update(name, VALUES, request_id="a"), timeout=20)
    other = make_update(name, {"age": AttributeValue(number_value=2)}, request_id="a")
    refusal = refuse(shop.customers.UpdateCustomer, other)
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert refusal.reason == "REQUEST_ID_CONFLICT"
    assert get(shop, name).revision == 1
    wrong = make_update(name, VALUES, request_id="é")
    assert refuse(shop.customers.UpdateCustomer, wrong).reason == "REQUEST_ID_INVALID"


def test_retries_at_the_same_moment_are_one_write(shop: Shop, name: str) -> None:
    request = make_update(name, VALUES, request_id="storm")
    calls = [shop.customers.UpdateCustomer.future(request, timeout=20) for _ in range(20)]
    answers = [call.result(20) for call in calls]
    assert all(answer == answers[0] for answer in answers)
    assert get(shop, name).revision == 1
