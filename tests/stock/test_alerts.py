"""Alerts: raised, escalated and cleared once each, with hysteresis, by movements and by time."""

import math

import numpy as np
import pytest

from instanter.catalogue.stock import Cause
from instanter.stock.projection import find_order_units, project_stock_out
from instanter.stock.questions import MovementKind, TransitionKind
from tests.stock.worlds import DAY_MS, HOUR_MS, MONDAY_MS, Shop, move, name, receive, sale

COVER = (
    "{negative: allowed, hysteresis: 0.2,"
    " cover: [{days: 7, severity: warning}, {days: 2, severity: critical}]}"
)
PLUNGE = "{negative: allowed, plunge: {false_alarms_per_day: 0.001, severity: serious}}"
REORDER = "{reorder_point: 10, hysteresis: 0.5, escalate_after: 1h, order_up_to: 40}"
LEVELS = "{maximum: 100, minimum: 8, hysteresis: 0.25}"
LEAD = "{negative: allowed, lead_time: 4d, service_level: 0.95}"


def make_steady(policy, *, days=21, times_a_day=12, units=1, stock=100_000, **options):
    """A shop that has sold at one rate for some weeks; also returns the present."""
    shop = Shop(policy, **options)
    shop.tell(receive(stock))
    return shop, shop.sell_daily(days, times_a_day, units)


def test_stock_out_is_told_with_the_last_piece_and_over_with_the_next():
    shop = Shop("{negative: refused}")
    assert shop.tell(receive(2)) == ()
    assert shop.tell(sale(1, MONDAY_MS + 1)) == ()
    assert name(shop.tell(sale(1, MONDAY_MS + 2))) == [("STOCK_OUT", "RAISED", "CRITICAL")]
    assert name(shop.tell(receive(1))) == [("STOCK_OUT", "CLEARED", "CRITICAL")]


def test_what_is_reserved_is_not_available():
    shop = Shop("{negative: refused}")
    shop.tell(receive(2))
    told = shop.tell(move(MovementKind.RESERVATION, 2, MONDAY_MS + 1))
    assert name(told) == [("STOCK_OUT", "RAISED", "CRITICAL")]


def test_a_reorder_point_clears_beyond_its_hysteresis_only():
    shop = Shop(REORDER)
    shop.tell(receive(11))
    assert name(shop.tell(sale(1, MONDAY_MS))) == [("REORDER", "RAISED", "WARNING")]
    assert shop.describe().order_units == 30
    assert shop.tell(receive(5)) == ()
    assert name(shop.tell(receive(1))) == [("REORDER", "CLEARED", "WARNING")]


def test_what_is_on_order_counts_for_the_reorder_point():
    shop = Shop(REORDER)
    shop.tell(receive(11))
    shop.tell(sale(1, MONDAY_MS))
    told = shop.tell(move(MovementKind.ORDER, 30, MONDAY_MS + 1))
    assert name(told) == [("REORDER", "CLEARED", "WARNING")]


def test_minimum_and_maximum_are_told():
    shop = Shop(LEVELS)
    assert name(shop.tell(receive(101))) == [("OVERSTOCK", "RAISED", "NOTICE")]
    assert shop.tell(sale(20, MONDAY_MS)) == ()
    assert name(shop.tell(sale(1, MONDAY_MS))) == [("OVERSTOCK", "CLEARED", "NOTICE")]
    assert name(shop.tell(sale(72, MONDAY_MS))) == [("REORDER", "RAISED", "WARNING")]


def test_tiers_of_cover_escalate_and_a_milder_one_follows_a_worse():
    shop, now_ms = make_steady(COVER, stock=12 * 21 + 100)
    assert shop.describe(now_ms).days_of_cover == pytest.approx(100 / 12, rel=0.05)
    assert name(shop.tell(sale(20, now_ms))) == [("LOW_COVER", "RAISED", "WARNING")]
    told = shop.tell(move(MovementKind.ADJUSTMENT, -66, now_ms + 1))
    assert name(told) == [("LOW_COVER", "ESCALATED", "CRITICAL")]
    assert told[0].tier == 2
    # Beyond two days, but not beyond two days × 1.2.
    assert shop.tell(receive(15, now_ms + 2)) == ()
    told = shop.tell(receive(20, now_ms + 3))
    assert name(told) == [("LOW_COVER", "CLEARED", "CRITICAL"), ("LOW_COVER", "RAISED", "WARNING")]
    assert told[1].number == told[1].sequence != told[0].number
    assert name(shop.tell(receive(100, now_ms + 4))) == [("LOW_COVER", "CLEARED", "WARNING")]


