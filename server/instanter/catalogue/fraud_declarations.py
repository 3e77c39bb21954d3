"""Reads the `fraud:` of a catalogue: its lists here, its settings in `fraud_settings`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from instanter import fraud_limits
from instanter.catalogue.events import EventField
from instanter.catalogue.fraud import FraudSettings, TerminalPlace, Threshold
from instanter.catalogue.fraud_figures import FIXED_NAMES
from instanter.catalogue.fraud_rule_declarations import (
    DeclaredFraudRule,
    DeclaredModel,
    FraudRuleReader,
)
from instanter.catalogue.fraud_settings import SettingsReader
from instanter.catalogue.fraud_velocity_declarations import DeclaredVelocity, VelocityReader
from instanter.catalogue.names import find_name_mistake, make_attribute_name
from instanter.catalogue.value_declarations import VALUE_KEYS, read_value_form
from instanter.catalogue.yaml_reader import NumberRange, Reader, is_null
from instanter.catalogue.yaml_tree import Mapping as YamlMapping
from instanter.catalogue.yaml_tree import Node, Scalar

_LISTS = ("fields", "terminals", "velocities", "rules")
_SETTINGS = (
    "baselines", "travel", "compromised_terminal", "hotlists", "stand_in", "clock", "guard",
)  # fmt: skip
_ONCE = ("model", "thresholds", *_SETTINGS)
_FIELD_KEYS = (*VALUE_KEYS, "required")
_TERMINAL_KEYS = ("latitude", "longitude", "merchant")
_THRESHOLD_KEYS = ("merchants", "amount_minor_from", "refer", "decline")
_LATITUDES = NumberRange(-90.0, 90.0)
_LONGITUDES = NumberRange(-180.0, 180.0)
_RISKS = NumberRange(0.0, fraud_limits.FRAUD_POINTS_MAX, low_included=False)
_AMOUNTS = NumberRange(0, 10**15)
_NEVER = fraud_limits.FRAUD_POINTS_MAX + 1.0


@dataclass(frozen=True, slots=True)
class DeclaredFraud:
    """What all files say of the check at the till.

    Attributes
    ----------
    node
        Where it first stands.
    fields, field_nodes
        Declared fields, without their indexes, and where each stands.
    velocities, rules
        In the order of files and lines.
    model, model_node
        None when there is none.
    thresholds
        From the top.
    terminals
        Those with places.
    settings
        The rest.
    """

    node: Node
    fields: tuple[EventField, ...]
    field_nodes: dict[str, Node]
    velocities: tuple[DeclaredVelocity, ...]
    rules: tuple[DeclaredFraudRule, ...]
    model: DeclaredModel | None
    thresholds: tuple[Threshold, ...]
    terminals: tuple[TerminalPlace, ...]
    settings: FraudSettings


class FraudReader:
    """Reads the `fraud:` of all files together.

    Parameters
    ----------
    reader
        Reads values and records problems.
    """

    __slots__ = ("_field_nodes", "_lists", "_once", "_reader")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lists: dict[str, list[Node]] = {key: [] for key in _LISTS}
        self._once: dict[str, Node] = {}
        self._field_nodes: dict[str, Node] = {}

    def read(self, sections: list[Node]) -> DeclaredFraud | None:
        """Return what the sections say together, or None without any."""
        reader = self._reader
        for section in sections:
            entries = reader.read_mapping(section, "fraud", (*_LISTS, *_ONCE)) or {}
            for key, node in entries.items():
                if key in self._lists:
                    self._lists[key].append(node)
                elif key in self._once:
                    first = self._once[key]
                    message = f"is said already in {first.file}:{first.line}; say it once"
                    reader.refuse(node, f"fraud.{key}", message)
                else:
                    self._once[key] = node
        if not sections:
            return None
        settings = SettingsReader(reader).read({key: self._once.get(key) for key in _SETTINGS})
        rules = FraudRuleReader(reader, settings.guard)
        velocities = VelocityReader(reader)
        fields = tuple(self._read_fields())
        for name, node, field in self._walk("velocities", fraud_limits.FRAUD_VELOCITIES_MAX):
            velocities.read(name, node, field)
        for name, node, field in self._walk("rules", fraud_limits.FRAUD_RULES_MAX):
            rules.read(name, node, field)
        declared = DeclaredFraud(
            node=sections[0],
            fields=fields,
            field_nodes=self._field_nodes,
            velocities=tuple(velocities.declared),
            rules=tuple(rules.declared),
            model=rules.read_model(self._once.get("model")),
            thresholds=self._read_thresholds(self._once.get("thresholds")),
            terminals=tuple(self._read_terminals()),
            settings=settings,
        )
        self._check_thresholds(declared)
        return declared

    def _walk(self, key: str, count_max: int) -> Iterator[tuple[Scalar, Node, str]]:
        """Yield name, value and path of each entry of one list in all files."""
        places: dict[str, str] = {}
        for section in self._lists[key]:
            if not isinstance(section, YamlMapping):
                self._reader.refuse(section, f"fraud.{key}", "must be a mapping: `name: …` lines")
                continue
            for name, node in section.entries.items():
                line = section.key_lines[name]
                scalar = Scalar(section.file, line, 0, name, "'")
                field = f"fraud.{key}/{name[:100]}"
                if is_null(node):
                    self._reader.refuse(scalar, field, "says nothing")
                elif name in places:
                    self._reader.refuse(scalar, field, f"is declared already in {places[name]}")
                else:
                    places[name] = f"{section.file}:{line}"
                    yield scalar, node, field
        if len(places) > count_max:
            message = f"there are {len(places):,}; at most {count_max:,} are allowed"
            self._reader.refuse(self._lists[key][-1], f"fraud.{key}", message)

    def _read_fields(self) -> Iterator[EventField]:
        reader = self._reader
        for name, node, field in self._walk("fields", fraud_limits.FRAUD_FIELDS_MAX):
            if name.text in FIXED_NAMES:
                message = "is there for every transaction already; choose another name"
                reader.refuse(name, field, message, f"{name.text}_")
                continue
            if mistake := find_name_mistake(name.text):
                reader.refuse(name, field, mistake, make_attribute_name(name.text))
                continue
            entries = reader.read_mapping(node, field, _FIELD_KEYS, ("kind",))
            form = read_value_form(reader, entries, field) if entries else None
            required: bool | None = False
            if entries and "required" in entries:
                required = reader.read_flag(entries["required"], f"{field}.required")
            if form is not None:
                self._field_nodes[name.text] = node
                yield EventField(
                    name=name.text,
                    kind=form.kind,
                    index=-1,
                    unit=form.unit,
                    range_min=form.range_min,
                    range_max=form.range_max,
                    values=form.values,
                    required=bool(required),
                )

    def _read_terminals(self) -> Iterator[TerminalPlace]:
        reader = self._reader
        for name, node, field in self._walk("terminals", fraud_limits.FRAUD_TERMINALS_MAX):
            self._check_name(name, field)
            entries = reader.read_mapping(node, field, _TERMINAL_KEYS) or {}
            place = TerminalPlace(name.text, math.nan, math.nan, "")
            if "latitude" in entries and "longitude" in entries:
                latitude = reader.read_number(entries["latitude"], f"{field}.latitude", _LATITUDES)
                longitude = reader.read_number(
                    entries["longitude"], f"{field}.longitude", _LONGITUDES
                )
                if latitude is None or longitude is None:
                    continue
                place = replace(place, latitude=latitude, longitude=longitude)
            elif "latitude" in entries or "longitude" in entries:
                missing = "longitude" if "latitude" in entries else "latitude"
                reader.refuse(node, f"{field}.{missing}", "is missing: a place has both")
            if "merchant" in entries:
                merchant = entries["merchant"]
                self._check_name(merchant, f"{field}.merchant")
                place = replace(place, merchant=getattr(merchant, "text", ""))
            yield place

    def _read_thresholds(self, node: Node | None) -> tuple[Threshold, ...]:
        if node is None:
            return ()
        reader = self._reader
        items = reader.read_list(node, "fraud.thresholds", fraud_limits.FRAUD_THRESHOLDS_MAX)
        found: list[Threshold] = []
        for index, item in enumerate(items):
            field = f"fraud.thresholds[{index}]"
            count = len(reader.problems)
            entries = reader.read_mapping(item, field, _THRESHOLD_KEYS)
            if entries is None:
                continue
            one = self._read_threshold(item, entries, field)
            found.append(one)
            is_open = not one.merchants and not one.amount_minor_from
            if index == len(items) - 1 and not is_open:
                message = "must match everything: the last entry has no merchants and no amount"
                reader.refuse(item, field, message)
            # One whose merchants or amount are wrong has its mistake already.
            elif index < len(items) - 1 and is_open and count == len(reader.problems):
                message = "matches everything, so that the entries below are never reached"
                reader.refuse(item, field, message)
        return tuple(found)

    def _read_threshold(self, item: Node, entries: dict[str, Node], field: str) -> Threshold:
        reader = self._reader
        merchants: list[str] = []
        if "merchants" in entries:
            path = f"{field}.merchants"
            names = reader.read_list(
                entries["merchants"], path, fraud_limits.FRAUD_THRESHOLD_NAMES_MAX
            )
            for name in names:
                self._check_name(name, path)
                merchants.append(getattr(name, "text", ""))
            if not names:
                reader.refuse(entries["merchants"], path, "must name at least one merchant")
        amount = 0
        if "amount_minor_from" in entries:
            path = f"{field}.amount_minor_from"
            amount = reader.read_whole(entries["amount_minor_from"], path, _AMOUNTS) or 0
        risks = {"refer": _NEVER, "decline": _NEVER}
        for key in risks:
            if key in entries:
                risk = reader.read_number(entries[key], f"{field}.{key}", _RISKS)
                risks[key] = _NEVER if risk is None else risk
        if "refer" not in entries and "decline" not in entries:
            reader.refuse(item, field, "says neither from which risk on to refer nor to decline")
        elif risks["refer"] > risks["decline"] and "refer" in entries:
            message = f"must not be above decline, {risks['decline']:g}"
            reader.refuse(entries["refer"], f"{field}.refer", message)
        return Threshold(tuple(merchants), amount, risks["refer"], risks["decline"])

    def _check_name(self, node: Node, field: str) -> None:
        """Check a terminal's or merchant's name."""
        text = self._reader.read_text(node, field, fraud_limits.FRAUD_ID_SIZE_MAX)
        if text is not None and (not text.isascii() or not text.isprintable() or "/" in text):
            message = "must be printable ASCII characters without /"
            self._reader.refuse(node, field, message)

    def _check_thresholds(self, declared: DeclaredFraud) -> None:
        """Check that points lead somewhere."""
        pointed = [item for item in declared.rules if not item.rule.disposition]
        if "thresholds" in self._once or not (pointed or declared.model):
            return
        node = pointed[0].node if pointed else self._once["model"]
        message = (
            "is missing: say from which risk on transactions are referred and declined, "
            "`thresholds: [{refer: 60, decline: 90}]`"
        )
        self._reader.problems.add(node.file, node.line, "fraud.thresholds", "", message)
