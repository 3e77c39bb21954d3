"""Columns into slots: every kind from every type it may come in, and words for what is wrong."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.catalogue.schema import MISSING_CODE, Attribute, AttributeKind, AttributeSource
from instanter.data.encoding import check_column_type, check_key_type, encode_column, encode_keys
from instanter.errors import InvalidFieldError
from instanter.store.records import customer_id_of

NUMBER, CATEGORY, FLAG, INSTANT = AttributeKind
MISSING = None


def attribute(kind: AttributeKind, **given: object) -> Attribute:
    return Attribute("a", kind, AttributeSource.LOADED, 0, **given)


def encode(declared: Attribute, values: list, kind: pa.DataType | None = None):
    """Return slots as Python values (None is missing) and row → reason of what is rejected."""
    slots, rejections = encode_column(declared, pa.array(values, kind))
    assert slots.dtype == np.uint32
    read = slots.view(np.float32) if declared.kind is NUMBER else slots
    decoded = [
        None if slot == MISSING_CODE else value.item()
        for slot, value in zip(slots, read, strict=True)
    ]
    return decoded, {rejection.row: rejection.reason for rejection in rejections}


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16(), pa.decimal128(9, 2)])
def test_numbers_come_in_floats_of_any_width(kind: pa.DataType) -> None:
    array = pa.array([1.5, None, -2.0]).cast(kind)
    slots, rejections = encode_column(attribute(NUMBER), array)
    assert not rejections
    assert slots.view(np.float32)[[0, 2]].tolist() == [1.5, -2.0]
    assert slots[1] == MISSING_CODE


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint16(), pa.bool_(), pa.string()])
def test_numbers_come_in_whole_numbers_booleans_and_text(kind: pa.DataType) -> None:
    array = pa.array([1, None, 0]).cast(kind)
    slots, rejections = encode_column(attribute(NUMBER), array)
    assert not rejections
    assert slots.view(np.float32)[[0, 2]].tolist() == [1.0, 0.0]
    assert slots[1] == MISSING_CODE


def test_numbers_out_of_range_or_not_finite_are_rejected() -> None:
    declared = attribute(NUMBER, range_min=0, range_max=10)
    values, reasons = encode(declared, [0.0, 10.0, 10.5, -1.0, float("nan"), float("inf"), None])
    assert values == [0, 10, None, None, None, None, None]
    assert reasons == {
        2: "is out of range; expected at least 0 and at most 10",
        3: "is out of range; expected at least 0 and at most 10",
        4: "is not a finite number; leave the field empty when there is none",
        5: "is not a finite number; leave the field empty when there is none",
    }
    _, reasons = encode(attribute(NUMBER), [1e39, -1e39, 3.4e38])
    assert list(reasons) == [0, 1]
    assert "too large" in reasons[0]


def test_a_float32_at_the_end_of_its_range_is_in_it() -> None:
    declared = attribute(NUMBER, range_max=0.1)
    assert encode(declared, [np.float32(0.1)], pa.float32())[1] == {}
    assert encode(declared, [0.1])[1] == {}


def test_text_that_spells_no_number_is_rejected_value_by_value() -> None:
    texts = ["1", " 2.5 ", "+3", "1e3", ".5", "", "NA", "null", None]
    wrong = ["1,5", "x", "0x1", "1_000", "nan", "inf", "١٢"]
    values, reasons = encode(attribute(NUMBER, range_max=9_999), [*texts, *wrong])
    assert values == [1, 2.5, 3, 1000, 0.5, None, None, None, None] + [None] * 7
    assert sorted(reasons) == [9, 10, 11, 12, 13, 14, 15]
    assert reasons[12] == reasons[15] == "is not a number; expected digits from 0 to 9"
    assert reasons[9] == "is not a number; the decimal sign is a point"
    assert "finite" in reasons[13]


def test_a_category_never_seen_is_rejected_with_the_nearest_value() -> None:
    declared = attribute(CATEGORY, values=("gold", "silver", "bronze"))
    values, reasons = encode(
        declared, ["silver", "sliver", None, "", "NA", "gold", "Gold", " gold"]
    )
    assert values == [1, None, None, None, None, 0, None, None]
    assert reasons[1] == "is not one of the 3 values of a; did you mean 'silver'?"
    assert sorted(reasons) == [1, 6, 7]


def test_a_declared_value_may_be_spelled_like_nothing() -> None:
    assert encode(attribute(CATEGORY, values=("DE", "NA")), ["NA", "N/A"])[0] == [1, None]


def test_a_withdrawn_value_may_not_be_written_any_more() -> None:
    declared = attribute(CATEGORY, values=("gold", "lead"), withdrawn_codes=frozenset({1}))
    values, reasons = encode(declared, ["gold", "lead"])
    assert values == [0, None]
    assert "withdrawn" in reasons[1]


def test_categories_come_in_dictionaries_numbers_and_booleans() -> None:
    declared = attribute(CATEGORY, values=("7", "true", "red"))
    assert encode(declared, [7, None])[0] == [0, None]
    assert encode(declared, [7.0, 7.5])[0] == [0, None]
    assert encode(declared, [True, None])[0] == [1, None]
    assert encode_column(declared, pa.array(["red", None]).dictionary_encode())[0][0] == 2
    assert encode(declared, ["red"], pa.large_string())[0] == [2]


def test_flags_come_in_booleans_numbers_and_words() -> None:
    assert encode(attribute(FLAG), [True, None, False])[0] == [1, None, 0]
    assert encode(attribute(FLAG), [1, None, 0])[0] == [1, None, 0]
    assert encode(attribute(FLAG), [1.0, None, 0.0])[0] == [1, None, 0]
    words = ["Yes", " no", "TRUE", "false", "1", "0", "", None, "NA"]
    assert encode(attribute(FLAG), words) == ([1, 0, 1, 0, 1, 0, None, None, None], {})


@pytest.mark.parametrize("wrong", [[2, None], [0.5, None], [float("nan"), 1], ["maybe", "1"]])
def test_anything_else_is_no_flag(wrong: list) -> None:
    values, reasons = encode(attribute(FLAG), wrong)
    assert values[0] is None
    assert list(reasons) == [0]
    assert "0 or 1" in reasons[0]


NEW_YEAR = 1704067200  # 2024-01-01T00:00:00Z


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_instants_come_in_timestamps_of_any_unit_and_zone(unit: str, zone: str | None) -> None:
    moments = [datetime(2024, 1, 1, tzinfo=UTC), None]
    array = pa.array(moments, pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, zone or "UTC"))
    array = array if zone else array.cast(pa.timestamp(unit))
    slots, rejections = encode_column(attribute(INSTANT), array)
    assert slots.tolist() == [NEW_YEAR, MISSING_CODE]
    assert not rejections


def test_instants_come_in_dates_numbers_and_text() -> None:
    assert encode(attribute(INSTANT), [date(2024, 1, 1), None])[0] == [NEW_YEAR, None]
    assert encode(attribute(INSTANT), [NEW_YEAR, None, 0])[0] == [NEW_YEAR, None, 0]
    assert encode(attribute(INSTANT), [NEW_YEAR + 0.9, None])[0] == [NEW_YEAR, None]
    texts = [
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        "2024-01-01 01:00:00+01:00",
        " 2024-01-01T00:00:00.999 ",
        str(NEW_YEAR),
        "",
        None,
    ]
    values, reasons = encode(attribute(INSTANT), texts)
    assert values == [NEW_YEAR] * 5 + [None, None]
    assert not reasons


def test_instants_that_no_slot_can_hold_are_rejected() -> None:
    _, reasons = encode(attribute(INSTANT), ["1969-12-31", "-1", "x", str(2**32 - 1), "2024-13-01"])
    assert sorted(reasons) == [0, 1, 2, 3, 4]
    assert "out of range" in reasons[0]
    assert "ISO 8601" in reasons[2]
    assert "ISO 8601" in reasons[4]
    _, reasons = encode(
        attribute(INSTANT), [datetime(1960, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]
    )
    assert sorted(reasons) == [0, 1]
    _, reasons = encode(attribute(INSTANT), [2**62], pa.timestamp("s"))
    assert sorted(reasons) == [0]
    _, reasons = encode(attribute(INSTANT), [NEW_YEAR * 1000])
    assert "in seconds" in reasons[0]


@pytest.mark.parametrize("value", ["20240101", 20240101])
def test_a_date_without_hyphens_is_not_taken_for_a_day_in_1970(value: object) -> None:
    values, reasons = encode(attribute(INSTANT), [value, None])
    assert values == [None, None]
    assert "2024-01-31" in reasons[0]


@pytest.mark.parametrize("kind", list(AttributeKind))
def test_a_column_without_any_value_is_missing(kind: AttributeKind) -> None:
    declared = attribute(kind, values=("x",) if kind is CATEGORY else ())
    for array in (pa.nulls(3), pa.array([None] * 3, pa.string()), pa.array([None] * 3, pa.int64())):
        slots, rejections = encode_column(declared, array)
        assert (slots == MISSING_CODE).all()
        assert not rejections
    assert len(encode_column(declared, pa.array([], pa.string()))[0]) == 0


@given(
    st.lists(st.none() | st.floats(-100, 100, width=32), min_size=1, max_size=40),
    st.integers(0, 39),
    st.sampled_from([pa.float32(), pa.float64()]),
)
def test_a_slice_of_a_column_encodes_as_its_rows_do(
    values: list, start: int, kind: pa.DataType
) -> None:
    declared = attribute(NUMBER, range_min=-50, range_max=50)
    whole, _ = encode_column(declared, pa.array(values, kind))
    part, rejections = encode_column(declared, pa.array(values, kind)[start:])
    assert part.tolist() == whole[start:].tolist()
    wrong = [i for i, v in enumerate(values[start:]) if v is not None and abs(v) > 50]
    assert [rejection.row for rejection in rejections] == wrong


def test_muted_rows_are_missing_without_a_word() -> None:
    muted = np.array([True, False, False])
    slots, rejections = encode_column(attribute(NUMBER), pa.array(["x", "y", "1"]), muted)
    assert slots[:2].tolist() == [MISSING_CODE] * 2
    assert [rejection.row for rejection in rejections] == [1]


def test_keys_are_text_or_whole_numbers() -> None:
    def ids(values: list, kind: pa.DataType | None = None) -> list[str]:
        keys, rejections = encode_keys(pa.array(values, kind))
        assert not rejections
        return [customer_id_of(key) for key in keys]

    assert ids(["a", "ä b", "0012"]) == ["a", "ä b", "0012"]
    assert ids([12345, -1]) == ["12345", "-1"]
    assert ids([12345.0, 2.0**52]) == ["12345", "4503599627370496"]
    assert ids(["a"], pa.large_string()) == ["a"]
    keys, _ = encode_keys(pa.array(["a", "b", "a"]).dictionary_encode())
    assert [customer_id_of(key) for key in keys] == ["a", "b", "a"]


def test_bad_keys_are_rejected_row_by_row() -> None:
    long = "x" * 257
    values = ["ok", "", None, "a/b", "a\nb", "\x7f", "\x85", long, "x" * 100_000, "ok2", "é" * 129]
    keys, rejections = encode_keys(pa.array(values))
    assert [rejection.row for rejection in rejections] == [1, 2, 3, 4, 5, 6, 7, 8, 10]
    assert keys[0]
    assert keys[9]
    assert "missing" in rejections[0].reason
    assert "256 bytes" in rejections[2].reason
    assert all(len(rejection.value) < 250 for rejection in rejections)
    _, rejections = encode_keys(pa.array([1.5, float("nan"), float("inf"), 1e300, None]))
    assert [rejection.row for rejection in rejections] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int8()), pa.binary(), pa.time32("s"), pa.duration("s")]
)
def test_a_column_of_an_impossible_type_is_refused_at_once(kind: pa.DataType) -> None:
    for wanted in AttributeKind:
        with pytest.raises(InvalidFieldError, match="column c"):
            check_column_type(attribute(wanted), "c", kind)
    with pytest.raises(InvalidFieldError, match="key column c"):
        check_key_type("c", kind)
    with pytest.raises(InvalidFieldError, match="for attribute a is a number"):
        check_column_type(attribute(NUMBER), "c", pa.timestamp("s"))
    check_column_type(attribute(INSTANT), "c", pa.timestamp("s"))
