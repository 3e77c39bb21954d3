"""One attribute value as people know it, and as a slot holds it."""

import math
import struct
from datetime import datetime

from instanter.catalogue.instants import format_instant
from instanter.catalogue.schema import (
    INSTANT_S_MAX,
    MISSING_CODE,
    Attribute,
    AttributeKind,
)
from instanter.catalogue.value_declarations import FLOAT32_MAX
from instanter.errors import InvalidFieldError, nearest

_VALUES_SHOWN_MAX = 10
_NUMBER = struct.Struct("<f")
_WHOLE_END = 1e7

# Reasons are part of the contract; a client tells a wrong kind from a wrong value by them.
_KIND_MISMATCH = "ATTRIBUTE_KIND_MISMATCH"
_OUT_OF_RANGE = "ATTRIBUTE_OUT_OF_RANGE"
_VALUE_UNKNOWN = "ATTRIBUTE_VALUE_UNKNOWN"

AttributeValue = float | str | bool | int
"""A number, a category's value, a flag, or an instant in whole seconds since 1970."""


def encode_value(attribute: Attribute, value: AttributeValue | datetime, field: str) -> int:
    """Return the 32-bit pattern of a slot that holds `value`.

    Parameters
    ----------
    attribute
        What the value is of.
    value
        A number in the attribute's unit, a category's value, a flag; for an instant whole seconds
        since 1970 or a datetime with its offset, whose fraction of a second is cut off.
    field
        Path of the value in the request, for the error.

    Raises
    ------
    InvalidFieldError
        The value is of another kind, not finite, out of range, or not among the category's values.
    """
    if attribute.kind is AttributeKind.NUMBER:
        return _encode_number(attribute, value, field)
    if attribute.kind is AttributeKind.CATEGORY:
        return _encode_category(attribute, value, field)
    if attribute.kind is AttributeKind.FLAG:
        if not isinstance(value, bool):
            raise InvalidFieldError(field, value, "a flag, true or false", reason=_KIND_MISMATCH)
        return int(value)
    return _encode_instant(value, field)


def decode_value(attribute: Attribute, slot: int) -> AttributeValue | None:
    """Return the value that a slot's 32-bit pattern stands for, or None when it is missing.

    A number comes back as the shortest decimal that is stored as the same float32, so that 0.1
    reads as 0.1. A category code that this schema does not know was written under a newer one,
    and is missing until that schema is in force here.
    """
    if slot == MISSING_CODE:
        return None
    if attribute.kind is AttributeKind.NUMBER:
        return _decode_number(slot)
    if attribute.kind is AttributeKind.CATEGORY:
        return attribute.values[slot] if slot < len(attribute.values) else None
    if attribute.kind is AttributeKind.FLAG:
        return slot != 0
    return slot


def _encode_number(attribute: Attribute, value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _number_error(attribute, value, field, _KIND_MISMATCH)
    low = -FLOAT32_MAX if attribute.range_min is None else attribute.range_min
    high = FLOAT32_MAX if attribute.range_max is None else attribute.range_max
    if not low <= value <= high:  # refuses NaN and the infinities too
        raise _number_error(attribute, value, field, _OUT_OF_RANGE)
    return int.from_bytes(_NUMBER.pack(value + 0.0), "little")


def _number_error(
    attribute: Attribute, value: object, field: str, reason: str
) -> InvalidFieldError:
    """Return the error; its words are only made when there is one, for this is the hot path."""
    expected = f"a number{_range_words(attribute)}"
    return InvalidFieldError(field, value, expected, reason=reason)


def _range_words(attribute: Attribute) -> str:
    unit = f" in {attribute.unit}" if attribute.unit else ""
    low, high = attribute.range_min, attribute.range_max
    if low is not None and high is not None:
        return f"{unit} from {low:g} to {high:g}"
    if low is not None:
        return f"{unit}, at least {low:g}"
    if high is not None:
        return f"{unit}, at most {high:g}"
    return f"{unit} within ±{FLOAT32_MAX:.6g}"


def _encode_category(attribute: Attribute, value: object, field: str) -> int:
    if isinstance(value, str) and value in attribute.values:
        code = attribute.values.index(value)
        if code not in attribute.withdrawn_codes:
            return code
        raise InvalidFieldError(
            field, value, "a value that has not been withdrawn", reason=_VALUE_UNKNOWN
        )
    names = [v for c, v in enumerate(attribute.values) if c not in attribute.withdrawn_codes]
    shown = ", ".join(names[:_VALUES_SHOWN_MAX])
    if len(names) > _VALUES_SHOWN_MAX:
        shown = f"{shown}, … ({len(names):,} values)"
    near = nearest(value, names) if isinstance(value, str) else None
    hint = f"; did you mean {near!r}?" if near else ""
    reason = _VALUE_UNKNOWN if isinstance(value, str) else _KIND_MISMATCH
    raise InvalidFieldError(field, value, f"a category, one of {shown}{hint}", reason=reason)


def _encode_instant(value: object, field: str) -> int:
    expected = f"an instant from 1970-01-01T00:00:00Z to {format_instant(INSTANT_S_MAX)}"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidFieldError(field, value, f"{expected}, with its offset from UTC")
        seconds = math.floor(value.timestamp())
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    else:
        raise InvalidFieldError(field, value, expected, reason=_KIND_MISMATCH)
    if not 0 <= seconds <= INSTANT_S_MAX:
        raise InvalidFieldError(field, value, expected, reason=_OUT_OF_RANGE)
    return seconds


def _decode_number(slot: int) -> float | None:
    bits = slot.to_bytes(4, "little")
    number: float = _NUMBER.unpack(bits)[0]
    if math.isnan(number):
        return None
    if -_WHOLE_END < number < _WHOLE_END and number.is_integer():
        # Most are, counts above all: they have 7 digits at most as they are.
        return number
    for digits in (7, 8):
        short = float(f"{number:.{digits}g}")
        if abs(short) <= FLOAT32_MAX and _NUMBER.pack(short) == bits:
            return short
    return number
