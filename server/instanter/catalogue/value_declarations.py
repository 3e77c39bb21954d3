"""Reads what attributes and fields of events have in common: kind, unit, range and values."""

from dataclasses import dataclass
from typing import Final

from instanter import limits
from instanter.catalogue.schema import AttributeKind
from instanter.catalogue.yaml_reader import NumberRange, Reader, is_null
from instanter.catalogue.yaml_tree import Node

FLOAT32_MAX: Final = 3.4028234663852886e38
"""The largest finite float32: what a slot can hold."""

VALUE_KEYS: Final = ("kind", "unit", "range", "values")
"""The keys that say what a value is."""

_KINDS = {kind.name.lower(): kind for kind in AttributeKind}
_SLOT_NUMBERS = NumberRange(-FLOAT32_MAX, FLOAT32_MAX)


@dataclass(frozen=True, slots=True)
class ValueForm:
    """What the values of an attribute or of an event's field are.

    Attributes
    ----------
    kind
        Number, category, flag or instant.
    unit
        Unit of a number; empty when it has none.
    range_min, range_max
        Smallest and largest allowed number; None when unbounded.
    values
        Category values as declared; empty for other kinds.
    """

    kind: AttributeKind
    unit: str
    range_min: float | None
    range_max: float | None
    values: tuple[str, ...]


def read_value_form(reader: Reader, entries: dict[str, Node], field: str) -> ValueForm | None:
    """Return what the values are, or None after a problem with their kind.

    Parameters
    ----------
    reader
        Reads values and records problems.
    entries
        Of the attribute or field; a missing `kind` has been told already.
    field
        Its path, for messages.
    """
    if "kind" not in entries:
        return None
    kind = reader.read_choice(entries["kind"], f"{field}.kind", _KINDS)
    if kind is None:
        return None
    for key, owner in (("range", "number"), ("unit", "number"), ("values", "category")):
        if key in entries and kind is not _KINDS[owner]:
            message = f"belongs to a {owner}, and this is of kind {kind.name.lower()}"
            reader.refuse(entries[key], f"{field}.{key}", message)
    if kind is AttributeKind.CATEGORY and "values" not in entries:
        message = "a category needs its values: [a, b, …]"
        reader.refuse(entries["kind"], f"{field}.values", message)
    unit = reader.read_text(entries["unit"], f"{field}.unit") if "unit" in entries else None
    low, high = _read_range(reader, entries.get("range"), f"{field}.range")
    values = _read_values(reader, entries.get("values"), f"{field}.values")
    return ValueForm(kind, unit or "", low, high, values)


def _read_range(reader: Reader, node: Node | None, field: str) -> tuple[float | None, float | None]:
    if node is None:
        return None, None
    ends = reader.read_list(node, field, 2)
    if len(ends) != 2:
        if ends:
            reader.refuse(node, field, "must be [lowest, highest]; null means open")
        return None, None
    low, high = (
        None if is_null(end) else reader.read_number(end, field, _SLOT_NUMBERS) for end in ends
    )
    if low is not None and high is not None and low > high:
        reader.refuse(ends[0], field, f"must not be above the highest value, {high:g}")
    return low, high


def _read_values(reader: Reader, node: Node | None, field: str) -> tuple[str, ...]:
    if node is None:
        return ()
    items = reader.read_list(node, field, limits.CATEGORY_VALUES_MAX)
    values: dict[str, Node] = {}
    for item in items:
        value = reader.read_text(item, field)
        if value is None:
            continue
        if value in values:
            message = f"stands here twice; first in line {values[value].line}"
            reader.refuse(item, field, message)
        elif len(value.encode()) > limits.CATEGORY_VALUE_SIZE_BYTES_MAX:
            message = f"is longer than {limits.CATEGORY_VALUE_SIZE_BYTES_MAX} bytes of UTF-8"
            reader.refuse(item, field, message)
        elif not value.isprintable():
            reader.refuse(item, field, "must not hold control characters")
        values[value] = item
    if not items:
        reader.refuse(node, field, "must list at least one value")
    return tuple(values)
