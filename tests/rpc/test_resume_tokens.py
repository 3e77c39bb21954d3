"""Resume tokens."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.errors import InvalidFieldError
from instanter.rpc.resume_tokens import ResumeTokens

TOKENS = ResumeTokens(b"s" * 32)


@given(st.integers(0, (1 << 64) - 1))
def test_a_token_comes_back_as_it_went(sequence: int) -> None:
    token = TOKENS.format(sequence)
    assert TOKENS.parse(token, "resume_token") == sequence
    assert ResumeTokens(b"s" * 32).format(sequence) == token, "on every process"


def refuse(token: str) -> None:
    with pytest.raises(InvalidFieldError, match="resume_token") as caught:
        TOKENS.parse(token, "resume_token")
    assert caught.value.reason == "RESUME_TOKEN_INVALID"


@given(st.text(max_size=60))
def test_a_token_of_another_making_is_refused(token: str) -> None:
    refuse(token)


def test_a_token_of_another_store_is_refused() -> None:
    refuse(ResumeTokens(b"t" * 32).format(7))


def test_a_changed_token_is_refused() -> None:
    token = TOKENS.format(1_234_567)
    for place in range(len(token)):
        for other in "AQgw_-z9":
            if token[place] != other:
                refuse(token[:place] + other + token[place + 1 :])


def test_a_truncated_or_longer_token_is_refused() -> None:
    token = TOKENS.format(1)
    for size in range(1, len(token)):
        refuse(token[:size])
    for longer in (token + "=", token + "A", token * 2, "A" * 1_000_000):
        refuse(longer)


def test_a_sequence_cannot_be_put_into_another_token() -> None:
    mine, other = (base64.urlsafe_b64decode(TOKENS.format(n) + "==") for n in (5, 6))
    refuse(base64.urlsafe_b64encode(other[:9] + mine[9:]).decode().rstrip("="))
