"""The whole decision in one call: for each customer of a turn, from slots to the best offers."""

import numpy as np
from numba import float64, int64, types, uint64, void

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
    READ_U32_2D,
    WRITE_I32_2D,
)
from instanter.kernels.binning import select_rows
from instanter.kernels.compilation import Kernel, kernel
from instanter.kernels.eligibility import evaluate_program
from instanter.kernels.holdout import draw_holdout
from instanter.kernels.propensity import propensity_of, score_rows

_READ_I16_2D = types.Array(types.int16, 2, "C", readonly=True)
_WRITE_F64_3D = types.Array(types.float64, 3, "C")

ASKED_STATE, ASKED_SURFACE, ASKED_WANTED, ASKED_COUNT = range(4)
"""Columns of `asked`."""

TOLD_HELD, TOLD_KEPT, TOLD_REASONS = range(3)
"""Columns of `told`; the counts of the reasons take the rest."""

TOLD_COUNT = TOLD_REASONS + REASON_COUNT
"""Width of `told`."""

LISTED_OFFER, LISTED_PRIORITY, LISTED_PROPENSITY, LISTED_WEIGHT, LISTED_WEIGHTED = range(5)
LISTED_COUNT = 5
"""Columns of `listed`, and how many there are."""

PACKED_F64 = (
    "constants", "predicate_low", "predicate_high", "weight_factor", "valid_from_s", "valid_to_s",
    "value", "lever", "scale", "intercept", "prior_logit", "calibration_x", "calibration_y",
    "treatment_weight",
)  # fmt: skip
PACKED_I32 = (
    "input_slot", "term_a", "term_b", "predicate_value", "node_start", "node_literal",
    "rule_literal", "weight_offer", "weight_literal", "predictor_slot", "edge_start", "bin_count",
    "row_start", "modal_bin", "base", "context_base",
)  # fmt: skip
PACKED_U8 = ("input_source", "term_op", "predicate_missing", "predictor_source")
"""What the packed arrays hold, in order; see `decide_batch`."""

_KNOWN = 1


