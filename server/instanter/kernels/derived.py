"""Derived attributes: what the state of a customer's events says at a moment.

`kernels/derived_state` explains the state. A window of W seconds looks at the tiles that overlap
[now − W, now], whole: at events up to one tile (1/32 of the window, at least 2 s) older than W.
A half-life looks at the last 16 half-lives; what it leaves out weighs less than 1/65,000.

Measured on a busy core, 20 derived attributes of all kinds: 0.1 µs for a customer without events,
1.4 to 2.5 µs for one with 5 to 500 events; the call from Python 1.2 µs for all customers of a turn.
"""

import numpy as np
from numba import float64, int64, types, uint32, void

from instanter.kernels.array_types import READ_I64
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.derived_state import (
    COUNT,
    DISTINCT,
    DISTINCT_BUCKETS,
    HEAD_WORDS,
    LAST,
    MAXIMUM,
    MINIMUM,
    PLAN_AGGREGATION,
    PLAN_IS_EXACT,
    PLAN_IS_NUMBER,
    PLAN_SLOT,
    PLAN_STATE_ID,
    PLAN_TILE_MS,
    PLAN_TILES_KEPT,
    PLAN_WIDTH,
    PLAN_WINDOW_MS,
    SUM,
    TIME_SINCE_LAST,
    UNIT,
)

_READ_I64_2D = types.Array(int64, 2, "C", readonly=True)
_WRITE_U32 = types.Array(uint32, 1, "C")
_WRITE_U32_2D = types.Array(uint32, 2, "C")

_MISSING_CODE = np.uint32(0xFFFF_FFFF)
_LOW = 0xFFFF_FFFF
_FLOAT32_MAX = 3.4028234663852886e38


@inner_kernel(float64(READ_I64, int64, int64, READ_I64, int64))
def evaluate_window(words, start, end, row, oldest):
    """Return the COUNT, SUM or MEAN of the tiles from `oldest` on; NaN for a mean of nothing.

    Parameters
    ----------
    words, start, end, row
        As in `evaluate_block`.
    oldest
        The first tile that counts.
    """
    aggregation = row[PLAN_AGGREGATION]
    width = row[PLAN_WIDTH]
    count = 0
    total = 0.0
    for position in range(np.uint64(start), np.uint64(end), np.uint64(width)):
        word = words[position]
        if word >> 32 >= oldest:
            count += word & _LOW
            if width > 1:
                total += np.float64(words[position + 1]) - np.float64(words[position + 2])
    if aggregation == COUNT:
        return np.float64(count)
    if aggregation == SUM:
        return total / UNIT
    return total / UNIT / count if count else np.nan


@inner_kernel(uint32(READ_I64, int64, int64, READ_I64, int64))
def find_extreme(words, start, end, row, oldest):
    """Return the pattern of the MINIMUM or MAXIMUM from a tile on, missing for that of nothing.

    Parameters
    ----------
    words, start, end, row, oldest
        As in `evaluate_window`.
    """
    is_minimum = row[PLAN_AGGREGATION] == MINIMUM
    is_number = row[PLAN_IS_NUMBER]
    numbers = words.view(np.float32)
    best = np.inf if is_minimum else -np.inf
    found = _MISSING_CODE
    for position in range(np.uint64(start), np.uint64(end)):
        word = words[position]
        if word >> 32 >= oldest:
            value = np.float64(word & _LOW)
            if is_number:
                value = np.float64(numbers[2 * position])
            if value < best if is_minimum else value > best:
                best = value
                found = np.uint32(word & _LOW)
    return found


@inner_kernel(float64(READ_I64, int64, int64, READ_I64, int64))
def evaluate_half_life(words, start, end, row, now_ms):
    """Return the weighted COUNT, SUM or MEAN at `now_ms`; NaN for a mean of nothing.

    Parameters
    ----------
    words, start, end, row, now_ms
        As in `evaluate_block`.
    """
    aggregation = row[PLAN_AGGREGATION]
    tile_ms = row[PLAN_TILE_MS]
    tile_now = now_ms // tile_ms
    weight_now = 2.0 ** -((now_ms - tile_now * tile_ms) / tile_ms)
    count = 0.0
    total = 0.0
    for position in range(start, end, row[PLAN_WIDTH]):
        age = tile_now - (words[position] >> 32)
        if age > row[PLAN_TILES_KEPT]:
            continue
        weight = weight_now / np.float64(1 << age) if age >= 0 else 1.0
        count += weight * np.float64(words[position + 1])
        if aggregation != COUNT:
            above = np.float64(words[position + 2])
            total += weight * (above - np.float64(words[position + 3]))
    if aggregation == COUNT:
        return count / UNIT
    if aggregation == SUM:
        return total / UNIT
    return total / count if count > 0.0 else np.nan


@inner_kernel(float64(READ_I64, int64, int64, READ_I64, int64))
def evaluate_distinct(words, start, end, row, oldest):
    """Return how many different values fell into the tiles from `oldest` on.

    By linear counting (Whang, Vander-Zanden, Taylor, 1990): of b buckets z are empty, so about
    b × ln(b ÷ z) values are there; the standard error is 5 % at 256 values and 11 % at 1,000, and
    more than 1,419 look like 1,419. Exact where each value has a bucket of its own.

    Parameters
    ----------
    words, start, end, row, oldest
        As in `evaluate_block`.
    """
    count = 0
    for position in range(np.uint64(start), np.uint64(end)):
        count += words[position] & _LOW >= oldest
    if row[PLAN_IS_EXACT]:
        return np.float64(count)
    buckets = np.float64(DISTINCT_BUCKETS)
    return buckets * np.log(buckets / max(buckets - count, 1.0))


