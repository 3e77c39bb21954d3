"""Reads typed values out of a YAML tree; whatever is wrong becomes a problem with its line.

Every method returns the value, or None after recording a problem; reading goes on, so that one
run shows all mistakes of a catalogue.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from instanter import limits
from instanter.catalogue.instants import INSTANT_EXPECTED, find_instant_s
from instanter.catalogue.problems import Problems, suggest
from instanter.catalogue.yaml_tree import Listing, Node, Scalar
from instanter.catalogue.yaml_tree import Mapping as YamlMapping

_T = TypeVar("_T")

_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,18})", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?\.?(?:nan|inf|infinity)", re.IGNORECASE)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_SWITCH = frozenset(
    spelling
    for word in ("yes", "no", "on", "off", "true", "false")
    for spelling in (word, word.title(), word.upper())
)
_DURATION = re.compile(r"([1-9]\d{0,8})([smhd])", re.ASCII)
_DURATION_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Which numbers a field takes: from low to high, and whether the ends belong to it."""

    low: float
    high: float
    low_included: bool = True
    high_included: bool = True

    def holds(self, number: float) -> bool:
        """Return whether a number lies inside."""
        above = number >= self.low if self.low_included else number > self.low
        below = number <= self.high if self.high_included else number < self.high
        return above and below

    def __str__(self) -> str:
        low = f"{'at least' if self.low_included else 'above'} {self.low:g}"
        if self.high == math.inf:
            return low
        return f"{low} and {'at most' if self.high_included else 'below'} {self.high:g}"


def is_null(node: Node) -> bool:
    """Return whether a node is YAML's null: nothing, `~` or `null` without quotes."""
    return isinstance(node, Scalar) and node.is_plain and node.text in _NULL


