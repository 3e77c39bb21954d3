"""Waits for what a test's server does in a time of its own, so that no test depends on its pace."""

import time
from collections.abc import Callable

import pytest

LONGEST_S = 20.0


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until it is so; fail when it is not in `LONGEST_S` seconds."""
    end = time.monotonic() + LONGEST_S
    while not is_so():
        if time.monotonic() > end:
            pytest.fail(f"waited {LONGEST_S:.0f} s in vain: {what}")
        time.sleep(0.005)
