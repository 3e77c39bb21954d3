"""The benchmark of the front still runs: its small size, with bounds that only nonsense breaks."""

import json
import math
import subprocess
import sys

import pytest

from bench import load
from bench.front.__main__ import KEYS
from tests.conftest import REPOSITORY


@pytest.mark.slow
def test_it_prints_every_figure_or_why_not():
    done = subprocess.run(
        [sys.executable, "-m", "bench.front", "--small"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(KEYS) <= set(result)
    for key in KEYS:
        if key.startswith("rival_") or not load.is_available():
            assert result[key] is None
            assert isinstance(result["details"][key], str)
        else:
            assert math.isfinite(result[key])
            assert 0.001 < result[key] < 1_000
