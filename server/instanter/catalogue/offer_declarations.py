"""Reads the `offers:` of a catalogue."""

import math
from dataclasses import dataclass
from typing import Final

from instanter import limits
from instanter.catalogue.compiled import Offer, Treatment
from instanter.catalogue.problems import suggest
from instanter.catalogue.rule_declarations import DeclaredRule, read_rule
from instanter.catalogue.yaml_reader import NumberRange, Reader
from instanter.catalogue.yaml_tree import Node

OPEN_FROM_S: Final = 0
"""`valid_from_s` of an offer without a beginning."""

OPEN_TO_S: Final = 1 << 53
"""`valid_to_s` of an offer without an end: exact as float64, 285 million years away."""

LEVER_DEFAULT: Final = 1.0
PRIOR_PROPENSITY_DEFAULT: Final = 0.01
RULE_KEYS: Final = ("eligibility", "applicability", "suitability")

_KEYS = (
    "name", "title", "issue", "group", "treatments", "valid_from", "valid_to", "value_minor",
    "lever", "stock_keeping_unit", "prior_propensity", *RULE_KEYS, "context_weights",
    "purpose",
)  # fmt: skip
_TREATMENT_KEYS = ("channel", "name", "placements", "weight", "content")
_WEIGHT_KEYS = ("when", "weight")
_VALUES_MINOR = NumberRange(0, limits.OFFER_VALUE_MINOR_MAX)
_FACTORS = NumberRange(0.0, limits.OFFER_FACTOR_MAX)
_PROPENSITIES = NumberRange(0.0, 1.0, low_included=False, high_included=False)


@dataclass(frozen=True, slots=True)
class DeclaredOffer:
    """An offer as one file declares it.

    Attributes
    ----------
    offer
        As declared.
    node
        Where.
    rules
        Eligibility, applicability, suitability; None where there is none.
    weight_rules
        The conditions of its context weights.
    """

    offer: Offer
    node: Node
    rules: tuple[DeclaredRule | None, ...]
    weight_rules: tuple[DeclaredRule, ...]


