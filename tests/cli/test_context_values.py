"""What a value on the command line is taken for."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.cli.context_values import read_context
from instanter.cli.failures import CommandError


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("a=12.5", 12.5),
        ("a=-3", -3.0),
        ("a=1e3", 1000.0),
        ("a=.5", 0.5),
        ("a=true", True),
        ("a=false", False),
        ("a=True", "True"),
        ("a=phone", "phone"),
        ("a=", ""),
        ("a=x=y", "x=y"),
        ("a=nan", "nan"),
        ("a=inf", "inf"),
        ("a=1_000", "1_000"),
        ("a=1e999", "1e999"),
        ("a=٣", "٣"),
        ("a=2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (
            "a=2026-03-01T12:00:00.5+02:00",
            datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=2))),
        ),
        ("a=2026-13-01T12:00:00Z", "2026-13-01T12:00:00Z"),
        ("a=2026-03-01", "2026-03-01"),
        ("a:category=123", "123"),
        ("a:category=true", "true"),
        ("a:number=7", 7.0),
        ("a:flag=true", True),
    ],
)
def test_the_look_of_a_value_decides_unless_its_kind_is_said(entry: str, value: object) -> None:
    read = read_context([entry])["a"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["basket"], "--context 'basket': expected name=value, basket_value=12.5 for example"),
        (["=5"], "expected name=value"),
        (["a=1", "a=2"], "'a' is given twice"),
        (["a:numbr=1"], "did you mean 'number'?"),
        (["a:=1"], "'' is no kind"),
        (["a:number=many"], "'many' is not a finite number"),
        (["a:number=nan"], "'nan' is not a finite number"),
        (["a:flag=yes"], "'yes' is not true or false"),
        (["a:instant=today"], "'today' is not an RFC 3339 instant"),
    ],
)
def test_a_mistake_is_shown_with_what_would_be_right(entries: list[str], message: str) -> None:
    with pytest.raises(CommandError) as raised:
        read_context(entries)
    assert message in raised.value.message
    assert raised.value.exit_code == 2


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(CommandError):
        assert len(read_context([text])) == 1


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_comes_through(number: float) -> None:
    assert read_context([f"a={number!r}"]) == {"a": number}
