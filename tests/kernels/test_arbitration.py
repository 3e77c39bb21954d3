"""The arbitration kernels against their slow twins, and what a decision must never do."""

import numpy as np
import pytest

from instanter.kernels import arbitration
from tests.oracles import arbitration as oracle

OFFER_COUNTS = [0, 1, 2, 7, 200]


def _case(offer_count, seed):
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, 100).astype(np.uint8)
    case = {
        "now_s": 1000.0,
        "truth": truth,
        "rule_literal": draw.integers(-40, 100, (3, offer_count)).clip(-1).astype(np.int32),
        "treatment_index": draw.integers(-1, 4, offer_count).astype(np.int16),
        "valid_from_s": draw.choice([0.0, 999.0, 1000.0, 1001.0], offer_count),
        "valid_to_s": draw.choice([1000.0, 1001.0, 2.0**53, 2.0**53], offer_count),
    }
    for array in case.values():
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    return case


@pytest.mark.parametrize("offer_count", OFFER_COUNTS)
@pytest.mark.parametrize("seed", range(5))
def test_exclusions_are_those_of_the_oracle(offer_count, seed):
    case = _case(offer_count, seed)
    found = np.full(offer_count, 99, np.uint8)
    wanted = np.full(offer_count, 98, np.uint8)
    kept = arbitration.exclude_offers(*case.values(), found)
    assert kept == oracle.exclude_offers(*case.values(), wanted)
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("held", [0, 1])
def test_a_rule_that_is_not_true_always_stops_the_offer(held):
    reason = np.zeros(1, np.uint8)
    rules = np.array([[0], [-1], [-1]], np.int32)
    kept = arbitration.exclude_offers(
        0.0,
        np.array([held], np.uint8),
        rules,
        np.zeros(1, np.int16),
        np.zeros(1),
        np.full(1, 2.0**53),
        reason,
    )
    assert kept == 0
    assert (
        reason[0]
        == {0: arbitration.REASON_NOT_ELIGIBLE, 1: arbitration.REASON_ATTRIBUTE_MISSING}[held]
    )


@pytest.mark.parametrize("offer_count", OFFER_COUNTS)
@pytest.mark.parametrize("seed", range(5))
def test_context_weights_are_those_of_the_oracle(offer_count, seed):
    draw = np.random.default_rng(seed)
    weights = draw.integers(0, 30) if offer_count else 0
    truth = draw.integers(0, 3, 100).astype(np.uint8)
    offers = np.sort(draw.integers(0, max(offer_count, 1), weights)).astype(np.int32)
    literals = draw.integers(0, 100, weights).astype(np.int32)
    factors = draw.choice([0.0, 0.5, 1.0, 2.0], weights)
    base = draw.random(offer_count)
    outputs = [(np.empty(offer_count), np.empty(offer_count, np.uint8)) for _ in range(2)]
    for module, (weight, weighted) in zip((arbitration, oracle), outputs, strict=True):
        module.weigh_context(truth, base, offers, literals, factors, weight, weighted)
    assert outputs[0][0].tolist() == outputs[1][0].tolist()
    assert outputs[0][1].tolist() == outputs[1][1].tolist()


@pytest.mark.parametrize("offer_count", OFFER_COUNTS)
@pytest.mark.parametrize("seed", range(5))
def test_priorities_are_those_of_the_oracle(offer_count, seed):
    draw = np.random.default_rng(seed)
    inputs = [draw.choice([0.0, 0.1, 0.5, 1.0, 2.0], offer_count) for _ in range(4)]
    reason = draw.choice([0, 0, 3], offer_count).astype(np.uint8)
    found, wanted = reason.copy(), reason.copy()
    priority, priority_wanted = np.empty(offer_count), np.empty(offer_count)
    kept = arbitration.prioritise_offers(found, *inputs, priority)
    assert kept == oracle.prioritise_offers(wanted, *inputs, priority_wanted)
    assert found.tolist() == wanted.tolist()
    assert priority.tolist() == priority_wanted.tolist()


def test_a_propensity_that_is_no_number_never_wins():
    reason = np.zeros(2, np.uint8)
    priority = np.empty(2)
    kept = arbitration.prioritise_offers(
        reason, np.array([np.nan, 0.5]), np.ones(2), np.ones(2), np.ones(2), priority
    )
    assert kept == 1
    assert reason.tolist() == [arbitration.REASON_NO_PRIORITY, 0]


@pytest.mark.parametrize("offer_count", OFFER_COUNTS)
@pytest.mark.parametrize("wanted", [1, 3, 100])
@pytest.mark.parametrize("ties", [True, False])
def test_ranking_is_that_of_the_oracle(offer_count, wanted, ties):
    draw = np.random.default_rng(offer_count + wanted)
    reason = draw.choice([0, 0, 0, 5], offer_count).astype(np.uint8)
    priority = draw.integers(1, 4, offer_count) * 1.0 if ties else draw.random(offer_count)
    found, expected = np.full(100, -1, np.int32), np.full(100, -1, np.int32)
    count = arbitration.rank_offers(reason, priority, wanted, found)
    assert count == oracle.rank_offers(reason, priority, wanted, expected)
    assert found[:count].tolist() == expected[:count].tolist()


@pytest.mark.parametrize("offer_count", OFFER_COUNTS)
def test_reasons_are_counted(offer_count):
    reason = np.random.default_rng(1).integers(0, 8, offer_count).astype(np.uint8)
    found, wanted = np.full(8, 9, np.int32), np.full(8, 9, np.int32)
    arbitration.count_reasons(reason, found)
    oracle.count_reasons(reason, wanted)
    assert found.tolist() == wanted.tolist()
