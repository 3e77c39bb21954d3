"""The benchmark of the keeper still runs: its small size, with bounds that only nonsense breaks."""

import json
import math
import subprocess
import sys

import pytest

from bench import load
from bench.keeper.__main__ import KEYS
from tests.conftest import REPOSITORY

_BY_H2LOAD = ("decide_p99_ratio", "workers_2_rate_ratio")


@pytest.mark.slow
def test_it_prints_every_figure_or_why_not():
    done = subprocess.run(
        [sys.executable, "-m", "bench.keeper", "--small"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(KEYS) <= set(result)
    for key in KEYS:
        if result[key] is None:
            assert isinstance(result["details"][key], str)
            assert key in _BY_H2LOAD or "data" in result["details"][key].lower()
            assert key not in _BY_H2LOAD or not load.is_available()
        else:
            assert math.isfinite(result[key])
            assert 0.0 <= result[key] < 1e6
