"""Stock positions, the profiles of their sites, and when to look at a position again.

What the bytes of a state mean is known above; here rows are loaded and stored, all that one record
needs together, because a batch of movements reads and writes hundreds.

A position's row: a *head* of four int64, then its state. A value is sealed as `store/records` says;
it is done here once more, in one step for rows of one size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from instanter.errors import DamagedError
from instanter.store.databases import (
    META,
    STOCK_DUE,
    STOCK_POSITIONS,
    STOCK_PROFILES,
    Database,
    meta_key,
)
from instanter.store.records import MARKER, RESIDUE, seal, unseal
from instanter.store.transaction import Transaction

HEAD_DUE_MS: Final = 0
"""Under which time the position stands in `STOCK_DUE`, milliseconds since 1970; 0 for nowhere."""
HEAD_PRICE: Final = 1
HEAD_PRICE_BEFORE: Final = 2
"""Its price and the one before, in minor units; 0 for not known."""
HEAD_PRICE_MS: Final = 3
"""When the price changed, milliseconds since 1970; 0 for never."""
HEAD_WORDS: Final = 4

_WORD_SIZE_BYTES: Final = 8
_SEAL_SIZE_BYTES: Final = 4
_TIME_SIZE_BYTES: Final = 8
_PADDING: Final = tuple(b"\0" * (-size % 8) for size in range(8))
_SITES_KNOWN_MAX: Final = 10_000
_META_KEY_SWEPT: Final = meta_key("stock_swept")


@lru_cache(maxsize=_SITES_KNOWN_MAX)
def site_key(site: str) -> bytes:
    """Return the key of a site's profile, which is what the keys of its positions begin with.

    It ends with a NUL, so that no key of one site begins as those of another.
    """
    key = site.encode() + b"\0"
    return key + _PADDING[len(key) & 7]


def position_key(site: str, unit: str) -> bytes:
    """Return the key of a position.

    Parameters
    ----------
    site, unit
        Names without NUL, not empty; together below 400 bytes of UTF-8.
    """
    name = unit.encode()
    return site_key(site) + name + _PADDING[len(name) & 7]


def split_key(key: bytes) -> tuple[str, str]:
    """Return site and unit of a position's key."""
    size = key.index(b"\0") + 1
    return key[: size - 1].decode(), key[size + (-size % 8) :].rstrip(b"\0").decode()


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one database, copied out to be worked on and written back.

    Attributes
    ----------
    keys
        Theirs, each once.
    stored
        What is stored of each; all 0 for one that is not there.
    words
        The same as int64[N, words], to be written.
    damaged
        Indices of damaged rows, whose words are 0; they are never written.
    """

    keys: Sequence[bytes]
    stored: Sequence[bytes]
    words: NDArray[np.int64]
    damaged: tuple[int, ...]

    def check(self) -> None:
        """Refuse damaged rows.

        Raises
        ------
        DamagedError
            One is damaged.
        """
        if self.damaged:
            key = self.keys[self.damaged[0]]
            raise DamagedError(
                f"the stock under key {key.hex()} is damaged in the store",
                metadata={"key": key.hex()},
            )


def load_positions(transaction: Transaction, keys: Sequence[bytes], state_words: int) -> Rows:
    """Return rows of positions, heads and states of `state_words`; costs 2 µs each."""
    return _load(transaction, STOCK_POSITIONS, keys, HEAD_WORDS + state_words)


def load_profiles(transaction: Transaction, keys: Sequence[bytes], words: int) -> Rows:
    """Return rows of sites' profiles; a damaged one begins anew, when it is written."""
    rows = _load(transaction, STOCK_PROFILES, keys, words)
    return Rows(rows.keys, rows.stored, rows.words, ()) if rows.damaged else rows


def has_position(transaction: Transaction, key: bytes) -> bool:
    """Return whether a position has a row, be it damaged."""
    return transaction.get(STOCK_POSITIONS, key) is not None


def put_positions(transaction: Transaction, rows: Rows) -> None:
    """Write back what has changed of positions."""
    _put(transaction, STOCK_POSITIONS, rows)


