"""All figures of one transaction from the states of its five entities, and how it counts in them.

What is kept of card, customer, terminal, merchant and device lies end to end in one array of
words, eight **sections**: their velocities, as `kernels/derived_state` explains them, then the
baselines of card and customer, then the card's place. So one call from Python does for one
transaction what would be ten.

What a velocity has counted never gets older than its newest tile: a transaction that comes late is
read at that tile and counted in it. Counted in its own, it might be older than what the window
keeps, and not count at all: a clock that is behind would be a way around every limit. Labels count
at their transactions' times, in whichever order they come.

Measured, 40 velocities of five entities with 30 transactions each, the same again and again on a
busy core: evaluating 2.7 µs, counting 4.1 µs, the call from Python included.
"""

import numpy as np
from numba import float64, int64, types, uint8, void

from instanter.kernels.array_types import (
    READ_F64,
    READ_I32,
    READ_I64,
    READ_U8,
    WRITE_I64,
    WRITE_U32,
)
from instanter.kernels.baselines import (
    BASELINE_COUNT,
    BASELINE_FIGURES,
    BASELINE_WORDS,
    evaluate_baseline,
    update_baseline,
)
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.derived import evaluate_block, write_number
from instanter.kernels.derived_state import (
    COUNT,
    DISTINCT,
    HEAD_WORDS,
    LAST,
    PLAN_AGGREGATION,
    PLAN_KIND,
    PLAN_SLOT,
    PLAN_STATE_ID,
    PLAN_TILE_MS,
    SUM,
    TIME_SINCE_LAST,
    apply_events,
)
from instanter.kernels.travel import PLACE_WORDS, TRAVEL_FIGURES, evaluate_travel, update_place

ATTEMPT = 1
"""Kind of the event that a transaction is for its velocities; its label is another one."""

ENTITIES = 5
CARD_BASELINE = 5
CUSTOMER_BASELINE = 6
PLACE = 7
SECTIONS = 8

_READ_I64_2D = types.Array(int64, 2, "C", readonly=True)
_MISSING_CODE = np.uint32(0xFFFF_FFFF)
_LOW = 0xFFFF_FFFF


@inner_kernel(int64(int64, READ_I64, int64, READ_I64))
def find_moment_ms(time_ms, words, start, row):
    """Return when the window of a velocity ends for a transaction: never before its newest tile.

    Parameters
    ----------
    time_ms
        The transaction's time, milliseconds since 1970.
    words, start
        int64[n], read-only: the entries of the velocity's block begin at `start`.
    row
        int64[PLAN_COUNT], read-only: the velocity.
    """
    is_latest = row[PLAN_AGGREGATION] in (LAST, TIME_SINCE_LAST)
    if is_latest or row[PLAN_KIND] != ATTEMPT:
        return time_ms
    return max(time_ms, words[start - 1] * row[PLAN_TILE_MS])


@kernel(void(int64, READ_I64, int64, int64, int64, int64, _READ_I64_2D, READ_F64, WRITE_U32))
def evaluate_velocities(time_ms, words, at, stop, first, last, plan, scale, figures):
    """Write the velocities of one entity at a moment.

    Parameters
    ----------
    time_ms
        The moment, milliseconds since 1970; see `find_moment_ms`.
    words, at, stop
        int64[n], read-only: the entity's state is in [at, stop).
    first, last
        The entity's velocities are the rows [first, last) of the plan.
    plan, scale, figures
        As in `evaluate_figures`; `figures` is written.
    """
    numbers = figures.view(np.float32)
    for d in range(first, last):
        state_id = plan[d, PLAN_STATE_ID]
        slot = plan[d, PLAN_SLOT]
        aggregation = plan[d, PLAN_AGGREGATION]
        while at < stop and words[at] & _LOW < state_id:
            at += HEAD_WORDS + (words[at] >> 32)
        if at < stop and words[at] & _LOW == state_id:
            start = at + HEAD_WORDS
            at = start + (words[at] >> 32)
            moment_ms = find_moment_ms(time_ms, words, start, plan[d])
            evaluate_block(words, start, at, plan[d], moment_ms, figures)
            if aggregation == DISTINCT:
                # An estimate of 3.02 would not equal 3, which rules on small numbers ask for.
                numbers[slot] = np.float32(np.floor(np.float64(numbers[slot]) + 0.5))
            elif scale[d] != 1.0 and figures[slot] != _MISSING_CODE:
                write_number(figures, slot, np.float64(numbers[slot]) * scale[d])
        else:
            is_sum = aggregation in (COUNT, SUM, DISTINCT)
            figures[slot] = np.uint32(0) if is_sum else _MISSING_CODE


