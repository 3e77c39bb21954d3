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


@pytest.mark.parametrize("drift", [0.0, 0.01])
def test_learned_calibration_is_that_of_the_oracle(drift):
    draw = np.random.default_rng(4)
    found = np.array([0.0, 1.0, 0.0, 0.05, 0.05, 0.05])
    wanted = found.copy()
    for _ in range(300):
        raw, evidence = draw.normal(0, 4, 2).tolist()
        label = float(draw.integers(0, 2))
        blended = calibration.blend_scores(raw, evidence, found)
        assert blended == pytest.approx(oracle.blend_scores(raw, evidence, wanted), abs=1e-9)
        calibration.learn_calibration(label, raw, evidence, drift, found)
        oracle.learn_calibration(label, raw, evidence, drift, wanted)
        assert found == pytest.approx(wanted, abs=1e-9)


def test_trust_in_a_score_never_turns_the_order_round():
    learned = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    for i in range(200):
        raw = 3.0 if i % 2 else -3.0
        calibration.learn_calibration(float(raw < 0), raw, 0.0, 0.0, learned)
    assert learned[1] == calibration.TRUST_MIN


def test_scores_that_are_too_sure_are_believed_less():
    draw = np.random.default_rng(9)
    learned = np.array([0.0, 1.0, 0.0, 0.5, 0.5, 0.5])
    for _ in range(5000):
        raw = draw.normal(0, 2)
        label = float(draw.random() < 1 / (1 + np.exp(-(0.4 * raw - 1))))
        calibration.learn_calibration(label, raw, 0.0, 0.0, learned)
    # The standard error of a slope from 5000 such labels is about 0.02.
    assert learned[0] == pytest.approx(-1, abs=0.12)
    assert learned[1] == pytest.approx(0.4, abs=0.08)
