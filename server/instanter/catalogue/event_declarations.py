"""Reads the `events:` of a catalogue."""

from dataclasses import dataclass
from typing import Final

from instanter import limits
from instanter.catalogue.events import EventField, EventKind
from instanter.catalogue.names import find_name_mistake, make_attribute_name
from instanter.catalogue.value_declarations import VALUE_KEYS, read_value_form
from instanter.catalogue.yaml_reader import Reader
from instanter.catalogue.yaml_tree import Node

RESERVED_NAMES: Final = frozenset({"now", "event", "profile", "context"})
"""Names that mean something else in a condition, so that no field may have them."""

_KEYS = ("name", "description", "fields")
_FIELD_KEYS = ("name", *VALUE_KEYS, "required")


@dataclass(frozen=True, slots=True)
class DeclaredEvent:
    """An event kind as one file declares it; its code and its fields' indexes are not known yet.

    Attributes
    ----------
    event
        As declared; its code is 0 and the index of its fields −1.
    node
        Where.
    field_nodes
        Where each of its fields stands.
    """

    event: EventKind
    node: Node
    field_nodes: dict[str, Node]


class EventReader:
    """Collects the event kinds of all files.

    Parameters
    ----------
    reader
        Reads values and records problems.
    """

    __slots__ = ("_reader", "declared")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.declared: dict[str, DeclaredEvent] = {}

    def read(self, section: Node) -> None:
        """Take the event kinds of one file's `events:`."""
        reader = self._reader
        for index, node in enumerate(reader.read_list(section, "events", limits.EVENT_KINDS_MAX)):
            self._read_event(node, reader.find_path(node, "events", index))

    def _read_event(self, node: Node, field: str) -> None:
        reader = self._reader
        entries = reader.read_mapping(node, field, _KEYS, ("name",))
        if not entries or "name" not in entries:
            return
        name = reader.read_label(entries["name"], f"{field}.name")
        if name is None:
            return
        if name in self.declared:
            first = self.declared[name].node
            message = f"is declared already in {first.file}:{first.line}"
            reader.refuse(entries["name"], field, message)
            return
        description = ""
        if "description" in entries:
            description = reader.read_text(entries["description"], f"{field}.description") or ""
        nodes: dict[str, Node] = {}
        fields = self._read_fields(entries.get("fields"), f"{field}.fields", nodes)
        event = EventKind(name, code=0, fields=fields, description=description)
        self.declared[name] = DeclaredEvent(event, node, nodes)

    def _read_fields(
        self, section: Node | None, field: str, nodes: dict[str, Node]
    ) -> tuple[EventField, ...]:
        if section is None:
            return ()
        items = self._reader.read_list(section, field, limits.EVENT_FIELDS_MAX)
        found: list[EventField] = []
        for index, item in enumerate(items):
            one = self._read_field(item, self._reader.find_path(item, field, index), nodes)
            if one is not None:
                found.append(one)
        return tuple(found)

    def _read_field(self, node: Node, field: str, nodes: dict[str, Node]) -> EventField | None:
        reader = self._reader
        entries = reader.read_mapping(node, field, _FIELD_KEYS, ("name", "kind"))
        if not entries or "name" not in entries:
            return None
        name = reader.read_text(entries["name"], f"{field}.name")
        if name is None:
            return None
        if mistake := _find_mistake(name):
            near = make_attribute_name(name)
            near = f"{near}_" if near in RESERVED_NAMES else near
            reader.refuse(entries["name"], f"{field}.name", mistake, near)
            return None
        if name in nodes:
            message = f"stands here twice; first in line {nodes[name].line}"
            reader.refuse(entries["name"], field, message)
            return None
        nodes[name] = node
        form = read_value_form(reader, entries, field)
        required: bool | None = False
        if "required" in entries:
            required = reader.read_flag(entries["required"], f"{field}.required")
        if form is None:
            return None
        return EventField(
            name=name,
            kind=form.kind,
            index=-1,
            unit=form.unit,
            range_min=form.range_min,
            range_max=form.range_max,
            values=form.values,
            required=bool(required),
        )


def _find_mistake(name: str) -> str | None:
    if name in RESERVED_NAMES:
        return "means something else in a condition; choose another name"
    return find_name_mistake(name)
