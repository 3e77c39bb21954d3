"""Page tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.errors import InvalidFieldError
from instanter.rpc.page_tokens import format_page_token, parse_page_token


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=64))
def test_a_token_comes_back_as_it_went(customer_id: str) -> None:
    assert parse_page_token(format_page_token(customer_id), "page_token") == customer_id


def test_no_token_is_the_first_page() -> None:
    assert parse_page_token("", "page_token") == ""


@given(st.text(max_size=40))
def test_a_token_of_another_making_is_refused(token: str) -> None:
    if token:
        with pytest.raises(InvalidFieldError):
            parse_page_token(token, "page_token")


def test_a_changed_token_is_refused() -> None:
    token = format_page_token("customer-17")
    for place, character in enumerate(token):
        changed = token[:place] + ("A" if character != "A" else "B") + token[place + 1 :]
        with pytest.raises(InvalidFieldError, match="next_page_token"):
            parse_page_token(changed, "page_token")


def test_an_endless_token_is_refused() -> None:
    with pytest.raises(InvalidFieldError):
        parse_page_token("A" * 1_000_000, "page_token")
