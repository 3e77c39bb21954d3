"""Counters of several processes add up, and never go back when one of them ends."""

import pytest

from instanter.frames import Frames, pack
from instanter.metrics import Metrics
from instanter.supervisor.sums import add_snapshot, add_up, take_snapshot


def counted(turns: int, revision: int = 1) -> Metrics:
    metrics = Metrics()
    for _ in range(turns):
        metrics.count_turn(3, 100)
    metrics.decisions_by_state[1] = 3 * turns
    metrics.count_error("Get", "NOT_FOUND", turns)
    metrics.streams_open_count = 2
    metrics.catalogue_revision = revision
    return metrics


def test_a_snapshot_travels_and_has_everything() -> None:
    sent = take_snapshot(counted(2))
    (received,) = Frames(1 << 20).feed(pack(sent))
    copy = Metrics()
    add_snapshot(copy, received, living=True)
    assert take_snapshot(copy) == sent
    assert {name for name in Metrics.__slots__ if not name.startswith("_")} <= set(sent)


def test_living_processes_add_up() -> None:
    total = add_up([take_snapshot(counted(2)), take_snapshot(counted(3, revision=7))], Metrics())
    assert (total.turns_count, total.decisions_by_state[1]) == (5, 15)
    assert total.decision_time_sum_us == 5 * 300
    assert total.list_errors() == {("Get", "NOT_FOUND"): 5}
    assert total.streams_open_count == 4
    assert total.catalogue_revision == 7, "a revision is no sum"


def test_what_has_ended_stays_counted_and_open_streams_do_not() -> None:
    ended = Metrics()
    add_snapshot(ended, take_snapshot(counted(5)), living=False)
    total = add_up([take_snapshot(counted(1))], ended)
    assert total.turns_count == 6
    assert total.streams_open_count == 2
    again = add_up([], ended)
    assert again.turns_count == 5, "adding up changes nothing"


def test_a_process_without_counters_yet_adds_nothing() -> None:
    assert add_up([{}], Metrics()).turns_count == 0


@pytest.mark.parametrize("name", ["decisions_by_state", "decision_time_buckets"])
def test_lists_of_the_snapshot_are_not_shared(name: str) -> None:
    ended = Metrics()
    total = add_up([take_snapshot(counted(1))], ended)
    getattr(total, name)[1] += 1_000
    assert sum(getattr(ended, name)) == 0


def test_what_a_dead_process_had_is_not_what_there_is_now() -> None:
    dead, living, ended = Metrics(), Metrics(), Metrics()
    for metrics in (dead, living):
        metrics.hotlist_entry_counts[1] = 7
        metrics.fraud_rules_paused_count = 1
        metrics.count_assessment(1, 1)
    add_snapshot(ended, take_snapshot(dead), living=False)
    total = add_up([take_snapshot(living)], ended)
    assert total.hotlist_entry_counts[1] == 7
    assert total.fraud_rules_paused_count == 1
    assert sum(total.assessments_by_verdict) == 2
