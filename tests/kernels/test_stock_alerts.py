"""Plunges, alerts and whole batches of the stock side against their slow twins."""

import math

import numpy as np
import pytest

from instanter.kernels import (
    stock_alerts,
    stock_plunge,
    stock_settling,
    stock_turns,
)
from instanter.kernels.stock_alerts import OUT_COLUMNS, TRANSITIONS_MAX
from instanter.kernels.stock_policy import COLUMN_COUNT, ESCALATE_AFTER_S, HYSTERESIS, SEVERITY
from instanter.kernels.stock_rows import PROFILE_WORDS, SITE_RECENT_MS, STATE_WORDS
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
    make_policy,
    make_rows_taken,
    record,
)
from tests.oracles import stock_alerts as alerts_oracle
from tests.oracles import stock_plunge as plunge_oracle
from tests.oracles import stock_settling as settling_oracle
from tests.oracles import stock_turns as turns_oracle


def test_evidence_is_that_of_the_oracle():
    states, _ = make_history()
    draw = np.random.default_rng(6)
    for state in states:
        found, wanted = state.copy(), state.copy()
        for step, gap in enumerate([*draw.exponential(0.2, 30), 0.0, 1e-9, 50.0]):
            given = (gap, START_MS + 100 * DAY_MS + step, 3, 1e6)
            stock_plunge.note_arrival(*given, found)
            plunge_oracle.note_arrival(*given, wanted)
            assert_same_states(found[np.newaxis], wanted[np.newaxis])
            for days, is_silent in ((0.0, 0), (0.3, 1), (9.0, 1)):
                weighed = stock_plunge.weigh_evidence(found.view(float), days, is_silent)
                assert weighed == pytest.approx(
                    plunge_oracle.weigh_evidence(wanted.view(float), days, is_silent), rel=1e-9
                )
        for declared in (1.0, 1e-3, 1e-9):
            threshold = stock_plunge.find_threshold(found.view(float), declared)
            assert threshold == plunge_oracle.find_threshold(wanted.view(float), declared)


def test_busy_sites_are_those_of_the_oracle():
    _, profiles = make_history()
    found, wanted = profiles[0], profiles[0].copy()
    factors = set()
    for days in (0.0, *[0.001] * 60, 0.02, 3.0, 0.0):
        for module, profile in ((stock_plunge, found), (plunge_oracle, wanted)):
            module.pass_site_time(days, True, profile)
        np.testing.assert_allclose(found[:14], wanted[:14], rtol=1e-9)
        factor = stock_plunge.find_busyness(found, 2.0)
        assert factor == pytest.approx(plunge_oracle.find_busyness(wanted, 2.0), rel=1e-9)
        factors.add(factor > 1)
    assert factors == {True, False}
    assert stock_plunge.find_busyness(np.zeros(PROFILE_WORDS), 0.0) == 1


# --- Alerts ---------------------------------------------------------------------------------------


def make_policies():
    sparse = np.full(COLUMN_COUNT, np.nan)
    sparse[[HYSTERESIS, ESCALATE_AFTER_S]] = 0.0
    sparse[SEVERITY:] = 0
    silent = make_policy()
    silent[SEVERITY:] = 0
    return [*POLICIES, sparse, silent]


