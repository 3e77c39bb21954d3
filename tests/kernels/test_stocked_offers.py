"""The kernels of stocked offers against their slow twins."""

import numpy as np
import pytest

from instanter.decision.tables import make_tables
from instanter.kernels import stocked_offers
from instanter.kernels.arbitration import REASON_OUT_OF_STOCK, REASON_STOCK_UNKNOWN
from instanter.kernels.decision import TOLD_COUNT
from instanter.kernels.stocked_offers import SHELF_EMPTY, SHELF_UNKNOWN
from instanter.kernels.turns import decide_batch
from tests.decision.stocked import STOCKED
from tests.decision.worlds import draw_slots, make_catalogue, make_score_table
from tests.kernels.test_decision import POLICY, draw_held
from tests.oracles import stocked_offers as oracle
from tests.oracles import turns as turns_oracle

NOW_S = 1_790_000_000.0
CURVES = [([], []), ([3.0], [0.5]), ([0.0, 2.0, 7.0], [0.1, 0.4, 1.0])]


def _read_only(array):
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(("days", "factors"), CURVES)
def test_the_curve_is_that_of_the_oracle(days, factors):
    curve = _read_only(np.array(days)), _read_only(np.array(factors))
    for cover_days in (0.0, 1e-9, 1.9, 2.0, 3.0, 6.999, 7.0, 1e30, np.inf):
        found = stocked_offers.find_cover_factor(cover_days, *curve)
        assert found == pytest.approx(oracle.find_cover_factor(cover_days, *curve), rel=1e-12)


def test_the_curve_is_straight_between_its_points():
    curve = np.array([0.0, 2.0, 7.0]), np.array([0.1, 0.4, 1.0])
    assert stocked_offers.find_cover_factor(1.0, *curve) == pytest.approx(0.25)
    assert stocked_offers.find_cover_factor(4.5, *curve) == pytest.approx(0.7)


def _draw_row(draw, count):
    codes = np.sort(draw.choice(60, count, replace=False)).astype(np.uint32)
    available = draw.choice([-3, 0, 1, 2**31 - 1, -(2**31)], count).astype(np.int32)
    cover = draw.choice([0.0, 0.5, 2.0, 6.0, np.inf, np.nan], count).astype(np.float32)
    return _read_only(np.concatenate((codes, available.view(np.uint32), cover.view(np.uint32))))


@pytest.mark.parametrize("count", [0, 1, 2, 30, 60])
@pytest.mark.parametrize("seed", range(4))
def test_a_shelf_is_laid_out_like_the_oracles(count, seed):
    draw = np.random.default_rng(seed)
    row = _draw_row(draw, count)
    wanted = np.sort(draw.permutation(60)[: draw.integers(0, 60)])
    codes = _read_only(wanted.astype(np.uint32))
    days, factors = (np.array(part) for part in CURVES[seed % len(CURVES)])
    found, wanted = np.full(len(codes), 9, np.float32), np.full(len(codes), 8, np.float32)
    unknown = [SHELF_UNKNOWN, 1.0][seed % 2]
    stocked_offers.lay_out_shelf(row, codes, days, factors, unknown, found)
    oracle.lay_out_shelf(row, codes, days, factors, unknown, wanted)
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("offers", [0, 1, 7, 200])
@pytest.mark.parametrize("seed", range(4))
def test_offers_are_withheld_and_weighed_like_the_oracles(offers, seed):
    draw = np.random.default_rng(seed)
    units = 5
    places = draw.integers(-1, units, offers)
    shelf_place = _read_only(np.array([units, *places], np.int32))
    shelf = draw.choice([SHELF_EMPTY, SHELF_UNKNOWN, 0.0, 0.3, 1.0], units).astype(np.float32)
    reason = draw.choice([0, 0, 0, 3], offers).astype(np.uint8)
    results = []
    for module in (stocked_offers, oracle):
        own, weight = reason.copy(), np.linspace(1.0, 2.0, offers)
        staying = module.withhold_offers(shelf_place, _read_only(shelf), own)
        module.weigh_stock(shelf_place, shelf, own, weight)
        results.append((staying, own.tolist(), weight.tolist()))
    assert results[0] == results[1]


