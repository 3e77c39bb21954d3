"""Compiles derived attributes: what they take from which events, and the conditions on those.

Derivations are checked against the attributes and event kinds of the same publication, after
both have got their numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from instanter import limits
from instanter.catalogue.attribute_declarations import DeclaredAttribute
from instanter.catalogue.derivation_checks import DerivationChecks
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
from instanter.catalogue.rule_program import RuleProgram
from instanter.catalogue.rules import EVENT_ROOM, RuleCompiler
from instanter.catalogue.schema import Attribute, AttributeKind, Schema
from instanter.catalogue.yaml_reader import Reader


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
    values = {(event.name, f.name): f.values for event in events for f in event.fields}
    found: dict[str, tuple[str, ...]] = {}
    for item in declared:
        derivation = item.derivation
        if derivation is not None and derivation.aggregation is Aggregation.LAST:
            pair = (derivation.names["event"].text, derivation.names["field"].text)
            found[item.attribute.name] = values.get(pair, ())
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

    __slots__ = ("_checks", "_conditions", "_drafts", "_events", "_files", "_reader", "_schema")

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
        self._checks = DerivationChecks(reader, warnings)
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
                self._checks.check_number(item, item.derivation.aggregation)
                self._read_ratio(attribute, item.derivation, ratios)
            else:
                self._read_aggregate(attribute, item, item.derivation)

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
        slots: list[int] = []
        for key in ("numerator", "denominator"):
            name = declared.names[key]
            operand = self._schema.derived.get(name.text)
            candidates = [n for n in self._schema.derived if n not in ratios]
            field = f"{declared.field}.{key}"
            if operand is None or operand.name in ratios:
                what = "is itself a ratio" if operand else "is no derived attribute"
                message = f"{what}; a ratio divides two derived attributes that are no ratios"
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

    def _read_aggregate(
        self, attribute: Attribute, item: DeclaredAttribute, declared: DeclaredDerivation
    ) -> None:
        event = self._find_event(declared)
        if event is None:
            return
        field: EventField | None = None
        if "field" in declared.names:
            field = self._find_field(event, declared)
            if field is None:
                return
        self._checks.check(item, attribute, declared, field)
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