@pytest.mark.parametrize("policy", make_policies())
def test_what_a_policy_wants_is_that_of_the_oracle(policy):
    draw = np.random.default_rng(7)
    for rate in (0.0, 0.4, 12.0, math.nan):
        variance = rate * 2
        for name in ("find_safety_stock", "find_reorder_point"):
            found = getattr(stock_alerts, name)(policy, rate, variance)
            wanted = getattr(alerts_oracle, name)(policy, rate, variance)
            assert found == pytest.approx(wanted, rel=1e-12, nan_ok=True)
        for _ in range(200):
            state = np.zeros(STATE_WORDS, np.int64)
            state[:3] = draw.integers(-5, 200), draw.integers(0, 30), draw.integers(0, 12)
            state[4] = draw.choice([0, 0, 4])
            found, wanted = (np.full(12, -1, np.int64) for _ in range(2))
            plunge = int(draw.integers(0, 3))
            available = int(state[0] - state[2])
            cover = stock_alerts.find_cover(available, rate)
            assert cover == pytest.approx(alerts_oracle.find_cover(available, rate), nan_ok=True)
            stock_alerts.judge_position(state, policy, rate, variance, plunge, found)
            alerts_oracle.judge_position(state, policy, rate, variance, plunge, wanted)
            assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_steps_of_alerts_are_those_of_the_oracle(seed):
    draw = np.random.default_rng(seed)
    alerts = np.zeros((2, 5), np.int64)
    now_ms, sequence, kinds = START_MS, 1, set()
    for _ in range(600):
        now_ms += int(draw.integers(0, 3 * HOUR_MS))
        wanted = int(draw.choice([0, 0, 2, 3, 4]))
        kept = int(draw.choice([0, max(wanted, 2), 4]))
        cause = 1 if seed else 3
        outs = np.zeros((2, 4, OUT_COLUMNS), np.int64)
        counts = [
            module.step_alert(
                POLICIES[0], cause, wanted, kept, now_ms, sequence, 0, alerts[i], outs[i]
            )
            for i, module in enumerate((stock_alerts, alerts_oracle))
        ]
        assert counts[0] == counts[1]
        assert outs[0].tolist() == outs[1].tolist()
        assert alerts[0].tolist() == alerts[1].tolist()
        due_ms = stock_alerts.find_overdue_ms(POLICIES[0], alerts[0])
        assert due_ms == alerts_oracle.find_overdue_ms(POLICIES[0], alerts[1])
        kinds |= {(row[4], row[8]) for row in outs[0, : counts[0]].tolist()}
        sequence += counts[0]
        if alerts[0, 0] and draw.random() < 0.1:
            alerts[:, 1] |= stock_alerts.ACKNOWLEDGED
        if alerts[0, 0] and draw.random() < 0.1:
            alerts[:, 4] = now_ms + 5 * HOUR_MS
    assert kinds == {(1, 0), (2, 0), (2, 1), (3, 0)}


# --- All of it ------------------------------------------------------------------------------------


def look(module, states, profiles, now_ms, sequence, period_days):
    available, covers = np.zeros(4, np.int64), np.zeros(4)
    out = np.zeros((4 * TRANSITIONS_MAX, OUT_COLUMNS), np.int64)
    count = module.look_at_positions(
        PLACES, POLICIES, *ZONES, period_days, now_ms, sequence,
        states, profiles, available, covers, out,
    )  # fmt: skip
    return count, available, covers, out[:count]


@pytest.mark.parametrize("period_days", [1, 7])
@pytest.mark.parametrize("seed", range(3))
def test_whole_histories_are_those_of_the_oracle(seed, period_days):
    begin_ms = DST_MS - 12 * DAY_MS
    found, wanted = (np.zeros((4, STATE_WORDS), np.int64) for _ in range(2))
    sites = [np.zeros((2, PROFILE_WORDS)) for _ in range(2)]
    sequence, kinds, causes = 1, set(), set()
    for batch in range(12):
        rows = make_rows_taken(40, 100 * seed + batch, found, begin_ms)
        begin_ms = int(rows[:, 4].max())
        now_ms = begin_ms + HOUR_MS
        given = (now_ms, sequence, period_days)
        results = [
            record(module, rows, states, profiles, *given)
            for module, states, profiles in (
                (stock_turns, found, sites[0]),
                (turns_oracle, wanted, sites[1]),
            )
        ]
        assert_same_batches(*results)
        assert_same_states(found, wanted)
        assert_same_profiles(*sites)
        sequence += results[0][0]
        now_ms += int(5 * HOUR_MS)
        given = (now_ms, sequence, period_days)
        for state in found:
            assert stock_settling.find_own_ms(state, now_ms) == settling_oracle.find_own_ms(
                state, now_ms
            )
        looked = [
            look(module, states, profiles, *given)
            for module, states, profiles in (
                (stock_turns, found, sites[0]),
                (turns_oracle, wanted, sites[1]),
            )
        ]
        assert_same_batches(*looked)
        assert_same_states(found, wanted)
        sequence += looked[0][0]
        for _, _, _, out in (results[0], looked[0]):
            kinds |= set(out[:, 4].tolist())
            causes |= set(out[:, 3].tolist())
        begin_ms += int(6 * HOUR_MS)
    assert kinds == {1, 2, 3}
    assert causes == {1, 2, 3, 4, 5, 6} if period_days == 1 else causes >= {1, 2, 3, 5, 6}