def test_who_has_no_unit_is_left_alone_and_the_first_reason_stays():
    shelf_place = np.array([2, -1, 0, 1, 0], np.int32)
    shelf = np.array([SHELF_EMPTY, SHELF_UNKNOWN], np.float32)
    reason = np.array([0, 0, 0, 4], np.uint8)
    assert stocked_offers.withhold_offers(shelf_place, shelf, reason) == 1
    assert reason.tolist() == [0, REASON_OUT_OF_STOCK, REASON_STOCK_UNKNOWN, 4]


@pytest.mark.parametrize("width", [0, 3])
def test_shelves_stand_behind_the_contacts(width):
    shelf_place = np.array([width, 0, -1] if width else [], np.int32)
    shelves = np.arange(4 * width, dtype=np.float32).reshape(4, width)
    held = _read_only(np.concatenate((np.arange(9, dtype="u4"), shelves.reshape(-1).view("u4"))))
    found = stocked_offers.find_shelves(4, held, shelf_place)
    assert found.shape == (4, width)
    assert found.tolist() == shelves.tolist()
    assert oracle.find_shelves(4, held, shelf_place).tolist() == shelves.tolist()


@pytest.mark.parametrize("policy", ["", POLICY])
@pytest.mark.parametrize("count", [0, 1, 2, 40, 64])
@pytest.mark.parametrize("seed", range(3))
def test_a_stocked_turn_is_decided_like_one_stage_after_the_other(seed, count, policy):
    policy = policy.split("arms:")[0]  # chance is drawn by the oracle 200,000 times
    catalogue = make_catalogue(STOCKED | ({"policy.yaml": policy} if policy else {}))
    tables = make_tables(catalogue, make_score_table(catalogue, seed))
    draw = np.random.default_rng(seed)
    codes = [SHELF_EMPTY, SHELF_UNKNOWN, 0.0, 0.01, 1.0]
    shelves = draw.choice(codes, (count, tables.stock.unit_count)).astype(np.float32)
    ids = [f"customer-{n}".encode() for n in range(count)]
    asked = np.zeros((count, 5), np.int32)
    asked[:, 0] = draw.integers(1, 4, count)
    asked[:, 1] = draw.integers(0, len(catalogue.surfaces), count)
    asked[:, 2] = draw.integers(1, 5, count)
    held = np.zeros(0, np.uint32)
    if policy:
        held, asked[:, 3], asked[:, 4] = draw_held(count, draw)
    turn = (
        count,
        NOW_S,
        np.frombuffer(b"".join(ids), np.uint8),
        np.cumsum([0] + [len(i) for i in ids], dtype=np.int32),
        draw_slots(catalogue, count, seed),
        np.full((count, tables.context_slot_count), 0xFFFF_FFFF, np.uint32),
        asked,
        draw.integers(0, 2**64, count, np.uint64),
        np.concatenate((held, shelves.reshape(-1).view(np.uint32))),
    )
    told, listed = np.full((count, TOLD_COUNT), -1, np.int32), np.full((count, 4, 6), -1.0)
    told_wanted, listed_wanted = told.copy(), listed.copy()
    with np.errstate(all="ignore"):
        decide_batch(*turn, *tables.kernel_arguments, told, listed)
        turns_oracle.decide_batch(*turn, *tables.kernel_arguments, told_wanted, listed_wanted)
    assert told.tolist() == told_wanted.tolist()
    assert listed == pytest.approx(listed_wanted, rel=1e-12)
    if count == 64:
        assert (told[:, 3:].sum(axis=0)[[REASON_OUT_OF_STOCK, REASON_STOCK_UNKNOWN]] > 0).all()
