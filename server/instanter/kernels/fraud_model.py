"""The online model of the check at the till: how likely a transaction is fraud.

A logistic regression over the figures of a transaction. Each feature takes part three ways: by
its bin (`kernels/fraud_bins`), by its standardised logarithm, and in declared pairs by the bins
of both. So it knows steps and slopes and what only two figures tell together, and a feature may be
missing.

Each weight is a normal distribution of its own. A label moves the means along its surprise, each
in proportion to its variance, and shrinks the variances by what it told: one step of an extended
Kalman filter with a diagonal covariance, as in `kernels/learning`. No learning rate is to be
tuned, and no batch is ever trained. All is additions, multiplications, divisions and roots, so the
same labels in the same order give the same bytes on every machine.

Measured, 40 features and 8 pairs: 4 µs to predict and as many to learn, the call from Python
included; the state is 54 kB.
"""

import math

import numpy as np
from numba import float64, int64, types, void

from instanter.kernels.array_types import (
    READ_F32,
    READ_F64,
    READ_I32_2D,
    READ_I64,
    WRITE_F32,
    WRITE_F64,
)
from instanter.kernels.baselines import fade, take_logarithm
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.fraud_bins import (
    BINS,
    EDGES,
    FIRST_DRAW,
    HEAD,
    HEAD_FRAUDS,
    HEAD_GENUINE,
    HEAD_INTERCEPT,
    HEAD_NEXT_DRAW,
    HEAD_VARIANCE,
    MOMENTS,
    PAIR_BINS,
    PART_EDGES,
    PART_END,
    PART_MOMENTS,
    PART_PAIRS,
    PART_SAMPLES,
    PART_SLOPES,
    PART_WEIGHTS,
    count_samples,
    find_bin,
    find_pair_bin,
    find_part,
    keep_sample,
    redraw_bins,
)

SETTING_PRIOR_VARIANCE = 0
"""Variance of a weight that no label has moved."""
SETTING_DRIFT = 1
"""What share of the prior variance a variance grows by at each label: so it forgets."""
SETTING_CURVATURE_MIN = 2
"""A label tells at least as much as at this curvature: sure of itself, the model stays calm."""
SETTING_RENEWAL = 3
"""What variances are multiplied by when bins are drawn anew."""
SETTING_SLOPE_SCALE = 4
"""What standardised features are multiplied by: slopes carry less than bins."""
SETTING_START_RATE = 5
"""Share of frauds before any label."""
SETTING_COUNT = 6
DEFAULT_SETTINGS = (0.2, 1e-6, 0.01, 6.0, 0.3, 0.01)
"""Chosen on two simulated data sets, once for both; `bench/README.md` tells on which rows."""

_DEVIATIONS_MAX = 4.0
_LOG_ODDS_MAX = 30.0
_SQUARES_MIN = 1e-6
_LN_2 = 0.6931471805599453
_READY = 2.0
"""Labels from which a feature's spread is known."""


@kernel(int64(int64, int64))
def count_model_words(feature_count, pair_count):
    """Return how many float32 the state of a model has; an even number."""
    words = find_part(PART_END, feature_count, pair_count)
    return words + words % 2


@inner_kernel(float64(float64))
def squash(value):
    """Return about log2(1 + |value|) with the sign of `value`: linear between powers of two.

    Long tails are to be drawn in, no more; the logarithm itself took half the time of a
    prediction.
    """
    mantissa, exponent = math.frexp(1.0 + abs(value))
    logarithm = exponent + 2.0 * mantissa - 2.0
    return logarithm if value >= 0.0 else -logarithm


@inner_kernel(float64(float64))
def to_probability(log_odds):
    """Return the probability of log-odds, in (0, 1)."""
    bounded = min(abs(log_odds), _LOG_ODDS_MAX)
    less = fade(bounded / _LN_2)
    return 1.0 / (1.0 + less) if log_odds >= 0.0 else less / (1.0 + less)


@inner_kernel(float64(float64))
def to_log_odds(rate):
    """Return the log-odds of a rate in [0.001, 0.999]."""
    return take_logarithm(rate) - take_logarithm(1.0 - rate)


