"""Disks of the tests: small ones, ones whose power is cut, ones that write back in any order."""

import ctypes
import fcntl
import os
import random
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1 << 20
_PAGE_SIZE_BYTES = 4096
_EXT4_SHUTDOWN = 0x8004587D
_WITHOUT_JOURNAL = struct.pack("I", 2)
_UNMOUNT_S_MAX = 20.0

needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0
    or shutil.which("mkfs.ext4") is None
    or not Path("/dev/loop-control").exists(),
    reason="mounting a file system needs root, mkfs.ext4 and loop devices",
)


@contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[Path]:
    """Mount a file system for the length of a `with` block; skip where that is not allowed."""
    at.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(at)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield at
    finally:
        unmount(at)


def unmount(at: Path) -> None:
    """Unmount a file system once the last process that was killed has let go of it."""
    end = time.monotonic() + _UNMOUNT_S_MAX
    while True:
        done = subprocess.run(["umount", str(at)], capture_output=True, text=True)
        if not done.returncode:
            return
        assert time.monotonic() < end, done.stderr
        time.sleep(0.02)


def make_image(image: Path, size_bytes: int) -> None:
    """Make a file with an empty ext4 file system in it."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    # Without reserved blocks, root meets a full disk when everybody does.
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)


def cut_power(mount: Path) -> None:
    """Let nothing more of what is cached reach the disk, as if its power were cut."""
    descriptor = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _EXT4_SHUTDOWN, _WITHOUT_JOURNAL)
    finally:
        os.close(descriptor)
    with pytest.raises(OSError, match="Input/output error"):
        (mount / "proof").write_text("the power is off")


@contextmanager
def written_back_out_of_order(
    list_files: Callable[[], Iterable[Path]], choose: random.Random
) -> Iterator[None]:
    """Push random pages of files to the disk meanwhile, the first two of each most of all.

    The kernel may do so at any time; who counts on an order of its writes is corrupt after the
    cut. The first two pages are LMDB's meta pages.
    """
    stop = threading.Event()
    push = ctypes.CDLL(None, use_errno=True).sync_file_range
    push.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def push_some(file: Path) -> None:
        descriptor = os.open(file, os.O_RDONLY)
        pages = max(os.fstat(descriptor).st_size // _PAGE_SIZE_BYTES, 2)
        for _ in range(20):
            page = choose.randrange(2) if choose.random() < 0.3 else choose.randrange(pages)
            size = _PAGE_SIZE_BYTES * choose.randint(1, 4)
            push(descriptor, page * _PAGE_SIZE_BYTES, size, 7)
        os.close(descriptor)

    def run() -> None:
        while not stop.wait(0.0005):
            try:
                push_some(choose.choice(list(list_files())))
            except (IndexError, OSError):
                continue

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
