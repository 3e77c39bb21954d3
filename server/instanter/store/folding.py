"""What a fold is made of: its result, the rows it takes, and how they get into the base."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from instanter.store.databases import (
    DATABASES,
    LAYER_META_KEYS,
    META,
    META_KEY_APPLIED,
    META_KEY_FOLDED,
    Database,
)
from instanter.store.environment import Environment
from instanter.store.held_rows import Piece
from instanter.store.purging import PurgePlace
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

T = TypeVar("T")

Collect = Callable[[int], Callable[[Transaction], None] | None]
"""From a sequence to the change of the base that writes what else belongs to the state there."""

TakeHeld = Callable[[int], Iterable[Piece]]
"""From a sequence to the rows that the process that writes held then."""


@dataclass(frozen=True, slots=True)
class FoldResult(Generic[T]):
    """What a fold has done, and what of it is still to be purged.

    Attributes
    ----------
    folded_sequence
        The base now holds the effect of the log up to here.
    entry_count
        Entries of the overlay that were folded.
    snapshot
        Number of the overlay's transaction they were read at.
    purged
        How far what was folded has been taken out of the overlay; `purge` moves it on.
    heavy_result
        What the heavy change returned, None without one.
    """

    folded_sequence: int
    entry_count: int
    snapshot: int
    purged: PurgePlace
    heavy_result: T


@dataclass(frozen=True, slots=True, eq=False)
class FoldedRows:
    """What the overlay holds of one database.

    Attributes
    ----------
    database
        Which one.
    written
        Keys and values, ascending; the overlay's values are views of its transaction.
    deleted
        Keys that are deleted.
    """

    database: Database
    written: list[tuple[bytes, bytes | memoryview]]
    deleted: list[bytes]


def fold_overlay(
    base: Environment,
    overlay: Environment,
    *,
    folded: int,
    wait_durable: Callable[[int], None] | None,
    collect: Collect | None,
    take_held: TakeHeld,
) -> FoldResult[None]:
    """Write what is in the overlay now to the base, see `State.fold`.

    Parameters
    ----------
    base, overlay
        The layers.
    folded
        Sequence up to which the base holds the log.
    wait_durable, collect, take_held
        As of `State.fold`.
    """
    thread = threading.get_ident()
    raw = overlay.begin_read(thread)
    try:
        snapshot = Transaction(raw, overlay.handles)
        applied = sequence_of(META_KEY_APPLIED, snapshot.get(META, META_KEY_APPLIED))
        sequence = max(applied, folded)
        rows = collect_rows(snapshot)
        if wait_durable is not None:
            wait_durable(sequence)
        rows += gather_held(take_held(sequence))
        entry_count = sum(len(each.written) + len(each.deleted) for each in rows)
        if entry_count or sequence > folded:
            add = None if collect is None else collect(sequence)

            def write(transaction: Transaction) -> None:
                write_rows(transaction, rows, sequence)
                if add is not None:
                    add(transaction)

            base.write(write)
        return FoldResult(sequence, entry_count, raw.id(), PurgePlace(), None)
    finally:
        overlay.end_read(raw, thread)


def collect_rows(overlay: Transaction) -> list[FoldedRows]:
    """Return what a fold takes to the base; the views end with the transaction."""
    collected: list[FoldedRows] = []
    for database in DATABASES:
        rows = FoldedRows(database, [], [])
        for row in overlay.scan(database):
            key, value = row
            if database is META and key in LAYER_META_KEYS:
                continue
            if len(value):
                rows.written.append(row)
            else:
                rows.deleted.append(key)
        collected.append(rows)
    return collected


def gather_held(pieces: Iterable[Piece]) -> list[FoldedRows]:
    """Return what a fold takes to the base of the rows that were held in memory."""
    collected: dict[int, FoldedRows] = {}
    for index, piece in pieces:
        database = DATABASES[index]
        assert database.is_held, "the others are in the overlay"
        rows = collected.setdefault(index, FoldedRows(database, [], []))
        for key, value in piece:
            if value:
                rows.written.append((key, value))
            else:
                rows.deleted.append(key)
    for rows in collected.values():
        rows.written.sort()
    return list(collected.values())


def write_rows(base: Transaction, collected: Sequence[FoldedRows], sequence: int) -> None:
    """Write what was collected to the base, and the sequence that it stands for."""
    for rows in collected:
        for key in rows.deleted:
            base.delete(rows.database, key)
        if rows.written:
            base.put_many(rows.database, rows.written)
    base.put(META, META_KEY_FOLDED, sealed_sequence(META_KEY_FOLDED, sequence))


def sealed_sequence(key: bytes, sequence: int) -> bytes:
    """Return the value of a sequence under a key of `meta`."""
    return seal(key, sequence.to_bytes(8, "little"))


def sequence_of(key: bytes, stored: memoryview | None) -> int:
    """Return the sequence in a value of `meta`, 0 when there is none.

    Raises
    ------
    DamagedError
        It is damaged.
    """
    return 0 if stored is None else int.from_bytes(unseal(key, stored), "little")
