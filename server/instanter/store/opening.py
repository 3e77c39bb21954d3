"""Opens the LMDB environment of a store: its folder, its format, its databases."""

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb

from instanter import limits
from instanter.errors import PreconditionError
from instanter.store.databases import (
    DATA_FILE_NAME,
    DATABASES,
    META,
    META_KEY_FORMAT,
    READERS_FILE_NAME,
    STORE_FORMAT,
)
from instanter.store.lmdb_errors import translated
from instanter.store.reserved_space import Reserve, first_size_bytes
from instanter.store.transaction import Handles

_OWN_FILES = frozenset(
    {
        DATA_FILE_NAME,
        READERS_FILE_NAME,
        "server.lock",
        "keeper.lock",
        "keeper.sock",
        "tools.sock",
        "overlay.lock",
        "overlay",
        "log",
        "live",
    }
)
"""What may lie in the folder of a store that has no data file yet, or no longer."""

_LASTING_FOLDERS = frozenset({"log", "live"})
"""Those whose files are still there when a store is opened."""

_READER_TABLE_SIZE_BYTES = 64 * (limits.STORE_READERS_MAX + 2)
"""What LMDB takes: a cache line a reader and two for its head."""

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600


def open_lmdb(
    folder: Path, *, writable: bool, durable: bool, map_size_bytes: int, through_map: bool = False
) -> tuple[Any, Handles]:
    """Open LMDB and its databases in a folder; make them in a new one.

    Parameters
    ----------
    folder, writable, durable, map_size_bytes
        As for `Environment.open`.
    through_map
        Whether to write through the map: only into a store that is there, whose file has disk for
        the whole of the map.

    Returns
    -------
    tuple
        The LMDB environment and the handles of all databases.

    Raises
    ------
    PreconditionError, DamagedError, ExhaustedError
        As `Environment.open`.
    """
    check_folder(folder, writable=writable)
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
            writemap=through_map,
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


def reserve_map(raw: Any, folder: Path, *, reserve: Reserve, size_bytes: int) -> int:
    """Take disk for the map of a store that is open, so that it can be written through it.

    LMDB takes a file of zeros for a damaged one. So it makes the file itself, by calls; then the
    disk is taken, and the store opened anew. What dies in between leaves a store that is whole.

    Parameters
    ----------
    raw
        The LMDB environment, as it was opened.
    folder
        Where it lives.
    reserve
        Takes the disk.
    size_bytes
        Size of the map wanted; the disk's part for it is less where little is free.

    Returns
    -------
    int
        Size of the map that was taken, bytes; 0 when none was: the file system does not keep what
        is taken, or has no room.
    """
    try:
        # LMDB makes a map larger that ends before what it has taken into use, on disk or not yet;
        # and beneath readers of other processes the file must not get shorter.
        size_bytes = max(
            first_size_bytes(folder, size_bytes),
            _needed_size_bytes(raw),
            (folder / DATA_FILE_NAME).stat().st_size,
        )
        return size_bytes if reserve(folder / DATA_FILE_NAME, size_bytes) else 0
    except OSError:
        return 0


def _needed_size_bytes(raw: Any) -> int:
    """Return the bytes up to the last page that LMDB has taken into use."""
    return int(raw.info()["last_pgno"] + 1) * int(raw.stat()["psize"])


def check_folder(folder: Path, *, writable: bool) -> None:
    """Refuse a folder that is not a store and that must not become one, or is somebody else's."""
    if writable and folder.is_dir():
        _check_access(folder)
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


def _check_access(folder: Path) -> None:
    """Refuse a folder in which there is something that this user may not read and write.

    A command that was once run as another user leaves such files, and what meets them first may be
    a keeper that has begun to serve. What is in `overlay/` is made anew at each start.
    """
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return  # Whoever takes the folder's lock says so, also to root.
    for path in _list_own_paths(folder):
        wanted = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
        # What was listed a moment ago may be gone: a running server drops old files of its log.
        if os.access(path, wanted, effective_ids=True) or not path.exists():
            continue
        user, owner = _name_user(os.geteuid()), _name_user(path.stat().st_uid)
        raise PreconditionError(
            f"{user} may not read and write {path}, which belongs to {owner}; run this as the user "
            f"that the store belongs to, or give it {folder} with all that is in it (`chown -R`)",
            reason="STORE_NOT_ALLOWED",
            metadata={"path": str(path), "user": user, "owner": owner},
        )


def _list_own_paths(folder: Path) -> Iterator[Path]:
    """Yield a store's folder, its files and folders, and what is in those that outlast a start."""
    yield folder
    for name in sorted(_OWN_FILES):
        path = folder / name
        if path.is_file() or path.is_dir():
            yield path
        if name in _LASTING_FOLDERS and path.is_dir():
            yield from sorted(path.iterdir())


def _name_user(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


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
