"""The LMDB environment: opening, reading, writing, growing, and what to do when the disk is full.

One environment has one memory map, which every process that has the folder open shares. Reads
never wait for writes. Writes of all processes follow one another.

Durability: data is synced in each commit, and the page that makes the commit valid is synced
right after it (`sync(force)`; without it a power cut can undo the last commit). An environment
that is thrown away after a power cut is opened without: a commit then costs a few microseconds,
and survives the death of processes, nothing else.

Such a one may also be written through its map, which spares a system call and a copy for each
page. A store through the map that finds no room on the disk is a signal that ends the process,
so the disk for all of the map is taken beforehand, each time it grows, and where that cannot be
done pages are written by calls (`store/reserved_space`). What must survive is never written
through the map, and nothing is synced asynchronously.
"""

import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import lmdb

from instanter import limits
from instanter.errors import ExhaustedError, InstanterError
from instanter.store.databases import DATA_FILE_NAME, DATABASES, PROFILES
from instanter.store.gate import ReadGate
from instanter.store.lmdb_errors import translated
from instanter.store.opening import open_lmdb, reserve_map
from instanter.store.reserved_space import Reserve, next_size_bytes
from instanter.store.server_lock import ServerLock
from instanter.store.transaction import Handles, Transaction

__all__ = ["Environment", "ServerLock", "StoreFigures", "Transaction"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """How large a store is.

    Attributes
    ----------
    map_size_bytes
        Address space reserved; not disk.
    size_bytes
        Bytes of the data file that have been taken into use; one that is written through its map
        is as long as the map.
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
    seen_id
        Number of the last transaction that a reader of two layers has met here, see
        `store/layered_reading`.
    is_written_through_map
        Whether writes go through the memory map, and not by system calls.
    """

    __slots__ = (
        "_durable",
        "_map_size_bytes",
        "_raw",
        "_reserve",
        "_reserved_size_bytes",
        "_writable",
        "_writing",
        "folder",
        "gate",
        "handles",
        "is_written_through_map",
        "seen_id",
    )

    def __init__(
        self,
        folder: Path,
        *,
        writable: bool,
        durable: bool,
        map_size_bytes: int,
        reserve: Reserve | None,
        reserved_size_bytes: int,
    ) -> None:
        self.folder = folder
        self._durable = durable
        self._reserve = reserve
        self._reserved_size_bytes = min(reserved_size_bytes, map_size_bytes)
        self.is_written_through_map = False
        self.gate = ReadGate()
        self.seen_id = -1
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
        reserve: Reserve | None = None,
        reserved_size_bytes: int = limits.OVERLAY_RESERVED_SIZE_BYTES_INITIAL,
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
        reserve
            Takes the disk for the map beforehand, so that writes go through it where that can be
            done; None to write by calls. Only for one that is not durable, has one writing
            process, and whose disk need not be given back: the file never gets shorter.
        reserved_size_bytes
            Disk to take at first, at most; it doubles when it is full.

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
        assert reserve is None or not durable, "what must survive is never written through the map"
        return cls(
            folder,
            writable=writable,
            durable=durable,
            map_size_bytes=map_size_bytes,
            reserve=reserve,
            reserved_size_bytes=reserved_size_bytes,
        )

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
            gate = self.gate
            # `gate.enter` and, below, `gate.leave` without the 0.1 µs that a call costs each read.
            reading = gate.reading
            assert thread not in reading, "a thread has one read transaction at a time"
            reading.add(thread)
            if gate.closed:
                gate.wait(thread)
            try:
                return self._raw.begin(self.handles[0], buffers=True)
            except lmdb.Error as error:
                gate.leave(thread)
                self._recover_read(error)

    def end_read(self, raw: Any, thread: int) -> None:
        """End what `begin_read` has begun."""
        try:
            raw.abort()
        finally:
            gate = self.gate
            gate.reading.discard(thread)
            if gate.closed:
                gate.leave(thread)

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
        if self.is_written_through_map:
            self._grow_reserved()
            return
        with self.gate.shut():
            self._raw.set_mapsize(0)

    def _grow(self) -> None:
        """Double the map, unless another process has already made it larger."""
        if self.is_written_through_map:
            self._grow_reserved()
            return
        with self.gate.shut():
            before = self._raw.info()["map_size"]
            self._raw.set_mapsize(0)
            if self._raw.info()["map_size"] <= before:
                self._raw.set_mapsize(2 * before)
            self._map_size_bytes = self._raw.info()["map_size"]

    def _grow_reserved(self) -> None:
        """Make the map larger, once there is disk for all of it.

        Raises
        ------
        ExhaustedError
            There is none; the map is as before.
        """
        assert self._reserve is not None, "a map that is written through has its disk"
        try:
            # Never 0, by which LMDB takes the size that is written in the file: an overlay that
            # was written by calls says more there than it has disk for.
            size = next_size_bytes(self.folder, self._raw.info()["map_size"])
            if not self._reserve(self.folder / DATA_FILE_NAME, size):
                raise OSError(errno.ENOSPC, "the file system no longer keeps what is allocated")
        except OSError as error:
            raise translated(error, self.folder) from error
        with self.gate.shut():
            self._raw.set_mapsize(size)

    def _reopen(self) -> None:
        """Open LMDB anew: after a failed write of its meta page it refuses everything else."""
        with self.gate.shut():
            try:
                self._raw.begin(self.handles[PROFILES.index]).abort()
            except lmdb.PanicError:
                self._raw.close()
                self._raw, self.handles = self._opened()

    def _opened(self) -> tuple[Any, Handles]:
        """Open LMDB, for writes through the map where that is wanted and can be done."""
        self.is_written_through_map = False
        raw, handles = self._opened_with(self._map_size_bytes)
        if self._reserve is None:
            return raw, handles
        try:
            size = reserve_map(
                raw, self.folder, reserve=self._reserve, size_bytes=self._reserved_size_bytes
            )
        except BaseException:
            raw.close()
            raise
        if not size:
            return raw, handles
        raw.close()
        try:
            opened = self._opened_with(size, through_map=True)
        except InstanterError:
            return self._opened_with(self._map_size_bytes)
        self.is_written_through_map = True
        return opened

    def _opened_with(
        self, map_size_bytes: int, *, through_map: bool = False
    ) -> tuple[Any, Handles]:
        return open_lmdb(
            self.folder,
            writable=self._writable,
            durable=self._durable,
            map_size_bytes=map_size_bytes,
            through_map=through_map,
        )
