"""Arbitration: which of the offers stay, what each is worth now, and the best of them in order.

Every kernel here works on one customer. Offers are numbered 0 to O − 1 in the byte order of their
names; the reasons are the numbers of the contract's `ExclusionReason`.
"""

import numpy as np
from numba import float64, int64, types, void

from instanter.kernels.array_types import (
    READ_F64,
    READ_I32,
    READ_I32_2D,
    READ_U8,
    WRITE_F64,
    WRITE_I32,
    WRITE_U8,
)
from instanter.kernels.compilation import Kernel, inner_kernel

TRUTH_UNKNOWN = 1
TRUTH_TRUE = 2

REASON_NONE = 0
REASON_NOT_CURRENT = 1
REASON_NO_TREATMENT = 2
REASON_NOT_ELIGIBLE = 3
REASON_NOT_APPLICABLE = 4
REASON_NOT_SUITABLE = 5
REASON_ATTRIBUTE_MISSING = 6
REASON_NO_PRIORITY = 7
REASON_NO_CONSENT = 8
REASON_QUIET_HOURS = 9
REASON_CAPPED = 10
REASON_COOLING_OFF = 11
REASON_OUT_OF_STOCK = 12
REASON_STOCK_UNKNOWN = 13
REASON_COUNT = 14

_READ_I16 = types.Array(types.int16, 1, "C", readonly=True)


@inner_kernel(int64(float64, READ_U8, READ_I32_2D, _READ_I16, READ_F64, READ_F64, WRITE_U8))
def exclude_offers(now_s, truth, rule_literal, treatment_index, valid_from_s, valid_to_s, reason):  # type: ignore[no-untyped-def]
    """Find the first reason that stops each offer.

    Parameters
    ----------
    now_s
        The decision's time, seconds since 1970.
    truth
        uint8[T], read-only: truth of each literal, 0 false, 1 unknown, 2 true.
    rule_literal
        int32[3, O], read-only: literals of eligibility, applicability, suitability; −1: no rule.
    treatment_index
        int16[O], read-only: the treatment on this surface, −1 for none.
    valid_from_s, valid_to_s
        float64[O], read-only: valid from (included) to (excluded).
    reason
        uint8[O], written: 0 when the offer stays, else the first reason, in the order current,
        treatment, eligibility, applicability, suitability. A rule that is unknown stops the offer
        with ATTRIBUTE_MISSING: what cannot be decided is not allowed.

    Returns
    -------
    int
        How many offers stay.
    """
    kept = 0
    for o in range(reason.shape[0]):
        found = REASON_NONE
        if now_s < valid_from_s[o] or now_s >= valid_to_s[o]:
            found = REASON_NOT_CURRENT
        elif treatment_index[o] < 0:
            found = REASON_NO_TREATMENT
        else:
            for stage in range(3):
                literal = rule_literal[stage, o]
                if literal >= 0:
                    held = truth[literal]
                    if held != TRUTH_TRUE:
                        unknown = held == TRUTH_UNKNOWN
                        found = REASON_ATTRIBUTE_MISSING if unknown else REASON_NOT_ELIGIBLE + stage
                        break
        reason[o] = found
        kept += found == REASON_NONE
    return kept


@inner_kernel(void(READ_U8, READ_F64, READ_I32, READ_I32, READ_F64, WRITE_F64, WRITE_U8))
def weigh_context(  # type: ignore[no-untyped-def]
    truth, treatment_weight, weight_offer, weight_literal, weight_factor, weight, weighted
):
    """Multiply each offer's treatment weight by the context weights whose condition is true.

    Parameters
    ----------
    truth
        uint8[T], read-only.
    treatment_weight
        float64[O], read-only, ≥ 0.
    weight_offer, weight_literal, weight_factor
        int32[W], int32[W], float64[W], read-only: offer, condition, factor ≥ 0. A condition that
        is unknown does not apply.
    weight
        float64[O], written: the product.
    weighted
        uint8[O], written: 1 where at least one context weight applied.
    """
    for o in range(weight.shape[0]):
        weight[o] = treatment_weight[o]
        weighted[o] = 0
    for w in range(weight_offer.shape[0]):
        if truth[weight_literal[w]] == TRUTH_TRUE:
            o = weight_offer[w]
            weight[o] *= weight_factor[w]
            weighted[o] = 1


@inner_kernel(int64(WRITE_U8, READ_F64, READ_F64, READ_F64, READ_F64, WRITE_F64))
def prioritise_offers(reason, propensity, weight, value, lever, priority):  # type: ignore[no-untyped-def]
    """Compute priority = propensity × context weight × value × lever of each offer that stays.

    Parameters
    ----------
    reason
        uint8[O], read and written: 0 for offers that stay; becomes NO_PRIORITY where the priority
        is not above zero.
    propensity, weight, value, lever
        float64[O], read-only: probability; ≥ 0; major units ≥ 0; ≥ 0. Only read where the offer
        stays.
    priority
        float64[O], written: the priority, 0 where the offer does not stay.

    Returns
    -------
    int
        How many offers stay.
    """
    kept = 0
    for o in range(reason.shape[0]):
        priority[o] = 0.0
        if reason[o] == REASON_NONE:
            found = propensity[o] * weight[o] * value[o] * lever[o]
            if found > 0.0:
                priority[o] = found
                kept += 1
            else:
                reason[o] = REASON_NO_PRIORITY
    return kept


@inner_kernel(int64(READ_U8, READ_F64, int64, WRITE_I32))
def rank_offers(reason, priority, wanted, best):  # type: ignore[no-untyped-def]
    """List the best offers, highest priority first; equal priorities in the order of their names.

    Parameters
    ----------
    reason
        uint8[O], read-only: only offers with 0 are ranked.
    priority
        float64[O], read-only, no NaN among those.
    wanted
        How many to list at most, ≤ len(best).
    best
        int32[≥ wanted], written: indices of the offers; beyond the returned count as it was.

    Returns
    -------
    int
        How many offers are listed.
    """
    count = 0
    for o in range(reason.shape[0]):
        if reason[o] != REASON_NONE:
            continue
        at = count
        while at > 0 and priority[best[at - 1]] < priority[o]:
            at -= 1
        if at >= wanted:
            continue
        if count < wanted:
            count += 1
        for j in range(count - 1, at, -1):
            best[j] = best[j - 1]
        best[at] = o
    return count


@inner_kernel(void(READ_U8, WRITE_I32))
def count_reasons(reason, count):  # type: ignore[no-untyped-def]
    """Count the offers of each reason.

    Parameters
    ----------
    reason
        uint8[O], read-only: 0 to 13.
    count
        int32[14], written.
    """
    for r in range(count.shape[0]):
        count[r] = 0
    for o in range(reason.shape[0]):
        count[reason[o]] += np.int32(1)


KERNELS = (
    Kernel("exclude_offers", exclude_offers, ("reason",)),
    Kernel("weigh_context", weigh_context, ("weight", "weighted")),
    Kernel("prioritise_offers", prioritise_offers, ("reason", "priority")),
    Kernel("rank_offers", rank_offers, ("best",)),
    Kernel("count_reasons", count_reasons, ("count",)),
)
