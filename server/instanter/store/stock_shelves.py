"""What of the stocked units is available at each site: what decisions read, one row a site.

Key: the site's name in UTF-8, padded with NUL to a multiple of 8 bytes. Value, sealed: the codes of
the units, uint32, rising; then for each what is available, int32, cut to its range; then for each
the days of cover, float32, infinite when nothing is expected to sell. A unit of which nothing is
known at the site is not in it.

The keeper writes a row whenever one of its numbers changes, in the same record as the movement, so
that the next decision sees it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.errors import DamagedError
from instanter.store.databases import STOCK_SHELVES
from instanter.store.records import key_of, seal, unseal
from instanter.store.transaction import Transaction

_COLUMNS: Final = 3
_INT32: Final = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """What of some units is available at one site.

    Attributes
    ----------
    codes
        uint32[K]: `StockUnit.code`, each once.
    available
        int64[K]: units, on hand less committed.
    cover_days
        float32[K]: at least 0; infinite when nothing is expected to sell.
    """

    codes: NDArray[np.uint32]
    available: NDArray[np.int64]
    cover_days: NDArray[np.float32]


SHELF_EMPTY: Final = Shelf(np.zeros(0, np.uint32), np.zeros(0, np.int64), np.zeros(0, np.float32))
"""Of a site where nothing is known."""


def shelf_key(site: str) -> bytes:
    """Return the key of a site's row."""
    return key_of(site)


def pack_shelf(shelf: Shelf) -> bytes:
    """Return the body of a row; its units may come in any order."""
    order = np.argsort(shelf.codes)
    available = np.clip(shelf.available[order], _INT32.min, _INT32.max)
    return b"".join(
        (
            shelf.codes[order].astype("<u4").tobytes(),
            available.astype("<i4").tobytes(),
            shelf.cover_days[order].astype("<f4").tobytes(),
        )
    )


def unpack_shelf(body: bytes) -> Shelf:
    """Return what `pack_shelf` packed: codes rising, units cut to the range of int32.

    Raises
    ------
    DamagedError
        It is no such body.
    """
    count, rest = divmod(len(body), 4 * _COLUMNS)
    words = np.frombuffer(body, "<u4") if not rest else np.zeros(0, np.uint32)
    codes = words[:count]
    if rest or (codes[1:] <= codes[:-1]).any():
        raise DamagedError("a row of what is available at a site cannot be read")
    return Shelf(
        codes=codes,
        available=words[count : 2 * count].view("<i4").astype(np.int64),
        cover_days=words[2 * count :].view("<f4"),
    )


def change_shelf(shelf: Shelf, changed: Shelf) -> Shelf:
    """Return a row in which the units of another one are as they are there; new ones are added.

    Parameters
    ----------
    shelf
        From `unpack_shelf`: codes rising.
    changed
        Codes in any order, each once.
    """
    codes = np.union1d(shelf.codes, changed.codes)
    available = np.zeros(len(codes), np.int64)
    cover_days = np.zeros(len(codes), np.float32)
    for part in (shelf, changed):
        at = np.searchsorted(codes, part.codes)
        available[at] = part.available
        cover_days[at] = part.cover_days
    return Shelf(codes, available, cover_days)


def find_shelf(transaction: Transaction, site: str) -> bytes | None:
    """Return the body of a site's row, or None without one.

    Raises
    ------
    DamagedError
        It is damaged.
    """
    key = shelf_key(site)
    found = transaction.get(STOCK_SHELVES, key)
    return None if found is None else unseal(key, found)


def put_shelf(transaction: Transaction, site: str, body: bytes) -> None:
    """Write a site's row; an empty body deletes it."""
    key = shelf_key(site)
    if body:
        transaction.put(STOCK_SHELVES, key, seal(key, body))
    else:
        transaction.delete(STOCK_SHELVES, key)


def update_shelf(transaction: Transaction, site: str, changed: Shelf) -> bool:
    """Bring some units of a site's row up to date; return whether that changed the row.

    A damaged row begins anew with these units: the others are unknown until they move.
    """
    try:
        before = find_shelf(transaction, site) or b""
        shelf = unpack_shelf(before)
    except DamagedError:
        before, shelf = b"", SHELF_EMPTY
    body = pack_shelf(change_shelf(shelf, changed))
    if body == before:
        return False
    put_shelf(transaction, site, body)
    return True


def keep_units(transaction: Transaction, codes: NDArray[np.uint32]) -> None:
    """Take out of all rows what is not of these units, and rows that are damaged.

    Parameters
    ----------
    transaction
        An open write transaction.
    codes
        uint32[K], read-only: the codes that stay.
    """
    for site in list(scan_shelves(transaction)):
        try:
            shelf = unpack_shelf(find_shelf(transaction, site) or b"")
        except DamagedError:
            shelf = SHELF_EMPTY
        stays = np.isin(shelf.codes, codes)
        if not len(stays) or not stays.all():
            kept = Shelf(shelf.codes[stays], shelf.available[stays], shelf.cover_days[stays])
            put_shelf(transaction, site, pack_shelf(kept))


def scan_shelves(transaction: Transaction) -> Iterator[str]:
    """Yield the names of the sites that have a row, in the order of their keys."""
    for key, _ in transaction.scan(STOCK_SHELVES, b""):
        yield bytes(key).rstrip(b"\0").decode()
