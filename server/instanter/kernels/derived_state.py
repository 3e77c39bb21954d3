"""What is kept of a customer's events, so that derived attributes can be told at any moment.

The **state** of one customer is a row of int64 words: one block for each derivation that has seen
an event, in ascending order of state ids. A block is a head (state id in the low 32 bits, number
of the words after the second one in the high 32 bits), the newest tile or time in milliseconds,
and entries of a fixed width, in ascending order of their keys, which are the high 32 bits of an
entry's first word:

==================== ===== ======= =======================================================
derivation           words key     the rest
==================== ===== ======= =======================================================
COUNT                1     tile    events, in the low 32 bits
MINIMUM, MAXIMUM     1     tile    value's pattern, in the low 32 bits
SUM, MEAN            3     tile    events, in the low 32 bits; sums of the values above and,
                                   without their sign, of those below 0
half-life: COUNT     2     tile    weighted events
half-life: SUM, MEAN 4     tile    weighted events, weighted sums above and below 0
LAST, TIME_SINCE...  1     0       value's pattern in the low 32 bits; its time is in the head
DISTINCT             1     bucket  in the low 32 bits the newest tile with a value of the bucket
==================== ===== ======= =======================================================

A **tile** is `floor(time ÷ tile length)`, so it is the event's own, whenever that arrives. Every
step is one that does not mind the order: addition of integers that stop at the largest one,
minimum, maximum; and what is dropped is dropped by the newest event's tile alone. So the same
events give the same bytes in any order, unless they are counted as for limits, `never_back`. Floats
would not: their addition depends on the order.

Sums are in units of 2⁻²⁰ (about a millionth); a tile's sum ends at 2⁶³ of them (8.8 × 10¹²), and
so does a value. With a half-life H a tile is H long and an event weighs 2^((time − tile's start)
÷ H) in it, between 1 and 2: the tiles only keep the numbers small, and add no error of their own.

Measured on a busy core, 10 derivations: 1.6 to 2.8 µs for one event, the call from Python included,
3 to 6 µs for five events of one customer.
"""

import math

import numpy as np
from numba import float64, int64, types, uint32, void

from instanter.kernels.array_types import READ_F64, READ_I32, READ_I64, READ_U8, WRITE_I64
from instanter.kernels.compilation import Kernel, inner_kernel
from instanter.kernels.eligibility import evaluate_program

_READ_I64_2D = types.Array(int64, 2, "C", readonly=True)
_WRITE_U8_2D = types.Array(types.uint8, 2, "C")

PLAN_STATE_ID = 0
PLAN_KIND = 1
"""Code of the event kind."""
PLAN_AGGREGATION = 2
PLAN_FIELD = 3
"""Index of the event's field; −1 for none."""
PLAN_LITERAL = 4
"""Literal of the condition in the event kind's program; −1 for none."""
PLAN_TILE_MS = 5
PLAN_TILES_KEPT = 6
"""Tiles that are kept before the newest."""
PLAN_WINDOW_MS = 7
"""Length of the window; 0 for a half-life."""
PLAN_IS_NUMBER = 8
"""Whether the field's patterns are float32; else they are uint32."""
PLAN_IS_HASHED = 9
"""DISTINCT: whether a value's bucket is its hash; else its code, as for categories."""
PLAN_IS_EXACT = 10
"""DISTINCT: whether each value has a bucket of its own."""
PLAN_WIDTH = 11
"""Words of an entry."""
PLAN_SLOT = 12
PLAN_COUNT = 13

COUNT = 1
SUM = 2
MINIMUM = 3
MAXIMUM = 4
MEAN = 5
LAST = 6
TIME_SINCE_LAST = 7
DISTINCT = 8

HEAD_WORDS = 2
"""Words of a block before its entries."""
DISTINCT_BUCKETS = 256
UNIT = 1_048_576.0
"""What sums are counted in: so many make 1."""

_MISSING_CODE = np.uint32(0xFFFF_FFFF)
_UNITS_MAX = 0x7FFF_FFFF_FFFF_FFFF
_UNITS_MAX_F64 = 9.2233720368547e18
_LOW = 0xFFFF_FFFF
_POWERS_OF_TWO = tuple(math.log(2.0) ** n / math.factorial(n) for n in range(18, -1, -1))
"""Coefficients of the power series of 2^x, the highest first."""


