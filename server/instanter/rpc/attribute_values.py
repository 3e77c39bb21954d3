"""Attribute values between messages and plain values, and between messages and slots."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.schema import MISSING_CODE, Attribute, AttributeKind
from instanter.catalogue.values import decode_value
from instanter.errors import InvalidFieldError
from instanter.v1.attribute_value_pb2 import AttributeValue

PlainValue = float | str | bool | datetime
"""Number, category, flag or instant. The type alone says which member was set."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_MIN: Final = -62_135_596_800
_SECONDS_MAX: Final = 253_402_300_799
_S_NS: Final = 1_000_000_000


def read_value(message: AttributeValue, field: str) -> PlainValue | None:
    """Return the plain value of a message, None when no member is set.

    Parameters
    ----------
    message
        The value as the caller gave it.
    field
        Path of the field, for the error.

    Raises
    ------
    InvalidFieldError
        An instant is outside of the years 1 to 9999, or its nanoseconds are none; reason
        `ATTRIBUTE_OUT_OF_RANGE`.
    """
    kind = message.WhichOneof("kind")
    if kind == "number_value":
        return message.number_value
    if kind == "category_value":
        return message.category_value
    if kind == "flag_value":
        return message.flag_value
    if kind is None:
        return None
    seconds, nanos = message.instant_value.seconds, message.instant_value.nanos
    if not _SECONDS_MIN <= seconds <= _SECONDS_MAX or not 0 <= nanos < _S_NS:
        raise InvalidFieldError(
            field,
            f"{seconds} s {nanos} ns since 1970",
            "an instant from 1970-01-01T00:00:00Z to 2106-02-07T06:28:14Z, with 0 to 999999999 ns",
            reason="ATTRIBUTE_OUT_OF_RANGE",
        )
    return _EPOCH + timedelta(seconds=seconds)


def read_values(messages: Mapping[str, AttributeValue], field: str) -> dict[str, PlainValue]:
    """Return the plain values of a map by name; values without a member are left out.

    Raises
    ------
    InvalidFieldError
        As in `read_value`; the field is `field["name"]`.
    """
    values: dict[str, PlainValue] = {}
    for name, message in messages.items():
        # Most values are numbers or categories: they need no path, which takes its time to make.
        kind = message.WhichOneof("kind")
        if kind == "number_value":
            values[name] = message.number_value
        elif kind == "category_value":
            values[name] = message.category_value
        elif kind is not None:
            value = read_value(message, f'{field}["{name}"]')
            assert value is not None, "a member is set"
            values[name] = value
    return values


def write_values(
    messages: Mapping[str, AttributeValue],
    attributes: Iterable[Attribute],
    slots: NDArray[np.uint32],
) -> None:
    """Fill a message's map with the values that a profile's slots hold; missing ones are absent.

    Parameters
    ----------
    messages
        The map to fill.
    attributes
        Loaded attributes of the schema that the slots are of.
    slots
        uint32[S], C-contiguous; read-only here.
    """
    codes: list[int] = slots.tolist()
    for attribute in attributes:
        code = codes[attribute.slot]
        if code == MISSING_CODE:
            continue
        value = decode_value(attribute, code)
        if value is None:
            continue
        message = messages[attribute.name]
        kind = attribute.kind
        if kind is AttributeKind.NUMBER:
            message.number_value = value  # type: ignore[assignment] # by its kind
        elif kind is AttributeKind.CATEGORY:
            message.category_value = value  # type: ignore[assignment] # by its kind
        elif kind is AttributeKind.FLAG:
            message.flag_value = value  # type: ignore[assignment] # by its kind
        else:
            message.instant_value.seconds = value  # type: ignore[assignment] # by its kind
