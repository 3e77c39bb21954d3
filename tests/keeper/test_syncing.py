"""Who puts the log on disk where an event loop serves: the loop while it is quick, or a thread."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from instanter.errors import UnavailableError
from instanter.limits import SYNC_ON_LOOP_NS_MAX
from tests.keeper.desk import Desk, open_desk

START_NS = 1_800_000_000_000_000_000
MANY = 200
"""More syncs than are left to the thread after a slow one."""


class DiskClock:
    """A clock that a sync moves on by as much as the disk is said to take."""

    def __init__(self) -> None:
        self.time_ns = START_NS

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.time_ns


class Disk:
    """The disk under a desk's log: how long it takes, and which threads have waited for it."""

    def __init__(self, desk: Desk, clock: DiskClock, patch: pytest.MonkeyPatch) -> None:
        self.took_ns = 0
        self.threads: list[int] = []
        self.error: Exception | None = None
        sync = desk.kept.log.sync

        def watched() -> int:
            if self.error is not None:
                raise self.error
            before, found = desk.kept.log.synced_sequence, sync()
            if found != before:
                self.threads.append(threading.get_ident())
            clock.time_ns += self.took_ns
            return found

        patch.setattr(desk.kept.log, "sync", watched, raising=False)


Work = Callable[[Desk, Disk], Awaitable[None]]


def serve(folder: Path, patch: pytest.MonkeyPatch, work: Work) -> None:
    """Do some work beside a keeper on the running event loop."""
    clock = DiskClock()

    async def run(desk: Desk) -> None:
        desk.keeper.attach()
        try:
            await work(desk, Disk(desk, clock, patch))
        finally:
            desk.keeper.detach()

    with open_desk(folder, clock) as desk:
        desk.publish()
        asyncio.run(run(desk))


async def put_many(desk: Desk, count: int) -> None:
    for value in range(count):
        await asyncio.wrap_future(desk.put("anna", value))
        assert desk.kept.log.synced_sequence >= desk.kept.log.written_sequence
        assert desk.get("anna") == value


def test_a_quick_disk_is_waited_for_on_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(desk: Desk, disk: Disk) -> None:
        disk.took_ns = SYNC_ON_LOOP_NS_MAX
        await put_many(desk, MANY)
        disk.threads.clear()
        await put_many(desk, 20)
        assert disk.threads == [threading.get_ident()] * 20

    serve(tmp_path / "store", monkeypatch, work)


def test_a_slow_disk_is_waited_for_on_the_thread_until_it_is_quick_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(desk: Desk, disk: Disk) -> None:
        here = threading.get_ident()
        await put_many(desk, MANY)
        disk.took_ns = SYNC_ON_LOOP_NS_MAX + 1
        disk.threads.clear()
        await put_many(desk, MANY)
        assert disk.threads[0] == here, "the first one was not known to be slow"
        assert disk.threads.count(here) == 1
        disk.took_ns = 0
        disk.threads.clear()
        await put_many(desk, MANY)
        assert disk.threads[0] != here
        assert disk.threads[-1] == here

    serve(tmp_path / "store", monkeypatch, work)


def test_after_a_failed_sync_on_the_loop_nothing_is_acknowledged_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(desk: Desk, disk: Disk) -> None:
        await put_many(desk, MANY)
        disk.error = UnavailableError("the disk has failed", reason="LOG_SYNC_FAILED")
        futures = [desk.put("anna", value) for value in range(3)]
        for future in futures:
            with pytest.raises(UnavailableError, match="not known"):
                await asyncio.wrap_future(future)
        assert desk.keeper.failed.is_set()
        with pytest.raises(UnavailableError, match="the disk has failed"):
            desk.put("anna", 4)
        disk.error = None

    serve(tmp_path / "store", monkeypatch, work)


def test_who_waits_for_the_disk_elsewhere_is_woken_by_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(desk: Desk, disk: Disk) -> None:
        await put_many(desk, MANY)
        wanted = desk.kept.log.written_sequence + 1
        waiting = asyncio.create_task(asyncio.to_thread(desk.keeper.wait_synced, wanted))
        while not waiting.done():
            await put_many(desk, 1)
            await asyncio.sleep(0)
        await waiting

    serve(tmp_path / "store", monkeypatch, work)


def test_relaxed_callers_do_not_make_the_loop_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(desk: Desk, disk: Disk) -> None:
        await put_many(desk, MANY)
        disk.threads.clear()
        for value in range(20):
            await asyncio.wrap_future(desk.put("bert", value, relaxed=True))
        assert threading.get_ident() not in disk.threads

    serve(tmp_path / "store", monkeypatch, work)
