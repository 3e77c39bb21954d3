"""Positions: exact in any order of arrival, all or nothing, negative only where allowed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.errors import InvalidFieldError, PreconditionError
from instanter.stock.engine import PROFILE_SIZE_BYTES, STATE_SIZE_BYTES, StockEngine
from instanter.stock.questions import DataError, Movement, MovementKind, RefusalReason
from tests.catalogue.worlds import compile_files
from tests.stock.worlds import (
    COUNTING,
    DAY_MS,
    HOUR_MS,
    MONDAY_MS,
    STRICT,
    Shop,
    compile_stock,
    move,
    name,
    receive,
    sale,
)

KINDS = (
    MovementKind.SALE,
    MovementKind.RETURN,
    MovementKind.RECEIPT,
    MovementKind.ADJUSTMENT,
    MovementKind.COUNT,
)
HISTORIES = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(1, 50), st.integers(0, 40)),
    min_size=1,
    max_size=30,
    # Two counts at one time would contradict each other; all else may happen at once.
    unique_by=lambda m: (m[0] == MovementKind.COUNT, m[2] if m[0] == MovementKind.COUNT else m),
)


@given(HISTORIES, st.randoms(use_true_random=False))
def test_on_hand_does_not_depend_on_the_order_of_arrival(history, random):
    shop = Shop(COUNTING)
    counts = [m for m in history if m[0] == MovementKind.COUNT]
    last = max(counts, key=lambda m: m[2], default=(0, 0, -1))
    expected = last[1] + sum(
        -units if kind == MovementKind.SALE else units
        for kind, units, at in history
        if kind != MovementKind.COUNT and at > last[2]
    )
    for kind, units, at in random.sample(history, len(history)):
        shop.tell(move(kind, units, MONDAY_MS + at), now_ms=MONDAY_MS + DAY_MS)
    assert shop.describe().on_hand == expected


@given(HISTORIES)
def test_batches_make_no_difference_to_a_single_byte(history):
    history.sort(key=lambda movement: movement[2])
    movements = [move(kind, units, MONDAY_MS + at) for kind, units, at in history]
    one, many = Shop(COUNTING), Shop(COUNTING)
    now_ms = MONDAY_MS + DAY_MS
    together = one.tell(*movements, now_ms=now_ms)
    apart = [told for m in movements for told in many.tell(m, now_ms=now_ms)]
    assert one.states["here", "coffee"].tobytes() == many.states["here", "coffee"].tobytes()
    assert one.profiles["here"].tobytes() == many.profiles["here"].tobytes()
    assert name(together) == name(apart)


def test_a_position_and_a_site_take_little_room():
    assert STATE_SIZE_BYTES <= 1024
    assert PROFILE_SIZE_BYTES <= 1536


def test_a_late_count_is_corrected_by_what_came_after_it():
    shop = Shop(COUNTING)
    shop.tell(receive(100))
    shop.tell(sale(30, MONDAY_MS + 3 * HOUR_MS))
    assert shop.tell(move(MovementKind.COUNT, 98, MONDAY_MS + HOUR_MS)) == ()
    assert shop.describe().on_hand == 68
    # What happened before the count is in it, however late it is told.
    shop.tell(sale(7, MONDAY_MS + HOUR_MS // 2))
    assert shop.describe().on_hand == 68


@pytest.mark.parametrize("counted_first", [True, False])
def test_what_happens_at_the_time_of_a_count_is_in_it(counted_first):
    shop = Shop(COUNTING)
    shop.tell(receive(100))
    moment_ms = MONDAY_MS + 5
    both = [move(MovementKind.COUNT, 50, moment_ms), sale(30, moment_ms)]
    for movement in both if counted_first else reversed(both):
        shop.tell(movement)
    assert shop.describe().on_hand == 50


def test_a_count_older_than_what_is_remembered_is_refused():
    shop = Shop(COUNTING)
    for at in range(34):
        shop.tell(receive(1, MONDAY_MS + at))
    # Changes 0 and 1 are forgotten: a count at 1 still knows everything after it, one at 0 not.
    refusal = shop.tell(move(MovementKind.COUNT, 5, MONDAY_MS))
    assert refusal.reason == RefusalReason.COUNT_TOO_OLD
    assert shop.describe().on_hand == 34
    shop.tell(move(MovementKind.COUNT, 5, MONDAY_MS + 1))
    assert shop.describe().on_hand == 37


def test_what_is_not_there_is_refused_and_nothing_of_the_batch_is_done():
    shop = Shop(STRICT)
    shop.tell(receive(5))
    before = shop.states["here", "coffee"].tobytes()
    refusal = shop.tell(sale(3, MONDAY_MS + 1), sale(3, MONDAY_MS + 2))
    assert (refusal.movement_index, refusal.reason) == (1, RefusalReason.NEGATIVE)
    assert (refusal.on_hand, refusal.committed) == (2, 0)
    assert shop.states["here", "coffee"].tobytes() == before


def test_reserved_units_are_sold_by_a_release_and_a_sale_in_one_batch():
    shop = Shop(STRICT)
    shop.tell(receive(5))
    shop.tell(move(MovementKind.RESERVATION, 4, MONDAY_MS + 1))
    assert shop.describe().available == 1
    refusal = shop.tell(sale(2, MONDAY_MS + 2))
    assert refusal.reason == RefusalReason.NOT_AVAILABLE
    refusal = shop.tell(move(MovementKind.RESERVATION, 2, MONDAY_MS + 2))
    assert refusal.reason == RefusalReason.NOT_AVAILABLE
    shop.tell(move(MovementKind.RELEASE, 4, MONDAY_MS + 3), sale(4, MONDAY_MS + 3))
    found = shop.describe()
    assert (found.on_hand, found.committed, found.available) == (1, 0, 1)
    refusal = shop.tell(move(MovementKind.RELEASE, 1, MONDAY_MS + 4))
    assert refusal.reason == RefusalReason.NOTHING_COMMITTED


def test_a_receipt_takes_what_comes_off_on_order():
    shop = Shop(STRICT)
    shop.tell(move(MovementKind.ORDER, 50, MONDAY_MS))
    shop.tell(receive(30))
    assert shop.describe().on_order == 20
    shop.tell(move(MovementKind.ORDER_CANCELLATION, 5, MONDAY_MS))
    shop.tell(receive(40))
    found = shop.describe()
    assert (found.on_hand, found.on_order) == (70, 0)


def test_a_transfer_moves_both_positions_or_none():
    shop = Shop(STRICT)
    shop.tell(receive(5))
    there = {"destination_site": "there"}
    refusal = shop.tell(move(MovementKind.TRANSFER, 6, MONDAY_MS + 1, **there))
    assert refusal.reason == RefusalReason.NEGATIVE
    shop.tell(move(MovementKind.TRANSFER, 4, MONDAY_MS + 1, **there))
    assert shop.describe().on_hand == 1
    assert shop.describe(site="there").on_hand == 4
    assert shop.describe(site="there").demand_rate in (None, 0)


def test_a_fact_takes_what_is_there_and_the_rest_is_told():
    shop = Shop(STRICT)
    shop.tell(receive(5))
    told = shop.tell(sale(8, MONDAY_MS + 1, is_fact=True))
    assert ("DATA_ERROR", "RAISED", "SERIOUS") in name(told)
    found = shop.describe()
    assert (found.on_hand, found.shortfall) == (0, 3)
    assert found.data_errors == DataError.SHORTFALL
    told = shop.tell(move(MovementKind.COUNT, 0, MONDAY_MS + 2))
    assert ("DATA_ERROR", "CLEARED", "SERIOUS") in name(told)
    assert shop.describe().shortfall == 0


def test_negative_stock_where_it_is_allowed_is_an_error_of_data():
    shop = Shop(COUNTING)
    assert ("DATA_ERROR", "RAISED", "SERIOUS") in name(shop.tell(sale(8, MONDAY_MS)))
    assert shop.describe().data_errors == DataError.NEGATIVE
    assert ("DATA_ERROR", "CLEARED", "SERIOUS") in name(shop.tell(receive(20)))


@pytest.mark.parametrize(("counted", "is_off"), [(95, False), (106, True), (94, True)])
def test_a_count_that_contradicts_the_books_is_taken_and_told(counted, is_off):
    shop = Shop(COUNTING)
    shop.tell(receive(100))
    told = shop.tell(move(MovementKind.COUNT, counted, MONDAY_MS + 1))
    assert name(told) == [("DATA_ERROR", "RAISED", "SERIOUS")] * is_off
    assert shop.describe().on_hand == counted


def test_a_first_count_contradicts_nothing():
    shop = Shop(COUNTING)
    assert shop.tell(move(MovementKind.COUNT, 100, MONDAY_MS)) == ()


def test_a_conflict_of_ids_is_told_until_the_next_count():
    shop = Shop(COUNTING)
    shop.tell(receive(100))
    told = shop.tell(move(MovementKind.CONFLICT, 0, MONDAY_MS + 1))
    assert name(told) == [("DATA_ERROR", "RAISED", "SERIOUS")]
    told = shop.tell(move(MovementKind.COUNT, 100, MONDAY_MS + 2))
    assert name(told) == [("DATA_ERROR", "CLEARED", "SERIOUS")]


@pytest.mark.parametrize("units", [0, -1, 10**9 + 1, 10**18])
@pytest.mark.parametrize("kind", [MovementKind.SALE, MovementKind.ORDER, MovementKind.RESERVATION])
def test_units_that_cannot_be_are_named(kind, units):
    shop = Shop(STRICT)
    with pytest.raises(InvalidFieldError) as caught:
        shop.engine.lay_out([receive(1), move(kind, units, MONDAY_MS)])
    assert caught.value.field == "movements[1].units"
    assert str(units) in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "units"),
    [
        (MovementKind.ADJUSTMENT, 0),
        (MovementKind.ADJUSTMENT, -(10**9) - 1),
        (MovementKind.COUNT, -1),
        (MovementKind.COUNT, 10**9 + 1),
    ],
)
def test_adjustments_and_counts_have_bounds_of_their_own(kind, units):
    with pytest.raises(InvalidFieldError, match=r"movements\[0\]\.units"):
        Shop(STRICT).engine.lay_out([move(kind, units, MONDAY_MS)])


@pytest.mark.parametrize(
    ("movement", "field", "hint"),
    [
        (Movement(MovementKind.SALE, "hre", "tea", 1, 0), "site", "here"),
        (Movement(MovementKind.SALE, "here", "te", 1, 0), "stock_keeping_unit", "tea"),
        (
            Movement(MovementKind.TRANSFER, "here", "tea", 1, 0, "thare"),
            "destination_site",
            "there",
        ),
        (
            Movement(MovementKind.TRANSFER, "here", "tea", 1, 0, "here"),
            "destination_site",
            "another",
        ),
    ],
)
def test_names_that_are_not_declared_are_told_with_the_nearest(movement, field, hint):
    with pytest.raises(InvalidFieldError, match=hint) as caught:
        Shop(STRICT).engine.lay_out([movement])
    assert caught.value.field == f"movements[0].{field}"


def test_a_catalogue_without_stock_is_refused():
    bare = compile_files({"attributes.yaml": "attributes: []\n"}).catalogue
    with pytest.raises(PreconditionError) as caught:
        StockEngine().install(bare)
    assert caught.value.reason == "STOCK_MISSING"


def test_a_position_that_the_catalogue_has_no_more_is_watched_no_more():
    shop = Shop(COUNTING)
    assert name(shop.tell(sale(8, MONDAY_MS))) != []
    shop.engine.install(compile_stock(COUNTING, units=("tea",), revision=2))
    told = shop.look(MONDAY_MS + HOUR_MS)
    assert {t.kind.name for t in told} == {"CLEARED"}
    assert shop.describe().on_hand == -8
    places = shop.engine.place([("here", "coffee"), ("here", "tea")])
    assert places[0, 1] == -1
    assert np.array_equal(places[:, 3], [0, 1])
