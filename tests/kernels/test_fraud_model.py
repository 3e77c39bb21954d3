"""The model of the check at the till against its slow twins, and what it must learn."""

import numpy as np
import pytest

from instanter.kernels import fraud_bins, fraud_model
from tests.oracles import fraud_bins as bins_oracle
from tests.oracles import fraud_model as oracle

SETTINGS = np.array(fraud_model.DEFAULT_SETTINGS)
NO_PAIRS = np.zeros((0, 2), np.int32)
ONE_PAIR = np.array([[0, 1]], np.int32)


def make_labels(count, seed, width=5, rate=0.1):
    """Return features with ties, tails, missing values, and labels that two of them tell."""
    draw = np.random.default_rng(seed)
    features = draw.exponential(20, (count, width)).astype(np.float32)
    features[:, 1] = draw.poisson(0.2, count)
    features[:, -1] -= 15
    features[draw.random((count, width)) < 0.1] = np.nan
    odds = np.where(features[:, 0] > 60, 30, 0.3) + np.where(features[:, 1] > 1, 30, 0)
    labels = (draw.random(count) < rate * odds).astype(np.float64)
    features.setflags(write=False)
    return features, labels


def make_state(features, pairs):
    return np.zeros(fraud_model.count_model_words(features.shape[1], len(pairs)), np.float32)


def replay(module, features, labels, pairs, state):
    """Predict each label, then learn it; return the predictions."""
    found = []
    for row, label in zip(features, labels.tolist(), strict=True):
        found.append(module.predict_fraud(state, row, pairs, SETTINGS))
        module.learn_fraud(row, pairs, label, SETTINGS, state)
    return np.array(found)


@pytest.mark.parametrize(
    ("kernel", "twins"),
    [(row.name, bins_oracle) for row in fraud_bins.KERNELS]
    + [(row.name, oracle) for row in fraud_model.KERNELS],
)
def test_every_kernel_has_a_slow_twin(kernel, twins):
    assert callable(getattr(twins, kernel))


@pytest.mark.parametrize("pairs", [NO_PAIRS, np.array([[0, 1], [4, 0], [2, 2]], np.int32)])
@pytest.mark.parametrize("count", [0, 1, 500])
def test_a_stream_of_labels_is_that_of_the_oracle(pairs, count):
    features, labels = make_labels(count, 3)
    found, wanted = make_state(features, pairs), make_state(features, pairs)
    first = replay(fraud_model, features, labels, pairs, found)
    second = replay(oracle, features, labels, pairs, wanted)
    assert first == pytest.approx(second, rel=1e-3, abs=1e-5)
    parts, others = (bins_oracle.view_parts(s, 5, len(pairs)) for s in (found, wanted))
    assert np.array_equal(parts.samples, others.samples, equal_nan=True)
    assert np.array_equal(parts.edges, others.edges)
    for name in ("head", "moments", "slopes", "weights", "pairs"):
        mine, theirs = getattr(parts, name), getattr(others, name)
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize(
    ("genuine", "frauds"),
    [
        ([], []),
        ([np.nan] * 5, [np.nan]),
        ([3.0] * 50, []),
        ([0.0] * 96, [0.0] * 40 + [1.0] * 20 + [5.0] * 4),
        (list(range(96)), list(range(50, 90))),
        ([1.0, 2.0], [np.nan, 3.0]),
        ([-np.inf, 0.0, np.inf], [1.0]),
    ],
)
def test_edges_are_those_of_the_oracle(genuine, frauds):
    samples = np.full((2, 96, 1), np.nan, np.float32)
    samples[0, : len(genuine), 0] = genuine
    samples[1, : len(frauds), 0] = frauds
    counts = np.array([len(genuine), len(frauds)])
    edges = [np.zeros(23, np.float32) for _ in range(2)]
    state = samples.reshape(-1)
    found = [
        module.draw_edges(state, 0, 1, 96, counts, own)
        for module, own in zip((fraud_bins, bins_oracle), edges, strict=True)
    ]
    assert found[0] == found[1]
    assert edges[0].tolist() == edges[1].tolist()


def test_edges_part_what_only_frauds_have():
    samples = np.zeros((2, 96, 1), np.float32)
    samples[1, :, 0] = np.arange(96)
    edges = np.zeros(23, np.float32)
    found = fraud_bins.draw_edges(samples.reshape(-1), 0, 1, 96, np.array([96, 96]), edges)
    # All genuine ones and one fraud are 0; half of the edges part the frauds.
    assert edges[0] == 0
    assert found >= 11
    assert np.diff(edges[:found]).max() < 10


def test_a_bin_holds_its_upper_edge():
    edges = np.full(22, np.inf, np.float32)
    edges[:2] = [1.0, 5.0]
    for module in (fraud_bins, bins_oracle):
        found = [module.find_bin(edges, 0, x) for x in (-1.0, 1.0, 1.1, 5.0, 6.0, 1e30)]
        assert found == [1, 1, 2, 2, 3, 3]
        assert module.find_bin(edges, 0, float("nan")) == 0


