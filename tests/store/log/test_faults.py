"""The log under kill -9, a full disk, and system calls that fail or are slow."""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from instanter.errors import ExhaustedError, UnavailableError
from instanter.store.log.log import Log
from instanter.store.log.reading import LogReader
from instanter.store.log.segments import list_segments
from tests.conftest import REPOSITORY
from tests.store.log.logs import Opener, abandon, body_of, write, write_groups

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

WRITER = """
import sys
from pathlib import Path
from instanter.errors import ExhaustedError, UnavailableError
from tests.store.log.logs import Opener, body_of
folder, groups, per_group = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
def tell(*words):
    print(*words, flush=True)
try:
    log = Opener(folder)()
except (ExhaustedError, UnavailableError) as error:
    tell("unopened", error.reason)
    sys.exit()
tell("opened", log.next_sequence)
for group in range(groups):
    first = log.next_sequence
    try:
        for number in range(first, first + per_group):
            log.append(6, 1, body_of(number, 80))
        log.write_group()
        log.sync()
        tell("durable", log.synced_sequence)
    except ExhaustedError as error:
        assert log.next_sequence == first
        tell("refused", error.reason)
    except UnavailableError as error:
        tell("failed", error.reason)
        for use in (log.sync, log.write_group):
            try:
                log.append(6, 1, b"after the failure")
                use()
            except UnavailableError as again:
                assert again.reason == error.reason
            else:
                tell("MISTAKE: used after a failed sync")
        break
tell("closing")
try:
    log.close()
    tell("closed")
except UnavailableError as error:
    tell("failed", error.reason)
"""


@pytest.fixture
def opener(tmp_path: Path) -> Opener:
    return Opener(tmp_path / "log")


def run_writer(folder: Path, groups: int, per_group: int, *before: str) -> "subprocess.Popen[str]":
    paths = [str(REPOSITORY / part) for part in ("server", "protos", ".")]
    return subprocess.Popen(
        [*before, sys.executable, "-c", WRITER, str(folder), str(groups), str(per_group)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def check_numbered(opener: Opener, durable: int) -> int:
    """Open the log, check that all durable records are there and right; return the last one."""
    with opener() as log:
        assert log.next_sequence > durable
        for number, record in enumerate(log.read(1), 1):
            assert (record.sequence, record.body) == (number, body_of(number, 80))
        assert number == log.next_sequence - 1 if durable else True
        write(log, [body_of(log.next_sequence, 80)])
        return log.synced_sequence


@pytest.mark.parametrize("acknowledged_count", [1, 9, 60])
def test_a_killed_writer_loses_nothing_it_acknowledged(
    opener: Opener, acknowledged_count: int
) -> None:
    last = 0
    for _ in range(2):
        with run_writer(opener.folder, 1_000_000, 7) as process:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            assert words == ["opened", str(last + 1)]
            for _ in range(acknowledged_count):
                durable = int(process.stdout.readline().split()[1])
            process.kill()
        last = check_numbered(opener, durable)
    assert opener.torn == []


def inject(call: str, what: str, when: str) -> list[str]:
    fault = f"inject={call}:{what}:when={when}"
    return ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", fault]


@needs_strace
@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("fdatasync", "EIO"),
        ("fsync", "EIO"),
        ("pwrite64", "ENOSPC"),
        ("pwrite64", "EIO"),
        ("fallocate", "ENOSPC"),
        ("rename", "EIO"),
    ],
)
def test_no_failing_call_costs_a_durable_record(opener: Opener, call: str, error: str) -> None:
    """The Nth call fails, for growing N until a run passes unhurt; in steps, to save time."""
    number, unhurt, hurt = 1, False, 0
    while not unhurt:
        folder = opener.folder.with_name(f"log-{number}")
        with run_writer(folder, 5, 10, *inject(call, f"error={error}", str(number))) as process:
            told, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "MISTAKE" not in told
        durable = max((int(n) for n in re.findall(r"durable (\d+)", told)), default=0)
        failures = re.findall(r"(unopened|failed|refused) (\w+)", told)
        if call in ("fdatasync", "fsync") and "failed LOG_SYNC_FAILED" in told:
            assert "durable" not in told.split("failed", 1)[1]
        unhurt = not failures and told.endswith("closed\n")
        hurt += not unhurt
        number += 1 if number < 6 else 3
        check_numbered(Opener(folder), durable)
        shutil.rmtree(folder)
    assert hurt >= 1


@needs_strace
def test_a_slow_sync_acknowledges_late_and_nothing_before(opener: Opener) -> None:
    slow = inject("fdatasync", "delay_enter=20000", "1+")
    with run_writer(opener.folder, 3, 10, *slow) as process:
        told, _ = process.communicate(timeout=60)
    assert re.findall(r"durable (\d+)", told) == ["10", "20", "30"]
    check_numbered(opener, 30)


def fail(code: int) -> None:
    raise OSError(code, os.strerror(code))


