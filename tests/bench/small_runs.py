"""Runs a benchmark at its small size, as a user would."""

import json
import subprocess
import sys
from typing import Any

from tests.conftest import REPOSITORY


def run_small(module: str, *arguments: str, timeout_s: float = 150) -> dict[str, Any]:
    """Return what a benchmark prints as its last line: one JSON object."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--small", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
