"""The fused kernel against the slow stages, one after the other."""

import numpy as np
import pytest

from instanter.decision.tables import make_tables
from instanter.kernels.decision import decide_batch
from tests.decision.worlds import draw_slots, make_catalogue, make_score_table
from tests.oracles import decision as oracle

NOW_S = 1_790_000_000.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_turn_is_decided_like_one_stage_after_the_other(seed, count):
    catalogue = make_catalogue()
    draw = np.random.default_rng(seed)
    slots = draw_slots(catalogue, count, seed)
    context = draw.choice([0xFFFF_FFFF, 0, 1], (count, 2)).astype(np.uint32)
    context[:, 0] = draw.choice([10.0, 60.0, np.nan], count).astype("f4").view("u4")
    ids = [f"customer-{n}".encode() for n in range(count)]
    turn = (
        count,
        NOW_S,
        np.frombuffer(b"".join(ids), np.uint8),
        np.cumsum([0] + [len(i) for i in ids], dtype=np.int32),
        slots,
        context,
        np.column_stack(
            [
                draw.integers(1, 4, count),
                draw.integers(0, len(catalogue.surfaces), count),
                draw.integers(1, 5, count),
            ]
        ).astype(np.int32),
    )
    arguments = make_tables(catalogue, make_score_table(catalogue, seed)).kernel_arguments
    told, listed = np.full((count, 10), -1, np.int32), np.full((count, 4, 5), -1.0)
    told_wanted, listed_wanted = told.copy(), listed.copy()
    with np.errstate(all="ignore"):
        decide_batch(*turn, *arguments, told, listed)
        oracle.decide_batch(*turn, *arguments, told_wanted, listed_wanted)
    assert told.tolist() == told_wanted.tolist()
    assert listed[..., 0].tolist() == listed_wanted[..., 0].tolist()
    assert listed == pytest.approx(listed_wanted, rel=1e-12)
