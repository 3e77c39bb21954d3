"""One transaction assessed with the twins of all that is asked, table by table by its name."""

import math
from types import SimpleNamespace

import numpy as np

from instanter.kernels.fraud_turn_tables import PACKED_F64, PACKED_I32, PACKED_I64, PACKED_U8
from tests.oracles import fraud_events, fraud_model, fraud_scoring, velocities


def unpack(f64, i32, u8, i64, cut):
    """Return what a catalogue has by dtype and name."""
    found, at = {}, 0
    for kind, names, array in (
        ("f64", PACKED_F64, f64), ("i32", PACKED_I32, i32), ("u8", PACKED_U8, u8),
        ("i64", PACKED_I64, i64),
    ):  # fmt: skip
        own = {}
        for name in names:
            own[name] = array[cut[at] : cut[at + 1]]
            at += 1
        at += 1
        found[kind] = SimpleNamespace(**own)
    i64 = found["i64"]
    i64.plan = i64.plan.reshape(-1, 13)
    i64.conditions_cut = i64.conditions_cut.reshape(-1, 26)
    return SimpleNamespace(**found)


def amount_of(numbers):
    return int(numbers[0]) / 10 ** int(numbers[1])


def assess_transaction(
    now_ns, numbers, place, texts, limit, laid, laid_cut, known, profile, model, f64, i32, u8, i64,
    cut, figures, features, event, fired, said,
):  # fmt: skip
    t = unpack(f64, i32, u8, i64, cut)
    (
        behind_ns, ahead_ns, half_life_ms, travel_slot, fraud_slot, _, _, values, truths, _, _,
        model_id, code, needs_place,
    ) = t.i64.settings.tolist()  # fmt: skip
    distance_min, speed_max, points, reason_min, points_max = t.f64.settings.tolist()
    amount_minor, given_ns, present = int(numbers[0]), int(numbers[4]), bool(numbers[5])
    has_place = present and not any(map(math.isnan, place))
    lacks_place = present and not has_place
    if not now_ns - behind_ns <= given_ns <= now_ns + ahead_ns or (lacks_place and needs_place):
        return 0
    latitude, longitude = place.tolist() if has_place else (math.nan, math.nan)
    time_ns = min(given_ns, now_ns)
    time_ms = time_ns // 1_000_000
    fraud_events.write_own_figures(numbers, texts, int(has_place), time_ns, now_ns, figures)
    velocities.evaluate_figures(
        time_ms, laid, laid_cut, known, t.i64.plan, t.i64.plan_cut, t.f64.scale,
        amount_of(numbers), int(numbers[3]), half_life_ms, latitude, longitude, distance_min,
        speed_max, travel_slot, fraud_slot, figures,
    )  # fmt: skip
    totals = np.zeros(2)
    fired_count = fraud_scoring.score_rules(
        profile, figures, time_ns / 1_000_000_000, t.f64.rules, t.i32.rules, t.u8.rules,
        t.i64.rules_cut, t.i32.rule_literal, t.f64.rule_points, t.u8.rule_severity,
        t.f64.valid_from_s, t.f64.valid_to_s, t.u8.shadow, np.zeros(values),
        np.zeros(truths, np.uint8), fired, totals,
    )  # fmt: skip
    model_points, probability = 0.0, math.nan
    if model_id:
        fraud_scoring.gather_features(figures, t.i32.feature_slot, t.u8.feature_is_code, features)
        pairs = t.i32.feature_pairs.reshape(-1, 2)
        probability = fraud_model.predict_fraud(model, features, pairs, t.f64.model_settings)
        model_points = probability * points
    risk = totals[0] + model_points
    if limit == -2:
        matching = [k for k, one in enumerate(t.i64.limit_from) if amount_minor >= one]
        limit = matching[0] if matching else -1
    lowest = min(t.f64.limit_refer[limit], t.f64.limit_decline[limit]) if limit >= 0 else math.inf
    approved = totals[1] <= 1 and min(risk, points_max) < lowest
    fraud_events.make_event(figures, time_ms, code, int(approved), event)
    said[1], said[6], said[7] = time_ns, has_place, model_points >= reason_min
    said[10] = lacks_place
    said[2:6].view(np.float64)[:] = risk, probability, latitude, longitude
    said[11:13].view(np.float64)[:] = totals[0], model_points
    said[13:16] = int(totals[1]), fired_count, approved
    return 1 if approved and not fired_count else 2
