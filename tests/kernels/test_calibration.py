"""The calibration kernels against their slow twins."""

import numpy as np
import pytest

from instanter.kernels import calibration
from tests.oracles import calibration as oracle


@pytest.mark.parametrize("knot_count", [1, 2, 9])
def test_calibration_is_that_of_the_oracle(knot_count):
    draw = np.random.default_rng(knot_count)
    knot_x = np.cumsum(draw.uniform(0.01, 1, (5, knot_count)), axis=1) - 3
    knot_y = np.cumsum(draw.choice([0.0, 0.5, 2.0], (5, knot_count)), axis=1) - 4
    knot_x.setflags(write=False)
    knot_y.setflags(write=False)
    for column in range(5):
        inner = [float(x) for x in knot_x[column]]
        for raw in [*inner, *draw.uniform(-6, 6, 50).tolist(), -1e6, 1e6]:
            found = calibration.calibrate(raw, column, knot_x, knot_y)
            assert found == pytest.approx(oracle.calibrate(raw, column, knot_x, knot_y), abs=1e-9)


def test_calibration_never_falls():
    knot_x = np.array([[-2.0, 0.0, 1.0]])
    knot_y = np.array([[-3.0, -3.0, 2.0]])
    found = [calibration.calibrate(x / 10, 0, knot_x, knot_y) for x in range(-50, 50)]
    assert found == sorted(found)
