"""Reads the rules and the model of `fraud:`."""

import re
from dataclasses import dataclass, replace

from instanter import fraud_limits, limits
from instanter.catalogue.fraud import FraudRule, Guard
from instanter.catalogue.fraud_settings import read_guard
from instanter.catalogue.fraud_words import Disposition
from instanter.catalogue.offer_declarations import OPEN_FROM_S, OPEN_TO_S
from instanter.catalogue.problems import suggest
from instanter.catalogue.rule_declarations import DeclaredRule, read_rule
from instanter.catalogue.yaml_reader import NumberRange, Reader
from instanter.catalogue.yaml_tree import Node, Scalar

_KEYS = (
    "when", "disposition", "points", "reason", "valid_from", "valid_to", "shadow", "guard",
)  # fmt: skip
_MODEL_KEYS = ("features", "pairs", "points", "start_rate")
_DISPOSITIONS = {"refer": Disposition.REFER, "decline": Disposition.DECLINE}
_POINTS = NumberRange(0.0, fraud_limits.FRAUD_POINTS_MAX)
_START_RATES = NumberRange(0.001, 0.5)
_START_RATE_DEFAULT = 0.01
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeclaredFraudRule:
    """A rule as it stands in a file.

    Attributes
    ----------
    rule
        As declared; its code is 0.
    when
        Its condition.
    node
        Where it stands.
    """

    rule: FraudRule
    when: DeclaredRule
    node: Node


@dataclass(frozen=True, slots=True)
class DeclaredModel:
    """The model as it stands in a file.

    Attributes
    ----------
    features
        Names of figures, not known to exist yet.
    points, pairs, start_rate
        As in `FraudModel`.
    """

    features: tuple[Scalar, ...]
    points: float
    pairs: tuple[tuple[int, int], ...]
    start_rate: float


