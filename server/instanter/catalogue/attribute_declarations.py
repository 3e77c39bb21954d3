"""Reads the `attributes:` of a catalogue."""

from dataclasses import dataclass

from instanter import limits
from instanter.catalogue.derivation_declarations import DeclaredDerivation, read_derivation
from instanter.catalogue.names import find_name_mistake, make_attribute_name
from instanter.catalogue.schema import Attribute, AttributeSource, Sensitivity
from instanter.catalogue.value_declarations import read_value_form
from instanter.catalogue.yaml_reader import Reader
from instanter.catalogue.yaml_tree import Node

_KEYS = (
    "name", "kind", "source", "unit", "range", "values", "derive", "column", "owner", "purpose",
    "sensitivity", "description",
)  # fmt: skip
_SOURCES = {source.name.lower(): source for source in AttributeSource}
_SENSITIVITIES = {sensitivity.name.lower(): sensitivity for sensitivity in Sensitivity}
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
    derivation
        How it follows from events; None unless it is derived.
    """

    attribute: Attribute
    node: Node
    derivation: DeclaredDerivation | None = None


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
        derivation = self._read_derivation(attribute.source, field, entries)
        declared = DeclaredAttribute(attribute, node, derivation)
        self.declared[name] = declared
        self._check_column(declared, field, entries)

    def _make_attribute(self, name: str, field: str, entries: dict[str, Node]) -> Attribute | None:
        reader = self._reader
        form = read_value_form(reader, entries, field)
        source: AttributeSource | None = AttributeSource.LOADED
        if "source" in entries:
            source = reader.read_choice(entries["source"], f"{field}.source", _SOURCES)
        sensitivity: Sensitivity | None = Sensitivity.INTERNAL
        if "sensitivity" in entries:
            sensitivity = reader.read_choice(
                entries["sensitivity"], f"{field}.sensitivity", _SENSITIVITIES
            )
        if form is None or source is None or sensitivity is None:
            return None
        words = {
            key: reader.read_text(entries[key], f"{field}.{key}") or ""
            for key in ("column", "owner", "purpose", "description")
            if key in entries
        }
        return Attribute(
            name=name,
            kind=form.kind,
            source=source,
            slot=-1,
            unit=form.unit,
            range_min=form.range_min,
            range_max=form.range_max,
            values=form.values,
            column=words.get("column", name if source is AttributeSource.LOADED else ""),
            owner=words.get("owner", ""),
            purpose=words.get("purpose", ""),
            sensitivity=sensitivity,
            description=words.get("description", ""),
        )

    def _read_derivation(
        self, source: AttributeSource, field: str, entries: dict[str, Node]
    ) -> DeclaredDerivation | None:
        if source is AttributeSource.DERIVED:
            if "derive" in entries:
                return read_derivation(self._reader, entries["derive"], f"{field}.derive")
            message = "a derived attribute says what it follows from, `derive: {event: …}`"
            self._reader.refuse(entries["source"], f"{field}.derive", message)
        elif "derive" in entries:
            message = "belongs to an attribute with `source: derived`"
            self._reader.refuse(entries["derive"], f"{field}.derive", message)
        return None

    def _check_column(
        self, declared: DeclaredAttribute, field: str, entries: dict[str, Node]
    ) -> None:
        attribute = declared.attribute
        if attribute.source is not AttributeSource.LOADED:
            if "column" in entries:
                message = "only loaded attributes are filled from a column"
                self._reader.refuse(entries["column"], f"{field}.column", message)
            return
        other = self._columns.setdefault(attribute.column, declared)
        if other is not declared:
            place = f"{other.node.file}:{other.node.line}"
            message = f"the column fills {other.attribute.name} already ({place})"
            self._reader.refuse(entries.get("column", declared.node), f"{field}.column", message)
