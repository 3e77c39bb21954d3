"""The whole decision in one call: for each customer of a turn, from slots to the best offers."""

import numpy as np
from numba import boolean, float64, int64, types, uint64, void

from instanter.kernels.arbitration import (
    REASON_COUNT,
    count_reasons,
    exclude_offers,
    prioritise_offers,
    rank_offers,
    weigh_context,
)
from instanter.kernels.array_types import (
    READ_F32,
    READ_F64,
    READ_I32,
    READ_I32_2D,
    READ_I64,
    READ_U8,
    READ_U32,
    READ_U32_2D,
    READ_U64,
    WRITE_F32,
    WRITE_F64,
    WRITE_F64_2D,
    WRITE_I32,
    WRITE_I32_2D,
    WRITE_U8,
)
from instanter.kernels.binning import select_rows
from instanter.kernels.compilation import Kernel, kernel
from instanter.kernels.contact_policy import apply_policy, list_within_caps, measure_room
from instanter.kernels.eligibility import evaluate_program
from instanter.kernels.exploration import explore_offers, find_first_chance, shuffle_offers
from instanter.kernels.holdout import ARM_HOLDOUT, ARM_RANDOM, draw_arms
from instanter.kernels.propensity import propensity_of, score_rows

_READ_I16_2D = types.Array(types.int16, 2, "C", readonly=True)
_WRITE_F64_3D = types.Array(types.float64, 3, "C")

ASKED_STATE, ASKED_SURFACE, ASKED_WANTED, ASKED_HEAD, ASKED_RESERVED, ASKED_COUNT = range(6)
"""Columns of `asked`, and how many there are."""

TOLD_HELD, TOLD_KEPT, TOLD_ARM, TOLD_REASONS = range(4)
"""Columns of `told`; the counts of the reasons take the rest."""

TOLD_COUNT = TOLD_REASONS + REASON_COUNT
"""Width of `told`."""

(
    LISTED_OFFER, LISTED_PRIORITY, LISTED_PROPENSITY, LISTED_WEIGHT, LISTED_WEIGHTED,
    LISTED_CHOICE, LISTED_COUNT,
) = range(7)  # fmt: skip
"""Columns of `listed`, and how many there are."""

PACKED_F64 = (
    "constants", "predicate_low", "predicate_high", "weight_factor", "valid_from_s", "valid_to_s",
    "value", "lever", "scale", "intercept", "prior_logit", "calibration_x", "calibration_y",
    "treatment_weight", "doubt",
)  # fmt: skip
PACKED_I32 = (
    "input_slot", "term_a", "term_b", "predicate_value", "node_start", "node_literal",
    "rule_literal", "weight_offer", "weight_literal", "predictor_slot", "edge_start", "bin_count",
    "row_start", "modal_bin", "base", "context_base",
)  # fmt: skip
PACKED_U8 = ("input_source", "term_op", "predicate_missing", "predictor_source")
"""What the packed arrays hold, in order; see `decide_batch`."""

_KNOWN = 1
_PACKED = (READ_F64, READ_I64, READ_I32, READ_I64, READ_U8, READ_I64)


