"""Compiles the check at the till: fields, velocities and their conditions, rules and the model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from instanter.catalogue.event_evolution import evolve_fields
from instanter.catalogue.events import EventField
from instanter.catalogue.fraud import (
    FraudModel,
    FraudPolicy,
    FraudRule,
    Velocity,
    VelocityFunction,
)
from instanter.catalogue.fraud_declarations import DeclaredFraud
from instanter.catalogue.fraud_figures import (
    APPROVED,
    CHANNEL,
    FIELD_FIRST,
    FRAUD,
    OPERANDS,
    TERMINAL_VELOCITIES,
    make_rooms,
    make_transaction_room,
)
from instanter.catalogue.fraud_rule_declarations import DeclaredModel
from instanter.catalogue.fraud_velocity_declarations import DeclaredVelocity
from instanter.catalogue.fraud_words import EntityKind
from instanter.catalogue.problems import Problems, suggest
from instanter.catalogue.program_builder import (
    SOURCE_CONTEXT_CODE,
    SOURCE_PROFILE_CODE,
    ProgramBuilder,
    ProgramTooLargeError,
    Truth,
)
from instanter.catalogue.rule_declarations import compile_rule
from instanter.catalogue.rule_program import RuleProgram
from instanter.catalogue.rules import RuleCompiler
from instanter.catalogue.schema import Attribute, AttributeKind, Schema
from instanter.catalogue.yaml_reader import Reader

_LABELS = (VelocityFunction.FRAUDS, VelocityFunction.LABELS, VelocityFunction.FRAUD_RATE)
_AMOUNTS = ("amount", "amount_minor")
_NO_SLOT = -1

# New numbers hold the revision that gave them, so that none is ever given twice, even after the
# whole section was away for a while: 256 velocities and 1,024 rules of a revision.
_STATE_SHIFT = 8
_RULE_SHIFT = 10


@dataclass(frozen=True, slots=True)
class _Draft:
    """A velocity and the truth of its condition; None when everything counts."""

    velocity: Velocity
    truth: Truth | None


class FraudCompiler:
    """Compiles one `fraud:`.

    Parameters
    ----------
    schema
        With the slots of all attributes.
    files
        Path to text, to find the lines of mistakes in rules.
    problems, warnings
        Take what is wrong, and what deserves a look.
    previous
        That of the catalogue in force, whose numbers are kept; None without one.
    revision
        The revision that the new catalogue gets.
    """

    __slots__ = (
        "_attempts", "_files", "_labels", "_previous", "_problems", "_reader", "_revision",
        "_schema", "_warnings",
    )  # fmt: skip

    def __init__(
        self,
        schema: Schema,
        files: Mapping[str, str],
        problems: Problems,
        warnings: list[str],
        previous: FraudPolicy | None,
        revision: int,
    ) -> None:
        self._schema = schema
        self._files = files
        self._problems = problems
        self._warnings = warnings
        self._reader = Reader(problems)
        self._previous = previous
        self._revision = revision
        self._attempts = ProgramBuilder()
        self._labels = ProgramBuilder()

    def compile(self, declared: DeclaredFraud | None) -> FraudPolicy | None:
        """Return the policy, or None without one or after problems."""
        if declared is None:
            return None
        count = len(self._problems)
        fields = evolve_fields(
            declared.fields,
            declared.field_nodes,
            self._previous.fields if self._previous else (),
            "fraud.fields",
            self._problems,
            self._warnings,
        )
        try:
            drafts = self._read_velocities(declared, fields)
            names = [item.velocity.name for item in declared.velocities]
            profile = {**self._schema.loaded, **self._schema.derived}
            rooms = make_rooms(fields, names, profile)
            builder = ProgramBuilder()
            compiler = RuleCompiler(rooms, builder)
            truths = [
                compile_rule(item.when, compiler, self._files, self._problems)
                for item in declared.rules
            ]
        except ProgramTooLargeError as error:
            node = declared.node
            self._problems.add(node.file, node.line, "fraud", "", str(error))
            return None
        model = self._make_model(declared.model, rooms) if declared.model else None
        if len(self._problems) > count:
            return None
        program, literals = builder.build(truths)
        velocities, attempt_program, label_program = self._build_velocities(drafts)
        return FraudPolicy(
            fields=fields,
            velocities=velocities,
            rules=self._number_rules(tuple(item.rule for item in declared.rules)),
            model=model,
            thresholds=declared.thresholds,
            terminals=declared.terminals,
            settings=declared.settings,
            program=program,
            rule_literals=tuple(literals),
            attempt_program=attempt_program,
            label_program=label_program,
            reads_profile=bool((program.input_source <= SOURCE_PROFILE_CODE).any()),
        )

    def _read_velocities(
        self, declared: DeclaredFraud, fields: tuple[EventField, ...]
    ) -> list[_Draft]:
        room = {"transaction": make_transaction_room(fields)}
        compilers = {
            False: RuleCompiler(room, self._attempts),
            True: RuleCompiler(room, self._labels),
        }
        drafts: list[_Draft] = []
        for item in declared.velocities:
            velocity = item.velocity
            is_label = velocity.function in _LABELS
            truths: list[Truth] = []
            if item.where is not None:
                compiler = compilers[is_label]
                truths.append(compile_rule(item.where, compiler, self._files, self._problems))
            slot = self._find_operand(item, fields)
            drafts.append(self._draft(replace(velocity, field_slot=slot), truths))
        window_s = declared.settings.compromised_terminal.window_s
        functions = (VelocityFunction.FRAUDS, VelocityFunction.LABELS)
        for name, function in zip(TERMINAL_VELOCITIES, functions, strict=True):
            own = Velocity(
                name, 0, EntityKind.TERMINAL, function, "", _NO_SLOT, window_s, False, ""
            )
            drafts.append(self._draft(own, []))
        return drafts

    def _draft(self, velocity: Velocity, truths: list[Truth]) -> _Draft:
        """Add to a condition what the velocity itself says."""
        builder = self._labels if velocity.function in _LABELS else self._attempts
        if velocity.approved_only:
            approved = builder.input(SOURCE_CONTEXT_CODE, APPROVED)
            truths.append(builder.interval(approved, 1.0, 1.0))
        if velocity.function is VelocityFunction.FRAUDS:
            fraud = builder.input(SOURCE_CONTEXT_CODE, FRAUD)
            truths.append(builder.interval(fraud, 1.0, 1.0))
        return _Draft(velocity, builder.all_of(truths) if truths else None)

    def _find_operand(self, item: DeclaredVelocity, fields: tuple[EventField, ...]) -> int:
        """Return the slot of what a velocity looks at; −1 for nothing, or after a problem."""
        if item.of is None:
            is_rate = item.velocity.function is VelocityFunction.FRAUD_RATE
            return FRAUD if is_rate else _NO_SLOT
        name, function = item.of.text, item.velocity.function
        path = f"{item.field}.of"
        declared = {field.name: field for field in fields if not field.withdrawn}
        numbers = [f.name for f in declared.values() if f.kind is AttributeKind.NUMBER]
        known = (*_AMOUNTS, *numbers)
        if function is VelocityFunction.DISTINCT:
            known = (*OPERANDS, *declared)
        if name not in known:
            message = f"is not what {function.name.lower()} can look at: {', '.join(known)}"
            self._reader.refuse(item.of, path, message, suggest(name, known))
            return _NO_SLOT
        return OPERANDS[name] if name in OPERANDS else FIELD_FIRST + declared[name].index

    def _build_velocities(
        self, drafts: list[_Draft]
    ) -> tuple[tuple[Velocity, ...], RuleProgram, RuleProgram]:
        """Return the velocities with literals and the ids of states, and the two programs."""
        programs: list[RuleProgram] = []
        literals: dict[str, int] = {}
        for builder, is_label in ((self._attempts, False), (self._labels, True)):
            own = [d for d in drafts if (d.velocity.function in _LABELS) is is_label]
            truths = {d.velocity.name: d.truth for d in own if d.truth is not None}
            program, found = builder.build(truths.values())
            programs.append(program)
            literals.update(zip(truths, found, strict=True))
        kept = {old.name: old for old in self._previous.velocities} if self._previous else {}
        velocities: list[Velocity] = []
        for index, draft in enumerate(drafts):
            made = draft.velocity
            old = kept.get(made.name)
            state_id = (self._revision << _STATE_SHIFT) + index
            if old is not None and _meaning_of(old) == _meaning_of(made):
                state_id = old.state_id
            literal = literals.get(made.name, -1)
            velocities.append(replace(made, state_id=state_id, condition_literal=literal))
        return tuple(velocities), programs[0], programs[1]

    def _number_rules(self, rules: tuple[FraudRule, ...]) -> tuple[FraudRule, ...]:
        """Return the rules with their codes; who keeps the name keeps the code."""
        codes = {rule.name: rule.code for rule in self._previous.rules} if self._previous else {}
        first = self._revision << _RULE_SHIFT
        return tuple(
            replace(rule, code=codes.get(rule.name, first + index))
            for index, rule in enumerate(rules)
        )

    def _make_model(
        self, declared: DeclaredModel, rooms: Mapping[str, Mapping[str, Attribute]]
    ) -> FraudModel:
        """Return the model; a feature that it cannot have is a problem."""
        everything = {
            f"{room}.{name}": attribute
            for room, attributes in rooms.items()
            for name, attribute in attributes.items()
            if room != "profile"
        }
        figures = {name: one for name, one in everything.items() if _is_number(one)}
        slots: list[int] = []
        codes: list[bool] = []
        for scalar in declared.features:
            attribute = figures.get(scalar.text)
            if attribute is None:
                message = "is not a figure that the model can look at: a number or a flag of a "
                message += "transaction, a velocity, a baseline, travel or a terminal"
                is_there = scalar.text in everything
                near = "" if is_there else suggest(scalar.text, figures)
                self._reader.refuse(scalar, "fraud.model.features", message, near)
                continue
            slots.append(attribute.slot)
            codes.append(attribute.kind is not AttributeKind.NUMBER)
        names = tuple(scalar.text for scalar in declared.features)
        old = self._previous.model if self._previous else None
        model_id = self._revision
        if old is not None and (old.features, old.pairs) == (names, declared.pairs):
            model_id = old.model_id
        return FraudModel(
            model_id,
            names,
            tuple(slots),
            tuple(codes),
            declared.points,
            declared.pairs,
            declared.start_rate,
        )


def _is_number(attribute: Attribute) -> bool:
    """Return whether a figure can be a feature; the channel has two codes, which make a flag."""
    return attribute.slot == CHANNEL or attribute.kind in (AttributeKind.NUMBER, AttributeKind.FLAG)


def _meaning_of(velocity: Velocity) -> tuple[object, ...]:
    """Return all that the state of a velocity depends on; a slot never changes its meaning."""
    return (
        velocity.per,
        velocity.function,
        velocity.field_slot,
        velocity.window_s,
        velocity.approved_only,
        velocity.where,
    )
