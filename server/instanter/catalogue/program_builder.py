"""Builds the one rule program of a catalogue, each distinct comparison in it once.

Everything is hash-consed: the same input, arithmetic, comparison or AND is stored once however
many rules use it. Marketers' rules repeat each other (every offer asks for adults), so this is
what makes the program short.
"""

import math
from collections.abc import Iterable
from itertools import chain
from typing import Any, Final, NewType

import numpy as np
from numpy.typing import NDArray

from instanter import limits
from instanter.catalogue.rule_program import RuleProgram

Value = NewType("Value", int)
"""A number in a program under construction: 4 × index + (0 constant, 1 input, 2 term)."""

Truth = NewType("Truth", int)
"""A truth in a program under construction: 4 × index + 2 × (is a node) + inverted."""

TRUE: Final = Truth(-2)
FALSE: Final = Truth(-1)

SOURCE_PROFILE_NUMBER: Final = 0
SOURCE_PROFILE_CODE: Final = 1
SOURCE_CONTEXT_NUMBER: Final = 2
SOURCE_CONTEXT_CODE: Final = 3
SOURCE_NOW: Final = 4

ADD: Final = 0
SUBTRACT: Final = 1
MULTIPLY: Final = 2
DIVIDE: Final = 3
NEGATE: Final = 4

_NUMBER_SOURCES: Final = (SOURCE_PROFILE_NUMBER, SOURCE_CONTEXT_NUMBER)

_MISSING_UNKNOWN: Final = 1
_MISSING_FALSE: Final = 0


class ProgramTooLargeError(Exception):
    """The rules together exceed a limit; the text says which."""


def negate(truth: Truth) -> Truth:
    """Return the inverse of a truth."""
    return Truth(truth ^ 1)


