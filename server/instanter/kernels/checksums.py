"""CRC-32C, CRC-32 and BLAKE2b over bytes that a kernel has in hand, so that they stay there.

They give what `google_crc32c`, `zlib` and `hashlib` give; CRC-32C by tables for eight bytes a step.
"""

import numpy as np
from numba import int64, types, uint64, void

from instanter.kernels.array_types import READ_U8, READ_U64, WRITE_U8
from instanter.kernels.compilation import Kernel, inner_kernel

RESIDUE = 0x48674BC7
"""CRC-32C of any bytes that end with their own CRC-32C, little-endian."""

_CASTAGNOLI = 0x82F63B78
_IEEE = 0xEDB88320
_MASK = 0xFFFF_FFFF


def _make_tables(polynomial: int) -> "np.ndarray[tuple[int, int], np.dtype[np.int64]]":
    """Return int64[8, 256]: row k is the effect of a byte that k bytes follow."""
    tables = np.zeros((8, 256), np.int64)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
        tables[0, byte] = crc
    for k in range(1, 8):
        tables[k] = tables[k - 1] >> 8 ^ tables[0][tables[k - 1] & 0xFF]
    return tables


_CRC = _make_tables(_CASTAGNOLI).astype(np.uint32)
_CRC32 = _make_tables(_IEEE)[0]

_IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
    ],
    np.int64,
)
_BLOCK_SIZE_BYTES = 128
_PARAMETERS = 0x0101_0000 ^ 16
"""BLAKE2b without a key, its digest of 16 bytes, one leaf."""


@inner_kernel(int64(READ_U8, int64, int64, int64))
def extend_crc32c(data, start, end, crc):
    """Return the CRC-32C of what `crc` is of, then bytes [start, end).

    Parameters
    ----------
    data, start, end
        uint8[n], read-only; which of it.
    crc
        Of the bytes before; 0 when there are none.
    """
    crc ^= _MASK
    at = start
    while at + 8 <= end:
        low = crc ^ (
            np.int64(data[at])
            | np.int64(data[at + 1]) << 8
            | np.int64(data[at + 2]) << 16
            | np.int64(data[at + 3]) << 24
        )
        crc = np.int64(
            _CRC[7, low & 0xFF]
            ^ _CRC[6, low >> 8 & 0xFF]
            ^ _CRC[5, low >> 16 & 0xFF]
            ^ _CRC[4, low >> 24]
            ^ _CRC[3, data[at + 4]]
            ^ _CRC[2, data[at + 5]]
            ^ _CRC[1, data[at + 6]]
            ^ _CRC[0, data[at + 7]]
        )
        at += 8
    while at < end:
        crc = crc >> 8 ^ np.int64(_CRC[0, (crc ^ np.int64(data[at])) & 0xFF])
        at += 1
    return crc ^ _MASK


@inner_kernel(int64(READ_U8, int64, int64, int64))
def extend_crc32(data, start, end, crc):
    """Return the CRC-32 of what `crc` is of, then bytes [start, end); for names, byte by byte.

    Parameters
    ----------
    data, start, end
        uint8[n], read-only; which of it.
    crc
        Of the bytes before; 0 when there are none.
    """
    crc ^= _MASK
    for i in range(start, end):
        crc = crc >> 8 ^ _CRC32[(crc ^ np.int64(data[i])) & 0xFF]
    return crc ^ _MASK


@inner_kernel(uint64(uint64, uint64))
def _rotate(word, count):
    """Return a word rotated right by `count` bits."""
    return word >> count | word << (np.uint64(64) - count)


@inner_kernel(types.UniTuple(uint64, 4)(uint64, uint64, uint64, uint64, uint64, uint64))
def _mix(a, b, c, d, x, y):
    """Return the four words of BLAKE2b's G."""
    a = a + b + x
    d = _rotate(d ^ a, np.uint64(32))
    c = c + d
    b = _rotate(b ^ c, np.uint64(24))
    a = a + b + y
    d = _rotate(d ^ a, np.uint64(16))
    c = c + d
    b = _rotate(b ^ c, np.uint64(63))
    return a, b, c, d


@inner_kernel(void(READ_U64, int64, WRITE_U8, int64))
def digest_blake2b(words, size, out, at):
    """Write BLAKE2b's digest of 16 bytes.

    Parameters
    ----------
    words
        uint64[n], read-only: the message, NUL behind it up to a multiple of 128 bytes.
    size
        Bytes of the message.
    out, at
        uint8[n], written from `at` on.
    """
    h0, h1, h2, h3 = _IV[0] ^ np.uint64(_PARAMETERS), _IV[1], _IV[2], _IV[3]
    h4, h5, h6, h7 = _IV[4], _IV[5], _IV[6], _IV[7]
    done = np.int64(0)
    first = np.int64(0)
    while True:
        is_last = size - done <= _BLOCK_SIZE_BYTES
        done = size if is_last else done + _BLOCK_SIZE_BYTES
        v0, v1, v2, v3, v4, v5, v6, v7 = h0, h1, h2, h3, h4, h5, h6, h7
        v8, v9, v10, v11 = _IV[0], _IV[1], _IV[2], _IV[3]
        v12, v13, v14, v15 = _IV[4] ^ np.uint64(done), _IV[5], _IV[6], _IV[7]
        if is_last:
            v14 = ~v14
        for step in range(12):
            row = step - 10 if step >= 10 else step
            s = _SIGMA[row]
            v0, v4, v8, v12 = _mix(v0, v4, v8, v12, words[first + s[0]], words[first + s[1]])
            v1, v5, v9, v13 = _mix(v1, v5, v9, v13, words[first + s[2]], words[first + s[3]])
            v2, v6, v10, v14 = _mix(v2, v6, v10, v14, words[first + s[4]], words[first + s[5]])
            v3, v7, v11, v15 = _mix(v3, v7, v11, v15, words[first + s[6]], words[first + s[7]])
            v0, v5, v10, v15 = _mix(v0, v5, v10, v15, words[first + s[8]], words[first + s[9]])
            v1, v6, v11, v12 = _mix(v1, v6, v11, v12, words[first + s[10]], words[first + s[11]])
            v2, v7, v8, v13 = _mix(v2, v7, v8, v13, words[first + s[12]], words[first + s[13]])
            v3, v4, v9, v14 = _mix(v3, v4, v9, v14, words[first + s[14]], words[first + s[15]])
        h0, h1, h2, h3 = h0 ^ v0 ^ v8, h1 ^ v1 ^ v9, h2 ^ v2 ^ v10, h3 ^ v3 ^ v11
        h4, h5, h6, h7 = h4 ^ v4 ^ v12, h5 ^ v5 ^ v13, h6 ^ v6 ^ v14, h7 ^ v7 ^ v15
        if is_last:
            break
        first += _BLOCK_SIZE_BYTES // 8
    for i in range(8):
        shift = np.uint64(8 * i)
        out[at + i] = np.uint8(h0 >> shift & np.uint64(0xFF))
        out[at + 8 + i] = np.uint8(h1 >> shift & np.uint64(0xFF))


KERNELS = (
    Kernel("extend_crc32c", extend_crc32c, ()),
    Kernel("extend_crc32", extend_crc32, ()),
    Kernel("digest_blake2b", digest_blake2b, ("out",)),
)
