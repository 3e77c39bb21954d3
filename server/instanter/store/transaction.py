"""A transaction of the store: one snapshot over one layer or two.

The *base* is what is on disk for good. The *overlay*, where there is one, lies on top and holds
what has changed since the base was last brought up to date; a value of no bytes in it says that
the key is deleted. What is written goes to the topmost layer. Of some databases the rows on top
are held in the memory of the process that writes, and not in the overlay.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import Any, Final, Protocol

from instanter.store.databases import META, META_KEY_APPLIED, Database
from instanter.store.held_rows import HeldRows, make_layer
from instanter.store.records import seal

Handles = tuple[Any, ...]
"""LMDB's handles of `databases.DATABASES`, in that order."""

_SEQUENCE_SIZE_BYTES = 8
_key_of_row = itemgetter(0)
_NOTHING_WRITTEN: Final = make_layer()


class Readable(Protocol):
    """Whatever can be read: an `Environment` alone, or the `State` of two layers."""

    def read(self) -> AbstractContextManager["Transaction"]:
        """Return a context manager that yields a transaction: one snapshot, no waiting."""


class Transaction:
    """What the modules of `store/` work on; everybody else only passes it on.

    What `get`, `get_profile` and `scan` return are views of the memory map. They end with the
    transaction, and with the next change made through it: using one later can crash the
    process. So no function of `store/` returns one.

    Parameters
    ----------
    base, base_handles
        The LMDB transaction below, whose default database is `PROFILES`, and its databases.
    overlay, overlay_handles
        The same of the layer on top, or None.
    changed
        Takes the keys that are written to the overlay, in a set for each database's index, which
        it makes itself; None when nothing is written.
    lineage
        See below.
    held
        What is held in memory of the databases for which that is said; None for a base alone, and
        in a process that does not write: there nobody reads those.

    Attributes
    ----------
    lineage
        The same object as that of an earlier transaction as long as this one sees what that one
        left, but for what others have written in between: nothing was undone or thrown away. None
        where that is not known.
    applied
        Sequence of the last record of the log that it has applied, 0 for none.
    written
        The rows that it has written and that are to be held.
    """

    __slots__ = (
        "_base",
        "_base_handles",
        "_changed",
        "_held",
        "_overlay",
        "_overlay_handles",
        "applied",
        "lineage",
        "written",
    )

    def __init__(
        self,
        base: Any,
        base_handles: Handles,
        overlay: Any = None,
        overlay_handles: Handles = (),
        changed: dict[int, set[bytes]] | None = None,
        lineage: object | None = None,
        held: HeldRows | None = None,
    ) -> None:
        self.lineage = lineage
        self.applied = 0
        self.written = _NOTHING_WRITTEN if changed is None else make_layer()
        self._held = held
        self._base = base
        self._base_handles = base_handles
        self._overlay = overlay
        self._overlay_handles = overlay_handles
        self._changed = changed

    def get(self, database: Database, key: bytes) -> memoryview | None:
        """Return a view of the value under a key, or None when there is none."""
        index = database.index
        if self._held is not None and database.is_held:
            row = self._find_held(index, key)
            if row is not None:
                return memoryview(row) if row else None
        elif self._overlay is not None:
            value = self._overlay.get(key, None, self._overlay_handles[index])
            if value is not None:
                return value if len(value) else None
        found: memoryview | None = self._base.get(key, None, self._base_handles[index])
        return found

    def get_profile(self, key: bytes) -> memoryview | None:
        """Return what `get(PROFILES, key)` does, 0.1 µs sooner: the first step of a decision."""
        if self._overlay is not None:
            value = self._overlay.get(key)
            if value is not None:
                return value if len(value) else None
        found: memoryview | None = self._base.get(key)
        return found

    def put(self, database: Database, key: bytes, value: bytes | memoryview) -> None:
        """Write a value, which is not empty, under a key."""
        index = database.index
        if self._overlay is None:
            self._base.put(key, value, db=self._base_handles[index])
        else:
            assert len(value), "an empty value says that the key is deleted"
            self._write(database, key, value)

    def get_each(self, database: Database, keys: Sequence[bytes]) -> list[memoryview | bytes]:
        """Return views of the values under keys, in their order, empty ones where there is none."""
        index = database.index
        base, base_handle = self._base.get, self._base_handles[index]
        if self._overlay is None:
            return [base(key, b"", base_handle) for key in keys]
        found: list[memoryview | bytes | None]
        if self._held is not None and database.is_held:
            found = [self._find_held(index, key) for key in keys]
        else:
            overlay, handle = self._overlay.get, self._overlay_handles[index]
            found = [overlay(key, None, handle) for key in keys]
        return [
            base(key, b"", base_handle) if value is None else value
            for key, value in zip(keys, found, strict=True)
        ]

    def put_each(
        self, database: Database, rows: Sequence[tuple[bytes, bytes | memoryview]]
    ) -> None:
        """Write values, none of them empty, under keys; of one that comes twice the last counts."""
        index = database.index
        if self._held is not None and database.is_held:
            assert self._changed is not None, "this transaction only reads"
            assert all(len(value) for _, value in rows), "an empty value is a deletion"
            self.written[index].update([(key, bytes(value)) for key, value in rows])
            return
        # In the order of the keys LMDB's pages are found, and written out, with less effort.
        rows = sorted(rows, key=_key_of_row)
        if self._overlay is None:
            raw, handle = self._base, self._base_handles[index]
        else:
            assert all(len(value) for _, value in rows), "an empty value is a deletion"
            assert self._changed is not None, "this transaction only reads"
            raw, handle = self._overlay, self._overlay_handles[index]
            self._changed[index].update(map(_key_of_row, rows))
        if len(rows) == 1:
            # Without the cursor, which takes longer to make than one value to write.
            raw.put(*rows[0], db=handle)
            return
        cursor = raw.cursor(handle)
        try:
            cursor.putmulti(rows)
        finally:
            cursor.close()

    def put_many(
        self, database: Database, rows: Sequence[tuple[bytes, bytes | memoryview]]
    ) -> None:
        """Write many values to the base, keys in ascending order, in one call."""
        assert self._overlay is None, "the overlay counts what is changed in it, key by key"
        cursor = self._base.cursor(self._base_handles[database.index])
        try:
            cursor.putmulti(rows)
        finally:
            cursor.close()

    def delete(self, database: Database, key: bytes) -> bool:
        """Delete a key and return whether it was there."""
        index = database.index
        if self._overlay is None:
            return bool(self._base.delete(key, db=self._base_handles[index]))
        present = self.get(database, key) is not None
        if present:
            # Also where the base does not have it: a fold may be about to write it there.
            self._write(database, key, b"")
        return present

    def scan(
        self, database: Database, start: bytes = b"", *, after: bool = False
    ) -> Iterator[tuple[bytes, memoryview]]:
        """Yield keys and views of their values, in the byte order of the keys.

        The database must not be changed while the iterator is in use.

        Parameters
        ----------
        database
            Which one.
        start
            Key to begin with; empty to begin with the first.
        after
            Whether to begin behind `start` even when that is there.
        """
        base = _forward(self._base, self._base_handles[database.index], start, after=after)
        if self._overlay is None:
            return base
        if self._held is not None and database.is_held:
            rows = self._sort_held(database.index)
            first = [row for row in rows if row[0] > start or (row[0] == start and not after)]
            return _merged(iter(first), base, ascending=True)
        overlay = _forward(self._overlay, self._overlay_handles[database.index], start, after=after)
        return _merged(overlay, base, ascending=True)

    def scan_back(self, database: Database, before: bytes) -> Iterator[tuple[bytes, memoryview]]:
        """Yield what stands before the key `before`, in descending order; else as `scan`."""
        base = _backward(self._base, self._base_handles[database.index], before)
        if self._overlay is None:
            return base
        if self._held is not None and database.is_held:
            rows = self._sort_held(database.index)
            return _merged(
                iter([row for row in reversed(rows) if not before or row[0] < before]),
                base,
                ascending=False,
            )
        overlay = _backward(self._overlay, self._overlay_handles[database.index], before)
        return _merged(overlay, base, ascending=False)

    def count(self, database: Database) -> int:
        """Return how many keys a database has; takes 1 µs for each key in the overlay."""
        handle = self._base_handles[database.index]
        count: int = self._base.stat(handle)["entries"]
        if self._overlay is not None:
            for key, value in self._list_fresh(database):
                in_base = self._base.get(key, None, handle) is not None
                count += (len(value) > 0) - in_base
        return count

    def is_empty(self, database: Database) -> bool:
        """Return whether a database has certainly no key; False says nothing. Costs 1 µs."""
        return not (
            self._base.stat(self._base_handles[database.index])["entries"]
            or (self._held is not None and database.is_held and self._has_held(database.index))
            or (
                self._overlay is not None
                and self._overlay.stat(self._overlay_handles[database.index])["entries"]
            )
        )

    def size_bytes(self, database: Database) -> int:
        """Return the bytes of the pages that hold a database in all layers, tree included."""
        size = _size_bytes(self._base.stat(self._base_handles[database.index]))
        if self._overlay is not None:
            size += _size_bytes(self._overlay.stat(self._overlay_handles[database.index]))
        return size

    def _find_held(self, index: int, key: bytes) -> bytes | None:
        """Return the row that is held under a key, one of no bytes for a deletion."""
        row = self.written[index].get(key)
        if row is None:
            assert self._held is not None, "it is only asked where rows are held"
            fresh, taken = self._held.layers
            row = fresh[index].get(key)
            if row is None:
                row = taken[index].get(key)
        return row

    def _has_held(self, index: int) -> bool:
        """Return whether any row is held, be it a deletion."""
        assert self._held is not None, "it is only asked where rows are held"
        return any(layer[index] for layer in (self.written, *self._held.layers))

    def _sort_held(self, index: int) -> list[tuple[bytes, memoryview]]:
        """Return the rows that are held, by their keys; takes 1 µs for each."""
        assert self._held is not None, "it is only asked where rows are held"
        fresh, taken = self._held.layers
        rows = {**taken[index], **fresh[index], **self.written[index]}
        return [(key, memoryview(rows[key])) for key in sorted(rows)]

    def _list_fresh(self, database: Database) -> Iterable[tuple[bytes, memoryview]]:
        """Return what lies on top of the base."""
        if self._held is not None and database.is_held:
            return self._sort_held(database.index)
        return _forward(self._overlay, self._overlay_handles[database.index])

    def _write(self, database: Database, key: bytes, value: bytes | memoryview) -> None:
        assert self._changed is not None, "this transaction only reads"
        index = database.index
        if self._held is not None and database.is_held:
            self.written[index][key] = bytes(value)
            return
        self._overlay.put(key, value, db=self._overlay_handles[index])
        self._changed[index].add(key)

    def set_applied(self, sequence: int) -> None:
        """Write down that the overlay now holds the effect of the log up to `sequence`."""
        assert self._overlay is not None, "only an overlay is applied to"
        self.applied = sequence
        value = seal(META_KEY_APPLIED, sequence.to_bytes(_SEQUENCE_SIZE_BYTES, "little"))
        self._overlay.put(META_KEY_APPLIED, value, db=self._overlay_handles[META.index])


