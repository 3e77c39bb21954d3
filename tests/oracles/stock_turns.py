"""Slow twins of `kernels/stock_turns`: movement by movement, with the other twins."""

import math

from tests.oracles import stock_alerts, stock_demand, stock_moves, stock_plunge
from tests.oracles.stock_settling import find_own_ms, settle_position
from tests.oracles.stock_state import decode, decode_site, encode, encode_site
from tests.oracles.stock_time import find_offset_ms, find_period, measure_days

SALE, RETURN, TRANSFER = 1, 2, 4


def check_movements(rows, places, policies, states):
    """Try one side after the other."""
    for i, row in enumerate(rows):
        for kind, position in _sides(row):
            policy = policies[places[position][2]]
            reason = stock_moves.move_units(
                kind, int(row[3]), int(row[4]), bool(row[5]), policy, states[position]
            )
            if reason:
                return reason, i, position
    return 0, -1, -1


def record_movements(
    rows, places, policies, zone_start, zone_until_s, zone_offset_s, period_days, now_ms, sequence,
    states, profiles, available, covers, out,
):  # fmt: skip
    """Roll, learn, move and settle each side of each movement."""
    count = 0
    for i, row in enumerate(rows):
        kind, units, time_ms = int(row[0]), int(row[3]), int(row[4])
        for side, position in _sides(row):
            place, state = places[position], states[position]
            policy, profile = policies[place[2]], profiles[place[3]]
            offset = int(find_offset_ms(time_ms, place[4], zone_start, zone_until_s, zone_offset_s))
            period = find_period(time_ms + offset, period_days)
            stock_demand.roll_site(period, period_days, profile)
            stock_demand.roll_position(profile, period, period_days, state)
            if kind == SALE:
                _learn_sale(units, time_ms, offset, period_days, policy, state, profile)
            elif kind == RETURN:
                _take_back(units, period, period_days, state)
            if time_ms >= state[6]:
                state[6:8] = time_ms, now_ms
            if stock_moves.move_units(side, units, time_ms, bool(row[5]), policy, state):
                return -1 - i
            count = _settle(
                position, i, policy, profile, offset, period_days, now_ms, sequence, count,
                state, available, covers, out,
            )  # fmt: skip
    return count


def look_at_positions(
    places, policies, zone_start, zone_until_s, zone_offset_s, period_days, now_ms, sequence,
    states, profiles, available, covers, out,
):  # fmt: skip
    """Roll and settle each position as of its own clock."""
    count = 0
    for position, place in enumerate(places):
        policy, profile, state = policies[place[2]], profiles[place[3]], states[position]
        own_ms = find_own_ms(state, now_ms)
        offset = int(find_offset_ms(own_ms, place[4], zone_start, zone_until_s, zone_offset_s))
        period = find_period(own_ms + offset, period_days)
        stock_demand.roll_site(period, period_days, profile)
        stock_demand.roll_position(profile, period, period_days, state)
        count = _settle(
            position, -1, policy, profile, offset, period_days, now_ms, sequence, count,
            state, available, covers, out,
        )  # fmt: skip
    return count


def describe_position(policy, offset_ms, period_days, now_ms, state, profile, figures):
    """Bring the copies up to now, and write one figure after the other."""
    local_ms = find_own_ms(state, now_ms) + offset_ms
    period = find_period(local_ms, period_days)
    stock_demand.roll_site(period, period_days, profile)
    stock_demand.roll_position(profile, period, period_days, state)
    stock_demand.estimate_demand(state, profile, local_ms, period_days, None, figures[:2])
    own, demand = decode(state), state.view("f8")
    rate, variance = figures[:2]
    figures[2] = stock_alerts.find_safety_stock(policy, rate, variance)
    figures[3] = stock_alerts.find_reorder_point(policy, rate, variance)
    figures[4] = stock_alerts.find_cover(own.on_hand - own.committed, rate)
    figures[5] = math.nan
    silent_days = 0
    if own.run_sales:
        figures[5] = rate * measure_days(profile, own.run_ms + offset_ms, local_ms)
        silent_days = measure_days(profile, own.arrived_ms + offset_ms, local_ms)
    figures[6] = stock_plunge.weigh_evidence(demand, silent_days, 1)
    figures[7] = stock_plunge.find_threshold(demand, _declared(policy))


def _sides(row):
    kind = int(row[0])
    sides = [(kind, int(row[1]))]
    if kind == TRANSFER:
        sides.append((RETURN, int(row[2])))
    return sides


def _declared(policy):
    return 0.001 if math.isnan(policy[12]) else policy[12]


def _take_back(units, period, period_days, state):
    own = decode(state)
    if period < own.period:
        stock_demand.learn_late_sale(period, period_days, -units, 0, state)
    else:
        own.units = max(own.units - units, 0)
        encode(own, state)


def _learn_sale(units, time_ms, offset, period_days, policy, state, profile):
    own = decode(state)
    local_ms = time_ms + offset
    is_own_arrival = time_ms != own.arrived_ms
    period = find_period(local_ms, period_days)
    if period < own.period:
        stock_demand.learn_late_sale(period, period_days, units, is_own_arrival, state)
    else:
        own.units += units
        own.arrivals += is_own_arrival
        encode(own, state)
    site = decode_site(profile)
    if time_ms >= site.recent_ms - 3_600_000:
        before = int(site.recent_ms)
        days = measure_days(profile, before + offset, local_ms) if before else 0
        stock_plunge.pass_site_time(days, is_own_arrival, profile)
        site = decode_site(profile)
        site.recent_ms = max(site.recent_ms, time_ms)
        encode_site(site, profile)
    own = decode(state)
    stock_demand.add_to_site(units, is_own_arrival, local_ms, period_days, own.middle, profile)
    if time_ms > own.arrived_ms:
        gap = 0.0
        if own.arrived_ms:
            gap = measure_days(profile, own.arrived_ms + offset, local_ms)
            gap *= stock_plunge.find_busyness(profile, own.run_sales)
        most = 20 * stock_plunge.find_threshold(state.view("f8"), _declared(policy))
        stock_plunge.note_arrival(gap, time_ms, units, most, state)
    elif not is_own_arrival:
        own.run_units += units
        encode(own, state)


def _settle(
    position, movement, policy, profile, offset, period_days, now_ms, sequence, count,
    state, available, covers, out,
):  # fmt: skip
    figures, wanted = [math.nan] * 2, [0] * 12
    count = settle_position(
        position, movement, policy, profile, offset, period_days, now_ms, sequence, count,
        state, None, figures, wanted, out,
    )  # fmt: skip
    available[position] = state[0] - state[2]
    covers[position] = stock_alerts.find_cover(available[position], figures[0])
    return count
