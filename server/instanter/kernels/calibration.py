"""Calibration: from a model's raw score to log-odds that can be trusted as a probability."""

from numba import float64, int64

from instanter.kernels.array_types import READ_F64_2D
from instanter.kernels.compilation import Kernel, kernel


@kernel(float64(float64, int64, READ_F64_2D, READ_F64_2D))
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


KERNELS = (Kernel("calibrate", calibrate, ()),)
