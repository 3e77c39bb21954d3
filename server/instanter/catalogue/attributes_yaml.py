"""Writes attributes as the YAML that a catalogue reads, for people to go on with."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource, Sensitivity

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./()%€-]*(?: [A-Za-z0-9_./()%€-]+)*")
_SPECIAL = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
_WIDTH = 96

_HEAD = """\
# Attributes of customers and of the moment. Every entry has a name and a kind:
#   number    a float32 in its `unit`; `range: [lowest, highest]`, null where it is open
#   category  one of its `values`; a value that is removed here keeps its meaning in old records
#   flag      true or false
#   instant   a moment, in whole seconds
# `source` is loaded (the default: written by loads and updates), context (given by each request) or
# derived (follows from events, as its `derive` says).
# `column` names the column that a load fills it from, when it is called differently.
# `owner`, `purpose`, `sensitivity` (public, internal, personal, special) and `description` tell
# people who answers for it and what it may be used for.
# Names and kinds are for good: to change a kind, add an attribute under a new name.
"""


def format_attributes(
    attributes: Sequence[Attribute], notes: Mapping[str, str] | None = None
) -> str:
    """Return an `attributes.yaml` that compiles to these attributes.

    Parameters
    ----------
    attributes
        Loaded ones and those of the context, in the order in which they are written; slots and
        withdrawn values are left out.
    notes
        Attribute name to a remark, written as a comment above it.
    """
    lines = [_HEAD, "attributes:"]
    for attribute in attributes:
        if notes and attribute.name in notes:
            lines.extend(f"  # {part}" for part in notes[attribute.name].splitlines())
        lines.extend(_format_attribute(attribute))
    return "\n".join(lines) + "\n"


def _format_attribute(attribute: Attribute) -> Iterator[str]:
    yield f"  - name: {_scalar(attribute.name)}"
    yield f"    kind: {attribute.kind.name.lower()}"
    if attribute.source is not AttributeSource.LOADED:
        yield f"    source: {attribute.source.name.lower()}"
    if attribute.unit:
        yield f"    unit: {_scalar(attribute.unit)}"
    low, high = attribute.range_min, attribute.range_max
    if low is not None or high is not None:
        yield f"    range: [{_number(low)}, {_number(high)}]"
    if attribute.kind is AttributeKind.CATEGORY:
        yield from _format_values(attribute)
    if attribute.source is AttributeSource.LOADED and attribute.column not in ("", attribute.name):
        yield f"    column: {_scalar(attribute.column)}"
    for key in ("owner", "purpose"):
        if getattr(attribute, key):
            yield f"    {key}: {_scalar(getattr(attribute, key))}"
    if attribute.sensitivity is not Sensitivity.INTERNAL:
        yield f"    sensitivity: {attribute.sensitivity.name.lower()}"
    if attribute.description:
        yield f"    description: {_scalar(attribute.description)}"


def _format_values(attribute: Attribute) -> Iterator[str]:
    values = [
        _scalar(value)
        for code, value in enumerate(attribute.values)
        if code not in attribute.withdrawn_codes
    ]
    line = f"    values: [{', '.join(values)}]"
    if len(line) <= _WIDTH:
        yield line
    else:
        yield "    values:"
        yield from (f"      - {value}" for value in values)


def _scalar(text: str) -> str:
    """Return a text so that YAML reads the same text: plain if that is safe, else quoted."""
    if _PLAIN.fullmatch(text) and text.lower() not in _SPECIAL:
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _number(value: float | None) -> str:
    if value is None:
        return "null"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))