@inner_kernel(
    types.UniTuple(float64, 2)(
        READ_F32, READ_F32, READ_I32_2D, READ_F64, types.Array(int64, 1, "C"), WRITE_F64
    )
)
def add_terms(state, features, pairs, settings, places, slopes):
    """Add up what the model holds of one transaction's figures.

    Parameters
    ----------
    state, features, pairs, settings
        As for `predict_fraud`, read-only; there is a state.
    places
        int64[F + P], written: the word of each weight that takes part, its variance behind it.
    slopes
        float64[F], written: the standardised features, 0 where missing.

    Returns
    -------
    tuple of float
        Log-odds; sum of the variances.
    """
    width, pair_count = len(features), len(pairs)
    moments = state[HEAD : HEAD + MOMENTS * width].view(np.float64)
    slopes_at = find_part(PART_SLOPES, width, pair_count)
    edges_at = find_part(PART_EDGES, width, pair_count)
    weights_at = find_part(PART_WEIGHTS, width, pair_count)
    head = state[:HEAD].view(np.float64)
    score, doubt = head[HEAD_INTERCEPT], head[HEAD_VARIANCE]
    for k in range(width):
        value = np.float64(features[k])
        known = np.isfinite(value)
        found = find_bin(state, edges_at + k * EDGES, value) if known else 0
        slopes[k] = 0.0
        count = moments[3 * k]
        if known and count >= _READY:
            spread = math.sqrt(moments[3 * k + 2] / count + _SQUARES_MIN)
            distance = (squash(value) - moments[3 * k + 1]) / spread
            bounded = min(max(distance, -_DEVIATIONS_MAX), _DEVIATIONS_MAX)
            slopes[k] = settings[SETTING_SLOPE_SCALE] * bounded
        places[k] = weights_at + 2 * (k * BINS + found)
        score += state[places[k]] + slopes[k] * state[slopes_at + 2 * k]
        doubt += state[places[k] + 1] + slopes[k] * slopes[k] * state[slopes_at + 2 * k + 1]
    pairs_at = find_part(PART_PAIRS, width, pair_count)
    for p in range(pair_count):
        first = (places[pairs[p, 0]] - weights_at) // 2 - pairs[p, 0] * BINS
        second = (places[pairs[p, 1]] - weights_at) // 2 - pairs[p, 1] * BINS
        cell = (p * PAIR_BINS + find_pair_bin(first)) * PAIR_BINS + find_pair_bin(second)
        places[width + p] = pairs_at + 2 * cell
        score += state[places[width + p]]
        doubt += state[places[width + p] + 1]
    return score, doubt


@kernel(float64(READ_F32, READ_F32, READ_I32_2D, READ_F64))
def predict_fraud(state, features, pairs, settings):
    """Return the probability that a transaction is fraud.

    Parameters
    ----------
    state
        float32[n], read-only, n of `count_model_words`, or float32[0] before any label.
    features
        float32[F], read-only: in the units of the figures; NaN (or an infinity) where missing.
    pairs
        int32[P, 2], read-only: indexes of two features each that also count together.
    settings
        float64[SETTING_COUNT], read-only.

    Returns
    -------
    float
        In (0, 1).
    """
    if len(state) == 0 or state[:HEAD].view(np.float64)[HEAD_NEXT_DRAW] == 0.0:
        return settings[SETTING_START_RATE]
    places = np.empty(len(features) + len(pairs), np.int64)
    slopes = np.empty(len(features), np.float64)
    score, _ = add_terms(state, features, pairs, settings, places, slopes)
    return to_probability(score)


@inner_kernel(void(int64, int64, READ_F64, WRITE_F32))
def start_model(feature_count, pair_count, settings, state):
    """Write the state of a model that has seen no label.

    Parameters
    ----------
    feature_count, pair_count, settings
        F, P; as for `predict_fraud`.
    state
        float32[n], written.
    """
    state[:] = np.float32(0.0)
    prior = np.float32(settings[SETTING_PRIOR_VARIANCE])
    edges_at = find_part(PART_EDGES, feature_count, pair_count)
    for at in range(find_part(PART_SLOPES, feature_count, pair_count), edges_at, 2):
        state[at + 1] = prior
    weights_at = find_part(PART_WEIGHTS, feature_count, pair_count)
    state[edges_at:weights_at] = np.inf
    for at in range(weights_at, find_part(PART_SAMPLES, feature_count, pair_count), 2):
        state[at + 1] = prior
    head = state[:HEAD].view(np.float64)
    head[HEAD_NEXT_DRAW] = FIRST_DRAW
    head[HEAD_INTERCEPT] = to_log_odds(settings[SETTING_START_RATE])
    head[HEAD_VARIANCE] = 1.0


