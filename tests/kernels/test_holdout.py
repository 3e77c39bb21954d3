"""The holdout draw: the published hash, stable, and as large as declared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.kernels import holdout
from tests.oracles import holdout as oracle


@given(data=st.binary(max_size=300), seed=st.integers(0, 2**64 - 1), cut=st.integers(0, 300))
def test_hash_is_xxh64(data, seed, cut):
    view = np.frombuffer(data, np.uint8)
    start = min(cut, len(data))
    with np.errstate(over="ignore"):
        found = holdout.hash_bytes(view, start, len(data), np.uint64(seed))
    assert int(found) == oracle.hash_bytes(view, start, len(data), seed)


def _draw(module, ids, seed, rate):
    start = np.cumsum([0] + [len(i) for i in ids], dtype=np.int32)
    held = np.full(len(ids), 7, np.uint8)
    joined = np.frombuffer(b"".join(ids), np.uint8)
    with np.errstate(over="ignore"):
        module.draw_holdout(joined, start, np.uint64(seed), rate, held)
    return held.tolist()


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 0.999])
def test_draw_is_that_of_the_oracle(rate):
    ids = [b"x" * n for n in range(1, 80)] + [str(n).encode() for n in range(500)]
    assert _draw(holdout, ids, 11, rate) == _draw(oracle, ids, 11, rate)


def test_draw_of_nobody_is_empty():
    assert _draw(holdout, [], 1, 0.5) == []


def test_share_is_as_declared_and_salts_are_independent():
    ids = [f"customer-{n}".encode() for n in range(20_000)]
    first = np.array(_draw(holdout, ids, 1, 0.1))
    second = np.array(_draw(holdout, ids, 2, 0.1))
    # 20,000 draws at 0.1: one standard deviation of the share is 0.0021.
    assert abs(first.mean() - 0.1) < 0.009
    assert abs((first & second).mean() - 0.01) < 0.003
