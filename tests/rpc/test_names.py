"""Resource names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.catalogue.fraud_words import ListKind
from instanter.errors import InvalidFieldError
from instanter.rpc.names import (
    FRAUD_RULES,
    MERCHANTS,
    TERMINALS,
    TRANSACTIONS,
    check_catalogue_name,
    format_case_name,
    format_customer_name,
    format_decision_name,
    format_entry_name,
    format_offer_name,
    format_plain_name,
    parse_case_name,
    parse_customer_name,
    parse_entry_name,
    parse_hotlist_name,
    parse_plain_name,
)
from instanter.store.records import check_customer_id


@pytest.mark.parametrize(
    "customer_id", ["c", "c-1", "a b", "Ä" * 128, "x" * 256, "né@mail.example", "zero\u200bwidth"]
)
def test_a_customer_name_comes_back_as_it_went(customer_id: str) -> None:
    assert parse_customer_name(format_customer_name(customer_id), "name") == customer_id


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("", "does not start"),
        ("customers", "does not start"),
        ("Customers/c", "does not start"),
        ("customers/", "is empty"),
        ("customers/" + "x" * 257, "257 characters"),
        ("customers/" + "Ä" * 129, "258 bytes"),
        ("customers/a/b", "contains '/'"),
        ("customers/a\0b", "U+0000 at 1"),
        ("customers/a\x85", "U+0085 at 1"),
        ("customers/a\ud800", "not valid Unicode"),
    ],
)
def test_a_wrong_customer_name_says_what_is_wrong(name: str, mistake: str) -> None:
    with pytest.raises(InvalidFieldError, match="customers") as caught:
        parse_customer_name(name, "requests[3].customer")
    assert mistake in caught.value.message
    assert caught.value.field == "requests[3].customer"


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=300))
def test_the_wire_takes_exactly_the_ids_that_the_store_takes(customer_id: str) -> None:
    def is_taken(check: object) -> bool:
        try:
            check()  # type: ignore[operator]
        except InvalidFieldError:
            return False
        return True

    assert is_taken(lambda: parse_customer_name(f"customers/{customer_id}", "name")) == is_taken(
        lambda: check_customer_id(customer_id, "name")
    )


def test_offers_and_decisions_have_names() -> None:
    assert format_offer_name("espresso") == "offers/espresso"
    assert format_decision_name("0a") == "decisions/0a"


def test_there_is_one_catalogue() -> None:
    check_catalogue_name("catalogue", "name")
    with pytest.raises(InvalidFieldError, match="'catalogue'"):
        check_catalogue_name("catalogues/1", "name")


@pytest.mark.parametrize("collection", [TRANSACTIONS, TERMINALS, MERCHANTS, FRAUD_RULES])
def test_a_plain_name_comes_back_as_it_went(collection: str) -> None:
    for plain_id in ("x", "a b", "x" * 64, "~!#"):
        name = format_plain_name(collection, plain_id)
        assert parse_plain_name(name, collection, "name") == plain_id


@pytest.mark.parametrize("plain_id", ["", "a/b", "é", "a\n", "x" * 200, "a\x7f"])
def test_a_wrong_plain_name_is_refused(plain_id: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        parse_plain_name(TERMINALS + plain_id, TERMINALS, "terminal")
    assert caught.value.reason == "RESOURCE_NAME_INVALID"
    with pytest.raises(InvalidFieldError):
        parse_plain_name("merchants/m", TERMINALS, "terminal")


def test_names_of_cases_and_hotlists_come_back_as_they_went() -> None:
    assert parse_case_name(format_case_name(17), "name") == 17
    for wrong in ("cases/", "cases/0", "cases/-1", "cases/1x", "case/1", "cases/" + "9" * 30):
        with pytest.raises(InvalidFieldError):
            parse_case_name(wrong, "name")
    for kind, entry in ((ListKind.CARDS, "a-b"), (ListKind.BINS, "45395787")):
        assert parse_entry_name(format_entry_name(kind, entry), "name") == (kind, entry)
    for wrong in ("hotlists/cards", "hotlists/cards/entries/", "hotlists/bins/entries/12a456",
                  "cards/entries/a", "hotlists/people/entries/a"):  # fmt: skip
        with pytest.raises(InvalidFieldError):
            parse_entry_name(wrong, "name")
    with pytest.raises(InvalidFieldError):
        parse_hotlist_name("cards", "parent")
