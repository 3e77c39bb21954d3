"""A store that is written through its map: it has the disk for it beforehand, or is not."""

import errno
import mmap
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from instanter.errors import ExhaustedError
from instanter.limits import OVERLAY_RESERVED_SIZE_BYTES_INITIAL
from instanter.store import reserved_space
from instanter.store.databases import PROFILES
from instanter.store.environment import Environment
from instanter.store.reserved_space import Reserve, reserve_space
from instanter.store.state import State
from instanter.store.transaction import Transaction

MIB = 1 << 20
VALUE_SIZE_BYTES = 1_000
BLOCK_ROWS = 100


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder where what is allocated is kept: in memory, if the temporary one is not so."""
    (tmp_path / "file").touch()
    if reserve_space(tmp_path / "file", 4096):
        yield tmp_path / "store"
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as shared:
        yield Path(shared) / "store"


def opened(folder: Path, *, reserve: Reserve = reserve_space, size: int = MIB) -> Environment:
    return Environment.open(folder, durable=False, map_size_bytes=size, reserve=reserve)


def put_block(transaction: Transaction, number: int, rows: int = BLOCK_ROWS) -> None:
    for row in range(rows):
        key = b"%08d%08d" % (number, row)
        transaction.put(PROFILES, key, key * (VALUE_SIZE_BYTES // 16))


def write(environment: Environment, number: int, rows: int = BLOCK_ROWS) -> None:
    environment.write(lambda transaction: put_block(transaction, number, rows))


def count_blocks(transaction: Transaction) -> int:
    """Return how many blocks there are, after looking at each byte of all of them."""
    keys = []
    for key, value in transaction.scan(PROFILES):
        assert bytes(value) == key * (VALUE_SIZE_BYTES // 16)
        keys.append(key)
    count, rest = divmod(len(keys), BLOCK_ROWS)
    assert rest == 0, "no block is there in part"
    assert keys == [b"%08d%08d" % (n, row) for n in range(count) for row in range(BLOCK_ROWS)]
    return count


def put_until_full(environment: Environment, number: int) -> int:
    """Write blocks until one is refused, and return its number."""
    while True:
        try:
            write(environment, number)
        except ExhaustedError as error:
            if error.reason != "STORE_DISK_FULL":
                raise
            return number
        number += 1


def allocated(folder: Path) -> tuple[int, int]:
    """Return how long the file is, and how much of it has disk."""
    stats = (folder / "data.mdb").stat()
    return stats.st_size, stats.st_blocks * 512


class Disk:
    """Takes disk as the real one does, as long as there is any."""

    def __init__(self) -> None:
        self.is_full = False
        self.asked: list[int] = []

    def reserve(self, file: Path, size_bytes: int) -> bool:
        self.asked.append(size_bytes)
        if self.is_full:
            raise OSError(errno.ENOSPC, "full")
        return reserve_space(file, size_bytes)


def test_it_has_disk_for_all_of_its_map_however_it_grows(folder: Path) -> None:
    disk = Disk()
    with opened(folder, reserve=disk.reserve) as environment:
        assert environment.is_written_through_map
        for number in range(90):
            write(environment, number)
            length, taken = allocated(folder)
            assert environment.figures().map_size_bytes == length <= taken
        with environment.read() as transaction:
            assert count_blocks(transaction) == 90
    assert disk.asked == [MIB, 2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB]


def test_an_overlay_takes_little_at_first_and_then_what_it_took_before(folder: Path) -> None:
    with State.open(folder, writable=True) as state:
        assert state.is_written_through_map
    assert allocated(folder / "overlay")[0] == OVERLAY_RESERVED_SIZE_BYTES_INITIAL
    with opened(folder / "overlay") as environment:
        write(environment, 0, 12_000)
    grown, _ = allocated(folder / "overlay")
    assert grown >= 2 * OVERLAY_RESERVED_SIZE_BYTES_INITIAL
    # A worker may have it open: what it reads must not be cut off.
    with State.open(folder, writable=True) as state:
        assert state.is_written_through_map
        assert allocated(folder / "overlay")[0] == grown
    with State.open(folder, writable=True, fresh_overlay=True) as state:
        assert allocated(folder / "overlay")[0] == grown
        state.write(lambda transaction: put_block(transaction, 0))
    # Once it was huge, but nothing says that it will be so again.
    os.truncate(folder / "overlay/data.mdb", 1 << 40)
    with State.open(folder, writable=True, fresh_overlay=True):
        length, taken = allocated(folder / "overlay")
        assert length == 64 * MIB <= taken
    (folder / "overlay/data.mdb").unlink()
    with State.open(folder, writable=True, fresh_overlay=True):
        assert allocated(folder / "overlay")[0] == OVERLAY_RESERVED_SIZE_BYTES_INITIAL


def test_one_that_was_written_by_calls_gets_disk_when_it_is_opened_and_when_it_grows(
    folder: Path,
) -> None:
    # It says in its file that its map is a gigabyte, for which there is no disk.
    with Environment.open(folder, durable=False, map_size_bytes=1 << 30) as environment:
        for number in range(30):
            write(environment, number)
    with opened(folder) as environment:
        assert environment.is_written_through_map
        for number in range(30, 100):
            write(environment, number)
            length, taken = allocated(folder)
            assert length <= taken
        assert length <= 32 * MIB
        with environment.read() as transaction:
            assert count_blocks(transaction) == 100


@pytest.mark.parametrize("refusal", ["not kept", "no room"])
def test_where_no_disk_can_be_taken_it_is_written_by_calls(folder: Path, refusal: str) -> None:
    def refuse(file: Path, size_bytes: int) -> bool:
        if refusal == "no room":
            raise OSError(errno.ENOSPC, "full")
        return False

    with opened(folder, reserve=refuse) as environment:
        assert not environment.is_written_through_map
        for number in range(30):
            write(environment, number)
        with environment.read() as transaction:
            assert count_blocks(transaction) == 30
        assert allocated(folder)[0] < environment.figures().map_size_bytes


def test_a_file_system_that_is_not_known_to_keep_what_is_allocated_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserved_space, "_KEEPING", frozenset({0x9123683E}))
    with State.open(folder, writable=True) as state:
        assert not state.is_written_through_map
        state.write(lambda transaction: put_block(transaction, 0))
    assert allocated(folder / "overlay")[0] < MIB


def test_a_disk_that_is_full_when_it_must_grow_changes_nothing_and_heals(folder: Path) -> None:
    disk = Disk()
    with opened(folder, reserve=disk.reserve) as environment:
        write(environment, 0)
        before = allocated(folder)
        disk.is_full = True
        refused = put_until_full(environment, 1)
        assert refused > 2
        assert allocated(folder) == before
        with environment.read() as transaction:
            assert count_blocks(transaction) == refused
        # What fits into what is there is taken.
        environment.write(lambda t: t.delete(PROFILES, b"%08d%08d" % (0, 0)))
        write(environment, 0, 1)
        disk.is_full = False
        write(environment, refused)
        with environment.read() as transaction:
            assert count_blocks(transaction) == refused + 1


def test_who_dies_before_the_disk_is_taken_or_after_leaves_a_store_that_is_whole(
    folder: Path,
) -> None:
    def die_before(file: Path, size_bytes: int) -> bool:
        raise ZeroDivisionError

    def die_after(file: Path, size_bytes: int) -> bool:
        assert reserve_space(file, size_bytes)
        raise ZeroDivisionError

    for die in (die_before, die_after, die_before):
        with pytest.raises(ZeroDivisionError):
            opened(folder, reserve=die)
    with opened(folder) as environment:
        assert environment.is_written_through_map
        write(environment, 0)
        with environment.read() as transaction:
            assert count_blocks(transaction) == 1


READ = """
import sys
from pathlib import Path
from instanter.store.environment import Environment
from tests.store.test_written_through_map import count_blocks
with Environment.open(Path(sys.argv[1]), writable=False, durable=False) as environment:
    print("open", flush=True)
    for line in sys.stdin:
        with environment.read() as transaction:
            print(count_blocks(transaction), environment.is_written_through_map, flush=True)
