"""Events and what is derived from them, as a catalogue declares them."""

from dataclasses import dataclass
from enum import IntEnum

from instanter.catalogue.schema import Attribute, AttributeKind, AttributeSource


@dataclass(frozen=True, slots=True)
class EventField:
    """One field of an event kind.

    Attributes
    ----------
    name
        A CEL identifier, unique within its event kind.
    kind
        NUMBER, CATEGORY, FLAG or INSTANT, with the meaning and the limits of an attribute's kind.
    index
        Position in the event's row of values; never reused within its event kind.
    unit
        Unit of a number; empty when it has none.
    range_min, range_max
        Smallest and largest allowed number, both included; None when unbounded.
    values
        Category values in code order, withdrawn ones included; empty for other kinds.
    required
        An event without it is refused.
    withdrawn_codes
        Codes of values that may no longer be recorded, but keep their meaning in the log.
    withdrawn
        Whether it is no longer declared: it is kept for its index and its codes, an event that
        has it is refused, and its value is missing.
    """

    name: str
    kind: AttributeKind
    index: int
    unit: str = ""
    range_min: float | None = None
    range_max: float | None = None
    values: tuple[str, ...] = ()
    required: bool = False
    withdrawn_codes: frozenset[int] = frozenset()
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of thing that customers do.

    Attributes
    ----------
    name
        A label, unique in the catalogue; `purchase` for example.
    code
        Number in the log and in stored states, from 1; never reused.
    fields
        Field i has index i; those withdrawn are among them.
    description
        For people.
    withdrawn
        Whether it is no longer declared: it is kept for its code, and an event of it is refused.
    """

    name: str
    code: int
    fields: tuple[EventField, ...]
    description: str = ""
    withdrawn: bool = False


class Aggregation(IntEnum):
    """What a derived attribute says of the events that it looks at."""

    COUNT = 1
    SUM = 2
    MINIMUM = 3
    MAXIMUM = 4
    MEAN = 5
    LAST = 6
    """The field's value in the latest event."""
    TIME_SINCE_LAST = 7
    """Seconds since the latest event."""
    DISTINCT = 8
    """How many different values the field has had, estimated."""
    RATIO = 9
    """One derived attribute divided by another; missing when the divisor is 0 or missing."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """How one derived attribute follows from events.

    Exactly one of `window_s` and `half_life_s` is above 0, except for RATIO, where both are 0.
    LAST and TIME_SINCE_LAST look at the events of the window too: older ones are forgotten.

    Attributes
    ----------
    attribute
        Name of the attribute in the schema, whose source is DERIVED.
    slot
        Its slot among the profile's slots.
    state_id
        Names its state in stored activity records, from 1; never reused, and another one as soon
        as anything but the attribute's words changes, so that a state is never read for what it
        is not.
    aggregation
        What it says.
    event
        Name of the event kind; empty for RATIO.
    field_index
        Index of the event's field; −1 for COUNT, TIME_SINCE_LAST and RATIO.
    condition_literal
        Literal of its condition in the event kind's program (`CompiledCatalogue.event_programs`);
        −1 for none. The event's fields are the program's context slots, by index, and `now` is
        the event's time. Only a condition that is true counts the event.
    condition
        The condition's CEL text; empty for none.
    window_s
        Length of the sliding window, 60 to 7,776,000 (90 days); 0 for none.
    half_life_s
        Time after which an event weighs half, 60 to 7,776,000; 0 for none. For COUNT, SUM and
        MEAN.
    numerator, denominator
        For RATIO: slots of the two derived attributes, which are no ratios themselves; else −1.
    """

    attribute: str
    slot: int
    state_id: int
    aggregation: Aggregation
    event: str = ""
    field_index: int = -1
    condition_literal: int = -1
    condition: str = ""
    window_s: int = 0
    half_life_s: int = 0
    numerator: int = -1
    denominator: int = -1


def as_attribute(field: EventField) -> Attribute:
    """Return a context attribute that stands for an event's field: its slot is the field's index.

    So `values.encode_value` checks an event's values, and rules read them.
    """
    return Attribute(
        name=field.name,
        kind=field.kind,
        source=AttributeSource.CONTEXT,
        slot=field.index,
        unit=field.unit,
        range_min=field.range_min,
        range_max=field.range_max,
        values=field.values,
        withdrawn_codes=field.withdrawn_codes,
    )
