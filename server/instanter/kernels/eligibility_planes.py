"""Eligibility rules on all customers of a turn at once: one bit a customer.

The same program as in `kernels/eligibility`, the other way round: predicate by predicate, node by
node, for up to 64 customers. A truth is two words, its *planes*: bit c of the first says that it is
true for customer c, of the second that it is true or unknown. Kleene's AND is then the AND of both
words, and the inverse swaps them inverted, so that a node costs the same for one customer as for
64.

Measured with 200 rules of 6 comparisons (1,302 predicates, 583 nodes, 665 inputs), 17 customers of
1000 attributes: 1.7 µs a customer, where `evaluate_program` takes 6.1 µs. For one alone it is
twice as slow.
"""

import numpy as np
from numba import float64, int64, types, void

from instanter.kernels.arbitration import (
    REASON_ATTRIBUTE_MISSING,
    REASON_NO_TREATMENT,
    REASON_NONE,
    REASON_NOT_APPLICABLE,
    REASON_NOT_CURRENT,
    REASON_NOT_ELIGIBLE,
    REASON_NOT_SUITABLE,
    TRUTH_TRUE,
)
from instanter.kernels.array_types import (
    READ_F64,
    READ_F64_2D,
    READ_I32,
    READ_I32_2D,
    READ_U8,
    READ_U32_2D,
    WRITE_F64_2D,
    WRITE_U8,
)
from instanter.kernels.compilation import Kernel, inner_kernel

PLANES_MIN = 2
"""Customers from which on planes are faster."""

PLANES_WIDTH = 8
"""Columns of values come in multiples of this, which vector instructions take at once."""

_READ_I16 = types.Array(types.int16, 1, "C", readonly=True)
_READ_U64_2D = types.Array(types.uint64, 2, "C", readonly=True)
_WRITE_U64_2D = types.Array(types.uint64, 2, "C")
_MISSING_CODE = np.uint32(0xFFFF_FFFF)
_NONE = np.uint64(0)
_ALL = ~np.uint64(0)
_ONE = np.uint64(1)

# The reasons of rules, by the binary digits of their numbers.
assert (
    REASON_NOT_ELIGIBLE, REASON_NOT_APPLICABLE, REASON_NOT_SUITABLE, REASON_ATTRIBUTE_MISSING,
) == (0b011, 0b100, 0b101, 0b110)  # fmt: skip


@inner_kernel(
    void(int64, READ_U32_2D, READ_U32_2D, float64, READ_I32, READ_U8, int64, WRITE_F64_2D)
)
def load_columns(count, slots, context, now_s, input_slot, input_source, offset, values):  # type: ignore[no-untyped-def]
    """Read what `load_inputs` reads, customer c into column c.

    Parameters
    ----------
    count
        Customers.
    slots, context
        uint32[≥ count, any], read-only: slots of profiles and of contexts.
    now_s, input_slot, input_source, offset
        As in `load_inputs`, read-only.
    values
        float64[V, ≥ count]: the inputs' rows are written; NaN where a slot is missing.
    """
    for c in range(count):
        own, own_context = slots[c], context[c]
        numbers, context_numbers = own.view(np.float32), own_context.view(np.float32)
        for i in range(len(input_slot)):
            source = input_source[i]
            slot = np.uint64(input_slot[i])
            value = np.nan
            if source <= 1:
                if slot < np.uint64(len(own)) and own[slot] != _MISSING_CODE:
                    value = np.float64(numbers[slot]) if source == 0 else np.float64(own[slot])
            elif source <= 3:
                if slot < np.uint64(len(own_context)) and own_context[slot] != _MISSING_CODE:
                    value = (
                        np.float64(context_numbers[slot])
                        if source == 2
                        else np.float64(own_context[slot])
                    )
            else:
                value = now_s
            values[offset + i, c] = value


