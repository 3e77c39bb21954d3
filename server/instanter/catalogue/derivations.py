"""Compiles derived attributes: what they take from which events, and the conditions on those.

Derivations are checked against the attributes and event kinds of the same publication, after
both have got their numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from instanter import limits
from instanter.catalogue.attribute_declarations import DeclaredAttribute
from instanter.catalogue.compiled import RuleProgram
from instanter.catalogue.derivation_declarations import DeclaredDerivation
from instanter.catalogue.events import (
    Aggregation,
    Derivation,
    EventField,
    EventKind,
    as_attribute,
)
from instanter.catalogue.problems import suggest
from instanter.catalogue.program_builder import ProgramBuilder, ProgramTooLargeError, Truth
from instanter.catalogue.rule_declarations import DeclaredRule, compile_rule
from instanter.catalogue.rules import EVENT_ROOM, RuleCompiler
from instanter.catalogue.schema import Attribute, AttributeKind, Schema
from instanter.catalogue.yaml_reader import Reader

_OVER_NUMBERS = frozenset(
    {Aggregation.SUM, Aggregation.MINIMUM, Aggregation.MAXIMUM, Aggregation.MEAN}
)
_SECONDS = ("", "s", "seconds")


@dataclass(frozen=True, slots=True)
class Derivations:
    """All derived attributes of a catalogue.

    Attributes
    ----------
    derivations
        In slot order.
    programs
        Event kind's name to the program of the conditions on its events.
    state_id_next
        As in `CompiledCatalogue`.
    """

    derivations: tuple[Derivation, ...]
    programs: dict[str, RuleProgram]
    state_id_next: int


@dataclass(frozen=True, slots=True)
class _Draft:
    derivation: Derivation
    truth: Truth | None


@dataclass(frozen=True, slots=True)
class _Conditions:
    builder: ProgramBuilder
    compiler: RuleCompiler


def find_codes(
    declared: tuple[DeclaredAttribute, ...], events: tuple[EventKind, ...]
) -> dict[str, tuple[str, ...]]:
    """Return, for each attribute that shows an event's category, the field's values by code.

    Parameters
    ----------
    declared
        All attributes.
    events
        With their codes.
    """
    found: dict[str, tuple[str, ...]] = {}
    for item in declared:
        derivation = item.derivation
        if derivation is None or derivation.aggregation is not Aggregation.LAST:
            continue
        names = {key: scalar.text for key, scalar in derivation.names.items()}
        for event in events:
            for field in event.fields:
                if (event.name, field.name) == (names.get("event"), names.get("field")):
                    found[item.attribute.name] = field.values
    return found


class DerivationCompiler:
    """Checks derivations and compiles their conditions.

    Parameters
    ----------
    schema
        With the slots of all attributes.
    events
        With their codes, those withdrawn included.
    files
        Path to text, to find the lines of mistakes in conditions.
    reader
        Takes what is wrong.
    warnings
        Takes what is allowed but deserves a look.
    """

    __slots__ = ("_conditions", "_drafts", "_events", "_files", "_reader", "_schema", "_warnings")

    def __init__(
        self,
        schema: Schema,
        events: tuple[EventKind, ...],
        files: Mapping[str, str],
        reader: Reader,
        warnings: list[str],
    ) -> None:
        self._schema = schema
        self._events = {event.name: event for event in events if not event.withdrawn}
        self._files = files
        self._reader = reader
        self._warnings = warnings
        self._conditions: dict[str, _Conditions] = {}
        self._drafts: list[_Draft] = []

    def read(self, declared: tuple[DeclaredAttribute, ...]) -> None:
        """Take all attributes; those that are not derived are only looked at as operands."""
        derived = [item for item in declared if item.derivation is not None]
        if len(derived) > limits.DERIVATIONS_MAX:
            message = f"there are {len(derived):,} derived attributes; at most "
            node = derived[-1].node
            self._reader.refuse(node, "attributes", f"{message}{limits.DERIVATIONS_MAX}")
            return
        ratios = {
            item.attribute.name
            for item in derived
            if item.derivation and item.derivation.aggregation is Aggregation.RATIO
        }
        for item in derived:
            assert item.derivation is not None, "only derived ones are left"
            attribute = self._schema.derived.get(item.attribute.name)
            if attribute is None:
                continue
            if item.derivation.aggregation is Aggregation.RATIO:
                self._read_ratio(attribute, item.derivation, ratios)
            else:
                self._read_aggregate(attribute, item.derivation)

    def build(self, previous: tuple[Derivation, ...], state_id_next: int) -> Derivations:
        """Return what was read, with literals and the ids of states.

        Parameters
        ----------
        previous, state_id_next
            Derivations and next id of the catalogue in force.
        """
        programs: dict[str, RuleProgram] = {}
        literals: dict[str, Iterator[int]] = {}
        drafts = sorted(self._drafts, key=lambda draft: draft.derivation.slot)
        for event, compiler in self._conditions.items():
            roots = [d.truth for d in drafts if d.derivation.event == event and d.truth is not None]
            programs[event], found = compiler.builder.build(roots)
            literals[event] = iter(found)
        kept = {old.attribute: old for old in previous}
        derivations: list[Derivation] = []
        for draft in drafts:
            made = draft.derivation
            if draft.truth is not None:
                made = replace(made, condition_literal=next(literals[made.event]))
            old = kept.get(made.attribute)
            if old is not None and _state_of(old) == _state_of(made):
                derivations.append(replace(made, state_id=old.state_id))
            else:
                derivations.append(replace(made, state_id=state_id_next))
                state_id_next += 1
        return Derivations(tuple(derivations), programs, state_id_next)

    def _read_ratio(
        self, attribute: Attribute, declared: DeclaredDerivation, ratios: set[str]
    ) -> None:
        self._check_number(attribute, declared)
        slots: list[int] = []
        for key in ("numerator", "denominator"):
            name = declared.names[key]
            operand = self._schema.derived.get(name.text)
            candidates = [n for n in self._schema.derived if n not in ratios]
            field = f"{declared.field}.{key}"
            if operand is None or operand.name in ratios:
                what = "is itself a ratio" if operand else "is no derived attribute"
                message = f"{what}; a ratio divides two derived attributes that are none"
                self._reader.refuse(name, field, message, suggest(name.text, candidates))
            elif operand.kind is not AttributeKind.NUMBER:
                message = f"is of kind {operand.kind.name.lower()}; a ratio divides numbers"
                self._reader.refuse(name, field, message)
            else:
                slots.append(operand.slot)
        if len(slots) == 2:
            derivation = Derivation(
                attribute.name,
                attribute.slot,
                state_id=0,
                aggregation=Aggregation.RATIO,
                numerator=slots[0],
                denominator=slots[1],
            )
            self._drafts.append(_Draft(derivation, None))

    def _read_aggregate(self, attribute: Attribute, declared: DeclaredDerivation) -> None:
        event = self._find_event(declared)
        if event is None:
            return
        field: EventField | None = None
        if "field" in declared.names:
            field = self._find_field(event, declared)
            if field is None:
                return
        self._check_kinds(attribute, field, declared)
        truth = self._compile(event, declared.where) if declared.where else None
        derivation = Derivation(
            attribute.name,
            attribute.slot,
            state_id=0,
            aggregation=declared.aggregation,
            event=event.name,
            field_index=-1 if field is None else field.index,
            condition=declared.where.scalar.text.strip() if declared.where else "",
            window_s=declared.window_s,
            half_life_s=declared.half_life_s,
        )
        self._drafts.append(_Draft(derivation, truth))

    def _find_event(self, declared: DeclaredDerivation) -> EventKind | None:
        name = declared.names["event"]
        event = self._events.get(name.text)
        if event is None:
            known = ", ".join(self._events) or "none"
            message = f"is not a declared event; declared under `events:` are: {known}"
            near = suggest(name.text, self._events)
            self._reader.refuse(name, f"{declared.field}.event", message, near)
        return event

    def _find_field(self, event: EventKind, declared: DeclaredDerivation) -> EventField | None:
        name = declared.names["field"]
        fields = {field.name: field for field in event.fields if not field.withdrawn}
        if name.text not in fields:
            known = ", ".join(fields) or "none"
            message = f"is not a field of {event.name}; its fields are: {known}"
            near = suggest(name.text, fields)
            self._reader.refuse(name, f"{declared.field}.field", message, near)
        return fields.get(name.text)

    def _check_kinds(
        self, attribute: Attribute, field: EventField | None, declared: DeclaredDerivation
    ) -> None:
        """Check that the attribute can hold what the function makes of the field."""
        if declared.aggregation is Aggregation.LAST:
            assert field is not None, "the last value is that of a field"
            self._check_last(attribute, field, declared)
            return
        self._check_number(attribute, declared)
        function = declared.aggregation.name.lower()
        place = f"attributes/{attribute.name}.unit"
        if declared.aggregation is Aggregation.TIME_SINCE_LAST and attribute.unit not in _SECONDS:
            message = f"is the unit, but {function} counts seconds; write `unit: s`"
            self._refuse(declared, place, attribute.unit, message)
        if field is None or declared.aggregation not in _OVER_NUMBERS:
            return
        if field.kind is not AttributeKind.NUMBER:
            kind = field.kind.name.lower()
            message = f"is of kind {kind}; {function} takes a field of kind number"
            self._reader.refuse(declared.names["field"], f"{declared.field}.field", message)
        elif attribute.unit != field.unit:
            self._warn_unit(attribute, field, declared)

    def _check_last(
        self, attribute: Attribute, field: EventField, declared: DeclaredDerivation
    ) -> None:
        place = f"attributes/{attribute.name}"
        of = f"{declared.names['event'].text}.{field.name}"
        if attribute.kind is not field.kind:
            kind = attribute.kind.name.lower()
            message = f"must be {field.kind.name.lower()}, the kind of {of} that it shows"
            self._refuse(declared, f"{place}.kind", kind, message)
            return
        if attribute.values != field.values or attribute.withdrawn_codes != field.withdrawn_codes:
            self._refuse_values(attribute, field, declared, of)
        low, high = attribute.range_min, attribute.range_max
        too_narrow = low is not None and (field.range_min is None or field.range_min < low)
        if too_narrow or (high is not None and (field.range_max is None or field.range_max > high)):
            message = f"must hold all values of {of}: the same range, a wider one or none"
            self._refuse(declared, f"{place}.range", "", message)
        if attribute.unit != field.unit:
            self._warn_unit(attribute, field, declared)

    def _refuse_values(
        self, attribute: Attribute, field: EventField, declared: DeclaredDerivation, of: str
    ) -> None:
        wanted = [v for c, v in enumerate(field.values) if c not in field.withdrawn_codes]
        given = [v for c, v in enumerate(attribute.values) if c not in attribute.withdrawn_codes]
        missing = [value for value in wanted if value not in given]
        extra = [value for value in given if value not in wanted]
        if missing:
            message = f"must be the values of {of}; {missing[0]!r} is missing"
            shown, near = "", missing[0]
        elif extra:
            message = f"must be the values of {of}, and this is none of them"
            shown, near = extra[0], suggest(extra[0], wanted)
        else:
            message = f"have other codes than those of {of}; list new values in the same order, "
            message += "or declare the attribute under a new name"
            shown, near = "", ""
        self._refuse(declared, f"attributes/{attribute.name}.values", shown, message, near)

    def _check_number(self, attribute: Attribute, declared: DeclaredDerivation) -> None:
        if attribute.kind is not AttributeKind.NUMBER:
            kind = attribute.kind.name.lower()
            message = f"must be number: that is what {declared.aggregation.name.lower()} makes"
            self._refuse(declared, f"attributes/{attribute.name}.kind", kind, message, "number")

    def _warn_unit(
        self, attribute: Attribute, field: EventField, declared: DeclaredDerivation
    ) -> None:
        of = f"{declared.names['event'].text}.{field.name}"
        self._warnings.append(
            f"attributes/{attribute.name}: its unit is {attribute.unit or 'none'!r}, but that of "
            f"{of}, which it is derived from, is {field.unit or 'none'!r}"
        )

    def _refuse(
        self, declared: DeclaredDerivation, place: str, text: str, message: str, near: str = ""
    ) -> None:
        node = declared.node
        self._reader.problems.add(node.file, node.line, place, text, message, near)

    def _compile(self, event: EventKind, rule: DeclaredRule) -> Truth | None:
        conditions = self._conditions.get(event.name)
        if conditions is None:
            fields = {f.name: as_attribute(f) for f in event.fields if not f.withdrawn}
            builder = ProgramBuilder()
            conditions = _Conditions(builder, RuleCompiler({EVENT_ROOM: fields}, builder))
            self._conditions[event.name] = conditions
        try:
            return compile_rule(rule, conditions.compiler, self._files, self._reader.problems)
        except ProgramTooLargeError as error:
            self._reader.refuse(rule.scalar, rule.field, str(error))
            return None


def _state_of(derivation: Derivation) -> tuple[object, ...]:
    """Return all that the state of a derivation depends on.

    An event's name stands for its code, and a field's index for its kind and its codes: neither
    ever changes.
    """
    return (
        derivation.event,
        derivation.aggregation,
        derivation.field_index,
        derivation.condition,
        derivation.window_s,
        derivation.half_life_s,
    )
