"""What is wrong with a request that names what the catalogue does not have."""

import itertools
from collections.abc import Sequence
from typing import Any

from instanter.decision.questions import Question
from instanter.decision.tables import DecisionTables
from instanter.errors import InvalidFieldError, nearest


def surface_error(tables: DecisionTables, question: Question) -> InvalidFieldError:
    """Say which of channel and placement is not declared, and what is."""
    channels = tables.catalogue.channels
    placements = channels.get(question.channel)
    if placements is None:
        return InvalidFieldError(
            "channel",
            question.channel,
            _expect("a declared channel", question.channel, channels),
            reason="CHANNEL_UNKNOWN",
        )
    return InvalidFieldError(
        "placement",
        question.placement,
        _expect(f"a placement of channel '{question.channel}'", question.placement, placements),
        reason="PLACEMENT_UNKNOWN",
    )


def context_error(tables: DecisionTables, name: str, field: str) -> InvalidFieldError:
    """Say that a context attribute is not declared, and what would be right."""
    expected = _expect("a context attribute of the schema", name, tables.context)
    if name in tables.catalogue.schema.loaded:
        expected = "a context attribute; this one is loaded and cannot be given in a request"
    elif name in tables.catalogue.schema.derived:
        expected = "a context attribute; this one is derived from events"
    return InvalidFieldError(field, name, expected, reason="ATTRIBUTE_UNKNOWN")


def _expect(what: str, given: str, names: Sequence[str] | dict[str, Any]) -> str:
    """Describe what would be right, with the nearest name or else the first few."""
    near = nearest(given, names)
    if near:
        return f"{what}; did you mean '{near}'?"
    listed = ", ".join(f"'{name}'" for name in itertools.islice(names, 8))
    return f"{what}: {listed}" if listed else f"{what}, but none is declared"