@inner_kernel(void(READ_U8, READ_I32, READ_I32, int64, WRITE_F64_2D))
def compute_columns(term_op, term_a, term_b, offset, values):  # type: ignore[no-untyped-def]
    """Do what `compute_terms` does in every column of `values`, float64[V, W], which is written."""
    for i in range(len(term_op)):
        a, b = values[term_a[i]], values[term_b[i]]
        result = values[offset + i]
        operation = term_op[i]
        for c in range(len(result)):
            if operation == 0:
                result[c] = a[c] + b[c]
            elif operation == 1:
                result[c] = a[c] - b[c]
            elif operation == 2:
                result[c] = a[c] * b[c]
            elif operation == 3:
                result[c] = a[c] / b[c] if b[c] != 0.0 else np.nan
            else:
                result[c] = -a[c]


@inner_kernel(void(READ_I32, READ_F64, READ_F64, READ_U8, READ_F64_2D, _WRITE_U64_2D))
def compare_columns(  # type: ignore[no-untyped-def]
    predicate_value, predicate_low, predicate_high, predicate_missing, values, planes
):
    """Compare: write the planes of each predicate.

    Parameters
    ----------
    predicate_value, predicate_low, predicate_high, predicate_missing
        As in `RuleProgram`, read-only.
    values
        float64[V, W ≤ 64], read-only: NaN is missing.
    planes
        uint64[predicates + nodes, 2]: the predicates' rows are written.
    """
    for p in range(len(predicate_value)):
        own = values[predicate_value[p]]
        low, high = predicate_low[p], predicate_high[p]
        inside, missing = _NONE, _NONE
        for c in range(len(own)):
            value = own[c]
            inside |= np.uint64((value >= low) & (value <= high)) << np.uint64(c)
            missing |= np.uint64(np.isnan(value)) << np.uint64(c)
        planes[p, 0] = inside
        planes[p, 1] = inside | (missing if predicate_missing[p] else _NONE)


@inner_kernel(void(READ_I32, READ_I32, _WRITE_U64_2D))
def combine_planes(node_start, node_literal, planes):  # type: ignore[no-untyped-def]
    """Combine: write the planes of each AND node.

    Parameters
    ----------
    node_start, node_literal
        As in `RuleProgram`, read-only.
    planes
        uint64[predicates + nodes, 2]: the predicates' rows are read, the nodes' written.
    """
    count = len(node_start) - 1
    position = planes.shape[0] - count
    for n in range(count):
        certain, possible = _ALL, _ALL
        for edge in range(np.uint32(node_start[n]), np.uint32(node_start[n + 1])):
            literal = np.uint32(node_literal[edge])
            own = literal >> np.uint32(1)
            a, b = planes[own, 0], planes[own, 1]
            # All bits set for a literal that is inverted; then the planes change places.
            inverted = _NONE - np.uint64(literal & np.uint32(1))
            change = (a ^ b) & inverted
            certain &= (a ^ change) ^ inverted
            possible &= (b ^ change) ^ inverted
        planes[position, 0], planes[position, 1] = certain, possible
        position += 1


@inner_kernel(
    void(
        int64, READ_U32_2D, READ_U32_2D, float64, READ_F64,
        READ_I32, READ_U8, READ_U8, READ_I32, READ_I32,
        READ_I32, READ_F64, READ_F64, READ_U8,
        READ_I32, READ_I32,
        WRITE_F64_2D, _WRITE_U64_2D,
    )
)  # fmt: skip
def evaluate_planes(  # type: ignore[no-untyped-def]
    count, slots, context, now_s, constants, input_slot, input_source, term_op, term_a, term_b,
    predicate_value, predicate_low, predicate_high, predicate_missing, node_start, node_literal,
    values, planes,
):  # fmt: skip
    """Evaluate a whole rule program on the customers of a turn.

    Parameters
    ----------
    count
        Customers, at most 64.
    slots, context
        uint32[≥ count, any], read-only: a slot beyond the end is missing.
    now_s
        As in `evaluate_program`.
    constants … node_literal
        The arrays of `RuleProgram` in its order. Read-only.
    values
        float64[V, W]: scratch, written; W ≥ count, a multiple of 8, at most 64.
    planes
        uint64[predicates + nodes, 2], written: of each truth, bit c says of customer c whether it
        is true, and whether it is true or unknown. Bits from `count` on mean nothing.
    """
    for i in range(len(constants)):
        values[i] = constants[i]
    offset = len(constants)
    load_columns(count, slots, context, now_s, input_slot, input_source, offset, values)
    compute_columns(term_op, term_a, term_b, offset + len(input_slot), values)
    compare_columns(
        predicate_value, predicate_low, predicate_high, predicate_missing, values, planes
    )
    combine_planes(node_start, node_literal, planes)