class FraudRuleReader:
    """Collects rules.

    Parameters
    ----------
    reader
        Reads values and records problems.
    guard
        The guard of rules that declare none, and of what a rule's own leaves out.
    """

    __slots__ = ("_guard", "_reader", "declared")

    def __init__(self, reader: Reader, guard: Guard) -> None:
        self._reader = reader
        self._guard = guard
        self.declared: list[DeclaredFraudRule] = []

    def read(self, name: Scalar, node: Node, field: str) -> None:
        """Take one rule."""
        reader = self._reader
        reader.read_label(name, field)
        entries = reader.read_mapping(node, field, _KEYS, ("when", "reason"))
        if not entries or not {"when", "reason"} <= entries.keys():
            return
        when = read_rule(reader, entries["when"], f"{field}.when")
        reason = self._read_reason(entries["reason"], f"{field}.reason")
        rule = FraudRule(
            name=name.text,
            code=0,
            when="",
            disposition=0,
            points=0.0,
            reason=reason,
            valid_from_s=OPEN_FROM_S,
            valid_to_s=OPEN_TO_S,
            shadow=False,
            guard=self._guard,
        )
        rule = self._read_effect(rule, node, entries, field)
        rule = self._read_validity(rule, entries, field)
        if "shadow" in entries:
            shadow = reader.read_flag(entries["shadow"], f"{field}.shadow")
            rule = replace(rule, shadow=bool(shadow))
        if "guard" in entries:
            guard = read_guard(reader, entries["guard"], f"{field}.guard", self._guard)
            rule = replace(rule, guard=guard)
        if when is not None:
            rule = replace(rule, when=when.scalar.text.strip())
            self.declared.append(DeclaredFraudRule(rule, when, node))

    def read_model(self, node: Node | None) -> DeclaredModel | None:
        """Return the model, or None without one or after a problem."""
        if node is None:
            return None
        reader = self._reader
        field = "fraud.model"
        entries = reader.read_mapping(node, field, _MODEL_KEYS, ("features",))
        if not entries or "features" not in entries:
            return None
        path = f"{field}.features"
        items = reader.read_list(entries["features"], path, fraud_limits.FRAUD_FEATURES_MAX)
        features: dict[str, Scalar] = {}
        for item in items:
            name = reader.read_text(item, path, 2 * limits.NAME_SIZE_MAX)
            if name in features:
                reader.refuse(item, path, "stands here twice")
            elif name is not None:
                assert isinstance(item, Scalar), "only a scalar is a text"
                features[name] = item
        if not items:
            reader.refuse(entries["features"], path, "must name at least one figure")
        points: float | None = fraud_limits.FRAUD_POINTS_MAX
        if "points" in entries:
            points = reader.read_number(entries["points"], f"{field}.points", _POINTS)
        rate: float | None = _START_RATE_DEFAULT
        if "start_rate" in entries:
            rate = reader.read_number(entries["start_rate"], f"{field}.start_rate", _START_RATES)
        pairs = self._read_pairs(entries.get("pairs"), f"{field}.pairs", tuple(features))
        if points is None or rate is None:
            return None
        return DeclaredModel(tuple(features.values()), points, pairs, rate)

    def _read_pairs(
        self, node: Node | None, field: str, features: tuple[str, ...]
    ) -> tuple[tuple[int, int], ...]:
        """Return the pairs as indexes of features."""
        if node is None:
            return ()
        reader = self._reader
        pairs: dict[tuple[int, int], None] = {}
        for item in reader.read_list(node, field, fraud_limits.FRAUD_PAIRS_MAX):
            found: list[int] = []
            names = reader.read_list(item, field, 2)
            for name in names:
                text = reader.read_text(name, field, 2 * limits.NAME_SIZE_MAX)
                if text is not None and text not in features:
                    message = "is not among the features of the model"
                    reader.refuse(name, field, message, suggest(text, features))
                elif text is not None:
                    found.append(features.index(text))
            if len(names) != 2 or (len(found) == 2 and found[0] == found[1]):
                reader.refuse(item, field, "must be two different features: [a, b]")
            elif len(found) == 2:
                pairs[found[0], found[1]] = None
        return tuple(pairs)

    def _read_reason(self, node: Node, field: str) -> str:
        reason = self._reader.read_text(node, field, limits.NAME_SIZE_MAX) or ""
        if reason and not _REASON.fullmatch(reason):
            near = re.sub(r"[^A-Z0-9]+", "_", reason.upper()).strip("_")[:64]
            message = "must be a code of A to Z, 0 to 9 and _, at most 64 long: IMPOSSIBLE_TRAVEL"
            self._reader.refuse(node, field, message, near if _REASON.fullmatch(near) else "")
        return reason

    def _read_effect(
        self, rule: FraudRule, node: Node, entries: dict[str, Node], field: str
    ) -> FraudRule:
        reader = self._reader
        if "points" in entries and "disposition" in entries:
            message = "is one too many: a rule has points or a disposition, not both"
            reader.refuse(entries["points"], f"{field}.points", message)
        elif "points" in entries:
            points = reader.read_number(entries["points"], f"{field}.points", _POINTS)
            rule = replace(rule, points=points or 0.0)
        elif "disposition" in entries:
            path = f"{field}.disposition"
            found = reader.read_choice(entries["disposition"], path, _DISPOSITIONS)
            rule = replace(rule, disposition=int(found or 0))
        else:
            message = "is missing: say `disposition: refer`, `disposition: decline` or `points: 40`"
            reader.problems.add(node.file, node.line, f"{field}.disposition", "", message)
        return rule

    def _read_validity(self, rule: FraudRule, entries: dict[str, Node], field: str) -> FraudRule:
        reader = self._reader
        from_s, to_s = rule.valid_from_s, rule.valid_to_s
        if "valid_from" in entries:
            found = reader.read_instant_s(entries["valid_from"], f"{field}.valid_from")
            from_s = from_s if found is None else found
        if "valid_to" in entries:
            found = reader.read_instant_s(entries["valid_to"], f"{field}.valid_to")
            to_s = to_s if found is None else found
            if found is not None and found <= from_s:
                message = "must be after valid_from: the rule would never be valid"
                reader.refuse(entries["valid_to"], f"{field}.valid_to", message)
        return replace(rule, valid_from_s=from_s, valid_to_s=to_s)
