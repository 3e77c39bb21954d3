"""Texts, bytes and numbers as msgpack has them: what `msgpack.packb` writes, byte for byte."""

import numpy as np
from numba import int64

from instanter.kernels.array_types import READ_U8, WRITE_U8
from instanter.kernels.compilation import Kernel, inner_kernel


@inner_kernel(int64(WRITE_U8, int64, int64, int64))
def write_head(body, at, size, is_text):
    """Write what msgpack has before text, or bytes, of a size below 65,536; return what follows.

    Parameters
    ----------
    body, at, size, is_text
        uint8[n], written from `at` on; the size; whether it is text.
    """
    if is_text and size <= 31:
        body[at] = np.uint8(0xA0 | size)
        return at + 1
    if size <= 0xFF:
        body[at] = np.uint8(0xD9 if is_text else 0xC4)
        body[at + 1] = np.uint8(size)
        return at + 2
    body[at] = np.uint8(0xDA if is_text else 0xC5)
    body[at + 1] = np.uint8(size >> 8)
    body[at + 2] = np.uint8(size & 0xFF)
    return at + 3


@inner_kernel(int64(READ_U8, int64, int64, WRITE_U8, int64))
def write_text(data, start, end, body, at):
    """Write [start, end) of the data as msgpack text; return what follows.

    Parameters
    ----------
    data, start, end
        uint8[n], read-only; which of it.
    body, at
        uint8[m], written from `at` on.
    """
    at = write_head(body, at, end - start, 1)
    for i in range(start, end):
        body[at + i - start] = data[i]
    return at + end - start


@inner_kernel(int64(WRITE_U8, int64, int64, int64, int64))
def _write_big(body, at, code, number, width):
    """Write a code and a number of `width` bytes, big-endian; return what follows.

    Parameters
    ----------
    body, at, code, number, width
        uint8[n], written from `at` on; what.
    """
    body[at] = np.uint8(code)
    for i in range(width):
        body[at + width - i] = np.uint8(number >> 8 * i & 0xFF)
    return at + 1 + width


@inner_kernel(int64(WRITE_U8, int64, int64))
def write_whole(body, at, number):
    """Write a whole number that is not below 0; return what follows.

    Parameters
    ----------
    body, at, number
        uint8[n], written from `at` on; what.
    """
    if number <= 0x7F:
        body[at] = np.uint8(number)
        return at + 1
    if number <= 0xFF:
        return _write_big(body, at, 0xCC, number, 1)
    if number <= 0xFFFF:
        return _write_big(body, at, 0xCD, number, 2)
    if number <= 0xFFFF_FFFF:
        return _write_big(body, at, 0xCE, number, 4)
    return _write_big(body, at, 0xCF, number, 8)


@inner_kernel(int64(WRITE_U8, int64, int64))
def write_double(body, at, bits):
    """Write a float64; return what follows.

    Parameters
    ----------
    body, at, bits
        uint8[n], written from `at` on; the number's bits.
    """
    return _write_big(body, at, 0xCB, bits, 8)


KERNELS = (
    Kernel("write_head", write_head, ("body",)),
    Kernel("write_text", write_text, ("body",)),
    Kernel("write_whole", write_whole, ("body",)),
    Kernel("write_double", write_double, ("body",)),
)
