"""The binning kernels against their slow twins, and what missing means."""

import numpy as np
import pytest

from instanter.kernels import binning
from tests.oracles import binning as oracle

MISSING = 0xFFFFFFFF
SLOT_COUNT = 150
CONTEXT_COUNT = 8


def make_table(predictor_count, seed):
    """Return the predictor arrays of a random table, profile predictors first."""
    draw = np.random.default_rng(seed)
    source = np.sort(draw.integers(0, 5, predictor_count)).astype(np.uint8)
    profile_count = int((source <= 1).sum())
    slot = draw.integers(0, SLOT_COUNT, predictor_count).astype(np.int32)
    slot[source >= 2] %= CONTEXT_COUNT
    start, blocks = [], []
    bins = draw.integers(2, 12, predictor_count).astype(np.int32)
    at = 0
    for first in range(0, predictor_count, binning.EDGE_LANES):
        members = range(first, min(first + binning.EDGE_LANES, predictor_count))
        block = np.full((9, binning.EDGE_LANES), np.nan, np.float32)
        for lane, p in enumerate(members):
            start.append(at + lane)
            if source[p] in (0, 2):
                own = np.unique(draw.integers(-5, 6, draw.integers(0, 10)).astype(np.float32))
                block[: len(own), lane] = own
                bins[p] = len(own) + 2
        blocks.append(block.ravel())
        at += block.size
    table = {
        "predictor_slot": slot,
        "predictor_source": source,
        "profile_predictor_count": profile_count,
        "edge_start": np.array([*start, at], np.int32),
        "edges": np.concatenate([np.zeros(0, np.float32), *blocks]),
        "bin_count": bins,
        "row_start": (np.cumsum(bins) - bins).astype(np.int32),
        "modal_bin": (draw.integers(0, 64, predictor_count) % bins).astype(np.int32),
    }
    for array in table.values():
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    return table


def make_slots(count, seed):
    """Return slots with numbers, codes, missing values, infinities and foreign NaNs."""
    draw = np.random.default_rng(seed)
    slots = draw.integers(-6, 7, count).astype(np.float32).view(np.uint32).copy()
    kind = draw.integers(0, 8, count)
    slots[kind == 0] = MISSING
    slots[kind == 1] = draw.integers(0, 20, int((kind == 1).sum()))
    slots[kind == 2] = np.array([np.inf, -np.inf, np.nan], np.float32).view(np.uint32)[
        draw.integers(0, 3, int((kind == 2).sum()))
    ]
    slots.setflags(write=False)
    return slots


def select(module, table, slots, context, surface, known):
    count = len(table["predictor_slot"])
    rows = np.full(count, -1, np.int32)
    value = np.zeros(count, np.float32)
    listed = module.select_rows(slots, context, surface, known, *table.values(), value, rows)
    return rows[:listed].tolist()


@pytest.mark.parametrize("predictor_count", [0, 1, 63, 64, 65, 300])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_selected_rows_are_those_of_the_oracle(predictor_count, known, seed):
    table = make_table(predictor_count, seed)
    slots, context = make_slots(SLOT_COUNT, seed + 50), make_slots(CONTEXT_COUNT, seed + 90)
    for surface in (-1, 0, 5, 400):
        found = select(binning, table, slots, context, surface, known)
        assert found == select(oracle, table, slots, context, surface, known)


@pytest.mark.parametrize("slot_count", [0, 1, 77])
def test_a_short_record_reads_as_missing(slot_count):
    table = make_table(200, 3)
    slots = make_slots(SLOT_COUNT, 1)
    padded = slots.copy()
    padded[slot_count:] = MISSING
    context = make_slots(CONTEXT_COUNT, 2)
    short = select(binning, table, slots[:slot_count], context, 1, known=True)
    assert short == select(binning, table, padded, context, 1, known=True)


def test_a_value_on_an_edge_belongs_to_the_upper_bin():
    edges = np.full(2 * binning.EDGE_LANES, np.nan, np.float32)
    edges[0], edges[binning.EDGE_LANES] = 1.0, 2.0
    start = np.array([0, len(edges)], np.int32)
    for value, wanted in [(0.9, 1), (1.0, 2), (1.9, 2), (2.0, 3), (np.inf, 3), (-np.inf, 1)]:
        values, bins = np.array([value], np.float32), np.ones(1, np.int32)
        binning.count_edges(start, edges, 0, 1, values, bins)
        assert bins[0] == wanted


@pytest.mark.parametrize("kernel", [row.name for row in binning.KERNELS])
def test_every_kernel_has_a_slow_twin(kernel):
    assert callable(getattr(oracle, kernel))


def test_reading_and_counting_alone_match_their_twins():
    table = make_table(130, 8)
    slots = make_slots(SLOT_COUNT, 5)
    names = ("predictor_slot", "predictor_source", "bin_count")
    found = []
    for module in (binning, oracle):
        value, bins = np.zeros(130, np.float32), np.full(130, 9, np.int32)
        module.read_predictors(slots, *(table[n] for n in names), 2, 3, 130, value, bins)
        module.count_edges(table["edge_start"], table["edges"], 3, 130, value, bins)
        found.append((value.tobytes(), bins.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("row_count", [0, 1, 5])
def test_rows_of_many_customers_are_those_of_the_oracle(row_count):
    table = make_table(130, 8)
    del table["modal_bin"]
    slots = np.array([make_slots(SLOT_COUNT, 7 + i) for i in range(row_count)], np.uint32)
    context = np.array([make_slots(CONTEXT_COUNT, 70 + i) for i in range(row_count)], np.uint32)
    found = np.zeros((2, row_count, 130), np.int32)
    for module, rows in zip((binning, oracle), found, strict=True):
        module.bin_rows(
            slots.reshape(row_count, SLOT_COUNT),
            context.reshape(row_count, CONTEXT_COUNT),
            2,
            *table.values(),
            rows,
        )
    assert found[0].tolist() == found[1].tolist()