class ProgramBuilder:
    """Collects values and truths, then lays them out."""

    __slots__ = (
        "_constants", "_edge_count", "_inputs", "_nodes", "_numbers", "_operands", "_predicates",
        "_stored_numbers", "_terms",
    )  # fmt: skip

    def __init__(self) -> None:
        self._constants: dict[float, Value] = {}
        self._inputs: dict[tuple[int, int], Value] = {}
        self._terms: dict[tuple[int, Value, Value], Value] = {}
        self._predicates: dict[tuple[Value, float, float, int], Truth] = {}
        self._nodes: dict[tuple[Truth, ...], Truth] = {}
        self._edge_count = 0
        self._numbers: list[float] = []
        self._stored_numbers: set[Value] = set()
        self._operands: list[tuple[Truth, ...]] = []

    def constant(self, number: float) -> Value:
        """Return a number known now; it must be finite."""
        assert math.isfinite(number), "the compiler refuses constants that are not finite"
        number += 0.0  # so that -0.0 and 0.0 are one constant
        if number not in self._constants:
            self._constants[number] = Value(4 * len(self._constants))
            self._numbers.append(number)
        return self._constants[number]

    def find_constant(self, value: Value) -> float | None:
        """Return the number that a value is known to be, or None."""
        return self._numbers[value >> 2] if value & 3 == 0 else None

    def input(self, source: int, slot: int) -> Value:
        """Return the value of a slot, or of the time with SOURCE_NOW and slot 0."""
        value = self._inputs.setdefault((source, slot), Value(4 * len(self._inputs) + 1))
        if source in _NUMBER_SOURCES:
            self._stored_numbers.add(value)
        return value

    def as_stored(self, value: Value, number: float) -> float:
        """Return a number as a slot holds it, when that is what a value is read from.

        Numbers are stored as float32, in which 19.99 is a little less: an amount of 19.99 must be
        19.99 all the same. What float32 has no finite number for, or only 0, stays as it is.
        """
        if value not in self._stored_numbers:
            return number
        with np.errstate(over="ignore"):
            stored = float(np.float32(number))
        return stored if stored and math.isfinite(stored) else number

    def term(self, operation: int, a: Value, b: Value) -> Value:
        """Return an arithmetic result; both operands' constants are folded by the caller."""
        if operation in (ADD, MULTIPLY) and b < a:
            a, b = b, a
        if len(self._terms) >= limits.PROGRAM_TERMS_MAX:
            raise ProgramTooLargeError(
                f"more than {limits.PROGRAM_TERMS_MAX:,} arithmetic steps in all rules together"
            )
        return self._terms.setdefault((operation, a, b), Value(4 * len(self._terms) + 2))

    def interval(self, value: Value, low: float, high: float) -> Truth:
        """Return whether low ≤ value ≤ high; unknown when the value is missing."""
        if not low <= high:
            low, high = math.inf, -math.inf
        return self._predicate(value, low, high, _MISSING_UNKNOWN)

    def presence(self, value: Value) -> Truth:
        """Return whether a value is there; never unknown."""
        return self._predicate(value, -math.inf, math.inf, _MISSING_FALSE)

    def all_of(self, truths: Iterable[Truth]) -> Truth:
        """Return the AND: false if any is false, else unknown if any is unknown."""
        operands: set[Truth] = set()
        for truth in truths:
            if truth == FALSE:
                return FALSE
            if truth != TRUE:
                operands.update(self._operands_of(truth))
        if not operands:
            return TRUE
        if len(operands) == 1:
            return operands.pop()
        key = tuple(sorted(operands))
        if key not in self._nodes:
            self._edge_count += len(key)
            if self._edge_count > limits.PROGRAM_EDGES_MAX:
                raise ProgramTooLargeError(
                    f"more than {limits.PROGRAM_EDGES_MAX:,} operands of && and || in all rules "
                    "together"
                )
            self._nodes[key] = Truth(4 * len(self._nodes) + 2)
            self._operands.append(key)
        return self._nodes[key]

    def any_of(self, truths: Iterable[Truth]) -> Truth:
        """Return the OR, by De Morgan."""
        return negate(self.all_of(negate(truth) for truth in truths))

    def choose(self, condition: Truth, then: Truth, otherwise: Truth) -> Truth:
        """Return `condition ? then : otherwise`; unknown when the condition is.

        The third alternative is what makes it unknown: without it, an unknown condition between
        two false alternatives would be false, where CEL fails.
        """
        if condition in (TRUE, FALSE):
            return then if condition == TRUE else otherwise
        return self.any_of(
            (
                self.all_of((condition, then)),
                self.all_of((negate(condition), otherwise)),
                self.all_of((condition, negate(condition))),
            )
        )

    def build(self, roots: Iterable[Truth]) -> tuple[RuleProgram, list[int]]:
        """Lay out what the roots need; return the program and the literal of each root."""
        wanted = list(roots)
        if TRUE in wanted or FALSE in wanted:
            always = self._nodes.setdefault((), Truth(4 * len(self._nodes) + 2))
            if len(self._operands) < len(self._nodes):
                self._operands.append(())
            wanted = [Truth(always | (t & 1)) if t in (TRUE, FALSE) else t for t in wanted]
        nodes = self._find_nodes(wanted)
        truths = [*wanted, *(t for n in nodes for t in self._operands[n])]
        values, arrays = self._lay_out_values({t >> 2 for t in truths if not t & 2})
        predicates = list(self._predicates)
        ordered = sorted(
            (values[predicates[p][0]], *predicates[p][1:], p)
            for p in {t >> 2 for t in truths if not t & 2}
        )
        entries = {4 * key[-1]: rank for rank, key in enumerate(ordered)}
        entries.update({4 * n + 2: len(ordered) + rank for rank, n in enumerate(nodes)})

        def literal(truth: Truth) -> int:
            return 2 * entries[truth & ~1] + (truth & 1)

        operands = [sorted(map(literal, self._operands[n])) for n in nodes]
        program = RuleProgram(
            **arrays,
            predicate_value=np.array([key[0] for key in ordered], np.int32),
            predicate_low=np.array([key[1] for key in ordered], np.float64),
            predicate_high=np.array([key[2] for key in ordered], np.float64),
            predicate_missing=np.array([key[3] for key in ordered], np.uint8),
            node_start=np.cumsum([0, *map(len, operands)], dtype=np.int32),
            node_literal=np.array([entry for row in operands for entry in row], np.int32),
        )
        return program, [literal(truth) for truth in wanted]

    def _find_nodes(self, roots: Iterable[Truth]) -> list[int]:
        """Return the nodes that the roots reach, operands before the nodes that use them."""
        found: set[int] = set()
        waiting = [truth >> 2 for truth in roots if truth & 2]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting.extend(truth >> 2 for truth in self._operands[node] if truth & 2)
        return sorted(found)

    def _lay_out_values(
        self, predicates: Iterable[int]
    ) -> tuple[dict[Value, int], dict[str, NDArray[Any]]]:
        """Return where each needed value stands in the vector, and the arrays that make it."""
        keys = list(self._predicates)
        terms = list(self._terms)
        needed: set[Value] = set()
        waiting = [keys[p][0] for p in predicates]
        while waiting:
            value = waiting.pop()
            if value not in needed:
                needed.add(value)
                if value & 3 == 2:
                    waiting.extend(terms[value >> 2][1:])
        by_kind = [sorted(v for v in needed if v & 3 == kind) for kind in range(3)]
        inputs = list(self._inputs)
        by_kind[1].sort(key=lambda v: inputs[v >> 2])  # by source: the kernel's branch holds
        places = {value: place for place, value in enumerate(chain.from_iterable(by_kind))}
        sources = [inputs[v >> 2] for v in by_kind[1]]
        steps = [terms[v >> 2] for v in by_kind[2]]
        return places, {
            "constants": np.array([self._numbers[v >> 2] for v in by_kind[0]], np.float64),
            "input_slot": np.array([slot for _, slot in sources], np.int32),
            "input_source": np.array([source for source, _ in sources], np.uint8),
            "term_op": np.array([operation for operation, _, _ in steps], np.uint8),
            "term_a": np.array([places[a] for _, a, _ in steps], np.int32),
            "term_b": np.array([places[b] for _, _, b in steps], np.int32),
        }

    def _predicate(self, value: Value, low: float, high: float, missing: int) -> Truth:
        if len(self._predicates) >= limits.PROGRAM_PREDICATES_MAX:
            raise ProgramTooLargeError(
                f"more than {limits.PROGRAM_PREDICATES_MAX:,} distinct comparisons in all rules "
                "together"
            )
        key = (value, low + 0.0, high + 0.0, missing)
        return self._predicates.setdefault(key, Truth(4 * len(self._predicates)))

    def _operands_of(self, truth: Truth) -> tuple[Truth, ...]:
        """Return the operands of a plain AND node, to flatten it into the next, or itself."""
        if truth & 3 != 2:
            return (truth,)
        return self._operands[truth >> 2]
