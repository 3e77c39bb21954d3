"""A writer that is killed at any moment, and a disk that is full."""

import os
import random
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from instanter.errors import ExhaustedError
from instanter.store.databases import ACTIVITY, PROFILES
from instanter.store.state import State
from instanter.store.transaction import Transaction
from tests.store.state_workload import Oracle, apply, read, workload

KILLS = 5


def last_line(process: subprocess.Popen[str], seconds: float) -> int:
    """Return the last sequence that a writer acknowledges within some time, and kill it then."""
    assert process.stdout is not None
    assert int(process.stdout.readline())
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        select.select([process.stdout], [], [], 0.01)
    process.kill()
    return int(process.communicate()[0].split("\n")[-2])


def test_a_writer_killed_between_any_two_instructions_leaves_what_it_acknowledged(
    tmp_path: Path,
) -> None:
    rng = random.Random(5)
    folded_before = 0
    for _ in range(KILLS):
        with workload("write", tmp_path) as process:
            acknowledged = last_line(process, rng.uniform(0.05, 0.3))
        with State.open(tmp_path, writable=True) as state:
            applied, folded = state.applied_sequence(), state.folded_sequence()
            assert acknowledged <= applied <= acknowledged + 1
            assert read(state) == (applied, Oracle().go_to(applied))
            # The base alone is whole as well, at what it says.
            assert folded_before <= folded <= applied
            folded_before = folded
            state.rebuild(lambda _: None)
            assert read(state) == (folded, Oracle().go_to(folded))
    assert folded_before > 100


def test_a_reader_that_lives_on_sees_every_writer_take_over_whole(tmp_path: Path) -> None:
    State.open(tmp_path, writable=True).close()
    with workload("read", tmp_path) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        acknowledged = 0
        for seconds in (0.2, 0.05, 0.3, 0.1):
            with workload("write", tmp_path) as process:
                acknowledged = last_line(process, seconds)
            assert reader.poll() is None, reader.communicate()[1]
        output, errors = reader.communicate("")
    assert reader.returncode == 0, errors
    count, sequence = map(int, output.split())
    assert count > 20
    assert 0 < sequence <= acknowledged + 1


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def put_many(transaction: Transaction, number: int) -> None:
    for row in range(20):
        transaction.put(PROFILES, b"%06d%02d" % (number, row), b"%d " % number * 1000)


def write_until_full(state: State) -> int:
    """Write groups until one is refused, and return how many were not."""
    for number in range(1000):
        try:
            state.write(lambda t, number=number: put_many(t, number), sequence=number + 2)
        except ExhaustedError:
            return number
    raise AssertionError("the disk is too large")


def test_on_a_full_disk_writes_fail_whole_reads_go_on_and_room_heals(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        with State.open(disk, writable=True) as state:
            state.write(lambda t: apply(t, 1), sequence=1)
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(2 << 20))
            written = write_until_full(state)
            assert written > 2
            with pytest.raises(ExhaustedError):
                state.fold()
            assert state.folded_sequence() == 0
            assert state.applied_sequence() == written + 1
            with state.read() as transaction:
                assert transaction.count(PROFILES) >= written * 20
                assert transaction.get(PROFILES, b"%06d%02d" % (written, 0)) is None
            ballast.unlink()
            state.write(lambda t: put_many(t, written), sequence=written + 2)
            # The base has no room for all of it yet: what there is goes step by step.
            state.rebuild(lambda _: None)
            state.write(lambda t: apply(t, 1), sequence=1)
            state.write(lambda t: put_many(t, 7), sequence=2)
            fold = state.fold()
            assert fold.folded_sequence == 2
            assert state.purge(fold, 1000)
            with state.read() as transaction:
                assert bytes(transaction.get(PROFILES, b"00000703") or b"") == b"7 " * 1000
                assert transaction.count(ACTIVITY) + transaction.count(PROFILES) >= 20
        with State.open(disk, writable=False) as state:
            assert state.applied_sequence() == 2
