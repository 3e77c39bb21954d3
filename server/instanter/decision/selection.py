"""Which predictors a model learns from: those that its own labels speak for.

A thousand correlated attributes say the same a thousand times, and what most of them say by chance
is noise. So a model that begins while serving looks at 64, 128, 256 … labels at what each predictor
has told so far, and keeps the best. Measured on 3,616 customers of 1000 attributes, learned one by
one (log loss of the second half, mean of three orders, `python -m bench.learning`): all of them
0.630, 32 chosen so 0.591; with 120 and 60 it is 0.596 and 0.593, and the ten that are best in
hindsight give 0.592.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.decision.binning_plan import BinningPlan
from instanter.decision.learner import PropensityModel
from instanter.kernels.learning import COUNT_LABEL_WEIGHT

CHOSEN_MAX: Final = 32
"""Most predictors that are chosen; a plan with no more than these uses all."""

CHOSEN_MIN: Final = 3
"""Fewest, whether or not the labels speak for them."""

FIRST_CHOICE: Final = 64
"""Labels after which predictors are first chosen; then at each doubling."""

_DEVIATIONS_MIN: Final = 2.0


def is_time_to_choose(label_count: int) -> bool:
    """Return whether predictors are chosen after so many labels."""
    return label_count >= FIRST_CHOICE and label_count & (label_count - 1) == 0


def choose_predictors(plan: BinningPlan, model: PropensityModel) -> NDArray[np.int64]:
    """Return the predictors that the labels counted so far speak for.

    A predictor's evidence is the likelihood ratio of its bins' rates against one rate for all (G²);
    by chance alone that has about the mean and half the variance of its degrees of freedom. Chosen
    are those at least two standard deviations above, the furthest ones first.

    Source: the G-test, Sokal and Rohlf, Biometry, 1981.

    Returns
    -------
    ndarray
        int64[CHOSEN_MIN to CHOSEN_MAX], rising.
    """
    weight = model.counts[COUNT_LABEL_WEIGHT]
    positive = model.positive.astype(np.float64) / weight
    negative = model.negative.astype(np.float64) / weight
    seen = positive + negative
    predictor = np.repeat(np.arange(plan.predictor_count), plan.bin_count)
    totals = np.bincount(predictor, weights=seen, minlength=plan.predictor_count)
    hits = np.bincount(predictor, weights=positive, minlength=plan.predictor_count)
    rate = (hits / np.maximum(totals, 1e-9))[predictor]
    ratio = 2.0 * (_log_ratio(positive, seen * rate) + _log_ratio(negative, seen * (1.0 - rate)))
    told = np.bincount(predictor, weights=ratio, minlength=plan.predictor_count)
    freedom = np.bincount(predictor, weights=seen > 0, minlength=plan.predictor_count) - 1.0
    deviations = (told - freedom) / np.sqrt(2.0 * np.maximum(freedom, 1.0))
    order = np.argsort(-deviations, kind="stable")[:CHOSEN_MAX]
    count = max(int((deviations[order] >= _DEVIATIONS_MIN).sum()), CHOSEN_MIN)
    return np.sort(order[:count])


def _log_ratio(observed: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return observed × log(observed ÷ expected), 0 where nothing was observed."""
    ratio = np.maximum(observed, 1e-12) / np.maximum(expected, 1e-12)
    return np.where(observed > 0.0, observed * np.log(ratio), 0.0)
