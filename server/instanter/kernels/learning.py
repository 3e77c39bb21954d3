"""Learning: what one labelled customer teaches a model.

The same kernels replay files and learn online, one row at a time, with no clock and no
randomness: the same rows in the same order give the same bits.

A model has one weight a row of the score table. Two learners see each label: an online logistic
regression, good once it has seen some hundred labels, and naive Bayes, good with the first
hundred. `kernels/calibration` learns how far each can be trusted.
"""

import math

import numpy as np
from numba import float64, types, void

from instanter.kernels.array_types import (
    READ_F32,
    READ_F64,
    READ_I32,
    READ_I32_2D,
    READ_U8,
    WRITE_F32,
    WRITE_F64,
)
from instanter.kernels.calibration import blend_scores, learn_calibration
from instanter.kernels.compilation import Kernel, kernel

NEIGHBOUR_BELOW = 1
NEIGHBOUR_ABOVE = 2

SETTING_PRIOR_VARIANCE = 0
SETTING_NEIGHBOUR_SHARE = 1
SETTING_WEIGHT_DRIFT = 2
SETTING_INTERCEPT_DRIFT = 3
SETTING_EVIDENCE_DECAY = 4
SETTING_EVIDENCE_PRIOR = 5
SETTING_BASE_RATE_DECAY = 6
SETTING_CALIBRATION_DRIFT = 7
SETTING_EVIDENCE_SPREAD = 8
SETTING_COUNT = 9

COUNT_POSITIVE = 0
COUNT_NEGATIVE = 1
COUNT_LABEL_WEIGHT = 2
COUNT_RECENT_POSITIVE = 3
COUNT_RECENT_NEGATIVE = 4
COUNT_RECENT_REVERSED = 5
COUNT_COUNT = 6

LABEL_REVERSED = 2
"""A label of 1 that takes back the 0 which the same presentation has taught before.

Counts are then as if that had never been there. The weights and the calibration learn a 1, and keep
the 0: to take back a step of a model that has moved on since has no bounds where many answers come
behind their presentations. What that makes of the odds is known, for all labels alike, and is put
right where they are served: see `decision/learner.serve`.
"""

_CURVATURE_MIN = 1e-3
_LABEL_WEIGHT_MAX = 1e6


@kernel(types.UniTuple(float64, 3)(READ_I32, READ_F32, READ_F32, READ_F32))
def add_rows(rows, mean, variance, evidence):  # type: ignore[no-untyped-def]
    """Add up what the model holds in one customer's rows.

    Parameters
    ----------
    rows
        int32[P], read-only: the row of each predictor's bin, modal or not.
    mean, variance, evidence
        float32[R], read-only.

    Returns
    -------
    tuple of float
        Sums of means, of variances and of evidence.
    """
    score, doubt, told = 0.0, 0.0, 0.0
    for i in range(len(rows)):
        row = rows[i]
        score += mean[row]
        doubt += variance[row]
        told += evidence[row]
    return score, doubt, told


