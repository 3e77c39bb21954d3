"""Slow twins of `kernels/learning`, one weight at a time."""

import math

from tests.oracles.calibration import blend_scores, learn_calibration


def add_rows(rows, mean, variance, evidence):
    """What the customer's bins add up to."""
    return tuple(sum(float(a[row]) for row in rows) for a in (mean, variance, evidence))


def learn_logistic(
    rows, neighbours, visits, label, score, doubt, settings, mean, variance, intercept, average
):
    """Move each weight by its variance times the surprise; the beside bins share the step."""
    prior_variance, share, weight_drift, intercept_drift = (float(x) for x in settings[:4])
    rate = 1 / (1 + math.exp(-min(max(score + intercept[0], -30), 30)))
    curvature = max(rate * (1 - rate), 1e-3)
    gain = 1 / (1 + curvature * (doubt + intercept[1]))
    surprise = (label - rate) * gain
    before = average[-1] if len(average) else 0
    for row in rows:
        step = float(variance[row]) * surprise
        shrunk = float(variance[row]) - float(variance[row]) ** 2 * curvature * gain
        kept = min(shrunk + weight_drift * prior_variance, prior_variance)
        moves = [(row, step)]
        for bit, beside in ((1, row - 1), (2, row + 1)):
            if neighbours[row] & bit:
                moves.append((beside, share * step))
                known = float(variance[beside])
                variance[beside] = known - (share * known) ** 2 * curvature * gain
        variance[row] = kept
        if len(visits):
            # What one of the row's labels owes to the prior.
            after = float(mean[row]) + step
            moves.append((row, -after * min(kept / (prior_variance * visits[row]), 1)))
        for moved, way in moves:
            mean[moved] += way
            if len(average):
                average[moved] += before * way
    step = intercept[1] * surprise
    intercept[0] += step
    intercept[1] += intercept_drift - intercept[1] ** 2 * curvature * gain
    if len(average):
        intercept[2] += before * step
        average[-1] += 1


def count_evidence(rows, label, settings, positive, negative, evidence, counts):
    """Count, weigh new labels more than old ones, compare each bin with the base rate."""
    decay, prior, recent_decay = (float(x) for x in settings[4:7])
    if counts[2] > 1e6:
        for counted in (positive, negative, counts[:2]):
            counted /= counts[2]
        counts[2] = 1
    weight = float(counts[2])
    takes_back = label == 2
    if takes_back:
        decay = recent_decay = 1
    counts[0 if label else 1] += weight
    counts[3] = counts[3] * recent_decay + (1 if label else 0)
    counts[4] = counts[4] * recent_decay + (0 if label else 1)
    counts[5] = counts[5] * recent_decay + takes_back
    if takes_back:
        counts[1] = max(counts[1] - weight, 0)
        counts[4] = max(counts[4] - 1, 0)
    rate = (counts[0] + weight) / (counts[0] + counts[1] + 2 * weight)
    for row in rows:
        (positive if label else negative)[row] += weight
        if takes_back:
            negative[row] = max(float(negative[row]) - weight, 0)
        yes = float(positive[row]) + prior * weight * rate
        no = float(negative[row]) + prior * weight * (1 - rate)
        evidence[row] = math.log(yes / no) - math.log(rate / (1 - rate))
    counts[2] = weight / decay


def replay_rows(
    rows, label, neighbours, visits, settings, mean, variance, positive, negative, evidence,
    intercept, counts, calibration, average, propensity,
):  # fmt: skip
    """Predict, then learn, row after row."""
    for i, (own, truth) in enumerate(zip(rows.tolist(), label.tolist(), strict=True)):
        score, doubt, told = add_rows(own, mean, variance, evidence)
        raw, told = score + intercept[0], told * settings[8]
        propensity[i] = 1 / (1 + math.exp(-blend_scores(raw, told, calibration)))
        if not len(visits):
            learn_calibration(min(truth, 1), raw, told, settings[7], calibration)
            count_evidence(own, truth, settings, positive, negative, evidence, counts)
        learn_logistic(
            own, neighbours, visits, min(truth, 1), score, doubt, settings, mean, variance,
            intercept, average,
        )  # fmt: skip
