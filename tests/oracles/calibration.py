"""Slow twins of `kernels/calibration`."""

import itertools


def calibrate(raw, column, knot_x, knot_y):
    """Straight lines between the knots, and on with slope 1 beyond them."""
    knots = list(zip(knot_x[column].tolist(), knot_y[column].tolist(), strict=True))
    if raw <= knots[0][0]:
        return knots[0][1] + (raw - knots[0][0])
    for (x0, y0), (x1, y1) in itertools.pairwise(knots):
        if raw <= x1:
            return y0 + (y1 - y0) / (x1 - x0) * (raw - x0)
    return knots[-1][1] + (raw - knots[-1][0])