@kernel(
    void(
        READ_I32, READ_U8, READ_F32, float64, float64, float64, READ_F64,
        WRITE_F32, WRITE_F32, WRITE_F64, WRITE_F64,
    )
)  # fmt: skip
def learn_logistic(  # type: ignore[no-untyped-def]
    rows, neighbours, visits, label, score, doubt, settings, mean, variance, intercept, average
):
    """Learn one label by online Bayesian logistic regression.

    Every weight is a normal distribution of its own; one step moves the means along the label's
    surprise, each in proportion to its variance, and shrinks the variances by what the label told:
    one step of an extended Kalman filter with a diagonal covariance. So a weight that has seen
    much moves little, no learning rate is to be tuned, and because the prior variance is shared
    out among the predictors and a step is divided by the customer's whole variance, a thousand
    predictors that say the same move the score no more than ten.

    Bins of a number are in order, so a step is shared with the bins beside it: a prior in which
    neighbours are alike. The share must not be above one half, for then no such prior exists and
    weights of alternating signs grow without end.

    Parameters
    ----------
    rows
        int32[P], read-only.
    neighbours
        uint8[R], read-only: `NEIGHBOUR_...` bits, whether the row below or above is a bin beside.
    visits
        float32[R], read-only, or float32[0] for none: in how many of the replayed labels each row
        takes part. A row that is replayed again must not pull its weights on and on, so then each
        mean is pulled back towards the prior's 0 by as much as one label's share of it; where the
        two pulls are equal stands the most probable weight.
    label
        0 or 1.
    score, doubt
        From `add_rows`, before this label.
    settings
        float64[SETTING_COUNT], read-only: the prior variance of one weight, the share of a step
        that neighbours get, and the drifts: how much a variance grows at each label that its
        weight (in prior variances) or the intercept sees, which is how they forget.
    mean, variance
        float32[R], written.
    intercept
        float64[3], written: mean, variance, and the weighted sum of steps, see `average`.
    average
        float64[R + 1], written, or float64[0] for none: sum of each mean's steps, weighted by the
        number of labels before, which `average[R]` counts. From it `mean − average / average[R]`
        is the mean's average over time.
    """
    total = score + intercept[0]
    rate = 1.0 / (1.0 + math.exp(-min(max(total, -30.0), 30.0)))
    curvature = max(rate * (1.0 - rate), _CURVATURE_MIN)
    gain = 1.0 / (1.0 + curvature * (doubt + intercept[1]))
    surprise = (label - rate) * gain
    told = curvature * gain
    pull, told = np.float32(surprise), np.float32(curvature * gain)
    ceiling = np.float32(settings[SETTING_PRIOR_VARIANCE])
    growth = np.float32(settings[SETTING_WEIGHT_DRIFT]) * ceiling
    share = np.float32(settings[SETTING_NEIGHBOUR_SHARE])
    averaged, replayed = len(average) > 0, len(visits) > 0
    before = average[-1] if averaged else 0.0
    for i in range(len(rows)):
        row = rows[i]
        step = variance[row] * pull
        kept = min(variance[row] - variance[row] * variance[row] * told + growth, ceiling)
        # A side without a neighbour gets a share of 0 of the row itself: which bins are at an end
        # cannot be predicted, and branching here made the step three times slower.
        down, up = neighbours[row] & NEIGHBOUR_BELOW, (neighbours[row] & NEIGHBOUR_ABOVE) >> 1
        below, above = row - down, row + up
        share_below, share_above = share * np.float32(down), share * np.float32(up)
        known = share_below * variance[below]
        variance[below] -= known * known * told
        known = share_above * variance[above]
        variance[above] -= known * known * told
        variance[row] = kept
        mean[below] += share_below * step
        mean[above] += share_above * step
        mean[row] += step
        back = np.float32(0.0)
        if replayed:
            back = mean[row] * min(kept / (ceiling * visits[row]), np.float32(1.0))
            mean[row] -= back
        if averaged:
            average[below] += before * share_below * step
            average[above] += before * share_above * step
            average[row] += before * (step - back)
    step = intercept[1] * surprise
    intercept[0] += step
    intercept[1] += settings[SETTING_INTERCEPT_DRIFT] - intercept[1] * intercept[1] * told
    if averaged:
        intercept[2] += before * step
        average[-1] += 1.0


