"""Commands that are gathered until their turn: each caller gets its own outcome, and once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instanter.errors import (
    ExhaustedError,
    ExpiredError,
    InstanterError,
    NotFoundError,
    UnavailableError,
)
from instanter.keeper import write_queue
from instanter.keeper.commands import Command, Gathering
from instanter.keeper.customers import DeleteCustomer
from instanter.limits import WRITES_ON_LOOP_WEIGHT_MAX
from instanter.store.log.log import Log
from tests.keeper.askers import Asker, Gathered, Told
from tests.keeper.desk import Desk, Failing, make_put, open_desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path / "store") as opened:
        opened.publish()
        yield opened


class Crowd:
    """Asks one after another, and joins those that ask already where that is possible."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._gathering: Gathering | None = None
        self.told = Told()
        self.begun_count = 0

    def ask(
        self, name: str, command: Command[Any], deadline_ns: int | None = None, **given: Any
    ) -> Asker:
        asker, made = Asker(name), Gathered(command, deadline_ns, **given)
        if self._gathering is None or not self._gathering.add(made, asker):
            self._gathering = self._desk.keeper.gather(made, asker, self.told.take)
            self.begun_count += 1
        return asker


def test_those_who_ask_before_their_turn_share_a_group_and_each_has_its_answer(desk: Desk) -> None:
    crowd, release = Crowd(desk), desk.hold()
    before = desk.metrics.write_groups_count
    crowd.ask("a", make_put("anna", 1))
    crowd.ask("b", DeleteCustomer("nobody", allow_missing=False))
    crowd.ask("c", make_put("carla", 3))
    release()
    told = crowd.told.wait(3)
    assert told["a"].profile.revision == told["c"].profile.revision == 1
    assert isinstance(told["b"], NotFoundError)
    assert (desk.get("anna"), desk.get("carla")) == (1, 3)
    # That which held them up is one as well.
    assert desk.metrics.write_groups_count - before <= 2
    assert crowd.begun_count == 1


def test_one_behind_its_turn_begins_another(desk: Desk) -> None:
    crowd = Crowd(desk)
    crowd.ask("a", make_put("anna", 1))
    crowd.told.wait(1)
    crowd.ask("b", make_put("bert", 2))
    assert crowd.told.wait(2)["b"].profile.revision == 1
    assert crowd.begun_count == 2


def test_more_than_an_event_loop_does_in_a_turn_begin_another(desk: Desk) -> None:
    crowd, release = Crowd(desk), desk.hold()
    count = 2 * WRITES_ON_LOOP_WEIGHT_MAX + 1
    for at in range(count):
        crowd.ask(f"c{at}", make_put(f"c{at}", at))
    assert crowd.begun_count == 3
    release()
    assert len(crowd.told.wait(count)) == count
    assert [desk.get(f"c{at}") for at in range(count)] == list(range(count))


def test_one_that_takes_long_begins_another(desk: Desk) -> None:
    crowd, release = Crowd(desk), desk.hold()
    crowd.ask("a", make_put("anna", 1))
    crowd.ask("long", make_put("bert", 2), weight=WRITES_ON_LOOP_WEIGHT_MAX)
    crowd.ask("c", make_put("carla", 3))
    assert crowd.begun_count == 3
    release()
    assert sorted(crowd.told.wait(3)) == ["a", "c", "long"]


def test_relaxed_and_durable_ones_are_not_mixed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = threading.Event(), Log.sync

    def wait(log: Log) -> int:
        assert synced.wait(20)
        return sync(log)

    crowd, release = Crowd(desk), desk.hold()
    crowd.ask("durable", make_put("anna", 1))
    crowd.ask("relaxed", make_put("bert", 2), relaxed=True)
    crowd.ask("more", make_put("carla", 3), relaxed=True)
    assert crowd.begun_count == 2
    monkeypatch.setattr(Log, "sync", wait)
    release()
    assert sorted(crowd.told.wait(2)) == ["more", "relaxed"]
    synced.set()
    assert sorted(crowd.told.wait(3)) == ["durable", "more", "relaxed"]


def test_who_has_gone_or_is_late_is_left_out(desk: Desk) -> None:
    crowd, release = Crowd(desk), desk.hold()
    crowd.ask("a", make_put("anna", 1))
    crowd.ask("gone", make_put("gone", 2)).open = False
    crowd.ask("late", make_put("late", 3), desk.clock.monotonic_ns())
    crowd.ask("d", make_put("dora", 4), desk.clock.monotonic_ns() + 60_000_000_000)
    release()
    told = crowd.told.wait(3)
    assert sorted(told) == ["a", "d", "late"]
    assert isinstance(told["late"], ExpiredError)
    assert [desk.get(name) for name in ("anna", "gone", "late", "dora")] == [1, None, None, 4]


def test_a_group_of_which_nobody_is_left_does_nothing(desk: Desk) -> None:
    crowd, release = Crowd(desk), desk.hold()
    crowd.ask("gone", make_put("gone", 2)).open = False
    release()
    desk.put("anna").result(20)
    assert desk.get("gone") is None


def test_a_bug_in_one_is_that_ones_answer_alone(desk: Desk) -> None:
    crowd, release = Crowd(desk), desk.hold()
    crowd.ask("a", make_put("anna", 1))
    crowd.ask("b", Failing(KeyError("ours")))
    crowd.ask("c", make_put("carla", 3))
    release()
    told = crowd.told.wait(3)
    assert isinstance(told["b"], KeyError)
    assert told["a"].profile.revision == told["c"].profile.revision == 1


def test_each_counts_among_those_that_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "WRITES_WAITING_MAX", 3)
    crowd, release = Crowd(desk), desk.hold()
    for at in range(3):
        crowd.ask(f"c{at}", make_put(f"c{at}", at))
    with pytest.raises(ExhaustedError, match="retry later"):
        crowd.ask("c3", make_put("c3", 3))
    with pytest.raises(ExhaustedError, match="retry later"):
        desk.put("c4")
    release()
    assert sorted(crowd.told.wait(3)) == ["c0", "c1", "c2"]
    crowd.ask("c3", make_put("c3", 3))
    crowd.told.wait(4)


def test_all_are_told_when_the_disk_fails(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(log: Log) -> int:
        raise log._fail(OSError(5, "the disk is gone"))

    monkeypatch.setattr(Log, "sync", fail)
    crowd, release = Crowd(desk), desk.hold()
    for at in range(3):
        crowd.ask(f"c{at}", make_put(f"c{at}", at))
    release()
    told = crowd.told.wait(3)
    assert all(isinstance(error, UnavailableError) for error in told.values())
    with pytest.raises(InstanterError):
        Crowd(desk).ask("late", make_put("late", 1))


def test_a_stopped_keeper_has_told_all_and_takes_no_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "store")
    desk.publish()
    crowd = Crowd(desk)
    for at in range(20):
        crowd.ask(f"c{at}", make_put(f"c{at}", at))
    desk.close()
    told = crowd.told.wait(20)
    assert all(outcome.profile.revision == 1 for outcome in told.values())
    with pytest.raises(UnavailableError, match="stopping"):
        Crowd(desk).ask("late", make_put("late", 1))
