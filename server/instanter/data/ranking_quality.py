"""How well scores rank frauds before the rest: what a replay is judged by."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DAY_CARDS: Final = 100
"""Cards that people look at in a day, for the card precision."""


def find_auc(scores: Floats, frauds: Flags) -> float:
    """Return the probability that a fraud has a higher score than another transaction.

    Equal scores count half. Source: the Mann-Whitney statistic.

    Parameters
    ----------
    scores
        float64[N]; read-only.
    frauds
        bool[N]: which of them are frauds; read-only.

    Returns
    -------
    float
        0 to 1; NaN when all are of one kind.
    """
    fraud_count = int(frauds.sum())
    other_count = len(frauds) - fraud_count
    if not fraud_count or not other_count:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # The mean rank, from 1, of each group of equal scores.
    ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(ranks[inverse][frauds].sum())
    return (rank_sum - fraud_count * (fraud_count + 1) / 2) / (fraud_count * other_count)


def find_average_precision(scores: Floats, frauds: Flags) -> float:
    """Return the mean precision over all frauds, the highest scores first; ties stand together.

    Source: the step-wise area under the precision-recall curve, without interpolation (Manning,
    Raghavan, Schütze, "Introduction to Information Retrieval", 2008, 8.4).

    Parameters
    ----------
    scores, frauds
        As in `find_auc`.

    Returns
    -------
    float
        0 to 1; NaN without frauds.
    """
    fraud_count = int(frauds.sum())
    if not fraud_count:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    caught = np.cumsum(frauds[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    precision = caught[last] / (last + 1)
    recall = caught[last] / fraud_count
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def find_card_precision(
    scores: Floats,
    frauds: Flags,
    cards: NDArray[np.int64],
    days: NDArray[np.int64],
    top: int = DAY_CARDS,
) -> float:
    """Return the mean share of cards with fraud among the `top` of each day.

    A card's score is the highest of its transactions of the day; a card that was found is not
    looked at again. Source: Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud
    Detection", 2022, chapter 4.

    Parameters
    ----------
    scores, frauds
        As in `find_auc`.
    cards, days
        int64[N]: a number for each card, and the day of each transaction; read-only.
    top
        Cards of a day.

    Returns
    -------
    float
        0 to 1; NaN without transactions.
    """
    found: set[int] = set()
    shares: list[float] = []
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        best: dict[int, tuple[float, bool]] = {}
        for row in rows.tolist():
            card, score, fraud = int(cards[row]), float(scores[row]), bool(frauds[row])
            if card in found:
                continue
            known = best.get(card)
            highest = score if known is None else max(score, known[0])
            best[card] = (highest, fraud or (known is not None and known[1]))
        ranked = sorted(best.items(), key=lambda each: -each[1][0])[:top]
        hits = [card for card, (_, fraud) in ranked if fraud]
        found.update(hits)
        shares.append(len(hits) / top)
    return float(np.mean(shares)) if shares else float("nan")