def _forward(
    raw: Any, handle: Any, start: bytes = b"", *, after: bool = False
) -> Iterator[tuple[bytes, memoryview]]:
    cursor = raw.cursor(handle)
    try:
        more = cursor.set_range(start) if start else cursor.first()
        if more and after and bytes(cursor.key()) == start:
            more = cursor.next()
        while more:
            yield bytes(cursor.key()), cursor.value()
            more = cursor.next()
    finally:
        cursor.close()


def _backward(raw: Any, handle: Any, before: bytes) -> Iterator[tuple[bytes, memoryview]]:
    cursor = raw.cursor(handle)
    try:
        more = cursor.prev() if before and cursor.set_range(before) else cursor.last()
        while more:
            yield bytes(cursor.key()), cursor.value()
            more = cursor.prev()
    finally:
        cursor.close()


def _merged(
    overlay: Iterator[tuple[bytes, memoryview]],
    base: Iterator[tuple[bytes, memoryview]],
    *,
    ascending: bool,
) -> Iterator[tuple[bytes, memoryview]]:
    """Yield both in one order; the overlay's value hides the base's, an empty one both."""
    upper, lower = next(overlay, None), next(base, None)
    while upper is not None or lower is not None:
        if upper is None or (
            lower is not None and lower[0] != upper[0] and (lower[0] < upper[0]) == ascending
        ):
            assert lower is not None
            yield lower
            lower = next(base, None)
            continue
        if lower is not None and lower[0] == upper[0]:
            lower = next(base, None)
        if len(upper[1]):
            yield upper
        upper = next(overlay, None)


def _size_bytes(stat: dict[str, int]) -> int:
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return pages * stat["psize"]