@kernel(
    void(
        int64, float64, READ_U8, READ_I32, READ_U32_2D, READ_U32_2D, READ_I32_2D,
        uint64, float64, int64, READ_F64, READ_I32, READ_U8, READ_I64, READ_I64, READ_I64,
        READ_F32, _READ_I16_2D, _READ_I16_2D,
        WRITE_I32_2D, _WRITE_F64_3D,
    )
)  # fmt: skip
def decide_batch(
    count, now_s, ids, id_start, slots, context, asked,
    holdout_seed, holdout_rate, profile_predictor_count, f64, i32, u8, f64_cut, i32_cut, u8_cut,
    edges, treatment_index, score_weight,
    told, listed,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Decide for each customer of a turn.

    Propensities are computed only for offers that stay, and nothing is scored when none stays or
    the customer is kept out.

    The 34 arrays of a catalogue and its models come packed, one array a dtype, because each array
    argument costs 0.09 µs at every call: apart they took 4.9 µs of a decision's 30.

    Parameters
    ----------
    count, now_s
        Customers of this turn, ≤ the rows of each array; the decision's time, seconds since 1970.
    ids, id_start
        uint8[B], int32[≥ count + 1], read-only: the customers' ids, one after the other; read
        only when there is a holdout.
    slots, context
        uint32[n, S], uint32[n, X], read-only: slots of profile and context.
    asked
        int32[n, 3], read-only: profile state (1 is known), surface index, offers wanted.
    holdout_seed, holdout_rate
        As in `draw_holdout`.
    profile_predictor_count, edges, score_weight
        `ScoreTable`'s, read-only; `score_weight` is its `weight`.
    f64, i32, u8, f64_cut, i32_cut, u8_cut
        float64, int32, uint8, read-only: the arrays of `RuleProgram`, `CompiledCatalogue` and
        `ScoreTable` named in `PACKED_F64`, `PACKED_I32`, `PACKED_U8`, row by row, one after the
        other; array n is `[cut[n]:cut[n + 1]]`, the cuts int64.
    treatment_index
        int16[surfaces, O], read-only, `CompiledCatalogue`'s.
    told
        int32[n, 10], written: whether the customer is kept out; how many offers are listed; then
        offers by the first reason that stopped them, index 0 those that stay. The counts are
        not written for a customer who is kept out.
    listed
        float64[n, K, 5], written up to the offers listed, best first: index of the offer,
        priority, propensity, context weight, and whether a context weight applied.
    """
    constants = f64[f64_cut[0] : f64_cut[1]]
    predicate_low = f64[f64_cut[1] : f64_cut[2]]
    predicate_high = f64[f64_cut[2] : f64_cut[3]]
    weight_factor = f64[f64_cut[3] : f64_cut[4]]
    valid_from_s = f64[f64_cut[4] : f64_cut[5]]
    valid_to_s = f64[f64_cut[5] : f64_cut[6]]
    value = f64[f64_cut[6] : f64_cut[7]]
    lever = f64[f64_cut[7] : f64_cut[8]]
    scale = f64[f64_cut[8] : f64_cut[9]]
    intercept = f64[f64_cut[9] : f64_cut[10]]
    prior_logit = f64[f64_cut[10] : f64_cut[11]]
    column_count = len(scale)
    calibration_x = f64[f64_cut[11] : f64_cut[12]].reshape((column_count, -1))
    calibration_y = f64[f64_cut[12] : f64_cut[13]].reshape((column_count, -1))
    offer_count = len(value)
    treatment_weight = f64[f64_cut[13] : f64_cut[14]].reshape(treatment_index.shape)
    input_slot = i32[i32_cut[0] : i32_cut[1]]
    term_a = i32[i32_cut[1] : i32_cut[2]]
    term_b = i32[i32_cut[2] : i32_cut[3]]
    predicate_value = i32[i32_cut[3] : i32_cut[4]]
    node_start = i32[i32_cut[4] : i32_cut[5]]
    node_literal = i32[i32_cut[5] : i32_cut[6]]
    rule_literal = i32[i32_cut[6] : i32_cut[7]].reshape((3, offer_count))
    weight_offer = i32[i32_cut[7] : i32_cut[8]]
    weight_literal = i32[i32_cut[8] : i32_cut[9]]
    predictor_slot = i32[i32_cut[9] : i32_cut[10]]
    edge_start = i32[i32_cut[10] : i32_cut[11]]
    bin_count = i32[i32_cut[11] : i32_cut[12]]
    row_start = i32[i32_cut[12] : i32_cut[13]]
    modal_bin = i32[i32_cut[13] : i32_cut[14]]
    base = i32[i32_cut[14] : i32_cut[15]]
    context_base = i32[i32_cut[15] : i32_cut[16]]
    input_source = u8[u8_cut[0] : u8_cut[1]]
    term_op = u8[u8_cut[1] : u8_cut[2]]
    predicate_missing = u8[u8_cut[2] : u8_cut[3]]
    predictor_source = u8[u8_cut[3] : u8_cut[4]]
    values = np.empty(len(constants) + len(input_slot) + len(term_op), np.float64)
    truths = np.empty(2 * (len(predicate_value) + len(node_start) - 1), np.uint8)
    reason = np.empty(offer_count, np.uint8)
    weight = np.empty(offer_count, np.float64)
    weighted = np.empty(offer_count, np.uint8)
    propensity = np.zeros(offer_count, np.float64)
    priority = np.empty(offer_count, np.float64)
    numbers = np.empty(len(predictor_slot), np.float32)
    rows = np.empty(len(predictor_slot), np.int32)
    total = np.empty(column_count, np.int32)
    best = np.empty(listed.shape[1], np.int32)
    held = np.empty(count, np.uint8)
    draw_holdout(ids, id_start, holdout_seed, holdout_rate, held)
    for i in range(count):
        told[i, TOLD_HELD] = held[i]
        told[i, TOLD_KEPT] = 0
        if held[i]:
            continue
        known = asked[i, ASKED_STATE] == _KNOWN
        surface = asked[i, ASKED_SURFACE]
        evaluate_program(
            slots[i], context[i], now_s, constants, input_slot, input_source, term_op, term_a,
            term_b, predicate_value, predicate_low, predicate_high, predicate_missing, node_start,
            node_literal, values, truths,
        )  # fmt: skip
        staying = exclude_offers(
            now_s, truths, rule_literal, treatment_index[surface], valid_from_s, valid_to_s, reason
        )
        if staying:
            row_count = select_rows(
                slots[i], context[i], surface, known, predictor_slot, predictor_source,
                profile_predictor_count, edge_start, edges, bin_count, row_start, modal_bin,
                numbers, rows,
            )  # fmt: skip
            score_rows(score_weight, rows, row_count, base, context_base, known, total)
            for o in range(offer_count):
                if reason[o] == 0:
                    propensity[o] = propensity_of(
                        o, total, known, scale, intercept, prior_logit, calibration_x,
                        calibration_y,
                    )  # fmt: skip
            weigh_context(
                truths, treatment_weight[surface], weight_offer, weight_literal, weight_factor,
                weight, weighted,
            )  # fmt: skip
            prioritise_offers(reason, propensity, weight, value, lever, priority)
            kept = rank_offers(reason, priority, asked[i, ASKED_WANTED], best)
            told[i, TOLD_KEPT] = kept
            for k in range(kept):
                o = best[k]
                listed[i, k, LISTED_OFFER] = o
                listed[i, k, LISTED_PRIORITY] = priority[o]
                listed[i, k, LISTED_PROPENSITY] = propensity[o]
                listed[i, k, LISTED_WEIGHT] = weight[o]
                listed[i, k, LISTED_WEIGHTED] = weighted[o]
        count_reasons(reason, told[i, TOLD_REASONS:])


KERNELS = (Kernel("decide_batch", decide_batch, ("told", "listed")),)
