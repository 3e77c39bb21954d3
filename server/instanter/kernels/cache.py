"""Where compiled kernels are kept between runs.

Numba notices that a kernel's own file has changed, but not that a kernel which it calls, in
another file, has: it would run the old machine code. So the folder's name carries a digest of all
kernel sources, and every change starts a folder of its own. Numba keeps what it compiled by where
the source is, and for one version of itself and of Python; these are in the digest too, so that
what is full for one is not taken for full by another. The cache is pickle, therefore the folder
must belong to the user who runs the server and be writable by nobody else.
"""

import errno
import fcntl
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    try:
        home = Path(cache) if cache else Path.home() / ".cache"
    except RuntimeError:
        # The user of a container, who is in no table of users, has the root for a home.
        home = Path("/.cache")
    return home / "instanter" / "kernels"


def find_stand_in_folder() -> Path:
    """Return the folder that takes the place of the parent folder where that cannot be used.

    It is the user's own, and the same for all processes and starts until the system clears what is
    temporary. Whoever makes it first under this name makes it useless, but no more.
    """
    return Path(tempfile.gettempdir()) / f"instanter-kernels-{os.getuid()}"


def is_private(folder: Path) -> bool:
    """Return whether the folder is ours and nobody else may write to it."""
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def make_cache_folder() -> Path:
    """Make the folder for the kernels of this source, and return it.

    A folder that cannot be made, or that others may write to, is not used, lest somebody else's
    code is run. Then it is in the stand-in's folder, or else a fresh one of this call alone, which
    costs each process a compilation.
    """
    digest = digest_sources()
    for find_parent in (find_parent_folder, _make_stand_in_folder):
        with suppress(OSError):
            folder = find_parent() / digest
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if is_private(folder):
                return folder
    return Path(tempfile.mkdtemp(prefix="instanter-kernels-"))


def _make_stand_in_folder() -> Path:
    """Make the stand-in's folder where everybody may make one; refuse one that is not ours."""
    folder = find_stand_in_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    if not is_private(folder):
        raise PermissionError(errno.EPERM, "belongs to somebody else", str(folder))
    return folder


def describe_trouble(folder: Path) -> dict[str, str] | None:
    """Return what an operator should hear of the folder that is used; None if it is as wanted."""
    wanted = find_parent_folder()
    if folder.parent == wanted:
        return None
    return {
        "wanted": str(wanted),
        "used": str(folder),
        "message": "compiled kernels are kept in a temporary folder, because the wanted one cannot "
        "be made, or is not this user's alone; without them a start compiles for minutes: name "
        f"another folder with {ENVIRONMENT_NAME}",
    }


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
