"""One server a folder: a lock that the operating system releases when its holder dies."""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from instanter.errors import PreconditionError

LOCK_FILE_NAME: Final = "server.lock"


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
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(
                folder / LOCK_FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise PreconditionError(
                f"cannot use {folder} as the store's folder: {error.strerror}",
                reason="STORE_FOLDER_INVALID",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise PreconditionError(
                f"another server, process {holder}, uses the store in {folder}; stop it or name "
                "another folder",
                reason="STORE_LOCKED",
                metadata={"pid": holder},
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock back. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
