"""What is kept of cards, customers, terminals, merchants and devices: four sections each.

What the bytes of a section mean is known above; here they are stored together, because one
transaction reads and writes them together.

A value is sealed as `store/records` says. It is done here once more, in one step with the sizes of
the sections: four of them are read and written for each card transaction.
"""

import struct
from collections.abc import Mapping
from typing import Final

import google_crc32c

from instanter.errors import DamagedError
from instanter.store.databases import FRAUD_STATES
from instanter.store.records import RESIDUE
from instanter.store.transaction import Transaction

_SIZES: Final = struct.Struct("<5I")
"""Size of the sealed value, sizes of the sections; these are multiples of 8."""

_SIZES_SIZE_BYTES: Final = 16
_CRC_SIZE_BYTES: Final = 4
_PADDING: Final = tuple(b"\0" * (-size % 8) for size in range(8))


Sections = tuple[bytes, bytes, bytes, bytes]
"""Velocities, baseline, place and snoozes of one entity, empty for none: what they mean is said by
`fraud/book.EntityState`."""


def entity_key(kind: int, name: str) -> bytes:
    """Return the key of an entity.

    Parameters
    ----------
    kind
        1 to 255, never reused.
    name
        Not empty, at most 256 bytes of UTF-8 without NUL.
    """
    key = bytes((kind,)) + name.encode()
    return key + _PADDING[len(key) & 7]


def find_sections(transaction: Transaction, key: bytes) -> Sections | None:
    """Return copies of an entity's sections, or None when nothing is kept.

    Raises
    ------
    DamagedError
        The record is damaged.
    """
    found = transaction.get(FRAUD_STATES, key)
    if found is None:
        return None
    joined = b"".join((key, found))
    start = len(key)
    if len(found) >= _SIZES.size + _CRC_SIZE_BYTES and google_crc32c.value(joined) == RESIDUE:
        _, velocities, baseline, place, snoozes = _SIZES.unpack_from(joined, start)
        start += _SIZES.size
        to_baseline = start + velocities
        to_place = to_baseline + baseline
        to_snoozes = to_place + place
        end = to_snoozes + snoozes
        if end + _CRC_SIZE_BYTES == len(joined):
            return (
                joined[start:to_baseline],
                joined[to_baseline:to_place],
                joined[to_place:to_snoozes],
                joined[to_snoozes:end],
            )
    raise DamagedError(
        f"the state under key {key.hex()} is damaged in the store", metadata={"key": key.hex()}
    )


def put_sections(transaction: Transaction, sections_by_key: Mapping[bytes, Sections]) -> None:
    """Write the sections of entities, by their keys; without any there is no record."""
    rows: list[tuple[bytes, bytes]] = []
    for key, (velocities, baseline, place, snoozes) in sections_by_key.items():
        parts = (len(velocities), len(baseline), len(place), len(snoozes))
        size = _SIZES_SIZE_BYTES + sum(parts)
        assert size % 8 == 0, "sections are whole words"
        if size == _SIZES_SIZE_BYTES:
            transaction.delete(FRAUD_STATES, key)
            continue
        body = b"".join((_SIZES.pack(size, *parts), velocities, baseline, place, snoozes))
        checksum = google_crc32c.extend(google_crc32c.value(key), body)
        rows.append((key, body + checksum.to_bytes(_CRC_SIZE_BYTES, "little")))
    if rows:
        transaction.put_each(FRAUD_STATES, rows)


def delete_sections(transaction: Transaction, key: bytes) -> bool:
    """Delete what is kept of an entity, damaged or not; return whether there was something."""
    return transaction.delete(FRAUD_STATES, key)


def has_sections(transaction: Transaction, key: bytes) -> bool:
    """Return whether anything is kept of an entity, be it damaged."""
    return transaction.get(FRAUD_STATES, key) is not None
