"""The log under power cuts: an ext4 file system that is shut down while two threads write to it."""

import os
import random
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.crash.disks import (
    MIB,
    cut_power,
    make_image,
    mounted,
    needs_mounts,
    written_back_out_of_order,
)
from tests.store.log.logs import Opener, body_of, write

SEGMENT_SIZE_BYTES = 1 << 19
CUTS = 2

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
        cut_power(mount)
        process.kill()
    return first, durable


@pytest.mark.root
@needs_mounts
@pytest.mark.parametrize("in_order", [True, False], ids=["in order", "out of order"])
def test_nothing_durable_is_lost_by_power_cuts(tmp_path: Path, in_order: bool) -> None:
    image, mount = tmp_path / "disk", tmp_path / "mount"
    mount.mkdir()
    make_image(image, 512 * MIB)
    choose = random.Random(5)
    opener = Opener(mount / "log")
    durable, known = 0, 1
    for _ in range(CUTS):
        with mounted("-o", "loop", str(image), at=mount):
            push = (
                nullcontext()
                if in_order
                else written_back_out_of_order(
                    lambda: sorted(opener.folder.glob("*.log"))[-2:], choose
                )
            )
            with push:
                first, durable = write_until_the_cut(mount, choose.randint(0, 150), choose)
            assert first == known
        with (
            mounted("-o", "loop", str(image), at=mount),
            opener(SEGMENT_SIZE_BYTES, read_from=durable + 1) as log,
        ):
            assert log.next_sequence > durable
            numbers = 0
            for numbers, record in enumerate(log.read(1), 1):
                assert record.sequence == numbers
                assert record.body == body_of(numbers, size_of(numbers))
            assert numbers == log.written_sequence
            write(log, [body_of(numbers + 1, size_of(numbers + 1))])
            known = log.next_sequence
    assert durable > 1000
