"""The process that folds: the base it writes, what it asks first, and who goes on without it."""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from instanter.errors import PreconditionError
from instanter.keeper import folding
from instanter.keeper.fold_process import Allowed, FoldProcess, FoldProcessError
from instanter.store.databases import META, META_KEY_FOLDED, PROFILES, TRANSACTIONS
from instanter.store.folding import FoldResult
from instanter.store.model_states import (
    LearnedStates,
    LearnedUpTo,
    load_learned_up_to,
    load_states,
    put_learned,
)
from instanter.store.server_lock import KeeperLock
from instanter.store.state import State
from instanter.store.transaction import Transaction
from tests.keeper.desk import Desk, open_desk

KEYS = tuple(bytes([65 + i]) * 8 for i in range(40))
NOTHING = Allowed(None, ())
"""There is nothing to be folded but what the process reads."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def state(folder: Path) -> Iterator[State]:
    with State.open(folder, writable=True) as opened:
        yield opened


@pytest.fixture
def process(folder: Path, state: State) -> Iterator[FoldProcess]:
    lock = KeeperLock.acquire(folder)
    made = FoldProcess(folder, lock.descriptor)
    yield made
    made.stop()
    lock.release()


def put_all(state: State, value: bytes, sequence: int) -> None:
    def change(transaction: Transaction) -> None:
        for key in KEYS:
            transaction.put(PROFILES, key, value)

    state.write(change, sequence=sequence)


def read_base(state: State) -> dict[bytes, bytes]:
    with state.base.read() as transaction:
        return {key: bytes(value) for key, value in transaction.scan(PROFILES)}


def test_it_writes_what_the_overlay_holds_and_asks_before_it_does(
    state: State, process: FoldProcess
) -> None:
    put_all(state, b"before..", 7)
    process.start()
    asked: list[int] = []

    def decide(sequence: int) -> Allowed:
        assert read_base(state) == {}, "nothing is written before it may be"
        asked.append(sequence)
        # What comes while it waits is the next fold's.
        put_all(state, b"after...", 8)
        return NOTHING

    folded = state.note_folded(*process.fold(decide))
    assert asked == [7] == [folded.folded_sequence]
    assert folded.entry_count == len(KEYS)
    assert state.folded_sequence() == 7
    assert read_base(state) == dict.fromkeys(KEYS, b"before..")
    while not state.purge(folded, 7):
        pass
    assert state.changed_count == len(KEYS), "what was written since is not purged"
    again = state.note_folded(*process.fold(lambda _: NOTHING))
    while not state.purge(again, 7):
        pass
    assert (state.changed_count, state.folded_sequence()) == (0, 8)
    assert read_base(state) == dict.fromkeys(KEYS, b"after...")


def test_it_writes_what_the_keeper_holds_as_it_was_when_the_overlay_was_read(
    state: State, process: FoldProcess
) -> None:
    keys = [b"%016d" % number for number in range(1_203)]

    def put(value: bytes, sequence: int, chosen: list[bytes]) -> None:
        rows = [(key, value) for key in chosen]
        state.write(lambda t: t.put_each(TRANSACTIONS, rows), sequence=sequence)

    def read_held() -> dict[bytes, bytes]:
        with state.base.read() as transaction:
            return {key: bytes(value) for key, value in transaction.scan(TRANSACTIONS)}

    def fold(during: Callable[[], None]) -> FoldResult[None]:
        def decide(sequence: int) -> Allowed:
            during()
            return Allowed(None, state.take_held(sequence))

        state.begin_fold()
        return state.note_folded(*process.fold(decide))

    def change() -> None:
        put(b"after...", 8, keys[:100])
        state.write(lambda t: t.delete(TRANSACTIONS, keys[-1]), sequence=9)

    put(b"before..", 7, keys)
    process.start()
    folded = fold(change)
    assert (folded.folded_sequence, folded.entry_count) == (7, len(keys))
    assert read_held() == dict.fromkeys(keys, b"before..")
    while not state.purge(folded, 7):
        pass
    assert state.changed_count == 101, "what was written since is held"
    with state.read() as transaction:
        assert bytes(transaction.get(TRANSACTIONS, keys[0]) or b"") == b"after..."
        assert bytes(transaction.get(TRANSACTIONS, keys[200]) or b"") == b"before.."
        assert transaction.get(TRANSACTIONS, keys[-1]) is None
    again = fold(lambda: None)
    while not state.purge(again, 7):
        pass
    assert (state.changed_count, state.folded_sequence()) == (0, 9)
    expected = dict.fromkeys(keys[:100], b"after...") | dict.fromkeys(keys[100:-1], b"before..")
    assert read_held() == expected


def test_deletions_reach_the_base(state: State, process: FoldProcess) -> None:
    put_all(state, b"before..", 1)
    state.fold()
    state.write(lambda t: [t.delete(PROFILES, key) for key in KEYS[::2]], sequence=2)
    process.start()
    process.fold(lambda _: NOTHING)
    assert sorted(read_base(state)) == sorted(KEYS[1::2])


def test_what_may_not_be_written_is_not_and_the_next_fold_goes_on(
    state: State, process: FoldProcess
) -> None:
    put_all(state, b"before..", 3)
    process.start()

    def refuse(sequence: int) -> Allowed:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        process.fold(refuse)
    assert (read_base(state), state.folded_sequence()) == ({}, 0)
    assert process.fold(lambda _: NOTHING)[0] == 3
    assert len(read_base(state)) == len(KEYS)


def test_what_has_been_learned_is_written_with_it(state: State, process: FoldProcess) -> None:
    put_all(state, b"before..", 5)
    process.start()
    found = LearnedStates(0, {"tea": (4, b"t" * 40), "coffee": (5, b"c" * 8)}, LearnedUpTo(5, 2))
    process.fold(lambda _: Allowed(found, ()))
    put_all(state, b"after...", 9)
    # What was stored at 5 or later has not changed since; a reset at 8 forgets the others.
    found = LearnedStates(0, {"tea": (5, b"old"), "coffee": (9, b"new")}, LearnedUpTo(9, 2))
    process.fold(lambda _: Allowed(found, ()))
    with state.base.read() as transaction:
        assert load_learned_up_to(transaction) == (9, 2)
        assert load_states(transaction) == {"tea": b"t" * 40, "coffee": b"new"}
    put_all(state, b"last....", 12)
    found = LearnedStates(11, {"milk": (12, b"m")}, LearnedUpTo(12, 3))
    process.fold(lambda _: Allowed(found, ()))
    with state.base.read() as transaction:
        assert load_states(transaction) == {"milk": b"m"}


def test_the_process_and_the_thread_write_the_same(tmp_path: Path) -> None:
    learned = LearnedStates(0, {"tea": (4, b"t" * 40)}, LearnedUpTo(5, 2))
    found = []
    for apart in (True, False):
        folder = tmp_path / str(apart)
        with State.open(folder, writable=True) as state:
            put_all(state, b"content.", 5)
            if apart:
                lock = KeeperLock.acquire(folder)
                process = FoldProcess(folder, lock.descriptor)
                process.start()
                process.fold(lambda _: Allowed(learned, ()))
                process.stop()
                lock.release()
            else:
                state.fold(collect=lambda _: lambda base: put_learned(base, learned))
            with state.base.read() as transaction:
                stored = transaction.get(META, META_KEY_FOLDED)
                assert stored is not None
                states, upto = load_states(transaction), bytes(stored)
            found.append((read_base(state), states, upto))
    assert found[0] == found[1]


def test_one_that_has_died_is_told_and_another_can_be_started(
    state: State, process: FoldProcess
) -> None:
    put_all(state, b"before..", 1)
    process.start()
    process.fold(lambda _: NOTHING)
    put_all(state, b"after...", 2)

    def kill(sequence: int) -> Allowed:
        os.kill(find_processes(state.folder)[0], signal.SIGKILL)
        return NOTHING

    with pytest.raises(FoldProcessError):
        process.fold(kill)
    assert find_processes(state.folder) == []
    assert read_base(state) == dict.fromkeys(KEYS, b"before..")
    process.start()
    assert process.fold(lambda _: NOTHING)[0] == 2
    assert read_base(state) == dict.fromkeys(KEYS, b"after...")


def test_one_that_says_nothing_is_given_up(
    state: State, process: FoldProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_all(state, b"before..", 1)
    process.start()
    process.fold(lambda _: NOTHING)
    (number,) = find_processes(state.folder)
    os.kill(number, signal.SIGSTOP)
    monkeypatch.setattr("instanter.keeper.fold_process.FOLD_PROCESS_WAIT_NS_MAX", 100_000_000)
    with pytest.raises(FoldProcessError, match="does not answer"):
        process.fold(lambda _: NOTHING)
    assert find_processes(state.folder) == []


def test_a_keeper_with_thousands_of_descriptors_folds(state: State, process: FoldProcess) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    put_all(state, b"before..", 7)
    with ExitStack() as undo:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2_000, hard), hard))
        undo.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        last = 0
        while last < 1_100:
            last = os.dup(0)
            undo.callback(os.close, last)
        process.start()
        process.fold(lambda _: NOTHING)
    assert read_base(state) == dict.fromkeys(KEYS, b"before..")


def test_no_other_keeper_begins_while_it_may_be_writing(folder: Path) -> None:
    with State.open(folder, writable=True):
        lock = KeeperLock.acquire(folder)
        process = FoldProcess(folder, lock.descriptor)
        process.start()
        lock.release()
        with pytest.raises(PreconditionError):
            KeeperLock.acquire(folder)
        process.stop()
        KeeperLock.acquire(folder).release()


def test_it_ends_with_whoever_started_it(state: State, folder: Path) -> None:
    lock = KeeperLock.acquire(folder)
    process = FoldProcess(folder, lock.descriptor)

    def start() -> None:
        process.start()
        process.fold(lambda _: NOTHING)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    wait_until(lambda: not find_processes(folder))
    process.stop()
    lock.release()


def test_a_keeper_folds_through_it_and_goes_on_without_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "_STEP_S", 0.01)
    monkeypatch.setattr(folding, "_STEPS_MAX", 2)
    with open_desk(folder) as desk:
        desk.publish()
        values: dict[str, int] = {}
        put_until(desk, values, lambda: len(find_processes(folder)) == 1)
        fold_all(desk, values)
        # The process is there: killed between folds, or in one, it is missed by nobody.
        for _ in range(3):
            for number in find_processes(folder):
                os.kill(number, signal.SIGKILL)
            fold_all(desk, values)
            put_until(desk, values, lambda: len(find_processes(folder)) == 1)
        assert {name: desk.get(name) for name in values} == values
    assert find_processes(folder) == []
    with open_desk(folder) as again:
        assert {name: again.get(name) for name in values} == values
        assert "log_replayed" not in again.written.getvalue(), "everything had been folded"


def test_a_keeper_folds_itself_where_there_is_no_room_for_a_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "_STEP_S", 0.01)
    monkeypatch.setattr(folding, "_STEPS_MAX", 2)

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("instanter.keeper.fold_process.subprocess.Popen", refuse)
    with open_desk(folder) as desk:
        desk.publish()
        values: dict[str, int] = {}
        for _ in range(3):
            fold_all(desk, values)
        assert find_processes(folder) == []
        said = desk.written.getvalue()
    assert "fold_process_ended" in said
    assert "Resource temporarily unavailable" in said


def test_one_that_may_not_be_given_a_niceness_folds_all_the_same(
    state: State, process: FoldProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    put_all(state, b"before..", 1)
    process.start()
    assert process.fold(lambda _: NOTHING)[0] == 1


def test_a_serving_keeper_folds_nothing_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "_STEP_S", 0.01)
    monkeypatch.setattr(folding, "_STEPS_MAX", 2)
    folds: list[str] = []

    def note(*_: object, **__: object) -> None:
        folds.append(threading.current_thread().name)
        raise ZeroDivisionError

    with open_desk(folder) as desk:
        desk.publish()
        values: dict[str, int] = {}
        with monkeypatch.context() as patched:
            patched.setattr(State, "fold", note)
            for _ in range(3):
                fold_all(desk, values)
        assert folds == []


def fold_all(desk: Desk, values: dict[str, int]) -> None:
    """Write until something of what was written has been folded."""
    state = desk.kept.state
    wanted = state.applied_sequence()
    put_until(desk, values, lambda: state.folded_sequence() >= wanted)


def put_until(desk: Desk, values: dict[str, int], holds: object) -> None:
    """Write customers until something holds."""
    assert callable(holds)

    def put_and_look() -> bool:
        name = f"c{len(values) % 50}"
        values[name] = values.get(name, 0) + 1
        desk.put(name, values[name]).result(20)
        return bool(holds())

    wait_until(put_and_look)


def wait_until(holds: object, timeout_s: float = 60) -> None:
    assert callable(holds)
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s, "it takes too long"
        time.sleep(0.005)


def find_processes(folder: Path) -> list[int]:
    """Return the ids of the live processes that fold this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if b"instanter.keeper.fold_process" in words and os.fsencode(folder) in words:
            found += [int(path.parent.name)] if state != "Z" else []
    return found
