"""The event engine: checks events against their kinds, and counts them in customers' states.

No clock and nothing of the store: what an event does follows from the catalogue, the customer's
state and the event itself.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.derivation_plan import make_derivation_plan
from instanter.catalogue.events import EventKind, as_attribute
from instanter.catalogue.schema import MISSING_CODE, Attribute
from instanter.catalogue.values import AttributeValue, encode_value
from instanter.errors import InvalidFieldError, nearest
from instanter.events.counting import EventCounter, IndexedEvents
from instanter.limits import EVENT_FIELDS_MAX

FieldValues = Mapping[str, AttributeValue | datetime]
"""An event's fields by name, as its sender gave them."""

_NAMES_SHOWN_MAX: Final = 8
_ROWS: Final = tuple(
    struct.Struct(f"<II{count}I{4 * (count & 1)}x") for count in range(EVENT_FIELDS_MAX + 1)
)
"""Layouts of an encoded event, by its number of fields."""


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """What an event of one kind is checked against.

    Attributes
    ----------
    code
        The kind's number.
    field_count
        Fields, withdrawn ones included.
    fields
        Field's name to the attribute that it is checked as, whose slot is the field's index.
    required
        Names of the fields that an event must have.
    """

    code: int
    field_count: int
    fields: dict[str, Attribute]
    required: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """One catalogue as the engine uses it.

    Attributes
    ----------
    catalogue
        The catalogue.
    kinds
        By their names.
    counter
        Counts the events of records.
    """

    catalogue: CompiledCatalogue
    kinds: dict[str, _Kind]
    counter: EventCounter


class EventEngine:
    """Checks events and counts them, by the catalogue installed last. Belongs to one thread."""

    __slots__ = ("_past_kinds", "_tables")

    def __init__(self) -> None:
        self._tables: _Tables | None = None
        self._past_kinds: dict[str, _Kind] = {}

    def install(self, catalogue: CompiledCatalogue) -> None:
        """Use a catalogue from now on; costs nothing when it is the one in use."""
        if self._tables is not None and self._tables.catalogue is catalogue:
            return
        self._tables = _Tables(
            catalogue,
            {kind.name: _make_kind(kind) for kind in catalogue.events if not kind.withdrawn},
            EventCounter(make_derivation_plan(catalogue), _list_plain(catalogue)),
        )
        self._past_kinds = {}

    def encode(self, kind: str, fields: FieldValues) -> bytes:
        """Check an event's kind and fields, and return them as the log keeps them.

        Codes and indexes are never reused, so the bytes mean the same under every later
        catalogue; an event that is sent again gives the same bytes.

        Parameters
        ----------
        kind
            Name of its kind.
        fields
            Values by the names of its fields.

        Returns
        -------
        bytes
            Kind's code and number of fields n, uint32; then the fields' patterns, uint32[n], up
            to the last that is given; NUL up to a multiple of 8 bytes.

        Raises
        ------
        InvalidFieldError
            The kind is not declared, a field is not, one that is required is missing, or a value
            is of another kind, out of range or not among the declared ones. The error's field is
            `kind` or `fields["name"]`.
        """
        return _encode(self._in_use().kinds, kind, fields)

    def encode_past(self, kind: str, fields: FieldValues) -> bytes:
        """Do what `encode` does with an event that may have been right under an older catalogue.

        What was withdrawn is known, ranges are not looked at, and nothing is required: only good
        for telling whether an event is the one that was recorded.

        Raises
        ------
        InvalidFieldError
            No catalogue has ever had such a kind, field or value.
        """
        if not self._past_kinds:
            declared = self._in_use().catalogue.events
            self._past_kinds = {each.name: _make_past_kind(each) for each in declared}
        return _encode(self._past_kinds, kind, fields)

    def read(self, request: bytes, event_count: int, now_ns: int) -> bytes | None:
        """Return the body of a request's record, or None; `EventCounter.read` tells the rest."""
        return self._in_use().counter.read(request, event_count, now_ns)

    def index(self, body: bytes) -> IndexedEvents:
        """Find the events in a record's body; `EventCounter.index` tells the rest."""
        return self._in_use().counter.index(body)

    def count(self, records: bytes, ends: Sequence[int]) -> list[memoryview | None]:
        """Count the events that were indexed last; `EventCounter.count` tells the rest."""
        return self._in_use().counter.count(records, ends)

    def _in_use(self) -> _Tables:
        assert self._tables is not None, "a catalogue is installed first"
        return self._tables


def _encode(kinds: Mapping[str, _Kind], kind: str, fields: FieldValues) -> bytes:
    """Check an event by these kinds, and return it as `EventEngine.encode` does."""
    found = kinds.get(kind)
    if found is None:
        expected = _expect("a declared event kind", kind, kinds)
        raise InvalidFieldError("kind", kind, expected, reason="EVENT_KIND_UNKNOWN")
    patterns = [MISSING_CODE] * found.field_count
    count = 0
    for name, value in fields.items():
        attribute = found.fields.get(name)
        if attribute is None:
            raise _unknown_field(kind, name, found)
        try:
            patterns[attribute.slot] = encode_value(attribute, value, name)
        except InvalidFieldError as error:
            raise _placed(error, f'fields["{name}"]') from None
        count = max(count, attribute.slot + 1)
    for name in found.required:
        if name not in fields:
            raise InvalidFieldError(
                f'fields["{name}"]',
                "",
                f"a value: event kind '{kind}' requires this field",
                reason="EVENT_FIELD_MISSING",
            )
    return _ROWS[count].pack(found.code, count, *patterns[:count])


def _list_plain(catalogue: CompiledCatalogue) -> list[EventKind]:
    """Return the kinds that are no purchase: from those, stock follows."""
    bought = catalogue.stock.purchases if catalogue.stock is not None else {}
    return [kind for kind in catalogue.events if not kind.withdrawn and kind.name not in bought]


def _make_kind(kind: EventKind) -> _Kind:
    """Return what events of a kind are checked against."""
    fields = [field for field in kind.fields if not field.withdrawn]
    return _Kind(
        kind.code,
        len(kind.fields),
        {field.name: as_attribute(field) for field in fields},
        tuple(field.name for field in fields if field.required),
    )


def _make_past_kind(kind: EventKind) -> _Kind:
    """Return what events of a kind could have been at any time."""
    fields = {}
    for field in kind.fields:
        attribute = as_attribute(field)
        fields[field.name] = replace(
            attribute,
            range_min=None,
            range_max=None,
            withdrawn_codes=frozenset(),
        )
    return _Kind(kind.code, len(kind.fields), fields, ())


def _unknown_field(kind: str, name: str, known: _Kind) -> InvalidFieldError:
    """Return the error for a field that the kind does not have."""
    expected = _expect(f"a field of event kind '{kind}'", name, known.fields)
    return InvalidFieldError(f'fields["{name}"]', name, expected, reason="EVENT_FIELD_UNKNOWN")


def _placed(error: InvalidFieldError, field: str) -> InvalidFieldError:
    """Return the error of a value with its path, which is only made when there is an error."""
    return InvalidFieldError(field, error.value, error.expected, reason=error.reason)


def _expect(what: str, given: str, names: Mapping[str, object]) -> str:
    """Describe what would be right, with the nearest name or else the first few."""
    near = nearest(given, names)
    if near:
        return f"{what}; did you mean '{near}'?"
    listed: Sequence[str] = [f"'{name}'" for name in names][:_NAMES_SHOWN_MAX]
    return f"{what}: {', '.join(listed)}" if listed else f"{what}, but none is declared"
