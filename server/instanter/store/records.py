"""The layout of keys and profile records, byte by byte. Pure functions over bytes.

A **key** is the customer id in UTF-8, padded with NUL to a multiple of 8 bytes. An id has no
control characters, so no two ids share a key, and keys sort in the byte order of the ids.

A **profile record**, all integers little-endian:

====== ===== ====== ==================================================================
offset bytes type   meaning
====== ===== ====== ==================================================================
0      2     uint16 magic 0x5049, the letters "IP"
2      2     uint16 format of the record, 1
4      4     uint32 number of slots S, even
8      8     uint64 schema revision it was written under
16     8     uint64 profile revision: how often this profile has been written, from 1
24     8     int64  create time, milliseconds since 1970
32     8     int64  update time, milliseconds since 1970
40     8     uint64 reserve, 0
48     4 × S uint32 slots; all bits set is missing; a number is the bits of a float32
48+4S  28    bytes  reserve, 0
76+4S  4     uint32 CRC-32C over the key, then the record up to here
====== ===== ====== ==================================================================

Its size, 80 + 4 S, is a multiple of 8, because S is rounded up to even with a missing slot. 1000
slots make 4080 bytes: exactly what one 4096-byte LMDB page holds beside its own 16-byte header,
with the slots on a 64-byte boundary.

The checksum covers the key first, so a record that turns up under another key is as damaged as
one with a flipped bit. It comes last, because a CRC over data followed by its own CRC is a
constant: one call over key and record checks everything without cutting the record apart.
CRC-32C is computed by `google_crc32c` (0.25 µs for 4 KiB; `zlib.crc32` 1.1 µs, a Numba
slice-by-8 kernel 2.3 µs).

A **sealed value** is any other small value: its size, uint32; the value; NUL until the whole is a
multiple of 8 bytes; CRC-32C over the key, then all of that, uint32.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from instanter import limits
from instanter.errors import DamagedError, InvalidFieldError

MISSING: Final = 0xFFFF_FFFF
"""Slot pattern of a missing value; the catalogue's `MISSING_CODE` is the same."""

RECORD_MAGIC: Final = 0x5049
RECORD_FORMAT: Final = 1
HEADER_SIZE_BYTES: Final = 48
TAIL_SIZE_BYTES: Final = 32
RESIDUE: Final = 0x48674BC7
"""CRC-32C of any bytes that end with their own CRC-32C, little-endian."""

MARKER: Final = b"\1\0\0\0\0\0\0\0"
"""Value of a key that says all by being there; never empty, for that is a deletion."""

HEADER: Final = struct.Struct("<HHIQQqqQ")
"""Magic, format, slots, schema revision, revision, create and update time, reserve."""

HEADER_DTYPE: Final = np.dtype(
    [
        ("magic", "<u2"),
        ("format", "<u2"),
        ("slot_count", "<u4"),
        ("schema_revision", "<u8"),
        ("revision", "<u8"),
        ("create_time_ms", "<i8"),
        ("update_time_ms", "<i8"),
        ("reserve", "<u8"),
    ]
)
"""The same header for whole blocks of records."""

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f/\ud800-\udfff]")
_PADDING = tuple(b"\0" * (-size % 8) for size in range(8))
_TAIL_RESERVE = b"\0" * (TAIL_SIZE_BYTES - 4)
_TAIL = struct.Struct("<I")

_ID_EXPECTED = (
    f"1 to {limits.CUSTOMER_ID_SIZE_BYTES_MAX} bytes of UTF-8 without control characters "
    "and without '/'"
)

