"""The scoring kernels against their slow twins: equal to the last bit, for every number of rows."""

import numpy as np
import pytest

from instanter.kernels import propensity
from tests.oracles import propensity as oracle

INT16 = np.iinfo(np.int16)


def _total(module, weight, rows, base, context_base, known):
    total = np.full(weight.shape[1], 77, np.int32)
    module.score_rows(weight, rows, len(rows), base, context_base, known, total)
    return total.tolist()


@pytest.mark.parametrize("row_count", [0, 1, 7, 8, 9, 1000])
@pytest.mark.parametrize("column_count", [32, 224])
@pytest.mark.parametrize("known", [True, False])
def test_totals_are_those_of_the_oracle(row_count, column_count, known):
    draw = np.random.default_rng(row_count)
    weight = draw.integers(INT16.min, INT16.max + 1, (500, column_count)).astype(np.int16)
    rows = draw.integers(0, 500, row_count).astype(np.int32)
    base, context_base = draw.integers(-(10**6), 10**6, (2, column_count)).astype(np.int32)
    for array in (weight, rows, base, context_base):
        array.setflags(write=False)
    found = _total(propensity, weight, rows, base, context_base, known)
    assert found == _total(oracle, weight, rows, base, context_base, known)


@pytest.mark.parametrize("extreme", [INT16.min, INT16.max])
def test_totals_of_the_largest_weights_do_not_overflow(extreme):
    weight = np.full((2, 32), extreme, np.int16)
    rows = np.ones(2000, np.int32)
    none = np.zeros(32, np.int32)
    assert _total(propensity, weight, rows, none, none, True) == [2000 * int(extreme)] * 32


def test_the_order_of_rows_does_not_matter():
    draw = np.random.default_rng(5)
    weight = draw.integers(-3000, 3000, (100, 32)).astype(np.int16)
    rows = np.arange(100, dtype=np.int32)
    none = np.zeros(32, np.int32)
    shuffled = draw.permutation(rows)
    assert _total(propensity, weight, rows, none, none, True) == _total(
        propensity, weight, shuffled, none, none, True
    )


@pytest.mark.parametrize("known", [True, False])
def test_propensities_are_those_of_the_oracle(known):
    draw = np.random.default_rng(2)
    total = draw.integers(-(10**7), 10**7, 32).astype(np.int32)
    columns = [draw.uniform(1e-6, 1e-3, 32), *draw.normal(-2, 1, (2, 32))]
    knot_x = np.cumsum(draw.uniform(0.1, 1, (32, 5)), axis=1) - 3
    knot_y = np.cumsum(draw.uniform(0.0, 1, (32, 5)), axis=1) - 4
    for column in range(32):
        given = (column, total, known, *columns, knot_x, knot_y)
        found = propensity.propensity_of(*given)
        assert found == pytest.approx(oracle.propensity_of(*given), rel=1e-12)
        assert 0.0 < found < 1.0


@pytest.mark.parametrize("column_count", [32, 224])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_totals_of_a_turn_are_those_of_the_oracle_however_the_table_is_cut(column_count, count):
    draw = np.random.default_rng(count)
    table_rows = 3 * propensity.BLOCK_SIZE_BYTES // (2 * column_count) + 5
    weight = draw.integers(INT16.min, INT16.max + 1, (table_rows, column_count)).astype(np.int16)
    row_count = np.array([0, 1, 7, 8, 1000][:count], np.int64)
    rows = np.sort(draw.integers(0, table_rows, (count, 1000)), axis=1).astype(np.int32)
    base, context_base = draw.integers(-(10**6), 10**6, (2, column_count)).astype(np.int32)
    known = np.array([1, 0, 1, 0, 1][:count], np.uint8)
    results = []
    for module in (propensity, oracle):
        total = np.full((count, column_count), 77, np.int32)
        module.score_turn(weight, rows, row_count, base, context_base, known, total)
        results.append(total.tolist())
    assert results[0] == results[1]


@pytest.mark.parametrize("known", [True, False])
def test_propensities_are_found_where_the_offer_stays(known):
    draw = np.random.default_rng(3)
    reason = draw.integers(0, 2, 32).astype(np.uint8)
    total = draw.integers(-(10**7), 10**7, 32).astype(np.int32)
    columns = [draw.uniform(1e-6, 1e-3, 32), *draw.normal(-2, 1, (2, 32))]
    knot_x = np.cumsum(draw.uniform(0.1, 1, (32, 5)), axis=1) - 3
    knot_y = np.cumsum(draw.uniform(0.0, 1, (32, 5)), axis=1) - 4
    found, wanted = np.full(32, 9.0), np.full(32, 9.0)
    propensity.find_propensities(reason, total, known, *columns, knot_x, knot_y, found)
    oracle.find_propensities(reason, total, known, *columns, knot_x, knot_y, wanted)
    assert found == pytest.approx(wanted, rel=1e-12)
    assert (found[reason != 0] == 9.0).all()