@kernel(
    void(
        int64, READ_I64, READ_I64, READ_U8, _READ_I64_2D, READ_I64, READ_F64,
        float64, int64, int64, float64, float64, float64, float64, int64, int64, WRITE_U32,
    )
)  # fmt: skip
def evaluate_figures(
    time_ms,
    words,
    cut,
    known,
    plan,
    plan_cut,
    scale,
    amount,
    mcc,
    half_life_ms,
    latitude,
    longitude,
    distance_km_min,
    speed_kmh_max,
    travel_slot,
    fraud_count_slot,
    figures,
):
    """Write what the states say of a transaction that they have not counted yet.

    Parameters
    ----------
    time_ms
        The transaction's time, milliseconds since 1970.
    words, cut
        int64[n], int64[9], read-only: section s is `words[cut[s]:cut[s + 1]]`, empty for none.
    known
        uint8[5], read-only: whether there is the card, customer, terminal, merchant, device; the
        figures of one that is not are missing.
    plan, plan_cut, scale
        int64[D, PLAN_COUNT], int64[6], float64[D], read-only: the velocities of entity e are the
        rows `plan_cut[e]` to `plan_cut[e + 1]`, in ascending order of state ids; their results
        are multiplied by their scale, counts of different values rounded.
    amount, mcc, half_life_ms
        As for `kernels/baselines.evaluate_baseline`.
    latitude, longitude, distance_km_min, speed_kmh_max
        As for `kernels/travel.evaluate_travel`.
    travel_slot
        First slot of four figures of travel; four of the card's and four of the customer's
        baseline follow, and then the share of frauds among a terminal's labels.
    fraud_count_slot
        Slot of the terminal's frauds; that of its labels follows.
    figures
        uint32[F], written in the slots of velocities, travel, baselines and the share.
    """
    for e in range(ENTITIES):
        first, last = plan_cut[e], plan_cut[e + 1]
        if known[e]:
            evaluate_velocities(
                time_ms, words, cut[e], cut[e + 1], first, last, plan, scale, figures
            )
        else:
            for d in range(first, last):
                figures[plan[d, PLAN_SLOT]] = _MISSING_CODE
    parts = words.view(np.float64)
    at = travel_slot
    place = parts[cut[PLACE] : cut[PLACE + 1]]
    evaluate_travel(
        place, time_ms, latitude, longitude, distance_km_min, speed_kmh_max,
        figures[at : at + TRAVEL_FIGURES],
    )  # fmt: skip
    at += TRAVEL_FIGURES
    for e in range(2):
        section = CARD_BASELINE + e
        baseline = parts[cut[section] : cut[section + 1]]
        own = figures[at : at + BASELINE_FIGURES]
        evaluate_baseline(baseline, amount, mcc, time_ms, half_life_ms, own)
        if not known[e]:
            own[BASELINE_COUNT] = _MISSING_CODE
        at += BASELINE_FIGURES
    numbers = figures.view(np.float32)
    rate = np.nan
    if numbers[fraud_count_slot + 1] > 0.0:
        rate = np.float64(numbers[fraud_count_slot]) / np.float64(numbers[fraud_count_slot + 1])
    write_number(figures, at, rate)


