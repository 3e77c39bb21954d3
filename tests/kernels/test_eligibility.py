"""The kernels of eligibility rules against their slow twins."""

import numpy as np
import pytest

from instanter.kernels import eligibility
from tests.oracles import eligibility as oracle

MISSING = 0xFFFF_FFFF
SEEDS = range(8)


def _frozen(values, dtype):
    array = np.asarray(values, dtype)
    array.setflags(write=False)
    return array


def _row(draw, count):
    row = draw.normal(size=count).astype(np.float32).view(np.uint32)
    small = draw.random(count) < 0.4
    row = np.where(small, draw.integers(0, 4, count), row).astype(np.uint32)
    row[draw.random(count) < 0.25] = MISSING
    return _frozen(row, np.uint32)


def _program(draw, size):
    """Return the arrays of a random program, in the order of `RuleProgram`."""
    constants = draw.choice([0.0, 1.0, -2.5, 1e300], size)
    inputs = 2 * size
    terms = size
    base = size + inputs
    ends = np.sort(draw.choice([-np.inf, -1.0, 0.0, 1.0, 2.0, np.inf], (2, 3 * size)), axis=0)
    predicates = 3 * size
    counts = draw.integers(0, 5, size)
    literals = [
        int(literal)
        for node, count in enumerate(counts)
        for literal in draw.integers(0, max(2 * (predicates + node), 1), count)
    ]
    return (
        _frozen(constants, np.float64),
        _frozen(draw.integers(0, 12, inputs), np.int32),
        _frozen(draw.integers(0, 5, inputs), np.uint8),
        _frozen(draw.integers(0, 5, terms), np.uint8),
        _frozen([draw.integers(0, base + i) for i in range(terms)], np.int32),
        _frozen([draw.integers(0, base + i) for i in range(terms)], np.int32),
        _frozen(draw.integers(0, max(base + terms, 1), predicates), np.int32),
        _frozen(ends[0], np.float64),
        _frozen(ends[1], np.float64),
        _frozen(draw.integers(0, 2, predicates), np.uint8),
        _frozen([0, *np.cumsum(counts)], np.int32),
        _frozen(literals, np.int32),
    )


def _evaluate(module, row, context, program):
    constants, inputs, terms = program[0], program[1], program[3]
    predicates, starts = program[6], program[10]
    values = np.full(len(constants) + len(inputs) + len(terms), -7.0)
    truths = np.full(2 * (len(predicates) + len(starts) - 1), 9, np.uint8)
    module.evaluate_program(row, context, 1.5e9, *program, values, truths)
    return values, truths


@pytest.mark.parametrize("size", [0, 1, 2, 30])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("slot_count", [0, 5, 12])
@np.errstate(all="ignore")
def test_a_program_gives_what_the_oracle_gives(size, seed, slot_count):
    draw = np.random.default_rng([size, seed, slot_count])
    program = _program(draw, size)
    row, context = _row(draw, slot_count), _row(draw, 12 - slot_count)
    values, truths = _evaluate(eligibility, row, context, program)
    values_wanted, truths_wanted = _evaluate(oracle, row, context, program)
    np.testing.assert_array_equal(values, values_wanted)
    assert truths.tolist() == truths_wanted.tolist()
    assert set(truths.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("module", [eligibility, oracle])
def test_a_slot_reads_as_its_source_says(module):
    number = np.float32(2.5).view(np.uint32)
    row = _frozen([number, 7, MISSING, 0x7FC0_0000], np.uint32)
    values = np.zeros(10)
    slots = _frozen([0, 1, 2, 3, 99, 0, 1, 2, 9, 0], np.int32)
    sources = _frozen([0, 1, 1, 0, 0, 2, 3, 3, 2, 4], np.uint8)
    module.load_inputs(row, row, 12.25, slots, sources, 0, values)
    nan = np.nan
    np.testing.assert_array_equal(values, [2.5, 7, nan, nan, nan, 2.5, 7, nan, nan, 12.25])


@pytest.mark.parametrize("module", [eligibility, oracle])
@pytest.mark.parametrize(
    ("operation", "a", "b", "result"),
    [
        (0, 1.0, 2.0, 3.0),
        (1, 1.0, 2.0, -1.0),
        (2, 1.5, 2.0, 3.0),
        (3, 1.0, 4.0, 0.25),
        (3, 1.0, 0.0, np.nan),
        (3, -1.0, 0.0, np.nan),
        (3, 0.0, 0.0, np.nan),
        (4, 3.0, 3.0, -3.0),
        (0, np.nan, 1.0, np.nan),
        (2, np.inf, 0.0, np.nan),
    ],
)
@np.errstate(all="ignore")
def test_arithmetic_is_that_of_doubles_but_for_a_division_by_zero(module, operation, a, b, result):
    values = np.array([a, b, 0.0])
    first, second = _frozen([0], np.int32), _frozen([1], np.int32)
    module.compute_terms(_frozen([operation], np.uint8), first, second, 2, values)
    np.testing.assert_array_equal(values[2], result)


@pytest.mark.parametrize("module", [eligibility, oracle])
@pytest.mark.parametrize(
    ("value", "missing", "truth"),
    [(0.999, 1, 0), (1.0, 1, 2), (2.0, 1, 2), (2.001, 1, 0), (np.nan, 1, 1), (np.nan, 0, 0)],
)
def test_both_ends_of_an_interval_belong_to_it(module, value, missing, truth):
    truths = np.zeros(2, np.uint8)
    module.evaluate_predicates(
        _frozen([0], np.int32),
        _frozen([1.0], np.float64),
        _frozen([2.0], np.float64),
        _frozen([missing], np.uint8),
        _frozen([value], np.float64),
        truths,
    )
    assert truths.tolist() == [truth, 2 - truth]


@pytest.mark.parametrize("module", [eligibility, oracle])
@pytest.mark.parametrize("a", [0, 1, 2])
@pytest.mark.parametrize("b", [0, 1, 2])
def test_a_node_is_kleenes_and(module, a, b):
    truths = np.array([a, 2 - a, b, 2 - b, 9, 9], np.uint8)
    module.evaluate_nodes(_frozen([0, 2], np.int32), _frozen([0, 2], np.int32), truths)
    assert truths[4:].tolist() == [min(a, b), 2 - min(a, b)]


def test_a_node_without_operands_is_true():
    truths = np.zeros(2, np.uint8)
    eligibility.evaluate_nodes(_frozen([0, 0], np.int32), _frozen([], np.int32), truths)
    assert truths.tolist() == [2, 0]


def test_rows_that_may_be_written_are_taken_too():
    program = _program(np.random.default_rng(1), 3)
    row = np.full(12, MISSING, np.uint32)
    assert len(_evaluate(eligibility, row, row, program)[1])