def test_drawing_bins_anew_keeps_what_was_learned():
    features, labels = make_labels(3000, 5)
    state = make_state(features, ONE_PAIR)
    replay(fraud_model, features, labels, ONE_PAIR, state)
    probes = features[:500]
    before = [fraud_model.predict_fraud(state, row, ONE_PAIR, SETTINGS) for row in probes]
    fraud_bins.redraw_bins(5, ONE_PAIR, 6.0, 0.2, state)
    after = [fraud_model.predict_fraud(state, row, ONE_PAIR, SETTINGS) for row in probes]
    assert np.corrcoef(before, after)[0, 1] > 0.7
    # The samples are the same, so the bins are, and every weight comes from its own.
    fraud_bins.redraw_bins(5, ONE_PAIR, 6.0, 0.2, state)
    again = [fraud_model.predict_fraud(state, row, ONE_PAIR, SETTINGS) for row in probes]
    assert again == after


def test_before_any_label_the_start_rate_is_said():
    features, _ = make_labels(1, 1)
    for state in (np.zeros(0, np.float32), make_state(features, NO_PAIRS)):
        assert fraud_model.predict_fraud(state, features[0], NO_PAIRS, SETTINGS) == 0.01


def test_the_same_labels_give_the_same_bytes():
    features, labels = make_labels(800, 6)
    states = [make_state(features, ONE_PAIR) for _ in range(2)]
    for state in states:
        replay(fraud_model, features, labels, ONE_PAIR, state)
    assert states[0].tobytes() == states[1].tobytes()


def test_learning_finds_what_tells_frauds():
    features, labels = make_labels(6000, 7, rate=0.02)
    found = replay(fraud_model, features, labels, NO_PAIRS, make_state(features, NO_PAIRS))
    late, truth = found[3000:], labels[3000:]
    frauds, genuine = late[truth == 1], late[truth == 0]
    assert (frauds[:, None] > genuine).mean() > 0.8
    assert late.mean() == pytest.approx(truth.mean(), abs=0.02)


def test_a_pair_finds_what_neither_feature_tells_alone():
    draw = np.random.default_rng(8)
    features = draw.integers(0, 2, (6000, 2)).astype(np.float32)
    labels = (features[:, 0] != features[:, 1]) * (draw.random(6000) < 0.5).astype(np.float64)
    alone, paired = (
        replay(fraud_model, features, labels, pairs, make_state(features, pairs))[5000:]
        for pairs in (NO_PAIRS, ONE_PAIR)
    )
    unlike = features[5000:, 0] != features[5000:, 1]
    assert abs(alone[unlike].mean() - alone[~unlike].mean()) < 0.1
    assert paired[unlike].min() > 0.35
    assert paired[~unlike].max() < 0.05


def test_infinities_and_huge_values_do_not_poison_the_model():
    features, labels = make_labels(300, 9)
    odd = features.copy()
    odd[::7, 2] = np.inf
    odd[3::7, 3] = -np.inf
    odd[5::7, 2] = 3e38
    state, other = make_state(odd, ONE_PAIR), make_state(odd, ONE_PAIR)
    found = replay(fraud_model, odd, labels, ONE_PAIR, state)
    assert ((found > 0) & (found < 1)).all()
    assert found == pytest.approx(replay(oracle, odd, labels, ONE_PAIR, other), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(("features", "pairs"), [(1, 0), (40, 8), (64, 8)])
def test_the_state_is_at_most_64_kilobytes(features, pairs):
    words = fraud_model.count_model_words(features, pairs)
    assert words % 2 == 0
    assert 4 * words <= 64_000
    assert words == oracle.count_model_words(features, pairs)


def test_the_samples_are_uniform_over_all_labels():
    width = 1
    state = np.zeros(fraud_model.count_model_words(width, 0), np.float32)
    for i in range(1, 20_001):
        row = np.array([i], np.float32)
        fraud_bins.keep_sample(row, i, 0, 0, 96, state)
    kept = bins_oracle.view_parts(state, width, 0).samples[0, :, 0]
    # The mean of 96 uniform draws from 1 to 20,000 deviates by 590.
    assert abs(kept.mean() - 10_000) < 3 * 590
    assert kept.max() > 18_000
    assert kept.min() < 2_000


def test_the_parts_of_the_state_and_the_bins_of_pairs_are_where_the_oracle_has_them():
    for features, pairs in ((1, 0), (40, 8), (48, 12), (64, 3)):
        assert fraud_bins.count_samples(features) == bins_oracle.count_samples(features)
        for part in range(fraud_bins.PART_END + 1):
            found = fraud_bins.find_part(part, features, pairs)
            assert found == bins_oracle.find_part(part, features, pairs)
    own = [fraud_bins.find_pair_bin(b) for b in range(fraud_bins.BINS)]
    assert own == [bins_oracle.find_pair_bin(b) for b in range(fraud_bins.BINS)]
