"""Taking out of the overlay what a fold has put into the base and nobody has changed since.

That runs where writes are carried out, so it goes in steps. A database that nobody has written to
since the fold's snapshot is emptied at once (0.4 µs a page) if it is not too large. Else its keys
are gone through in their order, so that neighbours are deleted from one page (0.9 µs each; in the
order in which they were written, 1.4 µs).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from instanter.store.databases import DATABASES, LAYER_META_KEYS, META
from instanter.store.transaction import Handles

_PAGES_MAX: Final = 1_000
"""Pages of a database that a step may empty at once: 0.4 ms."""

_DROPPED_PAGES_PER_ROW: Final = 2
"""So many pages are given back in the time in which one entry is deleted."""


class ChangedEntries:
    """Which entries of the overlay were written since it was opened, and in which transaction.

    Parameters
    ----------
    number
        Number of the overlay's transaction in which everything else in it was there.
    """

    __slots__ = ("_latest", "_numbers")

    def __init__(self, number: int) -> None:
        self._numbers: tuple[dict[bytes, int], ...] = tuple({} for _ in DATABASES)
        self._latest = [number] * len(DATABASES)

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(map(len, self._numbers))

    def note(self, written: Mapping[int, set[bytes]], number: int) -> None:
        """Note the keys that a transaction has written, by their database's index."""
        for index, keys in written.items():
            self._numbers[index].update(dict.fromkeys(keys, number))
            self._latest[index] = number

    def is_unchanged(self, index: int, snapshot: int) -> bool:
        """Return whether nothing of a database was written after a snapshot."""
        return self._latest[index] <= snapshot

    def numbers_of(self, index: int) -> Mapping[bytes, int]:
        """Return the numbers of the transactions in which the keys of a database were written."""
        return self._numbers[index]

    def forget(self, index: int, keys: list[bytes] | None) -> None:
        """Forget some keys of a database, or all of them (None): they are gone."""
        numbers = self._numbers[index]
        if keys is None:
            numbers.clear()
            return
        for key in keys:
            numbers.pop(key, None)


class PurgePlace:
    """How far a purge has come; moves on.

    Attributes
    ----------
    index
        Index of the database that it goes on with; the number of them when it is done.
    key
        The key there; empty for the first.
    """

    __slots__ = ("index", "key")

    def __init__(self, index: int = 0, key: bytes = b"") -> None:
        self.index = index
        self.key = key

    @classmethod
    def end(cls) -> "PurgePlace":
        """Return the place of a purge that has nothing to do."""
        return cls(len(DATABASES))

    @property
    def is_end(self) -> bool:
        """Whether nothing is left to do."""
        return self.index == len(DATABASES)


class _Step:
    """One step, in one transaction; thrown away when that has to run again.

    Attributes
    ----------
    place
        How far it has come.
    gone
        Indices of databases with the keys that were deleted, None for all.
    """

    __slots__ = ("_changed", "_left", "_raw", "_snapshot", "gone", "place")

    def __init__(self, raw: Any, changed: ChangedEntries, snapshot: int, limit: int) -> None:
        self._raw = raw
        self._changed = changed
        self._snapshot = snapshot
        self._left = limit
        self.place = PurgePlace()
        self.gone: list[tuple[int, list[bytes] | None]] = []

    def run(self, handles: Handles, start: PurgePlace) -> None:
        """Go on from a place for as long as it may take."""
        self.place = PurgePlace(start.index, start.key)
        place = self.place
        while not place.is_end and self._left > 0:
            index = place.index
            handle = handles[index]
            stat = self._raw.stat(handle)
            if not stat["entries"]:
                place.key = b""
            elif self._may_drop(index, page_count := stat["leaf_pages"] + stat["overflow_pages"]):
                self._raw.drop(handle, delete=False)
                self.gone.append((index, None))
                self._left -= 1 + page_count // _DROPPED_PAGES_PER_ROW
                place.key = b""
            else:
                cursor = self._raw.cursor(handle)
                place.key = self._walk(cursor, index)
                cursor.close()
            if not place.key:
                place.index += 1

    def _may_drop(self, index: int, page_count: int) -> bool:
        """Return whether a database of so many pages may be emptied at once."""
        return (
            page_count <= _PAGES_MAX
            and index != META.index
            and self._changed.is_unchanged(index, self._snapshot)
        )

    def _walk(self, cursor: Any, index: int) -> bytes:
        """Delete along the keys of a database; return the one to go on with, empty at the end."""
        keys: list[bytes] = []
        numbers, snapshot = self._changed.numbers_of(index), self._snapshot
        kept = LAYER_META_KEYS if index == META.index else frozenset()
        start = self.place.key
        if not (cursor.set_range(start) if start else cursor.first()):
            return b""
        key_here, number_of = cursor.key, numbers.get
        key = bytes(key_here())
        left = self._left
        while key and left > 0:
            left -= 1
            if number_of(key, 0) > snapshot or key in kept:
                cursor.next()
            else:
                keys.append(key)
                cursor.delete()
            # Of the next one, to which `delete` moves as well; empty behind the last.
            key = bytes(key_here())
        self._left = left
        if keys:
            self.gone.append((index, keys))
        return key


def purge_step(
    write: Callable[[Callable[[Any, Handles], _Step]], _Step],
    changed: ChangedEntries,
    snapshot: int,
    place: PurgePlace,
    limit: int,
) -> None:
    """Take one step, and move the place on behind it.

    Parameters
    ----------
    write
        Runs a change of the overlay in a transaction, several times if it must.
    changed
        What was written, and when; what is gone is forgotten.
    snapshot
        Number of the overlay's transaction that was folded.
    place
        Where to go on.
    limit
        At most this many entries are looked at.
    """

    def run(raw: Any, handles: Handles) -> _Step:
        step = _Step(raw, changed, snapshot, limit)
        step.run(handles, place)
        return step

    step = write(run)
    for index, keys in step.gone:
        changed.forget(index, keys)
    place.index, place.key = step.place.index, step.place.key
