"""How good propensities are: the two figures that every report of a model gives."""

import numpy as np
from numpy.typing import NDArray

_RATE_MIN = 1e-12


def log_loss(labels: NDArray[np.uint8], propensity: NDArray[np.float64]) -> float:
    """Return the mean negative log-likelihood of labels, in nats; NaN without labels.

    Parameters
    ----------
    labels
        uint8[n], 0 or 1.
    propensity
        float64[n], in [0, 1]; 0 and 1 count as 1e-12 away from it.
    """
    if not len(labels):
        return float("nan")
    sure = np.clip(propensity, _RATE_MIN, 1.0 - _RATE_MIN)
    return float(-np.log(np.where(labels == 1, sure, 1.0 - sure)).mean())


def area_under_curve(labels: NDArray[np.uint8], propensity: NDArray[np.float64]) -> float:
    """Return the share of pairs of a positive and a negative label that are in the right order.

    Equal propensities count half (Mann and Whitney's U). NaN when one kind of label is absent.

    Parameters
    ----------
    labels
        uint8[n], 0 or 1.
    propensity
        float64[n].
    """
    positive = int(np.count_nonzero(labels))
    negative = len(labels) - positive
    if not positive or not negative:
        return float("nan")
    _, place, counts = np.unique(propensity, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2.0
    above = rank[place][labels == 1].sum() - positive * (positive + 1) / 2.0
    return float(above / (positive * negative))
