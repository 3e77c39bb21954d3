"""Opening, reading, writing and growing: within one process and between several."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import lmdb
import numpy as np
import pytest

from instanter.errors import DamagedError, PreconditionError, UnavailableError
from instanter.store import profiles, records
from instanter.store.databases import META, META_KEY_FORMAT, STORE_FORMAT
from instanter.store.environment import Environment, ServerLock
from instanter.store.gate import ReadGate
from instanter.store.opening import check_folder
from instanter.store.server_lock import KeeperLock

MIB = 1 << 20


def put_many(environment: Environment, first: int, count: int, value: int = 1) -> None:
    keys = [records.key_of(f"c{i:06d}") for i in range(first, first + count)]
    slots = np.full((count, 1000), value, np.uint32)
    environment.write(lambda t: profiles.put_block(t, keys, slots, schema_revision=1, now_ms=1))


def count_profiles(environment: Environment) -> int:
    with environment.read() as transaction:
        return profiles.measure_profiles(transaction).profile_count


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start another process that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# --- Opening ------------------------------------------------------------------------------------


def test_a_new_store_is_private_and_opens_again(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "store"
    with Environment.open(folder) as environment:
        put_many(environment, 0, 3)
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "data.mdb").stat().st_mode & 0o077 == 0
    with Environment.open(folder, writable=False) as environment:
        assert count_profiles(environment) == 3


def test_a_store_of_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    with Environment.open(tmp_path) as environment:
        newer = (STORE_FORMAT + 1).to_bytes(8, "little")
        environment.write(lambda t: t.put(META, META_KEY_FORMAT, newer))
    before = (tmp_path / "data.mdb").read_bytes()
    for writable in (True, False):
        told = rf"has format {STORE_FORMAT + 1}, .* understands up to {STORE_FORMAT}; run"
        with pytest.raises(PreconditionError, match=told):
            Environment.open(tmp_path, writable=writable)
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("sand")
    with pytest.raises(PreconditionError, match=r"holds 'holiday\.jpg'"):
        Environment.open(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(PreconditionError, match="is a file"):
        Environment.open(tmp_path / "holiday.jpg")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")
@pytest.mark.parametrize("name", ["keeper.lock", "data.mdb", "log/1.log", "live", "."])
def test_what_belongs_to_somebody_else_is_named_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with Environment.open(tmp_path):
        KeeperLock.acquire(tmp_path).release()
    for folder in ("log", "live", "overlay"):
        (tmp_path / folder).mkdir()
    for file in ("log/1.log", "overlay/data.mdb"):
        (tmp_path / file).touch(mode=0o600)
    nobody = 65_534
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, nobody, nobody)
    # A start makes it anew, whoever has made it.
    os.chown(tmp_path / "overlay/data.mdb", 0, 0)
    monkeypatch.chdir(tmp_path)  # what is above it is closed to others
    check_as(nobody)
    (tmp_path / name).chmod(0o755 if (tmp_path / name).is_dir() else 0o600)
    os.chown(name, 0, 0)
    with pytest.raises(PreconditionError, match=r"may not read and write .*belongs to root") as of:
        check_as(nobody)
    assert of.value.reason == "STORE_NOT_ALLOWED"
    assert of.value.metadata["path"] == name


def check_as(user_id: int) -> None:
    """Look at the folder that is the present one as somebody else would."""
    os.seteuid(user_id)
    try:
        check_folder(Path(), writable=True)
    finally:
        os.seteuid(0)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(os.urandom(20_000))
    with pytest.raises(PreconditionError, match=r"data\.mdb is not a store"):
        Environment.open(tmp_path)


def test_the_lmdb_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), max_dbs=1) as other, other.begin(write=True) as transaction:
        transaction.put(b"their", b"data")
    with pytest.raises(PreconditionError, match="not a store of this server"):
        Environment.open(tmp_path)
    with lmdb.open(str(tmp_path)) as other, other.begin() as transaction:
        assert transaction.stat()["entries"] == 1


def test_a_store_that_is_only_read_must_exist(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="there is no store"):
        Environment.open(tmp_path / "none", writable=False)
    assert not (tmp_path / "none").exists()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    environment = Environment.open(tmp_path)
    environment.close()
    with pytest.raises(UnavailableError), environment.read():
        pass
    with pytest.raises(UnavailableError):
        put_many(environment, 0, 1)
    assert not environment.gate.reading


# --- Reading and writing ------------------------------------------------------------------------


def test_an_exception_in_a_change_undoes_all_of_it(tmp_path: Path) -> None:
    def change(transaction: object) -> None:
        slots = np.ones((5, 4), np.uint32)
        keys = [records.key_of(f"c{i}") for i in range(5)]
        profiles.put_block(transaction, keys, slots, schema_revision=1, now_ms=1)
        raise ZeroDivisionError

    with Environment.open(tmp_path) as environment:
        with pytest.raises(ZeroDivisionError):
            environment.write(change)
        assert count_profiles(environment) == 0
        put_many(environment, 0, 2)
        assert count_profiles(environment) == 2


def test_a_read_sees_one_snapshot(tmp_path: Path) -> None:
    with Environment.open(tmp_path) as environment:
        with environment.read() as transaction:
            writer = threading.Thread(target=put_many, args=(environment, 0, 3))
            writer.start()
            writer.join()
            assert profiles.measure_profiles(transaction).profile_count == 0
        assert count_profiles(environment) == 3


def test_a_thread_that_reads_must_not_write_or_read_again(tmp_path: Path) -> None:
    with Environment.open(tmp_path) as environment:
        with environment.read():
            with pytest.raises(AssertionError, match="no write inside a read"):
                put_many(environment, 0, 1)
            with pytest.raises(AssertionError, match="one read transaction"), environment.read():
                pass
        assert count_profiles(environment) == 0


READ_MUCH = (
    "import lmdb, sys\n"
    "environment = lmdb.open(sys.argv[1], max_dbs=20)\n"
    "readers = [environment.begin() for _ in range(int(sys.argv[2]))]\n"
    "print('reading', flush=True)\n"
    "sys.stdin.readline()\n"
)


def test_dead_readers_are_cleared_when_a_store_is_opened(tmp_path: Path) -> None:
    with Environment.open(tmp_path):
        pass
    # One that lives on, for the last one to leave a store takes the reader table with it.
    with python(READ_MUCH, str(tmp_path), "1") as living:
        assert answer(living) == "reading"
        with python(READ_MUCH, str(tmp_path), "100") as dying:
            assert answer(dying) == "reading"
            dying.kill()
        with Environment.open(tmp_path) as environment:
            table = environment._raw.readers()
        assert str(living.pid) in table
        assert str(dying.pid) not in table


def test_readers_that_die_later_do_not_lock_out_a_running_server(tmp_path: Path) -> None:
    with Environment.open(tmp_path) as environment:
        with python(READ_MUCH, str(tmp_path), "125") as other:
            assert answer(other) == "reading"
            with environment.read():
                failed: list[Exception] = []

                def read_too() -> None:
                    try:
                        count_profiles(environment)
                    except UnavailableError as error:
                        failed.append(error)

                thread = threading.Thread(target=read_too)
                thread.start()
                thread.join()
                assert "reader table" in str(failed[0])
            other.kill()
        with environment.read():
            failed.clear()
            thread = threading.Thread(target=read_too)
            thread.start()
            thread.join()
            assert not failed


# --- Growing ------------------------------------------------------------------------------------


def test_the_map_grows_while_other_threads_read(tmp_path: Path) -> None:
    with Environment.open(tmp_path, map_size_bytes=MIB) as environment:
        put_many(environment, 0, 10, value=7)
        stop = threading.Event()
        wrong: list[object] = []
        read_counts = [0, 0]

        def read(which: int) -> None:
            out = np.empty(1000, np.uint32)
            while not stop.is_set():
                with environment.read() as transaction:
                    state = profiles.copy_slots(transaction, records.key_of("c000003"), out)
                if state is not profiles.ProfileState.KNOWN or (out != 7).any():
                    wrong.append((state, out.copy()))
                read_counts[which] += 1

        threads = [threading.Thread(target=read, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        for block in range(8):
            put_many(environment, 1000 + block * 500, 500)
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong
        assert min(read_counts) > 0
        assert count_profiles(environment) == 4010
        figures = environment.figures()
        assert figures.map_size_bytes >= 16 * MIB
        assert figures.used_size_bytes <= figures.size_bytes <= figures.map_size_bytes


def test_a_change_that_fills_the_map_runs_again_and_counts_once(tmp_path: Path) -> None:
    runs: list[int] = []

    def change(transaction: object) -> profiles.BlockResult:
        runs.append(1)
        keys = [records.key_of(f"c{i:05d}") for i in range(2000)]
        slots = np.ones((2000, 1000), np.uint32)
        return profiles.put_block(transaction, keys, slots, schema_revision=1, now_ms=1)

    with Environment.open(tmp_path, map_size_bytes=MIB) as environment:
        result = environment.write(change)
        assert len(runs) == 4, "1, 2 and 4 MiB are too small, 8 are enough"
        assert result.created_count == count_profiles(environment) == 2000


def test_a_map_that_another_process_has_grown_is_taken_over(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from instanter.store import profiles, records\n"
        "from instanter.store.environment import Environment\n"
        "environment = Environment.open(Path(sys.argv[1]), map_size_bytes=1 << 20)\n"
        "print('open', flush=True)\n"
        "for line in sys.stdin:\n"
        "    first = int(line)\n"
        "    keys = [records.key_of(f'c{i:06d}') for i in range(first, first + 1000)]\n"
        "    slots = np.full((1000, 1000), 5, np.uint32)\n"
        "    environment.write(lambda t: profiles.put_block(\n"
        "        t, keys, slots, schema_revision=1, now_ms=1))\n"
        "    with environment.read() as t:\n"
        "        print(profiles.measure_profiles(t).profile_count, flush=True)\n"
    )
    with Environment.open(tmp_path, map_size_bytes=MIB) as environment:
        with python(code, str(tmp_path)) as other:
            assert other.stdin is not None
            assert answer(other) == "open"
            other.stdin.write("0\n")
            other.stdin.flush()
            assert answer(other) == "1000"
            # A read meets the larger map first, then a write, then the other process does.
            assert count_profiles(environment) == 1000
            put_many(environment, 1000, 3000)
            other.stdin.write("4000\n")
            other.stdin.flush()
            assert answer(other) == "5000"
            put_many(environment, 5000, 1)
            assert count_profiles(environment) == 5001
            other.stdin.close()
        assert other.returncode == 0


def test_a_gate_is_shut_only_when_all_readers_have_left() -> None:
    gate = ReadGate()
    gate.enter(1)
    order: list[str] = []
    shut, may_open = threading.Event(), threading.Event()

    def close() -> None:
        with gate.shut():
            order.append("shut")
            shut.set()
            may_open.wait()
            order.append("opens")

    closer = threading.Thread(target=close)
    closer.start()
    while not gate.closed:
        pass
    assert not shut.is_set()
    late = threading.Thread(target=lambda: (gate.enter(2), order.append("late"), gate.leave(2)))
    late.start()
    gate.leave(1)
    shut.wait()
    may_open.set()
    closer.join()
    late.join()
    assert order == ["shut", "opens", "late"]
    assert not gate.reading


# --- The lock of the server ---------------------------------------------------------------------

HOLD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from instanter.store.environment import ServerLock\n"
    "lock = ServerLock.acquire(Path(sys.argv[1]))\n"
    "print('held', flush=True)\n"
    "input()\n"
)


def test_a_second_server_on_a_folder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with python(HOLD, str(folder)) as other:
        assert answer(other) == "held"
        with pytest.raises(PreconditionError) as caught:
            ServerLock.acquire(folder)
        assert str(folder) in caught.value.message
        assert caught.value.metadata == {"pid": str(other.pid)}
        other.send_signal(signal.SIGKILL)
    lock = ServerLock.acquire(folder)
    with pytest.raises(PreconditionError, match=f"process {os.getpid()}"):
        ServerLock.acquire(folder)
    lock.release()
    lock.release()
    ServerLock.acquire(folder).release()
    with Environment.open(folder) as environment:
        assert count_profiles(environment) == 0


HOLD_AS_KEEPER = HOLD.replace("ServerLock", "KeeperLock").replace("environment", "server_lock")


def test_a_keeper_waits_for_the_one_before_it_to_die(tmp_path: Path) -> None:
    with python(HOLD_AS_KEEPER, str(tmp_path)) as other:
        assert answer(other) == "held"
        # The server's lock is another one.
        ServerLock.acquire(tmp_path).release()
        with pytest.raises(PreconditionError, match=f"another keeper, process {other.pid},"):
            KeeperLock.acquire(tmp_path, wait_ns=20_000_000)
        killer = threading.Timer(0.1, other.kill)
        killer.start()
        lock = KeeperLock.acquire(tmp_path, wait_ns=60_000_000_000)
        killer.join()
    with pytest.raises(PreconditionError, match=f"process {os.getpid()}"):
        KeeperLock.acquire(tmp_path)
    lock.release()
    lock.release()
    KeeperLock.acquire(tmp_path).release()


def test_what_lmdb_raises_in_the_middle_of_a_read_is_said_clearly(tmp_path: Path) -> None:
    with Environment.open(tmp_path) as environment:
        with pytest.raises(DamagedError, match="is damaged"), environment.read():
            raise lmdb.CorruptedError("located page was wrong type")
        with pytest.raises(DamagedError):
            environment.write(lambda _: (_ for _ in ()).throw(lmdb.PageNotFoundError("5")))
        assert count_profiles(environment) == 0


def test_slots_of_dead_readers_are_freed_on_request(tmp_path: Path) -> None:
    with Environment.open(tmp_path) as environment:
        assert environment.clear_dead_readers() == 0
        with python(READ_MUCH, str(tmp_path), "5") as other:
            assert answer(other) == "reading"
            assert environment.clear_dead_readers() == 0
            other.kill()
        assert environment.clear_dead_readers() == 5
