"""The kernels over a transaction's five entities against their slow twins."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instanter.kernels import velocities
from tests.oracles import velocities as oracle

MISSING = 0xFFFF_FFFF
NOW_MS = 1_700_000_000_000
HALF_LIFE_MS = 30 * 86_400_000
COUNT, SUM, MINIMUM, MAXIMUM, MEAN, LAST, TIME_SINCE_LAST, DISTINCT = range(1, 9)
NO_PROGRAM = (np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros((3, 26), int))
TRAVEL_SLOT = 0
RATE_SLOT = 12
VELOCITY_SLOT = 13


def _row(state_id, aggregation, slot, *, kind=1, window_s=3_200, field=0, is_number=1):
    tile_s = max(-(-window_s // 32), 2)
    if aggregation in (COUNT, TIME_SINCE_LAST):
        field = -1
    return (
        state_id, kind, aggregation, field, -1, 1000 * tile_s, -(-window_s // tile_s),
        1000 * window_s, is_number, 1, 0, 3 if aggregation in (SUM, MEAN) else 1, slot,
    )  # fmt: skip


def _plan():
    """Return plan, cuts and scales: 6 velocities of cards, 1 of customers, 3 of terminals."""
    rows = [
        _row(n, aggregation, VELOCITY_SLOT + n)
        for n, aggregation in enumerate((COUNT, SUM, MEAN, MINIMUM, TIME_SINCE_LAST))
    ]
    rows += [
        _row(7, DISTINCT, VELOCITY_SLOT + 5, field=1, is_number=0),
        _row(8, MAXIMUM, VELOCITY_SLOT + 6, window_s=10),
        _row(9, COUNT, VELOCITY_SLOT + 7, window_s=86_400),
        _row(10, COUNT, VELOCITY_SLOT + 8, kind=2, window_s=35 * 86_400),
        _row(11, COUNT, VELOCITY_SLOT + 9, kind=2, window_s=35 * 86_400),
    ]
    scale = np.ones(len(rows))
    scale[1] = 0.01
    return np.array(rows, np.int64), np.array([0, 6, 7, 10, 10, 10]), scale


PLAN, PLAN_CUT, SCALE = _plan()
FIGURES = VELOCITY_SLOT + len(PLAN)


def _event(time_ms, kind, amount, terminal):
    patterns = struct.unpack("<I", struct.pack("<f", amount))[0], terminal
    return np.frombuffer(struct.pack("<qII2I", time_ms, kind, 2, *patterns), np.int64)


def _count(module, words, cut, known, step, behaviour):
    time_ms, kind, amount, terminal, latitude = step
    out = np.zeros(len(PLAN) * 258 + 64, np.int64)
    out_cut = np.zeros(9, np.int64)
    module.count_transaction(
        words, cut, known, _event(time_ms, kind, amount, terminal), PLAN, PLAN_CUT, *NO_PROGRAM,
        behaviour, amount, 5411, time_ms, HALF_LIFE_MS, latitude, 8.0, out, out_cut,
    )  # fmt: skip
    return out[: out_cut[8]].copy(), out_cut


def _evaluate(module, words, cut, known, time_ms, latitude):
    figures = np.full(FIGURES, 7, np.uint32)
    module.evaluate_figures(
        time_ms, words, cut, known, PLAN, PLAN_CUT, SCALE, 12.5, 5411,
        HALF_LIFE_MS, latitude, 8.0, 50.0, 900.0, TRAVEL_SLOT, FIGURES - 2, figures,
    )  # fmt: skip
    return figures


def _same(ours, theirs):
    """Compare figures as numbers: oracles have other last bits in baselines."""
    assert ((ours == MISSING) == (theirs == MISSING)).all()
    assert ours[0] == theirs[0]
    numbers, others = ours[1:].view(np.float32), theirs[1:].view(np.float32)
    np.testing.assert_allclose(numbers, others, rtol=1e-5)


STEPS = st.lists(
    st.tuples(
        st.integers(NOW_MS, NOW_MS + 5_000_000),
        st.sampled_from((1, 1, 1, 2)),
        st.sampled_from((0.01, 10.0, 99.99, 1e6)),
        st.integers(0, 3),
        st.sampled_from((50.0, 50.1, -50.0, float("nan"))),
    ),
    max_size=12,
)
KNOWN = st.lists(st.booleans(), min_size=5, max_size=5)


@settings(max_examples=60, deadline=None)
@given(STEPS, KNOWN, st.integers(NOW_MS - 10_000, NOW_MS + 6_000_000))
def test_counting_and_evaluating_are_those_of_the_twins(steps, known, time_ms):
    known = np.array(known, np.uint8)
    words, cut = np.zeros(0, np.int64), np.zeros(9, np.int64)
    for number, step in enumerate(steps):
        behaviour = int(step[1] == 1 and number % 3 != 2)
        after, after_cut = _count(velocities, words, cut, known, step, behaviour)
        twin, twin_cut = _count(oracle, words, cut, known, step, behaviour)
        assert (after_cut == twin_cut).all()
        assert (after[: after_cut[5]] == twin[: twin_cut[5]]).all()
        np.testing.assert_allclose(
            after[after_cut[7] :].view(np.float64), twin[twin_cut[7] :].view(np.float64)
        )
        words, cut = after, after_cut
    for module_time in (time_ms, NOW_MS + 5_000_000):
        ours = _evaluate(velocities, words, cut, known, module_time, 50.0)
        _same(ours, _evaluate(oracle, words, cut, known, module_time, 50.0))


def test_figures_of_what_is_not_known_are_missing_and_not_zero():
    known = np.array([1, 0, 0, 0, 0], np.uint8)
    figures = _evaluate(velocities, np.zeros(0, np.int64), np.zeros(9, int), known, NOW_MS, 50.0)
    assert figures[VELOCITY_SLOT] == 0, "the card has no transaction"
    assert figures[VELOCITY_SLOT + 6] == MISSING, "the customer is not known"
    assert figures[TRAVEL_SLOT + 7] == 0
    assert figures[TRAVEL_SLOT + 11] == MISSING
    assert figures[RATE_SLOT] == MISSING


@pytest.mark.parametrize("labels", [1, 3])
def test_the_share_of_frauds_is_that_of_a_terminals_labels(labels):
    known = np.array([0, 0, 1, 0, 0], np.uint8)
    words, cut = np.zeros(0, np.int64), np.zeros(9, np.int64)
    for _ in range(labels):
        words, cut = _count(velocities, words, cut, known, (NOW_MS, 2, 1.0, 1, np.nan), 0)
    figures = _evaluate(velocities, words, cut, known, NOW_MS, np.nan)
    # Both velocities of this plan count all labels.
    assert figures.view(np.float32)[RATE_SLOT] == 1.0
    assert figures.view(np.float32)[FIGURES - 1] == labels


def test_a_label_leaves_baselines_and_place_as_they_are():
    known = np.ones(5, np.uint8)
    words, cut = np.zeros(0, np.int64), np.zeros(9, np.int64)
    words, cut = _count(velocities, words, cut, known, (NOW_MS, 1, 5.0, 1, 50.0), 1)
    after, after_cut = _count(velocities, words, cut, known, (NOW_MS, 2, 5.0, 1, 50.0), 0)
    assert (after[after_cut[5] :] == words[cut[5] :]).all()
    assert after_cut[8] - after_cut[5] == 16 + 16 + 3


@pytest.mark.parametrize("time_ms", [NOW_MS, NOW_MS + 2_000_000, NOW_MS + 10_000_000])
def test_velocities_of_one_entity_are_those_of_the_twin(time_ms):
    known = np.ones(5, np.uint8)
    words, cut = np.zeros(0, np.int64), np.zeros(9, np.int64)
    for step in ((NOW_MS, 1, 12.5, 3, np.nan), (NOW_MS + 900_000, 1, 7.25, 4, np.nan)):
        words, cut = _count(velocities, words, cut, known, step, 0)

    def run(module):
        figures = np.full(FIGURES, 7, np.uint32)
        module.evaluate_velocities(time_ms, words, 0, cut[1], 0, 6, PLAN, SCALE, figures)
        return figures

    assert (run(velocities) == run(oracle)).all()
