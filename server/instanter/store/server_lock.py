"""One server a folder, one keeper a folder: locks that are released when their holder dies."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

from instanter.errors import PreconditionError

SERVER_LOCK_FILE_NAME: Final = "server.lock"
KEEPER_LOCK_FILE_NAME: Final = "keeper.lock"

_ATTEMPT_INTERVAL_NS = 5_000_000


class ServerLock:
    """Held by the server that owns a store's folder, for as long as the process lives.

    It is an `flock`, so a killed process leaves nothing behind that somebody must clean up. The
    file stays and names the last holder's process id; it says nothing about being locked.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, folder: Path) -> Self:
        """Take the lock of `folder`, which is made when absent.

        Raises
        ------
        PreconditionError
            Another server holds it; its process id is named. Or the folder cannot be written.
        """
        return cls(_acquire(folder, SERVER_LOCK_FILE_NAME, "server", 0))

    @property
    def file_id(self) -> tuple[int, int]:
        """Device and inode of the locked file, by which `check_folder_stays` knows the folder."""
        found = os.fstat(self._descriptor)
        return found.st_dev, found.st_ino

    def release(self) -> None:
        """Give the lock back. A second call does nothing."""
        self._descriptor = _release(self._descriptor)


class KeeperLock:
    """Held by the one process that writes a store, the keeper or a command; else as `ServerLock`.

    It is another lock than the server's, because the server that holds that one outlives the
    keepers it starts.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """File descriptor of the lock: a process that is given it holds the folder as well."""
        return self._descriptor

    @classmethod
    def acquire(cls, folder: Path, *, wait_ns: int = 0) -> Self:
        """Take the lock of `folder`, which is made when absent.

        Parameters
        ----------
        folder
            The store's folder.
        wait_ns
            How long to wait for its holder to let go: one that was killed takes a moment to die.

        Raises
        ------
        PreconditionError
            Another process still holds it; its process id is named. Or the folder cannot be
            written.
        """
        return cls(_acquire(folder, KEEPER_LOCK_FILE_NAME, "keeper", wait_ns))

    def release(self) -> None:
        """Give the lock back. A second call does nothing."""
        self._descriptor = _release(self._descriptor)


def check_folder_stays(folder: Path, file_id: tuple[int, int]) -> None:
    """Refuse a folder that is not the one whose `ServerLock` has this file.

    Whoever takes the place of a process that has died opens the folder by its name: where that was
    moved meanwhile it would make a new, empty store, and write into that.

    Raises
    ------
    PreconditionError
        The lock's file is another one, or there is none.
    """
    try:
        found = (folder / SERVER_LOCK_FILE_NAME).stat()
    except OSError:
        stays = False
    else:
        stays = (found.st_dev, found.st_ino) == file_id
    if not stays:
        raise PreconditionError(
            f"{folder} is no longer the folder that this server was started with: it was moved, "
            "removed or replaced; move it back, or stop the server and start it with the right one",
            reason="STORE_FOLDER_MOVED",
        )


def _acquire(folder: Path, file_name: str, holder: str, wait_ns: int) -> int:
    """Return the descriptor of the locked file."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / file_name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PreconditionError(
            f"cannot use {folder} as the store's folder: {error.strerror}",
            reason="STORE_FOLDER_INVALID",
        ) from error
    attempts_left = wait_ns // _ATTEMPT_INTERVAL_NS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if attempts_left <= 0:
                pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise PreconditionError(
                    f"another {holder}, process {pid}, uses the store in {folder}; stop it or "
                    "name another folder",
                    reason="STORE_LOCKED",
                    metadata={"pid": pid},
                ) from error
        # `flock` waits for ever or not at all.
        time.sleep(_ATTEMPT_INTERVAL_NS / 1e9)
        attempts_left -= 1
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _release(descriptor: int) -> int:
    """Give the lock of a descriptor back, and return what stands for none."""
    if descriptor >= 0:
        os.close(descriptor)
    return -1
