"""Profiles of the customers of one turn, each copied into a row: the first step of decisions."""

import struct
from typing import Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from instanter.store.profiles import ProfileState
from instanter.store.records import (
    HEADER_SIZE_BYTES,
    MISSING,
    RECORD_FORMAT,
    RECORD_MAGIC,
    RESIDUE,
    TAIL_SIZE_BYTES,
)
from instanter.store.transaction import Transaction

_HEAD: Final = struct.Struct("<QQQ")
"""Magic, format and number of slots as one word; schema revision; revision."""

_HEAD_START: Final = RECORD_FORMAT << 16 | RECORD_MAGIC
_COUNT_SHIFT: Final = 32
_SLOT_SIZE_BYTES: Final = 4
_KNOWN: Final = int(ProfileState.KNOWN)
_UNKNOWN: Final = int(ProfileState.UNKNOWN)
_DAMAGED: Final = int(ProfileState.DAMAGED)

_checksum = google_crc32c.value


class ProfileRows:
    """The rows of one turn, used again and again. Belongs to one thread.

    They are written as bytes: a slice of a memoryview costs a third of the two arrays that NumPy
    makes to copy one into the other.

    Parameters
    ----------
    row_count, slot_count
        Rows, and slots of each.

    Attributes
    ----------
    slots
        uint32[row_count, slot_count], read-only for others: profile slots in the order of the
        present schema; all bits set is missing. A row is all missing unless its profile is KNOWN.
    revisions
        int64[row_count], read-only for others: the profile's revision, 0 unless it is KNOWN.
    """

    __slots__ = ("_bytes", "_missing", "_row_size_bytes", "_told_revisions", "revisions", "slots")

    def __init__(self, row_count: int, slot_count: int) -> None:
        self._row_size_bytes = _SLOT_SIZE_BYTES * slot_count
        self._missing = MISSING.to_bytes(_SLOT_SIZE_BYTES, "little") * slot_count
        memory = bytearray(self._missing * row_count)
        self._bytes = memoryview(memory)
        self.slots: NDArray[np.uint32] = np.frombuffer(memory, np.uint32).reshape(
            row_count, slot_count
        )
        self.revisions: NDArray[np.int64] = np.zeros(row_count, np.int64)
        self._told_revisions = self.revisions.data

    def read(self, transaction: Transaction, key: bytes, row: int) -> int:
        """Copy a customer's profile into a row, checked, and return its `ProfileState`.

        Never raises for what it finds: a damaged record is a state, not served, and the caller
        counts it.

        Parameters
        ----------
        transaction
            An open read or write transaction.
        key
            The customer's key, see `records.key_of`.
        row
            The row that is written. Slots beyond the record's end are missing, slots of the record
            beyond the schema's are ignored.
        """
        size = self._row_size_bytes
        at = row * size
        self._told_revisions[row] = 0
        view = transaction.get_profile(key)
        if view is None:
            self._bytes[at : at + size] = self._missing
            return _UNKNOWN
        # The one copy that also joins the key serves the checksum, which takes `bytes` only, and
        # ends every tie to the memory map: nothing here can outlive the transaction.
        record = b"".join((key, view))
        start = len(key)
        stored = len(record) - start - (HEADER_SIZE_BYTES + TAIL_SIZE_BYTES)
        if stored < 0 or _checksum(record) != RESIDUE:
            self._bytes[at : at + size] = self._missing
            return _DAMAGED
        head, _, revision = _HEAD.unpack_from(record, start)
        if head != _HEAD_START | stored >> 2 << _COUNT_SHIFT:
            self._bytes[at : at + size] = self._missing
            return _DAMAGED
        start += HEADER_SIZE_BYTES
        if stored >= size:
            self._bytes[at : at + size] = record[start : start + size]
        else:
            stored &= -_SLOT_SIZE_BYTES
            self._bytes[at : at + stored] = record[start : start + stored]
            self._bytes[at + stored : at + size] = self._missing[stored:]
        self._told_revisions[row] = revision
        return _KNOWN
