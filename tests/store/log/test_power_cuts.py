"""The log under power cuts: an ext4 file system that is shut down while two threads write to it."""

import ctypes
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.store.log.logs import Opener, body_of, write

EXT4_SHUTDOWN = 0x8004587D
WITHOUT_LOG_FLUSH = struct.pack("I", 2)
SEGMENT_SIZE_BYTES = 1 << 19
CUTS = 2

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0
    or shutil.which("mkfs.ext4") is None
    or not Path("/dev/loop-control").exists(),
    reason="mounting a file system needs root, mkfs.ext4 and loop devices",
)

WRITER = """
import sys, threading, time
from pathlib import Path
from tests.store.log.test_power_cuts import SEGMENT_SIZE_BYTES, Opener, size_of, body_of
log = Opener(Path(sys.argv[1]))(SEGMENT_SIZE_BYTES)
print("opened", log.next_sequence, flush=True)
written = threading.Semaphore(0)
def sync():
    while True:
        written.acquire()
        while written.acquire(blocking=False):
            pass
        print("durable", log.sync(), flush=True)
threading.Thread(target=sync, daemon=True).start()
while True:
    first = log.next_sequence
    for number in range(first, first + 1 + first % 40):
        log.append(6, 1, body_of(number, size_of(number)))
    log.write_group()
    written.release()
    while log.written_sequence - log.synced_sequence > 500:
        time.sleep(0.0005)
"""


def size_of(number: int) -> int:
    return 20 + number * 37 % 1200


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    done = subprocess.run(["mount", "-o", "loop", image, at], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


@contextmanager
def written_back_out_of_order(folder: Path, choose: random.Random) -> Iterator[None]:
    """Push random pages of the log's files to the disk meanwhile, as the kernel may at any time."""
    stop = threading.Event()
    push = ctypes.CDLL(None, use_errno=True).sync_file_range
    push.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def run() -> None:
        while not stop.is_set():
            try:
                file = choose.choice(sorted(folder.glob("*.log"))[-2:])
                descriptor = os.open(file, os.O_RDONLY)
            except (IndexError, OSError):
                continue
            for _ in range(20):
                page = choose.randrange(SEGMENT_SIZE_BYTES // 4096)
                push(descriptor, page * 4096, 4096 * choose.randint(1, 4), 7)
            os.close(descriptor)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def write_until_the_cut(mount: Path, count: int, choose: random.Random) -> tuple[int, int]:
    """Return where the writer began, and the last record it called durable before the cut."""
    paths = [str(REPOSITORY / part) for part in ("server", "protos", ".")]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(mount / "log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    ) as process:
        assert process.stdout is not None
        first = int(process.stdout.readline().split()[1])
        durable = first - 1
        for _ in range(count):
            durable = int(process.stdout.readline().split()[1])
        # What is still in the pipe was promised too; the cut comes at any moment of a group.
        time.sleep(choose.random() * 0.01)
        descriptor = os.open(mount, os.O_RDONLY)
        fcntl.ioctl(descriptor, EXT4_SHUTDOWN, WITHOUT_LOG_FLUSH)
        os.close(descriptor)
        process.kill()
    with pytest.raises(OSError, match="Input/output error"):
        (mount / "proof").write_text("the power is off")
    return first, durable


@pytest.mark.root
@needs_mounts
@pytest.mark.parametrize("in_order", [True, False], ids=["in order", "out of order"])
def test_nothing_durable_is_lost_by_power_cuts(tmp_path: Path, in_order: bool) -> None:
    image, mount = tmp_path / "disk", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(512 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    choose = random.Random(5)
    opener = Opener(mount / "log")
    durable, known = 0, 1
    for _ in range(CUTS):
        with mounted(image, mount):
            push = nullcontext() if in_order else written_back_out_of_order(opener.folder, choose)
            with push:
                first, durable = write_until_the_cut(mount, choose.randint(0, 150), choose)
            assert first == known
        with mounted(image, mount), opener(SEGMENT_SIZE_BYTES, read_from=durable + 1) as log:
            assert log.next_sequence > durable
            numbers = 0
            for numbers, record in enumerate(log.read(1), 1):
                assert record.sequence == numbers
                assert record.body == body_of(numbers, size_of(numbers))
            assert numbers == log.written_sequence
            write(log, [body_of(numbers + 1, size_of(numbers + 1))])
            known = log.next_sequence
    assert durable > 1000
