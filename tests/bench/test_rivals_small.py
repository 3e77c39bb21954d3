"""The comparison with rivals still runs, for those that need no environment of their own."""

import math

import numpy as np
import pytest

from bench import load
from bench.rivals.__main__ import KEYS
from bench.rivals.answers import is_same_ranking
from bench.rivals.numpy_decision import RuleArrays, rank
from bench.rivals.redis_process import is_available as redis_is_available
from instanter.v1.decision_service_pb2 import DecideOffersResponse, RankedOffer
from tests.bench.small_runs import run_small

TAKE_PART = ("rival_a", "rival_d", "redis_get")


@pytest.fixture(scope="module")
def result():
    return run_small("bench.rivals", "--rivals", *TAKE_PART)


def test_every_ratio_is_a_number_or_says_why_not(result):
    assert [key for key in result if key in KEYS] == list(KEYS)
    for key in KEYS:
        if result[key] is None:
            assert result["details"][key]
        else:
            assert 0.05 < result[key] < 10_000
    assert result["rival_b_ratio"] is None
    assert result["details"]["rival_c_ratio"] == "left out on request"
    if load.is_available():
        assert result["rival_a_ratio"] is not None
        assert (result["rival_d_ratio"] is not None) == redis_is_available()


def test_every_contestant_is_measured_in_full(result):
    for row in result["contestants"].values():
        assert row["request_count"] > 0
        assert row["latency_count"] > 0
        assert 0 < row["p50_us"] <= row["p99_us"]
        assert math.isclose(row["cpu_us"] * row["rate_per_core"], 1e6, rel_tol=1e-6)


def test_instanter_and_rival_a_rank_the_same_offers(result):
    if not load.is_available():
        pytest.skip(load.MISSING_REASON)
    answers = result["answers"]
    assert answers["customer_count"] >= 200
    assert answers["offer_count"] > answers["customer_count"]
    # The others are near ties; a wrong answer would have ended the run.
    assert answers["identical_count"] > 0.9 * answers["customer_count"]
    assert answers["same_best_count"] > 0.99 * answers["customer_count"]


def test_what_redis_fetches_is_the_profile(result):
    if not redis_is_available():
        pytest.skip("redis-server is not installed")
    assert result["answers"]["fetch_checked_count"] > 0


def answer(*priorities):
    offers = [RankedOffer(offer=f"offers/{name}", priority=p) for name, p in priorities]
    return DecideOffersResponse(offers=offers)


def test_only_near_ties_may_change_places():
    ours = answer(("a", 5.0), ("b", 2.0), ("c", 1.9999))
    assert is_same_ranking(ours, ours)
    assert is_same_ranking(ours, answer(("a", 5.001), ("c", 2.0), ("b", 1.9999)))
    assert not is_same_ranking(ours, answer(("b", 5.0), ("a", 2.0), ("c", 1.9999)))
    assert not is_same_ranking(ours, answer(("b", 2.0), ("a", 5.0), ("c", 1.9999)))
    assert not is_same_ranking(ours, answer(("a", 5.01), ("b", 2.0), ("c", 1.9999)))
    assert not is_same_ranking(ours, answer(("a", 5.0), ("b", 2.0)))
    assert not is_same_ranking(ours, answer(("a", 5.0), ("b", 2.0), ("d", 1.9999)))


def make_rules():
    def slots(slot):
        return np.array([slot])

    return RuleArrays(
        below=slots(0),
        below_limit=np.float32([10]),
        among=slots(3),
        among_values=np.array([[True, False, True]]),
        told=slots(5),
        above=slots(1),
        above_limit=np.float32([20]),
        other=slots(4),
        other_value=np.uint32([1]),
        least=slots(2),
        least_limit=np.float32([30]),
    )


@pytest.mark.parametrize(
    ("numbers", "codes", "expected"),
    [
        ((9, 21, 30), (0, 0, 0), True),
        ((9, 20, 30), (0, 0, 1), True),
        ((9, 20, 30), (0, 0, 0), False),
        ((10, 21, 30), (0, 0, 0), False),
        ((9, 21, 29.9), (0, 0, 0), False),
        ((9, 21, 30), (1, 0, 0), False),
        ((9, 21, 30), (2, 1, 0), False),
    ],
)
def test_the_rules_in_numpy_mean_what_the_offers_say(numbers, codes, expected):
    slots = np.concatenate((np.float32(numbers).view(np.uint32), np.uint32(codes)))
    assert make_rules().find_eligible(slots).tolist() == [expected]


def test_only_eligible_offers_are_ranked_and_ties_keep_their_order():
    priority = np.array([1.0, 9.0, 2.0, 2.0, 3.0])
    eligible = np.array([True, False, True, True, True])
    assert rank(priority, eligible, 3).tolist() == [4, 2, 3]
    assert rank(priority, np.zeros(5, bool), 3).tolist() == []