@kernel(void(READ_I32, float64, READ_F64, WRITE_F32, WRITE_F32, WRITE_F32, WRITE_F64))
def count_evidence(rows, label, settings, positive, negative, evidence, counts):  # type: ignore[no-untyped-def]
    """Learn one label by counting: naive Bayes with a prior and a half-life.

    Old counts are not shrunk; newer labels weigh more instead, and everything is divided by the
    newest label's weight when it is read, so a step touches only the customer's rows.

    Parameters
    ----------
    rows
        int32[P], read-only.
    label
        0, 1 or `LABEL_REVERSED`.
    settings
        float64[SETTING_COUNT], read-only: `SETTING_EVIDENCE_DECAY` is what a label keeps of its
        weight at each later label, `SETTING_EVIDENCE_PRIOR` how many labels with the base rate
        each bin is given in advance (Laplace's smoothing towards the base rate).
    positive, negative
        float32[R], written: weighted labels seen in each row.
    evidence
        float32[R], written: log-odds of a positive label in the row less those of all labels.
    counts
        float64[COUNT_COUNT], written: labels of each kind, weighted like the rows; the weight of
        the next label; the same labels with the half-life of the base rate, and how many of 0 were
        taken back.
    """
    weight = counts[COUNT_LABEL_WEIGHT]
    if weight > _LABEL_WEIGHT_MAX:
        for row in range(len(positive)):
            positive[row] /= weight
            negative[row] /= weight
        counts[COUNT_POSITIVE] /= weight
        counts[COUNT_NEGATIVE] /= weight
        weight = 1.0
    is_new = label != LABEL_REVERSED
    yes = min(label, 1.0)
    no = 1.0 - yes if is_new else -1.0
    counts[COUNT_POSITIVE] += weight * yes
    # What is taken back has lost weight since: no more than is there.
    counts[COUNT_NEGATIVE] = max(counts[COUNT_NEGATIVE] + weight * no, 0.0)
    keep = settings[SETTING_BASE_RATE_DECAY] if is_new else 1.0
    counts[COUNT_RECENT_POSITIVE] = counts[COUNT_RECENT_POSITIVE] * keep + yes
    counts[COUNT_RECENT_NEGATIVE] = max(counts[COUNT_RECENT_NEGATIVE] * keep + no, 0.0)
    counts[COUNT_RECENT_REVERSED] = counts[COUNT_RECENT_REVERSED] * keep + (label - yes)
    odds = (counts[COUNT_POSITIVE] + weight) / (counts[COUNT_NEGATIVE] + weight)
    prior = settings[SETTING_EVIDENCE_PRIOR] * weight
    # In 32 bits, as they are kept: a logarithm in 64 bits made the step three times slower.
    prior_positive = np.float32(prior * odds / (1.0 + odds))
    prior_negative = np.float32(prior / (1.0 + odds))
    base_logit = np.float32(math.log(odds))
    more_positive, more_negative = np.float32(weight * yes), np.float32(weight * no)
    for i in range(len(rows)):
        row = rows[i]
        positive[row] += more_positive
        negative[row] = max(negative[row] + more_negative, np.float32(0.0))
        found = (positive[row] + prior_positive) / (negative[row] + prior_negative)
        evidence[row] = np.log(found) - base_logit
    if is_new:
        counts[COUNT_LABEL_WEIGHT] = weight / settings[SETTING_EVIDENCE_DECAY]


@kernel(
    void(
        READ_I32_2D, READ_U8, READ_U8, READ_F32, READ_F64,
        WRITE_F32, WRITE_F32, WRITE_F32, WRITE_F32, WRITE_F32,
        WRITE_F64, WRITE_F64, WRITE_F64, WRITE_F64, WRITE_F64,
    )
)  # fmt: skip
def replay_rows(  # type: ignore[no-untyped-def]
    rows, label, neighbours, visits, settings, mean, variance, positive, negative, evidence,
    intercept, counts, calibration, average, propensity,
):  # fmt: skip
    """Predict each label, then learn it, in order.

    Parameters
    ----------
    rows
        int32[n, ≤ P], read-only: each customer's rows; predictors that the source of the labels
        does not have are left out, and keep their weights.
    label
        uint8[n], read-only: 0, 1 or `LABEL_REVERSED`.
    neighbours, visits, settings
        As in the kernels above. With `visits`, only the logistic regression learns: a label that
        is replayed again must not be counted twice, and its score is no longer honest.
    mean, variance, positive, negative, evidence, intercept, counts, average
        As in the kernels above.
    calibration
        float64[6], written, see `kernels/calibration.learn_calibration`.
    propensity
        float64[n], written: what was predicted before the label was seen.
    """
    spread = settings[SETTING_EVIDENCE_SPREAD]
    for i in range(rows.shape[0]):
        own = rows[i]
        given = float(label[i])
        truth = min(given, 1.0)
        score, doubt, told = add_rows(own, mean, variance, evidence)
        raw = score + intercept[0]
        logit = blend_scores(raw, told * spread, calibration)
        propensity[i] = 1.0 / (1.0 + math.exp(-logit))
        if len(visits) == 0:
            learn_calibration(
                truth, raw, told * spread, settings[SETTING_CALIBRATION_DRIFT], calibration
            )
            count_evidence(own, given, settings, positive, negative, evidence, counts)
        learn_logistic(
            own, neighbours, visits, truth, score, doubt, settings, mean, variance, intercept,
            average,
        )  # fmt: skip


KERNELS = (
    Kernel("add_rows", add_rows, ()),
    Kernel("learn_logistic", learn_logistic, ("mean", "variance", "intercept", "average")),
    Kernel("count_evidence", count_evidence, ("positive", "negative", "evidence", "counts")),
    Kernel(
        "replay_rows",
        replay_rows,
        (
            "mean", "variance", "positive", "negative", "evidence", "intercept", "counts",
            "calibration", "average", "propensity",
        ),
    ),
)  # fmt: skip