@inner_kernel(void(_READ_U64_2D, READ_I32_2D, _WRITE_U64_2D))
def find_rule_reasons(planes, rule_literal, digits):  # type: ignore[no-untyped-def]
    """Find the first rule that stops each offer, for all customers at once.

    Parameters
    ----------
    planes
        uint64[T, 2], read-only, from `evaluate_planes`.
    rule_literal
        int32[3, O], read-only, as in `exclude_offers`.
    digits
        uint64[3, O], written: bit c of row d is binary digit d of the reason that stops the offer
        for customer c; 0 when no rule does.
    """
    for o in range(rule_literal.shape[1]):
        open_for = _ALL
        lowest, middle, highest = _NONE, _NONE, _NONE
        for stage in range(rule_literal.shape[0]):
            literal = rule_literal[stage, o]
            if literal >= 0:
                certain, possible = planes[literal >> 1, 0], planes[literal >> 1, 1]
                if literal & 1:
                    certain, possible = ~possible, ~certain
                wrong, unknown = open_for & ~possible, open_for & possible & ~certain
                reason = REASON_NOT_ELIGIBLE + stage
                lowest |= wrong if reason & 1 else _NONE
                middle |= unknown | (wrong if reason & 2 else _NONE)
                highest |= unknown | (wrong if reason & 4 else _NONE)
                open_for &= certain
        digits[0, o], digits[1, o], digits[2, o] = lowest, middle, highest


@inner_kernel(int64(float64, int64, _READ_U64_2D, _READ_I16, READ_F64, READ_F64, WRITE_U8))
def exclude_by_digits(  # type: ignore[no-untyped-def]
    now_s, customer, digits, treatment_index, valid_from_s, valid_to_s, reason
):
    """Do what `exclude_offers` does for one customer of a turn.

    Parameters
    ----------
    now_s, treatment_index, valid_from_s, valid_to_s
        As in `exclude_offers`, read-only.
    customer
        Which one, below 64.
    digits
        uint64[3, O], read-only, from `find_rule_reasons`.
    reason
        uint8[O], written, as in `exclude_offers`.

    Returns
    -------
    int
        How many offers stay.
    """
    shift = np.uint64(customer)
    kept = 0
    for o in range(len(reason)):
        found = (
            (digits[0, o] >> shift & _ONE)
            | (digits[1, o] >> shift & _ONE) << np.uint64(1)
            | (digits[2, o] >> shift & _ONE) << np.uint64(2)
        )
        if treatment_index[o] < 0:
            found = np.uint64(REASON_NO_TREATMENT)
        if (now_s < valid_from_s[o]) | (now_s >= valid_to_s[o]):
            found = np.uint64(REASON_NOT_CURRENT)
        reason[o] = found
        kept += found == np.uint64(REASON_NONE)
    return kept


@inner_kernel(void(int64, _READ_U64_2D, READ_I32, WRITE_U8))
def read_truths(customer, planes, literals, truths):  # type: ignore[no-untyped-def]
    """Write the truths of some literals for one customer, as `evaluate_program` would.

    Parameters
    ----------
    customer
        Which one, below 64.
    planes
        uint64[T, 2], read-only, from `evaluate_planes`.
    literals
        int32[any], read-only.
    truths
        uint8[2 × T]: written at these literals; 0 false, 1 unknown, 2 true.
    """
    shift = np.uint64(customer)
    for i in range(len(literals)):
        literal = literals[i]
        own = planes[literal >> 1]
        truth = (own[0] >> shift & _ONE) + (own[1] >> shift & _ONE)
        truths[literal] = np.uint8(TRUTH_TRUE - truth if literal & 1 else truth)


KERNELS = (
    Kernel("evaluate_planes", evaluate_planes, ("values", "planes")),
    Kernel("find_rule_reasons", find_rule_reasons, ("digits",)),
    Kernel("exclude_by_digits", exclude_by_digits, ("reason",)),
    Kernel("read_truths", read_truths, ("truths",)),
)
