"""Who is kept out on purpose, and to whom chance gives an offer: stable draws by hash.

A draw depends on the customer's id and its seed alone, so that every process, channel and restart
answers alike, and another salt makes another, independent draw.
"""

import numpy as np
from numba import float64, int64, uint64, void

from instanter.kernels.array_types import READ_I32, READ_U8, WRITE_U8
from instanter.kernels.compilation import Kernel, inner_kernel, kernel

ARM_DECIDED = 1
ARM_RANDOM = 2
ARM_HOLDOUT = 3
"""Numbers of the contract's `Arm`."""

_PRIME_1 = np.uint64(0x9E3779B185EBCA87)
_PRIME_2 = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME_3 = np.uint64(0x165667B19E3779F9)
_PRIME_4 = np.uint64(0x85EBCA77C2B2AE63)
_PRIME_5 = np.uint64(0x27D4EB2F165667C5)
_WORD = np.uint64(64)
_BYTE = np.uint64(8)
_SHIFT_11 = np.uint64(11)
_UNIT = 1.0 / 9007199254740992.0


@inner_kernel(uint64(uint64, uint64))
def rotate_left(x, bits):  # type: ignore[no-untyped-def]
    """Rotate a 64-bit word left by `bits`, 1 to 63."""
    return (x << bits) | (x >> (_WORD - bits))


@inner_kernel(uint64(READ_U8, int64, int64))
def read_word(data, start, size):  # type: ignore[no-untyped-def]
    """Read `size` (at most 8) bytes from `start` as a little-endian unsigned word."""
    word = np.uint64(0)
    for i in range(size):
        word |= np.uint64(data[start + i]) << (np.uint64(i) * _BYTE)
    return word


@inner_kernel(uint64(uint64, uint64))
def mix_lane(lane, word):  # type: ignore[no-untyped-def]
    """Mix one 8-byte word into one lane (XXH64 `round`)."""
    return rotate_left(lane + word * _PRIME_2, np.uint64(31)) * _PRIME_1


@inner_kernel(uint64(READ_U8, int64, int64, uint64))
def mix_stripes(data, start, end, seed):  # type: ignore[no-untyped-def]
    """Mix the whole 32-byte stripes of `data[start:end]` into one word (XXH64's main loop)."""
    lane_1 = seed + _PRIME_1 + _PRIME_2
    lane_2 = seed + _PRIME_2
    lane_3 = seed
    lane_4 = seed - _PRIME_1
    at = start
    while at + 32 <= end:
        lane_1 = mix_lane(lane_1, read_word(data, at, 8))
        lane_2 = mix_lane(lane_2, read_word(data, at + 8, 8))
        lane_3 = mix_lane(lane_3, read_word(data, at + 16, 8))
        lane_4 = mix_lane(lane_4, read_word(data, at + 24, 8))
        at += 32
    mixed = rotate_left(lane_1, np.uint64(1)) + rotate_left(lane_2, np.uint64(7))
    mixed += rotate_left(lane_3, np.uint64(12)) + rotate_left(lane_4, np.uint64(18))
    for lane in (lane_1, lane_2, lane_3, lane_4):
        mixed = (mixed ^ mix_lane(np.uint64(0), lane)) * _PRIME_1 + _PRIME_4
    return mixed


@kernel(uint64(READ_U8, int64, int64, uint64))
def hash_bytes(data, start, end, seed):  # type: ignore[no-untyped-def]
    """Return the XXH64 hash of `data[start:end]`.

    Source: the public XXH64 specification; the tests compare with the reference library.
    """
    size = end - start
    at = start
    if size >= 32:
        mixed = mix_stripes(data, start, end, seed)
        at = start + (size // 32) * 32
    else:
        mixed = seed + _PRIME_5
    mixed += np.uint64(size)
    while at + 8 <= end:
        mixed ^= mix_lane(np.uint64(0), read_word(data, at, 8))
        mixed = rotate_left(mixed, np.uint64(27)) * _PRIME_1 + _PRIME_4
        at += 8
    if at + 4 <= end:
        mixed ^= read_word(data, at, 4) * _PRIME_1
        mixed = rotate_left(mixed, np.uint64(23)) * _PRIME_2 + _PRIME_3
        at += 4
    while at < end:
        mixed ^= np.uint64(data[at]) * _PRIME_5
        mixed = rotate_left(mixed, np.uint64(11)) * _PRIME_1
        at += 1
    mixed = (mixed ^ (mixed >> np.uint64(33))) * _PRIME_2
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _PRIME_3
    return mixed ^ (mixed >> np.uint64(32))


@inner_kernel(void(READ_U8, READ_I32, uint64, float64, uint64, float64, WRITE_U8))
def draw_arms(ids, id_start, holdout_seed, holdout_rate, random_seed, random_rate, arm):  # type: ignore[no-untyped-def]
    """Find each customer's arm.

    Parameters
    ----------
    ids, id_start
        uint8[B], int32[≥ n + 1], read-only: customer i's id is
        `ids[id_start[i]:id_start[i + 1]]`; read only when one of the rates is above 0.
    holdout_seed, random_seed
        Hashes of the salts.
    holdout_rate
        Share of customers kept out, in [0, 1).
    random_rate
        Share of the customers who are not kept out, in [0, 1], to whom chance gives an offer.
    arm
        uint8[n], written: 1 decided, 2 random, 3 holdout. The top 53 bits of the hash of the id,
        read as a number in [0, 1), are below the rate.
    """
    for i in range(arm.shape[0]):
        found = ARM_DECIDED
        if random_rate > 0.0:
            mixed = hash_bytes(ids, id_start[i], id_start[i + 1], random_seed)
            if float64(mixed >> _SHIFT_11) * _UNIT < random_rate:
                found = ARM_RANDOM
        if holdout_rate > 0.0:
            mixed = hash_bytes(ids, id_start[i], id_start[i + 1], holdout_seed)
            if float64(mixed >> _SHIFT_11) * _UNIT < holdout_rate:
                found = ARM_HOLDOUT
        arm[i] = found


KERNELS = (
    Kernel("hash_bytes", hash_bytes, ()),
    Kernel("draw_arms", draw_arms, ("arm",)),
)
