"""Resource names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.errors import InvalidFieldError
from instanter.rpc.names import (
    check_catalogue_name,
    format_customer_name,
    format_decision_name,
    format_offer_name,
    parse_customer_name,
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
