"""The single writer."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instanter.clock import SystemClock
from instanter.errors import (
    ExhaustedError,
    ExpiredError,
    InstanterError,
    NotFoundError,
    UnavailableError,
)
from instanter.keeper import writer as writer_module
from instanter.keeper.writer import Writer
from instanter.metrics import Metrics
from instanter.store.environment import Environment
from instanter.store.profiles import load_profile, put_profile
from instanter.store.records import key_of
from instanter.store.transaction import Transaction


class Desk:
    """A writer over a new store, whose thread can be held at a gate."""

    def __init__(self, folder: Path) -> None:
        self.environment = Environment.open(folder, map_size_bytes=1 << 20)
        self.metrics = Metrics()
        self.writer = Writer(self.environment, clock=SystemClock(), metrics=self.metrics)
        self.writer.start()

    def hold(self) -> Callable[[], None]:
        """Keep the writer's thread busy until what is returned is called."""
        begun, release = threading.Event(), threading.Event()

        def change(transaction: Transaction, now_ns: int) -> None:
            begun.set()
            assert release.wait(20)

        self.writer.submit(change)
        assert begun.wait(20)
        return release.set

    def put(self, customer_id: str, value: int = 1) -> Future[Any]:
        return self.writer.submit(make_put(customer_id, value))

    def get(self, customer_id: str) -> int | None:
        with self.environment.read() as transaction:
            profile = load_profile(transaction, key_of(customer_id), 4)
            return None if profile is None else int(profile.slots[0])


def make_put(customer_id: str, value: int) -> Callable[[Transaction, int], int]:
    def change(transaction: Transaction, now_ns: int) -> int:
        slots = np.full(4, value, np.uint32)
        now_ms = now_ns // 1_000_000
        put_profile(transaction, key_of(customer_id), slots, schema_revision=1, now_ms=now_ms)
        return value

    return change


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "store")
    yield made
    made.writer.stop()
    made.environment.close()


def test_a_change_is_on_disk_when_its_future_resolves(desk: Desk) -> None:
    assert desk.put("c", 7).result(20) == 7
    assert desk.get("c") == 7


def test_changes_that_wait_are_committed_together(desk: Desk) -> None:
    release = desk.hold()
    futures = [desk.put(f"c{number}", number) for number in range(100)]
    release()
    assert [future.result(20) for future in futures] == list(range(100))
    assert desk.metrics.writes_count == 101
    assert desk.metrics.write_groups_count == 2


def test_a_refused_change_leaves_its_neighbours_alone(desk: Desk) -> None:
    def refuse(transaction: Transaction, now_ns: int) -> None:
        raise NotFoundError("no such customer")

    release = desk.hold()
    before, refused, after = desk.put("a"), desk.writer.submit(refuse), desk.put("b")
    release()
    assert before.result(20) == after.result(20) == 1
    with pytest.raises(NotFoundError):
        refused.result(20)
    assert (desk.get("a"), desk.get("b")) == (1, 1)


def test_a_change_that_fails_half_way_is_undone_and_its_neighbours_are_not(desk: Desk) -> None:
    def fail(transaction: Transaction, now_ns: int) -> None:
        make_put("half", 9)(transaction, now_ns)
        raise ZeroDivisionError

    release = desk.hold()
    before, failed, after = desk.put("a"), desk.writer.submit(fail), desk.put("b")
    release()
    assert before.result(20) == after.result(20) == 1
    with pytest.raises(ZeroDivisionError):
        failed.result(20)
    assert (desk.get("a"), desk.get("half"), desk.get("b")) == (1, None, 1)
    assert desk.put("c").result(20) == 1


def test_a_store_that_refuses_tells_everyone_of_the_group(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Environment, change: object) -> None:
        raise ExhaustedError("the disk is full")

    release = desk.hold()
    futures = [desk.put("a"), desk.put("b")]
    with monkeypatch.context() as patched:
        patched.setattr(Environment, "write", refuse)
        release()
        for future in futures:
            with pytest.raises(ExhaustedError):
                future.result(20)
    assert desk.put("a", 3).result(20) == 3


def test_a_cancelled_change_is_not_made(desk: Desk) -> None:
    release = desk.hold()
    cancelled, kept = desk.put("a"), desk.put("b")
    assert cancelled.cancel()
    release()
    kept.result(20)
    assert desk.get("a") is None
    with pytest.raises(CancelledError):
        cancelled.result(20)


def test_a_change_whose_caller_waits_no_longer_is_not_made(desk: Desk) -> None:
    release = desk.hold()
    late = desk.writer.submit(make_put("a", 1), SystemClock().monotonic_ns())
    release()
    with pytest.raises(ExpiredError):
        late.result(20)
    assert desk.get("a") is None


def test_too_many_waiting_changes_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "WRITES_WAITING_MAX", 3)
    release = desk.hold()
    futures = [desk.put(f"c{number}") for number in range(3)]
    with pytest.raises(ExhaustedError) as caught:
        desk.put("d")
    assert caught.value.reason == "WRITES_WAITING_EXHAUSTED"
    release()
    assert [future.result(20) for future in futures] == [1, 1, 1]


def test_a_stopped_writer_finishes_what_waits_and_takes_no_more(desk: Desk) -> None:
    release = desk.hold()
    waiting = desk.put("a")
    release()
    desk.writer.stop()
    assert waiting.result(0) == 1
    with pytest.raises(UnavailableError):
        desk.put("b")


def test_a_group_is_made_again_when_the_map_grows(desk: Desk) -> None:
    release = desk.hold()
    futures = [
        desk.put(f"customer-{number:04}" + "x" * 200)
        for number in range(5_000)
        if number < writer_module.WRITES_WAITING_MAX
    ]
    release()
    assert all(future.result(60) == 1 for future in futures)
    assert desk.environment.figures().map_size_bytes > 1 << 20


def test_no_error_of_the_store_is_swallowed(desk: Desk) -> None:
    def damaged(transaction: Transaction, now_ns: int) -> None:
        raise InstanterError("odd")

    with pytest.raises(InstanterError, match="odd"):
        desk.writer.submit(damaged).result(20)
