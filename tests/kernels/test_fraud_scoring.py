"""The pass over all rules against its slow twin."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from instanter.catalogue.derivation_plan import pack_programs
from instanter.catalogue.program_builder import SOURCE_CONTEXT_NUMBER, ProgramBuilder
from instanter.kernels import fraud_scoring
from tests.oracles import fraud_scoring as oracle

MISSING = 0xFFFF_FFFF
NOW_S = 1_700_000_000.0
OPEN_S = float(1 << 53)

RULES = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.floats(0, 100),
        st.sampled_from((0, 2, 3)),
        st.sampled_from((0.0, NOW_S - 1, NOW_S, NOW_S + 1)),
        st.sampled_from((OPEN_S, NOW_S, NOW_S + 1)),
        st.booleans(),
    ),
    max_size=20,
)


def _columns(rules):
    types = (np.int32, np.float64, np.uint8, np.float64, np.float64, np.uint8)
    columns = zip(*rules, strict=True) if rules else [[]] * 6
    return [np.array(list(c), t) for c, t in zip(columns, types, strict=True)]


def _same(found, twin):
    (count, fired, totals), (twin_count, twin_fired, twin_totals) = found, twin
    assert count == twin_count
    assert (fired[:count] == twin_fired[:count]).all()
    np.testing.assert_allclose(totals, twin_totals)


@settings(deadline=None)
@given(RULES, st.lists(st.sampled_from((0, 1, 2)), min_size=6, max_size=6))
def test_find_fired_is_that_of_its_twin(rules, truths):
    truths = np.array(truths, np.uint8)
    columns = _columns(rules)

    def run(module):
        fired, totals = np.zeros(len(rules), np.int32), np.full(2, 7.0)
        return module.find_fired(truths, *columns, NOW_S, fired, totals), fired, totals

    _same(run(fraud_scoring), run(oracle))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(-5, 5), st.booleans()), max_size=30),
    st.lists(st.floats(-5, 5, width=32) | st.none(), min_size=3, max_size=3),
)
def test_score_rules_is_that_of_its_twin(rules, numbers):
    builder = ProgramBuilder()
    roots = [
        builder.interval(builder.input(SOURCE_CONTEXT_NUMBER, slot), low, low + 3.0)
        for slot, low, _ in rules
    ]
    program, literals = builder.build(roots)
    packed = pack_programs({0: program}, 0)
    figures = np.array([0 if n is None else n for n in numbers], np.float32).view(np.uint32)
    figures[[n is None for n in numbers]] = MISSING
    columns = _columns(
        [(x, 10.0, 2, 0.0, OPEN_S, r[2]) for x, r in zip(literals, rules, strict=True)]
    )

    def run(module):
        fired, totals = np.zeros(len(rules), np.int32), np.full(2, 7.0)
        scratch = np.zeros(program.value_count), np.zeros(program.truth_count, np.uint8)
        count = module.score_rules(
            np.zeros(0, np.uint32), figures, NOW_S, packed.f64, packed.i32, packed.u8,
            packed.cut[0], *columns, *scratch, fired, totals,
        )  # fmt: skip
        return count, fired, totals

    _same(run(fraud_scoring), run(oracle))


def test_gather_features_is_that_of_its_twin():
    figures = np.array([0, 1, MISSING, 7], np.uint32)
    figures.view(np.float32)[0] = -2.5
    slot, is_code = np.array([3, 0, 2, 1, 2], np.int32), np.array([1, 0, 0, 1, 1], np.uint8)
    found, twin = np.zeros(5, np.float32), np.zeros(5, np.float32)
    fraud_scoring.gather_features(figures, slot, is_code, found)
    oracle.gather_features(figures, slot, is_code, twin)
    np.testing.assert_array_equal(found, twin)
    np.testing.assert_array_equal(found, np.array([7, -2.5, np.nan, 1, np.nan], np.float32))
