"""Reads the `derive:` of an attribute: what it takes, before events and attributes are known."""

from dataclasses import dataclass
from typing import Final

from instanter import limits
from instanter.catalogue.events import Aggregation
from instanter.catalogue.rule_declarations import DeclaredRule, read_rule
from instanter.catalogue.yaml_reader import Reader
from instanter.catalogue.yaml_tree import Node, Scalar

AGGREGATIONS_DECAYING: Final = (Aggregation.COUNT, Aggregation.SUM, Aggregation.MEAN)
"""Aggregations that may have a half-life in place of a window."""

AGGREGATIONS_WITHOUT_FIELD: Final = (Aggregation.COUNT, Aggregation.TIME_SINCE_LAST)
"""Aggregations of whole events."""

_KEYS = (
    "event", "function", "field", "window", "half_life", "where", "numerator", "denominator",
)  # fmt: skip
_FUNCTIONS = {aggregation.name.lower(): aggregation for aggregation in Aggregation}
_NAMES = ("event", "field", "numerator", "denominator")


@dataclass(frozen=True, slots=True)
class DeclaredDerivation:
    """A derivation as it stands in a file; what it names is not known to exist yet.

    Attributes
    ----------
    field
        Its path, for example `attributes/purchases_30d.derive`.
    node
        Where it stands.
    aggregation
        What the attribute says of the events.
    names
        `event`, `field`, `numerator` and `denominator`, those that are given.
    where
        The condition; None when all events count.
    window_s, half_life_s
        As declared; 0 for none.
    """

    field: str
    node: Node
    aggregation: Aggregation
    names: dict[str, Scalar]
    where: DeclaredRule | None
    window_s: int
    half_life_s: int


def read_derivation(reader: Reader, node: Node, field: str) -> DeclaredDerivation | None:
    """Return what one `derive:` says, or None after a problem without which it has no sense."""
    entries = reader.read_mapping(node, field, _KEYS, ("function",))
    if not entries or "function" not in entries:
        return None
    aggregation = reader.read_choice(entries["function"], f"{field}.function", _FUNCTIONS)
    if aggregation is None or not _check_keys(reader, node, aggregation, entries, field):
        return None
    names: dict[str, Scalar] = {}
    for key in _NAMES:
        name = entries.get(key)
        if name is not None and reader.read_text(name, f"{field}.{key}", limits.NAME_SIZE_MAX):
            assert isinstance(name, Scalar), "only a scalar is a text"
            names[key] = name
        elif name is not None:
            return None
    return DeclaredDerivation(
        field=field,
        node=node,
        aggregation=aggregation,
        names=names,
        where=read_rule(reader, entries.get("where"), f"{field}.where"),
        window_s=_read_span(reader, entries, field, "window"),
        half_life_s=_read_span(reader, entries, field, "half_life"),
    )


def _read_span(reader: Reader, entries: dict[str, Node], field: str, key: str) -> int:
    if key not in entries:
        return 0
    low_s, high_s = limits.WINDOW_S_MIN, limits.WINDOW_S_MAX
    return reader.read_duration_s(entries[key], f"{field}.{key}", low_s, high_s) or 0


def _check_keys(
    reader: Reader, node: Node, aggregation: Aggregation, entries: dict[str, Node], field: str
) -> bool:
    """Return whether the function has what it needs; what it does not take is a problem too."""
    count = len(reader.problems)
    needed, optional = _find_keys(aggregation)
    function = aggregation.name.lower()
    for key in entries:
        if key not in (*needed, *optional, "function"):
            message = f"does not belong to {function}, which takes {', '.join(needed + optional)}"
            reader.refuse(entries[key], f"{field}.{key}", message)
    for key in needed:
        if key not in entries:
            place = f"{field}.{key}"
            reader.problems.add(node.file, node.line, place, "", f"is missing: {function} needs it")
    spans = [key for key in ("window", "half_life") if key in optional]
    given = [key for key in spans if key in entries]
    if spans and not given:
        message = f"is missing: say how long an event counts, `{spans[0]}: 30d`"
        if len(spans) > 1:
            message += ", or after which time it counts half, `half_life: 7d`"
        reader.problems.add(node.file, node.line, f"{field}.{spans[0]}", "", message)
    if len(given) > 1:
        message = "is one too many: an attribute has a window or a half-life, not both"
        reader.refuse(entries["half_life"], f"{field}.half_life", message)
    return len(reader.problems) == count


def _find_keys(aggregation: Aggregation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys that a function needs, and those that it takes beside them."""
    if aggregation is Aggregation.RATIO:
        return ("numerator", "denominator"), ()
    needed = ("event",) if aggregation in AGGREGATIONS_WITHOUT_FIELD else ("event", "field")
    spans = ("window", "half_life") if aggregation in AGGREGATIONS_DECAYING else ("window",)
    return needed, (*spans, "where")