"""


def test_a_reader_in_another_process_follows_whatever_it_grows_to(folder: Path) -> None:
    with opened(folder) as environment:
        reader = subprocess.Popen(
            [sys.executable, "-c", READ, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert reader.stdin is not None
        assert reader.stdout is not None
        with reader:
            assert reader.stdout.readline() == "open\n"
            number = 0
            for _ in range(12):
                for _ in range(15):
                    write(environment, number)
                    number += 1
                reader.stdin.write("read\n")
                reader.stdin.flush()
                assert reader.stdout.readline() == f"{number} False\n"
            assert environment.figures().map_size_bytes >= 16 * MIB
            reader.stdin.close()
        assert reader.returncode == 0


@contextmanager
def small_disk(folder: Path, kind: str) -> Iterator[Path]:
    """Mount a file system of 12 MiB that is nearly empty; skip where that is not allowed."""
    mount = folder / "mount"
    mount.mkdir()
    if kind == "tmpfs":
        arguments = ["-t", "tmpfs", "-o", "size=12m", "tmpfs"]
    else:
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(12 * MIB)
        if subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=False).returncode:
            pytest.skip("a disk of the test needs mkfs.ext4")
        arguments = ["-o", "loop", str(image)]
    if os.geteuid() or subprocess.run(["mount", *arguments, str(mount)], check=False).returncode:
        pytest.skip("mounting a disk needs root")
    try:
        yield mount
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def fill(file: Path) -> None:
    """Take all that the disk has left."""
    with file.open("ab", buffering=0) as ballast:
        for size in (65_536, 4_096, 1_024, 1):
            try:
                while True:
                    ballast.write(b"b" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_on_a_disk_without_a_byte_left_its_map_can_be_written_to_the_end(
    tmp_path: Path, kind: str
) -> None:
    with small_disk(tmp_path, kind) as disk, opened(disk / "store") as environment:
        assert environment.is_written_through_map
        for number in range(10):
            write(environment, number)
        fill(disk / "ballast")
        before = allocated(disk / "store")
        with environment.read() as transaction:
            count = count_blocks(transaction)
        refused = put_until_full(environment, count)
        assert refused > count
        # To the end: of the last growth less is left than a block takes.
        used = environment.figures().size_bytes
        assert before[0] - used < 2 * BLOCK_ROWS * (VALUE_SIZE_BYTES + 200)
        assert allocated(disk / "store")[0] == before[0]
        # Pages that are written back are taken anew with the next write: no room is needed.
        descriptor = os.open(disk / "store/data.mdb", os.O_RDWR)
        chosen = random.Random(3)
        for number in range(40):
            os.fsync(descriptor)
            rows = chosen.randrange(1, 5)
            write(environment, number % 9, rows)
        os.close(descriptor)
        with environment.read() as transaction:
            assert count_blocks(transaction) == refused
        (disk / "ballast").unlink()
        write(environment, refused)
        with environment.read() as transaction:
            assert count_blocks(transaction) == refused + 1


@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_disk_that_has_room_for_a_part_gets_that_back(tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path, kind) as disk:
        file = disk / "file"
        file.write_bytes(bytes(8192))
        fill(disk / "ballast")
        os.truncate(disk / "ballast", (disk / "ballast").stat().st_size - 300_000)
        os.sync()
        free = os.statvfs(disk).f_bavail
        with pytest.raises(OSError, match="No space left"):
            reserve_space(file, MIB)
        os.sync()
        assert os.statvfs(disk).f_bavail == free
        assert file.stat().st_size == 8192
        assert reserve_space(file, 65_536)
        assert file.read_bytes() == bytes(65_536)


def test_what_is_wanted_of_a_disk_is_little_of_what_is_free(folder: Path) -> None:
    folder.mkdir()
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    assert reserved_space.next_size_bytes(folder, MIB) == 2 * MIB
    huge = 1 << 60
    assert reserved_space.first_size_bytes(folder, huge) < free / 4
    assert reserved_space.next_size_bytes(folder, huge) - huge < free / 4
    assert reserved_space.first_size_bytes(folder, 1) == mmap.PAGESIZE