def put_profiles(transaction: Transaction, rows: Rows) -> None:
    """Write back what has changed of profiles."""
    _put(transaction, STOCK_PROFILES, rows)


def _load(transaction: Transaction, database: Database, keys: Sequence[bytes], words: int) -> Rows:
    size = words * _WORD_SIZE_BYTES
    nothing = bytes(size)
    stored: list[bytes] = []
    damaged: list[int] = []
    get, check = transaction.get, google_crc32c.value
    for key in keys:
        found = get(database, key)
        if found is None:
            stored.append(nothing)
            continue
        joined = b"".join((key, found))
        start = len(key) + _SEAL_SIZE_BYTES
        if check(joined) == RESIDUE and len(joined) == start + size + _SEAL_SIZE_BYTES:
            stored.append(joined[start : start + size])
        else:
            damaged.append(len(stored))
            stored.append(nothing)
    array = np.frombuffer(b"".join(stored), np.int64).reshape(len(keys), words)
    return Rows(keys, stored, array.copy(), tuple(damaged))


def _put(transaction: Transaction, database: Database, rows: Rows) -> None:
    size = rows.words.shape[1] * _WORD_SIZE_BYTES
    head = size.to_bytes(_SEAL_SIZE_BYTES, "little")
    packed = rows.words.tobytes()
    put, value, extend = transaction.put, google_crc32c.value, google_crc32c.extend
    for index, (key, before) in enumerate(zip(rows.keys, rows.stored, strict=True)):
        row = packed[index * size : (index + 1) * size]
        if row != before and index not in rows.damaged:
            body = head + row
            checksum = extend(value(key), body).to_bytes(_SEAL_SIZE_BYTES, "little")
            put(database, key, body + checksum)


def scan_positions(
    transaction: Transaction, start: bytes, *, after: bool = False
) -> Iterator[bytes]:
    """Yield keys of positions in their order, from `start` on, or from behind it."""
    for key, _ in transaction.scan(STOCK_POSITIONS, start, after=after):
        yield key


# --- When to look again -------------------------------------------------------------------------


def put_due(transaction: Transaction, due_ms: int, key: bytes) -> None:
    """Let a position be looked at from a time on, milliseconds since 1970."""
    transaction.put(STOCK_DUE, due_ms.to_bytes(_TIME_SIZE_BYTES, "big") + key, MARKER)


def delete_due(transaction: Transaction, due_ms: int, key: bytes) -> None:
    """Take back what `put_due` wrote."""
    transaction.delete(STOCK_DUE, due_ms.to_bytes(_TIME_SIZE_BYTES, "big") + key)


def load_due(transaction: Transaction, now_ms: int, limit: int) -> list[tuple[int, bytes]]:
    """Return times and keys of positions that are to be looked at, those due first, in order."""
    found: list[tuple[int, bytes]] = []
    for entry, _ in transaction.scan(STOCK_DUE):
        due_ms = int.from_bytes(entry[:_TIME_SIZE_BYTES], "big")
        if due_ms > now_ms or len(found) >= limit:
            break
        found.append((due_ms, entry[_TIME_SIZE_BYTES:]))
    return found


def load_swept(transaction: Transaction) -> tuple[int, bytes]:
    """Return how far all positions were looked at by a revision of the catalogue.

    Returns
    -------
    tuple
        The revision, and the last key that was; an empty one when all have been. Of a damaged note
        it is revision 0: that only costs another look at all.
    """
    found = transaction.get(META, _META_KEY_SWEPT)
    try:
        note = bytes(8) if found is None else unseal(_META_KEY_SWEPT, found)
    except DamagedError:
        note = bytes(8)
    return int.from_bytes(note[:8], "little"), note[8:]


def put_swept(transaction: Transaction, revision: int, key: bytes) -> None:
    """Write down what `load_swept` returns."""
    note = revision.to_bytes(8, "little") + key
    transaction.put(META, _META_KEY_SWEPT, seal(_META_KEY_SWEPT, note))
