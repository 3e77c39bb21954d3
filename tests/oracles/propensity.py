"""Slow twins of `kernels/propensity`, in Python's own whole numbers."""

import math

from tests.oracles.calibration import calibrate


def score_rows(weight, rows, row_count, base, context_base, known, total):
    """The modal sums, and the difference that each unusual bin makes."""
    for c in range(len(total)):
        found = int(context_base[c]) + (int(base[c]) if known else 0)
        total[c] = found + sum(int(weight[row, c]) for row in rows[:row_count])


def propensity_of(
    column, total, known, scale, intercept, prior_logit, calibration_x, calibration_y
):
    """Raw score, calibrated log-odds, probability."""
    start = intercept[column] if known else prior_logit[column]
    raw = scale[column] * int(total[column]) + start
    logit = calibrate(raw, column, calibration_x, calibration_y)
    return 1 / (1 + math.exp(-min(max(logit, -30), 30)))


def score_turn(weight, rows, row_count, base, context_base, known, total):
    """One customer after the other."""
    for i in range(len(row_count)):
        score_rows(weight, rows[i], row_count[i], base, context_base, known[i], total[i])


def find_propensities(
    reason, total, known, scale, intercept, prior_logit, calibration_x, calibration_y, propensity
):
    """One offer after the other, those that are stopped left out."""
    for o in range(len(reason)):
        if not reason[o]:
            propensity[o] = propensity_of(
                o, total, known, scale, intercept, prior_logit, calibration_x, calibration_y
            )
