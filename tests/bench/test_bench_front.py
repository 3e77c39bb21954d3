"""The benchmark of the front still runs: its small size, with bounds that only nonsense breaks."""

import math

import pytest

from bench import load
from bench.front import budget
from bench.front.__main__ import KEYS
from bench.front.stages import Stopwatch
from tests.bench.small_runs import run_small


@pytest.mark.slow
def test_it_prints_every_figure_or_why_not():
    result = run_small("bench.front")
    assert set(KEYS) <= set(result)
    for key in KEYS:
        if key.startswith("rival_") or not load.is_available():
            assert result[key] is None
            assert isinstance(result["details"][key], str)
        else:
            assert math.isfinite(result[key])
            assert 0.001 < result[key] < 1_000


def test_a_stopwatch_counts_each_stage_once():
    watch = Stopwatch()

    def spin(count):
        return sum(range(count))

    inner = watch.wrap("inner", lambda: spin(200_000))
    outer = watch.wrap("outer", lambda: (spin(100_000), inner(), inner()))
    for _ in range(20):
        outer()
    assert watch.calls == {"inner": 40, "outer": 20}
    assert 2 < watch.took_ns["inner"] / watch.took_ns["outer"] < 8
    assert watch.cost_ns > 0


@pytest.mark.slow
def test_the_budget_adds_up():
    result = run_small("bench.front.budget")
    if not load.is_available():
        assert all(result[key] is None for key in budget.KEYS)
        return
    shares = [result[key] for key in budget.KEYS]
    assert sum(shares) == pytest.approx(1)
    assert all(share > -0.2 for share in shares)
