"""The activity record of a customer: what happened with them lately, in numbered sections.

It stands beside the profile, so that what events and decisions change does not rewrite 4 KiB of
loaded attributes. A section belongs to one topic, which alone knows what its bytes mean.

The record, all integers little-endian:

========= ====== =========================================================================
offset    type   meaning
========= ====== =========================================================================
0         uint16 magic 0x4149, the letters "IA"
2         uint16 format of the record, 1
4         uint32 number of sections n
8         uint64 reserve, 0
16        2 × n  uint32 pairs: number and size in bytes of each section, numbers ascending
16 + 8 n  bytes  the sections, each padded with NUL to a multiple of 8 bytes
-8        uint32 reserve, 0
-4        uint32 CRC-32C over the customer's key, then the record up to here
========= ====== =========================================================================
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Final

import google_crc32c

from instanter.errors import DamagedError, show
from instanter.store.databases import ACTIVITY
from instanter.store.records import RESIDUE
from instanter.store.transaction import Transaction

CONTACTS: Final = 1
"""Section of the contact policy: the customer's last contacts and what became of them."""

DERIVED: Final = 2
"""Section of the derived attributes: their state."""

SECTIONS_MAX: Final = 16
"""More than will ever be: bounds what a reader believes of a record."""

NO_ACTIVITY: Final[Mapping[int, bytes]] = MappingProxyType({})
"""What `copy_activity` returns for a customer without a record."""

DAMAGED_ACTIVITY: Final[Mapping[int, bytes]] = MappingProxyType({})
"""What `copy_activity` returns instead of a damaged record; compare with `is`."""

_HEADS = tuple(struct.Struct(f"<IIQ{2 * count}I") for count in range(SECTIONS_MAX + 1))
"""Magic and format, number of sections, reserve and table, for each number of sections."""

_FORM = 1 << 16 | 0x4149
_HEADER_SIZE_BYTES = _HEADS[0].size
_TAIL_SIZE_BYTES = 8
_PADDING = tuple(b"\0" * (-size % 8) for size in range(8))


def copy_activity(transaction: Transaction, key: bytes) -> Mapping[int, bytes]:
    """Return copies of a customer's sections, checked, by their numbers.

    Never raises for what it finds: a damaged record is the state `DAMAGED_ACTIVITY`, which has no
    sections, and the caller counts it.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    key
        The customer's key.
    """
    view = transaction.get(ACTIVITY, key)
    if view is None:
        return NO_ACTIVITY
    record = b"".join((key, view))
    start = len(key)
    end = len(record) - _TAIL_SIZE_BYTES
    if end - start < _HEADER_SIZE_BYTES or google_crc32c.value(record) != RESIDUE:
        return DAMAGED_ACTIVITY
    # The lowest byte of the count, which is small: what is read with it shows if it is not.
    count = record[start + 4]
    if count > SECTIONS_MAX or start + _HEADER_SIZE_BYTES + 8 * count > end:
        return DAMAGED_ACTIVITY
    head = _HEADS[count].unpack_from(record, start)
    if head[0] != _FORM or head[1] != count:
        return DAMAGED_ACTIVITY
    start += _HEADER_SIZE_BYTES + 8 * count
    sections = {}
    for at in range(3, 3 + 2 * count, 2):
        stop = start + head[at + 1]
        sections[head[at]] = record[start:stop]
        start = stop + (start - stop & 7)
    return sections if start == end else DAMAGED_ACTIVITY


def load_activity(transaction: Transaction, key: bytes) -> dict[int, bytes] | None:
    """Return copies of a customer's sections by their numbers, or None when there is no record.

    Raises
    ------
    DamagedError
        The record is damaged.
    """
    sections = copy_activity(transaction, key)
    if sections is DAMAGED_ACTIVITY:
        shown = key.rstrip(b"\0").decode("utf-8", "replace")
        raise DamagedError(
            f"the activity record of customer {show(shown)} is damaged in the store; delete the "
            "customer, or rebuild the store from the log",
            metadata={"customer": shown},
        )
    return None if sections is NO_ACTIVITY else dict(sections)


def put_activity(transaction: Transaction, key: bytes, sections: Mapping[int, bytes]) -> None:
    """Write a customer's activity record; it then has these sections and no others.

    The same sections make the same bytes. Without sections there is no record.

    Parameters
    ----------
    transaction
        An open write transaction.
    key
        The customer's key.
    sections
        Their bytes, by their numbers, uint32.
    """
    if not sections:
        transaction.delete(ACTIVITY, key)
        return
    assert len(sections) <= SECTIONS_MAX
    numbers = sorted(sections)
    parts = [b""]
    table: list[int] = []
    for number in numbers:
        payload = sections[number]
        size = len(payload)
        table += (number, size)
        parts += (payload, _PADDING[size & 7])
    parts[0] = _HEADS[len(numbers)].pack(_FORM, len(numbers), 0, *table)
    parts.append(b"\0\0\0\0")
    body = b"".join(parts)
    checksum = google_crc32c.extend(google_crc32c.value(key), body)
    transaction.put(ACTIVITY, key, body + checksum.to_bytes(4, "little"))


def join_activities(transaction: Transaction, keys: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """Return the records of customers end to end, unchecked, and where each ends.

    Parameters
    ----------
    transaction
        An open read or write transaction.
    keys
        The customers' keys; nothing stands there for one without a record.
    """
    views = transaction.get_each(ACTIVITY, keys)
    return b"".join(views), list(accumulate(map(len, views)))


def put_activities(
    transaction: Transaction, keys: Sequence[bytes], records: Iterable[memoryview | None]
) -> None:
    """Write the records of customers, as laid out in this module, checksums included.

    Parameters
    ----------
    transaction
        An open write transaction.
    keys
        The customers' keys, all different.
    records
        An empty one says that the customer has none any more, None that it stays as it is.
    """
    rows = []
    for key, record in zip(keys, records, strict=True):
        if record:
            rows.append((key, record))
        elif record is not None:
            transaction.delete(ACTIVITY, key)
    transaction.put_each(ACTIVITY, rows)


def delete_activity(transaction: Transaction, key: bytes) -> bool:
    """Delete a customer's activity record, damaged or not; return whether there was one."""
    return transaction.delete(ACTIVITY, key)
