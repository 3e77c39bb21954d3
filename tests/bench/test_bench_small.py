"""The benchmarks still run: the small size of each, with bounds that only nonsense breaks."""

import math

import pytest

from bench import load
from bench.decide.__main__ import KEYS
from tests.bench.small_runs import run_small

# What is null without the load generator or without the real data.
OVER_THE_WIRE = {"decide_cpu_ratio_reference_front", "batch_cpu_ratio"}
LEARNED = {"bank_log_loss", "bank_block_auc_ratio", "profiles_auc", "profiles_log_loss"}


@pytest.fixture(scope="module")
def result():
    return run_small("bench.decide")


def test_it_prints_exactly_the_figures(result):
    others = {"name", "details", "bounds", "sizes", "machine"}
    figures = [key for key in result if key not in others]
    assert figures == list(KEYS)
    assert result["machine"]["commit"]
    assert result["sizes"]["customers"] > 0


def test_every_figure_is_a_number_or_says_why_not(result):
    for key in KEYS:
        value = result[key]
        if value is None:
            assert key in OVER_THE_WIRE | LEARNED
            assert isinstance(result["details"][key], str)
        else:
            assert math.isfinite(value)
    if load.is_available():
        assert all(result[key] is not None for key in OVER_THE_WIRE)


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("decide_in_process_ratio", 0.02, 20),
        ("decide_cpu_ratio_reference_front", 0.5, 10),
        ("batch_cpu_ratio", 0.1, 20),
        ("profile_size_bytes", 4080, 6000),
        ("growth_ratio", 0.2, 5),
        ("rules_ratio", 0.05, 40),
        ("start_s", 0.1, 30),
        ("help_ratio", 0.2, 5),
        ("late_compilations_count", 0, 0),
        ("bank_log_loss", 0.05, 0.7),
        ("bank_block_auc_ratio", 0.7, 1.5),
        ("profiles_auc", 0.5, 1),
        ("profiles_log_loss", 0.2, 1),
    ],
)
def test_a_figure_is_no_nonsense(key, low, high, result):
    if result[key] is None:
        pytest.skip(result["details"][key])
    assert low <= result[key] <= high