@inner_kernel(void(_WRITE_U32, int64, float64))
def write_number(slots, slot, value):
    """Write a number into its slot as a float32 within that kind's range; NaN is missing.

    Parameters
    ----------
    slots, slot
        uint32[S], written at `slot`.
    value
        The number.
    """
    if np.isnan(value):
        slots[slot] = _MISSING_CODE
    else:
        bounded = min(max(value, -_FLOAT32_MAX), _FLOAT32_MAX)
        slots.view(np.float32)[slot] = np.float32(bounded + 0.0)


@inner_kernel(void(READ_I64, int64, int64, READ_I64, int64, _WRITE_U32))
def evaluate_block(words, start, end, row, now_ms, slots):
    """Write what a derivation says at a moment into its slot.

    Parameters
    ----------
    words
        int64[n], read-only: the state; the block's entries are in [start, end).
    start, end
        Where the entries are; there is one.
    row
        int64[PLAN_COUNT], read-only: the derivation.
    now_ms
        The moment, milliseconds since 1970. Tiles that overlap the window before it count
        whole, and so do later ones: a worker's clock may be behind the one of the events.
    slots
        uint32[S], written in the derivation's slot. What has no event in its window is missing,
        except for a COUNT, a SUM and a DISTINCT, which are 0.
    """
    aggregation = row[PLAN_AGGREGATION]
    slot = row[PLAN_SLOT]
    since_ms = now_ms - row[PLAN_WINDOW_MS]
    oldest = since_ms // row[PLAN_TILE_MS]
    if aggregation in (LAST, TIME_SINCE_LAST):
        if words[start - 1] < since_ms:
            slots[slot] = _MISSING_CODE
        elif aggregation == LAST:
            slots[slot] = np.uint32(words[start] & _LOW)
        else:
            write_number(slots, slot, max(now_ms - words[start - 1], 0) / 1000.0)
    elif aggregation in (MINIMUM, MAXIMUM):
        slots[slot] = find_extreme(words, start, end, row, oldest)
    elif aggregation == DISTINCT:
        write_number(slots, slot, evaluate_distinct(words, start, end, row, oldest))
    elif row[PLAN_WINDOW_MS] == 0:
        write_number(slots, slot, evaluate_half_life(words, start, end, row, now_ms))
    else:
        write_number(slots, slot, evaluate_window(words, start, end, row, oldest))


@inner_kernel(void(_READ_I64_2D, _WRITE_U32))
def divide_slots(ratios, slots):
    """Write the ratios of a row: numerator ÷ denominator, both numbers of the same row.

    Missing when one of them is missing or the denominator is 0.

    Parameters
    ----------
    ratios
        int64[R, 3], read-only: slots of the ratio, of its numerator, of its denominator.
    slots
        uint32[S], written in the slots of the ratios.
    """
    numbers = slots.view(np.float32)
    for r in range(len(ratios)):
        above, below = ratios[r, 1], ratios[r, 2]
        divisor = np.float64(numbers[below])
        value = np.nan
        # A missing slot is a NaN as a number too, and so is what is divided by it.
        if divisor != 0.0:
            value = np.float64(numbers[above]) / divisor
        write_number(slots, ratios[r, 0], value)


@kernel(void(int64, float64, READ_I64, READ_I64, _READ_I64_2D, _READ_I64_2D, _WRITE_U32_2D))
def evaluate_derived(count, now_s, states, state_start, plan, ratios, slots):
    """Write the derived attributes of the customers of one turn.

    Parameters
    ----------
    count, now_s
        Customers, ≤ the rows of `slots`; the moment, seconds since 1970.
    states, state_start
        int64[n], int64[≥ count + 1], read-only: the customers' states, one after the other.
        Customer i's is `[state_start[i]:state_start[i + 1]]`, empty without events.
    plan
        int64[D, PLAN_COUNT], read-only: the derivations in ascending order of state ids.
    ratios
        int64[R, 3], read-only: slots of a ratio, of its numerator, of its denominator.
    slots
        uint32[n, S], written in the slots of plan and ratios; missing is all bits set.
    """
    now_ms = np.int64(np.floor(now_s * 1000.0))
    for i in range(count):
        at = state_start[i]
        stop = state_start[i + 1]
        for d in range(len(plan)):
            state_id = plan[d, PLAN_STATE_ID]
            while at < stop and states[at] & _LOW < state_id:
                at += HEAD_WORDS + (states[at] >> 32)
            if at < stop and states[at] & _LOW == state_id:
                start = at + HEAD_WORDS
                at = start + (states[at] >> 32)
                evaluate_block(states, start, at, plan[d], now_ms, slots[i])
            else:
                is_sum = plan[d, PLAN_AGGREGATION] in (COUNT, SUM, DISTINCT)
                slots[i, plan[d, PLAN_SLOT]] = np.uint32(0) if is_sum else _MISSING_CODE
        divide_slots(ratios, slots[i])


KERNELS = (
    Kernel("write_number", write_number, ("slots",)),
    Kernel("evaluate_block", evaluate_block, ("slots",)),
    Kernel("evaluate_derived", evaluate_derived, ("slots",)),
)
