"""The tools of the benchmarks measure what they say."""

import json
import os
import time

import numpy as np
import pytest

from bench import load, measurement, workload
from bench.figures import README, fill_in, format_section
from instanter.catalogue.schema import MISSING_CODE


def test_percentiles_are_in_microseconds():
    found = measurement.summarise(np.arange(1, 101) * 1000)
    assert found.sample_count == 100
    assert found.p50_us == 50.5
    assert found.p99_us == pytest.approx(99.01)
    assert found.worst_us == 100


def test_a_pair_is_measured_in_turn_and_what_slows_both_cancels():
    order = []
    clock = iter(range(0, 10**12, 1000))

    def spend(label, times):
        for _ in range(times):
            next(clock)
        order.append(label)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter_ns", lambda: next(clock))
        pair = measurement.measure_pair(
            lambda at: spend("a", 5), lambda at: spend("b", 2), rounds=3, count=4
        )
    assert pair.ratio == 2.0
    assert pair.ratio_low == pair.ratio_high == 2.0
    assert pair.first.sample_count == pair.second.sample_count == 12
    rounds = ["".join(order[at : at + 8]) for at in range(0, len(order), 8)]
    assert rounds == ["aaaabbbb", "bbbbaaaa", "aaaabbbb", "bbbbaaaa"]


def test_processor_time_counts_work_and_not_waiting():
    before = measurement.read_cpu_s(os.getpid())
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    spent = measurement.read_cpu_s(os.getpid()) - before
    assert 0.15 <= spent <= 0.5


def test_a_report_ends_with_one_json_object(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(measurement, "RESULTS", tmp_path / "results")
    figures = {
        "a_ratio": measurement.Figure(1.5, "≤ 2", "", {"count": np.int64(3)}),
        "b_ratio": measurement.Figure(None, reason="there is no generator"),
    }
    measurement.report("toy", figures, {"customers": 5}, keep=True)
    shown = capsys.readouterr().out
    assert "there is no generator" in shown
    last = json.loads(shown.splitlines()[-1])
    assert (last["a_ratio"], last["b_ratio"]) == (1.5, None)
    assert last["details"]["a_ratio"] == {"count": 3}
    assert last["sizes"] == {"customers": 5}
    assert {"processor", "core_count", "python", "numba", "commit"} <= set(last["machine"])
    assert json.loads((tmp_path / "results/toy.json").read_text()) == last


def test_a_message_is_framed_as_grpc_frames_it():
    assert load.frame_message(b"abc") == b"\x00\x00\x00\x00\x03abc"


def test_a_failed_load_is_an_error_and_no_figure():
    if not load.is_available():
        pytest.skip(load.MISSING_REASON)
    with pytest.raises(load.LoadFailedError):
        load.run_load(1, "nobody.Listens/Here", [b""], request_count=1)


def test_the_workload_is_the_same_each_time_and_as_dense_as_it_says():
    assert workload.make_files(10) == workload.make_files(10)
    catalogue = workload.compile_files(workload.make_files(10))
    assert catalogue.schema.profile_slot_count == workload.ATTRIBUTES == 1000
    draw = np.random.default_rng
    slots = workload.draw_slots(catalogue, 300, draw(1))
    assert np.array_equal(slots, workload.draw_slots(catalogue, 300, draw(1)))
    assert not (slots == MISSING_CODE).any()
    sparse = workload.draw_slots(catalogue, 300, draw(1), sparse=True)
    assert 0.69 < (sparse == MISSING_CODE).mean() < 0.71


def test_the_skewed_choice_prefers_few_and_the_uniform_none():
    choice = workload.draw_choice(1000, 20_000)
    shares = np.sort(np.bincount(choice.skewed, minlength=1000))[::-1] / 20_000
    assert shares[0] == pytest.approx(1 / np.sum(1 / np.arange(1, 1001)), rel=0.1)
    assert np.bincount(choice.uniform, minlength=1000).max() < 60


def test_the_readme_shows_what_was_measured():
    text = README.read_text("utf-8")
    assert fill_in(text) == text
    # And a section that says something else would be noticed.
    assert fill_in(text.replace("| `growth_ratio` | ", "| `growth_ratio` | 9")) == text


@pytest.mark.parametrize("behind", ["", " with changes"])
def test_a_tree_with_changes_is_told_with_its_commit(behind: str) -> None:
    machine = {
        "core_count": 2,
        "processor": "any",
        "python": "3",
        "numba": "0",
        "commit": f"{'0123456789abcdef' * 2}{behind}",
    }
    section = format_section({"machine": machine, "bounds": {}, "details": {}})
    assert f"commit 0123456789ab{behind}.\n" in section


def test_what_a_busy_neighbour_costs_is_measured_and_leaves_no_trace():
    before = os.sched_getaffinity(0)
    ratio = measurement.describe_machine()["busy_neighbour_ratio"]
    assert os.sched_getaffinity(0) == before
    if len(before) > 1:
        assert 0.2 < ratio < 10
    else:
        assert ratio is None