def format_duration(seconds: int) -> str:
    """Return a duration as a catalogue spells it, in the largest unit that makes it whole."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _DURATION_UNIT_S[unit] == 0:
            return f"{seconds // _DURATION_UNIT_S[unit]}{unit}"
    return f"{seconds}s"


class Reader:
    """Reads values and records problems.

    Parameters
    ----------
    problems
        Takes what is wrong.
    """

    __slots__ = ("problems",)

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def refuse(self, node: Node, field: str, message: str, suggestion: str = "") -> None:
        """Record a problem at a node."""
        text = node.text if isinstance(node, Scalar) else ""
        self.problems.add(node.file, node.line, field, text, message, suggestion)

    def find_path(self, node: Node, kind: str, index: int) -> str:
        """Return `kind/name` of an entry that has a name already, else `kind[index]`."""
        name = node.entries.get("name") if isinstance(node, YamlMapping) else None
        if isinstance(name, Scalar) and 0 < len(name.text) <= limits.NAME_SIZE_MAX:
            return f"{kind}/{name.text}"
        return f"{kind}[{index}]"

    def read_mapping(
        self, node: Node, field: str, known: Collection[str], required: Iterable[str] = ()
    ) -> dict[str, Node] | None:
        """Return the entries that are not null; unknown and missing keys are problems."""
        entries = self.read_free_mapping(node, field)
        if entries is None:
            return None
        assert isinstance(node, YamlMapping)
        for key in [key for key in entries if key not in known]:
            near = suggest(key, known)
            message = f"is not known here; known are {', '.join(known)}"
            path = f"{field}.{key[:100]}" if field else key[:100]
            self.problems.add(node.file, node.key_lines[key], path, "", message, near)
            del entries[key]
        for key in [key for key in required if key not in entries]:
            self.problems.add(node.file, node.line, f"{field}.{key}", "", "is missing")
        return entries

    def read_free_mapping(self, node: Node, field: str) -> dict[str, Node] | None:
        """Return the entries that are not null, whatever their keys."""
        if not isinstance(node, YamlMapping):
            self.refuse(node, field, "must be a mapping: `key: value` lines")
            return None
        return {key: value for key, value in node.entries.items() if not is_null(value)}

    def read_list(self, node: Node, field: str, count_max: int) -> list[Node]:
        """Return the items, at most `count_max`; an empty list after a problem."""
        if not isinstance(node, Listing):
            self.refuse(node, field, "must be a list: lines that begin with `- `, or [a, b]")
            return []
        if len(node.items) > count_max:
            message = f"has {len(node.items):,} entries; at most {count_max:,} are allowed"
            self.refuse(node, field, message)
            return []
        return node.items

    def read_text(self, node: Node, field: str, size_max: int = limits.TEXT_SIZE_MAX) -> str | None:
        """Return a text of 1 to `size_max` characters; numbers keep their spelling."""
        if not isinstance(node, Scalar):
            self.refuse(node, field, "must be a text")
            return None
        if node.is_plain and node.text in _SWITCH:
            self.refuse(node, field, f"means true or false in YAML; write '{node.text}' in quotes")
            return None
        if is_null(node) or not node.text.strip():
            self.refuse(node, field, "is empty")
            return None
        if len(node.text) > size_max:
            message = f"has {len(node.text):,} characters; at most {size_max:,} are allowed"
            self.refuse(node, field, message)
            return None
        return node.text

    def read_label(self, node: Node, field: str) -> str | None:
        """Return a name of an offer, channel, placement, issue, group or treatment."""
        text = self.read_text(node, field, limits.NAME_SIZE_MAX)
        if text is not None and not _LABEL.fullmatch(text):
            made = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")
            message = (
                "must be lower-case letters, digits, - and _, beginning with a letter or digit"
            )
            self.refuse(node, field, message, made)
            return None
        return text

    def read_number(self, node: Node, field: str, allowed: NumberRange) -> float | None:
        """Return a finite decimal number inside the allowed range."""
        expected = f"must be a number, {allowed}"
        if not isinstance(node, Scalar) or not (node.is_plain and _NUMBER.fullmatch(node.text)):
            self._refuse_number(node, field, expected)
            return None
        number = float(node.text)
        if not math.isfinite(number) or not allowed.holds(number):
            self.refuse(node, field, expected)
            return None
        return number

    def read_whole(self, node: Node, field: str, allowed: NumberRange) -> int | None:
        """Return a whole number inside the allowed range."""
        expected = f"must be a whole number, {allowed}"
        if not isinstance(node, Scalar) or not (node.is_plain and _WHOLE.fullmatch(node.text)):
            self._refuse_number(node, field, expected)
            return None
        number = int(node.text)
        if not allowed.holds(number):
            self.refuse(node, field, expected)
            return None
        return number

    def read_flag(self, node: Node, field: str) -> bool | None:
        """Return true or false."""
        flags = {"true": True, "false": False}
        if not isinstance(node, Scalar) or not node.is_plain or node.text not in flags:
            self.refuse(node, field, "must be true or false, without quotes")
            return None
        return flags[node.text]

    def read_duration_s(self, node: Node, field: str, low_s: int, high_s: int) -> int | None:
        """Return the seconds of a duration such as `90s`, `1m`, `12h` or `7d`.

        Parameters
        ----------
        node, field
            Where it stands.
        low_s, high_s
            The shortest and the longest allowed, in seconds.
        """
        found = _DURATION.fullmatch(node.text) if isinstance(node, Scalar) else None
        if found is None:
            message = (
                "must be a duration: a whole number and s, m, h or d, such as 90s, 1m, 12h, 7d"
            )
            near = ""
            if isinstance(node, Scalar) and re.fullmatch(r"[1-9]\d{0,8}", node.text, re.ASCII):
                near = f"{node.text}s"
            self.refuse(node, field, message, near)
            return None
        seconds = int(found[1]) * _DURATION_UNIT_S[found[2]]
        if not low_s <= seconds <= high_s:
            message = f"must be from {format_duration(low_s)} to {format_duration(high_s)}"
            self.refuse(node, field, message)
            return None
        return seconds

    def read_choice(self, node: Node, field: str, choices: Mapping[str, _T]) -> _T | None:
        """Return what one of the given words stands for."""
        expected = f"must be one of {', '.join(choices)}"
        if not isinstance(node, Scalar):
            self.refuse(node, field, expected)
            return None
        if node.text not in choices:
            self.refuse(node, field, expected, suggest(node.text, choices))
            return None
        return choices[node.text]

    def read_instant_s(self, node: Node, field: str) -> int | None:
        """Return whole seconds since 1970 of a date or an RFC 3339 instant."""
        seconds = find_instant_s(node.text) if isinstance(node, Scalar) else None
        if seconds is None:
            self.refuse(node, field, f"must be {INSTANT_EXPECTED}")
            return None
        if seconds < 0 or seconds != int(seconds):
            self.refuse(node, field, "must be in whole seconds and not before 1970-01-01")
            return None
        return int(seconds)

    def _refuse_number(self, node: Node, field: str, expected: str) -> None:
        hint = ""
        if isinstance(node, Scalar):
            if _NOT_FINITE.fullmatch(node.text):
                hint = "; it must be finite"
            elif not node.is_plain and _NUMBER.fullmatch(node.text):
                hint = "; write it without quotes"
            elif re.fullmatch(r"[+-]?(0\d+|\d*_[\d_]*)", node.text, re.ASCII):
                hint = "; write it without leading zeros and underscores"
        self.refuse(node, field, f"{expected}{hint}")
