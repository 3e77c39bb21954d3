"""The stages of one customer's decision, from slots to the best offers, and what they pass on."""

from numba import boolean, float64, int64, types, uint64, void

from instanter.kernels.arbitration import (
    REASON_COUNT,
    exclude_offers,
    prioritise_offers,
    rank_offers,
    weigh_context,
)
from instanter.kernels.array_types import (
    READ_F32,
    READ_F64,
    READ_I32,
    READ_I64,
    READ_U8,
    READ_U32,
    WRITE_F32,
    WRITE_F64,
    WRITE_F64_2D,
    WRITE_I32,
    WRITE_U8,
)
from instanter.kernels.binning import select_rows
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.contact_policy import list_within_caps
from instanter.kernels.eligibility import evaluate_program
from instanter.kernels.exploration import explore_offers, find_first_chance, shuffle_offers
from instanter.kernels.holdout import ARM_RANDOM
from instanter.kernels.propensity import find_propensities, score_rows
from instanter.kernels.stocked_offers import weigh_stock

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
    "row_start", "modal_bin", "base", "context_base", "shelf_place",
)  # fmt: skip
PACKED_U8 = ("input_source", "term_op", "predicate_missing", "predictor_source")
"""What the packed arrays hold, in order; see `decide_batch`."""

_KNOWN = 1
_WRITE_U64_2D = types.Array(types.uint64, 2, "C")
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


@inner_kernel(
    int64(
        READ_U32, READ_U32, int64, boolean, int64, READ_I32, READ_I64, READ_U8, READ_I64, READ_F32,
        WRITE_F32, WRITE_I32,
    )
)  # fmt: skip
def bin_customer(
    slots, context, surface, known, profile_predictor_count, i32, i32_cut, u8, u8_cut, edges,
    numbers, rows,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Do what `select_rows` does, with packed arrays.

    `numbers`, float32[P], is its scratch `value`; `rows`, int32[P], is written.
    """
    return select_rows(
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


@inner_kernel(void(boolean, READ_F64, READ_I64, READ_U8, READ_I32, WRITE_F64))
def judge_offers(known, f64, f64_cut, reason, total, propensity):  # type: ignore[no-untyped-def]
    """Do what `find_propensities` does, packed; `propensity`, float64[O], is written."""
    find_propensities(
        reason,
        total,
        known,
        f64[f64_cut[8] : f64_cut[9]],
        f64[f64_cut[9] : f64_cut[10]],
        f64[f64_cut[10] : f64_cut[11]],
        f64[f64_cut[11] : f64_cut[12]].reshape((len(total), -1)),
        f64[f64_cut[12] : f64_cut[13]].reshape((len(total), -1)),
        propensity,
    )


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
    row_count = bin_customer(
        slots, context, surface, known, profile_predictor_count, i32, i32_cut, u8, u8_cut, edges,
        numbers, rows,
    )  # fmt: skip
    base = i32[i32_cut[14] : i32_cut[15]]
    context_base = i32[i32_cut[15] : i32_cut[16]]
    score_rows(score_weight, rows, row_count, base, context_base, known, total)
    judge_offers(known, f64, f64_cut, reason, total, propensity)


@kernel(
    int64(
        int64, int64, int64, uint64, float64, *_PACKED[:4], READ_I64, READ_F32, READ_U8, READ_F64,
        WRITE_U8, WRITE_I32, WRITE_F64, WRITE_U8, WRITE_F64, WRITE_F64, WRITE_I32, WRITE_F64_2D,
    )
)  # fmt: skip
def list_offers(
    surface, wanted, arm, seed, exploration, f64, f64_cut, i32, i32_cut, policy, shelf, truths,
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
    shelf
        float32[U], read-only: as in `weigh_stock`; empty when stock does not tell on offers.
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
    if len(shelf):
        weigh_stock(i32[i32_cut[16] : i32_cut[17]], shelf, reason, weight)
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


KERNELS = (
    Kernel("check_offers", check_offers, ("values", "truths", "reason")),
    Kernel("bin_customer", bin_customer, ("numbers", "rows")),
    Kernel("judge_offers", judge_offers, ("propensity",)),
    Kernel("score_offers", score_offers, ("numbers", "rows", "total", "propensity")),
    Kernel(
        "list_offers",
        list_offers,
        ("reason", "room", "weight", "weighted", "priority", "score", "best", "listed"),
    ),
)