assert HEADER.size == HEADER_DTYPE.itemsize == HEADER_SIZE_BYTES
assert HEADER_SIZE_BYTES + 4 * limits.PROFILE_SLOTS_PAGE + TAIL_SIZE_BYTES == 4080


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What a profile record says about itself, beside its slots.

    Attributes
    ----------
    slot_count
        Slots the record holds, even.
    schema_revision
        Schema it was written under.
    revision
        How often the profile has been written, from 1.
    create_time_ms, update_time_ms
        Milliseconds since 1970.
    """

    slot_count: int
    schema_revision: int
    revision: int
    create_time_ms: int
    update_time_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One profile, copied out of the store.

    Attributes
    ----------
    customer_id
        Whose it is.
    slots
        uint32[S] in the slots of the schema asked for; missing is all bits set.
    schema_revision
        Schema it was last written under.
    revision
        How often it has been written, from 1.
    create_time_ms, update_time_ms
        Milliseconds since 1970.
    """

    customer_id: str
    slots: NDArray[np.uint32]
    schema_revision: int
    revision: int
    create_time_ms: int
    update_time_ms: int


def check_customer_id(customer_id: str, field: str) -> None:
    """Refuse a customer id that cannot be a key.

    Raises
    ------
    InvalidFieldError
        It is empty, longer than 256 bytes, or has a control character (C0, DEL, C1), a lone
        surrogate or a `/`; `field` is named.
    """
    size = len(customer_id)
    if not 0 < size <= limits.CUSTOMER_ID_SIZE_BYTES_MAX or _FORBIDDEN.search(customer_id):
        raise InvalidFieldError(field, customer_id, _ID_EXPECTED, reason="CUSTOMER_ID_INVALID")
    if len(customer_id.encode()) > limits.CUSTOMER_ID_SIZE_BYTES_MAX:
        raise InvalidFieldError(field, customer_id, _ID_EXPECTED, reason="CUSTOMER_ID_INVALID")


def key_of(customer_id: str) -> bytes:
    """Return the key of a customer id that has passed `check_customer_id`."""
    encoded = customer_id.encode()
    return encoded + _PADDING[len(encoded) & 7]


def customer_id_of(key: bytes | memoryview) -> str:
    """Return the customer id of a key."""
    return bytes(key).rstrip(b"\0").decode()


def slot_count_stored(slot_count: int) -> int:
    """Return how many slots a record of `slot_count` slots holds: rounded up to even."""
    return slot_count + (slot_count & 1)


def record_size_bytes(slot_count: int) -> int:
    """Return the size of a record of `slot_count` slots."""
    return HEADER_SIZE_BYTES + 4 * slot_count_stored(slot_count) + TAIL_SIZE_BYTES


def encode_record(key: bytes, header: RecordHeader, slots: NDArray[np.uint32]) -> bytes:
    """Return the bytes of one record, checksum included.

    Parameters
    ----------
    key
        The key it will stand under; the checksum is bound to it.
    header
        `header.slot_count` must be that of `slots`, rounded up to even.
    slots
        uint32[S], missing values as `MISSING`; read-only here.
    """
    assert header.slot_count == slot_count_stored(len(slots))
    body = b"".join(
        (
            HEADER.pack(
                RECORD_MAGIC,
                RECORD_FORMAT,
                header.slot_count,
                header.schema_revision,
                header.revision,
                header.create_time_ms,
                header.update_time_ms,
                0,
            ),
            slots.astype("<u4", copy=False).tobytes(),
            b"\xff" * (4 * (len(slots) & 1)),
            _TAIL_RESERVE,
        )
    )
    return body + _TAIL.pack(google_crc32c.extend(google_crc32c.value(key), body))


def decode_header(key: bytes, record: bytes | memoryview) -> RecordHeader | None:
    """Return the header of a record whose checksum and form are right, else None: it is damaged."""
    joined = b"".join((key, record))
    size = len(joined) - len(key)
    if size < HEADER_SIZE_BYTES + TAIL_SIZE_BYTES or google_crc32c.value(joined) != RESIDUE:
        return None
    magic, record_format, count, schema_revision, revision, created, updated, _ = (
        HEADER.unpack_from(joined, len(key))
    )
    if magic != RECORD_MAGIC or record_format != RECORD_FORMAT:
        return None
    if size != HEADER_SIZE_BYTES + 4 * count + TAIL_SIZE_BYTES:
        return None
    return RecordHeader(count, schema_revision, revision, created, updated)


