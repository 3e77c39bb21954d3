"""`CatalogueService` through the wire."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from instanter.errors import CatalogueInvalidError, ExhaustedError
from instanter.keeper.compiler import LocalCompiler, ProcessCompiler
from instanter.v1 import catalogue_service_pb2 as pb
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.customer_service_pb2 import Customer, UpdateCustomerRequest
from tests.api.refusals import refuse
from tests.api.shop import SHOP, Shop, make_apply, open_shop

DEARER = {
    **SHOP,
    "offers.yaml": SHOP["offers.yaml"].replace("value_minor: 250", "value_minor: 300"),
}
BROKEN = {**SHOP, "offers.yaml": SHOP["offers.yaml"].replace("profile.age", "profile.agee")}


@pytest.fixture
def shop(front_name: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop of each test's own, with nothing published."""
    with open_shop(tmp_path / "store", front_name) as opened:
        yield opened


def get(shop: Shop, **fields: Any) -> pb.Catalogue:
    request = pb.GetCatalogueRequest(name="catalogue", **fields)
    return shop.catalogue.GetCatalogue(request, timeout=20)


def test_before_the_first_publication_there_is_none(shop: Shop) -> None:
    refusal = refuse(shop.catalogue.GetCatalogue, pb.GetCatalogueRequest(name="catalogue"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert refusal.reason == "CATALOGUE_NOT_FOUND"
    assert "instanter apply" in refusal.message


def test_a_publication_says_what_is_new(shop: Shop) -> None:
    response = shop.apply(SHOP)
    assert response.catalogue.revision == 1
    assert response.catalogue.schema_revision == 1
    assert response.catalogue.attribute_count == 10
    assert response.catalogue.offer_count == 3
    assert {change.action for change in response.changes} == {pb.CATALOGUE_ACTION_CREATE}
    assert "offers/espresso" in [change.resource for change in response.changes]


def test_the_views_show_files_or_not(shop: Shop) -> None:
    shop.apply(SHOP)
    for fields in ({}, {"view": pb.CATALOGUE_VIEW_BASIC}):
        assert not get(shop, **fields).files
    full = get(shop, view=pb.CATALOGUE_VIEW_FULL)
    assert {file.path: file.content for file in full.files} == SHOP
    assert full.publish_time.seconds > 1_700_000_000


def test_an_update_names_the_fields_with_old_and_new_value(shop: Shop) -> None:
    shop.apply(SHOP)
    response = shop.apply(DEARER)
    assert response.catalogue.revision == 2
    assert response.catalogue.schema_revision == 1
    (change,) = response.changes
    assert change.action == pb.CATALOGUE_ACTION_UPDATE
    assert change.resource == "offers/espresso"
    (field,) = change.fields
    assert (field.field, field.old_value, field.new_value) == ("value_minor", "250", "300")


def test_what_is_no_longer_there_is_withdrawn(shop: Shop) -> None:
    shop.apply(SHOP)
    first, _, rest = SHOP["offers.yaml"].partition("  - name: tea")
    _, _, last = rest.partition("  - name: umbrella")
    response = shop.apply({**SHOP, "offers.yaml": f"{first}  - name: umbrella{last}"})
    (change,) = response.changes
    assert change.action == pb.CATALOGUE_ACTION_DELETE
    assert change.resource == "offers/tea"


def test_the_same_catalogue_again_is_no_new_revision(shop: Shop) -> None:
    first = shop.apply(SHOP)
    again = shop.apply(SHOP)
    assert not again.changes
    assert again.catalogue == first.catalogue
    assert get(shop) == first.catalogue


def test_validating_publishes_nothing(shop: Shop) -> None:
    tried = shop.catalogue.ApplyCatalogue(make_apply(SHOP, validate_only=True), timeout=20)
    assert tried.changes
    assert tried.catalogue == pb.Catalogue(name="catalogue")
    assert refuse(shop.catalogue.GetCatalogue, pb.GetCatalogueRequest(name="catalogue")).code is (
        grpc.StatusCode.NOT_FOUND
    )
    shop.apply(SHOP)
    tried = shop.catalogue.ApplyCatalogue(make_apply(DEARER, validate_only=True), timeout=20)
    assert [change.resource for change in tried.changes] == ["offers/espresso"]
    assert tried.catalogue.revision == get(shop).revision == 1


def test_publishing_on_top_of_another_revision_is_aborted(shop: Shop) -> None:
    for expected, fails in ((1, True), (0, False), (0, True), (1, False), (1, True)):
        files = DEARER if expected else SHOP
        request = make_apply(files, expected_revision=expected)
        if fails:
            refusal = refuse(shop.catalogue.ApplyCatalogue, request)
            assert refusal.code is grpc.StatusCode.ABORTED
            assert refusal.reason == "REVISION_CONFLICT"
            assert refusal.metadata["expected"] == str(expected)
        else:
            shop.catalogue.ApplyCatalogue(request, timeout=20)


def test_mistakes_are_field_violations_with_file_and_line_and_publish_nothing(shop: Shop) -> None:
    shop.apply(SHOP)
    refusal = refuse(shop.catalogue.ApplyCatalogue, make_apply(BROKEN))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "CATALOGUE_INVALID"
    assert refusal.fields == ["offers/espresso.eligibility"]
    assert refusal.violations[0].description.startswith("offers.yaml:6: ")
    assert "age" in refusal.violations[0].description
    assert get(shop).revision == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("eligibility: !has(profile.age)", "a rule with ! stands in quotes as a whole"),
        ("eligibility: 'a' == profile.segment", "begins with a quote stands in quotes as a whole"),
        ("title: 'Tea' and more", "begins with a quote stands in quotes as a whole"),
        ("title: Only today: tea", "has ': ' in it stands in quotes as a whole"),
        (
            "context_weights: [{when: profile.age in [1, 2], weight: 2}]",
            "between { } a rule with [ ] or a quote stands in quotes as a whole",
        ),
        ("- title: Tea", "did not find expected key"),
        ("context_weights: [1", "did not find expected ',' or ']'"),
    ],
)
def test_a_text_that_wants_quotes_is_told_so(shop: Shop, line: str, said: str) -> None:
    offer = f"offers:\n  - name: tea\n    {line}\n"
    refusal = refuse(shop.catalogue.ApplyCatalogue, make_apply({**SHOP, "offers.yaml": offer}))
    assert refusal.fields == ["content"]
    assert refusal.violations[0].description.endswith(said)


