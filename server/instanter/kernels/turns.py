"""The whole decision in one call: for the customers of a turn, from slots to the best offers.

Stage by stage and not customer by customer: rules are evaluated for all at once, and what one
customer has fetched of the score table the next finds in the cache.
"""

import numpy as np
from numba import float64, int64, types, uint64, void

from instanter.kernels.arbitration import count_reasons
from instanter.kernels.array_types import (
    READ_F32,
    READ_F32_2D,
    READ_F64,
    READ_I16_2D,
    READ_I32,
    READ_I32_2D,
    READ_I64,
    READ_U8,
    READ_U32,
    READ_U32_2D,
    READ_U64,
    WRITE_F64_2D,
    WRITE_I32_2D,
    WRITE_I64,
    WRITE_U8,
    WRITE_U8_2D,
)
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.contact_policy import apply_policy
from instanter.kernels.decision import (
    ASKED_HEAD,
    ASKED_RESERVED,
    ASKED_STATE,
    ASKED_SURFACE,
    ASKED_WANTED,
    TOLD_ARM,
    TOLD_HELD,
    TOLD_KEPT,
    TOLD_REASONS,
    bin_customer,
    check_offers,
    judge_offers,
    list_offers,
)
from instanter.kernels.eligibility_planes import (
    PLANES_MIN,
    PLANES_WIDTH,
    evaluate_planes,
    exclude_by_digits,
    find_rule_reasons,
    read_truths,
)
from instanter.kernels.holdout import ARM_HOLDOUT, draw_arms
from instanter.kernels.packed_policy import measure_room
from instanter.kernels.propensity import score_turn
from instanter.kernels.stocked_offers import find_shelves, withhold_offers

_READ_U64_2D = types.Array(types.uint64, 2, "C", readonly=True)
_WRITE_U64_2D = types.Array(types.uint64, 2, "C")
_WRITE_F64_3D = types.Array(types.float64, 3, "C")
_PACKED = (READ_F64, READ_I64, READ_I32, READ_I64, READ_U8, READ_I64)
_KNOWN = 1
_KEPT_OUT = -1