@inner_kernel(int64(int64, int64))
def add_bounded(a, b):
    """Return a + b for numbers ≥ 0, at most the largest int64: the order does not matter."""
    return _UNITS_MAX if a > _UNITS_MAX - b else a + b


@inner_kernel(int64(float64))
def to_units(amount):
    """Return a number ≥ 0 in units of 2⁻²⁰, rounded, at most the largest int64."""
    units = amount * UNIT + 0.5
    return _UNITS_MAX if units >= _UNITS_MAX_F64 else np.int64(units)


@inner_kernel(float64(float64))
def raise_two(x):
    """Return 2^x for x in [0, 1], within 4 × 10⁻¹⁶ of it.

    By its power series: the same bits on every machine, which a library's `exp2` does not promise
    and a log that is replayed elsewhere needs.
    """
    result = 0.0
    for coefficient in _POWERS_OF_TWO:
        result = result * x + coefficient
    return result


@inner_kernel(int64(uint32))
def hash_bucket(pattern):
    """Return the bucket of a value of a number or an instant, 0 to 255.

    The finaliser of MurmurHash3 (Austin Appleby, public domain), of which any 8 bits will do.
    """
    h = np.uint64(pattern)
    h = ((h ^ (h >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & np.uint64(_LOW)
    h = ((h ^ (h >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & np.uint64(_LOW)
    h = h ^ (h >> np.uint64(16))
    return np.int64(h & np.uint64(DISTINCT_BUCKETS - 1))


@inner_kernel(int64(READ_I64, int64, int64, int64, int64))
def find_entry(words, start, end, width, key):
    """Return where the entry of a key is, or belongs, among the entries in [start, end).

    Looks from the end, where nearly all events belong: they come about as they happen.
    """
    position = end
    while position > start and words[position - width] >> 32 >= key:
        position -= width
    return position


@inner_kernel(int64(WRITE_I64, int64, int64, int64))
def open_gap(words, position, end, width):
    """Move the entries from `position` on back by one, zero the gap, and return the new end.

    Parameters
    ----------
    words
        int64[n], written.
    position, end, width
        Where the gap begins and the entries end; words of an entry.
    """
    for i in range(end - 1, position - 1, -1):
        words[i + width] = words[i]
    for i in range(position, position + width):
        words[i] = 0
    return end + width


@inner_kernel(int64(WRITE_I64, int64, int64, int64, int64, int64))
def drop_older(words, start, end, width, oldest, is_distinct):
    """Drop the entries of tiles before `oldest`, and return the new end.

    Parameters
    ----------
    words
        int64[n], written: the entries are in [start, end).
    start, end, width, oldest, is_distinct
        Where the entries are, their words, the first tile that stays; whether the tile stands in
        the low 32 bits.
    """
    kept = start
    for position in range(start, end, width):
        word = words[position]
        tile = word & _LOW if is_distinct else word >> 32
        if tile >= oldest:
            for i in range(width):
                words[kept + i] = words[position + i]
            kept += width
    return kept


@inner_kernel(void(WRITE_I64, int64, float64))
def add_amount(words, position, amount):
    """Add to the sums at `position`: above 0 to the first, below 0 to the second.

    Parameters
    ----------
    words, position
        int64[n], written at `position` or behind it.
    amount
        What to add, in the unit of the values.
    """
    if amount >= 0.0:
        words[position] = add_bounded(words[position], to_units(amount))
    else:
        words[position + 1] = add_bounded(words[position + 1], to_units(-amount))


@inner_kernel(void(WRITE_I64, int64, READ_I64, int64, int64, float64))
def add_weighted(words, position, row, key, time_ms, value):
    """Count one event with its weight in the entry of its tile.

    Parameters
    ----------
    words, position
        int64[n], written: the entry at `position`, whose words are 0 when it is new.
    row, time_ms, value
        As in `add_event`.
    key
        The event's tile.
    """
    phase = (time_ms - key * row[PLAN_TILE_MS]) / row[PLAN_TILE_MS]
    weight = raise_two(phase)
    words[position] = key << 32
    words[position + 1] = add_bounded(words[position + 1], to_units(weight))
    if row[PLAN_AGGREGATION] != COUNT:
        add_amount(words, position + 2, value * weight)


@inner_kernel(int64(WRITE_I64, int64, int64, READ_I64, int64, uint32, float64))
def add_latest(words, start, end, row, time_ms, pattern, value):
    """Keep an event when it is the latest, by its time and then by its value; return the end.

    Parameters
    ----------
    words
        int64[n], written.
    start, end, row, time_ms, pattern, value
        As in `add_event`.
    """
    if end > start:
        latest_ms = words[start - 1]
        present = np.float64(words[start] & _LOW)
        if row[PLAN_IS_NUMBER]:
            present = np.float64(words.view(np.float32)[2 * start])
        if time_ms < latest_ms or (time_ms == latest_ms and value <= present):
            return end
    words[start - 1] = time_ms
    words[start] = np.int64(pattern)
    return start + 1


@inner_kernel(void(WRITE_I64, int64, READ_I64, int64, int64, uint32, float64, int64))
def add_to_entry(words, position, row, key, tile, pattern, value, is_new):
    """Count one event in the entry of its tile or bucket.

    Parameters
    ----------
    words, position
        int64[n], written: the entry at `position`.
    row, pattern, value
        As in `add_event`.
    key, tile
        The entry's key; the event's tile.
    is_new
        Whether the entry is new, its words 0.
    """
    aggregation = row[PLAN_AGGREGATION]
    low = words[position] & _LOW
    if aggregation in (MINIMUM, MAXIMUM):
        present = np.float64(low)
        if row[PLAN_IS_NUMBER]:
            present = np.float64(words.view(np.float32)[2 * position])
        better = value < present if aggregation == MINIMUM else value > present
        if is_new or better:
            low = np.int64(pattern)
    elif aggregation == DISTINCT:
        low = max(low, tile)
    else:
        low = min(low + 1, _LOW)
        if aggregation != COUNT:
            add_amount(words, position + 1, value)
    words[position] = key << 32 | low


@inner_kernel(int64(WRITE_I64, int64, int64, READ_I64, int64, uint32, float64, int64))
def add_event(words, start, end, row, time_ms, pattern, value, never_back):
    """Count one event in a block, and return the block's new end.

    Parameters
    ----------
    words
        int64[n], written: the block's newest tile is at `start − 1`, its entries in [start, end);
        there is room for one more.
    start, end
        Where the entries are; `start == end` for a new block.
    row
        int64[PLAN_COUNT], read-only: the derivation.
    time_ms, pattern, value
        The event's time, milliseconds since 1970; its field as 32-bit pattern and as number, both
        0 when the derivation looks at none.
    never_back
        As in `apply_events`.
    """
    aggregation = row[PLAN_AGGREGATION]
    if aggregation in (LAST, TIME_SINCE_LAST):
        return add_latest(words, start, end, row, time_ms, pattern, value)
    if never_back and end > start:
        time_ms = max(time_ms, words[start - 1] * row[PLAN_TILE_MS])
    width = row[PLAN_WIDTH]
    kept = row[PLAN_TILES_KEPT]
    tile = time_ms // row[PLAN_TILE_MS]
    is_distinct = np.int64(aggregation == DISTINCT)
    if end == start or tile > words[start - 1]:
        words[start - 1] = tile
        end = drop_older(words, start, end, width, tile - kept, is_distinct)
    elif tile < words[start - 1] - kept:
        return end
    key = tile
    if is_distinct:
        code = np.int64(pattern)
        key = hash_bucket(pattern) if row[PLAN_IS_HASHED] else code % DISTINCT_BUCKETS
    position = find_entry(words, start, end, width, key)
    is_new = np.int64(position == end or words[position] >> 32 != key)
    if is_new:
        end = open_gap(words, position, end, width)
    if row[PLAN_WINDOW_MS] == 0:
        add_weighted(words, position, row, key, time_ms, value)
    else:
        add_to_entry(words, position, row, key, tile, pattern, value, is_new)
    return end


@inner_kernel(
    int64(
        READ_I64, _READ_I64_2D, READ_F64, READ_I32, READ_U8, _READ_I64_2D, _WRITE_U8_2D, WRITE_I64
    )
)
def find_hits(events, plan, f64, i32, u8, program_cut, hits, event_start):
    """Mark which events each derivation counts, by kind, condition and field; return how many.

    Parameters
    ----------
    events, plan, f64, i32, u8, program_cut
        As in `apply_events`, read-only.
    hits
        uint8[events, D], written: 1 where derivation d counts event e.
    event_start
        int64[events], written: where each event begins.

    Returns
    -------
    int
        The number of events.
    """
    fields = events.view(np.uint32)
    nothing = np.empty(0, np.uint32)
    count = 0
    at = 0
    while at < len(events):
        kind = events[at + 1] & _LOW
        field_count = events[at + 1] >> 32
        first = 2 * at + 4
        context = fields[first : first + field_count]
        cut = program_cut[kind]
        values = np.empty(cut[24], np.float64)
        truths = np.empty(cut[25], np.uint8)
        if cut[25]:
            evaluate_program(
                nothing, context, events[at] / 1000.0,
                f64[cut[0] : cut[12]], i32[cut[1] : cut[13]], u8[cut[2] : cut[14]],
                u8[cut[3] : cut[15]], i32[cut[4] : cut[16]], i32[cut[5] : cut[17]],
                i32[cut[6] : cut[18]], f64[cut[7] : cut[19]], f64[cut[8] : cut[20]],
                u8[cut[9] : cut[21]], i32[cut[10] : cut[22]], i32[cut[11] : cut[23]],
                values, truths,
            )  # fmt: skip
        for d in range(len(plan)):
            field = plan[d, PLAN_FIELD]
            literal = plan[d, PLAN_LITERAL]
            hit = plan[d, PLAN_KIND] == kind and (literal < 0 or truths[literal] == 2)
            if hit and field >= 0:
                hit = field < field_count and context[field] != _MISSING_CODE
            hits[count, d] = np.uint8(hit)
        event_start[count] = at
        count += 1
        at += 2 + (field_count + 1) // 2
    return count


@inner_kernel(
    int64(
        READ_I64, READ_I64, _READ_I64_2D, READ_F64, READ_I32, READ_U8, _READ_I64_2D, int64,
        WRITE_I64,
    )
)  # fmt: skip
def apply_events(state, events, plan, f64, i32, u8, program_cut, never_back, out):
    """Count events of one customer in the customer's state.

    Blocks of derivations that the plan does not have are left out: nobody reads them any more.

    Parameters
    ----------
    state
        int64[n], read-only: the state so far; empty for none.
    events
        int64[m], read-only: the events, one after the other: time in milliseconds since 1970;
        kind's code in the low and number of fields in the high 32 bits; the fields' patterns,
        uint32, two a word, all bits set when missing.
    plan
        int64[D, PLAN_COUNT], read-only: the derivations in ascending order of state ids.
    f64, i32, u8, program_cut
        float64, int32, uint8, read-only: the arrays of the kinds' rule programs; `program_cut` is
        int64[kinds, 26]: for the kind of a code where each of the program's arrays starts, where
        each ends, and how many values and truths there are, 0 without a program.
    never_back
        Whether an event counts in the newest tile where its own is older. Then it matters in which
        order events come, and none is too old to count: what a limit needs, see
        `kernels/velocities`.
    out
        int64[≥ D × (2 + 256)], written: the new state.

    Returns
    -------
    int
        The words of the new state.
    """
    most = len(events) // 2
    hits = np.empty((most, len(plan)), np.uint8)
    event_start = np.empty(most, np.int64)
    count = find_hits(events, plan, f64, i32, u8, program_cut, hits, event_start)
    fields = events.view(np.uint32)
    numbers = events.view(np.float32)
    size = 0
    at = 0
    for d in range(len(plan)):
        state_id = plan[d, PLAN_STATE_ID]
        start = size + HEAD_WORDS
        end = start
        while at < len(state) and state[at] & _LOW < state_id:
            at += HEAD_WORDS + (state[at] >> 32)
        if at < len(state) and state[at] & _LOW == state_id:
            words = HEAD_WORDS + (state[at] >> 32)
            for i in range(words):
                out[size + i] = state[at + i]
            end = size + words
            at += words
        field = plan[d, PLAN_FIELD]
        for e in range(count):
            if not hits[e, d]:
                continue
            pattern = np.uint32(0)
            value = 0.0
            if field >= 0:
                place = 2 * event_start[e] + 4 + field
                pattern = fields[place]
                value = np.float64(pattern)
                if plan[d, PLAN_IS_NUMBER]:
                    value = np.float64(numbers[place])
            time_ms = events[event_start[e]]
            end = add_event(out, start, end, plan[d], time_ms, pattern, value, never_back)
        if end > start:
            out[size] = (end - start) << 32 | state_id
            size = end
    return size


KERNELS = (
    Kernel("raise_two", raise_two, ()),
    Kernel("apply_events", apply_events, ("out",)),
)
