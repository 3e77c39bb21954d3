"""The LMDB environment: opening, reading, writing, growing, and what to do when the disk is full.

One environment has one memory map, which every process that has the folder open shares. Reads
never wait for writes. Writes of all processes follow one another.

Durability: data is synced in each commit, and the page that makes the commit valid is synced
right after it (`sync(force)`; without it a power cut can undo the last commit). An environment
that is thrown away after a power cut is opened without: a commit then costs a few microseconds,
and survives the death of processes, nothing else. The map is never written through (WRITEMAP
turns a full disk into SIGBUS) nor synced asynchronously.
"""

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import lmdb

from instanter import limits
from instanter.errors import (
    DamagedError,
    ExhaustedError,
    InstanterError,
    PreconditionError,
    UnavailableError,
)
from instanter.store.databases import DATABASES, META, META_KEY_FORMAT, PROFILES, STORE_FORMAT
from instanter.store.gate import ReadGate
from instanter.store.server_lock import ServerLock
from instanter.store.transaction import Handles, Transaction

__all__ = ["Environment", "ServerLock", "StoreFigures", "Transaction"]

T = TypeVar("T")

DATA_FILE_NAME: Final = "data.mdb"
READERS_FILE_NAME: Final = "lock.mdb"

_OWN_FILES = frozenset(
    {
        DATA_FILE_NAME,
        READERS_FILE_NAME,
        "server.lock",
        "keeper.lock",
        "keeper.sock",
        "overlay.lock",
        "overlay",
        "log",
        "live",
    }
)
"""What may lie in the folder of a store that has no data file yet, or no longer."""

_DISK_CODES = frozenset({errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG})
_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.CursorFullError,
    lmdb.PageFullError,
    lmdb.ProblemError,
    lmdb.BadTxnError,
)
"""What LMDB raises when its pages do not make sense."""

_READER_TABLE_SIZE_BYTES = 64 * (limits.STORE_READERS_MAX + 2)
"""What LMDB takes: a cache line a reader and two for its head."""

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """How large a store is.

    Attributes
    ----------
    map_size_bytes
        Address space reserved; not disk.
    size_bytes
        Bytes of the data file.
    used_size_bytes
        Of these, bytes that hold data; the rest is free for reuse.
    reader_count
        Read transactions that have a slot in the reader table, of all processes.
    """

    map_size_bytes: int
    size_bytes: int
    used_size_bytes: int
    reader_count: int


class Reading:
    """A read transaction as a context manager; made by `Environment.read`."""

    __slots__ = ("_environment", "_raw", "_thread")

    def __init__(self, environment: "Environment") -> None:
        self._environment = environment

    def __enter__(self) -> Transaction:
        environment = self._environment
        self._thread = threading.get_ident()
        self._raw = environment.begin_read(self._thread)
        return Transaction(self._raw, environment.handles)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._environment.end_read(self._raw, self._thread)
        if isinstance(error, lmdb.Error):
            raise translated(error, self._environment.folder) from error