@inner_kernel(int64(READ_I64, int64, int64, int64, WRITE_I64))
def copy_section(words, start, end, at, out):
    """Copy the words in [start, end) to `at` and return where they end there.

    Parameters
    ----------
    words, start, end
        int64[n], read-only.
    at, out
        int64[≥ at + end − start], written from `at` on.
    """
    for i in range(start, end):
        out[at + i - start] = words[i]
    return at + end - start


@inner_kernel(int64(READ_I64, READ_I64, float64, int64, int64, int64, int64, int64, WRITE_I64))
def count_in_baseline(words, cut, amount, mcc, time_ms, half_life_ms, section, at, out):
    """Write a baseline with one more transaction to `at` and return where it ends.

    Parameters
    ----------
    words, cut, amount, mcc, time_ms, half_life_ms
        As for `count_transaction`.
    section
        `CARD_BASELINE` or `CUSTOMER_BASELINE`.
    at, out
        int64[≥ at + 16], written from `at` on.
    """
    if cut[section] == cut[section + 1]:
        out[at : at + BASELINE_WORDS] = 0
    else:
        copy_section(words, cut[section], cut[section + 1], at, out)
    end = at + BASELINE_WORDS
    update_baseline(amount, mcc, time_ms, half_life_ms, out[at:end].view(np.float64))
    return end


@kernel(
    void(
        READ_I64, READ_I64, READ_U8, READ_I64, _READ_I64_2D, READ_I64,
        READ_F64, READ_I32, READ_U8, _READ_I64_2D,
        uint8, float64, int64, int64, int64, float64, float64, WRITE_I64, WRITE_I64,
    )
)  # fmt: skip
def count_transaction(
    words,
    cut,
    known,
    event,
    plan,
    plan_cut,
    f64,
    i32,
    u8,
    program_cut,
    is_behaviour,
    amount,
    mcc,
    time_ms,
    half_life_ms,
    latitude,
    longitude,
    out,
    out_cut,
):
    """Count one transaction, or its label, in the states of its entities.

    Parameters
    ----------
    words, cut, known, plan, plan_cut
        As for `evaluate_figures`, read-only.
    event, f64, i32, u8, program_cut
        As for `kernels/derived_state.apply_events`, read-only: one event.
    is_behaviour
        Whether it also tells how card and customer behave: 1 for an approved transaction, 0 for
        others and for labels.
    amount, mcc, time_ms, half_life_ms
        As for `kernels/baselines.update_baseline`.
    latitude, longitude
        As for `kernels/travel.update_place`; NaN for no place.
    out
        int64[≥ D × 258 + 35], written: the sections afterwards, end to end. Those of entities
        that are not known are empty.
    out_cut
        int64[9], written: where each section begins, and where the last ends.
    """
    never_back = np.int64(event[1] & _LOW == ATTEMPT)
    at = 0
    for e in range(ENTITIES):
        out_cut[e] = at
        if known[e]:
            own = plan[plan_cut[e] : plan_cut[e + 1]]
            before = words[cut[e] : cut[e + 1]]
            at += apply_events(before, event, own, f64, i32, u8, program_cut, never_back, out[at:])
    for e in range(2):
        section = CARD_BASELINE + e
        out_cut[section] = at
        if is_behaviour and known[e]:
            at = count_in_baseline(words, cut, amount, mcc, time_ms, half_life_ms, section, at, out)
        else:
            at = copy_section(words, cut[section], cut[section + 1], at, out)
    out_cut[PLACE] = at
    if is_behaviour and not np.isnan(latitude):
        place = out[at : at + PLACE_WORDS].view(np.float64)
        place[0] = np.nan
        copy_section(words, cut[PLACE], cut[PLACE + 1], at, out)
        update_place(time_ms, latitude, longitude, place)
        at += PLACE_WORDS
    else:
        at = copy_section(words, cut[PLACE], cut[PLACE + 1], at, out)
    out_cut[SECTIONS] = at


KERNELS = (
    Kernel("evaluate_velocities", evaluate_velocities, ("figures",)),
    Kernel("evaluate_figures", evaluate_figures, ("figures",)),
    Kernel("count_transaction", count_transaction, ("out", "out_cut")),
)
