"""The state of a node in two layers: a synced base, and on top an overlay of what is fresh.

The *base* is an LMDB environment that is synced at each commit. The *overlay* is another one that
is never synced: an acknowledged write is on disk in the log, not here, so a commit costs
microseconds. Every process that has the folder open sees both, hence every acknowledged write at
once. From time to time the overlay is *folded* into the base, in one transaction together with
the sequence up to which the base now holds the log; then what has not changed since is *purged*
from the overlay. After a power cut the overlay is thrown away and made anew from the log, from
the folded sequence on.

What only the process that writes ever reads is held in its memory instead of in the overlay, see
`held_rows`, and goes into the base with the same folds.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, overload

from instanter import limits
from instanter.errors import DamagedError
from instanter.store.databases import (
    DATABASES,
    META,
    META_KEY_APPLIED,
    META_KEY_FOLDED,
)
from instanter.store.environment import Environment
from instanter.store.folding import (
    Collect,
    FoldResult,
    TakeHeld,
    fold_overlay,
    sealed_sequence,
    sequence_of,
)
from instanter.store.held_rows import HeldRows, Piece
from instanter.store.layered_reading import LayeredReading
from instanter.store.overlay import (
    OverlayUse,
    clear_overlay,
    mark_overlay,
    open_for_reading,
    open_for_writing,
)
from instanter.store.purging import ChangedEntries, PurgePlace, purge_step
from instanter.store.state_figures import StateFigures
from instanter.store.transaction import Handles, Transaction
from instanter.store.verification import StoreReport, verify_database

__all__ = ["FoldResult", "State", "StateFigures"]

T = TypeVar("T")

_DROPPED_PER_ROW: Final = 5
"""So many rows that are held in memory are dropped in the time in which one entry is purged."""


class State:
    """One open state. Shared by the threads of a process; never carried across a fork.

    One process has it open for writing, see `KeeperLock`; within it one thread writes and one
    folds, each of its own.

    Attributes
    ----------
    base
        The lower layer.
    """

    __slots__ = ("_changed", "_held", "_lineage", "_overlay", "_use", "base")

    def __init__(self, base: Environment) -> None:
        self.base = base
        self._overlay: Environment | None = None
        self._use: OverlayUse | None = None
        self._changed = ChangedEntries(0)
        self._held: HeldRows | None = None
        self._lineage: object | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        writable: bool,
        fresh_overlay: bool = False,
        map_size_bytes: int = limits.STORE_MAP_SIZE_BYTES_INITIAL,
        overlay_map_size_bytes: int = limits.STORE_MAP_SIZE_BYTES_INITIAL,
    ) -> Self:
        """Open the state in `folder`.

        Parameters
        ----------
        folder
            The store's folder.
        writable
            Whether this process is the one that writes. It then makes what is missing. Otherwise
            the store must exist; without an overlay the base alone is read.
        fresh_overlay
            Whether to begin with an empty overlay: when it will be made anew from the log anyway.
            One that does not belong to this start of the operating system, or is damaged, is
            emptied in any case.
        map_size_bytes, overlay_map_size_bytes
            Address space to begin with; it doubles when it is full.

        Raises
        ------
        PreconditionError, DamagedError, ExhaustedError
            As `Environment.open`.
        UnavailableError
            The overlay is damaged, and another process has it open; or another process makes it.
        """
        base = Environment.open(folder, writable=writable, map_size_bytes=map_size_bytes)
        state = cls(base)
        try:
            if writable:
                state._open_writable(fresh=fresh_overlay, size=overlay_map_size_bytes)
            else:
                state._open_readable()
        except BaseException:
            state.close()
            raise
        return state

    @classmethod
    def open_for_folding(cls, folder: Path) -> Self:
        """Open the state in `folder` beside the process that writes it, to fold on its behalf.

        Nothing but `fold` without a heavy change may be called; what is to be purged after it is
        known where it is written, see `note_folded`.

        Raises
        ------
        PreconditionError, DamagedError, ExhaustedError, UnavailableError
            As `open`.
        """
        state = cls(Environment.open(folder))
        try:
            state._open_readable()
        except BaseException:
            state.close()
            raise
        return state

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
        if self._overlay is not None:
            self._overlay.close()
        self.base.close()
        if self._use is not None:
            self._use.release()

    @property
    def folder(self) -> Path:
        """Where it lives."""
        return self.base.folder

    @property
    def changed_count(self) -> int:
        """How many fresh entries are not known to be in the base; for the writer."""
        return len(self._changed) + (0 if self._held is None else len(self._held))

    @property
    def is_written_through_map(self) -> bool:
        """Whether the overlay is written through its map, and not by system calls."""
        return self._overlay is not None and self._overlay.is_written_through_map

    def read(self) -> AbstractContextManager[Transaction]:
        """Return a context manager that yields a read transaction: one snapshot, no waiting.

        A thread has at most one at a time and does not write meanwhile. What it returns that is a
        view ends with it.
        """
        if self._overlay is None:
            return self.base.read()
        return LayeredReading(self.base, self._overlay, self._held)

    def write(self, change: Callable[[Transaction], T], *, sequence: int | None = None) -> T:
        """Run `change` in a write transaction of the overlay and return its result.

        Everybody sees all of it or nothing; it is not on disk: the log must have it. An exception
        that leaves `change` undoes everything. When the map is full it doubles and `change` runs
        again, so it must be able to run twice.

        Parameters
        ----------
        change
            Gets a transaction over both layers.
        sequence
            That of the last record of the log that is applied; None if the change says it itself,
            through `Transaction.set_applied`, or applies none.

        Raises
        ------
        ExhaustedError
            The disk is full; nothing was changed, reads go on, and a later write works once there
            is room.
        UnavailableError
            The state is closed.
        """
        return self._write(change, sequence, clear=False)

    def rebuild(self, change: Callable[[Transaction], T], *, sequence: int | None = None) -> T:
        """Empty the overlay and run `change`, all in one transaction; else as `write`.

        What replays the log over the base at the start: readers that have the overlay open see
        what was there before, or what is there now.
        """
        return self._write(change, sequence, clear=True)

    @overload
    def fold(
        self,
        *,
        heavy: None = None,
        heavy_sequence: None = None,
        wait_durable: Callable[[int], None] | None = None,
        collect: Collect | None = None,
        take_held: TakeHeld | None = None,
    ) -> FoldResult[None]: ...

    @overload
    def fold(
        self,
        *,
        heavy: Callable[[Transaction], T],
        heavy_sequence: int,
        wait_durable: Callable[[int], None] | None = None,
        collect: Collect | None = None,
    ) -> FoldResult[T]: ...

    def fold(
        self,
        *,
        heavy: Callable[[Transaction], T] | None = None,
        heavy_sequence: int | None = None,
        wait_durable: Callable[[int], None] | None = None,
        collect: Collect | None = None,
        take_held: TakeHeld | None = None,
    ) -> FoldResult[T] | FoldResult[None]:
        """Write what is in the overlay now to the base, synced, with the sequence it stands for.

        For a thread of its own; reads and writes go on. A heavy change is then written straight
        to the base and the overlay, which would hide it, purged before, so nothing may be written
        to the overlay until this returns.

        Parameters
        ----------
        heavy
            A change too large for the overlay. It gets a transaction over the base alone, which
            by then is the whole state, and may run twice.
        heavy_sequence
            Sequence of the record that it applies, on disk in the log.
        wait_durable
            Called with the sequence of what is about to be written, and returns once the log has
            that on disk: the base must never know more than the log. It may raise.
        collect
            Called with the same sequence, and returns what else belongs to the state there: a
            change of the base, part of the same transaction, that may run twice; None for none.
        take_held
            Called with the same sequence, and returns what the process that writes held then, see
            `take_held`; None where this is that process.

        Raises
        ------
        ExhaustedError
            The disk is full; the base is as before, or, with a heavy change, holds all but that.
        """
        assert (heavy is None) == (heavy_sequence is None), "one goes with the other"
        if take_held is None:
            self.begin_fold()
            take_held = self.take_held
        result = fold_overlay(
            self.base,
            self._writable_overlay(),
            folded=self.folded_sequence(),
            wait_durable=wait_durable,
            collect=collect,
            take_held=take_held,
        )
        if heavy is None:
            return result
        assert heavy_sequence is not None
        assert heavy_sequence > result.folded_sequence, "the log is applied in its order"
        while not self.purge(result, limits.PURGE_ROWS):
            pass
        assert self._is_overlay_empty(), "nothing is written while a heavy change is"
        stored = sealed_sequence(META_KEY_FOLDED, heavy_sequence)

        def write_heavy(transaction: Transaction) -> T:
            found = heavy(transaction)
            transaction.put(META, META_KEY_FOLDED, stored)
            return found

        heavy_result = self.base.write(write_heavy)
        place = PurgePlace.end()
        return FoldResult(heavy_sequence, result.entry_count, result.snapshot, place, heavy_result)

    def begin_fold(self) -> None:
        """Prepare for a fold that another process makes, before that reads the overlay."""
        self._held_rows().begin_fold()

    def take_held(self, sequence: int) -> Iterable[Piece]:
        """Return what is held in memory, as it was when a record of the log was applied.

        Parameters
        ----------
        sequence
            Of that record: what a fold has read in the overlay, begun since `begin_fold`.
        """
        applied = 0 if sequence <= self.folded_sequence() else sequence
        return self._held_rows().take(applied)

    def note_folded(self, sequence: int, entry_count: int, snapshot: int) -> FoldResult[None]:
        """Return the result of a fold that another process has made, for `purge`.

        Parameters
        ----------
        sequence, entry_count, snapshot
            As in the `FoldResult` that it got.
        """
        return FoldResult(sequence, entry_count, snapshot, PurgePlace(), None)

    def purge(self, fold: FoldResult[Any], limit: int) -> bool:
        """Take out of the overlay what a fold has put into the base and nobody has changed since.

        For the thread that writes.

        Parameters
        ----------
        fold
            The result of the last fold.
        limit
            At most this many entries are looked at: bounds how long a write waits.

        Returns
        -------
        bool
            Whether nothing of that fold is left to do.
        """
        place = fold.purged
        if not place.is_end:
            write = self._writable_overlay().write_raw
            purge_step(write, self._changed, fold.snapshot, place, limit)
        if not place.is_end:
            return False
        return self._held_rows().drop(fold.folded_sequence, _DROPPED_PER_ROW * limit)

    def folded_sequence(self) -> int:
        """Return the sequence up to which the base holds the log, 0 when it holds nothing of it.

        Raises
        ------
        DamagedError
            It is damaged.
        """
        with self.base.read() as transaction:
            return sequence_of(META_KEY_FOLDED, transaction.get(META, META_KEY_FOLDED))

    def applied_sequence(self) -> int:
        """Return the sequence up to which the state as a whole holds the log.

        Raises
        ------
        DamagedError
            It is damaged.
        """
        with self.read() as transaction:
            return max(
                sequence_of(key, transaction.get(META, key))
                for key in (META_KEY_FOLDED, META_KEY_APPLIED)
            )

    def figures(self) -> StateFigures:
        """Return how large the state is and how far it goes."""
        return StateFigures(
            self.base.figures(),
            None if self._overlay is None else self._overlay.figures(),
            self.folded_sequence(),
            self.applied_sequence(),
        )

    def clear_dead_readers(self) -> int:
        """Free the slots of readers whose process has died, and return how many there were."""
        count = self.base.clear_dead_readers()
        if self._overlay is not None:
            count += self._overlay.clear_dead_readers()
        return count

    def verify(self) -> StoreReport:
        """Check everything that is stored, in both layers; takes 2 µs an entry.

        For a command: it holds a snapshot for as long as a database takes.
        """
        layers = [("base", self.base)]
        if self._overlay is not None:
            layers.append(("overlay", self._overlay))
        return StoreReport(
            tuple(
                verify_database(layer, name, database)
                for name, layer in layers
                for database in DATABASES
            )
        )

    def _write(self, change: Callable[[Transaction], T], sequence: int | None, *, clear: bool) -> T:
        overlay, base = self._writable_overlay(), self.base
        held = HeldRows() if clear else self._held_rows()
        thread = threading.get_ident()
        written: list[tuple[dict[int, set[bytes]], int, Transaction]] = []

        def run(raw: Any, handles: Handles) -> T:
            if clear:
                clear_overlay(raw, handles)
            # Unless this is committed, and is not run again, the next one has another.
            lineage = object() if clear or self._lineage is None else self._lineage
            self._lineage = None
            base_raw = base.begin_read(thread)
            try:
                changed: dict[int, set[bytes]] = defaultdict(set)
                transaction = Transaction(
                    base_raw, base.handles, raw, handles, changed, lineage, held
                )
                result = change(transaction)
                if sequence is not None:
                    transaction.set_applied(sequence)
            finally:
                # Before the overlay's map may have to grow: that waits for all readers, and one
                # of those may wait for the base's map, which waits for this transaction.
                base.end_read(base_raw, thread)
            written.append((changed, raw.id(), transaction))
            return result

        result = overlay.write_raw(run)
        keys, number, transaction = written[-1]
        self._lineage = transaction.lineage
        held.publish(transaction.written, transaction.applied)
        if clear:
            self._held = held
            self._changed = ChangedEntries(0)
        self._changed.note(keys, number)
        return result

    def _is_overlay_empty(self) -> bool:
        overlay = self._writable_overlay()
        with overlay.read() as transaction:
            return all(database is META or transaction.is_empty(database) for database in DATABASES)

    def _held_rows(self) -> HeldRows:
        assert self._held is not None, "this state was opened for reading only"
        return self._held

    def _writable_overlay(self) -> Environment:
        assert self._overlay is not None, "this state was opened for reading only"
        return self._overlay

    def _open_readable(self) -> None:
        use = self._use = OverlayUse.of_reader(self.folder)
        if use is not None:
            self._overlay = open_for_reading(use)
            if self._overlay is None:
                use.release()

    def _open_writable(self, *, fresh: bool, size: int) -> None:
        use = self._use = OverlayUse.of_writer(self.folder)
        overlay = self._overlay = open_for_writing(use, fresh=fresh, size=size)

        def adopt(raw: Any, handles: Handles) -> int:
            if fresh:
                clear_overlay(raw, handles)
            mark_overlay(raw, handles)
            return int(raw.id())

        self._changed = ChangedEntries(overlay.write_raw(adopt))
        applied = 0
        with suppress(DamagedError):
            applied = self.applied_sequence()
        self._held = HeldRows(applied)
        use.share()
