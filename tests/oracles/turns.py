"""Slow twins of `kernels/turns`: one customer after the other, one stage after the other."""

import numpy as np

from tests.oracles import (
    arbitration,
    contact_policy,
    eligibility_planes,
    holdout,
    stocked_offers,
)
from tests.oracles.decision import check_offers, list_offers, score_offers, unpack


def check_turn(
    count, now_s, slots, context, f64, f64_cut, i32, i32_cut, u8, u8_cut, values, planes, digits,
):  # fmt: skip
    """All rules, then the first that stops each offer."""
    t = unpack(f64, f64_cut, i32, i32_cut, u8, u8_cut)
    eligibility_planes.evaluate_planes(
        count, slots, context, now_s, t.constants, t.input_slot, t.input_source, t.term_op,
        t.term_a, t.term_b, t.predicate_value, t.predicate_low, t.predicate_high,
        t.predicate_missing, t.node_start, t.node_literal, values, planes,
    )  # fmt: skip
    eligibility_planes.find_rule_reasons(planes, t.rule_literal, digits)


def decide_batch(
    count, now_s, ids, id_start, slots, context, asked, seed, held,
    holdout_seed, holdout_rate, random_seed, random_rate, exploration,
    profile_predictor_count, f64, f64_cut, i32, i32_cut, u8, u8_cut, edges, treatment_index,
    score_weight, policy,
    told, listed,
):  # fmt: skip
    """Arms, rules, contact policy, stock, scores, arbitration."""
    t = unpack(f64, f64_cut, i32, i32_cut, u8, u8_cut)
    offers = len(t.value)
    shelves = stocked_offers.find_shelves(count, held, t.shelf_place)
    arm = np.zeros(count, np.uint8)
    holdout.draw_arms(ids, id_start, holdout_seed, holdout_rate, random_seed, random_rate, arm)
    for i in range(count):
        told[i, :3] = arm[i] == 3, 0, arm[i]
        if arm[i] == 3:
            continue
        state, surface, wanted, head, reserved = asked[i]
        values = np.zeros(len(t.constants) + len(t.input_slot) + len(t.term_op))
        truths = np.zeros(2 * (len(t.predicate_value) + len(t.node_start) - 1), np.uint8)
        reason, chance = np.zeros(offers, np.uint8), np.zeros(offers)
        cells = contact_policy.unpack(policy).cap_start[-1] + 1 + offers if len(policy) else 0
        room = np.zeros(cells, np.int32)
        staying = check_offers(
            now_s, slots[i], context[i], surface, f64, f64_cut, i32, i32_cut, u8, u8_cut,
            treatment_index, values, truths, reason,
        )  # fmt: skip
        if staying and len(policy):
            staying = contact_policy.apply_policy(
                now_s, slots[i], surface, held, head, reserved, policy, reason, room
            )
        shelf = shelves[i]
        if staying and len(shelf):
            staying = stocked_offers.withhold_offers(t.shelf_place, shelf, reason)
        if staying:
            predictors = len(t.predictor_slot)
            score_offers(
                slots[i], context[i], surface, state == 1, profile_predictor_count, f64, f64_cut,
                i32, i32_cut, u8, u8_cut, edges, score_weight, reason,
                np.zeros(predictors, np.float32), np.zeros(predictors, np.int32),
                np.zeros(score_weight.shape[1], np.int32), chance,
            )  # fmt: skip
            told[i, 1] = list_offers(
                surface, wanted, arm[i], seed[i], exploration, f64, f64_cut, i32, i32_cut,
                policy, shelf, truths, chance, reason, room, np.zeros(offers),
                np.zeros(offers, np.uint8), np.zeros(offers), np.zeros(offers),
                np.zeros(listed.shape[1], np.int32), listed[i],
            )  # fmt: skip
        arbitration.count_reasons(reason, told[i, 3:])