def test_a_failed_sync_ends_the_log_for_ever(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opener()
    records = write_groups(log, 3)
    write(log, [b"unsynced"], synced=False)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", lambda _: fail(errno.EIO))
        with pytest.raises(UnavailableError, match="failed to keep what was written") as caught:
            log.sync()
    assert caught.value.reason == "LOG_SYNC_FAILED"
    assert log.synced_sequence == 3
    # The next call would succeed, and mean nothing.
    log.append(1, 1, b"later")
    for use in (log.sync, log.write_group):
        with pytest.raises(UnavailableError, match="failed to keep") as again:
            use()
        assert again.value.reason == "LOG_SYNC_FAILED"
    assert log.synced_sequence == 3
    log.close()
    with opener() as log:
        assert list(log.read(1, 3)) == records


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is asked of the system from now on, with the inode of the file."""
    made: list[tuple[str, int]] = []

    def spy(name: str) -> None:
        true_call = getattr(os, name)

        def call(descriptor: int, *arguments: object) -> object:
            made.append((name, os.fstat(descriptor).st_ino))
            return true_call(descriptor, *arguments)

        monkeypatch.setattr(os, name, call)

    for name in ("fdatasync", "fsync", "posix_fadvise", "pread", "pwrite"):
        spy(name)
    return made


def test_a_segment_is_on_disk_before_the_next_one_has_a_record(
    opener: Opener, calls: list[tuple[str, int]]
) -> None:
    log = opener()
    first = opener.last_file().stat().st_ino
    while len(list_segments(opener.folder)) < 2:
        write(log, [body_of(1, 500)] * 3, synced=False)
    second = opener.last_file().stat().st_ino
    last_write = max(at for at, call in enumerate(calls) if call == ("pwrite", first))
    sync = max(at for at, call in enumerate(calls) if call == ("fdatasync", first))
    named = calls.index(("fsync", opener.folder.stat().st_ino), last_write)
    record = max(at for at, call in enumerate(calls) if call == ("pwrite", second))
    assert last_write < sync < named < record
    assert log.sync() == log.written_sequence
    log.close()


def test_an_unclean_log_is_on_disk_before_it_is_read_and_read_from_the_disk(
    opener: Opener, calls: list[tuple[str, int]]
) -> None:
    log = opener()
    write(log, [b"perhaps only in the page cache"], synced=False)
    abandon(log)
    inode = opener.last_file().stat().st_ino
    calls.clear()
    with opener():
        asked = [name for name, each in calls if each == inode]
        assert asked[:3] == ["fdatasync", "posix_fadvise", "pread"]


def test_a_group_that_cannot_be_written_leaves_nothing(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opener()
    records = write_groups(log, 3)
    true_pwrite = os.pwrite
    calls = []

    def half_then_full(descriptor: int, data: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) == 1:
            return true_pwrite(descriptor, data[:100], offset)
        if len(calls) == 2:
            fail(errno.ENOSPC)
        return true_pwrite(descriptor, data, offset)

    before = opener.last_file().read_bytes()
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", half_then_full)
        with pytest.raises(ExhaustedError, match=r"full or fails .*nothing was") as caught:
            write(log, [b"a" * 200, b"b" * 200])
    assert caught.value.reason == "LOG_DISK_FULL"
    assert int(caught.value.metadata["free_size_bytes"]) > 0
    assert opener.last_file().read_bytes() == before
    assert (log.next_sequence, log.written_sequence, log.synced_sequence) == (4, 3, 3)
    records += write_groups(log, 2)
    abandon(log)
    with opener() as log:
        assert list(log.read(1)) == records
    assert opener.torn == []


@contextlib.contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def fill(log: Log) -> None:
    for _ in range(100):
        write(log, [os.urandom(200_000)])


@pytest.mark.root
def test_a_full_disk_refuses_writes_and_takes_them_again_without_a_restart(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "6m") as disk:
        opener = Opener(disk / "log")
        (disk / "other").write_bytes(bytes(2 << 20))
        with opener(64 << 20) as log:
            assert opener.last_file().stat().st_size == 1 << 20
            with pytest.raises(ExhaustedError) as caught:
                fill(log)
            assert caught.value.reason == "LOG_DISK_FULL"
            written = log.written_sequence
            assert 10 <= written < 30
            # Small ones still fit where the large one did not, and reading goes on.
            assert log.next_sequence == written + 1
            written += len(write_groups(log, 3))
            assert len(list(log.read(1))) == written
            with pytest.raises(ExhaustedError):
                write(log, [os.urandom(200_000)])
            (disk / "other").unlink()
            written += len(write(log, [os.urandom(200_000)]))
        assert not list(opener.folder.glob("*.unnamed"))
        assert LogReader.open(opener.folder).survey().record_count == written


@pytest.mark.root
def test_a_disk_without_room_for_a_first_segment_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "600k") as disk:
        opener = Opener(disk / "log")
        with pytest.raises(ExhaustedError, match="make room, then retry"):
            opener(64 << 20)
        assert list(opener.folder.iterdir()) == []
