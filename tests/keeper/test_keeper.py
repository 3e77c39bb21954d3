"""The keeper: groups, refusals, order, what survives, and that a replay gives the same state."""

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instanter.errors import (
    ConflictError,
    ExhaustedError,
    ExpiredError,
    InstanterError,
    LogDamagedError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from instanter.keeper import write_queue
from instanter.keeper.commands import ApplyContext
from instanter.keeper.loading import LoadBlock
from instanter.keeper.records import RecordKind
from instanter.store.databases import DATABASES, LAYER_META_KEYS, META
from instanter.store.log.log import Log
from instanter.store.records import key_of
from instanter.store.state import State
from tests.keeper.desk import Desk, Failing, make_put, open_desk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def desk(folder: Path) -> Iterator[Desk]:
    with open_desk(folder) as opened:
        opened.publish()
        yield opened


def read_all(state: State) -> dict[tuple[str, bytes], bytes]:
    """Return everything that a state holds, but for how far its layers have come."""
    with state.read() as transaction:
        return {
            (database.name, key): bytes(value)
            for database in DATABASES
            for key, value in transaction.scan(database)
            if database is not META or key not in LAYER_META_KEYS
        }


def test_what_is_acknowledged_is_read_at_once(desk: Desk) -> None:
    for value in range(50):
        desk.put("anna", value).result(20)
        assert desk.get("anna") == value


def test_commands_that_wait_together_share_a_group(desk: Desk) -> None:
    release = desk.hold()
    before = desk.metrics.write_groups_count
    futures = [desk.put(f"c{i}", i) for i in range(100)]
    release()
    for future in futures:
        future.result(20)
    assert desk.metrics.write_groups_count - before <= 2
    assert [desk.get(f"c{i}") for i in range(100)] == list(range(100))


def test_a_refused_command_spoils_no_other(desk: Desk) -> None:
    release = desk.hold()
    futures = [desk.put("anna", 1), desk.delete("nobody"), desk.put("bert", 2)]
    release()
    with pytest.raises(NotFoundError):
        futures[1].result(20)
    assert (desk.get("anna"), desk.get("bert")) == (1, 2)


def test_a_bug_in_one_command_is_that_commands_answer_alone(desk: Desk) -> None:
    release = desk.hold()
    futures = [desk.put("anna", 1), desk.keeper.submit(Failing(KeyError("ours"))), desk.put("b")]
    release()
    with pytest.raises(KeyError):
        futures[1].result(20)
    assert futures[0].result(20).profile.revision == 1
    assert futures[2].result(20).profile.revision == 1


def test_a_command_whose_caller_is_gone_is_not_carried_out(desk: Desk) -> None:
    release = desk.hold()
    cancelled = desk.put("anna")
    assert cancelled.cancel()
    late = desk.put("bert", deadline_ns=desk.clock.monotonic_ns())
    release()
    desk.put("carla").result(20)
    with pytest.raises(CancelledError):
        cancelled.result(20)
    with pytest.raises(ExpiredError):
        late.result(20)
    assert (desk.get("anna"), desk.get("bert")) == (None, None)


def test_too_many_waiting_commands_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "WRITES_WAITING_MAX", 3)
    release = desk.hold()
    futures = [desk.put(f"c{i}") for i in range(3)]
    with pytest.raises(ExhaustedError, match="retry later"):
        desk.put("c3")
    release()
    for future in futures:
        future.result(20)
    desk.put("c3").result(20)


def test_a_stopped_keeper_has_finished_what_it_took_and_takes_no_more(folder: Path) -> None:
    desk = Desk(folder)
    desk.publish()
    release = desk.hold()
    futures = [desk.put(f"c{i}", i) for i in range(20)]
    closing = threading.Thread(target=desk.close)
    closing.start()
    release()
    closing.join(20)
    assert all(future.result(0) for future in futures)
    with pytest.raises(UnavailableError):
        desk.put("more")
    with open_desk(folder) as again:
        assert [again.get(f"c{i}") for i in range(20)] == list(range(20))
        assert "log_replayed" not in again.written.getvalue(), "everything had been folded"


