"""Numbers and sizes on the wire of protobuf, as protobuf itself writes them.

What is written in another way than the shortest is not read, although protobuf would read it, or
some of it: nothing here stands for another number than protobuf would say.
"""

import numpy as np
from numba import int64, types

from instanter.kernels.array_types import READ_U8
from instanter.kernels.compilation import Kernel, inner_kernel

_PAIR = types.UniTuple(int64, 2)


@inner_kernel(_PAIR(READ_U8, int64, int64))
def read_varint(data, at, end):
    """Return a number below 2^63 and what follows it; −1 twice when there is none."""
    number = np.int64(0)
    shift = 0
    while at < end and shift < 63:
        byte = np.int64(data[at])
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            # A last byte of nothing would have been left out.
            return (number, at) if byte or not shift else (-1, -1)
        shift += 7
    return -1, -1


@inner_kernel(_PAIR(READ_U8, int64, int64))
def find_sized(data, at, end):
    """Return where what has its size before it begins and ends, −1 twice when it does not."""
    size, start = read_varint(data, at, end)
    if start < 0 or size > end - start:
        return -1, -1
    return start, start + size


KERNELS = (Kernel("read_varint", read_varint, ()), Kernel("find_sized", find_sized, ()))