@pytest.mark.parametrize("text", ["- a\n", "tea", "[]"])
def test_a_file_that_is_no_mapping_is_told_what_it_may_have(shop: Shop, text: str) -> None:
    refusal = refuse(shop.catalogue.ApplyCatalogue, make_apply({**SHOP, "more.yaml": text}))
    assert refusal.fields == ["content"]
    assert refusal.violations[0].description.endswith(
        "must be a mapping with any of attributes, events, offers, channels, contact_policy, "
        "holdout, arms, outcomes, learning, currency, fraud, stock"
    )


def test_a_currency_in_small_letters_is_told_the_right_one(shop: Shop) -> None:
    text = TILL.format(**GIVEN).replace("transaction.amount > 1.0", "transaction.currency == 'eur'")
    refusal = refuse(shop.catalogue.ApplyCatalogue, make_apply({"shop.yaml": text}))
    assert refusal.fields == ["fraud.rules/a.when"]
    assert refusal.violations[0].description.endswith("did you mean 'EUR'?")


FOLLOWED = """\
currency: EUR
channels: {web: []}
attributes:
  - {name: spend_7d, kind: number}
  - {name: spend_30d, kind: number}
  - {name: basket, kind: number, source: context}
offers:
  - name: tea
    value_minor: 1
    treatments: [{channel: web}]
    eligibility: profile.spend_30d > 1
    applicability: context.basket > 2
fraud:
  fields: {gift: {kind: flag}}
  velocities:
    count_10m: {per: card, function: count, window: 10m}
    count_1h: {per: card, function: count, window: 1h}
  thresholds:
    - {amount_minor_from: 1000, refer: 20, decline: 40}
    - {refer: 60, decline: 90}
  rules:
    many: {when: velocity.count_10m > 3, disposition: refer, reason: A}
    gifts: {when: transaction.gift, disposition: refer, reason: B}
stock:
  sites: {berlin: {region: east}}
  units: {SKU1: coffee}
  policies:
    - {categories: [coffee], minimum: 2}
    - {minimum: 1}
"""