def test_cover_rises_by_time_alone_when_nothing_sells_any_more():
    shop, now_ms = make_steady(COVER, stock=12 * 21 + 60)
    (alert,) = shop.describe(now_ms).alerts
    assert alert.cause == Cause.LOW_COVER
    told, looks = (), 0
    state = shop.states["here", "coffee"]
    while not told:
        due_ms = shop.engine.find_due_ms(state)
        assert due_ms >= now_ms
        now_ms, looks = due_ms, looks + 1
        told = shop.look(now_ms)
        state = shop.states["here", "coffee"]
    assert name(told) == [("LOW_COVER", "CLEARED", "WARNING")]
    assert 3 <= looks <= 30
    assert shop.engine.find_due_ms(state) == 0


def test_unacknowledged_alerts_escalate_and_acknowledged_ones_do_not():
    shop = Shop(REORDER)
    shop.tell(receive(11))
    now_ms = MONDAY_MS + 1
    shop.tell(sale(1, now_ms))
    due_ms = shop.engine.find_due_ms(shop.states["here", "coffee"])
    assert due_ms == now_ms + HOUR_MS
    assert shop.look(due_ms - 1) == ()
    (told,) = shop.look(due_ms)
    assert (told.kind, told.is_overdue) == (TransitionKind.ESCALATED, True)
    assert (told.severity.name, told.previous_severity.name) == ("SERIOUS", "WARNING")
    assert shop.look(due_ms + 1) == ()
    assert name(shop.look(due_ms + HOUR_MS)) == [("REORDER", "ESCALATED", "CRITICAL")]
    assert shop.look(due_ms + 9 * HOUR_MS) == ()


def test_an_acknowledged_alert_escalates_only_when_it_becomes_worse():
    shop, now_ms = make_steady(COVER[:-1] + ", escalate_after: 1h}", stock=12 * 21 + 60)
    state = shop.states["here", "coffee"]
    told = shop.engine.acknowledge(state, Cause.LOW_COVER, now_ms=now_ms, sequence=50)
    assert (told.sequence, told.kind, told.tier) == (50, TransitionKind.ACKNOWLEDGED, 1)
    assert shop.engine.acknowledge(state, Cause.LOW_COVER, now_ms=now_ms, sequence=51) is None
    assert shop.describe().alerts[0].is_acknowledged
    assert shop.look(now_ms + 5 * HOUR_MS) == ()
    told = shop.tell(sale(45, now_ms + 5 * HOUR_MS))
    assert told[0].kind == TransitionKind.ESCALATED
    assert not shop.describe().alerts[0].is_acknowledged


def test_a_snoozed_alert_waits_until_its_time():
    shop = Shop(REORDER)
    shop.tell(receive(11))
    shop.tell(sale(1, MONDAY_MS))
    until_ms = MONDAY_MS + DAY_MS
    shop.engine.snooze(shop.states["here", "coffee"], Cause.REORDER, until_ms=until_ms)
    assert shop.look(until_ms - 1) == ()
    assert shop.describe().alerts[0].snoozed_until_ms == until_ms
    assert name(shop.look(until_ms)) == [("REORDER", "ESCALATED", "SERIOUS")]


# --- Plunges --------------------------------------------------------------------------------------


def find_delay(shop, now_ms, gap_ms, most=40):
    for at in range(most):
        told = shop.tell(sale(1, now_ms + at * gap_ms))
        if ("PLUNGE", "RAISED", "SERIOUS") in name(told):
            return at + 1
    return None


