"""What an event may be, laid out for the kernel that reads requests as they come over the wire."""

import struct
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.events import EventField, EventKind
from instanter.catalogue.schema import AttributeKind
from instanter.catalogue.value_declarations import FLOAT32_MAX
from instanter.kernels.event_tables import (
    CATEGORY_MEMBER,
    FIELD_COLUMNS,
    FLAG_MEMBER,
    INSTANT_MEMBER,
    KIND_COLUMNS,
    NUMBER_MEMBER,
    VALUE_COLUMNS,
)

_MEMBERS: Final = {
    AttributeKind.NUMBER: NUMBER_MEMBER,
    AttributeKind.CATEGORY: CATEGORY_MEMBER,
    AttributeKind.FLAG: FLAG_MEMBER,
    AttributeKind.INSTANT: INSTANT_MEMBER,
}


def make_wire_tables(kinds: Iterable[EventKind]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return `tables` and `text` of `kernels.event_requests.read_events`.

    Parameters
    ----------
    kinds
        The kinds whose events the kernel is to read; it leaves all others to whoever calls it.

    Returns
    -------
    ndarray, ndarray
        int64[n] and uint8[m], m > 0.
    """
    listed = list(kinds)
    given = [[field for field in kind.fields if not field.withdrawn] for kind in listed]
    text = bytearray()
    kind_rows: list[int] = []
    field_rows: list[int] = []
    value_rows: list[int] = []
    fields_start = 1 + KIND_COLUMNS * len(listed)
    values_start = fields_start + FIELD_COLUMNS * sum(map(len, given))
    for kind, fields in zip(listed, given, strict=True):
        first = fields_start + len(field_rows)
        for field in fields:
            first_value = values_start + len(value_rows)
            for code, value in enumerate(field.values):
                if code not in field.withdrawn_codes:
                    value_rows += (*_add_name(text, value), code)
            values_end = values_start + len(value_rows)
            field_rows += (*_add_name(text, field.name), *_describe(field), first_value, values_end)
        required = sum(field.required for field in fields)
        fields_end = fields_start + len(field_rows)
        kind_rows += (*_add_name(text, kind.name), kind.code, first, fields_end, required)
    assert len(value_rows) % VALUE_COLUMNS == 0
    tables = np.array([len(listed), *kind_rows, *field_rows, *value_rows], np.int64)
    return tables, np.frombuffer(bytes(text) or b"\0", np.uint8)


def _add_name(text: bytearray, name: str) -> tuple[int, int]:
    """Add a name to the text, and return where it begins and ends there."""
    start = len(text)
    text += name.encode()
    return start, len(text)


def _describe(field: EventField) -> tuple[int, int, int, int, int]:
    """Return the middle of a field's row: member, slot, whether required, smallest and largest."""
    low = -FLOAT32_MAX if field.range_min is None else field.range_min
    high = FLOAT32_MAX if field.range_max is None else field.range_max
    return _MEMBERS[field.kind], field.index, int(field.required), _bits_of(low), _bits_of(high)


def _bits_of(number: float) -> int:
    """Return the bits of a float64 as an int64."""
    bits: int = struct.unpack("<q", struct.pack("<d", number))[0]
    return bits