@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        ("spend_30d, kind: number", "spend_30d, kind: numbr", ["attributes/spend_30d.kind"]),
        ("source: context", "source: contxt", ["attributes/basket.source"]),
        ("window: 10m", "window: 1", ["fraud.velocities/count_10m.window"]),
        ("kind: flag", "kind: flg", ["fraud.fields/gift.kind"]),
        ("minor_from: 1000", "minor_from: 1e3", ["fraud.thresholds[0].amount_minor_from"]),
        ("categories: [coffee]", "categories: [cofee]", ["stock.policies[0].categories"]),
        ("categories: [coffee]", "category: coffee", ["stock.policies[0].category"]),
        ("amount_minor_from: 1000", "amount_from: 1000", ["fraud.thresholds[0].amount_from"]),
        ("categories: [coffee], minimum", "minimum", ["stock.policies[0]"]),
        ("amount_minor_from: 1000, ", "", ["fraud.thresholds[0]"]),
        (
            "basket, kind: number, source: context}",
            "bskt, kind: numbr, source: context}",
            ["attributes/bskt.kind", "offers/tea.applicability"],
        ),
        (
            "profile.spend_30d > 1",
            "profile.basket > 1 && profile.spend_7 > 1",
            ["offers/tea.eligibility", "offers/tea.eligibility"],
        ),
    ],
)
def test_what_only_misses_a_declaration_with_a_mistake_is_none_itself(
    shop: Shop, old: str, new: str, fields: list[str]
) -> None:
    assert old in FOLLOWED
    files = {"shop.yaml": FOLLOWED.replace(old, new)}
    refusal = refuse(shop.catalogue.ApplyCatalogue, make_apply(files))
    assert refusal.fields == fields
    shop.apply({"shop.yaml": FOLLOWED})


def test_a_thousand_mistakes_arrive_as_far_as_they_fit(shop: Shop) -> None:
    offers = "".join(
        f"  - name: offer_{i}\n    treatments: [{{channel: wep}}]\n    value_minor: -1\n"
        for i in range(500)
    )
    refusal = refuse(
        shop.catalogue.ApplyCatalogue, make_apply({**SHOP, "offers.yaml": f"offers:\n{offers}"})
    )
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert len(refusal.violations) >= 5
    assert int(refusal.metadata["violations_left_out_count"]) >= 20


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ApplyCatalogueRequest(), "files"),
        (make_apply(SHOP, expected_revision=-1), "expected_revision"),
        (
            pb.ApplyCatalogueRequest(files=[pb.CatalogueFile(path="a.yaml", content="")] * 2),
            "files[1].path",
        ),
        (make_apply({f"{i}.yaml": "" for i in range(1_001)}), "files"),
    ],
)
def test_a_bad_publication_is_refused(
    shop: Shop, request_: pb.ApplyCatalogueRequest, field: str
) -> None:
    refusal = refuse(shop.catalogue.ApplyCatalogue, request_)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.fields == [field]


