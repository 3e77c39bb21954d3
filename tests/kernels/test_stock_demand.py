"""Time, movements and demand of the stock side against their slow twins."""

import numpy as np
import pytest

from instanter.kernels import (
    stock_demand,
    stock_moves,
    stock_time,
    stock_turns,
)
from instanter.kernels.stock_rows import STATE_WORDS
from tests.kernels.stock_world import (
    DAY_MS,
    DST_MS,
    HOUR_MS,
    PLACES,
    POLICIES,
    START_MS,
    ZONES,
    assert_same_profiles,
    assert_same_states,
    make_history,
    make_rows,
)
from tests.oracles import stock_demand as demand_oracle
from tests.oracles import stock_moves as moves_oracle
from tests.oracles import stock_time as time_oracle
from tests.oracles import stock_turns as turns_oracle


@pytest.mark.parametrize("zone", [0, 1])
@pytest.mark.parametrize("time_ms", [0, DST_MS - 1, DST_MS, 2**41 * 1000, 2**46])
def test_clocks_are_those_of_the_oracle(zone, time_ms):
    found = stock_time.find_offset_ms(time_ms, zone, *ZONES)
    assert found == time_oracle.find_offset_ms(time_ms, zone, *ZONES)


@pytest.mark.parametrize("period_days", [1, 7])
def test_periods_are_those_of_the_calendar(period_days):
    for hours in range(0, 24 * 40, 7):
        local_ms = START_MS + hours * HOUR_MS
        period = stock_time.find_period(local_ms, period_days)
        assert period == time_oracle.find_period(local_ms, period_days)
        begin = stock_time.find_period_start_ms(period, period_days)
        assert begin == time_oracle.find_period_start_ms(period, period_days)
        assert begin <= local_ms < stock_time.find_period_start_ms(period + 1, period_days)
        assert stock_time.find_hour(local_ms) == time_oracle.find_hour(local_ms)


def test_business_days_are_those_of_the_oracle():
    _, profiles = make_history()
    draw = np.random.default_rng(5)
    for length in (-5, 0, 1, HOUR_MS, DAY_MS, 7 * DAY_MS, 40 * DAY_MS, 123_456_789):
        begin = START_MS + int(draw.integers(0, 7 * DAY_MS))
        found = stock_time.measure_days(profiles[0], begin, begin + length)
        wanted = time_oracle.measure_days(profiles[0], begin, begin + length)
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_a_week_has_seven_business_days_whatever_its_hours():
    _, profiles = make_history()
    whole = stock_time.measure_days(profiles[0], START_MS, START_MS + 7 * DAY_MS)
    parts = [
        stock_time.measure_days(profiles[0], START_MS + at * DAY_MS, START_MS + (at + 1) * DAY_MS)
        for at in range(7)
    ]
    assert whole == 7
    assert sum(parts) == pytest.approx(7)
    assert max(parts) > min(parts)


# --- Movements ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("policy", [0, 1])
def test_books_are_those_of_the_oracle(seed, policy):
    found, wanted = (np.zeros(STATE_WORDS, np.int64) for _ in range(2))
    reasons = set()
    for row in make_rows(600, seed):
        given = (int(row[0]), int(row[3]), int(row[4]), bool(row[5]), POLICIES[policy])
        before = found.copy()
        reason = stock_moves.move_units(*given, found)
        assert reason == moves_oracle.move_units(*given, wanted)
        np.testing.assert_array_equal(found, wanted)
        if reason:
            np.testing.assert_array_equal(found, before)
        reasons.add(reason)
    assert reasons >= ({0, 1, 2, 3} if policy == 0 else {0, 3})


def test_more_units_than_a_position_holds_are_refused():
    state = np.zeros(STATE_WORDS, np.int64)
    state[0] = 10**15 - 3
    given = (stock_moves.RECEIPT, 4, START_MS, False, POLICIES[0])
    assert stock_moves.move_units(*given, state) == stock_moves.REFUSED_OVERFLOW
    assert moves_oracle.move_units(*given, state) == stock_moves.REFUSED_OVERFLOW
    given = (stock_moves.RECEIPT, 3, START_MS, False, POLICIES[0])
    assert stock_moves.move_units(*given, state) == stock_moves.TAKEN


