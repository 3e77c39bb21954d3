"""Values in slots and back, and values that no slot holds."""

from datetime import UTC, datetime, timedelta, timezone

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from instanter.catalogue.schema import (
    INSTANT_S_MAX,
    MISSING_CODE,
    Attribute,
    AttributeKind,
    AttributeSource,
)
from instanter.catalogue.values import decode_value, encode_value
from instanter.errors import InvalidFieldError, show


def _attribute(kind, **fields):
    return Attribute("x", kind, AttributeSource.LOADED, 0, **fields)


NUMBER = _attribute(AttributeKind.NUMBER)
YEARS = _attribute(AttributeKind.NUMBER, unit="years", range_min=0.0, range_max=120.0)
TIER = _attribute(
    AttributeKind.CATEGORY, values=("bronze", "silver", "gold"), withdrawn_codes=frozenset({0})
)
FLAG = _attribute(AttributeKind.FLAG)
INSTANT = _attribute(AttributeKind.INSTANT)


@pytest.mark.parametrize(
    ("attribute", "value", "slot"),
    [
        (NUMBER, 1.5, 0x3FC00000),
        (NUMBER, -0.0, 0),
        (NUMBER, 3, 0x40400000),
        (NUMBER, 3.4028234663852886e38, 0x7F7FFFFF),
        (TIER, "gold", 2),
        (FLAG, True, 1),
        (FLAG, False, 0),
        (INSTANT, 0, 0),
        (INSTANT, INSTANT_S_MAX, INSTANT_S_MAX),
    ],
)
def test_a_value_comes_back_from_its_slot(attribute, value, slot):
    assert encode_value(attribute, value, "x") == slot
    assert decode_value(attribute, slot) == value


def test_an_instant_is_taken_with_its_offset_in_whole_seconds():
    moment = datetime(2026, 1, 1, 1, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert encode_value(INSTANT, moment, "x") == datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("attribute", [NUMBER, TIER, FLAG, INSTANT])
def test_the_missing_pattern_is_no_value(attribute):
    assert decode_value(attribute, MISSING_CODE) is None


def test_nan_patterns_and_codes_of_a_newer_schema_read_as_missing():
    assert decode_value(NUMBER, 0x7FC00000) is None
    assert decode_value(TIER, 3) is None


def test_a_withdrawn_value_is_read_but_not_written():
    assert decode_value(TIER, 0) == "bronze"
    with pytest.raises(InvalidFieldError, match="has not been withdrawn"):
        encode_value(TIER, "bronze", "x")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        (NUMBER, float("nan"), "'nan' is not right; expected a number"),
        (NUMBER, float("inf"), "expected a number"),
        (NUMBER, -float("inf"), "expected a number"),
        (NUMBER, 3.5e38, "within ±3.40282e"),
        (NUMBER, 10**400, "expected a number"),
        (NUMBER, "3", "expected a number"),
        (NUMBER, True, "expected a number"),
        (YEARS, -1, "a number in years from 0 to 120"),
        (YEARS, 120.5, "a number in years from 0 to 120"),
        (YEARS, datetime(2026, 1, 1, tzinfo=UTC), "a number in years"),
        (TIER, "golden", "one of silver, gold; did you mean 'gold'"),
        (TIER, "", "one of silver, gold"),
        (TIER, 2, "one of silver, gold"),
        (FLAG, 1, "a flag, true or false"),
        (FLAG, "true", "a flag, true or false"),
        (INSTANT, -1, "an instant from 1970-01-01T00:00:00Z to 2106-02-07T06:28:14Z"),
        (INSTANT, INSTANT_S_MAX + 1, "an instant from"),
        (INSTANT, 1.5, "an instant from"),
        (INSTANT, True, "an instant from"),
        (INSTANT, "2026-01-01", "an instant from"),
        (INSTANT, datetime(2026, 1, 1), "with its offset"),  # noqa: DTZ001 - that is the mistake
        (INSTANT, datetime(1969, 1, 1, tzinfo=UTC), "an instant from"),
    ],
)
def test_a_value_that_no_slot_holds_is_refused(attribute, value, message):
    with pytest.raises(InvalidFieldError) as caught:
        encode_value(attribute, value, "customer.attributes.x")
    assert caught.value.field == "customer.attributes.x"
    assert message in caught.value.message


def test_an_instant_that_is_refused_is_shown_as_it_is_written() -> None:
    assert show(datetime(1, 2, 3, tzinfo=UTC)) == "'0001-02-03T00:00:00Z'"


@hypothesis.given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_float32_survives_being_shown(number):
    slot = encode_value(NUMBER, number, "x")
    shown = decode_value(NUMBER, slot)
    assert np.float32(shown) == np.float32(number)
    assert encode_value(NUMBER, shown, "x") == slot


def test_a_whole_number_is_shown_as_itself_whatever_its_size():
    for number in (0.0, 1.0, -12.0, 9_999_999.0, 1e7, 16_777_216.0, 123456789.0, 2.0**127):
        shown = decode_value(NUMBER, encode_value(NUMBER, number, "x"))
        short = [float(f"{number:.{digits}g}") for digits in (7, 8)]
        same = [one for one in short if np.float32(one) == np.float32(number)]
        assert repr(shown) == repr(same[0] if same else float(np.float32(number)))


def test_a_decimal_is_shown_as_it_was_written():
    for number in (0.1, 19.99, 1e-7, 16777216.0, 123456.7, 3.4e38):
        assert decode_value(NUMBER, encode_value(NUMBER, number, "x")) == number
