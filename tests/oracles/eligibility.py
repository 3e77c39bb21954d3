"""The rule program in plain Python: read inputs, do arithmetic, compare, combine.

Truths: 0 false, 1 unknown because something needed is missing, 2 true. `truths` holds every truth
twice: at 2 × index as it is, at 2 × index + 1 inverted.
"""

import math
import struct

MISSING_CODE = 0xFFFF_FFFF
NAN = math.nan


def load_inputs(slots, context, now_s, input_slot, input_source, offset, values):
    for i, (slot, source) in enumerate(zip(input_slot, input_source, strict=True)):
        if source == 4:
            values[offset + i] = now_s
            continue
        row = slots if source in (0, 1) else context
        is_number = source in (0, 2)
        values[offset + i] = _slot_value(row, int(slot), is_number)


def _slot_value(row, slot, is_number):
    if slot >= len(row):
        return NAN
    pattern = int(row[slot])
    if pattern == MISSING_CODE:
        return NAN
    if is_number:
        return struct.unpack("<f", struct.pack("<I", pattern))[0]
    return float(pattern)


def compute_terms(term_op, term_a, term_b, offset, values):
    for i, (operation, a, b) in enumerate(zip(term_op, term_a, term_b, strict=True)):
        values[offset + i] = _compute(int(operation), float(values[a]), float(values[b]))


def _compute(operation, a, b):
    if operation == 0:
        return a + b
    if operation == 1:
        return a - b
    if operation == 2:
        return a * b
    if operation == 4:
        return -a
    return a / b if b != 0 else NAN


def evaluate_predicates(
    predicate_value, predicate_low, predicate_high, predicate_missing, values, truths
):
    for i, index in enumerate(predicate_value):
        value = float(values[index])
        if math.isnan(value):
            truth = int(predicate_missing[i])
        elif predicate_low[i] <= value <= predicate_high[i]:
            truth = 2
        else:
            truth = 0
        truths[2 * i], truths[2 * i + 1] = truth, 2 - truth


def evaluate_nodes(node_start, node_literal, truths):
    node_count = len(node_start) - 1
    predicate_count = len(truths) // 2 - node_count
    for n in range(node_count):
        operands = [truths[literal] for literal in node_literal[node_start[n] : node_start[n + 1]]]
        truth = int(min(operands, default=2))
        index = predicate_count + n
        truths[2 * index], truths[2 * index + 1] = truth, 2 - truth


def evaluate_program(
    slots,
    context,
    now_s,
    constants,
    input_slot,
    input_source,
    term_op,
    term_a,
    term_b,
    predicate_value,
    predicate_low,
    predicate_high,
    predicate_missing,
    node_start,
    node_literal,
    values,
    truths,
):
    values[: len(constants)] = constants
    load_inputs(slots, context, now_s, input_slot, input_source, len(constants), values)
    offset = len(constants) + len(input_slot)
    compute_terms(term_op, term_a, term_b, offset, values)
    evaluate_predicates(
        predicate_value, predicate_low, predicate_high, predicate_missing, values, truths
    )
    evaluate_nodes(node_start, node_literal, truths)