CARD_NUMBER = "4539578763621486"
TILL = """\
currency: EUR
channels: {{web: []}}
attributes: [{{name: age, kind: number, description: "{title}"}}]  # {comment}
fraud:
  terminals:
    '{terminal}': {{latitude: 1, longitude: 2}}
  rules:
    a: {{when: transaction.amount > {amount}, disposition: refer, reason: A}}
"""
GIVEN = {"title": "years", "comment": "x", "terminal": "t", "amount": "1.0"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"title": f"x {CARD_NUMBER}"}, 3),
        ({"comment": f"my card is {CARD_NUMBER}"}, 3),
        ({"comment": "my card is 4539 5787 6362 1486"}, 3),
        ({"comment": "cvv 123"}, 3),
        ({"terminal": CARD_NUMBER}, 6),
        ({"amount": f"{CARD_NUMBER}.0"}, 8),
    ],
)
def test_card_data_in_a_catalogue_is_refused_with_its_line_and_appears_nowhere(
    shop: Shop, tmp_path: Path, given: dict[str, str], line: int
) -> None:
    shop.apply({"shop.yaml": TILL.format(**GIVEN)})
    text = TILL.format(**{**GIVEN, **given})
    refusal = refuse(shop.catalogue.ApplyCatalogue, make_apply({"shop.yaml": text}))
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "CATALOGUE_INVALID",
    )
    assert refusal.message.startswith(
        f"the catalogue has 1 mistake; first: shop.yaml:{line}: content: holds a "
    )
    # Nor does another mistake quote it.
    wrong = f"{text}offers: [{CARD_NUMBER}]\n"
    wrong_refusal = refuse(shop.catalogue.ApplyCatalogue, make_apply({"shop.yaml": wrong}))
    path = f"{CARD_NUMBER}.yaml"
    path_refusal = refuse(shop.catalogue.ApplyCatalogue, make_apply({path: "[]"}))
    assert path_refusal.reason == "CARD_NUMBER_REFUSED"
    said = (
        f"{refusal}{wrong_refusal}{path_refusal}{shop.log.getvalue()}{shop.server.log.getvalue()}"
    )
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert CARD_NUMBER not in said
    assert "4539 5787" not in said
    assert CARD_NUMBER.encode() not in written
    assert b"4539 5787" not in written


def test_another_name_or_view_is_refused(shop: Shop) -> None:
    for request, field in (
        (pb.GetCatalogueRequest(name="catalogues/1"), "name"),
        (pb.GetCatalogueRequest(name="catalogue", view=9), "view"),  # type: ignore[arg-type]
    ):
        assert refuse(shop.catalogue.GetCatalogue, request).fields == [field]


def test_a_new_attribute_can_be_written_right_after_its_publication(shop: Shop) -> None:
    shop.apply(SHOP)
    extended = SHOP["shop.yaml"].replace(
        "attributes:\n", "attributes:\n  - {name: height, kind: number}\n"
    )
    shop.catalogue.ApplyCatalogue(make_apply({**SHOP, "shop.yaml": extended}), timeout=20)
    customer = Customer(name="customers/c", attributes={"height": AttributeValue(number_value=2)})
    request = UpdateCustomerRequest(customer=customer, allow_missing=True)
    written = shop.customers.UpdateCustomer(request, timeout=20)
    assert written.attributes["height"].number_value == 2


def test_a_process_compiles_to_the_same_as_this_thread() -> None:
    local = LocalCompiler().compile(SHOP, None, revision=1, publish_time_ns=5)
    process = ProcessCompiler().compile(SHOP, None, revision=1, publish_time_ns=5)
    assert process == local
    changed = ProcessCompiler().compile(DEARER, local.body, revision=2, publish_time_ns=6)
    assert changed == LocalCompiler().compile(DEARER, local.body, revision=2, publish_time_ns=6)


def test_a_process_reports_the_same_problems() -> None:
    problems = []
    for compiler in (LocalCompiler(), ProcessCompiler()):
        with pytest.raises(CatalogueInvalidError) as caught:
            compiler.compile(BROKEN, None, revision=1, publish_time_ns=5)
        problems.append(caught.value.problems)
    assert problems[0] == problems[1]


def test_a_compilation_that_takes_too_long_is_killed() -> None:
    with pytest.raises(ExhaustedError, match=r"0\.01 s") as caught:
        ProcessCompiler(time_ns_max=10_000_000).compile(SHOP, None, revision=1, publish_time_ns=5)
    assert caught.value.reason == "CATALOGUE_TOO_HEAVY"


def test_a_compilation_that_takes_too_much_memory_is_refused() -> None:
    # The process starts within 1 GiB; the bound is set once everything has been imported.
    heavy = {"a.yaml": "attributes:\n" + "  - {name: x}\n" * 200_000}
    with pytest.raises(ExhaustedError) as caught:
        ProcessCompiler(memory_size_bytes_max=1 << 20).compile(
            heavy, None, revision=1, publish_time_ns=5
        )
    assert caught.value.reason == "CATALOGUE_TOO_HEAVY"
