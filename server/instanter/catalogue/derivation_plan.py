"""Derived attributes laid out for the kernels that keep and that read their states."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.events import Aggregation, Derivation, EventField
from instanter.catalogue.rule_program import RuleProgram
from instanter.catalogue.schema import AttributeKind
from instanter.kernels.derived_state import (
    DISTINCT_BUCKETS,
    HEAD_WORDS,
    PLAN_COUNT,
    PLAN_KIND,
    PLAN_SLOT,
)

_TILES: Final = 32
"""Tiles of a window: with them a window is long by up to 3 %, which no marketer's rule minds,
and a customer's sum takes 800 bytes at most. 64 would halve the one and double the other."""

_HALF_LIVES: Final = 16
"""Half-lives after which an event is forgotten: it weighs less than 1/65,000 by then."""

_PROGRAM_F64: Final = ("constants", "predicate_low", "predicate_high")
_PROGRAM_U8: Final = ("input_source", "term_op", "predicate_missing")
_PROGRAM: Final = (
    "constants", "input_slot", "input_source", "term_op", "term_a", "term_b", "predicate_value",
    "predicate_low", "predicate_high", "predicate_missing", "node_start", "node_literal",
)  # fmt: skip
"""The arrays of a rule program in the order of the kernel's arguments."""

_WIDTH_MAX: Final = 4
STATE_WORDS_MAX: Final = HEAD_WORDS + max((_TILES + 1) * 3, (_HALF_LIVES + 1) * 4, DISTINCT_BUCKETS)
"""Words of one derivation's state at most: 2,064 bytes, of a DISTINCT with all buckets in use."""


@dataclass(frozen=True, slots=True, eq=False)
class DerivationPlan:
    """What the kernels of derived attributes read beside states and events.

    Attributes
    ----------
    plan
        int64[D, PLAN_COUNT], the derivations that have a state, in ascending order of state ids;
        columns as in `kernels/derived_state`.
    ratios
        int64[R, 3]: slots of each ratio, of its numerator and of its denominator.
    f64, i32, u8
        float64, int32, uint8: the arrays of the event kinds' rule programs, end to end.
    program_cut
        int64[kinds + 1, 26], by the kind's code: starts and ends of the program's 12 arrays, then
        its counts of values and truths, which are 0 for a kind without conditions.
    """

    plan: NDArray[np.int64]
    ratios: NDArray[np.int64]
    f64: NDArray[np.float64]
    i32: NDArray[np.int32]
    u8: NDArray[np.uint8]
    program_cut: NDArray[np.int64]

    @property
    def is_empty(self) -> bool:
        """Whether there is no derived attribute."""
        return not len(self.plan) and not len(self.ratios)

    @property
    def slots(self) -> NDArray[np.int64]:
        """int64[D + R]: the profile slots of all derived attributes."""
        return np.concatenate((self.plan[:, PLAN_SLOT], self.ratios[:, 0]))

    @property
    def kind_codes(self) -> set[int]:
        """Codes of the event kinds that something is derived from."""
        return set(self.plan[:, PLAN_KIND].tolist())

    @property
    def state_words_max(self) -> int:
        """Words of a customer's state at most."""
        return len(self.plan) * STATE_WORDS_MAX


@dataclass(frozen=True, slots=True, eq=False)
class PackedPrograms:
    """Several rule programs in a few arrays, as kernels take them.

    Attributes
    ----------
    f64, i32, u8, cut
        float64, int32, uint8, int64[programs, 26]: as `f64`, `i32`, `u8` and `program_cut` of
        `DerivationPlan`.
    """

    f64: NDArray[np.float64]
    i32: NDArray[np.int32]
    u8: NDArray[np.uint8]
    cut: NDArray[np.int64]


def pack_programs(programs: Mapping[int, RuleProgram], code_max: int) -> PackedPrograms:
    """Return programs end to end, each with its place by its code, 0 to `code_max`."""
    packs: dict[str, list[NDArray[np.generic]]] = {"f64": [], "i32": [], "u8": []}
    cut = np.zeros((code_max + 1, 2 * len(_PROGRAM) + 2), np.int64)
    for code, program in programs.items():
        cut[code] = _pack(program, packs)
    return PackedPrograms(
        f64=np.concatenate([np.zeros(0), *packs["f64"]]),
        i32=np.concatenate([np.zeros(0, np.int32), *packs["i32"]]),
        u8=np.concatenate([np.zeros(0, np.uint8), *packs["u8"]]),
        cut=cut,
    )


def make_derivation_plan(catalogue: CompiledCatalogue) -> DerivationPlan:
    """Lay out the derivations of a catalogue."""
    kinds = {kind.name: kind for kind in catalogue.events}
    rows = [
        _lay_out(d, kinds[d.event].code, _field_of(d, kinds[d.event].fields))
        for d in sorted(catalogue.derivations, key=lambda d: d.state_id)
        if d.aggregation is not Aggregation.RATIO
    ]
    ratios = [
        (d.slot, d.numerator, d.denominator)
        for d in catalogue.derivations
        if d.aggregation is Aggregation.RATIO
    ]
    programs = {kinds[name].code: program for name, program in catalogue.event_programs.items()}
    code_max = max((kind.code for kind in catalogue.events), default=0)
    packed = pack_programs(programs, code_max)
    return DerivationPlan(
        plan=np.array(rows, np.int64).reshape(-1, PLAN_COUNT),
        ratios=np.array(ratios, np.int64).reshape(-1, 3),
        f64=packed.f64,
        i32=packed.i32,
        u8=packed.u8,
        program_cut=packed.cut,
    )


def _field_of(derivation: Derivation, fields: tuple[EventField, ...]) -> EventField | None:
    """Return the event's field that a derivation looks at."""
    return fields[derivation.field_index] if derivation.field_index >= 0 else None


def _lay_out(derivation: Derivation, kind_code: int, field: EventField | None) -> tuple[int, ...]:
    """Return the kernel's row of one derivation."""
    aggregation = derivation.aggregation
    is_coded = field is not None and field.kind in (AttributeKind.CATEGORY, AttributeKind.FLAG)
    is_number = field is not None and field.kind is AttributeKind.NUMBER
    values_count = 2
    if field is not None and field.kind is AttributeKind.CATEGORY:
        values_count = len(field.values)
    if derivation.window_s:
        tile_s = -(-derivation.window_s // _TILES)
        kept = -(-derivation.window_s // tile_s)
        width = 3 if aggregation in (Aggregation.SUM, Aggregation.MEAN) else 1
    else:
        tile_s = derivation.half_life_s
        kept = _HALF_LIVES
        width = 2 if aggregation is Aggregation.COUNT else _WIDTH_MAX
    return (
        derivation.state_id,
        kind_code,
        int(aggregation),
        derivation.field_index,
        derivation.condition_literal,
        1000 * tile_s,
        kept,
        1000 * derivation.window_s,
        int(is_number),
        int(not is_coded),
        int(is_coded and values_count <= DISTINCT_BUCKETS),
        width,
        derivation.slot,
    )


def _pack(program: RuleProgram, packs: dict[str, list[NDArray[np.generic]]]) -> list[int]:
    """Append a program's arrays to the packs and return its row of `program_cut`."""
    starts, ends = [], []
    for name in _PROGRAM:
        pack = "f64" if name in _PROGRAM_F64 else "u8" if name in _PROGRAM_U8 else "i32"
        array = getattr(program, name)
        starts.append(sum(len(part) for part in packs[pack]))
        ends.append(starts[-1] + len(array))
        packs[pack].append(array)
    return [*starts, *ends, program.value_count, program.truth_count]
