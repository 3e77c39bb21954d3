"""Slow twins of `kernels/decision`: one customer after the other, one stage after the other."""

import itertools
from types import SimpleNamespace

from instanter.kernels.decision import PACKED_F64, PACKED_I32, PACKED_U8
from tests.oracles import (
    arbitration,
    binning,
    contact_policy,
    eligibility,
    stocked_offers,
)
from tests.oracles import exploration as chances
from tests.oracles.propensity import propensity_of, score_rows


def unpack(f64, f64_cut, i32, i32_cut, u8=None, u8_cut=None):
    """Take packed arrays apart again, by name."""
    found = SimpleNamespace()
    for names, packed, cut in (
        (PACKED_F64, f64, f64_cut),
        (PACKED_I32, i32, i32_cut),
        (PACKED_U8, u8, u8_cut),
    ):
        for n, name in enumerate(names if packed is not None else ()):
            setattr(found, name, packed[cut[n] : cut[n + 1]])
    offer_count, column_count = len(found.value), len(found.scale)
    found.calibration_x = found.calibration_x.reshape(column_count, -1)
    found.calibration_y = found.calibration_y.reshape(column_count, -1)
    found.treatment_weight = found.treatment_weight.reshape(-1, offer_count)
    found.rule_literal = found.rule_literal.reshape(3, offer_count)
    return found


def check_offers(
    now_s, slots, context, surface, f64, f64_cut, i32, i32_cut, u8, u8_cut, treatment_index,
    values, truths, reason,
):  # fmt: skip
    """All rules, then the first reason that stops each offer."""
    t = unpack(f64, f64_cut, i32, i32_cut, u8, u8_cut)
    eligibility.evaluate_program(
        slots, context, now_s, t.constants, t.input_slot, t.input_source, t.term_op, t.term_a,
        t.term_b, t.predicate_value, t.predicate_low, t.predicate_high, t.predicate_missing,
        t.node_start, t.node_literal, values, truths,
    )  # fmt: skip
    return arbitration.exclude_offers(
        now_s,
        truths,
        t.rule_literal,
        treatment_index[surface],
        t.valid_from_s,
        t.valid_to_s,
        reason,
    )


def bin_customer(
    slots, context, surface, known, profile_predictor_count, i32, i32_cut, u8, u8_cut, edges,
    numbers, rows,
):  # fmt: skip
    """Rows of the score table that differ from the base."""
    i32_of = dict(zip(PACKED_I32, _cut(i32, i32_cut), strict=False))
    u8_of = dict(zip(PACKED_U8, _cut(u8, u8_cut), strict=False))
    return binning.select_rows(
        slots, context, surface, known, i32_of["predictor_slot"], u8_of["predictor_source"],
        profile_predictor_count, i32_of["edge_start"], edges, i32_of["bin_count"],
        i32_of["row_start"], i32_of["modal_bin"], numbers, rows,
    )  # fmt: skip


def judge_offers(known, f64, f64_cut, reason, total, propensity):
    """Probabilities of the offers that stay."""
    f64_of = dict(zip(PACKED_F64, _cut(f64, f64_cut), strict=False))
    columns = len(f64_of["scale"])
    for o in range(len(reason)):
        if reason[o] == 0:
            propensity[o] = propensity_of(
                o, total, known, f64_of["scale"], f64_of["intercept"], f64_of["prior_logit"],
                f64_of["calibration_x"].reshape(columns, -1),
                f64_of["calibration_y"].reshape(columns, -1),
            )  # fmt: skip


def _cut(packed, cut):
    return [packed[start:end] for start, end in itertools.pairwise(cut)]


def score_offers(
    slots, context, surface, known, profile_predictor_count, f64, f64_cut, i32, i32_cut, u8,
    u8_cut, edges, score_weight, reason, numbers, rows, total, propensity,
):  # fmt: skip
    """Bins, rows, sums, probabilities."""
    t = unpack(f64, f64_cut, i32, i32_cut, u8, u8_cut)
    row_count = bin_customer(
        slots, context, surface, known, profile_predictor_count, i32, i32_cut, u8, u8_cut, edges,
        numbers, rows,
    )  # fmt: skip
    score_rows(score_weight, rows, row_count, t.base, t.context_base, known, total)
    judge_offers(known, f64, f64_cut, reason, total, propensity)


def list_offers(
    surface, wanted, arm, seed, exploration, f64, f64_cut, i32, i32_cut, policy, shelf, truths,
    propensity, reason, room, weight, weighted, priority, score, best, listed,
):  # fmt: skip
    """Weights, priorities, chance where it has a say, the best in order."""
    t = unpack(f64, f64_cut, i32, i32_cut)
    arbitration.weigh_context(
        truths, t.treatment_weight[surface], t.weight_offer, t.weight_literal, t.weight_factor,
        weight, weighted,
    )  # fmt: skip
    if len(shelf):
        stocked_offers.weigh_stock(t.shelf_place, shelf, reason, weight)
    kept = arbitration.prioritise_offers(reason, propensity, weight, t.value, t.lever, priority)
    explores = arm != 2 and exploration > 0
    score[:] = priority
    if arm == 2:
        chances.shuffle_offers(seed, reason, score)
    elif explores:
        chances.explore_offers(seed, exploration, t.doubt, reason, propensity, priority, score)
    if len(policy):
        count = contact_policy.list_within_caps(policy, surface, wanted, room, score, reason, best)
    else:
        count = arbitration.rank_offers(reason, score, wanted, best)
    chance = 1 / kept if arm == 2 and kept else 1.0
    if explores and count:
        chance = chances.find_first_chance(best[0], exploration, t.doubt, propensity, priority)
    for k, o in enumerate(best[:count]):
        choice = chance if k == 0 else 0.0
        listed[k] = o, priority[o], propensity[o], weight[o], weighted[o], choice
    return count