@pytest.mark.parametrize("seed", range(3))
def test_what_is_refused_is_that_of_the_oracle(seed):
    rows = make_rows(80, seed)
    found, wanted = (np.zeros((4, STATE_WORDS), np.int64) for _ in range(2))
    first = stock_turns.check_movements(rows, PLACES, POLICIES, found)
    assert first == turns_oracle.check_movements(rows, PLACES, POLICIES, wanted)
    assert first[0] != stock_moves.TAKEN
    np.testing.assert_array_equal(found, wanted)


# --- Demand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("period_days", [1, 7])
def test_ended_periods_are_learned_like_the_oracle(period_days):
    states, profiles = make_history(period_days=period_days)
    period = stock_time.find_period(START_MS + 60 * DAY_MS, period_days)
    for later in (0, 1, 2, 30, 1_000):
        found, wanted = states.copy(), states.copy()
        stock_demand.roll_position(profiles[0], period + later, period_days, found[0])
        demand_oracle.roll_position(profiles[0], period + later, period_days, wanted[0])
        assert_same_states(found, wanted)
        sites = profiles.copy(), profiles.copy()
        stock_demand.roll_site(period + later, period_days, sites[0][0])
        demand_oracle.roll_site(period + later, period_days, sites[1][0])
        assert_same_profiles(*sites)


@pytest.mark.parametrize("period_days", [1, 7])
def test_another_kind_of_period_is_taken_up_like_the_oracle(period_days):
    states, profiles = make_history(period_days=8 - period_days)
    states = np.vstack([states, np.zeros((1, STATE_WORDS), np.int64)])
    period = stock_time.find_period(START_MS + 20 * DAY_MS, period_days)
    sites = profiles.copy(), profiles.copy()
    stock_demand.roll_site(period, period_days, sites[0][0])
    demand_oracle.roll_site(period, period_days, sites[1][0])
    assert_same_profiles(*sites)
    found, wanted = states.copy(), states.copy()
    for at in range(len(states)):
        stock_demand.roll_position(profiles[0], period, period_days, found[at])
        demand_oracle.roll_position(profiles[0], period, period_days, wanted[at])
    assert_same_states(found, wanted)


@pytest.mark.parametrize("period_days", [1, 7])
@pytest.mark.parametrize("hours", [0, 1, 13, 24])
def test_rates_are_those_of_the_oracle(period_days, hours):
    states, profiles = make_history(period_days=period_days)
    scratch = np.zeros(STATE_WORDS, np.int64)
    for state in (*states[:2], np.zeros(STATE_WORDS, np.int64)):
        found, wanted = np.zeros(2), np.zeros(2)
        begin = stock_time.find_period_start_ms(int(state[89]), period_days)
        given = (state, profiles[0], begin + hours * HOUR_MS, period_days)
        stock_demand.estimate_demand(*given, scratch, found)
        demand_oracle.estimate_demand(*given, None, wanted)
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("units", [7.0, -3.0])
@pytest.mark.parametrize("back", [1, 2, 20, 62, 63, 400])
def test_late_sales_are_learned_like_the_oracle(units, back):
    states, _ = make_history()
    states = np.vstack([states, np.zeros((1, STATE_WORDS), np.int64)])
    states[-1, 89] = 20_000
    for at in range(len(states)):
        found, wanted = states.copy(), states.copy()
        period = int(states[at, 89]) - back
        stock_demand.learn_late_sale(period, 1, units, 1, found[at])
        demand_oracle.learn_late_sale(period, 1, units, 1, wanted[at])
        assert_same_states(found, wanted)


@pytest.mark.parametrize("units", [1.0, 500.0])
@pytest.mark.parametrize("is_arrival", [True, False])
def test_sales_are_added_to_a_site_like_the_oracle(units, is_arrival):
    _, profiles = make_history()
    for days in (0, 30, 60):
        found, wanted = profiles.copy(), profiles.copy()
        given = (units, is_arrival, START_MS + days * DAY_MS, 1, 3.0)
        stock_demand.add_to_site(*given, found[1])
        demand_oracle.add_to_site(*given, wanted[1])
        assert_same_profiles(found, wanted)
