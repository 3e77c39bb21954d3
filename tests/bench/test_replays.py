"""The replays of the keeper's benchmark, on few rows: learning online is learning offline."""

from pathlib import Path

import numpy as np
import pytest

from bench.keeper.replays import HILLSTROM_FILE, measure_bank, measure_hillstrom, open_mails


@pytest.mark.usefixtures("data_folder")
def test_a_bank_s_calls_are_learned_online_exactly_as_offline(tmp_path: Path) -> None:
    figure = measure_bank(1_500, tmp_path / "store")
    assert figure.value == 0.0
    assert figure.detail["rows"] == 1_500


@pytest.mark.usefixtures("data_folder")
def test_the_replay_of_mails_counts_what_was_sent_and_repeats_itself(data_folder: Path) -> None:
    with open_mails(data_folder / HILLSTROM_FILE, 3_000) as mails:
        first, again, other = (mails.replay(seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or (first != other).any()
    assert 700 < len(first) < 1_300, "about a third of the rows got the mail that was chosen"


def test_without_the_data_the_figures_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INSTANTER_DATA", str(tmp_path))
    assert "no real data" in measure_bank(10, tmp_path / "store").reason
    assert all("no real data" in figure.reason for figure in measure_hillstrom(10).values())
