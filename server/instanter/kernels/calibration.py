"""Calibration: from a model's raw score to log-odds that can be trusted as a probability."""

import math

from numba import float64, int64, void

from instanter.kernels.array_types import READ_F64, READ_F64_2D, WRITE_F64
from instanter.kernels.compilation import Kernel, inner_kernel, kernel

TRUST_MIN = 0.05
"""Least slope of the calibration: it must not turn the order of scores round."""

_LOGIT_MAX = 30.0
_CURVATURE_MIN = 1e-3


@inner_kernel(float64(float64, int64, READ_F64_2D, READ_F64_2D))
def calibrate(raw, column, knot_x, knot_y):  # type: ignore[no-untyped-def]
    """Map a raw score to calibrated log-odds: piecewise linear, beyond the ends with slope 1.

    Parameters
    ----------
    raw
        Raw score, finite.
    column
        The offer.
    knot_x, knot_y
        float64[C, K], read-only, K ≥ 1: `ScoreTable.calibration_x` (strictly rising) and
        `calibration_y` (not falling).

    Returns
    -------
    float
        Log-odds.
    """
    last = knot_x.shape[1] - 1
    if raw <= knot_x[column, 0]:
        return knot_y[column, 0] + (raw - knot_x[column, 0])
    if raw >= knot_x[column, last]:
        return knot_y[column, last] + (raw - knot_x[column, last])
    k = 1
    while knot_x[column, k] < raw:
        k += 1
    x, y = knot_x[column, k - 1], knot_y[column, k - 1]
    slope = (knot_y[column, k] - y) / (knot_x[column, k] - x)
    return y + slope * (raw - x)


@kernel(float64(float64, float64, READ_F64))
def blend_scores(raw, evidence, calibration):  # type: ignore[no-untyped-def]
    """Return calibrated log-odds of the two learners' scores.

    Parameters
    ----------
    raw
        Score of the logistic regression.
    evidence
        Score of naive Bayes, divided by the root of the number of predictors, because it adds up
        what correlated predictors say many times.
    calibration
        float64[6], read-only: offset, trust in `raw`, trust in `evidence`, and their variances.

    Returns
    -------
    float
        Log-odds, within ±30.
    """
    logit = calibration[0] + calibration[1] * raw + calibration[2] * evidence
    return min(max(logit, -_LOGIT_MAX), _LOGIT_MAX)


@kernel(void(float64, float64, float64, float64, WRITE_F64))
def learn_calibration(label, raw, evidence, drift, calibration):  # type: ignore[no-untyped-def]
    """Learn from one label how far the two scores can be trusted (Platt's scaling, online).

    One step of an extended Kalman filter with a diagonal covariance, as for the weights. The
    scores must have been made before the label was seen.

    Parameters
    ----------
    label
        0 or 1.
    raw, evidence
        As for `blend_scores`.
    drift
        What each variance grows at each label, which is how it forgets; 0 for never.
    calibration
        float64[6], written.
    """
    logit = blend_scores(raw, evidence, calibration)
    rate = 1.0 / (1.0 + math.exp(-logit))
    curvature = max(rate * (1.0 - rate), _CURVATURE_MIN)
    doubt = calibration[3] + calibration[4] * raw * raw + calibration[5] * evidence * evidence
    gain = 1.0 / (1.0 + curvature * doubt)
    for j in range(3):
        felt = 1.0 if j == 0 else (raw if j == 1 else evidence)
        pull = calibration[3 + j] * felt
        calibration[j] += pull * (label - rate) * gain
        calibration[3 + j] += drift - pull * pull * curvature * gain
    calibration[1] = max(calibration[1], TRUST_MIN)


KERNELS = (
    Kernel("calibrate", calibrate, ()),
    Kernel("blend_scores", blend_scores, ()),
    Kernel("learn_calibration", learn_calibration, ("calibration",)),
)
