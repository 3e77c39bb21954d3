"""Who puts the log on disk where an event loop serves: the operating system, beside the loop."""

import asyncio
import errno
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from instanter import limits
from instanter.errors import UnavailableError
from instanter.keeper.syncing import Syncer
from instanter.store.log.sync_queue import OnDone, SyncQueue
from tests.keeper.desk import Desk, open_desk

MANY = 50
SMALL_SEGMENT_SIZE_BYTES = 16 << 10


class Disk:
    """A queue of syncs that end when they are told to, and with what they are told."""

    def __init__(self) -> None:
        self.descriptor = -1
        self.begun_count = 0
        self.takes_none = False
        self.done: OnDone | None = None

    @property
    def is_under_way(self) -> bool:
        return self.done is not None

    is_ours = True

    def begin(self, descriptor: int, done: OnDone) -> bool:
        assert self.done is None
        if self.takes_none:
            return False
        self.begun_count += 1
        self.done = done
        return True

    def look(self) -> None:
        raise AssertionError("no descriptor has become readable")

    def wait(self) -> None:
        while self.done is not None:
            self.end()

    def end(self, error_number: int = 0) -> None:
        done, self.done = self.done, None
        assert done is not None
        done(error_number)


Work = Callable[[Desk], Awaitable[None]]


def serve(folder: Path, work: Work) -> None:
    """Do some work beside a keeper on the running event loop."""

    async def run(desk: Desk) -> None:
        desk.keeper.attach()
        try:
            await work(desk)
        finally:
            desk.keeper.detach()

    with open_desk(folder) as desk:
        desk.publish()
        asyncio.run(run(desk))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The queue that the keeper opens, and a loop that takes its descriptor."""
    made = Disk()
    monkeypatch.setattr(SyncQueue, "open", lambda: made)
    for name in ("add_reader", "remove_reader"):
        monkeypatch.setattr(asyncio.SelectorEventLoop, name, lambda *_: None)
    return made


def watch_syncs(desk: Desk, patch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the threads that wait for the disk from now on."""
    threads: list[int] = []
    sync = desk.kept.log.sync

    def watched() -> int:
        threads.append(threading.get_ident())
        return sync()

    patch.setattr(desk.kept.log, "sync", watched, raising=False)
    return threads


