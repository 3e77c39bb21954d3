"""Baselines against their slow twins, and what one may expect of them."""

import math

import numpy as np
import pytest

from instanter.kernels import baselines
from tests.oracles import baselines as oracle

DAY_MS = 86_400_000
HALF_LIFE_MS = 30 * DAY_MS
START_MS = 1_528_675_200_000


def make_transactions(count, seed):
    draw = np.random.default_rng(seed)
    times = START_MS + np.sort(draw.integers(0, 90 * DAY_MS, count))
    # Every tenth arrives late, by up to forty days.
    late = draw.random(count) < 0.1
    times = times - late * draw.integers(0, 40 * DAY_MS, count)
    amounts = np.round(np.exp(draw.normal(3, 1, count)), 2)
    categories = draw.choice([5411, 5812, 5541, 4111, 5999, 7011, 0, 9999], count)
    return list(zip(amounts.tolist(), categories.tolist(), times.tolist(), strict=True))


def evaluate(module, state, transaction):
    figures = np.zeros(baselines.BASELINE_FIGURES, np.uint32)
    module.evaluate_baseline(state, *transaction, HALF_LIFE_MS, figures)
    return figures.view(np.float32)


def make_state(transactions):
    state = np.zeros(baselines.BASELINE_WORDS)
    for transaction in transactions:
        baselines.update_baseline(*transaction, HALF_LIFE_MS, state)
    return state


@pytest.mark.parametrize("kernel", [row.name for row in baselines.KERNELS])
def test_every_kernel_has_a_slow_twin(kernel):
    assert callable(getattr(oracle, kernel))


@pytest.mark.parametrize("halvings", [0.0, 1e-9, 0.3, 1.0, 1.5, 17.25, 59.999, 60.0, 1e12])
def test_fading_is_that_of_the_oracle(halvings):
    assert baselines.fade(halvings) == pytest.approx(oracle.fade(halvings), rel=1e-15, abs=0)


@pytest.mark.parametrize("amount", [0.001, 0.01, 0.7, math.sqrt(0.5), 1.0, 2.5, 99.99, 9e15, 0.0])
def test_logarithms_are_those_of_the_oracle(amount):
    found = baselines.take_logarithm(amount)
    assert found == pytest.approx(oracle.take_logarithm(amount), rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_a_history_is_that_of_the_oracle(seed):
    found, wanted = (np.zeros(baselines.BASELINE_WORDS) for _ in range(2))
    for transaction in make_transactions(200, seed):
        before = found.copy()
        before.setflags(write=False)
        first = evaluate(baselines, before, transaction)
        second = evaluate(oracle, wanted, transaction)
        assert first == pytest.approx(second, rel=2e-5, abs=2e-5, nan_ok=True)
        baselines.update_baseline(*transaction, HALF_LIFE_MS, found)
        oracle.update_baseline(*transaction, HALF_LIFE_MS, wanted)
    assert found[:4] == pytest.approx(wanted[:4], rel=1e-9)
    assert found.view("f4")[8:] == pytest.approx(wanted.view("f4")[8:], rel=1e-5)


def test_without_a_history_all_but_the_count_is_missing():
    for state in (np.zeros(0), np.zeros(baselines.BASELINE_WORDS)):
        figures = evaluate(baselines, state, (10.0, 5411, START_MS))
        assert figures[baselines.BASELINE_COUNT] == 0
        assert np.isnan(figures[:3]).all()
        assert (figures[:3].view(np.uint32) == 0xFFFF_FFFF).all()


def test_a_fivefold_amount_stands_out_after_a_steady_month():
    noon = START_MS + DAY_MS // 2
    steady = [(20.0 + i % 5, 5411, noon + i * DAY_MS) for i in range(30)]
    state = make_state(steady)
    usual = evaluate(baselines, state, (22.0, 5411, noon + 30 * DAY_MS))
    fivefold = evaluate(baselines, state, (110.0, 5411, noon + 30 * DAY_MS))
    assert abs(usual[0]) < 0.2
    assert fivefold[0] > 4


def test_hours_and_categories_of_ones_own_have_high_shares():
    noon = START_MS + DAY_MS // 2
    state = make_state([(20.0, 5411 + i % 2, noon + i * DAY_MS) for i in range(30)])
    own = evaluate(baselines, state, (20.0, 5411, noon + 30 * DAY_MS))
    other = evaluate(baselines, state, (20.0, 7995, noon + 30 * DAY_MS + DAY_MS // 2))
    assert own[1] > 0.4 > 0.02 > other[1]
    assert own[2] == pytest.approx(0.5, abs=0.02)
    assert other[2] == 0


def test_midnight_lies_between_the_last_and_the_first_hours():
    state = make_state([(20.0, 5411, START_MS + i * DAY_MS) for i in range(10)])
    minute = 60_000
    shares = [
        evaluate(baselines, state, (20.0, 5411, START_MS + 10 * DAY_MS + shift))[1]
        for shift in (-minute, minute)
    ]
    assert shares[0] == pytest.approx(shares[1], rel=1e-4)
    assert shares[0] > 0.4


def test_what_is_long_ago_fades_by_half_lives():
    state = make_state([(20.0, 5411, START_MS)] * 8)
    later = evaluate(baselines, state, (20.0, 5411, START_MS + 2 * HALF_LIFE_MS))
    assert later[baselines.BASELINE_COUNT] == 2


def test_many_categories_leave_the_frequent_ones():
    often = [(20.0, 5411, START_MS + i) for i in range(20)]
    rare = [(20.0, 100 + i, START_MS + 20 + i) for i in range(50)]
    state = make_state(often + rare)
    share = evaluate(baselines, state, (20.0, 5411, START_MS + 70))[2]
    assert share == pytest.approx(20 / 70, rel=1e-3)


def test_the_same_transactions_give_the_same_bytes():
    transactions = make_transactions(100, 9)
    assert make_state(transactions).tobytes() == make_state(transactions).tobytes()