def assert_same_batches(found, wanted):
    assert found[0] == wanted[0] >= 0
    np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_allclose(found[2], wanted[2], rtol=1e-6)
    np.testing.assert_array_equal(found[3], wanted[3])


def test_a_movement_that_cannot_be_taken_after_all_is_named():
    states, profiles = np.zeros((4, STATE_WORDS), np.int64), np.zeros((2, PROFILE_WORDS))
    rows = np.array([(3, 0, -1, 5, START_MS, 0), (1, 0, -1, 6, START_MS + 1, 0)], np.int64)
    assert record(stock_turns, rows, states, profiles, START_MS, 1, 1)[0] == -2


@pytest.mark.parametrize("period_days", [1, 7])
def test_descriptions_are_those_of_the_oracle(period_days):
    states, profiles = make_history(period_days=period_days)
    for at, state in enumerate(np.vstack([states, np.zeros((1, STATE_WORDS), np.int64)])):
        profile = profiles[min(at // 2, 1)]
        for hours in (0, 5, 500):
            now_ms = int(states[:, 6].max()) + hours * HOUR_MS
            found, wanted = np.zeros(8), np.zeros(8)
            for module, figures in ((stock_turns, found), (turns_oracle, wanted)):
                module.describe_position(
                    POLICIES[0], HOUR_MS, period_days, now_ms, state.copy(), profile.copy(), figures
                )
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-15)


def test_settling_alone_is_that_of_the_oracle():
    states, profiles = make_history()
    now_ms = int(states[:, 6].max()) + 30 * HOUR_MS
    for at, state in enumerate(states):
        found, wanted = state.copy(), state.copy()
        outs = np.zeros((2, TRANSITIONS_MAX, OUT_COLUMNS), np.int64)
        counts = []
        for i, (module, own) in enumerate(((stock_settling, found), (settling_oracle, wanted))):
            work = np.zeros(STATE_WORDS, np.int64), np.zeros(2), np.zeros(12, np.int64)
            counts.append(
                module.settle_position(
                    at, -1, POLICIES[0], profiles[at // 2], 0, 1, now_ms, 50, 0, own, *work, outs[i]
                )
            )
        assert counts[0] == counts[1]
        np.testing.assert_array_equal(outs[0], outs[1])
        assert_same_states(found[np.newaxis], wanted[np.newaxis])


def test_read_only_rows_are_taken():
    states, profiles = make_history()
    rows = make_rows_taken(5, 9, states, int(states[:, 6].max()))
    policies, places = POLICIES.copy(), PLACES.copy()
    for array in (rows, policies, places):
        array.flags.writeable = False
    out = np.zeros((10 * TRANSITIONS_MAX, OUT_COLUMNS), np.int64)
    count = stock_turns.record_movements(
        rows, places, policies, *ZONES, 1, START_MS, 1,
        states, profiles, np.zeros(4, np.int64), np.zeros(4), out,
    )  # fmt: skip
    assert count >= 0
    assert profiles[:, SITE_RECENT_MS].max() > 0
