"""Slow twins of `kernels/eligibility_planes`: one customer after the other, then one bit each."""

import numpy as np

from tests.oracles import arbitration, eligibility


def evaluate_planes(
    count, slots, context, now_s, constants, input_slot, input_source, term_op, term_a, term_b,
    predicate_value, predicate_low, predicate_high, predicate_missing, node_start, node_literal,
    values, planes,
):  # fmt: skip
    """The program for each customer alone; only their bits are written."""
    planes[:] = 0
    for c in range(count):
        truths = np.zeros(2 * len(planes), np.uint8)
        eligibility.evaluate_program(
            slots[c], context[c], now_s, constants, input_slot, input_source, term_op, term_a,
            term_b, predicate_value, predicate_low, predicate_high, predicate_missing, node_start,
            node_literal, values[:, c], truths,
        )  # fmt: skip
        for t, truth in enumerate(truths[::2].tolist()):
            planes[t, 0] |= np.uint64((truth == 2) << c)
            planes[t, 1] |= np.uint64((truth >= 1) << c)


def _truths(planes, customer):
    """All truths of one customer, each followed by its inverse."""
    bit = [[int(word) >> customer & 1 for word in pair] for pair in planes]
    return np.array([t for a, b in bit for t in (a + b, 2 - a - b)], np.uint8)


def find_rule_reasons(planes, rule_literal, digits):
    """The reason of each offer, digit by digit; nothing else stops one."""
    offers = rule_literal.shape[1]
    digits[:] = 0
    for customer in range(64):
        reason = np.zeros(offers, np.uint8)
        arbitration.exclude_offers(
            0.0,
            _truths(planes, customer),
            rule_literal,
            np.zeros(offers, np.int16),
            np.full(offers, -np.inf),
            np.full(offers, np.inf),
            reason,
        )
        for d in range(3):
            digits[d] |= np.array([(int(r) >> d & 1) << customer for r in reason], np.uint64)


def exclude_by_digits(now_s, customer, digits, treatment_index, valid_from_s, valid_to_s, reason):
    """Not current, no treatment, then what the rules say."""
    for o in range(len(reason)):
        if not valid_from_s[o] <= now_s < valid_to_s[o]:
            reason[o] = 1
        elif treatment_index[o] < 0:
            reason[o] = 2
        else:
            reason[o] = sum((int(digits[d, o]) >> customer & 1) << d for d in range(3))
    return int((reason == 0).sum())


def read_truths(customer, planes, literals, truths):
    """Those that are asked for."""
    found = _truths(planes, customer)
    for literal in literals:
        truths[literal] = found[literal]
