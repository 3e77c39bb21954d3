"""The benchmark of the check at the till still runs: its small size, with its exact figures."""

import math

import numpy as np
import pytest

from bench.fraud.__main__ import KEYS
from bench.fraud.replays import measure_card_precision
from bench.fraud.worlds import FOLDER, read_world
from instanter.cli.replay.mapping import load_mapping
from instanter.cli.replay.recorded import RecordedTransactions
from tests.bench.small_runs import run_small
from tests.catalogue.worlds import compile_files

_EXACT = ("velocity_violations_count", "travel_false_count", "travel_missed_count")


@pytest.mark.slow
def test_it_prints_every_figure_or_why_not():
    result = run_small("bench.fraud", timeout_s=200)
    assert set(KEYS) <= set(result)
    for key in KEYS:
        if result[key] is None:
            assert "data" in result["details"][key]
        else:
            assert math.isfinite(result[key])
            assert 0.0 <= result[key] < 1e6
            assert key not in _EXACT or result[key] == 0
    assert result["card_size_bytes"] is None or 0 < result["card_size_bytes"] <= 4096


@pytest.mark.parametrize("name", ["handbook", "synccfd"])
def test_the_worlds_compile_and_their_mappings_are_read(name):
    policy = compile_files({f"{name}.yaml": read_world(name)}, None, revision=1).catalogue.fraud
    assert policy is not None
    assert policy.model is not None
    assert {"velocity.terminal_rate_8d", "terminal.fraud_rate"} <= set(policy.model.features)
    mapping = load_mapping(FOLDER / f"{name}_mapping.yaml")
    assert (mapping.label_delay_s, mapping.label_every_s) == (7 * 86_400, 3_600)
    assert set(mapping.fields) == {field.name for field in policy.fields}


def test_cards_that_are_known_are_left_out_of_the_books_test():
    """One transaction of each of two cards a day; card 0's first fraud is known on the third."""
    day_us = 86_400_000_000
    begin = int(np.datetime64("2018-08-08", "D").astype(np.int64))
    days = np.repeat(np.arange(begin - 10, begin + 7), 2)
    cards = np.tile([0, 1], 17)
    frauds = (cards == 0) & ((days == begin - 6) | (days >= begin))
    mapping = load_mapping(FOLDER / "handbook_mapping.yaml")
    recorded = RecordedTransactions(days * day_us, 0, frauds, None, cards, {}, {}, mapping, {})
    nothing = np.zeros(len(days), np.bool_)
    scores = frauds.astype(np.float64)
    # Card 0 is found on the first of the seven days, and is not looked at again.
    found = measure_card_precision(recorded, scores, nothing)
    assert found == pytest.approx(0.01 / 7)
    # With its fraud known before the first day it is never looked at.
    frauds[0] = True
    early = measure_card_precision(recorded, scores, nothing)
    assert early == 0.0
    assert measure_card_precision(recorded, scores, days == begin + 3) is None
