"""Slow twin of `kernels/decision`: one customer after the other, one stage after the other."""

from types import SimpleNamespace

import numpy as np

from instanter.kernels.decision import PACKED_F64, PACKED_I32, PACKED_U8
from tests.oracles import arbitration, binning, eligibility, holdout, propensity


def unpack(names, packed, cut):
    """Take packed arrays apart again, by name."""
    return {name: packed[cut[n] : cut[n + 1]] for n, name in enumerate(names)}


def decide_batch(
    count, now_s, ids, id_start, slots, context, asked,
    holdout_seed, holdout_rate, profile_predictor_count, f64, i32, u8, f64_cut, i32_cut, u8_cut,
    edges, treatment_index, score_weight,
    told, listed,
):  # fmt: skip
    """Holdout, rules, scores, arbitration."""
    t = SimpleNamespace(
        **unpack(PACKED_F64, f64, f64_cut),
        **unpack(PACKED_I32, i32, i32_cut),
        **unpack(PACKED_U8, u8, u8_cut),
    )
    offer_count, column_count = len(t.value), len(t.scale)
    t.calibration_x = t.calibration_x.reshape(column_count, -1)
    t.calibration_y = t.calibration_y.reshape(column_count, -1)
    t.treatment_weight = t.treatment_weight.reshape(-1, offer_count)
    t.rule_literal = t.rule_literal.reshape(3, offer_count)
    held = np.zeros(count, np.uint8)
    holdout.draw_holdout(ids, id_start, holdout_seed, holdout_rate, held)
    for i in range(count):
        told[i, 0], told[i, 1] = held[i], 0
        if held[i]:
            continue
        state, surface, wanted = asked[i]
        truths = np.zeros(2 * (len(t.predicate_value) + len(t.node_start) - 1), np.uint8)
        eligibility.evaluate_program(
            slots[i], context[i], now_s, t.constants, t.input_slot, t.input_source, t.term_op,
            t.term_a, t.term_b, t.predicate_value, t.predicate_low, t.predicate_high,
            t.predicate_missing, t.node_start, t.node_literal,
            np.full(len(t.constants) + len(t.input_slot) + len(t.term_op), np.nan), truths,
        )  # fmt: skip
        reason = np.zeros(offer_count, np.uint8)
        arbitration.exclude_offers(
            now_s, truths, t.rule_literal, treatment_index[surface], t.valid_from_s, t.valid_to_s,
            reason,
        )  # fmt: skip
        rows = np.zeros(len(t.predictor_slot), np.int32)
        row_count = binning.select_rows(
            slots[i], context[i], surface, state == 1, t.predictor_slot, t.predictor_source,
            profile_predictor_count, t.edge_start, edges, t.bin_count, t.row_start, t.modal_bin,
            np.zeros(len(t.predictor_slot), np.float32), rows,
        )  # fmt: skip
        total = np.zeros(column_count, np.int32)
        propensity.score_rows(
            score_weight, rows, row_count, t.base, t.context_base, state == 1, total
        )
        chance = np.array(
            [
                propensity.propensity_of(
                    o, total, state == 1, t.scale, t.intercept, t.prior_logit, t.calibration_x,
                    t.calibration_y,
                )
                for o in range(offer_count)
            ]
        )  # fmt: skip
        weight, weighted = np.zeros(offer_count), np.zeros(offer_count, np.uint8)
        arbitration.weigh_context(
            truths, t.treatment_weight[surface], t.weight_offer, t.weight_literal,
            t.weight_factor, weight, weighted,
        )  # fmt: skip
        priority, best = np.zeros(offer_count), np.zeros(listed.shape[1], np.int32)
        arbitration.prioritise_offers(reason, chance, weight, t.value, t.lever, priority)
        told[i, 1] = arbitration.rank_offers(reason, priority, wanted, best)
        for k, o in enumerate(best[: told[i, 1]]):
            listed[i, k] = o, priority[o], chance[o], weight[o], weighted[o]
        arbitration.count_reasons(reason, told[i, 2:])
