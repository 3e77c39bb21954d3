"""Slow twins of `kernels/fraud_model`: the weights that take part, one after the other."""

import math

import numpy as np

from tests.oracles.fraud_bins import (
    count_samples,
    find_bin,
    find_pair_bin,
    find_part,
    keep_sample,
    redraw_bins,
    view_parts,
)


def count_model_words(feature_count, pair_count):
    words = find_part(6, feature_count, pair_count)
    return words + words % 2


def predict_fraud(state, features, pairs, settings):
    if not len(state) or not state[:16].view(np.float64)[2]:
        return settings[5]
    parts = view_parts(state, len(features), len(pairs))
    terms = list(_find_terms(parts, features, pairs, settings))
    return _sigmoid(parts.head[3] + sum(float(w[0]) * x for w, x in terms))


def learn_fraud(features, pairs, label, settings, state):
    """One step of a Kalman filter with a diagonal covariance, then the samples and the bins."""
    parts = view_parts(state, len(features), len(pairs))
    prior, drift, curvature_min, renewal = (float(x) for x in settings[:4])
    if not parts.head[2]:
        parts.edges[:] = np.inf
        for weights in (parts.slopes, parts.weights, parts.pairs):
            weights[..., 1] = prior
        parts.head[2:5] = [8, math.log(settings[5] / (1 - settings[5])), 1]
    terms = list(_find_terms(parts, features, pairs, settings))
    rate = _sigmoid(parts.head[3] + sum(float(w[0]) * x for w, x in terms))
    doubt = parts.head[4] + sum(float(w[1]) * x * x for w, x in terms)
    curvature = max(rate * (1 - rate), curvature_min)
    gain = 1 / (1 + curvature * doubt)
    for weight, x in terms:
        felt = float(weight[1]) * x
        weight[0] += felt * (label - rate) * gain
        shrunk = float(weight[1]) - felt**2 * curvature * gain
        weight[1] = min(shrunk + drift * prior, prior)
    variance = parts.head[4]
    parts.head[3] += variance * (label - rate) * gain
    parts.head[4] = min(variance - variance**2 * curvature * gain + drift, 1)
    for k, value in enumerate(float(x) for x in features):
        if math.isfinite(value):
            count, mean, squares = parts.moments[k]
            distance = _squash(value) - mean
            mean += distance / (count + 1)
            squares += distance * (_squash(value) - mean)
            parts.moments[k] = [count + 1, mean, squares]
    kind = int(label > 0)
    parts.head[kind] += 1
    samples = count_samples(len(features))
    keep_sample(features, int(parts.head[kind]), kind, len(pairs), samples, state)
    if parts.head[1] >= parts.head[2]:
        parts.head[2] *= 2
        redraw_bins(len(features), pairs, renewal, prior, state)


def _find_terms(parts, features, pairs, settings):
    """Yield each weight (a view of its mean and variance) and what it is multiplied by."""
    bins = []
    for k, value in enumerate(float(x) for x in features):
        known = math.isfinite(value)
        bins.append(find_bin(parts.edges[k], 0, value) if known else 0)
        yield parts.weights[k, bins[k]], 1.0
        count, mean, squares = parts.moments[k]
        if known and count >= 2:
            deviations = (_squash(value) - mean) / math.sqrt(squares / count + 1e-6)
            yield parts.slopes[k], settings[4] * min(max(deviations, -4), 4)
    for p, (first, second) in enumerate(pairs):
        yield parts.pairs[p, find_pair_bin(bins[first]), find_pair_bin(bins[second])], 1.0


def _squash(value):
    """log2(1 + |value|), linear between the powers of two."""
    whole = math.floor(math.log2(1 + abs(value)))
    return math.copysign(whole + (1 + abs(value)) / 2**whole - 1, value)


def _sigmoid(log_odds):
    return 1 / (1 + math.exp(-min(max(log_odds, -30), 30)))
