"""Slow twins of `kernels/calibration`."""

import itertools
import math


def calibrate(raw, column, knot_x, knot_y):
    """Straight lines between the knots, and on with slope 1 beyond them."""
    knots = list(zip(knot_x[column].tolist(), knot_y[column].tolist(), strict=True))
    if raw <= knots[0][0]:
        return knots[0][1] + (raw - knots[0][0])
    for (x0, y0), (x1, y1) in itertools.pairwise(knots):
        if raw <= x1:
            return y0 + (y1 - y0) / (x1 - x0) * (raw - x0)
    return knots[-1][1] + (raw - knots[-1][0])


def blend_scores(raw, evidence, calibration):
    """Offset, and each score times the trust in it."""
    offset, trust, evidence_trust = (float(x) for x in calibration[:3])
    return min(max(offset + trust * raw + evidence_trust * evidence, -30), 30)


def learn_calibration(label, raw, evidence, drift, calibration):
    """Move offset and trusts along the surprise, each by its own variance."""
    rate = 1 / (1 + math.exp(-blend_scores(raw, evidence, calibration)))
    curvature = max(rate * (1 - rate), 1e-3)
    felt = (1.0, raw, evidence)
    doubt = sum(float(calibration[3 + j]) * felt[j] ** 2 for j in range(3))
    gain = 1 / (1 + curvature * doubt)
    for j in range(3):
        variance = float(calibration[3 + j])
        calibration[j] += variance * felt[j] * (label - rate) * gain
        calibration[3 + j] = variance + drift - (variance * felt[j]) ** 2 * curvature * gain
    calibration[1] = max(calibration[1], 0.05)
