"""Reads the `attributes:` of a catalogue."""

from dataclasses import dataclass
from typing import Final

from instanter import limits
from instanter.catalogue.names import find_name_mistake, make_attribute_name
from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Sensitivity
from instanter.catalogue.yaml_reader import NumberRange, Reader, is_null
from instanter.catalogue.yaml_tree import Node

FLOAT32_MAX: Final = 3.4028234663852886e38
"""The largest finite float32: what a slot can hold."""

_KEYS = (
    "name", "kind", "source", "unit", "range", "values", "column", "owner", "purpose",
    "sensitivity", "description",
)  # fmt: skip
_KINDS = {kind.name.lower(): kind for kind in AttributeKind}
_SOURCES = {
    source.name.lower(): source for source in (AttributeSource.LOADED, AttributeSource.CONTEXT)
}
_SENSITIVITIES = {sensitivity.name.lower(): sensitivity for sensitivity in Sensitivity}
_SLOT_NUMBERS = NumberRange(-FLOAT32_MAX, FLOAT32_MAX)
_COUNT_MAX = limits.PROFILE_SLOTS_MAX + limits.CONTEXT_SLOTS_MAX


@dataclass(frozen=True, slots=True)
class DeclaredAttribute:
    """An attribute as one file declares it; its slot and codes are not known yet (slot is −1).

    Attributes
    ----------
    attribute
        As declared.
    node
        Where.
    """

    attribute: Attribute
    node: Node


class AttributeReader:
    """Collects the attributes of all files.

    Parameters
    ----------
    reader
        Reads values and records problems.
    """

    __slots__ = ("_columns", "_reader", "declared")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._columns: dict[str, DeclaredAttribute] = {}
        self.declared: dict[str, DeclaredAttribute] = {}

    def read(self, section: Node) -> None:
        """Take the attributes of one file's `attributes:`."""
        for index, node in enumerate(self._reader.read_list(section, "attributes", _COUNT_MAX)):
            self._read_attribute(node, self._reader.find_path(node, "attributes", index))

    def _read_attribute(self, node: Node, field: str) -> None:
        reader = self._reader
        entries = reader.read_mapping(node, field, _KEYS, ("name", "kind"))
        if not entries or "name" not in entries:
            return
        name = reader.read_text(entries["name"], f"{field}.name")
        if name is None:
            return
        if mistake := find_name_mistake(name):
            reader.refuse(entries["name"], f"{field}.name", mistake, make_attribute_name(name))
            return
        if name in self.declared:
            first = self.declared[name].node
            reader.refuse(
                entries["name"], field, f"is declared already in {first.file}:{first.line}"
            )
            return
        attribute = self._make_attribute(name, field, entries)
        if attribute is None:
            return
        declared = DeclaredAttribute(attribute, node)
        self.declared[name] = declared
        self._check_column(declared, field, entries)

    def _make_attribute(self, name: str, field: str, entries: dict[str, Node]) -> Attribute | None:
        reader = self._reader
        if "kind" not in entries:
            return None
        kind = reader.read_choice(entries["kind"], f"{field}.kind", _KINDS)
        source: AttributeSource | None = AttributeSource.LOADED
        if "source" in entries:
            source = reader.read_choice(entries["source"], f"{field}.source", _SOURCES)
        sensitivity: Sensitivity | None = Sensitivity.INTERNAL
        if "sensitivity" in entries:
            sensitivity = reader.read_choice(
                entries["sensitivity"], f"{field}.sensitivity", _SENSITIVITIES
            )
        if kind is None or source is None or sensitivity is None:
            return None
        words = {
            key: reader.read_text(entries[key], f"{field}.{key}") or ""
            for key in ("unit", "column", "owner", "purpose", "description")
            if key in entries
        }
        self._check_kind_fields(kind, field, entries)
        low, high = self._read_range(entries.get("range"), f"{field}.range")
        values = self._read_values(entries.get("values"), f"{field}.values")
        return Attribute(
            name=name,
            kind=kind,
            source=source,
            slot=-1,
            unit=words.get("unit", ""),
            range_min=low,
            range_max=high,
            values=values,
            column=words.get("column", name if source is AttributeSource.LOADED else ""),
            owner=words.get("owner", ""),
            purpose=words.get("purpose", ""),
            sensitivity=sensitivity,
            description=words.get("description", ""),
        )

    def _check_kind_fields(self, kind: AttributeKind, field: str, entries: dict[str, Node]) -> None:
        for key, owner in (("range", "number"), ("unit", "number"), ("values", "category")):
            if key in entries and kind is not _KINDS[owner]:
                message = f"belongs to a {owner}, and this is of kind {kind.name.lower()}"
                self._reader.refuse(entries[key], f"{field}.{key}", message)
        if kind is AttributeKind.CATEGORY and "values" not in entries:
            message = "a category needs its values: [a, b, …]"
            self._reader.refuse(entries["kind"], f"{field}.values", message)

    def _read_range(self, node: Node | None, field: str) -> tuple[float | None, float | None]:
        if node is None:
            return None, None
        ends = self._reader.read_list(node, field, 2)
        if len(ends) != 2:
            if ends:
                self._reader.refuse(node, field, "must be [lowest, highest]; null means open")
            return None, None
        low, high = (
            None if is_null(end) else self._reader.read_number(end, field, _SLOT_NUMBERS)
            for end in ends
        )
        if low is not None and high is not None and low > high:
            self._reader.refuse(ends[0], field, f"must not be above the highest value, {high:g}")
        return low, high

    def _read_values(self, node: Node | None, field: str) -> tuple[str, ...]:
        if node is None:
            return ()
        items = self._reader.read_list(node, field, limits.CATEGORY_VALUES_MAX)
        values: dict[str, Node] = {}
        for item in items:
            value = self._reader.read_text(item, field)
            if value is None:
                continue
            if value in values:
                message = f"stands here twice; first in line {values[value].line}"
                self._reader.refuse(item, field, message)
            elif len(value.encode()) > limits.CATEGORY_VALUE_SIZE_BYTES_MAX:
                message = f"is longer than {limits.CATEGORY_VALUE_SIZE_BYTES_MAX} bytes of UTF-8"
                self._reader.refuse(item, field, message)
            elif not value.isprintable():
                self._reader.refuse(item, field, "must not hold control characters")
            values[value] = item
        if not items:
            self._reader.refuse(node, field, "must list at least one value")
        return tuple(values)

    def _check_column(
        self, declared: DeclaredAttribute, field: str, entries: dict[str, Node]
    ) -> None:
        attribute = declared.attribute
        if attribute.source is AttributeSource.CONTEXT:
            if "column" in entries:
                message = "only loaded attributes are filled from a column"
                self._reader.refuse(entries["column"], f"{field}.column", message)
            return
        other = self._columns.setdefault(attribute.column, declared)
        if other is not declared:
            place = f"{other.node.file}:{other.node.line}"
            message = f"the column fills {other.attribute.name} already ({place})"
            self._reader.refuse(entries.get("column", declared.node), f"{field}.column", message)
