"""Encoded responses: the bytes that the generated classes make, field by field and as a whole."""

import numpy as np
import pytest

from instanter.decision.tables import make_tables
from instanter.kernels import responses
from instanter.kernels.decision import LISTED_COUNT, TOLD_COUNT
from instanter.rpc.decision_responses import make_fragments
from instanter.v1.decision_service_pb2 import DecideOffersResponse
from tests.decision.worlds import make_catalogue, make_score_table
from tests.oracles import responses as oracle

ROOM = 1 << 16


def _run(module, name, *given):
    out = np.zeros(600, np.uint8)
    place = getattr(module, name)(out, 3, *given)
    return place, out.tolist()


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 16_383, 16_384, 2**31, 2**63 - 1])
def test_varints_are_those_of_the_oracle(number):
    found = _run(responses, "put_varint", number)
    assert found == _run(oracle, "put_varint", number)


@pytest.mark.parametrize("number", [0.0, -0.0, 1.0, 1e-300, np.nan, np.inf])
def test_doubles_are_those_of_the_oracle_and_nothing_is_written_for_zero(number):
    bits = np.float64(number).view(np.uint64)
    found = _run(responses, "put_double", bits, 0x19)
    assert found == _run(oracle, "put_double", bits, 0x19)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (2, 7), (0, 500)])
def test_copies_are_those_of_the_oracle(start, stop):
    data = np.arange(500).astype(np.uint8)
    data.setflags(write=False)
    found = _run(responses, "put_bytes", data, start, stop)
    assert found == _run(oracle, "put_bytes", data, start, stop)


@pytest.mark.parametrize("seed", range(8))
def test_why_there_is_no_offer_is_what_the_oracle_says(seed):
    draw = np.random.default_rng(seed)
    for _ in range(50):
        told = np.zeros(TOLD_COUNT, np.int32)
        told[0] = draw.random() < 0.2
        told[3:] = draw.integers(0, 3, TOLD_COUNT - 3) * (draw.random(TOLD_COUNT - 3) < 0.2)
        given = (told, int(draw.integers(0, 2)), int(told[4] + told[5] + draw.integers(0, 2)))
        assert responses.explain_nothing(*given) == oracle.explain_nothing(*given)


def _draw_turn(tables, count, seed):
    """Draw what `decide_batch` could have told; not all of it could come together."""
    draw = np.random.default_rng(seed)
    offers = len(tables.offers)
    asked = np.zeros((count, 5), np.int32)
    told = np.zeros((count, TOLD_COUNT), np.int32)
    listed = np.zeros((count, 6, LISTED_COUNT))
    for i in range(count):
        surface = int(draw.integers(0, len(tables.treatment_names)))
        shown = [o for o, name in enumerate(tables.treatment_names[surface]) if name]
        held = draw.random() < 0.2
        kept = 0 if held else int(draw.integers(0, min(len(shown), 4) + 1))
        asked[i, :3] = draw.integers(1, 4), surface, draw.integers(max(kept, 1), 7)
        told[i, :3] = held, kept, 3 if held else draw.integers(1, 3)
        told[i, 3:] = draw.choice([0, 0, 1, 5, 127, 128, 2000], TOLD_COUNT - 3)
        listed[i, :kept, 0] = draw.permutation(shown)[:kept]
        listed[i, :, 1:4] = draw.choice([0.0, 1e-9, 0.25, 1234.5], (6, 3))
        listed[i, :, 4] = draw.integers(0, 2, 6)
        listed[i, 0, 5] = draw.choice([1.0, 0.3])
    assert offers > 4
    return draw.integers(0, 256, 16 * count, np.uint8), asked, told, listed


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("count", [0, 1, 40])
def test_responses_are_the_bytes_that_the_generated_classes_make(seed, count):
    catalogue = make_catalogue()
    tables = make_tables(catalogue, make_score_table(catalogue, seed))
    fragments = make_fragments(tables)
    took_us = (0, 1, 70_000)[seed % 3]
    figures = DecideOffersResponse(
        catalogue_revision=seed, model_revision=1 << 40, took_us=took_us
    ).SerializeToString()
    turn = (
        count,
        *_draw_turn(tables, count, seed),
        np.frombuffer(figures, np.uint8),
        fragments.head,
        fragments.value,
        fragments.tail,
        fragments.fragment,
        fragments.fragment_start,
        fragments.offer_size_max,
    )
    for array in turn:
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    results = []
    for module in (responses, oracle):
        out, end = np.zeros(ROOM, np.uint8), np.zeros(count, np.int32)
        counted = np.full((3, 8), 7, np.int32)
        size = module.encode_responses(*turn, out, end, counted)
        results.append((size, out[:size].tobytes(), end.tolist(), counted.tolist()))
    assert results[0] == results[1]


def test_an_offer_is_that_of_the_oracle():
    catalogue = make_catalogue()
    fragments = make_fragments(make_tables(catalogue, make_score_table(catalogue, 1)))
    listed = np.array([0, 2.5, 0.125, 1.0, 1, 0.75])
    surface = next(row for row in fragments.head if row[0] >= 0)
    for case in (0, 2):
        for known in (0, 1):
            given = (
                listed, listed.view(np.uint64), case, known, surface, fragments.value,
                fragments.tail, fragments.fragment, fragments.fragment_start,
            )  # fmt: skip
            found = []
            for module in (responses, oracle):
                out = np.zeros(600, np.uint8)
                found.append((module.put_offer(*given, out, 5), out.tolist()))
            assert found[0] == found[1]


def test_what_may_not_fit_is_not_written():
    catalogue = make_catalogue()
    tables = make_tables(catalogue, make_score_table(catalogue, 1))
    fragments = make_fragments(tables)
    turn = (
        40, *_draw_turn(tables, 40, 1), np.zeros(0, np.uint8), fragments.head, fragments.value,
        fragments.tail, fragments.fragment, fragments.fragment_start, fragments.offer_size_max,
    )  # fmt: skip
    end, counted = np.zeros(40, np.int32), np.zeros((3, 8), np.int32)
    whole = responses.encode_responses(*turn, np.zeros(ROOM, np.uint8), end, counted)
    for size in range(0, whole, 97):
        out = np.zeros(size + 64, np.uint8)
        assert responses.encode_responses(*turn, out[:size], end, counted) == -1
        assert not out[size:].any()