class OfferReader:
    """Collects the offers of all files.

    Parameters
    ----------
    reader
        Reads values and records problems.
    channels
        Declared placements of each declared channel.
    """

    __slots__ = ("_channels", "_reader", "declared")

    def __init__(self, reader: Reader, channels: dict[str, tuple[str, ...]]) -> None:
        self._reader = reader
        self._channels = channels
        self.declared: dict[str, DeclaredOffer] = {}

    def read(self, section: Node) -> None:
        """Take the offers of one file's `offers:`."""
        for index, node in enumerate(self._reader.read_list(section, "offers", limits.OFFERS_MAX)):
            self._read_offer(node, self._reader.find_path(node, "offers", index))

    def _read_offer(self, node: Node, field: str) -> None:
        reader = self._reader
        required = ("name", "treatments", "value_minor")
        entries = reader.read_mapping(node, field, _KEYS, required)
        if not entries or "name" not in entries:
            return
        name = reader.read_label(entries["name"], f"{field}.name")
        if name is None:
            return
        if name in self.declared:
            first = self.declared[name].node
            reader.refuse(
                entries["name"], field, f"is declared already in {first.file}:{first.line}"
            )
            return
        self.declared[name] = self._make_offer(name, field, entries, node)

    def _make_offer(
        self, name: str, field: str, entries: dict[str, Node], node: Node
    ) -> DeclaredOffer:
        rules = tuple(
            read_rule(self._reader, entries.get(key), f"{field}.{key}") for key in RULE_KEYS
        )
        weights = self._read_weights(entries.get("context_weights"), f"{field}.context_weights")
        valid_from_s, valid_to_s = self._read_validity(field, entries)
        offer = Offer(
            name=name,
            title=self._text(entries, field, "title") or name,
            issue=self._label(entries, field, "issue"),
            group=self._label(entries, field, "group"),
            stock_keeping_unit=self._text(entries, field, "stock_keeping_unit"),
            treatments=self._read_treatments(entries.get("treatments"), f"{field}.treatments"),
            valid_from_s=valid_from_s,
            valid_to_s=valid_to_s,
            value_minor=self._read_value(entries.get("value_minor"), f"{field}.value_minor"),
            lever=self._number(entries, field, "lever", _FACTORS, LEVER_DEFAULT),
            prior_propensity=self._number(
                entries, field, "prior_propensity", _PROPENSITIES, PRIOR_PROPENSITY_DEFAULT
            ),
            eligibility=rules[0].scalar.text if rules[0] else "",
            applicability=rules[1].scalar.text if rules[1] else "",
            suitability=rules[2].scalar.text if rules[2] else "",
            context_weights=tuple((rule.scalar.text, factor) for rule, factor in weights),
            purpose=self._label(entries, field, "purpose"),
        )
        return DeclaredOffer(offer, node, rules, tuple(rule for rule, _ in weights))

    def _text(self, entries: dict[str, Node], field: str, key: str) -> str:
        if key not in entries:
            return ""
        return self._reader.read_text(entries[key], f"{field}.{key}") or ""

    def _label(self, entries: dict[str, Node], field: str, key: str) -> str:
        if key not in entries:
            return ""
        return self._reader.read_label(entries[key], f"{field}.{key}") or ""

    def _number(
        self, entries: dict[str, Node], field: str, key: str, allowed: NumberRange, default: float
    ) -> float:
        if key not in entries:
            return default
        number = self._reader.read_number(entries[key], f"{field}.{key}", allowed)
        return default if number is None else number

    def _read_value(self, node: Node | None, field: str) -> int:
        return (self._reader.read_whole(node, field, _VALUES_MINOR) or 0) if node else 0

    def _read_validity(self, field: str, entries: dict[str, Node]) -> tuple[int, int]:
        ends: list[int | None] = [OPEN_FROM_S, OPEN_TO_S]
        for index, key in enumerate(("valid_from", "valid_to")):
            if key in entries:
                ends[index] = self._reader.read_instant_s(entries[key], f"{field}.{key}")
        start_s, end_s = ends
        if start_s is None or end_s is None:
            return OPEN_FROM_S, OPEN_TO_S
        if end_s <= start_s:
            message = "must be later than valid_from: the offer would never be valid"
            self._reader.refuse(entries["valid_to"], f"{field}.valid_to", message)
        return start_s, end_s

    def _read_weights(
        self, node: Node | None, field: str
    ) -> tuple[tuple[DeclaredRule, float], ...]:
        if node is None:
            return ()
        weights: list[tuple[DeclaredRule, float]] = []
        items = self._reader.read_list(node, field, limits.CONTEXT_WEIGHTS_MAX)
        for index, item in enumerate(items):
            path = f"{field}[{index}]"
            entries = self._reader.read_mapping(item, path, _WEIGHT_KEYS, _WEIGHT_KEYS) or {}
            rule = read_rule(self._reader, entries.get("when"), f"{path}.when")
            factor = self._number(entries, path, "weight", _FACTORS, 1.0)
            if rule is not None:
                weights.append((rule, factor))
        return tuple(weights)

    def _read_treatments(self, node: Node | None, field: str) -> tuple[Treatment, ...]:
        if node is None:
            return ()
        items = self._reader.read_list(node, field, limits.TREATMENTS_MAX)
        if not items:
            self._reader.refuse(node, field, "must list at least one treatment")
        treatments: dict[str, Treatment] = {}
        shown: dict[tuple[str, str], str] = {}
        for index, item in enumerate(items):
            path = f"{field}[{index}]"
            treatment = self._read_treatment(item, path)
            if treatment is None:
                continue
            if treatment.name in treatments:
                message = f"the name {treatment.name} is taken by another treatment; give a name"
                self._reader.refuse(item, f"{path}.name", message)
            for placement in treatment.placements or ("",):
                other = shown.setdefault((treatment.channel, placement), treatment.name)
                if other != treatment.name:
                    where = placement or "everywhere"
                    message = f"{other} is shown in {treatment.channel} ({where}) already"
                    self._reader.refuse(item, f"{path}.placements", message)
            treatments[treatment.name] = treatment
        return tuple(treatments.values())

    def _read_treatment(self, node: Node, field: str) -> Treatment | None:
        entries = self._reader.read_mapping(node, field, _TREATMENT_KEYS, ("channel",))
        if not entries or "channel" not in entries:
            return None
        channel = self._reader.read_label(entries["channel"], f"{field}.channel")
        if channel is None:
            return None
        if channel not in self._channels:
            known = ", ".join(self._channels) or "none"
            message = f"is not a declared channel; declared under `channels:` are: {known}"
            near = suggest(channel, self._channels)
            self._reader.refuse(entries["channel"], f"{field}.channel", message, near)
            return None
        return Treatment(
            name=self._label(entries, field, "name") or channel,
            channel=channel,
            placements=self._read_placements(entries.get("placements"), channel, field),
            weight=self._number(entries, field, "weight", _FACTORS, 1.0),
            content=self._text(entries, field, "content"),
        )

    def _read_placements(self, node: Node | None, channel: str, field: str) -> tuple[str, ...]:
        if node is None:
            return ()
        known = self._channels[channel]
        placements: dict[str, None] = {}
        for item in self._reader.read_list(node, f"{field}.placements", limits.SURFACES_MAX):
            placement = self._reader.read_label(item, f"{field}.placements")
            if placement is not None and placement not in known:
                told = ", ".join(known) or "none"
                message = f"is not a placement of {channel}; its placements are: {told}"
                near = suggest(placement, known)
                self._reader.refuse(item, f"{field}.placements", message, near)
            elif placement is not None:
                placements[placement] = None
        return tuple(placements)


assert math.isfinite(_FACTORS.high), "an infinite weight would make every priority equal"