class Environment:
    """One open store. Shared by the threads of a process; never carried across a fork.

    Attributes
    ----------
    folder
        Where it lives.
    handles
        The named databases.
    gate
        What every read passes, see `store/gate`.
    """

    __slots__ = (
        "_durable",
        "_map_size_bytes",
        "_raw",
        "_writable",
        "_writing",
        "folder",
        "gate",
        "handles",
    )

    def __init__(self, folder: Path, *, writable: bool, durable: bool, map_size_bytes: int) -> None:
        self.folder = folder
        self._durable = durable
        self.gate = ReadGate()
        self._writable = writable
        self._writing = threading.Lock()
        self._map_size_bytes = map_size_bytes
        self._raw, self.handles = self._opened()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        writable: bool = True,
        durable: bool = True,
        map_size_bytes: int = limits.STORE_MAP_SIZE_BYTES_INITIAL,
    ) -> Self:
        """Open the store in `folder`; a writable one is made when the folder is new or empty.

        Parameters
        ----------
        folder
            Its folder; made, readable by its owner only, when absent.
        writable
            Whether `write` will be called. A store opened for reading must exist; one of an older
            format is upgraded when it is opened for writing.
        durable
            Whether what `write` has done survives a power cut. Without, a power cut damages the
            whole environment: only for what can be made anew.
        map_size_bytes
            Address space to begin with; it doubles when it is full.

        Raises
        ------
        PreconditionError
            The folder holds something else, a store of a newer format or no store, or may not be
            opened by this user; or it is only to be read and of an older format.
        DamagedError
            Its pages are damaged.
        ExhaustedError
            The disk is full.
        """
        return cls(folder, writable=writable, durable=durable, map_size_bytes=map_size_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it, after waiting for open reads and a running write to end."""
        with self._writing, self.gate.shut():
            self._raw.close()

    def read(self) -> Reading:
        """Return a context manager that yields a read transaction: one snapshot, no waiting.

        A thread has at most one at a time and does not write meanwhile. What it returns that is a
        view ends with it.
        """
        return Reading(self)

    def write(self, change: Callable[[Transaction], T]) -> T:
        """Run `change` in a write transaction and return its result once that is on disk.

        All of it happens or nothing: an exception that leaves `change` undoes everything. When
        the map is full it doubles and `change` runs again, so it must be able to run twice.

        Raises
        ------
        ExhaustedError
            The disk is full or fails; nothing was changed, reads go on, and a later write works
            once there is room.
        UnavailableError
            The store is closed.
        """
        return self.write_raw(lambda raw, handles: change(Transaction(raw, handles)))

    def write_raw(self, change: Callable[[Any, Handles], T]) -> T:
        """Do what `write` does with an LMDB transaction and the handles; for `store/state`."""
        assert self._writable, "this environment was opened for reading only"
        assert threading.get_ident() not in self.gate.reading, "no write inside a read"
        with self._writing:
            reopened = False
            while True:
                try:
                    return self._write_once(change)
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.MapResizedError:
                    self._adopt_map_size()
                except lmdb.PanicError as error:
                    if reopened:
                        raise translated(error, self.folder) from error
                    self._reopen()
                    reopened = True
                except lmdb.Error as error:
                    raise translated(error, self.folder) from error

    def begin_read(self, thread: int) -> Any:
        """Let `thread` in and return a raw read transaction; `Reading` ends both again.

        Raises
        ------
        UnavailableError
            The store is closed, or all slots of the reader table are taken.
        """
        while True:
            self.gate.enter(thread)
            try:
                return self._raw.begin(self.handles[PROFILES.index], buffers=True)
            except lmdb.Error as error:
                self.gate.leave(thread)
                self._recover_read(error)

    def end_read(self, raw: Any, thread: int) -> None:
        """End what `begin_read` has begun."""
        try:
            raw.abort()
        finally:
            self.gate.leave(thread)

    def figures(self) -> StoreFigures:
        """Return how large the store is."""
        with self.read() as transaction:
            info, root = self._raw.info(), self._raw.stat()
            used = sum(transaction.size_bytes(database) for database in DATABASES)
        root_pages = root["branch_pages"] + root["leaf_pages"] + root["overflow_pages"]
        return StoreFigures(
            map_size_bytes=info["map_size"],
            size_bytes=(info["last_pgno"] + 1) * root["psize"],
            used_size_bytes=used + root_pages * root["psize"],
            reader_count=info["num_readers"],
        )

    def clear_dead_readers(self) -> int:
        """Free the slots of readers whose process has died, and return how many there were."""
        with self.read():
            return int(self._raw.reader_check())

    def _write_once(self, change: Callable[[Any, Handles], T]) -> T:
        raw = self._raw.begin(self.handles[PROFILES.index], write=True, buffers=True)
        try:
            result = change(raw, self.handles)
            raw.commit()
        except BaseException:
            raw.abort()
            raise
        if not self._durable:
            return result
        try:
            self._raw.sync(True)
        except lmdb.Error as error:
            raise ExhaustedError(
                f"the disk of the store in {self.folder} fails ({error}); the change is visible, "
                "but a power cut may undo it; write it again",
                reason="STORE_DISK_FAILED",
            ) from error
        return result

    def _recover_read(self, error: lmdb.Error) -> None:
        """Make the next attempt to begin a read work, or raise."""
        if isinstance(error, lmdb.MapResizedError):
            with self._writing:
                self._adopt_map_size()
        elif isinstance(error, lmdb.PanicError):
            with self._writing:
                self._reopen()
        elif not (isinstance(error, lmdb.ReadersFullError) and self._raw.reader_check()):
            raise translated(error, self.folder) from error

    def _adopt_map_size(self) -> None:
        """Take over the map size that another process has made larger."""
        with self.gate.shut():
            self._raw.set_mapsize(0)

    def _grow(self) -> None:
        """Double the map, unless another process has already made it larger."""
        with self.gate.shut():
            before = self._raw.info()["map_size"]
            self._raw.set_mapsize(0)
            if self._raw.info()["map_size"] <= before:
                self._raw.set_mapsize(2 * before)
            self._map_size_bytes = self._raw.info()["map_size"]

    def _reopen(self) -> None:
        """Open LMDB anew: after a failed write of its meta page it refuses everything else."""
        with self.gate.shut():
            try:
                self._raw.begin(self.handles[PROFILES.index]).abort()
            except lmdb.PanicError:
                self._raw.close()
                self._raw, self.handles = self._opened()

    def _opened(self) -> tuple[Any, Handles]:
        return _open(
            self.folder,
            writable=self._writable,
            durable=self._durable,
            map_size_bytes=self._map_size_bytes,
        )


def _open(
    folder: Path, *, writable: bool, durable: bool, map_size_bytes: int
) -> tuple[Any, Handles]:
    """Open LMDB and its databases, and make them in a new folder."""
    _check_folder(folder, writable=writable)
    try:
        if writable:
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            _reserve_reader_table(folder)
        raw = lmdb.open(
            str(folder),
            map_size=map_size_bytes,
            readonly=not writable,
            create=writable,
            mode=_FILE_MODE,
            sync=durable,
            metasync=False,  # `write` syncs it itself, after the commit
            max_readers=limits.STORE_READERS_MAX,
            max_dbs=len(DATABASES),
            # A kept transaction holds a reader slot, and cannot be renewed once another process
            # has grown the map (MDB_BAD_RSLOT). Beginning anew costs 0.2 µs more.
            max_spare_txns=0,
        )
    except (lmdb.Error, OSError) as error:
        raise translated(error, folder) from error
    try:
        raw.reader_check()
        _prepare(raw, folder, writable=writable)
        return raw, tuple(raw.open_db(d.name.encode(), create=False) for d in DATABASES)
    except (lmdb.Error, OSError) as error:
        raw.close()
        raise translated(error, folder) from error
    except BaseException:
        raw.close()
        raise


def _check_folder(folder: Path, *, writable: bool) -> None:
    """Refuse a folder that is not a store and that must not become one."""
    if (folder / DATA_FILE_NAME).is_file():
        return
    if folder.exists() and not folder.is_dir():
        raise PreconditionError(f"{folder} is a file; name a folder", reason="STORE_FOLDER_INVALID")
    if not writable:
        raise PreconditionError(
            f"there is no store in {folder}; start the server or load customers once, or name "
            "another folder",
            reason="STORE_NOT_FOUND",
        )
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if foreign := sorted(names - _OWN_FILES):
        raise PreconditionError(
            f"{folder} is not a store, it holds {foreign[0]!r} (of {len(foreign)}); name a new or "
            "empty folder",
            reason="STORE_FOLDER_INVALID",
        )


def _reserve_reader_table(folder: Path) -> None:
    """Take disk for the whole reader table: it is mapped, and a hole on a full disk is SIGBUS."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(folder / READERS_FILE_NAME, flags, _FILE_MODE)
    try:
        size = max(os.fstat(descriptor).st_size, _READER_TABLE_SIZE_BYTES)
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _prepare(raw: Any, folder: Path, *, writable: bool) -> None:
    """Check the format of the store; make a new store, and upgrade one of an older format."""
    if not raw.stat()["entries"] and writable:
        _make_databases(raw, wanted=lambda transaction: not transaction.stat()["entries"])
    found = _stored_format(raw)
    if found is None:
        raise PreconditionError(
            f"{folder} holds an LMDB file that is not a store of this server; name another folder",
            reason="STORE_FOLDER_INVALID",
        )
    if found > STORE_FORMAT:
        raise PreconditionError(
            f"the store in {folder} has format {found}, this server understands up to "
            f"{STORE_FORMAT}; run the version of instanter that wrote it, or a newer one",
            reason="STORE_FORMAT_NEWER",
            metadata={"found": str(found), "understood": str(STORE_FORMAT)},
        )
    if found < STORE_FORMAT:
        if not writable:
            raise PreconditionError(
                f"the store in {folder} has format {found}, this program reads {STORE_FORMAT}; "
                "start the server on it once, which upgrades it",
                reason="STORE_FORMAT_OLDER",
                metadata={"found": str(found), "understood": str(STORE_FORMAT)},
            )
        _make_databases(raw, wanted=lambda _: True)


def _make_databases(raw: Any, *, wanted: Callable[[Any], bool]) -> None:
    """Make the databases that are not there yet and write the present format: all or nothing."""
    with raw.begin(write=True) as transaction:
        if wanted(transaction):
            handles = [raw.open_db(d.name.encode(), transaction) for d in DATABASES]
            value = STORE_FORMAT.to_bytes(8, "little")
            transaction.put(META_KEY_FORMAT, value, db=handles[META.index])
    raw.sync(True)


def _stored_format(raw: Any) -> int | None:
    """Return the format of a store, or None when it is not one."""
    try:
        handle = raw.open_db(META.name.encode(), create=False)
        with raw.begin() as transaction:
            stored = transaction.get(META_KEY_FORMAT, db=handle)
    except (lmdb.NotFoundError, lmdb.IncompatibleError, lmdb.ReadonlyError):
        return None
    return int.from_bytes(stored, "little") if stored is not None and len(stored) == 8 else None


def translated(error: Exception, folder: Path) -> InstanterError:
    """Return what a caller should hear of an error of LMDB or the operating system."""
    code = getattr(error, "code", 0) or getattr(error, "errno", 0) or 0
    if isinstance(error, lmdb.PanicError | lmdb.DiskError) or code in _DISK_CODES:
        return _disk_error(error, folder)
    if isinstance(error, lmdb.ReadersFullError):
        return UnavailableError(
            f"all {limits.STORE_READERS_MAX} slots of the store's reader table are taken; retry",
            reason="STORE_READERS_FULL",
        )
    if isinstance(error, PermissionError | lmdb.ReadonlyError) or code in (
        errno.EACCES,
        errno.EPERM,
    ):
        return PreconditionError(
            f"this user may not open the store in {folder}: {error}", reason="STORE_NOT_ALLOWED"
        )
    if isinstance(error, _DAMAGE):
        return DamagedError(
            f"the store in {folder} is damaged: {error}; restore it from a backup",
            reason="STORE_DAMAGED",
        )
    if isinstance(error, lmdb.InvalidError | lmdb.VersionMismatchError):
        return PreconditionError(
            f"{folder / DATA_FILE_NAME} is not a store, or is damaged: {error}; restore it from a "
            "backup or name another folder",
            reason="STORE_FOLDER_INVALID",
        )
    return UnavailableError(f"the store in {folder} cannot be used: {error}", reason="STORE_FAILED")


def _disk_error(error: Exception, folder: Path) -> ExhaustedError:
    """Return the error for a full or failing disk, with the room that is left."""
    try:
        stats = os.statvfs(folder)
        room = stats.f_bavail * stats.f_frsize
    except OSError:
        room = -1
    return ExhaustedError(
        f"the disk of the store in {folder} is full or fails ({error}; {room:,} bytes free); "
        "nothing was changed; make room, then retry",
        reason="STORE_DISK_FULL",
        metadata={"free_size_bytes": str(room)},
    )
