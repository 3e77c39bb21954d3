"""What a fold is made of: its result, the entries it takes, and how they get into the base."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from instanter.store.databases import DATABASES, LAYER_META_KEYS, META, META_KEY_FOLDED
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

T = TypeVar("T")


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
    unpurged
        Pairs of database index and key that may still be in the overlay; `purge` takes from it.
    heavy_result
        What the heavy change returned, None without one.
    """

    folded_sequence: int
    entry_count: int
    snapshot: int
    unpurged: list[tuple[int, bytes]]
    heavy_result: T


def entries_of(overlay: Transaction) -> list[tuple[int, bytes]]:
    """Return the database index and key of all entries that a fold takes to the base."""
    return [
        (database.index, key)
        for database in DATABASES
        for key, _ in overlay.scan(database)
        if database is not META or key not in LAYER_META_KEYS
    ]


def copy_entries(snapshot: Transaction, base: Transaction, sequence: int) -> None:
    """Write all entries of an overlay to the base."""
    for database in DATABASES:
        rows: list[tuple[bytes, memoryview]] = []
        for key, value in snapshot.scan(database):
            if database is META and key in LAYER_META_KEYS:
                continue
            if len(value):
                rows.append((key, value))
            else:
                base.delete(database, key)
        if rows:
            base.put_many(database, rows)
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
