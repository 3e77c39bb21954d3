"""The benchmark of the keeper still runs: its small size, with bounds that only nonsense breaks."""

import math

import pytest

from bench import load
from bench.keeper.__main__ import KEYS
from tests.bench.small_runs import run_small

_BY_H2LOAD = ("decide_p99_ratio", "workers_2_rate_ratio")


@pytest.mark.slow
def test_it_prints_every_figure_or_why_not():
    result = run_small("bench.keeper", timeout_s=200)
    assert set(KEYS) <= set(result)
    for key in KEYS:
        if result[key] is None:
            assert isinstance(result["details"][key], str)
            assert key in _BY_H2LOAD or "data" in result["details"][key].lower()
            assert key not in _BY_H2LOAD or not load.is_available()
        else:
            assert math.isfinite(result[key])
            assert 0.0 <= result[key] < 1e6
