"""Rules on many customers at once against their slow twins, and against one customer alone."""

import numpy as np
import pytest

from instanter.kernels import eligibility_planes as planes_of
from instanter.kernels.arbitration import exclude_offers
from instanter.kernels.eligibility import evaluate_program
from tests.kernels.test_eligibility import _frozen, _program, _row
from tests.oracles import eligibility_planes as oracle

SEEDS = range(6)
NOW_S = 1.5e9


def _bits(count):
    return np.uint64((1 << count) - 1)


def _draw_turn(draw, count, slot_count):
    slots = np.array([_row(draw, slot_count) for _ in range(count)], np.uint32)
    context = np.array([_row(draw, 12 - slot_count) for _ in range(count)], np.uint32)
    return (
        _frozen(slots.reshape(count, slot_count), np.uint32),
        _frozen(context.reshape(count, 12 - slot_count), np.uint32),
    )


def _evaluate(module, count, slots, context, program):
    size = len(program[0]) + len(program[1]) + len(program[3])
    values = np.full((size, -(-max(count, 1) // 8) * 8), -7.0)
    found = np.zeros((len(program[6]) + len(program[10]) - 1, 2), np.uint64)
    module.evaluate_planes(count, slots, context, NOW_S, *program, values, found)
    return values[:, :count], found & _bits(count)


@pytest.mark.parametrize("size", [0, 1, 2, 30])
@pytest.mark.parametrize("count", [0, 1, 2, 8, 17, 64])
@pytest.mark.parametrize("slot_count", [0, 5, 12])
@np.errstate(all="ignore")
def test_a_program_gives_what_the_oracle_gives(size, count, slot_count):
    draw = np.random.default_rng([size, count, slot_count])
    program = _program(draw, size)
    slots, context = _draw_turn(draw, count, slot_count)
    values, found = _evaluate(planes_of, count, slots, context, program)
    values_wanted, wanted = _evaluate(oracle, count, slots, context, program)
    np.testing.assert_array_equal(values, values_wanted)
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("seed", SEEDS)
@np.errstate(all="ignore")
def test_every_customer_gets_what_they_get_alone(seed):
    draw = np.random.default_rng(seed)
    program, count, offers = _program(draw, 30), 40, 25
    slots, context = _draw_turn(draw, count, 9)
    _, found = _evaluate(planes_of, count, slots, context, program)
    literals = 2 * len(found)
    rules = _frozen(draw.integers(-1, literals, (3, offers)), np.int32)
    treatment = _frozen(draw.integers(-1, 3, offers), np.int16)
    begins = _frozen(
        draw.choice([-np.inf, NOW_S, NOW_S + 1], offers, p=[0.8, 0.1, 0.1]), np.float64
    )
    ends = _frozen(draw.choice([np.inf, NOW_S, NOW_S + 1], offers, p=[0.8, 0.1, 0.1]), np.float64)
    digits = np.zeros((3, offers), np.uint64)
    planes_of.find_rule_reasons(found, rules, digits)
    asked = _frozen(draw.integers(0, literals, 30), np.int32)
    for customer in range(count):
        size = len(program[0]) + len(program[1]) + len(program[3])
        truths = np.zeros(literals, np.uint8)
        evaluate_program(
            slots[customer], context[customer], NOW_S, *program, np.zeros(size), truths
        )
        reason, wanted = np.zeros(offers, np.uint8), np.zeros(offers, np.uint8)
        kept = planes_of.exclude_by_digits(NOW_S, customer, digits, treatment, begins, ends, reason)
        assert kept == exclude_offers(NOW_S, truths, rules, treatment, begins, ends, wanted)
        assert reason.tolist() == wanted.tolist()
        some = np.full(literals, 9, np.uint8)
        planes_of.read_truths(customer, found, asked, some)
        assert some[asked].tolist() == truths[asked].tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_reasons_and_truths_are_those_of_the_oracle(seed):
    draw = np.random.default_rng(seed)
    certain = draw.integers(0, 2**64, 40, np.uint64)
    pairs = np.column_stack([certain, certain | draw.integers(0, 2**64, 40, np.uint64)])
    planes = _frozen(np.ascontiguousarray(pairs), np.uint64)
    rules = _frozen(draw.integers(-1, 80, (3, 20)), np.int32)
    treatment, moments = _frozen(draw.integers(-1, 2, 20), np.int16), draw.uniform(0, 2, (2, 20))
    literals = _frozen(draw.integers(0, 80, 9), np.int32)
    results = []
    for module in (planes_of, oracle):
        digits = np.full((3, 20), 7, np.uint64)
        module.find_rule_reasons(planes, rules, digits)
        found = [digits.tolist()]
        for customer in (0, 1, 63):
            reason, truths = np.zeros(20, np.uint8), np.full(80, 9, np.uint8)
            kept = module.exclude_by_digits(
                1.0, customer, digits, treatment, moments[0], moments[1], reason
            )
            module.read_truths(customer, planes, literals, truths)
            found.append((kept, reason.tolist(), truths.tolist()))
        results.append(found)
    assert results[0] == results[1]
