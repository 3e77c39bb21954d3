"""The kernels of derived attributes against their slow twins."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.kernels import derived, derived_state
from tests.oracles import derived as read_oracle
from tests.oracles import derived_state as oracle

MISSING = 0xFFFF_FFFF
DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000
COUNT, SUM, MINIMUM, MAXIMUM, MEAN, LAST, TIME_SINCE_LAST, DISTINCT = range(1, 9)
NO_CUT = np.zeros((3, 26), np.int64)
NO_F64, NO_I32, NO_U8 = np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.uint8)


def _frozen(values, dtype, shape=None):
    array = np.array(values, dtype)
    array = array if shape is None else array.reshape(shape)
    array.setflags(write=False)
    return array


def _row(state_id, aggregation, *, kind=1, literal=-1, field=0, window_s=3_200, half_life_s=0,
         is_number=1, is_hashed=1, is_exact=0):  # fmt: skip
    if aggregation in (COUNT, TIME_SINCE_LAST):
        field = -1
    if half_life_s:
        tile_s, kept, width = half_life_s, 16, 2 if aggregation == COUNT else 4
        window_s = 0
    else:
        tile_s = -(-window_s // 32)
        kept, width = -(-window_s // tile_s), 3 if aggregation in (SUM, MEAN) else 1
    return (
        state_id, kind, aggregation, field, literal, 1000 * tile_s, kept, 1000 * window_s,
        is_number, is_hashed, is_exact, width, state_id - 1,
    )  # fmt: skip


def _plan(*rows):
    return _frozen(rows, np.int64, (-1, derived_state.PLAN_COUNT))


ALL = _plan(
    *(_row(n, n) for n in range(1, 9)),
    _row(9, COUNT, half_life_s=600),
    _row(10, SUM, half_life_s=600),
    _row(11, MEAN, half_life_s=600),
    _row(12, DISTINCT, field=1, is_number=0, is_hashed=0, is_exact=1, window_s=60),
    _row(13, LAST, field=1, is_number=0),
    _row(14, MINIMUM, field=1, is_number=0),
    _row(15, MAXIMUM, field=1, is_number=0, kind=2),
    _row(16, SUM, window_s=90 * 86_400),
)
HALF_LIVES = (9, 10, 11)


def _number(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def _events(events):
    """Return the words of (time in ms, kind, patterns) triples."""
    packed = b"".join(
        struct.pack(f"<qII{len(patterns)}I", time_ms, kind, len(patterns), *patterns)
        + b"\0" * (4 * (len(patterns) & 1))
        for time_ms, kind, patterns in events
    )
    return _frozen(np.frombuffer(packed, np.int64), np.int64)


def _apply(module, state, events, plan, program=(NO_F64, NO_I32, NO_U8, NO_CUT), never_back=0):
    out = np.full(len(plan) * 258 + 8, -7, np.int64)
    words = _events(events)
    size = module.apply_events(_frozen(state, np.int64), words, plan, *program, never_back, out)
    assert (out[size:] == -7).all() or size
    return out[:size].tolist()


def _evaluate(module, states, plan, ratios, now_s):
    start = np.cumsum([0, *map(len, states)], dtype=np.int64)
    words = _frozen([word for state in states for word in state], np.int64)
    slots = np.full((len(states) + 1, 24), 5, np.uint32)
    divided = _frozen(ratios, np.int64, (-1, 3))
    module.evaluate_derived(len(states), now_s, words, start, plan, divided, slots)
    return slots


numbers = st.one_of(
    st.sampled_from([0.0, -1.0, 1.5, 3e38, -3e38, 1e-7, 250.25]),
    st.floats(-1e6, 1e6, width=32),
)
times = st.one_of(
    st.integers(NOW_MS - 100_000, NOW_MS),
    st.integers(NOW_MS - 100 * DAY_MS, NOW_MS),
    st.integers(-40, 0).map(lambda tile: NOW_MS - NOW_MS % 100_000 + tile * 100_000),
    st.just(0),
)
patterns = st.tuples(
    st.one_of(numbers.map(_number), st.just(MISSING)),
    st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 2), st.just(MISSING)),
)
some_events = st.lists(
    st.tuples(times, st.sampled_from([1, 1, 1, 2]), patterns.flatmap(
        lambda p: st.sampled_from([p, p, p[:1], ()])
    )), max_size=40,
)  # fmt: skip


def _assert_same_state(found, wanted):
    found, wanted = oracle.decode(found), oracle.decode(wanted)
    assert found.keys() == wanted.keys()
    for state_id, block in wanted.items():
        if state_id in HALF_LIVES:
            assert found[state_id][0] == block[0]
            np.testing.assert_allclose(found[state_id][1], block[1], rtol=1e-15, atol=40)
        else:
            assert found[state_id] == block, state_id


@given(some_events, some_events, st.integers(0, 1))
def test_events_leave_the_state_that_the_oracle_leaves(first, second, never_back):
    kernel = _apply(derived_state, [], first, ALL, never_back=never_back)
    twin = _apply(oracle, [], first, ALL, never_back=never_back)
    _assert_same_state(kernel, twin)
    _assert_same_state(
        _apply(derived_state, kernel, second, ALL, never_back=never_back),
        _apply(oracle, twin, second, ALL, never_back=never_back),
    )


@given(some_events, st.randoms(use_true_random=False), st.integers(0, 40))
def test_the_same_events_in_any_order_and_portions_leave_the_same_bytes(events, draw, cut):
    wanted = _apply(derived_state, [], events, ALL)
    shuffled = list(events)
    draw.shuffle(shuffled)
    found = _apply(derived_state, [], shuffled[:cut], ALL)
    assert _apply(derived_state, found, shuffled[cut:], ALL) == wanted


@given(some_events, st.integers(-1_000, 60 * DAY_MS // 1000))
def test_a_state_says_what_the_oracle_reads_from_it(events, later_s):
    ratios = [(20, 1, 0), (21, 0, 1), (22, 4, 10)]
    states = [_apply(derived_state, [], part, ALL) for part in (events, [], events[::2])]
    now_s = NOW_MS / 1000 + later_s + 0.25
    found = _evaluate(derived, states, ALL, ratios, now_s)
    wanted = _evaluate(read_oracle, states, ALL, ratios, now_s)
    assert (found[-1] == 5).all(), "a row beyond the count was written"
    coded = {12 - 1: 0, 13 - 1: 1, 14 - 1: 1, 15 - 1: 1}
    for slot in range(24):
        if coded.get(slot):
            assert found[:, slot].tolist() == wanted[:, slot].tolist(), slot
            continue
        assert ((found[:, slot] == MISSING) == (wanted[:, slot] == MISSING)).all(), slot
        np.testing.assert_allclose(
            found[:, slot].view(np.float32),
            wanted[:, slot].view(np.float32),
            rtol=1e-5,
            err_msg=str(slot),
        )


@pytest.mark.parametrize("module", [derived_state, oracle])
def test_a_condition_counts_only_what_is_true(module):
    # One comparison: field 0 within [10, 20], and its inverse; a missing value is unknown.
    f64 = _frozen([10.0, 20.0], np.float64)
    i32 = _frozen([0, 0, 0], np.int32)
    u8 = _frozen([2, 1], np.uint8)
    cut = np.zeros((3, 26), np.int64)
    starts = [0, 0, 0, 1, 1, 1, 1, 0, 1, 1, 2, 3]
    ends = [0, 1, 1, 1, 1, 1, 2, 1, 2, 2, 3, 3]
    cut[1] = [*starts, *ends, 1, 2]
    plan = _plan(_row(3, COUNT, literal=0), _row(5, COUNT, literal=1), _row(7, COUNT))
    values = [_number(v) for v in (9.0, 10.0, 15.0, 20.0, 21.0)]
    events = [(NOW_MS, 1, (v,)) for v in (*values, MISSING)]
    state = oracle.decode(_apply(module, [], events, plan, (f64, i32, u8, _frozen(cut, np.int64))))
    assert {state_id: block[1][0] & 0xFFFF_FFFF for state_id, block in state.items()} == {
        3: 3, 5: 2, 7: 6,
    }  # fmt: skip


@pytest.mark.parametrize("module", [derived_state, oracle])
def test_a_state_keeps_its_blocks_when_the_plan_changes_around_them(module):
    events = [(NOW_MS - 1000, 1, (_number(2.0), 4)), (NOW_MS, 1, (_number(3.0), 5))]
    old = _plan(_row(2, SUM), _row(4, COUNT), _row(6, LAST))
    new = _plan(_row(1, MEAN), _row(4, COUNT), _row(5, MAXIMUM), _row(9, COUNT))
    before = oracle.decode(_apply(module, [], events, old))
    after = oracle.decode(_apply(module, _apply(module, [], events, old), events[:1], new))
    assert sorted(before) == [2, 4, 6]
    assert sorted(after) == [1, 4, 5, 9]
    assert sum(word & 0xFFFF_FFFF for word in after[4][1]) == 3


@pytest.mark.parametrize("module", [derived_state, oracle])
def test_sums_stop_at_their_limit_whatever_the_order(module):
    plan = _plan(_row(1, SUM))
    huge, small = _number(3e38), _number(-1.0)
    events = [(NOW_MS, 1, (p,)) for p in (huge, small, huge, small)]
    assert _apply(module, [], events, plan)[-2:] == [2**63 - 1, 2 * 2**20]
    assert _apply(module, [], events[::-1], plan)[-2:] == [2**63 - 1, 2 * 2**20]


@pytest.mark.parametrize("module", [derived_state, oracle])
def test_a_state_has_a_bound(module):
    draw = np.random.default_rng(5)
    plan = _plan(_row(1, DISTINCT), _row(2, SUM), _row(3, MEAN, half_life_s=60))
    events = [
        (int(t), 1, (int(v),))
        for t, v in zip(
            draw.integers(NOW_MS - 4_000_000, NOW_MS, 2_000),
            draw.integers(0, 0x7F80_0000, 2_000),
            strict=True,
        )
    ]
    state: list[int] = []
    for at in range(0, 2_000, 500):
        state = _apply(module, state, events[at : at + 500], plan)
    sizes = [len(block[1]) for block in oracle.decode(state).values()]
    assert sizes[0] <= 256
    assert sizes[1] <= 33 * 3
    assert sizes[2] <= 17 * 4


def test_distinct_values_are_estimated_within_the_error_that_is_told():
    draw = np.random.default_rng(11)
    plan = _plan(_row(1, DISTINCT))
    for count, tolerance in [(0, 0), (1, 0.01), (20, 0.1), (256, 0.06), (1_000, 0.12)]:
        errors = []
        for _ in range(20):
            values = draw.choice(0x7F80_0000, count, replace=False)
            state: list[int] = []
            for at in range(0, count, 250):
                events = [(NOW_MS, 1, (int(v),)) for v in values[at : at + 250]]
                state = _apply(derived_state, state, events, plan)
            found = _evaluate(derived, [state], plan, [], NOW_MS / 1000)[0, 0]
            errors.append(found.view(np.float32) - count)
        assert np.sqrt(np.mean(np.square(errors))) <= 1.3 * tolerance * count


@pytest.mark.parametrize("module", [derived_state, oracle])
def test_powers_of_two_are_right(module):
    for x in np.linspace(0, 1, 4_001):
        assert module.raise_two(float(x)) == pytest.approx(2.0**x, rel=4e-16, abs=0)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, -1e300, math.inf, -math.inf, math.nan])
def test_write_number_is_that_of_its_twin(value):
    found, twin = np.full(3, 7, np.uint32), np.full(3, 7, np.uint32)
    derived.write_number(found, 1, value)
    read_oracle.write_number(twin, 1, value)
    assert (found == twin).all()


@pytest.mark.parametrize("index", range(len(ALL)))
def test_evaluate_block_is_that_of_its_twin(index):
    row = ALL[index : index + 1]
    kind = int(row[0, derived_state.PLAN_KIND])
    events = [(NOW_MS + 700 * n, kind, (_number(1.5 * n - 2.0), n)) for n in range(5)]
    state = _frozen(_apply(derived_state, (), events, row), np.int64)
    for now_ms in (NOW_MS, NOW_MS + 10_000, NOW_MS + 100 * DAY_MS):
        found, twin = np.full(len(ALL), 7, np.uint32), np.full(len(ALL), 7, np.uint32)
        derived.evaluate_block(state, 2, len(state), row[0], now_ms, found)
        read_oracle.evaluate_block(state, 2, len(state), row[0], now_ms, twin)
        np.testing.assert_allclose(found.view(np.float32), twin.view(np.float32), rtol=1e-6)