@inner_kernel(void(READ_F32, int64, WRITE_F32))
def count_moments(features, pair_count, state):
    """Count a labelled transaction in the means and spreads of its features.

    Parameters
    ----------
    features, pair_count
        float32[F], read-only; P.
    state
        float32[n], written.
    """
    width = len(features)
    at = find_part(PART_MOMENTS, width, pair_count)
    moments = state[at : at + MOMENTS * width].view(np.float64)
    for k in range(width):
        value = np.float64(features[k])
        if np.isfinite(value):
            squashed = squash(value)
            moments[3 * k] += 1.0
            distance = squashed - moments[3 * k + 1]
            moments[3 * k + 1] += distance / moments[3 * k]
            moments[3 * k + 2] += distance * (squashed - moments[3 * k + 1])


@inner_kernel(void(READ_I64, READ_F64, int64, float64, float64, READ_F64, WRITE_F32))
def move_terms(places, slopes, slopes_at, pull, told, settings, state):
    """Move every weight that took part along the surprise, and shrink its variance.

    Parameters
    ----------
    places, slopes
        int64[F + P], float64[F], read-only: from `add_terms`.
    slopes_at
        Where the weights of the slopes begin.
    pull, told
        The label's surprise and what it tells, for a variance of 1.
    settings
        As for `predict_fraud`, read-only.
    state
        float32[n], written.
    """
    ceiling = settings[SETTING_PRIOR_VARIANCE]
    growth = settings[SETTING_DRIFT] * ceiling
    for place in places:
        variance = np.float64(state[place + 1])
        state[place] += np.float32(variance * pull)
        kept = min(variance - variance * variance * told + growth, ceiling)
        state[place + 1] = np.float32(kept)
    for k in range(len(slopes)):
        at = slopes_at + 2 * k
        variance = np.float64(state[at + 1])
        felt = variance * slopes[k]
        state[at] += np.float32(felt * pull)
        state[at + 1] = np.float32(min(variance - felt * felt * told + growth, ceiling))


@kernel(void(READ_F32, READ_I32_2D, float64, READ_F64, WRITE_F32))
def learn_fraud(features, pairs, label, settings, state):
    """Learn what became of one transaction.

    Parameters
    ----------
    features, pairs
        As for `predict_fraud`, read-only: the figures as they were when it was assessed.
    label
        1 for fraud, 0 for genuine.
    settings
        As for `predict_fraud`, read-only.
    state
        float32[n], written: all 0 before the first label.
    """
    width, pair_count = len(features), len(pairs)
    head = state[:HEAD].view(np.float64)
    if head[HEAD_NEXT_DRAW] == 0.0:
        start_model(width, pair_count, settings, state)
    places = np.empty(width + pair_count, np.int64)
    slopes = np.empty(width, np.float64)
    score, doubt = add_terms(state, features, pairs, settings, places, slopes)
    rate = to_probability(score)
    curvature = max(rate * (1.0 - rate), settings[SETTING_CURVATURE_MIN])
    gain = 1.0 / (1.0 + curvature * doubt)
    pull, told = (label - rate) * gain, curvature * gain
    slopes_at = find_part(PART_SLOPES, width, pair_count)
    move_terms(places, slopes, slopes_at, pull, told, settings, state)
    variance = head[HEAD_VARIANCE]
    head[HEAD_INTERCEPT] += variance * pull
    kept = variance - variance * variance * told + settings[SETTING_DRIFT]
    head[HEAD_VARIANCE] = min(kept, 1.0)
    count_moments(features, pair_count, state)
    kind = HEAD_FRAUDS if label > 0.0 else HEAD_GENUINE
    head[kind] += 1.0
    sample_count = count_samples(width)
    keep_sample(features, np.int64(head[kind]), kind, pair_count, sample_count, state)
    if head[HEAD_FRAUDS] >= head[HEAD_NEXT_DRAW]:
        head[HEAD_NEXT_DRAW] *= 2.0
        redraw_bins(
            width, pairs, settings[SETTING_RENEWAL], settings[SETTING_PRIOR_VARIANCE], state
        )


KERNELS = (
    Kernel("count_model_words", count_model_words, ()),
    Kernel("predict_fraud", predict_fraud, ()),
    Kernel("learn_fraud", learn_fraud, ("state",)),
)