def watch_others(patch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the groups from now on that are the thread's: the keeper's own."""
    others: list[int] = []
    loop_thread, answer = threading.get_ident(), Syncer.answer

    def watched(syncer: Syncer, answers: Any, sequence: int) -> None:
        if not answers or threading.get_ident() != loop_thread:
            others.append(sequence)
        answer(syncer, answers, sequence)

    patch.setattr(Syncer, "answer", watched)
    return others


async def turn_round(count: int = 5) -> None:
    """Let the loop do what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


async def put_many(desk: Desk, count: int) -> None:
    for value in range(count):
        await asyncio.wrap_future(desk.put("anna", value))
        assert desk.kept.log.synced_sequence >= desk.kept.log.written_sequence
        assert desk.get("anna") == value


def test_the_operating_system_syncs_beside_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(desk: Desk) -> None:
        await put_many(desk, 1)
        others, threads = watch_others(monkeypatch), watch_syncs(desk, monkeypatch)
        await put_many(desk, MANY)
        # On a slow machine the keeper's own turns come meanwhile, and what was written before the
        # watch began. During each sync of these one of ours may come, which is the thread's then.
        assert len(threads) <= 2 * (len(others) + bool(threads)), "no thread waits for the disk"

    serve(tmp_path / "store", work)


def test_the_loop_goes_on_while_the_disk_works_and_answers_when_it_is_done(
    tmp_path: Path, disk: Disk
) -> None:
    async def work(desk: Desk) -> None:
        first = desk.put("anna", 1)
        await turn_round()
        assert disk.begun_count == 1
        second = desk.put("bert", 2)
        await turn_round()
        assert desk.get("bert") == 2, "it was carried out meanwhile"
        third = desk.put("carl", 3)
        await turn_round()
        assert desk.get("carl") is None, "one group waits for the disk already"
        assert not first.done()
        disk.end()
        assert first.done()
        assert not second.done(), "its bytes were written after the sync had begun"
        assert disk.begun_count == 2
        await turn_round()
        assert desk.get("carl") == 3
        disk.end()
        assert second.done()
        assert not third.done()
        disk.end()
        assert third.done()
        assert desk.kept.log.synced_sequence == desk.kept.log.written_sequence

    serve(tmp_path / "store", work)


@pytest.mark.parametrize(("count", "gathers"), [(1, False), (2, False), (3, True), (9, True)])
def test_beside_the_sync_of_several_what_comes_is_gathered(
    tmp_path: Path, disk: Disk, *, count: int, gathers: bool
) -> None:
    async def work(desk: Desk) -> None:
        several = [desk.put(f"c{n}", n) for n in range(count)]
        await turn_round()
        assert disk.begun_count == 1
        later = [desk.put("anna", 1)]
        await turn_round()
        later.append(desk.put("bert", 2))
        await turn_round()
        assert (desk.get("anna") is None) == gathers
        disk.end()
        assert all(future.done() for future in several)
        await turn_round()
        while disk.is_under_way:
            disk.end()
            await turn_round()
        assert all(future.done() for future in later)
        assert disk.begun_count == (2 if gathers else 3), "together, or one behind the other"

    serve(tmp_path / "store", work)


def test_what_is_on_disk_is_not_synced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_desk(tmp_path / "store") as desk:
        desk.kept.ticker.stop()
        desk.publish()
        desk.put("anna", 1).result(20)
        threads = watch_syncs(desk, monkeypatch)
        for _ in range(3):
            desk.keeper.wait_synced(desk.kept.log.written_sequence)
        time.sleep(2 * limits.RELAXED_NS_MAX / 1e9)
        assert threads == []


def test_after_a_failed_sync_nothing_is_acknowledged_any_more(tmp_path: Path, disk: Disk) -> None:
    async def work(desk: Desk) -> None:
        futures: list[Future[Any]] = []
        for value in range(2):
            futures.append(desk.put("anna", value))
            await turn_round()
        futures.append(desk.put("anna", 2))
        disk.end(errno.EIO)
        await turn_round()
        for future in futures[:2]:
            with pytest.raises(UnavailableError, match="not known"):
                future.result(0)
        with pytest.raises(UnavailableError, match="Input/output error"):
            futures[2].result(0)
        assert desk.keeper.failed.is_set()
        assert not disk.is_under_way, "a sync that is tried again would lie"
        with pytest.raises(UnavailableError, match="Input/output error"):
            desk.put("anna", 4)
        with pytest.raises(UnavailableError, match="Input/output error"):
            desk.kept.log.sync()

    serve(tmp_path / "store", work)


@pytest.mark.parametrize("opens", [True, False])
def test_where_the_operating_system_takes_no_syncs_the_thread_makes_them(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, *, opens: bool
) -> None:
    disk.takes_none = True
    if not opens:
        monkeypatch.setattr(SyncQueue, "open", lambda: None)

    async def work(desk: Desk) -> None:
        threads = watch_syncs(desk, monkeypatch)
        await put_many(desk, MANY)
        assert len(threads) >= MANY
        assert threading.get_ident() not in threads

    serve(tmp_path / "store", work)


def test_a_file_that_is_full_is_left_after_its_sync(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOG_SEGMENT_SIZE_BYTES_FIRST", SMALL_SEGMENT_SIZE_BYTES)

    async def work(desk: Desk) -> None:
        for value in range(10_000):
            first = desk.put("anna", value)
            await turn_round()
            assert disk.is_under_way
            assert not first.done()
            size_bytes = desk.kept.log.size_bytes
            second = desk.put("bert", value)
            await turn_round()
            if desk.kept.log.size_bytes != size_bytes:
                break
            disk.wait()
            await turn_round()
        assert first.done(), "what stands in the file before is on disk"
        assert not second.done()
        disk.wait()
        assert second.done()
        assert desk.kept.log.synced_sequence == desk.kept.log.written_sequence

    serve(tmp_path / "store", work)


def test_what_is_under_way_when_the_loop_is_left_is_answered(tmp_path: Path, disk: Disk) -> None:
    futures: list[Future[Any]] = []

    async def work(desk: Desk) -> None:
        for value in range(2):
            futures.append(desk.put("anna", value))
            await turn_round()
        futures.append(desk.put("anna", 2))
        assert not any(future.done() for future in futures)

    serve(tmp_path / "store", work)
    assert [future.result(0) is not None for future in futures] == [True] * 3


def test_who_waits_for_the_disk_elsewhere_is_woken_by_the_loop(tmp_path: Path) -> None:
    async def work(desk: Desk) -> None:
        wanted = desk.kept.log.written_sequence + 1
        waiting = asyncio.create_task(asyncio.to_thread(desk.keeper.wait_synced, wanted))
        while not waiting.done():
            await put_many(desk, 1)
            await asyncio.sleep(0)
        await waiting

    serve(tmp_path / "store", work)


def test_what_nobody_waits_for_is_left_to_the_thread(tmp_path: Path, disk: Disk) -> None:
    async def work(desk: Desk) -> None:
        for value in range(20):
            await asyncio.wrap_future(desk.put("bert", value, relaxed=True))
        assert disk.begun_count == 0

    serve(tmp_path / "store", work)