def test_a_relaxed_command_is_acknowledged_before_the_disk_has_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, sync = threading.Event(), desk.kept.log.sync
    begun = threading.Event()

    def slow_sync() -> int:
        begun.set()
        assert stuck.wait(20)
        return sync()

    monkeypatch.setattr(desk.kept.log, "sync", slow_sync, raising=False)
    durable = desk.put("anna", 1)
    assert begun.wait(20)
    desk.put("bert", 2, relaxed=True).result(20)
    assert desk.get("bert") == 2
    assert not durable.done()
    stuck.set()
    durable.result(20)


def test_a_relaxed_command_is_on_disk_soon_although_nobody_waits(desk: Desk) -> None:
    desk.put("anna", relaxed=True).result(20)
    written, waiting = desk.kept.log.written_sequence, threading.Event()
    for _ in range(200):
        if desk.kept.log.synced_sequence >= written:
            return
        waiting.wait(0.02)
    pytest.fail("it never reached the disk")


def test_followers_are_told_what_is_on_disk_and_their_bugs_hurt_nobody(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    heard = threading.Semaphore(0)
    desks: list[Desk] = []

    def follow(sequence: int) -> None:
        if desks:
            told.append((sequence, desks[0].kept.log.synced_sequence))
            heard.release()
            if len(told) % 2:
                raise ValueError("a bug of who follows")

    with open_desk(folder, on_synced=follow) as desk:
        desk.publish()
        desks.append(desk)
        for value in range(6):
            desk.put("anna", value).result(20)
            written = desk.kept.log.written_sequence
            while not told or told[-1][0] < written:
                assert heard.acquire(timeout=20)
    assert told == sorted(told)
    assert all(sequence <= synced for sequence, synced in told)
    assert "follower_failed" in desk.written.getvalue()


def test_after_a_failed_sync_nothing_is_acknowledged_any_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(folder)
    desk.publish()
    desk.put("anna", 1).result(20)

    def broken_sync() -> int:
        raise UnavailableError("the disk has failed", reason="LOG_SYNC_FAILED")

    with monkeypatch.context() as patch:
        patch.setattr(desk.kept.log, "sync", broken_sync, raising=False)
        with pytest.raises(UnavailableError, match="not known"):
            desk.put("anna", 2).result(20)
        assert desk.keeper.failed.wait(20)
        with pytest.raises(UnavailableError, match="the disk has failed"):
            desk.put("anna", 3)
    desk.close()
    assert "keeper_failed" in desk.written.getvalue()


def test_a_catalogue_that_cannot_be_got_ready_keeps_nobody_waiting(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warm_up(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(ApplyContext, "warm_up", warm_up)
        with pytest.raises(ZeroDivisionError):
            desk.publish({"shop.yaml": make_shop(7)})
    desk.put("anna", 1).result(20)
    assert not desk.keeper.failed.is_set()
    assert desk.publish({"shop.yaml": make_shop(8)}) == 3, "the one before is in force"


def test_times_of_records_never_go_back(folder: Path) -> None:
    class Clock:
        def __init__(self) -> None:
            self.times_ns = [5_000_000_000, 9_000_000_000, 7_000_000_000, 8_000_000_000]

        def now_ns(self) -> int:
            return self.times_ns.pop(0) if len(self.times_ns) > 1 else self.times_ns[0]

        def monotonic_ns(self) -> int:
            return 0

    with open_desk(folder, Clock()) as desk:
        desk.publish()
        for value in range(4):
            desk.put("anna", value).result(20)
        times = [record.time_ns for record in desk.kept.log.read(1)]
    assert times == sorted(times)
    assert len(set(times)) < len(times), "the clock did go back"


def fill(desk: Desk, seed: int, count: int) -> None:
    """Do a bit of everything, with pauses in which the keeper folds."""
    draw = np.random.default_rng(seed)
    futures: list[Future[Any]] = []
    for step in range(count):
        name = f"c{draw.integers(40)}"
        choice = draw.random()
        if choice < 0.8:
            futures.append(desk.put(name, int(draw.integers(1 << 30))))
        elif choice < 0.9:
            futures.append(desk.delete(name))
        elif choice < 0.97:
            keys = [key_of(f"c{i}") for i in draw.choice(40, 5, replace=False)]
            slots = draw.integers(0, 1 << 30, (5, 2)).astype(np.uint32)
            mask = np.array([True, False]) if draw.random() < 0.5 else None
            futures.append(desk.keeper.submit(LoadBlock(keys, slots, mask, 1)))
        else:
            for future in futures:
                wait_for(future)
        if step == count // 2:
            desk.publish({"shop.yaml": make_shop(step)})
    for future in futures:
        wait_for(future)


def make_shop(value: int) -> str:
    return (
        "currency: EUR\nchannels: {web: [home]}\n"
        "attributes: [{name: age, kind: number}, {name: visits, kind: number}]\n"
        f"offers: [{{name: tea, treatments: [{{channel: web}}], value_minor: {value}}}]\n"
    )


def wait_for(future: Future[Any]) -> None:
    try:
        future.result(20)
    except InstanterError:
        assert isinstance(future.exception(), NotFoundError)


def test_the_whole_log_gives_the_same_state_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    with open_desk(folder) as desk:
        desk.publish()
        fill(desk, 7, 600)
    replayed = tmp_path / "replayed"
    replayed.mkdir()
    shutil.copytree(folder / "log", replayed / "log")
    with open_desk(replayed) as again, open_desk(folder) as desk:
        assert "log_replayed" in again.written.getvalue()
        assert read_all(again.kept.state) == read_all(desk.kept.state)
        assert len(read_all(desk.kept.state)) > 40


def test_a_tail_that_was_not_folded_is_replayed(folder: Path, tmp_path: Path) -> None:
    with open_desk(folder) as desk:
        desk.publish()
        fill(desk, 8, 200)
        # What a killed process leaves behind: files as they are at any moment.
        copied = tmp_path / "copied"
        copied.mkdir()
        for name in ("log", "overlay"):
            shutil.copytree(folder / name, copied / name)
        shutil.copy(folder / "data.mdb", copied / "data.mdb")
        expected = read_all(desk.kept.state)
    with open_desk(copied) as again:
        assert read_all(again.kept.state) == expected


def test_a_block_and_a_write_after_it_keep_their_order(desk: Desk) -> None:
    block = LoadBlock([key_of("anna")], np.array([[7, 7]], np.uint32), None, 1)
    futures = [desk.put("anna", 1), desk.keeper.submit(block), desk.put("bert", 3)]
    for future in futures:
        future.result(20)
    assert desk.get("anna") == 7
    desk.put("anna", 8).result(20)
    assert desk.get("anna") == 8


def test_a_block_encoded_for_another_schema_is_refused(desk: Desk) -> None:
    block = LoadBlock([key_of("anna")], np.array([[7, 7]], np.uint32), None, 99)
    with pytest.raises(ConflictError, match="schema has changed"):
        desk.keeper.submit(block).result(20)
    assert desk.get("anna") is None


def test_a_heavy_record_that_cannot_be_applied_has_no_effect_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_desk(folder) as desk:
        desk.publish()
        desk.put("anna", 1).result(20)
        write = desk.kept.state.base.write

        def full_disk(change: Any) -> Any:
            raise ExhaustedError("the disk is full", reason="STORE_DISK_FULL")

        block = LoadBlock([key_of("anna")], np.array([[7, 7]], np.uint32), None, 1)
        with monkeypatch.context() as patch:
            patch.setattr(type(desk.kept.state.base), "write", lambda _, change: full_disk(change))
            with pytest.raises(ExhaustedError):
                desk.keeper.submit(block).result(20)
        assert desk.kept.state.base.write == write
        assert desk.get("anna") == 1
        desk.put("bert", 2).result(20)
        kinds = [record.kind for record in desk.kept.log.read(1)]
        assert kinds[-3:] == [RecordKind.LOAD_BLOCK, RecordKind.VOID, RecordKind.UPDATE_CUSTOMER]
    (folder / "data.mdb").unlink()
    with open_desk(folder) as again:
        assert (again.get("anna"), again.get("bert")) == (1, 2)


def test_a_log_written_by_a_newer_version_is_not_replayed(folder: Path) -> None:
    with open_desk(folder) as desk:
        desk.publish()
    log = Log.open(folder / "log", clock=desk.clock, on_torn=lambda _: None, read_from=2)
    log.append(65_000, 1, b"\x80")
    log.write_group()
    log.sync()
    log.close()
    with pytest.raises(PreconditionError, match="kind 65000"):
        Desk(folder)


def test_a_fold_never_keeps_what_the_log_had_no_room_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold reads the overlay while a group in it is being refused, whose sequence goes on."""
    with open_desk(folder) as desk:
        desk.publish()
        desk.put("anna", 1).result(20)
        fold = threading.Thread(target=desk.keeper._folder._try_fold)
        waits = threading.Event()
        wait = desk.keeper._folder._wait_synced

        def wait_synced(*arguments: Any) -> None:
            waits.set()
            wait(*arguments)

        write_group = Log.write_group

        def refuse(log: Log) -> None:
            if fold.ident is not None or log.next_sequence < log.written_sequence + 3:
                # Not what the keeper itself has to write meanwhile, nor what holds it up.
                write_group(log)
                return
            fold.start()
            assert waits.wait(20)
            log._group.forget()
            raise ExhaustedError("the disk is full", reason="LOG_DISK_FULL")

        with monkeypatch.context() as patch:
            patch.setattr(desk.keeper._folder, "_wait_synced", wait_synced)
            patch.setattr(Log, "write_group", refuse)
            opened = desk.hold()
            # One alone would be written before it is applied.
            futures = [desk.put("anna", 2), desk.put("bert", 2)]
            opened()
            for future in futures:
                with pytest.raises(ExhaustedError):
                    future.result(20)
        assert (desk.get("anna"), desk.get("bert")) == (1, None)
        fold.join(20)
        assert not fold.is_alive(), "it waits for what never comes"
        desk.put("bert", 3).result(20)
        shutil.copytree(folder, tmp_path / "killed", ignore=shutil.ignore_patterns("*.sock"))
    with open_desk(tmp_path / "killed") as again:
        assert (again.get("anna"), again.get("bert")) == (1, 3)


def test_a_bug_while_a_group_is_written_leaves_nobody_without_an_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper ends by it; whoever waits for the group hears that its fate is not known."""

    def fail(log: Log) -> None:
        raise RuntimeError("a bug")

    with open_desk(folder) as desk:
        desk.publish()
        desk.put("anna", 1).result(20)
        with monkeypatch.context() as patch:
            patch.setattr(Log, "write_group", fail)
            patch.setattr(threading, "excepthook", lambda _: None)
            with pytest.raises(UnavailableError, match="a bug") as caught:
                desk.put("anna", 2).result(20)
        assert caught.value.reason == "WRITE_UNKNOWN"
        assert desk.keeper.failed.is_set()
    with open_desk(folder) as again:
        assert again.get("anna") == 1


def test_a_lost_record_that_the_base_does_not_have_stops_the_start(folder: Path) -> None:
    with open_desk(folder) as desk:
        desk.publish()
        for value in range(20):
            desk.put("anna", value).result(20)
        positions = [record.position for record in desk.kept.log.read(1)]
    (folder / "data.mdb").unlink()
    (segment,) = (folder / "log").glob("*.log")
    with segment.open("r+b") as file:
        file.seek(positions[10].offset + 40)
        file.write(b"\xff\xff")
    with pytest.raises(LogDamagedError, match="11"):
        Desk(folder)


def test_two_keepers_never_have_one_folder(desk: Desk) -> None:
    with pytest.raises(PreconditionError, match="process"):
        Desk(desk.folder)
    desk.put("anna").result(20)


def test_many_threads_write_and_nothing_is_lost_or_done_twice(desk: Desk) -> None:
    def write(thread: int) -> None:
        for step in range(40):
            desk.keeper.submit(make_put(f"t{thread}-{step % 4}", step)).result(20)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for thread_number in range(8):
        for step in range(4):
            assert desk.get(f"t{thread_number}-{step}") == 36 + step
    assert desk.kept.log.next_sequence == 2 + 8 * 40
