"""Slow twins of `kernels/velocities`: each section by itself, with the oracles of its own."""

import math
import struct

import numpy as np

from tests.oracles import baselines, derived, derived_state, travel
from tests.oracles.derived_state import MISSING_CODE

COUNT, SUM, DISTINCT = 1, 2, 8
SUMS = (COUNT, SUM, DISTINCT)
LATEST = (6, 7)
ATTEMPT = 1


def evaluate_velocities(time_ms, words, at, stop, first, last, plan, scale, figures):
    blocks = derived_state.decode([int(word) for word in words[at:stop]])
    for d in range(first, last):
        row = plan[d].tolist()
        block = blocks.get(row[0])
        moment_ms = time_ms
        if block is not None and row[1] == ATTEMPT and row[2] not in LATEST:
            moment_ms = max(time_ms, block[0] * row[5])
        figures[row[12]] = _evaluate(block, row, float(scale[d]), moment_ms)


def evaluate_figures(
    time_ms, words, cut, known, plan, plan_cut, scale, amount, mcc, half_life_ms,
    latitude, longitude, distance_km_min, speed_kmh_max, travel_slot, fraud_count_slot, figures,
):  # fmt: skip
    sections = _split(words, cut)
    for e in range(5):
        first, last = plan_cut[e], plan_cut[e + 1]
        if known[e]:
            own = sections[e]
            evaluate_velocities(time_ms, own, 0, len(own), first, last, plan, scale, figures)
        else:
            figures[plan[first:last, 12]] = MISSING_CODE
    at = travel_slot
    place = sections[7].view(np.float64)
    travel.evaluate_travel(
        place, time_ms, latitude, longitude, distance_km_min, speed_kmh_max, figures[at : at + 4]
    )
    for e in range(2):
        own = figures[at + 4 + 4 * e : at + 8 + 4 * e]
        baseline = sections[5 + e].view(np.float64)
        baselines.evaluate_baseline(baseline, amount, mcc, time_ms, half_life_ms, own)
        if not known[e]:
            own[3] = MISSING_CODE
    frauds, labels = _number(figures[fraud_count_slot]), _number(figures[fraud_count_slot + 1])
    figures[at + 12] = derived.pattern_of(frauds / labels if labels > 0 else None)


def count_transaction(
    words, cut, known, event, plan, plan_cut, f64, i32, u8, program_cut, is_behaviour,
    amount, mcc, time_ms, half_life_ms, latitude, longitude, out, out_cut,
):  # fmt: skip
    sections = _split(words, cut)
    never_back = int(event[1]) & 0xFFFF_FFFF == ATTEMPT
    written = []
    for e in range(5):
        own = np.zeros(0, np.int64)
        if known[e]:
            rows = plan[plan_cut[e] : plan_cut[e + 1]]
            after = np.zeros(len(rows) * 258, np.int64)
            size = derived_state.apply_events(
                sections[e], event, rows, f64, i32, u8, program_cut, never_back, after
            )
            own = after[:size]
        written.append(own)
    for e in range(2):
        baseline = sections[5 + e].view(np.float64)
        if is_behaviour and known[e]:
            baseline = baseline.copy() if len(baseline) else np.zeros(16)
            baselines.update_baseline(amount, mcc, time_ms, half_life_ms, baseline)
        written.append(baseline.view(np.int64))
    place = sections[7].view(np.float64)
    if is_behaviour and not math.isnan(latitude):
        place = place.copy() if len(place) else np.array([math.nan, 0.0, 0.0])
        travel.update_place(time_ms, latitude, longitude, place)
    written.append(place.view(np.int64))
    out_cut[:] = np.cumsum([0, *map(len, written)])
    out[: out_cut[8]] = np.concatenate(written)


def _evaluate(block, row, scale, time_ms):
    if block is None:
        return 0 if row[2] in SUMS else MISSING_CODE
    pattern = derived._evaluate(block[0], block[1], row, time_ms)
    if pattern == MISSING_CODE:
        return pattern
    if row[2] == DISTINCT:
        return derived.pattern_of(math.floor(_number(pattern) + 0.5))
    return pattern if scale == 1 else derived.pattern_of(_number(pattern) * scale)


def _split(words, cut):
    return [words[cut[s] : cut[s + 1]] for s in range(8)]


def _number(pattern):
    if int(pattern) == MISSING_CODE:
        return math.nan
    return struct.unpack("<f", struct.pack("<I", int(pattern)))[0]