@inner_kernel(
    void(
        int64, float64, READ_U32_2D, READ_U32_2D, *_PACKED, WRITE_F64_2D, _WRITE_U64_2D,
        _WRITE_U64_2D,
    )
)  # fmt: skip
def check_turn(
    count, now_s, slots, context, f64, f64_cut, i32, i32_cut, u8, u8_cut, values, planes, digits,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Evaluate all rules for the customers of a turn.

    Parameters
    ----------
    count, now_s, slots, context
        As in `evaluate_planes`, read-only.
    f64, f64_cut, i32, i32_cut, u8, u8_cut
        As in `decide_batch`, read-only.
    values, planes, digits
        float64[V, W], uint64[T, 2], uint64[3, O], written, as in `evaluate_planes` and
        `find_rule_reasons`.
    """
    evaluate_planes(
        count,
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
        planes,
    )
    rule_literal = i32[i32_cut[6] : i32_cut[7]].reshape((3, digits.shape[1]))
    find_rule_reasons(planes, rule_literal, digits)


@inner_kernel(
    void(
        int64, float64, READ_U32_2D, READ_U32_2D, READ_I32_2D, READ_U32, *_PACKED, READ_I16_2D,
        READ_I64, READ_F32_2D, READ_U8, _WRITE_U64_2D, WRITE_U8, WRITE_U8_2D, WRITE_I32_2D,
        WRITE_I64,
    )
)  # fmt: skip
def exclude_turn(
    count, now_s, slots, context, asked, held, f64, f64_cut, i32, i32_cut, u8, u8_cut,
    treatment_index, policy, shelves, arm, planes, truths, reason, room, staying,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Find the offers that rules, contact policy and stock leave, for the customers of a turn.

    Parameters
    ----------
    count … policy
        As in `decide_batch`, read-only.
    shelves
        float32[count, U], read-only: from `find_shelves`.
    arm
        uint8[count], read-only, from `draw_arms`.
    planes, truths
        uint64[T, 2], uint8[2 × T], written: all truths, the planes from `PLANES_MIN` customers on,
        else the truths of the one.
    reason, room
        uint8[count, O], int32[count, any], written: as in `exclude_offers` and `apply_policy`.
    staying
        int64[count], written: how many offers stay; −1 for a customer who is kept out.
    """
    several = count >= PLANES_MIN
    width = -(-count // PLANES_WIDTH) * PLANES_WIDTH if several else 1
    value_count = f64_cut[1] - f64_cut[0] + i32_cut[1] - i32_cut[0] + i32_cut[2] - i32_cut[1]
    values = np.empty((value_count, width), np.float64)
    digits = np.empty((3, treatment_index.shape[1]), np.uint64)
    if several:
        check_turn(
            count, now_s, slots, context, f64, f64_cut, i32, i32_cut, u8, u8_cut, values, planes,
            digits,
        )  # fmt: skip
    for i in range(count):
        staying[i] = _KEPT_OUT
        if arm[i] == ARM_HOLDOUT:
            continue
        surface = asked[i, ASKED_SURFACE]
        if several:
            staying[i] = exclude_by_digits(
                now_s, i, digits, treatment_index[surface], f64[f64_cut[4] : f64_cut[5]],
                f64[f64_cut[5] : f64_cut[6]], reason[i],
            )  # fmt: skip
        else:
            staying[i] = check_offers(
                now_s, slots[i], context[i], surface, f64, f64_cut, i32, i32_cut, u8, u8_cut,
                treatment_index, values.reshape(-1), truths, reason[i],
            )  # fmt: skip
        if staying[i] and len(policy):
            staying[i] = apply_policy(
                now_s, slots[i], surface, held, asked[i, ASKED_HEAD], asked[i, ASKED_RESERVED],
                policy, reason[i], room[i],
            )  # fmt: skip
        if staying[i] and shelves.shape[1]:
            staying[i] = withhold_offers(i32[i32_cut[16] : i32_cut[17]], shelves[i], reason[i])


@inner_kernel(
    void(
        int64, READ_U32_2D, READ_U32_2D, READ_I32_2D, READ_I64, int64, READ_I32, READ_I64, READ_U8,
        READ_I64, READ_F32, READ_I16_2D, WRITE_I32_2D,
    )
)  # fmt: skip
def add_up_turn(
    count, slots, context, asked, staying, profile_predictor_count, i32, i32_cut, u8, u8_cut,
    edges, score_weight, total,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Add up the scores of the customers whom offers are left for.

    Parameters
    ----------
    count … score_weight
        As in `decide_batch`, read-only; `staying`, int64[count], from `exclude_turn`.
    total
        int32[count, C], written, from `score_turn`.
    """
    predictor_count = i32_cut[10] - i32_cut[9]
    numbers = np.empty(predictor_count, np.float32)
    rows = np.empty((count, predictor_count), np.int32)
    row_count = np.empty(count, np.int64)
    known = np.empty(count, np.uint8)
    for i in range(count):
        row_count[i] = 0
        known[i] = asked[i, ASKED_STATE] == _KNOWN
        if staying[i] > 0:
            row_count[i] = bin_customer(
                slots[i], context[i], asked[i, ASKED_SURFACE], known[i] != 0,
                profile_predictor_count, i32, i32_cut, u8, u8_cut, edges, numbers, rows[i],
            )  # fmt: skip
    base, context_base = i32[i32_cut[14] : i32_cut[15]], i32[i32_cut[15] : i32_cut[16]]
    score_turn(score_weight, rows, row_count, base, context_base, known, total)


@inner_kernel(
    void(
        int64, READ_I32_2D, READ_U64, float64, READ_F64, READ_I64, READ_I32, READ_I64, READ_I64,
        READ_F32_2D, READ_U8, READ_I64, _READ_U64_2D, READ_I32_2D, WRITE_U8, WRITE_U8_2D,
        WRITE_I32_2D, WRITE_I32_2D, _WRITE_F64_3D,
    )
)  # fmt: skip
def list_turn(
    count, asked, seed, exploration, f64, f64_cut, i32, i32_cut, policy, shelves, arm, staying,
    planes, total, truths, reason, room, told, listed,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Rank the offers that stay and list the best, for the customers of a turn.

    Parameters
    ----------
    count … policy
        As in `decide_batch`, read-only.
    shelves
        float32[count, U], read-only: from `find_shelves`.
    arm, staying, planes, total
        From `draw_arms`, `exclude_turn`, `add_up_turn`, read-only.
    truths, reason, room
        uint8[2 × T], uint8[count, O], int32[count, any]: from `exclude_turn`, written over.
    told, listed
        int32[n, 17], float64[n, K, 6], written, as in `decide_batch`.
    """
    offer_count = reason.shape[1]
    weight = np.empty(offer_count, np.float64)
    weighted = np.empty(offer_count, np.uint8)
    propensity = np.zeros(offer_count, np.float64)
    priority = np.empty(offer_count, np.float64)
    score = np.empty(offer_count, np.float64)
    best = np.empty(listed.shape[1], np.int32)
    for i in range(count):
        told[i, TOLD_HELD] = arm[i] == ARM_HOLDOUT
        told[i, TOLD_KEPT] = 0
        told[i, TOLD_ARM] = arm[i]
        if arm[i] == ARM_HOLDOUT:
            continue
        if staying[i] > 0:
            if count >= PLANES_MIN:
                read_truths(i, planes, i32[i32_cut[8] : i32_cut[9]], truths)
            known = asked[i, ASKED_STATE] == _KNOWN
            judge_offers(known, f64, f64_cut, reason[i], total[i], propensity)
            told[i, TOLD_KEPT] = list_offers(
                asked[i, ASKED_SURFACE], asked[i, ASKED_WANTED], arm[i], seed[i], exploration, f64,
                f64_cut, i32, i32_cut, policy, shelves[i], truths, propensity, reason[i], room[i],
                weight, weighted, priority, score, best, listed[i],
            )  # fmt: skip
        count_reasons(reason[i], told[i, TOLD_REASONS:])


@kernel(
    void(
        int64, float64, READ_U8, READ_I32, READ_U32_2D, READ_U32_2D, READ_I32_2D, READ_U64,
        READ_U32,
        uint64, float64, uint64, float64, float64, int64, *_PACKED, READ_F32, READ_I16_2D,
        READ_I16_2D, READ_I64,
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
        uint32, read-only: the customers' contacts, see `kernels/packed_policy`; read only when
        there is a policy. Behind them, when stock tells on offers, what `find_shelves` finds.
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
        int32[n, 17], written: whether the customer is kept out; how many offers are listed; the
        arm; then offers by the first reason that stopped them, index 0 those that stay. The
        counts are not written for a customer who is kept out.
    listed
        float64[n, K, 6], written up to the offers listed, best first: index of the offer,
        priority, propensity, context weight, whether a context weight applied, and the
        probability with which it was to be ranked first, 0 when it was not.
    """
    truth_count = i32_cut[4] - i32_cut[3] + i32_cut[5] - i32_cut[4] - 1
    offer_count = treatment_index.shape[1]
    arm = np.empty(count, np.uint8)
    planes = np.empty((truth_count, 2), np.uint64)
    truths = np.empty(2 * truth_count, np.uint8)
    reason = np.empty((count, offer_count), np.uint8)
    room = np.empty((count, measure_room(policy)), np.int32)
    staying = np.empty(count, np.int64)
    total = np.empty((count, score_weight.shape[1]), np.int32)
    shelves = find_shelves(count, held, i32[i32_cut[16] : i32_cut[17]])
    draw_arms(ids, id_start, holdout_seed, holdout_rate, random_seed, random_rate, arm)
    exclude_turn(
        count, now_s, slots, context, asked, held, f64, f64_cut, i32, i32_cut, u8, u8_cut,
        treatment_index, policy, shelves, arm, planes, truths, reason, room, staying,
    )  # fmt: skip
    add_up_turn(
        count, slots, context, asked, staying, profile_predictor_count, i32, i32_cut, u8, u8_cut,
        edges, score_weight, total,
    )  # fmt: skip
    list_turn(
        count, asked, seed, exploration, f64, f64_cut, i32, i32_cut, policy, shelves, arm, staying,
        planes, total, truths, reason, room, told, listed,
    )  # fmt: skip


KERNELS = (
    Kernel("check_turn", check_turn, ("values", "planes", "digits")),
    Kernel("decide_batch", decide_batch, ("told", "listed")),
)
