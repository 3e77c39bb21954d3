"""Uplift: intervals against published numbers and against simulations."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.decision.questions import Arm
from instanter.decision.uplift import (
    UNDEFINED,
    Estimate,
    Z,
    compare_means,
    compare_rates,
    estimate_mean,
    estimate_rate,
    report_uplift,
)
from instanter.store.arm_figures import ArmDay


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_rates_have_the_intervals_of_newcombes_table_of_single_proportions(
    successes, trials, low, high
):
    # Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I, method 3.
    found = estimate_rate(successes, trials)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
        ((0, 10), (0, 20), -0.1611, 0.2775),
    ],
)
def test_differences_have_the_intervals_of_newcombes_table(first, second, low, high):
    # Newcombe, Interval estimation for the difference …, 1998, table II, method 10.
    found = compare_rates(estimate_rate(*first), estimate_rate(*second))
    assert found.value == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(values=st.lists(st.integers(0, 10**15), min_size=2, max_size=50))
def test_means_have_the_intervals_of_the_textbook(values):
    found = estimate_mean(len(values), sum(values), sum(v * v for v in values))
    reach = Z * statistics.stdev(values) / len(values) ** 0.5
    assert found.value == pytest.approx(statistics.fmean(values))
    assert found.high - found.value == pytest.approx(reach, rel=1e-6, abs=1e-3)
    assert found.value - found.low == pytest.approx(reach, rel=1e-6, abs=1e-3)


def test_large_equal_values_have_no_spread_at_all():
    value, count = 10**15 + 1, 10**6
    found = estimate_mean(count, count * value, count * value * value)
    assert found.low == found.value == found.high


def test_where_there_is_nothing_to_estimate_from_nothing_is_said():
    assert estimate_rate(0, 0) == UNDEFINED
    assert estimate_mean(1, 5, 25) == UNDEFINED
    rate = estimate_rate(1, 2)
    assert compare_rates(rate, UNDEFINED) == compare_rates(UNDEFINED, rate) == UNDEFINED
    assert compare_means(UNDEFINED, Estimate(1, 0, 2, True)) == UNDEFINED


def test_intervals_hold_the_truth_as_often_as_they_say():
    draw = np.random.default_rng(1)
    held = [0, 0, 0]
    for _ in range(2_000):
        decided, by_chance = int(draw.binomial(400, 0.12)), int(draw.binomial(200, 0.08))
        found = compare_rates(estimate_rate(decided, 400), estimate_rate(by_chance, 200))
        held[0] += found.low <= 0.04 <= found.high
        rate = estimate_rate(by_chance, 200)
        held[1] += rate.low <= 0.08 <= rate.high
        sample = draw.exponential(100, 500)
        mean = estimate_mean(500, sample.sum(), (sample**2).sum())
        held[2] += mean.low <= 100 <= mean.high
    # One standard deviation of the shares is 0.005.
    assert np.array(held) / 2_000 == pytest.approx([0.95] * 3, abs=0.02)


def day(arm, offer="x", **figures):
    return ArmDay(20_000, arm, offer, **figures)


def test_the_report_sums_up_by_arm_and_compares_the_arms():
    report = report_uplift(
        [
            day(Arm.DECIDED, "", decisions=60),
            day(Arm.DECIDED, "", decisions=40),
            day(Arm.DECIDED, presented=70, accepted=56, value_minor=500, value_squares=25_000),
            day(Arm.RANDOM, "", decisions=100),
            day(Arm.RANDOM, presented=80, accepted=48, value_minor=200, value_squares=8_000),
            day(Arm.HOLDOUT, "", decisions=50, value_minor=50, value_squares=2_500),
        ]
    )
    assert [arm.arm for arm in report.arms] == [1, 2, 3]
    decided, by_chance, held = report.arms
    assert (decided.decisions, decided.value_per_decision.value) == (100, 5.0)
    assert by_chance.acceptance == estimate_rate(48, 80)
    assert held.acceptance == UNDEFINED
    assert report.acceptance_uplift.low == pytest.approx(0.0524, abs=5e-5)
    assert report.value_uplift_over_random.value == 3.0
    assert report.value_uplift_over_holdout.value == 4.0


def test_a_report_of_one_offer_does_not_compare_with_the_holdout():
    rows = [
        day(Arm.DECIDED, "", decisions=10),
        day(Arm.DECIDED, presented=5, accepted=1, value_minor=9, value_squares=81),
        day(Arm.HOLDOUT, "", decisions=10, value_minor=5, value_squares=25),
    ]
    assert report_uplift(rows).value_uplift_over_holdout.defined
    report = report_uplift(rows, of_one_offer=True)
    assert not report.value_uplift_over_holdout.defined
    assert [arm.value_minor for arm in report.arms] == [9, 0]


def test_a_report_of_nothing_is_empty():
    report = report_uplift([])
    assert report.arms == ()
    assert not report.acceptance_uplift.defined