def test_tenfold_demand_is_told_within_a_few_sales():
    shop, now_ms = make_steady(PLUNGE, days=28, times_a_day=4)
    delay = find_delay(shop, now_ms, DAY_MS // 40)
    assert delay is not None
    assert delay <= 8
    found = shop.describe()
    assert found.evidence >= 0
    assert found.recent_sales >= 3
    assert found.recent_units > 2 * found.recent_expected_units


def test_steady_demand_is_no_plunge():
    shop, now_ms = make_steady(PLUNGE, days=28, times_a_day=4)
    assert find_delay(shop, now_ms, DAY_MS // 4) is None
    assert shop.describe().evidence < 0


def test_a_plunge_is_over_after_silence():
    shop, now_ms = make_steady(PLUNGE, days=28, times_a_day=4)
    now_ms += find_delay(shop, now_ms, 60_000) * 60_000
    assert shop.look(now_ms + HOUR_MS) == ()
    told = ()
    while not told:
        now_ms = shop.engine.find_due_ms(shop.states["here", "coffee"])
        assert now_ms < MONDAY_MS + 31 * DAY_MS
        told = shop.look(now_ms)
    assert name(told) == [("PLUNGE", "CLEARED", "SERIOUS")]


def test_all_lines_of_one_receipt_are_one_arrival():
    shop, now_ms = make_steady(PLUNGE, days=28, times_a_day=4)
    told = shop.tell(*[sale(1, now_ms) for _ in range(50)])
    assert ("PLUNGE", "RAISED", "SERIOUS") not in name(told)
    assert shop.describe().recent_sales <= 2


def test_late_sales_are_no_plunge():
    shop, now_ms = make_steady(PLUNGE, days=28, times_a_day=4)
    shop.tell(sale(1, now_ms))
    for at in range(50):
        assert shop.tell(sale(1, now_ms - HOUR_MS - at * 1000), now_ms=now_ms + 1) == ()


def test_nothing_is_a_plunge_where_the_rate_is_unknown():
    shop = Shop(PLUNGE)
    shop.tell(receive(1000))
    assert find_delay(shop, MONDAY_MS + HOUR_MS, 60_000) is None


def test_a_busy_site_is_no_plunge_of_each_of_its_units():
    units = tuple(f"u{at:02d}" for at in range(40))
    shop = Shop(PLUNGE, units=units)
    shop.tell(*[receive(10_000, unit=unit) for unit in units])
    draw = np.random.default_rng(1)
    for at in range(21 * 80):
        shop.tell(sale(1, MONDAY_MS + at * DAY_MS // 80, units[draw.integers(40)]))
    now_ms, alarms = MONDAY_MS + 21 * DAY_MS, 0
    for at in range(400):  # Five times as busy as usual, for a day.
        told = shop.tell(sale(1, now_ms + at * DAY_MS // 400, units[draw.integers(40)]))
        alarms += len([t for t in told if t.kind == TransitionKind.RAISED])
    # By each unit's own rate alone half of them would tell a plunge.
    assert alarms <= 6


# --- Figures --------------------------------------------------------------------------------------


def test_reorder_point_and_safety_stock_follow_from_lead_time_and_service_level():
    shop = Shop(LEAD)
    shop.tell(receive(100_000))
    draw = np.random.default_rng(2)
    for day in range(80):
        for at, units in enumerate(draw.poisson(2.5, 24)):
            if units:
                shop.tell(sale(int(units), MONDAY_MS + day * DAY_MS + at * HOUR_MS))
    found = shop.describe(MONDAY_MS + 80 * DAY_MS)
    assert found.demand_rate == pytest.approx(60, rel=0.1)
    assert found.demand_deviation == pytest.approx(math.sqrt(60), rel=0.35)
    safety = 1.6448536 * math.sqrt(4) * found.demand_deviation
    assert found.safety_stock == pytest.approx(safety, rel=1e-6)
    assert found.reorder_point == pytest.approx(4 * found.demand_rate + safety, rel=1e-6)


def test_stock_out_is_projected_with_an_interval():
    days, early, late = project_stock_out(100, 10.0, 40.0)
    assert days == 10
    draw = np.random.default_rng(3)
    # Demand in steps of a hundredth of a day.
    demand = np.cumsum(draw.normal(0.1, math.sqrt(0.4), (4_000, 3_000)), axis=1)
    reached = demand[:, round(early * 100) - 1], demand[:, round(late * 100) - 1]
    assert np.mean(reached[0] >= 100) == pytest.approx(0.05, abs=0.015)
    assert np.mean(reached[1] >= 100) == pytest.approx(0.95, abs=0.015)
    assert project_stock_out(0, 10.0, 40.0) == (0, 0, 0)
    assert project_stock_out(5, 0.0, 0.0) == (None, None, None)
    assert project_stock_out(5, math.nan, math.nan) == (None, None, None)
    assert project_stock_out(10**6, 1.0, 1.0) == (None, None, None)


@pytest.mark.parametrize(
    ("inbound", "up_to", "lot", "wanted"),
    [(21, 40, math.nan, 0), (20, 40, math.nan, 20), (-5, 40, math.nan, 45), (20, math.nan, 24, 24),
     (-30, math.nan, 24, 72), (12, math.nan, math.nan, 8), (20, math.nan, math.nan, 1)],
)  # fmt: skip
def test_orders_are_suggested_at_the_reorder_point(inbound, up_to, lot, wanted):
    assert find_order_units(inbound, 20.0, order_up_to=up_to, order_units=lot) == wanted


def test_nothing_is_ordered_without_a_reorder_point():
    assert find_order_units(0, math.nan, order_up_to=40.0, order_units=math.nan) == 0
