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


def _draw(module, ids, holdout, random):
    start = np.cumsum([0] + [len(i) for i in ids], dtype=np.int32)
    arm = np.full(len(ids), 7, np.uint8)
    joined = np.frombuffer(b"".join(ids), np.uint8)
    (held_seed, held_rate), (random_seed, random_rate) = holdout, random
    with np.errstate(over="ignore"):
        module.draw_arms(
            joined, start, np.uint64(held_seed), held_rate, np.uint64(random_seed), random_rate, arm
        )
    return arm.tolist()


@pytest.mark.parametrize("random", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("held", [0.0, 0.05, 0.5, 0.999])
def test_draw_is_that_of_the_oracle(held, random):
    ids = [b"x" * n for n in range(1, 80)] + [str(n).encode() for n in range(500)]
    drawn = _draw(holdout, ids, (11, held), (12, random))
    assert drawn == _draw(oracle, ids, (11, held), (12, random))


def test_draw_of_nobody_is_empty():
    assert _draw(holdout, [], (1, 0.5), (2, 0.5)) == []


def test_shares_are_as_declared_and_salts_are_independent():
    ids = [f"customer-{n}".encode() for n in range(20_000)]
    first = np.array(_draw(holdout, ids, (1, 0.1), (3, 0.2)))
    second = np.array(_draw(holdout, ids, (2, 0.1), (3, 0.2)))
    # 20,000 draws at 0.1: one standard deviation of the share is 0.0021.
    assert abs((first == 3).mean() - 0.1) < 0.009
    assert abs(((first == 3) & (second == 3)).mean() - 0.01) < 0.003
    # Of those not kept out, one in five; a standard deviation is 0.003.
    assert abs((first[first != 3] == 2).mean() - 0.2) < 0.012


def test_another_holdout_leaves_the_random_arm_of_everybody_else_as_it_was():
    ids = [f"customer-{n}".encode() for n in range(2_000)]
    first = np.array(_draw(holdout, ids, (1, 0.1), (3, 0.2)))
    second = np.array(_draw(holdout, ids, (2, 0.1), (3, 0.2)))
    both = (first != 3) & (second != 3)
    assert first[both].tolist() == second[both].tolist()
