"""How long rules take, beside the library that defines what they mean."""

import re

import numpy as np
from cel_expr_python import cel
from numpy.typing import NDArray

from bench import workload
from bench.decide.sizes import Sizes
from bench.measurement import Figure, measure_pair
from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.schema import Attribute, AttributeKind
from instanter.kernels.eligibility import evaluate_program

_COMPARISONS = 5


def measure_rules_ratio(sizes: Sizes) -> Figure:
    """Time all rules of a catalogue on one customer against one rule in the CEL library.

    The library gets what is fastest for it: typed variables, the rule compiled and the customer's
    values converted beforehand. Both change the customer from call to call.
    """
    files = workload.make_files(sizes.rules, comparisons=_COMPARISONS)
    catalogue = workload.compile_files(files)
    slots = workload.draw_slots(catalogue, 64, np.random.default_rng(3))
    program = catalogue.program
    arrays = (
        program.constants,
        program.input_slot,
        program.input_source,
        program.term_op,
        program.term_a,
        program.term_b,
        program.predicate_value,
        program.predicate_low,
        program.predicate_high,
        program.predicate_missing,
        program.node_start,
        program.node_literal,
    )
    values = np.zeros(program.value_count)
    truths = np.zeros(program.truth_count, np.uint8)
    context = np.full(catalogue.schema.context_slot_count, 0xFFFF_FFFF, np.uint32)

    def evaluate_ours(at: int) -> None:
        evaluate_program(slots[at % 64], context, 1.77e9, *arrays, values, truths)

    text = catalogue.offers[0].eligibility
    expression, activations = _compile_rule(catalogue, text, slots)

    def evaluate_theirs(at: int) -> object:
        return expression.eval(activations[at % 64])

    literal = catalogue.rule_literal[0, 0]
    for at in range(64):
        evaluate_ours(at)
        theirs = evaluate_theirs(at).value()  # type: ignore[attr-defined] # the library's value
        assert (truths[literal] == 2) == theirs, "both must mean the same before they are timed"
    pair = measure_pair(evaluate_ours, evaluate_theirs, rounds=sizes.rounds, count=sizes.calls)
    return Figure(
        pair.ratio, "≤ 40", "≤ 20", {"rules ÷ rule": pair, "rule_count": sizes.rules, "rule": text}
    )


def _compile_rule(
    catalogue: CompiledCatalogue, text: str, slots: NDArray[np.uint32]
) -> tuple[cel.Expression, list[cel.Activation]]:
    """Compile one rule with the library, and convert the customers' values for it."""
    types = {"number": cel.Type.DOUBLE, "category": cel.Type.STRING, "flag": cel.Type.BOOL}
    names = sorted(set(re.findall(r"profile\.(\w+)", text)))
    environment = cel.NewEnv(variables={name: types[name.rpartition("_")[0]] for name in names})
    expression = environment.compile(text.replace("profile.", ""))
    loaded = catalogue.schema.loaded
    activations = [
        environment.Activation({name: _read_value(loaded[name], row) for name in names})
        for row in slots
    ]
    return expression, activations


def _read_value(attribute: Attribute, row: NDArray[np.uint32]) -> float | str | bool:
    slot = row[attribute.slot]
    if attribute.kind is AttributeKind.NUMBER:
        return float(slot.view(np.float32))
    return attribute.values[slot] if attribute.values else bool(slot)