@kernel(
    int64(float64, READ_U32, READ_U32, int64, *_PACKED, _READ_I16_2D, WRITE_F64, WRITE_U8, WRITE_U8)
)
def check_offers(
    now_s, slots, context, surface, f64, f64_cut, i32, i32_cut, u8, u8_cut, treatment_index,
    values, truths, reason,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Evaluate all rules for one customer and find the offers that stay.

    Parameters
    ----------
    now_s, slots, context
        As in `evaluate_program`, read-only.
    surface
        Index of the request's surface.
    f64, f64_cut, i32, i32_cut, u8, u8_cut, treatment_index
        As in `decide_batch`, read-only.
    values, truths
        float64, uint8: scratch of `evaluate_program`; the truths are used again later.
    reason
        uint8[O], written, as in `exclude_offers`.

    Returns
    -------
    int
        How many offers stay.
    """
    evaluate_program(
        slots,
        context,
        now_s,
        f64[f64_cut[0] : f64_cut[1]],
        i32[i32_cut[0] : i32_cut[1]],
        u8[u8_cut[0] : u8_cut[1]],
        u8[u8_cut[1] : u8_cut[2]],
        i32[i32_cut[1] : i32_cut[2]],
        i32[i32_cut[2] : i32_cut[3]],
        i32[i32_cut[3] : i32_cut[4]],
        f64[f64_cut[1] : f64_cut[2]],
        f64[f64_cut[2] : f64_cut[3]],
        u8[u8_cut[2] : u8_cut[3]],
        i32[i32_cut[4] : i32_cut[5]],
        i32[i32_cut[5] : i32_cut[6]],
        values,
        truths,
    )
    rule_literal = i32[i32_cut[6] : i32_cut[7]].reshape((3, len(reason)))
    valid_from_s = f64[f64_cut[4] : f64_cut[5]]
    valid_to_s = f64[f64_cut[5] : f64_cut[6]]
    shown = treatment_index[surface]
    return exclude_offers(now_s, truths, rule_literal, shown, valid_from_s, valid_to_s, reason)


@kernel(
    void(
        READ_U32, READ_U32, int64, boolean, int64, *_PACKED, READ_F32, _READ_I16_2D, READ_U8,
        WRITE_F32, WRITE_I32, WRITE_I32, WRITE_F64,
    )
)  # fmt: skip
def score_offers(
    slots, context, surface, known, profile_predictor_count, f64, f64_cut, i32, i32_cut, u8,
    u8_cut, edges, score_weight, reason, numbers, rows, total, propensity,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Compute the propensity of each offer that stays, for one customer.

    All columns are added up, for the rows are contiguous; only the rest is left out for offers
    that do not stay.

    Parameters
    ----------
    slots, context, surface
        As in `select_rows`, read-only.
    known
        Whether there is a profile.
    profile_predictor_count, f64, f64_cut, i32, i32_cut, u8, u8_cut, edges, score_weight
        As in `decide_batch`, read-only.
    reason
        uint8[O], read-only: 0 for offers that stay.
    numbers, rows, total
        float32[P], int32[P], int32[C]: scratch.
    propensity
        float64[O], written where the offer stays: probability in (0, 1).
    """
    row_count = select_rows(
        slots,
        context,
        surface,
        known,
        i32[i32_cut[9] : i32_cut[10]],
        u8[u8_cut[3] : u8_cut[4]],
        profile_predictor_count,
        i32[i32_cut[10] : i32_cut[11]],
        edges,
        i32[i32_cut[11] : i32_cut[12]],
        i32[i32_cut[12] : i32_cut[13]],
        i32[i32_cut[13] : i32_cut[14]],
        numbers,
        rows,
    )
    base = i32[i32_cut[14] : i32_cut[15]]
    context_base = i32[i32_cut[15] : i32_cut[16]]
    score_rows(score_weight, rows, row_count, base, context_base, known, total)
    scale = f64[f64_cut[8] : f64_cut[9]]
    intercept = f64[f64_cut[9] : f64_cut[10]]
    prior_logit = f64[f64_cut[10] : f64_cut[11]]
    calibration_x = f64[f64_cut[11] : f64_cut[12]].reshape((len(total), -1))
    calibration_y = f64[f64_cut[12] : f64_cut[13]].reshape((len(total), -1))
    for o in range(len(reason)):
        if reason[o] == 0:
            propensity[o] = propensity_of(
                o, total, known, scale, intercept, prior_logit, calibration_x, calibration_y
            )


@kernel(
    int64(
        int64, int64, int64, uint64, float64, *_PACKED[:4], READ_I64, READ_U8, READ_F64, WRITE_U8,
        WRITE_I32, WRITE_F64, WRITE_U8, WRITE_F64, WRITE_F64, WRITE_I32, WRITE_F64_2D,
    )
)  # fmt: skip
def list_offers(
    surface, wanted, arm, seed, exploration, f64, f64_cut, i32, i32_cut, policy, truths,
    propensity, reason, room, weight, weighted, priority, score, best, listed,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Rank the offers that stay and list the best, for one customer.

    Parameters
    ----------
    surface, wanted
        Index of the request's surface; how many offers to list at most, ≤ K.
    arm, seed, exploration
        The customer's arm; what chance is drawn from; as in `explore_offers`.
    f64, f64_cut, i32, i32_cut, policy
        As in `decide_batch`, read-only.
    truths, propensity
        uint8, float64[O], read-only: from `check_offers` and `score_offers`.
    reason
        uint8[O], read and written, as in `prioritise_offers` and `list_within_caps`.
    room
        int32, read and written: from `apply_policy`.
    weight, weighted, priority, score, best
        float64[O], uint8[O], float64[O], float64[O], int32[K]: scratch.
    listed
        float64[K, 6], written, as in `decide_batch`.

    Returns
    -------
    int
        How many offers are listed.
    """
    offer_count = len(reason)
    treatment_weight = f64[f64_cut[13] : f64_cut[14]].reshape((-1, offer_count))[surface]
    weight_offer = i32[i32_cut[7] : i32_cut[8]]
    weight_literal = i32[i32_cut[8] : i32_cut[9]]
    weight_factor = f64[f64_cut[3] : f64_cut[4]]
    weigh_context(
        truths, treatment_weight, weight_offer, weight_literal, weight_factor, weight, weighted
    )
    value = f64[f64_cut[6] : f64_cut[7]]
    lever = f64[f64_cut[7] : f64_cut[8]]
    kept = prioritise_offers(reason, propensity, weight, value, lever, priority)
    doubt = f64[f64_cut[14] : f64_cut[15]]
    chance = 1.0
    explores = arm != ARM_RANDOM and exploration > 0.0
    if arm == ARM_RANDOM:
        shuffle_offers(seed, reason, score)
        chance = 1.0 / max(kept, 1)
    elif explores:
        explore_offers(seed, exploration, doubt, reason, propensity, priority, score)
    else:
        score[:] = priority
    if len(policy):
        count = list_within_caps(policy, surface, wanted, room, score, reason, best)
    else:
        count = rank_offers(reason, score, wanted, best)
    if explores and count:
        chance = find_first_chance(best[0], exploration, doubt, propensity, priority)
    for k in range(count):
        o = best[k]
        listed[k, LISTED_OFFER] = o
        listed[k, LISTED_PRIORITY] = priority[o]
        listed[k, LISTED_PROPENSITY] = propensity[o]
        listed[k, LISTED_WEIGHT] = weight[o]
        listed[k, LISTED_WEIGHTED] = weighted[o]
        listed[k, LISTED_CHOICE] = chance if k == 0 else 0.0
    return count


@kernel(
    void(
        int64, float64, READ_U8, READ_I32, READ_U32_2D, READ_U32_2D, READ_I32_2D, READ_U64,
        READ_U32,
        uint64, float64, uint64, float64, float64, int64, *_PACKED, READ_F32, _READ_I16_2D,
        _READ_I16_2D, READ_I64,
        WRITE_I32_2D, _WRITE_F64_3D,
    )
)  # fmt: skip
def decide_batch(
    count, now_s, ids, id_start, slots, context, asked, seed, held,
    holdout_seed, holdout_rate, random_seed, random_rate, exploration, profile_predictor_count,
    f64, f64_cut, i32, i32_cut, u8, u8_cut, edges, treatment_index, score_weight, policy,
    told, listed,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Decide for each customer of a turn.

    Nothing is scored when no offer stays or the customer is kept out.

    The 35 arrays of a catalogue and its models come packed, one array a dtype, because each array
    argument costs 0.09 µs at every call: with 55 of them an empty call took 4.9 µs. The 25 of the
    contact policy are one array more.

    Parameters
    ----------
    count, now_s
        Customers of this turn, ≤ the rows of each array; the decision's time, seconds since 1970.
    ids, id_start
        uint8[B], int32[≥ count + 1], read-only: the customers' ids, one after the other; read
        only when there is a holdout or a random arm.
    slots, context
        uint32[n, S], uint32[n, X], read-only: slots of profile and context.
    asked
        int32[n, 5], read-only: profile state (1 is known), surface index, offers wanted, where
        the customer's head begins in `held`, how many reservations follow its rows.
    seed
        uint64[n], read-only: what chance is drawn from; read only for the random arm and when
        offers are explored.
    held
        uint32, read-only: the customers' contacts, see `kernels/contact_policy`; read only when
        there is a policy.
    holdout_seed, holdout_rate, random_seed, random_rate
        As in `draw_arms`.
    exploration
        As in `explore_offers`.
    profile_predictor_count, edges, score_weight
        `ScoreTable`'s, read-only; `score_weight` is its `weight`.
    f64, f64_cut, i32, i32_cut, u8, u8_cut
        float64, int32, uint8, read-only: the arrays of `RuleProgram`, `CompiledCatalogue` and
        `ScoreTable` named in `PACKED_F64`, `PACKED_I32`, `PACKED_U8`, row by row, one after the
        other; array n is `[cut[n]:cut[n + 1]]`, the cuts int64.
    treatment_index
        int16[surfaces, O], read-only, `CompiledCatalogue`'s.
    policy
        int64, read-only: the contact policy, packed as `PACKED_POLICY` says; empty for none.
    told
        int32[n, 15], written: whether the customer is kept out; how many offers are listed; the
        arm; then offers by the first reason that stopped them, index 0 those that stay. The
        counts are not written for a customer who is kept out.
    listed
        float64[n, K, 6], written up to the offers listed, best first: index of the offer,
        priority, propensity, context weight, whether a context weight applied, and the
        probability with which it was to be ranked first, 0 when it was not.
    """
    offer_count = treatment_index.shape[1]
    predicate_count = i32_cut[4] - i32_cut[3]
    node_count = i32_cut[5] - i32_cut[4] - 1
    predictor_count = i32_cut[10] - i32_cut[9]
    value_count = f64_cut[1] - f64_cut[0] + i32_cut[1] - i32_cut[0] + i32_cut[2] - i32_cut[1]
    values = np.empty(value_count, np.float64)
    truths = np.empty(2 * (predicate_count + node_count), np.uint8)
    reason = np.empty(offer_count, np.uint8)
    room = np.empty(measure_room(policy), np.int32)
    weight = np.empty(offer_count, np.float64)
    weighted = np.empty(offer_count, np.uint8)
    propensity = np.zeros(offer_count, np.float64)
    priority = np.empty(offer_count, np.float64)
    score = np.empty(offer_count, np.float64)
    numbers = np.empty(predictor_count, np.float32)
    rows = np.empty(predictor_count, np.int32)
    total = np.empty(score_weight.shape[1], np.int32)
    best = np.empty(listed.shape[1], np.int32)
    arm = np.empty(count, np.uint8)
    draw_arms(ids, id_start, holdout_seed, holdout_rate, random_seed, random_rate, arm)
    for i in range(count):
        told[i, TOLD_HELD] = arm[i] == ARM_HOLDOUT
        told[i, TOLD_KEPT] = 0
        told[i, TOLD_ARM] = arm[i]
        if arm[i] == ARM_HOLDOUT:
            continue
        surface = asked[i, ASKED_SURFACE]
        staying = check_offers(
            now_s, slots[i], context[i], surface, f64, f64_cut, i32, i32_cut, u8, u8_cut,
            treatment_index, values, truths, reason,
        )  # fmt: skip
        if staying and len(policy):
            staying = apply_policy(
                now_s, slots[i], surface, held, asked[i, ASKED_HEAD], asked[i, ASKED_RESERVED],
                policy, reason, room,
            )  # fmt: skip
        if staying:
            score_offers(
                slots[i], context[i], surface, asked[i, ASKED_STATE] == _KNOWN,
                profile_predictor_count, f64, f64_cut, i32, i32_cut, u8, u8_cut, edges,
                score_weight, reason, numbers, rows, total, propensity,
            )  # fmt: skip
            told[i, TOLD_KEPT] = list_offers(
                surface, asked[i, ASKED_WANTED], arm[i], seed[i], exploration, f64, f64_cut, i32,
                i32_cut, policy, truths, propensity, reason, room, weight, weighted, priority,
                score, best, listed[i],
            )  # fmt: skip
        count_reasons(reason, told[i, TOLD_REASONS:])


KERNELS = (
    Kernel("check_offers", check_offers, ("values", "truths", "reason")),
    Kernel("score_offers", score_offers, ("numbers", "rows", "total", "propensity")),
    Kernel(
        "list_offers",
        list_offers,
        ("reason", "room", "weight", "weighted", "priority", "score", "best", "listed"),
    ),
    Kernel("decide_batch", decide_batch, ("told", "listed")),
)
