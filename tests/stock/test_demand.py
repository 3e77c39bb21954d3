"""Demand: learned period by period, late sales included, by the site's own clock."""

import numpy as np
import pytest

from instanter.stock.questions import MovementKind
from tests.stock.worlds import (
    COUNTING,
    DAY_MS,
    HOUR_MS,
    MONDAY_MS,
    Shop,
    compile_stock,
    move,
    receive,
    sale,
)


def test_a_rate_is_not_told_before_something_is_known():
    shop = Shop(COUNTING)
    shop.tell(receive(100))
    found = shop.describe(MONDAY_MS + HOUR_MS)
    assert found.demand_rate is None
    assert found.days_of_cover is None
    assert found.stock_out_ms is None


def test_steady_sales_are_their_rate():
    shop = Shop(COUNTING)
    shop.tell(receive(10_000))
    now_ms = shop.sell_daily(30, 6, units=2)
    found = shop.describe(now_ms)
    assert found.demand_rate == pytest.approx(12, rel=0.02)
    assert found.days_of_cover == pytest.approx(found.available / found.demand_rate)
    assert not found.is_intermittent


def test_weeks_are_learned_where_the_catalogue_says_so():
    shop = Shop(COUNTING, period="week")
    shop.tell(receive(10_000))
    for week in range(12):
        shop.tell(sale(21, MONDAY_MS + week * 7 * DAY_MS + 2 * DAY_MS))
    found = shop.describe(MONDAY_MS + 12 * 7 * DAY_MS)
    assert found.demand_rate == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize("periods", [("day", "week"), ("week", "day")])
def test_what_was_learned_outlasts_another_kind_of_period(periods):
    shop = Shop(COUNTING, period=periods[0])
    shop.tell(receive(10_000))
    now_ms = shop.sell_daily(56, 4)
    before = shop.describe(now_ms).demand_rate
    assert before == pytest.approx(4, rel=0.03)
    shop.engine.install(compile_stock(COUNTING, period=periods[1], revision=2))
    assert shop.describe(now_ms).demand_rate == pytest.approx(before, rel=0.1)
    now_ms = shop.sell_daily(56, 8, begin_ms=now_ms)
    assert shop.describe(now_ms).demand_rate > 6


def test_the_present_day_moves_the_rate_sale_by_sale():
    shop = Shop(COUNTING)
    shop.tell(receive(10_000))
    now_ms = shop.sell_daily(30, 6)
    before = shop.describe(now_ms + HOUR_MS).demand_rate
    shop.tell(sale(10, now_ms + HOUR_MS))
    assert shop.describe(now_ms + HOUR_MS).demand_rate > before + 0.4


def test_closed_days_teach_nothing():
    shop = Shop(COUNTING)
    shop.tell(receive(10_000))
    for day in range(70):
        for hour in range(9, 19) if day % 7 < 5 else ():
            shop.tell(sale(1, MONDAY_MS + day * DAY_MS + hour * HOUR_MS))
    monday = shop.describe(MONDAY_MS + 70 * DAY_MS).demand_rate
    friday = shop.describe(MONDAY_MS + 68 * DAY_MS - 5 * HOUR_MS).demand_rate
    # Fifty a week; a weekend of two days does not look like two days without a customer.
    assert monday == pytest.approx(50 / 7, rel=0.08)
    assert friday == pytest.approx(50 / 7, rel=0.08)


def test_rare_sales_are_forecast_as_rare():
    shop = Shop(COUNTING)
    shop.tell(receive(10_000))
    for day in range(0, 100, 5):
        shop.tell(sale(10, MONDAY_MS + day * DAY_MS + 12 * HOUR_MS))
    found = shop.describe(MONDAY_MS + 100 * DAY_MS)
    assert found.is_intermittent
    assert found.demand_rate == pytest.approx(2, rel=0.25)


