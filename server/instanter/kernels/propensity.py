"""Propensity: from the rows a customer selects to the probability of a positive response."""

import math

import numpy as np
from numba import boolean, float64, int64, types, void

from instanter.kernels.array_types import (
    READ_F64,
    READ_F64_2D,
    READ_I32,
    READ_I32_2D,
    READ_I64,
    READ_U8,
    WRITE_F64,
    WRITE_I32,
    WRITE_I32_2D,
)
from instanter.kernels.calibration import calibrate
from instanter.kernels.compilation import Kernel, inner_kernel

_READ_I16_2D = types.Array(types.int16, 2, "C", readonly=True)

BLOCK_SIZE_BYTES = 512 << 10
"""Part of the score table that customers of a turn add up rows of, one after the other, before the
next part: what one of them has fetched, the others find in the second-level cache. Measured with 17
customers and a table of 4.6 MB: whole table 9.1 µs a customer, 1 MB 7.7, 0.5 MB 7.6, 0.1 MB 9.0."""


@inner_kernel(void(_READ_I16_2D, READ_I32, int64, READ_I32, READ_I32, boolean, WRITE_I32))
def score_rows(weight, rows, row_count, base, context_base, known, total):  # type: ignore[no-untyped-def]
    """Add up the selected rows of the score table, for all offers at once.

    Eight rows a pass, so that a total is loaded and stored once for eight additions. Measured
    with 1000 rows × 224 columns drawn from 11,000 rows, all bins unusual (np.copyto of 800 kB:
    18.0 µs): one row a pass 22.7 µs, four 12.2, eight 10.5, twelve 10.2, sixteen 10.3; sums of
    two or four rows kept in 16 bits 10.3 to 12.6 for less precision. From a table that fits the
    second-level cache eight rows take 7.0 µs, so what is left is memory.

    Parameters
    ----------
    weight
        int16[R, C], read-only.
    rows, row_count
        int32[≥ row_count], read-only: the selected rows, see `kernels/binning.select_rows`.
    base, context_base
        int32[C], read-only, as in `ScoreTable`.
    known
        Whether there is a profile; without one `base` is left out.
    total
        int32[C], written: `base` + `context_base` + Σ `weight[row]`.
    """
    for c in range(len(total)):
        total[c] = context_base[c] + (base[c] if known else 0)
    i = 0
    while i + 8 <= row_count:
        r0, r1, r2, r3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        r4, r5, r6, r7 = rows[i + 4], rows[i + 5], rows[i + 6], rows[i + 7]
        for c in range(len(total)):
            total[c] += (
                np.int32(weight[r0, c])
                + np.int32(weight[r1, c])
                + np.int32(weight[r2, c])
                + np.int32(weight[r3, c])
                + np.int32(weight[r4, c])
                + np.int32(weight[r5, c])
                + np.int32(weight[r6, c])
                + np.int32(weight[r7, c])
            )
        i += 8
    while i < row_count:
        row = rows[i]
        for c in range(len(total)):
            total[c] += np.int32(weight[row, c])
        i += 1


@inner_kernel(void(_READ_I16_2D, READ_I32_2D, READ_I64, READ_I32, READ_I32, READ_U8, WRITE_I32_2D))
def score_turn(weight, rows, row_count, base, context_base, known, total):  # type: ignore[no-untyped-def]
    """Add up the selected rows for the customers of a turn: for each what `score_rows` does.

    Parameters
    ----------
    weight
        int16[R, C], read-only.
    rows, row_count
        int32[n, P], int64[n], read-only: each customer's rows, rising.
    base, context_base
        int32[C], read-only, as in `ScoreTable`.
    known
        uint8[n], read-only: whether there is a profile.
    total
        int32[n, C], written.
    """
    customers = len(row_count)
    at = np.zeros(customers, np.int64)
    for i in range(customers):
        own_total = total[i]
        for c in range(len(own_total)):
            own_total[c] = context_base[c] + (base[c] if known[i] else 0)
    step = max(BLOCK_SIZE_BYTES // (2 * weight.shape[1]), 1)
    for block in range(0, weight.shape[0], step):
        stop = block + step
        for i in range(customers):
            own, own_total, k = rows[i], total[i], at[i]
            # Eight at a time, the last of them perhaps beyond the block: that costs less than
            # adding up the rest of each block one by one.
            while k + 8 <= row_count[i] and own[k] < stop:
                r0, r1, r2, r3 = own[k], own[k + 1], own[k + 2], own[k + 3]
                r4, r5, r6, r7 = own[k + 4], own[k + 5], own[k + 6], own[k + 7]
                for c in range(len(own_total)):
                    own_total[c] += (
                        np.int32(weight[r0, c])
                        + np.int32(weight[r1, c])
                        + np.int32(weight[r2, c])
                        + np.int32(weight[r3, c])
                        + np.int32(weight[r4, c])
                        + np.int32(weight[r5, c])
                        + np.int32(weight[r6, c])
                        + np.int32(weight[r7, c])
                    )
                k += 8
            at[i] = k
    for i in range(customers):
        own, own_total = rows[i], total[i]
        for k in range(at[i], row_count[i]):
            row = own[k]
            for c in range(len(own_total)):
                own_total[c] += np.int32(weight[row, c])


@inner_kernel(
    float64(
        int64, READ_I32, boolean, READ_F64, READ_F64, READ_F64, READ_F64_2D, READ_F64_2D,
    )
)  # fmt: skip
def propensity_of(  # type: ignore[no-untyped-def]
    column, total, known, scale, intercept, prior_logit, calibration_x, calibration_y
):
    """Turn one offer's total into its calibrated propensity.

    Parameters
    ----------
    column
        The offer.
    total
        int32[C], read-only, from `score_rows`.
    known
        Whether there is a profile: it decides between `intercept` and `prior_logit`.
    scale, intercept, prior_logit, calibration_x, calibration_y
        As in `ScoreTable`, read-only.

    Returns
    -------
    float
        Probability of a positive response, in (0, 1).
    """
    raw = scale[column] * total[column] + (intercept[column] if known else prior_logit[column])
    logit = calibrate(raw, column, calibration_x, calibration_y)
    # Beyond 30 a float64 probability is so near to 1 that ranking by it means nothing.
    logit = min(max(logit, -30.0), 30.0)
    return 1.0 / (1.0 + math.exp(-logit))


@inner_kernel(
    void(
        READ_U8, READ_I32, boolean, READ_F64, READ_F64, READ_F64, READ_F64_2D, READ_F64_2D,
        WRITE_F64,
    )
)  # fmt: skip
def find_propensities(  # type: ignore[no-untyped-def]
    reason, total, known, scale, intercept, prior_logit, calibration_x, calibration_y, propensity
):
    """Turn the totals of the offers that stay into their propensities.

    Parameters
    ----------
    reason
        uint8[O], read-only: 0 for offers that stay.
    total … calibration_y
        As in `propensity_of`, read-only.
    propensity
        float64[O], written where the offer stays.
    """
    for o in range(len(reason)):
        if reason[o] == 0:
            propensity[o] = propensity_of(
                o, total, known, scale, intercept, prior_logit, calibration_x, calibration_y
            )


KERNELS = (
    Kernel("score_rows", score_rows, ("total",)),
    Kernel("score_turn", score_turn, ("total",)),
    Kernel("find_propensities", find_propensities, ("propensity",)),
    Kernel("propensity_of", propensity_of, ()),
)
