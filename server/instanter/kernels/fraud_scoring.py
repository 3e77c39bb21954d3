"""The rules of the check at the till in one pass: which fire, their points, the worst of them.

All rules are one program (`kernels/eligibility`), evaluated whole; what is missing makes a rule
unknown, and only a rule that is true fires.

Measured on a busy core, the call from Python included: 1,000 rules of 4 comparisons 12.6 µs while
one transaction repeats; about twice that between different ones.
"""

import numpy as np
from numba import float64, int64, void

from instanter.kernels.array_types import (
    READ_F64,
    READ_I32,
    READ_I64,
    READ_U8,
    READ_U32,
    WRITE_F32,
    WRITE_F64,
    WRITE_I32,
    WRITE_U8,
)
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.eligibility import evaluate_program

POINTS = 0
SEVERITY = 1
TOTALS = 2

_TRUE = 2
_MISSING_CODE = np.uint32(0xFFFF_FFFF)


@inner_kernel(
    int64(
        READ_U8, READ_I32, READ_F64, READ_U8, READ_F64, READ_F64, READ_U8, float64, WRITE_I32,
        WRITE_F64,
    )
)  # fmt: skip
def find_fired(
    truths, literal, points, severity, valid_from_s, valid_to_s, silent, time_s, fired, totals
):
    """Write which rules fire and what they add up to, and return how many fire.

    Parameters
    ----------
    truths
        uint8[any], read-only: the truth of each literal, 2 true.
    literal, points, severity, valid_from_s, valid_to_s, silent
        int32[R], float64[R], uint8[R], float64[R], float64[R], uint8[R], read-only: each rule's
        literal, points, disposition (0 for none), times of validity in seconds since 1970 (from
        included, to excluded), and whether it is only reported.
    time_s
        The transaction's time, seconds since 1970.
    fired
        int32[≥ R], written: for each rule that fires its index, and R more for one that is silent.
    totals
        float64[2], written: `POINTS`, the sum over those that are not silent, and `SEVERITY`,
        the greatest disposition among them; both 0 without any.
    """
    rules = len(literal)
    count = 0
    total = 0.0
    worst = np.int64(0)
    for r in range(rules):
        is_valid = (time_s >= valid_from_s[r]) & (time_s < valid_to_s[r])
        if truths[literal[r]] == _TRUE and is_valid:
            if silent[r]:
                fired[count] = np.int32(r + rules)
            else:
                fired[count] = np.int32(r)
                total += points[r]
                worst = max(worst, np.int64(severity[r]))
            count += 1
    totals[POINTS] = total
    totals[SEVERITY] = np.float64(worst)
    return count


@kernel(
    int64(
        READ_U32, READ_U32, float64, READ_F64, READ_I32, READ_U8, READ_I64,
        READ_I32, READ_F64, READ_U8, READ_F64, READ_F64, READ_U8,
        WRITE_F64, WRITE_U8, WRITE_I32, WRITE_F64,
    )
)  # fmt: skip
def score_rules(
    profile,
    figures,
    time_s,
    f64,
    i32,
    u8,
    program_cut,
    literal,
    points,
    severity,
    valid_from_s,
    valid_to_s,
    silent,
    values,
    truths,
    fired,
    totals,
):
    """Evaluate all rules on one transaction, and return how many fire.

    Parameters
    ----------
    profile, figures
        uint32[any], read-only: the customer's attributes, empty when unknown or not needed; the
        transaction's figures.
    time_s
        Its time, seconds since 1970.
    f64, i32, u8, program_cut
        float64, int32, uint8, int64[26], read-only: the program's arrays, and where each of the
        twelve starts and ends, as in `kernels/derived_state.apply_events`.
    literal, points, severity, valid_from_s, valid_to_s, silent, fired, totals
        As in `find_fired`.
    values, truths
        float64, uint8: scratch of the sizes that the program needs, written.
    """
    cut = program_cut
    evaluate_program(
        profile, figures, time_s,
        f64[cut[0] : cut[12]], i32[cut[1] : cut[13]], u8[cut[2] : cut[14]],
        u8[cut[3] : cut[15]], i32[cut[4] : cut[16]], i32[cut[5] : cut[17]],
        i32[cut[6] : cut[18]], f64[cut[7] : cut[19]], f64[cut[8] : cut[20]],
        u8[cut[9] : cut[21]], i32[cut[10] : cut[22]], i32[cut[11] : cut[23]],
        values, truths,
    )  # fmt: skip
    return find_fired(
        truths, literal, points, severity, valid_from_s, valid_to_s, silent, time_s, fired, totals
    )


@kernel(void(READ_U32, READ_I32, READ_U8, WRITE_F32))
def gather_features(figures, slot, is_code, features):
    """Write what the model looks at as numbers.

    Parameters
    ----------
    figures
        uint32[F], read-only.
    slot, is_code
        int32[N], uint8[N], read-only: the slot of each feature, and whether it holds a uint32.
    features
        float32[N], written; NaN where the figure is missing.
    """
    numbers = figures.view(np.float32)
    for i in range(len(slot)):
        pattern = figures[slot[i]]
        if pattern == _MISSING_CODE:
            features[i] = np.float32(np.nan)
        elif is_code[i]:
            features[i] = np.float32(pattern)
        else:
            features[i] = numbers[slot[i]]


KERNELS = (
    Kernel("find_fired", find_fired, ("fired", "totals")),
    Kernel("score_rules", score_rules, ("values", "truths", "fired", "totals")),
    Kernel("gather_features", gather_features, ("features",)),
)
