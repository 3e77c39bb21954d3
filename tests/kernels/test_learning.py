"""The learning kernels against their slow twins, and what learning must and must not do."""

import numpy as np
import pytest

from instanter.kernels import learning
from tests.oracles import learning as oracle

PREDICTORS, BINS = 6, 5
ROWS = PREDICTORS * BINS


def make_settings(**changes):
    settings = np.array([2.0 / PREDICTORS, 0.5, 1e-3, 1e-3, 0.99, 20.0, 0.999, 1e-4, 0.4])
    for name, value in changes.items():
        settings[getattr(learning, f"SETTING_{name}")] = value
    settings.setflags(write=False)
    return settings


def make_state():
    calibration = np.array([0.0, 1.0, 0.0, 0.05, 0.05, 0.05])
    counts = np.zeros(learning.COUNT_COUNT)
    counts[learning.COUNT_LABEL_WEIGHT] = 1.0
    return {
        "mean": np.zeros(ROWS, np.float32),
        "variance": np.full(ROWS, 2.0 / PREDICTORS, np.float32),
        "positive": np.zeros(ROWS, np.float32),
        "negative": np.zeros(ROWS, np.float32),
        "evidence": np.zeros(ROWS, np.float32),
        "intercept": np.array([-1.0, 1.0, 0.0]),
        "counts": counts,
        "calibration": calibration,
    }


