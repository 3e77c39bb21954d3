"""Slow twin of `kernels/decision`: one customer after the other, one stage after the other."""

import numpy as np

from tests.oracles import arbitration, binning, eligibility, holdout, propensity


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
):  # fmt: skip
    """Holdout, rules, scores, arbitration."""
    holdout.draw_holdout(ids, id_start, holdout_seed, holdout_rate, held[:count])
    for i in range(count):
        kept[i] = 0
        if held[i]:
            continue
        values = np.full(len(constants) + len(input_slot) + len(term_op), np.nan)
        truths = np.zeros(2 * (len(predicate_value) + len(node_start) - 1), np.uint8)
        eligibility.evaluate_program(
            slots[i], context[i], now_s, constants, input_slot, input_source, term_op, term_a,
            term_b, predicate_value, predicate_low, predicate_high, predicate_missing, node_start,
            node_literal, values, truths,
        )  # fmt: skip
        at, known = surface[i], state[i] == 1
        offers = range(len(value))
        reason = np.zeros(len(value), np.uint8)
        arbitration.exclude_offers(
            now_s, truths, rule_literal, treatment_index[at], valid_from_s, valid_to_s, reason
        )
        rows = np.zeros(len(predictor_slot), np.int32)
        row_count = binning.select_rows(
            slots[i], context[i], at, known, predictor_slot, predictor_source,
            profile_predictor_count, edge_start, edges, bin_count, row_start, modal_bin,
            np.zeros(len(predictor_slot), np.float32), rows,
        )  # fmt: skip
        total = np.zeros(len(base), np.int32)
        propensity.score_rows(score_weight, rows, row_count, base, context_base, known, total)
        chance = np.array(
            [
                propensity.propensity_of(
                    o, total, known, scale, intercept, prior_logit, calibration_x, calibration_y
                )
                for o in offers
            ]
        )
        weight, weighted = np.zeros(len(value)), np.zeros(len(value), np.uint8)
        arbitration.weigh_context(
            truths, treatment_weight[at], weight_offer, weight_literal, weight_factor,
            weight, weighted,
        )  # fmt: skip
        priority = np.zeros(len(value))
        arbitration.prioritise_offers(reason, chance, weight, value, lever, priority)
        kept[i] = arbitration.rank_offers(reason, priority, wanted[i], best[i])
        for k in range(kept[i]):
            o = best[i, k]
            best_priority[i, k], best_propensity[i, k] = priority[o], chance[o]
            best_weight[i, k], best_weighted[i, k] = weight[o], weighted[o]
        arbitration.count_reasons(reason, exclusions[i])