def decode_slots(record: bytes | memoryview, slot_count: int) -> NDArray[np.uint32]:
    """Return a copy of the slots of a record, cut or filled up with missing to `slot_count`.

    Parameters
    ----------
    record
        A record that `decode_header` has accepted.
    slot_count
        Slots of the present schema.

    Returns
    -------
    ndarray
        uint32[slot_count]; missing is all bits set.
    """
    stored = (len(record) - HEADER_SIZE_BYTES - TAIL_SIZE_BYTES) // 4
    count = min(stored, slot_count)
    slots = np.full(slot_count, MISSING, np.uint32)
    slots[:count] = np.frombuffer(record, "<u4", count, HEADER_SIZE_BYTES)
    return slots


def decode_profile(key: bytes, record: bytes | memoryview, slot_count: int) -> Profile | None:
    """Return a copy of the profile in a record, or None when the record is damaged.

    Parameters
    ----------
    key
        The customer's key, which the checksum is bound to.
    record
        The record.
    slot_count
        Slots of the present schema.
    """
    header = decode_header(key, record)
    if header is None:
        return None
    return Profile(
        customer_id_of(key),
        decode_slots(record, slot_count),
        header.schema_revision,
        header.revision,
        header.create_time_ms,
        header.update_time_ms,
    )


def encode_block(
    keys: Sequence[bytes], headers: NDArray[np.void], slots: NDArray[np.uint32]
) -> NDArray[np.uint8]:
    """Return the bytes of n records of one size, one a row, checksums included.

    Parameters
    ----------
    keys
        n keys.
    headers
        `HEADER_DTYPE`[n]; magic, format and slot count are filled in here.
    slots
        uint32[n, S], missing values as `MISSING`; read-only here.

    Returns
    -------
    uint8[n, record size]
    """
    count, slot_count = slots.shape
    stored = slot_count_stored(slot_count)
    records = np.zeros((count, record_size_bytes(slot_count)), np.uint8)
    headers["magic"] = RECORD_MAGIC
    headers["format"] = RECORD_FORMAT
    headers["slot_count"] = stored
    records[:, :HEADER_SIZE_BYTES] = headers.view(np.uint8).reshape(count, HEADER_SIZE_BYTES)
    words = records.view("<u4")
    first = HEADER_SIZE_BYTES // 4
    words[:, first : first + slot_count] = slots
    words[:, first + slot_count : first + stored] = MISSING
    value, extend = google_crc32c.value, google_crc32c.extend
    body_size = records.shape[1] - 4
    words[:, -1] = [
        extend(value(key), record[:body_size].tobytes())
        for key, record in zip(keys, records, strict=True)
    ]
    return records


def seal(key: bytes, value: bytes) -> bytes:
    """Return a value with its checksum, bound to the key it will stand under. Costs 0.6 µs."""
    size = len(value)
    body = b"".join((_TAIL.pack(size), value, _PADDING[size & 7]))
    return body + _TAIL.pack(google_crc32c.extend(google_crc32c.value(key), body))


def unseal(key: bytes, stored: bytes | memoryview) -> bytes:
    """Return a copy of the value that was sealed for a key.

    Raises
    ------
    DamagedError
        The bytes are not what was written, or were written for another key.
    """
    joined = b"".join((key, stored))
    start = len(key) + 4
    if len(joined) >= start + 4 and google_crc32c.value(joined) == RESIDUE:
        (size,) = _TAIL.unpack_from(joined, len(key))
        if start + size + 4 <= len(joined):
            return joined[start : start + size]
    raise DamagedError(
        f"the value under key {key.hex()} is damaged in the store", metadata={"key": key.hex()}
    )