def make_neighbours():
    found = np.zeros(ROWS, np.uint8)
    for start in range(0, ROWS // 2, BINS):
        found[start + 2 : start + BINS] |= learning.NEIGHBOUR_BELOW
        found[start + 1 : start + BINS - 1] |= learning.NEIGHBOUR_ABOVE
    found.setflags(write=False)
    return found


def make_reversed(rows, labels):
    """Return rows and labels in which each 1 was first taken for a 0, five rows before."""
    order = [(at, 0) for at in range(len(labels))]
    order += [(at + 5.5, 2) for at in np.flatnonzero(labels).tolist()]
    places = [int(at) - (5 if label else 0) for at, label in sorted(order)]
    return rows[places], np.array([label for _, label in sorted(order)], np.uint8)


def make_rows(count, seed):
    draw = np.random.default_rng(seed)
    bins = draw.integers(0, BINS, (count, PREDICTORS))
    rows = (bins + np.arange(PREDICTORS) * BINS).astype(np.int32)
    logit = 0.8 * (bins[:, 0] - 2) - 0.5 * (bins[:, 1] == 3) - 1
    labels = (draw.random(count) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    rows.setflags(write=False)
    labels.setflags(write=False)
    return rows, labels


def replay(module, rows, labels, settings, state, average=None, visits=None):
    average = np.zeros(0) if average is None else average
    visits = np.zeros(0, np.float32) if visits is None else visits
    propensity = np.zeros(len(labels))
    module.replay_rows(
        rows, labels, make_neighbours(), visits, settings, *state.values(), average, propensity
    )
    return propensity


@pytest.mark.parametrize("row_count", [0, 1, 200])
@pytest.mark.parametrize("averaged", [False, True])
def test_replay_is_that_of_the_oracle(row_count, averaged):
    rows, labels = make_rows(row_count, 1)
    found, wanted = make_state(), make_state()
    averages = [np.zeros(ROWS + 1) if averaged else None for _ in range(2)]
    visits = np.bincount(rows.ravel(), minlength=ROWS).astype(np.float32) if averaged else None
    first = replay(learning, rows, labels, make_settings(), found, averages[0], visits)
    second = replay(oracle, rows, labels, make_settings(), wanted, averages[1], visits)
    assert first == pytest.approx(second, abs=1e-5)
    for name, array in found.items():
        assert array == pytest.approx(wanted[name], rel=1e-5, abs=1e-5), name
    if averaged:
        assert averages[0] == pytest.approx(averages[1], rel=1e-4, abs=1e-3)


def test_what_is_taken_back_is_that_of_the_oracle():
    rows, labels = make_reversed(*make_rows(300, 11))
    found, wanted = make_state(), make_state()
    first = replay(learning, rows, labels, make_settings(), found)
    second = replay(oracle, rows, labels, make_settings(), wanted)
    assert first == pytest.approx(second, abs=1e-5)
    for name, array in found.items():
        assert array == pytest.approx(wanted[name], rel=1e-5, abs=1e-5), name


def test_a_label_that_is_taken_back_was_never_counted():
    rows, labels = make_rows(300, 12)
    keeps = make_settings(EVIDENCE_DECAY=1.0, BASE_RATE_DECAY=1.0)
    found, wanted = make_state(), make_state()
    replay(learning, *make_reversed(rows, labels), keeps, found)
    replay(learning, rows, labels, keeps, wanted)
    assert found["counts"][learning.COUNT_RECENT_REVERSED] == labels.sum()
    found["counts"][learning.COUNT_RECENT_REVERSED] = 0
    for name in ("positive", "negative", "counts"):
        assert found[name] == pytest.approx(wanted[name], abs=1e-3), name


def test_nothing_more_is_taken_back_than_is_there():
    rows, _ = make_rows(1, 13)
    state = make_state()
    replay(
        learning, np.repeat(rows, 3, axis=0), np.array([0, 2, 2], np.uint8), make_settings(), state
    )
    assert (state["negative"] >= 0).all()
    assert state["counts"][learning.COUNT_NEGATIVE] == 0
    assert state["counts"][learning.COUNT_RECENT_NEGATIVE] == 0
    assert np.isfinite(state["evidence"]).all()


@pytest.mark.parametrize("kernel", [row.name for row in learning.KERNELS])
def test_every_kernel_has_a_slow_twin(kernel):
    assert callable(getattr(oracle, kernel))


def test_counts_survive_the_shrinking_of_their_weights():
    rows, labels = make_rows(400, 2)
    # Half-life of 7 labels: the weights pass a million after about 140 labels.
    quick = make_settings(EVIDENCE_DECAY=0.5 ** (1 / 7))
    found, wanted = make_state(), make_state()
    replay(learning, rows, labels, quick, found)
    replay(oracle, rows, labels, quick, wanted)
    assert found["evidence"] == pytest.approx(wanted["evidence"], abs=1e-4)
    assert found["counts"][learning.COUNT_LABEL_WEIGHT] < 2e6


def test_the_same_rows_give_the_same_bits():
    rows, labels = make_rows(300, 3)
    states = [make_state(), make_state()]
    for state in states:
        replay(learning, rows, labels, make_settings(), state)
    assert all(states[0][n].tobytes() == states[1][n].tobytes() for n in states[0])


def test_replay_in_two_parts_is_replay_in_one():
    rows, labels = make_rows(300, 4)
    whole, parts = make_state(), make_state()
    replay(learning, rows, labels, make_settings(), whole)
    replay(learning, rows[:77], labels[:77], make_settings(), parts)
    replay(learning, rows[77:], labels[77:], make_settings(), parts)
    assert all(whole[n].tobytes() == parts[n].tobytes() for n in whole)


def test_a_label_is_predicted_before_it_is_learned():
    rows, labels = make_rows(1, 5)
    found = replay(learning, rows, labels, make_settings(), make_state())
    other = replay(learning, rows, 1 - labels, make_settings(), make_state())
    assert found == other == pytest.approx(1 / (1 + np.e))


def test_averaging_finds_the_mean_over_time():
    rows, labels = make_rows(50, 6)
    state, average = make_state(), np.zeros(ROWS + 1)
    seen = np.zeros(ROWS)
    for i in range(50):
        replay(learning, rows[i : i + 1], labels[i : i + 1], make_settings(), state, average)
        seen += state["mean"]
    assert state["mean"] - average[:-1] / average[-1] == pytest.approx(seen / 50, abs=1e-5)


def test_learning_finds_what_matters():
    rows, labels = make_rows(5000, 7)
    state = make_state()
    propensity = replay(learning, rows, labels, make_settings(WEIGHT_DRIFT=0.0), state)
    weight = state["mean"].reshape(PREDICTORS, BINS)
    assert (np.diff(weight[0]) > 0).all()
    # The true difference is 4 × 0.8, and the prior pulls towards 0.
    assert 2.2 < weight[0, -1] - weight[0, 0] < 3.6
    assert np.abs(weight[2:]).max() < 0.4
    late = propensity[-2000:]
    assert late.mean() == pytest.approx(labels[-2000:].mean(), abs=0.03)


def test_a_thousand_copies_of_a_predictor_move_the_score_no_more_than_one():
    moved = []
    for copies in (1, 1000):
        settings = make_settings(PRIOR_VARIANCE=2.0 / copies)
        mean, variance = np.zeros(copies, np.float32), np.full(copies, 2.0 / copies, np.float32)
        rows = np.arange(copies, dtype=np.int32)
        learning.learn_logistic(
            rows, np.zeros(copies, np.uint8), np.zeros(0, np.float32), 1.0, 0.0, 2.0, settings,
            mean, variance, np.array([0.0, 1.0, 0.0]), np.zeros(0),
        )  # fmt: skip
        moved.append(mean.sum())
    assert moved[1] == pytest.approx(moved[0], rel=1e-4)


@pytest.mark.parametrize("count", [0, 1, 6])
def test_added_rows_are_those_of_the_oracle(count):
    rows, _ = make_rows(1, 8)
    draw = np.random.default_rng(1)
    held = draw.normal(size=(3, ROWS)).astype(np.float32)
    held.setflags(write=False)
    found = learning.add_rows(rows[0][:count], *held)
    assert found == pytest.approx(oracle.add_rows(rows[0][:count], *held))


def test_evidence_of_a_bin_never_seen_is_nothing():
    state = make_state()
    state = {n: state[n] for n in ("positive", "negative", "evidence", "counts")}
    for i in range(50):
        learning.count_evidence(
            np.zeros(1, np.int32), float(i % 5 == 0), make_settings(), *state.values()
        )
    assert state["evidence"][1:].tolist() == [0.0] * (ROWS - 1)
    # All labels are in this bin, so it says no more than the base rate does.
    assert abs(state["evidence"][0]) < 0.1
    assert state["positive"][0] > 10
