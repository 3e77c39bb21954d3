"""The whole decision in one call: for each customer of a turn, from slots to the best offers."""

import numpy as np
from numba import float64, int64, types, uint64, void

from instanter.kernels.arbitration import (
    count_reasons,
    exclude_offers,
    prioritise_offers,
    rank_offers,
    weigh_context,
)
from instanter.kernels.array_types import (
    READ_F32,
    READ_F64,
    READ_F64_2D,
    READ_I32,
    READ_I32_2D,
    READ_U8,
    READ_U32_2D,
    WRITE_F64_2D,
    WRITE_I32,
    WRITE_I32_2D,
    WRITE_U8,
    WRITE_U8_2D,
)
from instanter.kernels.binning import select_rows
from instanter.kernels.compilation import Kernel, kernel
from instanter.kernels.eligibility import evaluate_program
from instanter.kernels.holdout import draw_holdout
from instanter.kernels.propensity import propensity_of, score_rows

_READ_I16_2D = types.Array(types.int16, 2, "C", readonly=True)
_KNOWN = 1

_TURN = (
    int64, float64, READ_U8, READ_I32, READ_U32_2D, READ_U8, READ_U32_2D, READ_I32, READ_I32,
)  # fmt: skip
_CATALOGUE = (
    uint64, float64,
    READ_F64, READ_I32, READ_U8, READ_U8, READ_I32, READ_I32,
    READ_I32, READ_F64, READ_F64, READ_U8, READ_I32, READ_I32,
    READ_I32_2D, READ_I32, READ_I32, READ_F64, READ_F64, READ_F64, READ_F64, READ_F64,
    _READ_I16_2D, READ_F64_2D,
)  # fmt: skip
_SCORES = (
    READ_I32, READ_U8, int64, READ_I32, READ_F32, READ_I32, READ_I32, READ_I32,
    _READ_I16_2D, READ_I32, READ_I32, READ_F64, READ_F64, READ_F64, READ_F64_2D, READ_F64_2D,
)  # fmt: skip
_ANSWERS = (
    WRITE_U8, WRITE_I32, WRITE_I32_2D, WRITE_F64_2D, WRITE_F64_2D, WRITE_F64_2D, WRITE_U8_2D,
    WRITE_I32_2D,
)  # fmt: skip


@kernel(void(*_TURN, *_CATALOGUE, *_SCORES, *_ANSWERS))
def decide_batch(
    count, now_s, ids, id_start, slots, state, context, surface, wanted,
    holdout_seed, holdout_rate,
    constants, input_slot, input_source, term_op, term_a, term_b,
    predicate_value, predicate_low, predicate_high, predicate_missing, node_start, node_literal,
    rule_literal, weight_offer, weight_literal, weight_factor,
    valid_from_s, valid_to_s, value, lever, treatment_index, treatment_weight,
    predictor_slot, predictor_source, profile_predictor_count, edge_start, edges, bin_count,
    row_start, modal_bin,
    score_weight, base, context_base, scale, intercept, prior_logit, calibration_x, calibration_y,
    held, kept, best, best_priority, best_propensity, best_weight, best_weighted, exclusions,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Decide for each customer of a turn.

    Propensities are computed only for offers that stay, and not at all when none stays or the
    customer is kept out: of 200 offers a rule set often leaves 50, which saves a quarter.

    Parameters
    ----------
    count, now_s
        Customers of this turn, ≤ the rows of each array; the decision's time, seconds since 1970.
    ids, id_start
        uint8[B], int32[count + 1], read-only: the customers' ids, one after the other.
    slots, state
        uint32[n, S], uint8[n], read-only: profile slots, all missing where there is none; 1 where
        the profile is known.
    context, surface, wanted
        uint32[n, X], int32[n], int32[n], read-only: context slots, surface index, offers wanted.
    holdout_seed, holdout_rate
        As in `draw_holdout`.
    constants … node_literal
        `RuleProgram`, read-only.
    rule_literal … treatment_weight
        `CompiledCatalogue`, read-only.
    predictor_slot … calibration_y
        `ScoreTable`, read-only; `score_weight` is its `weight`.
    held, kept
        uint8[n], int32[n], written: whether the customer is kept out; how many offers are listed.
    best, best_priority, best_propensity, best_weight, best_weighted
        int32, float64, float64, float64, uint8, all [n, K], written up to `kept`: the listed
        offers, best first, their priority, propensity, context weight, and whether a context
        weight applied.
    exclusions
        int32[n, 8], written: offers by the first reason that stopped them; index 0 counts those
        that stay.
    """
    offer_count = len(value)
    column_count = len(base)
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
    draw_holdout(ids, id_start, holdout_seed, holdout_rate, held[:count])
    for i in range(count):
        kept[i] = 0
        if held[i]:
            continue
        known = state[i] == _KNOWN
        at = surface[i]
        evaluate_program(
            slots[i], context[i], now_s, constants, input_slot, input_source, term_op, term_a,
            term_b, predicate_value, predicate_low, predicate_high, predicate_missing, node_start,
            node_literal, values, truths,
        )  # fmt: skip
        staying = exclude_offers(
            now_s, truths, rule_literal, treatment_index[at], valid_from_s, valid_to_s, reason
        )
        if staying:
            row_count = select_rows(
                slots[i], context[i], at, known, predictor_slot, predictor_source,
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
                truths, treatment_weight[at], weight_offer, weight_literal, weight_factor, weight,
                weighted,
            )  # fmt: skip
            prioritise_offers(reason, propensity, weight, value, lever, priority)
            kept[i] = rank_offers(reason, priority, wanted[i], best[i])
            for k in range(kept[i]):
                o = best[i, k]
                best_priority[i, k] = priority[o]
                best_propensity[i, k] = propensity[o]
                best_weight[i, k] = weight[o]
                best_weighted[i, k] = weighted[o]
        count_reasons(reason, exclusions[i])


KERNELS = (
    Kernel(
        "decide_batch",
        decide_batch,
        (
            "held", "kept", "best", "best_priority", "best_propensity", "best_weight",
            "best_weighted", "exclusions",
        ),
    ),
)  # fmt: skip
