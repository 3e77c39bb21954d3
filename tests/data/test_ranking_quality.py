"""Figures of a ranking against their definitions, told slowly."""

import math

import numpy as np
import pytest

from instanter.data.ranking_quality import find_auc, find_average_precision, find_card_precision


def slow_auc(scores, frauds):
    pairs = [
        1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
        for i in np.flatnonzero(frauds)
        for j in np.flatnonzero(~frauds)
    ]
    return sum(pairs) / len(pairs)


def slow_average_precision(scores, frauds):
    total = before = 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        recall = frauds[chosen].sum() / frauds.sum()
        total += (recall - before) * frauds[chosen].mean()
        before = recall
    return total


@pytest.mark.parametrize("levels", [2, 5, 1_000])
def test_the_figures_are_those_of_their_definitions(levels):
    drawn = np.random.default_rng(levels)
    for _ in range(20):
        scores = drawn.integers(0, levels, 60).astype(float)
        frauds = drawn.random(60) < 0.3
        frauds[:2] = (True, False)
        assert find_auc(scores, frauds) == pytest.approx(slow_auc(scores, frauds))
        assert find_average_precision(scores, frauds) == pytest.approx(
            slow_average_precision(scores, frauds)
        )


def test_a_perfect_an_inverse_and_an_empty_ranking():
    scores, frauds = np.arange(4.0), np.array([False, False, True, True])
    assert (find_auc(scores, frauds), find_average_precision(scores, frauds)) == (1.0, 1.0)
    assert find_auc(-scores, frauds) == 0.0
    assert find_auc(np.ones(4), frauds) == 0.5
    for one_kind in (np.zeros(4, bool), np.ones(4, bool)):
        assert math.isnan(find_auc(scores, one_kind))
    assert math.isnan(find_average_precision(scores, np.zeros(4, bool)))
    nothing = np.zeros(0)
    numbers = np.zeros(0, np.int64)
    assert math.isnan(find_card_precision(nothing, nothing.astype(bool), numbers, numbers))


def test_a_card_counts_by_its_highest_score_once_a_day_and_is_found_once():
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.99, 0.5, 0.6])
    frauds = np.array([False, True, True, False, True, False, True])
    cards = np.array([1, 1, 2, 3, 1, 3, 4])
    days = np.array([0, 0, 0, 0, 1, 1, 1])
    # Day 0: cards 1 (with a fraud among its transactions) and 2; day 1: card 1 is known, 4 and 3.
    assert find_card_precision(scores, frauds, cards, days, top=2) == (2 / 2 + 1 / 2) / 2