@pytest.mark.parametrize("days_late", [1, 3, 10])
def test_late_sales_are_learned_as_if_they_had_come_in_time(days_late):
    in_time, late = Shop(COUNTING), Shop(COUNTING)
    forgotten = MONDAY_MS + 25 * DAY_MS
    for shop in (in_time, late):
        shop.tell(receive(10_000))
        shop.sell_daily(25, 6)
    in_time.tell(sale(30, forgotten))
    for shop in (in_time, late):
        shop.sell_daily(days_late, 6, begin_ms=forgotten + DAY_MS)
    before = late.describe(forgotten + (1 + days_late) * DAY_MS).demand_rate
    now_ms = forgotten + (1 + days_late) * DAY_MS
    late.tell(sale(30, forgotten), now_ms=now_ms)
    wanted, found = in_time.describe(now_ms).demand_rate, late.describe(now_ms).demand_rate
    assert wanted > before + 0.5
    assert found == pytest.approx(wanted, rel=0.03)
    assert in_time.describe(now_ms).on_hand == late.describe(now_ms).on_hand


def test_what_comes_back_the_same_day_was_no_demand():
    shop, other = Shop(COUNTING), Shop(COUNTING)
    for one in (shop, other):
        one.tell(receive(100_000))
    now_ms = shop.sell_daily(10, 6)
    other.sell_daily(10, 6)
    shop.tell(sale(5_000, now_ms + HOUR_MS))
    shop.tell(move(MovementKind.RETURN, 5_000, now_ms + 2 * HOUR_MS))
    found, wanted = (one.describe(now_ms + 3 * HOUR_MS).demand_rate for one in (shop, other))
    assert found == pytest.approx(wanted, rel=0.02)


def test_a_replay_of_the_past_sees_no_silence_up_to_the_present():
    shop = Shop(COUNTING)
    shop.tell(receive(10_000), now_ms=MONDAY_MS + 60 * DAY_MS)
    shop.sell_daily(20, 6)
    recorded_ms = MONDAY_MS + 60 * DAY_MS
    end_ms = MONDAY_MS + 20 * DAY_MS
    shop.tell(sale(1, end_ms - 1), now_ms=recorded_ms)
    assert shop.look(recorded_ms + 1) == ()
    assert shop.describe(recorded_ms + 1).demand_rate == pytest.approx(6, rel=0.05)
    # From then on its clock runs: a day of the server is a day of the position.
    assert shop.describe(recorded_ms + 20 * DAY_MS).demand_rate < 4


def test_days_begin_at_the_sites_own_midnight():
    # In Kiritimati it is 14 hours later: these sales are of two days, in UTC of one.
    far, near = Shop(COUNTING, zone="Pacific/Kiritimati"), Shop(COUNTING)
    sold_bits = {}
    for shop, name in ((far, "far"), (near, "near")):
        shop.tell(receive(10_000, MONDAY_MS))
        for hour in (9, 11):
            shop.tell(sale(5, MONDAY_MS + hour * HOUR_MS))
        sold_bits[name] = int(shop.states["here", "coffee"][90])
    assert sold_bits == {"far": 1, "near": 0}


def test_what_all_units_of_a_site_do_moves_each_of_them():
    units = tuple(f"u{at:02d}" for at in range(60))
    shop = Shop(COUNTING, units=units, period="week")
    shop.tell(*[receive(100_000, unit=unit) for unit in units])
    draw = np.random.default_rng(4)
    week_ms = 7 * DAY_MS
    for week in range(30):
        mean = 30 if week < 26 else 18
        for unit in units:
            units_sold = int(draw.poisson(mean))
            shop.tell(sale(units_sold, MONDAY_MS + week * week_ms + DAY_MS, unit))
    now_ms = MONDAY_MS + 30 * week_ms
    # The site's week is learned with its first sale of the next.
    shop.tell(sale(1, now_ms + HOUR_MS, units[0]))
    rates = [7 * shop.describe(now_ms, unit).demand_rate for unit in units[1:]]
    # Smoothing alone would still be near 27 after four weeks.
    assert np.mean(rates) < 23.5
