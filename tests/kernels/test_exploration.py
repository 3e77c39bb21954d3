"""Chance: the published generator, fair shuffles, and probabilities that come true."""

import math

import numpy as np
import pytest

from instanter.kernels import exploration
from tests.oracles import exploration as oracle

SEEDS = [0, 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF]


@pytest.mark.parametrize("seed", SEEDS)
def test_words_and_numbers_are_those_of_the_oracle(seed):
    with np.errstate(over="ignore"):
        for index in (0, 1, 2, 1999, 2**40):
            arguments = np.uint64(seed), np.uint64(index)
            assert int(exploration.draw_word(*arguments)) == oracle.draw_word(*arguments)
            assert exploration.draw_uniform(*arguments) == oracle.draw_uniform(*arguments)
            assert exploration.draw_normal(*arguments) == pytest.approx(
                oracle.draw_normal(*arguments), rel=1e-12, abs=1e-12
            )


def test_numbers_of_neighbouring_seeds_are_independent_and_normal():
    with np.errstate(over="ignore"):
        drawn = np.array(
            [
                [exploration.draw_normal(np.uint64(seed), np.uint64(o)) for o in range(4)]
                for seed in range(5_000)
            ]
        )
    # One standard deviation: of a mean 0.014, of a variance 0.02, of a correlation 0.014.
    assert np.abs(drawn.mean(axis=0)).max() < 0.06
    assert np.abs(drawn.var(axis=0) - 1).max() < 0.09
    correlations = np.corrcoef(np.vstack([drawn.T[:, :-1], drawn.T[:, 1:]]))
    assert np.abs(correlations - np.eye(8)).max() < 0.06
    assert np.abs(drawn).max() < 6


def test_every_order_of_offers_is_equally_likely():
    reason = np.array([0, 3, 0, 0], np.uint8)
    score = np.full(4, -7.0)
    orders = {}
    with np.errstate(over="ignore"):
        for seed in range(6_000):
            assert exploration.shuffle_offers(np.uint64(seed), reason, score) == 3
            wanted = np.full(4, -7.0)
            oracle.shuffle_offers(seed, reason, wanted)
            assert score.tolist() == wanted.tolist()
            order = tuple(np.argsort(-score))
            orders[order] = orders.get(order, 0) + 1
    assert score[1] == -7.0
    # Of 6,000 draws 1,000 each; one standard deviation is 29.
    assert len(orders) == 6
    assert all(abs(count - 1000) < 150 for count in orders.values())


def _world(offers, seed, doubts):
    draw = np.random.default_rng(seed)
    reason = draw.choice([0, 0, 0, 5], offers).astype(np.uint8)
    reason[0] = 0
    propensity = draw.uniform(0.01, 0.6, offers)
    doubt = draw.choice(doubts, offers).astype(float)
    priority = np.where(reason == 0, propensity * draw.choice([1.0, 2.0, 5.0], offers), 0.0)
    for array in (reason, propensity, doubt, priority):
        array.setflags(write=False)
    return reason, propensity, doubt, priority


@pytest.mark.parametrize("offers", [1, 2, 40])
@pytest.mark.parametrize("seed", range(3))
def test_varied_priorities_are_those_of_the_oracle(offers, seed):
    reason, propensity, doubt, priority = _world(offers, seed, [0.0, 0.3, 2.0])
    found, wanted = np.full(offers, -1.0), np.full(offers, -1.0)
    with np.errstate(over="ignore"):
        arguments = np.uint64(seed), 0.7, doubt, reason, propensity, priority
        exploration.explore_offers(*arguments, found)
        oracle.explore_offers(*arguments, wanted)
    assert found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    "doubts", [[0.0], [0.0, 0.02], [0.3], [0.05, 0.3, 1.0], [0.0, 0.01, 0.2, 3.0], [5.0]]
)
@pytest.mark.parametrize("offers", [1, 2, 5, 30])
@pytest.mark.parametrize("seed", range(4))
def test_the_probability_of_the_choice_is_how_often_it_is_made(doubts, offers, seed):
    _, propensity, doubt, priority = _world(offers, seed, doubts)
    with np.errstate(over="ignore"):
        score = np.full(offers, -1.0)
        reason = (priority == 0).astype(np.uint8)
        exploration.explore_offers(np.uint64(seed), 1.0, doubt, reason, propensity, priority, score)
    first = int(np.argmax(score))
    found = exploration.find_first_chance(first, 1.0, doubt, propensity, priority)
    # The oracle draws 200,000 times: one standard deviation is at most 0.0011.
    wanted = oracle.find_first_chance(first, 1.0, doubt, propensity, priority)
    assert found == pytest.approx(wanted, abs=0.006)
    assert 0 < found <= 1


def test_the_probabilities_of_all_offers_sum_to_one():
    _, propensity, doubt, priority = _world(12, 3, [0.1, 0.4, 1.0])
    total = sum(
        exploration.find_first_chance(o, 0.8, doubt, propensity, priority)
        for o in range(12)
        if priority[o] > 0
    )
    assert total == pytest.approx(1.0, abs=0.003)


def test_equal_offers_without_doubt_leave_nothing_to_chance():
    equal = np.full(3, 0.25)
    assert exploration.find_first_chance(0, 1.0, np.zeros(3), equal, equal) == 1.0


def test_two_equal_offers_in_equal_doubt_are_a_coin_toss():
    equal = np.full(2, 0.25)
    found = exploration.find_first_chance(1, 1.0, np.full(2, 0.5), equal, equal)
    assert found == pytest.approx(0.5, abs=1e-4)


def test_a_choice_that_can_hardly_happen_keeps_a_probability_above_zero():
    propensity = np.array([0.001, 0.9])
    found = exploration.find_first_chance(0, 1.0, np.full(2, 0.1), propensity, propensity)
    assert 0 < found < 1e-6
    assert math.isfinite(1 / found)
