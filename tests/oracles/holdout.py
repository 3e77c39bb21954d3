"""Slow twins of `kernels/holdout`: the reference library's XXH64."""

import xxhash


def hash_bytes(data, start, end, seed):
    """XXH64 of the bytes from start to end."""
    return xxhash.xxh64_intdigest(bytes(data[start:end]), seed=int(seed))


def draw_arms(ids, id_start, holdout_seed, holdout_rate, random_seed, random_rate, arm):
    """The holdout when the hash of the id, as a number in [0, 1), is below its rate; else random
    when another hash is below the other rate; else decided."""
    for i in range(len(arm)):
        held = hash_bytes(ids, id_start[i], id_start[i + 1], holdout_seed) >> 11
        drawn = hash_bytes(ids, id_start[i], id_start[i + 1], random_seed) >> 11
        arm[i] = 3 if held / 2**53 < holdout_rate else 2 if drawn / 2**53 < random_rate else 1
