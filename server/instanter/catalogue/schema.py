"""The schema: which attributes there are, what their values mean, and which slot holds each.

A slot number is never reused, so that a record written under an older schema still reads right:
a slot beyond its end is missing, a slot of a withdrawn attribute is ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

MISSING_CODE = 0xFFFF_FFFF
"""Slot pattern of a missing value; as float32 it is a NaN."""

INSTANT_S_MAX = MISSING_CODE - 1
"""The latest instant a slot can hold, seconds since 1970: 2106-02-07T06:28:14Z."""


class AttributeKind(IntEnum):
    """What a value is, and with it how its slot is read."""

    NUMBER = 1
    """float32, in the attribute's unit."""
    CATEGORY = 2
    """uint32 code: index into the attribute's values."""
    FLAG = 3
    """uint32, 0 or 1."""
    INSTANT = 4
    """uint32, whole seconds since 1970-01-01T00:00:00Z."""


class AttributeSource(IntEnum):
    """Where a value comes from."""

    LOADED = 1
    """Written by loads and updates; held in a profile slot."""
    CONTEXT = 2
    """Given by each request; held in a context slot."""
    DERIVED = 3
    """Follows from events, evaluated when it is read; has a profile slot that is never stored."""


class Sensitivity(IntEnum):
    """How carefully a value must be kept, as the privacy officer classes it."""

    PUBLIC = 1
    INTERNAL = 2
    PERSONAL = 3
    SPECIAL = 4


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of customers or of the moment.

    Attributes
    ----------
    name
        A CEL identifier, 1 to 100 characters, unique in the schema.
    kind, source
        What it is and where it comes from.
    slot
        Index into the profile's slots (LOADED, DERIVED) or the context's slots (CONTEXT).
    unit
        Unit of a number, `EUR` or `days` for example; empty when it has none.
    range_min, range_max
        Smallest and largest allowed number, both included; None when unbounded.
    values
        Category values in code order, withdrawn ones included; empty for other kinds.
    withdrawn_codes
        Codes of values that may no longer be written, but keep their meaning in old records.
    column
        Name of the column that a load fills it from; the attribute's own name by default.
    owner, purpose, sensitivity, description
        For people: who answers for it, what it may be used for, how carefully it is kept.
    """

    name: str
    kind: AttributeKind
    source: AttributeSource
    slot: int
    unit: str = ""
    range_min: float | None = None
    range_max: float | None = None
    values: tuple[str, ...] = ()
    withdrawn_codes: frozenset[int] = frozenset()
    column: str = ""
    owner: str = ""
    purpose: str = ""
    sensitivity: Sensitivity = Sensitivity.INTERNAL
    description: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """All attributes at one schema revision.

    Attributes
    ----------
    revision
        Counts the schema's changes, from 1; 0 is the empty schema before the first publication.
    attributes
        In slot order, loaded ones first.
    profile_slot_count
        Slots of a profile, withdrawn ones included: the next new attribute gets this slot.
    context_slot_count
        The same for the context.
    withdrawn
        Attributes that are no longer declared, by name. One that comes back with the same kind
        and source gets its slot, its codes and so its stored values back; until then nobody can
        read or write it.
    """

    revision: int
    attributes: tuple[Attribute, ...]
    profile_slot_count: int
    context_slot_count: int
    withdrawn: tuple[Attribute, ...] = ()
    loaded: dict[str, Attribute] = field(init=False, repr=False)
    context: dict[str, Attribute] = field(init=False, repr=False)
    derived: dict[str, Attribute] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the attributes by name."""
        by_source: dict[AttributeSource, dict[str, Attribute]] = {s: {} for s in AttributeSource}
        for attribute in self.attributes:
            by_source[attribute.source][attribute.name] = attribute
        object.__setattr__(self, "loaded", by_source[AttributeSource.LOADED])
        object.__setattr__(self, "context", by_source[AttributeSource.CONTEXT])
        object.__setattr__(self, "derived", by_source[AttributeSource.DERIVED])

    @property
    def stored_slot_count(self) -> int:
        """Slots that a profile's record holds: up to the last that a load may write.

        Derived attributes are never stored, and as a rule they are declared last: without them a
        record of 1000 loaded attributes still fits its page.
        """
        stored = (
            attribute.slot
            for attribute in (*self.attributes, *self.withdrawn)
            if attribute.source is AttributeSource.LOADED
        )
        return max(stored, default=-1) + 1

    def __iter__(self) -> Iterator[Attribute]:
        """Iterate over the attributes, loaded ones first, each in slot order."""
        return iter(self.attributes)


SCHEMA_EMPTY = Schema(0, (), 0, 0)
"""The schema before anything has been published."""
