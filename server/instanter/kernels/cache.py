"""Where compiled kernels are kept between runs.

Numba notices that a kernel's own file has changed, but not that a kernel which it calls, in
another file, has: it would run the old machine code. So the folder's name carries a digest of all
kernel sources, and every change starts a folder of its own. Numba keeps what it compiled by where
the source is, and for one version of itself and of Python; these are in the digest too, so that
what is full for one is not taken for full by another. The cache is pickle, therefore the folder
must belong to the user who runs the server and be writable by nobody else.
"""

import fcntl
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

ENVIRONMENT_NAME = "INSTANTER_KERNEL_CACHE"
"""Environment variable that names the folder above; default: `instanter` in the user's cache."""


def digest_sources() -> str:
    """Return 16 hex digits that change whenever any kernel source changes, or who compiles it."""
    folder = Path(__file__).resolve().parent
    made_by = (str(folder), version("numba"), str(sys.implementation.cache_tag))
    digest = hashlib.blake2b("\0".join(made_by).encode(), digest_size=8)
    for source in sorted(folder.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def find_parent_folder() -> Path:
    """Return the folder that holds one folder a digest."""
    named = os.environ.get(ENVIRONMENT_NAME)
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    home = Path(cache) if cache else Path.home() / ".cache"
    return home / "instanter" / "kernels"


def is_private(folder: Path) -> bool:
    """Return whether the folder is ours and nobody else may write to it."""
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def make_cache_folder() -> Path:
    """Make the folder for the kernels of this source, and return it.

    A folder that cannot be made, or that others may write to, is not used: a fresh temporary one
    takes its place, which costs a compilation but never runs somebody else's code.
    """
    folder = find_parent_folder() / digest_sources()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_private(folder):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="instanter-kernels-"))


def is_full(folder: Path) -> bool:
    """Return whether all kernels have been compiled into this folder."""
    return (folder / "full").exists()


def note_full(folder: Path) -> None:
    """Note that all kernels have been compiled into this folder, which may be read-only by then."""
    if not is_full(folder):
        (folder / "full").touch(mode=0o600)


@contextmanager
def filling_alone() -> Iterator[None]:
    """Import the table of kernels in here where several processes may do so at the same time.

    The first of them fills the cache while the others wait: Numba's cache files are pickles
    without a lock. Once it is full nobody waits any more.
    """
    folder = make_cache_folder()
    if is_full(folder):
        yield
        return
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
