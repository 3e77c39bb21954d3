"""Slow twins of `kernels/holdout`: the reference library's XXH64."""

import xxhash


def hash_bytes(data, start, end, seed):
    """XXH64 of the bytes from start to end."""
    return xxhash.xxh64_intdigest(bytes(data[start:end]), seed=int(seed))


def draw_holdout(ids, id_start, seed, rate, held):
    """A customer is kept out when the hash of the id, as a number in [0, 1), is below the rate."""
    for i in range(len(held)):
        mixed = hash_bytes(ids, id_start[i], id_start[i + 1], seed)
        held[i] = 1 if (mixed >> 11) / 2**53 < rate else 0
