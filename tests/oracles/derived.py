"""Derived attributes at a moment in plain Python, from their state, and from the raw events."""

import math
import struct

from tests.oracles import derived_state
from tests.oracles.derived_state import (
    COUNT,
    DISTINCT,
    LAST,
    LOW,
    MAXIMUM,
    MEAN,
    MINIMUM,
    MISSING_CODE,
    SUM,
    TIME_SINCE_LAST,
    number_of,
)

FLOAT32_MAX = 3.4028234663852886e38


def evaluate_derived(count, now_s, states, state_start, plan, ratios, slots):
    now_ms = math.floor(now_s * 1000)
    for i in range(count):
        words = [int(word) for word in states[state_start[i] : state_start[i + 1]]]
        blocks = derived_state.decode(words)
        for row in plan.tolist():
            newest, entries = blocks.get(row[0], [0, []])
            slots[i, row[12]] = _evaluate(newest, entries, row, now_ms)
        for slot, above, below in ratios.tolist():
            slots[i, slot] = _divide(int(slots[i, above]), int(slots[i, below]))


def evaluate_block(words, start, end, row, now_ms, slots):
    entries = [int(word) for word in words[start:end]]
    slots[row[12]] = _evaluate(int(words[start - 1]), entries, [int(n) for n in row], now_ms)


def write_number(slots, slot, value):
    slots[slot] = pattern_of(None if math.isnan(value) else value + 0.0)


def pattern_of(number):
    """Return the 32-bit pattern of a number; all bits set for None."""
    if number is None:
        return MISSING_CODE
    bounded = min(max(number, -FLOAT32_MAX), FLOAT32_MAX)
    return struct.unpack("<I", struct.pack("<f", bounded))[0]


def _evaluate(newest, words, row, now_ms):
    _, _, aggregation, _, _, tile_ms, kept, window_ms, is_number, _, is_exact, width, _ = row
    since_ms = now_ms - window_ms
    if aggregation in (LAST, TIME_SINCE_LAST):
        if not words or newest < since_ms:
            return MISSING_CODE
        is_last = aggregation == LAST
        return words[0] & LOW if is_last else pattern_of(max(now_ms - newest, 0) / 1000)
    entries = [words[i : i + width] for i in range(0, len(words), width)]
    if not window_ms:
        return _evaluate_half_life(entries, aggregation, tile_ms, kept, now_ms)
    oldest = since_ms // tile_ms
    if aggregation == DISTINCT:
        count = sum(e[0] & LOW >= oldest for e in entries)
        return pattern_of(count if is_exact else linear_count(count))
    entries = [e for e in entries if e[0] >> 32 >= oldest]
    if aggregation in (MINIMUM, MAXIMUM):
        best = min if aggregation == MINIMUM else max
        patterns = [e[0] & LOW for e in entries]
        return best(patterns, key=lambda p: number_of(p, is_number), default=MISSING_CODE)
    count = sum(e[0] & LOW for e in entries)
    total = math.fsum((e[1] - e[2]) / derived_state.UNIT for e in entries if width > 1)
    return _answer(aggregation, count, total)


def linear_count(count):
    """Return how many values are likely there when they fill so many of 256 buckets."""
    return 256 * math.log(256 / max(256 - count, 1))


def _evaluate_half_life(entries, aggregation, tile_ms, kept, now_ms):
    count = total = 0.0
    for entry in entries:
        tile = entry[0] >> 32
        age = now_ms // tile_ms - tile
        if age > kept:
            continue
        weight = 2.0 ** -((now_ms - tile * tile_ms) / tile_ms) if age >= 0 else 1.0
        count += weight * entry[1] / derived_state.UNIT
        if aggregation != COUNT:
            total += weight * (entry[2] - entry[3]) / derived_state.UNIT
    return _answer(aggregation, count, total)


def _answer(aggregation, count, total):
    if aggregation == COUNT:
        return pattern_of(count)
    if aggregation == SUM:
        return pattern_of(total)
    assert aggregation == MEAN
    return pattern_of(total / count if count else None)


def _divide(above, below):
    if MISSING_CODE in (above, below) or not number_of(below, True):
        return MISSING_CODE
    return pattern_of(number_of(above, True) / number_of(below, True))


def recompute(derivation, events, now_ms):
    """Return what a derivation says, from all events ever: (time in ms, value of its field).

    The window begins at the start of the tile that it would begin in, so it is at most one tile
    too long. Events whose field is missing are left out by the caller.
    """
    name = derivation.aggregation.name
    if derivation.half_life_s:
        weighted = [(2 ** -((now_ms - t) / 1000 / derivation.half_life_s), v) for t, v in events]
        count = sum(weight for weight, _ in weighted)
        total = math.fsum(weight * value for weight, value in weighted)
        return {"COUNT": count, "SUM": total, "MEAN": total / count if count else None}[name]
    window_ms = 1000 * derivation.window_s
    tile_ms = 1000 * -(-derivation.window_s // 32)
    begin_ms = now_ms - window_ms
    if name not in ("LAST", "TIME_SINCE_LAST"):
        begin_ms = begin_ms // tile_ms * tile_ms
    assert 0 <= now_ms - window_ms - begin_ms < tile_ms
    inside = [(time_ms, value) for time_ms, value in events if time_ms >= begin_ms]
    values = [value for _, value in inside]
    if name in ("COUNT", "SUM", "DISTINCT"):
        return {"COUNT": len, "SUM": math.fsum, "DISTINCT": lambda v: len(set(v))}[name](values)
    if not inside:
        return None
    return {
        "MINIMUM": lambda: min(values),
        "MAXIMUM": lambda: max(values),
        "MEAN": lambda: math.fsum(values) / len(values),
        "LAST": lambda: max(inside)[1],
        "TIME_SINCE_LAST": lambda: (now_ms - max(inside)[0]) / 1000,
    }[name]()
