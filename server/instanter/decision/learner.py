"""The learner of one offer: its state, how it learns, and what of it is served."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instanter.decision.binning_plan import BinningPlan
from instanter.kernels import learning
from instanter.kernels.calibration import TRUST_MIN
from instanter.kernels.learning import replay_rows

KNOT_LIMIT = 30.0
"""Where the calibration's line ends; a raw score beyond it means certainty either way."""


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """How fast models learn and forget. One setting serves all offers.

    Chosen on two very different sets (rare answers that drift over a year; a thousand correlated
    attributes of few customers): prior variances from 3 to 5, weight drifts from 5e-5 to 2e-4 and
    intercept drifts from 5e-4 to 1e-3 change the log loss of neither by more than 0.002.

    Attributes
    ----------
    prior_variance
        Variance of a customer's score before anything is known, shared by the predictors.
    neighbour_share
        Share of a step that the bins beside a number's bin get, in [0, 0.5].
    weight_drift
        What a weight's variance grows at each label it sees, in prior variances; this is how
        weights forget.
    intercept_drift
        What the intercept's variance grows at each label: base rates move faster than weights.
    evidence_half_life
        Labels after which a counted label weighs half.
    evidence_prior
        Labels with the base rate that each bin is given in advance.
    base_rate_half_life
        Labels after which a label weighs half in the base rate.
    calibration_variance, calibration_drift
        Variance of offset and trust in the beginning, and what it grows at each label.
    """

    prior_variance: float = 5.0
    neighbour_share: float = 0.5
    weight_drift: float = 1e-4
    intercept_drift: float = 5e-4
    evidence_half_life: float = 20_000.0
    evidence_prior: float = 20.0
    base_rate_half_life: float = 1_000.0
    calibration_variance: float = 0.05
    calibration_drift: float = 0.0

    def to_array(self, predictor_count: int) -> NDArray[np.float64]:
        """Return the settings as the kernels read them; float64[SETTING_COUNT]."""
        found = np.zeros(learning.SETTING_COUNT)
        found[learning.SETTING_PRIOR_VARIANCE] = self.prior_variance / max(predictor_count, 1)
        found[learning.SETTING_NEIGHBOUR_SHARE] = self.neighbour_share
        found[learning.SETTING_WEIGHT_DRIFT] = self.weight_drift
        found[learning.SETTING_INTERCEPT_DRIFT] = self.intercept_drift
        found[learning.SETTING_EVIDENCE_DECAY] = 0.5 ** (1.0 / self.evidence_half_life)
        found[learning.SETTING_EVIDENCE_PRIOR] = self.evidence_prior
        found[learning.SETTING_BASE_RATE_DECAY] = 0.5 ** (1.0 / self.base_rate_half_life)
        found[learning.SETTING_CALIBRATION_DRIFT] = self.calibration_drift
        found[learning.SETTING_EVIDENCE_SPREAD] = _spread(predictor_count)
        return found


def _spread(predictor_count: int) -> float:
    """Return what the evidence is multiplied with: correlated predictors say things many times."""
    return 1.0 / math.sqrt(max(predictor_count, 1))


ONLINE_SETTINGS = LearnerSettings(prior_variance=0.5)
"""For models that begin while serving: they choose what they learn from, so the first labels must
not move them far. On Hillstrom's mails (`bench/keeper/replays`) a prior variance of 5 gave visit
rates of 0.167 to 0.178 with any amount of exploration, or 0.152 without; 0.5 gives 0.180."""


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """What of a model is served: additive weights and a calibration.

    Attributes
    ----------
    weight
        float64[R]: added up over a customer's rows, with `intercept`, it is the raw score.
    intercept
        Log-odds.
    prior_logit
        Raw score without a profile; with what the context adds on average over the labels, it is
        calibrated to the recent base rate.
    calibration_x, calibration_y
        float64[2]: the calibration's line.
    """

    weight: NDArray[np.float64]
    intercept: float
    prior_logit: float
    calibration_x: NDArray[np.float64]
    calibration_y: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PropensityModel:
    """The state of one offer's model; its arrays are written by learning.

    Attributes
    ----------
    mean, variance
        float32[R]: the logistic regression's weights.
    positive, negative, evidence
        float32[R]: naive Bayes' counts, and the log-odds that follow from them.
    intercept
        float64[3]: mean, variance, and a sum that only averaging uses.
    counts
        float64[COUNT_COUNT]: see `kernels/learning.count_evidence`.
    calibration
        float64[6]: see `kernels/calibration.learn_calibration`.
    label_count
        int64[2]: negative and positive labels ever learned, each row once.
    """

    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    positive: NDArray[np.float32]
    negative: NDArray[np.float32]
    evidence: NDArray[np.float32]
    intercept: NDArray[np.float64]
    counts: NDArray[np.float64]
    calibration: NDArray[np.float64]
    label_count: NDArray[np.int64]

    def arrays(self) -> Iterator[NDArray[np.generic]]:
        """Yield the state's arrays, float32[R] and float64, in the order of `replay_rows`."""
        yield from (self.mean, self.variance, self.positive, self.negative, self.evidence)
        yield from (self.intercept, self.counts, self.calibration)


def new_model(
    plan: BinningPlan, settings: LearnerSettings, prior_propensity: float = 0.5
) -> PropensityModel:
    """Return a model that has learned nothing and believes the prior propensity, in (0, 1)."""
    rows = plan.row_count
    weight_variance = settings.prior_variance / max(plan.predictor_count, 1)
    counts = np.zeros(learning.COUNT_COUNT)
    counts[learning.COUNT_LABEL_WEIGHT] = 1.0
    trust = settings.calibration_variance
    prior_logit = np.log(prior_propensity / (1.0 - prior_propensity))
    return PropensityModel(
        mean=np.zeros(rows, np.float32),
        variance=np.full(rows, weight_variance, np.float32),
        positive=np.zeros(rows, np.float32),
        negative=np.zeros(rows, np.float32),
        evidence=np.zeros(rows, np.float32),
        intercept=np.array([prior_logit, 1.0, 0.0]),
        counts=counts,
        calibration=np.array([0.0, 1.0, 0.0, trust, trust, trust]),
        label_count=np.zeros(2, np.int64),
    )


def learn(
    plan: BinningPlan,
    settings: LearnerSettings,
    model: PropensityModel,
    rows: NDArray[np.int32],
    labels: NDArray[np.uint8],
    passes: int = 1,
) -> NDArray[np.float64]:
    """Let a model learn labelled rows in order, and return what it predicted before each.

    One pass is learning online. More passes are for a file without an order in time: they repeat
    the logistic regression over the rows and keep the average of its weights over all passes but
    the first, which removes the noise of the last rows; then the scores are calibrated as they
    are, and the evidence of the first pass is no longer needed. Averaging is wrong for a stream
    that drifts: on the bank's calls it costs 0.02 of log loss.

    Parameters
    ----------
    plan
        The plan that the rows were binned with.
    settings
        How fast to learn and forget.
    model
        Written.
    rows
        int32[n, ≤ P], read-only, from `BinningPlan.bin_customers`, without the columns of those
        predictors that the source of the labels does not have.
    labels
        uint8[n], read-only, 0 or 1.
    passes
        At least 1.

    Returns
    -------
    ndarray
        float64[n]: propensity of each row of the first pass, before its label was seen.
    """
    assert rows.ndim == 2
    assert len(rows) == len(labels)
    given = settings.to_array(plan.predictor_count)
    neighbours = plan.find_neighbours()
    propensity = np.empty(len(labels))
    no_average = np.zeros(0)
    no_visits = np.zeros(0, np.float32)
    replay_rows(rows, labels, neighbours, no_visits, given, *model.arrays(), no_average, propensity)
    model.label_count[:] += np.bincount(labels, minlength=2)
    if passes > 1 and len(labels):
        average = np.zeros(plan.row_count + 1)
        model.intercept[2] = 0.0
        visits = np.bincount(rows.ravel(), minlength=plan.row_count).astype(np.float32)
        again = np.empty(len(labels))
        for _ in range(passes - 1):
            replay_rows(rows, labels, neighbours, visits, given, *model.arrays(), average, again)
        model.mean[:] -= average[:-1] / average[-1]
        model.intercept[0] -= model.intercept[2] / average[-1]
        model.calibration[:3] = 0.0, 1.0, 0.0
    return propensity


def serve(plan: BinningPlan, model: PropensityModel) -> ServedModel:
    """Return what of a model is served.

    Both learners become one column of weights: with trust c in the logistic regression and d in
    the evidence, the raw score is regression + d ÷ c × evidence, and the calibration's line has
    offset a and slope c.
    """
    offset, trust, evidence_trust = model.calibration[:3].tolist()
    offset += _reversal_shift(model)
    trust = max(trust, TRUST_MIN)
    spread = evidence_trust / trust * _spread(plan.predictor_count)
    weight = model.mean.astype(np.float64) + spread * model.evidence.astype(np.float64)
    positive, negative = _recent_labels(model)
    base_logit = math.log(positive / negative)
    offset += _anchor_shift(plan, model, weight, offset, trust)
    knots = np.array([-KNOT_LIMIT, KNOT_LIMIT])
    return ServedModel(
        weight=weight,
        intercept=float(model.intercept[0]),
        # What the context usually adds is part of the base rate, and would be added twice.
        prior_logit=(base_logit - offset) / trust - float(weight @ _context_shares(plan, model)),
        calibration_x=knots,
        calibration_y=offset + trust * knots,
    )


def _recent_labels(model: PropensityModel) -> tuple[float, float]:
    """Return how many labels of 1 and of 0 there were lately, and half a label more of each.

    For no label at all is no certainty.
    """
    counts = model.counts[[learning.COUNT_RECENT_POSITIVE, learning.COUNT_RECENT_NEGATIVE]]
    positive, negative = (counts + 0.5).tolist()
    return positive, negative


def _anchor_shift(
    plan: BinningPlan,
    model: PropensityModel,
    weight: NDArray[np.float64],
    offset: float,
    trust: float,
) -> float:
    """Return what is to be added to the log-odds so that they are as labels were on the whole.

    Weights learn label by label, so many of one kind behind each other carry them off: all answers
    to a mail come behind its last presentation. What was counted does not depend on the order. As
    long as the log-odds of those who were labelled differ from it by no more than what one may
    expect, nothing is added.

    Parameters
    ----------
    weight
        float64[R], read-only: what is served.
    offset, trust
        The calibration's line, as far as it is known.
    """
    seen = model.positive.astype(np.float64) + model.negative
    counts = model.counts
    total = float(counts[learning.COUNT_POSITIVE] + counts[learning.COUNT_NEGATIVE])
    if total <= 0.0 or not plan.predictor_count:
        return 0.0
    share = seen / total
    means = np.add.reduceat(share * weight, plan.row_start)
    variance = max(float(share @ weight**2 - means @ means), 0.0)
    found = offset + trust * (float(means.sum()) + float(model.intercept[0]))
    positive, negative = _recent_labels(model)
    # Log-odds that vary have a mean farther from 0 than those of the mean (MacKay 1992).
    spread = trust * trust * variance
    wanted = math.log(positive / negative) * math.sqrt(1.0 + math.pi / 8.0 * spread)
    slack = _ANCHOR_SLACK + 2.0 * math.sqrt(1.0 / positive + 1.0 / negative)
    return min(max(found, wanted - slack), wanted + slack) - found


_ANCHOR_SLACK = 0.5
"""Log-odds by which a model may differ from what was counted. On 20,000 of Hillstrom's mails in a
row it differed by 0.19 (standard deviation), and by 0.21 where visits were known 200 mails later;
nothing was ever added."""


def _reversal_shift(model: PropensityModel) -> float:
    """Return what is to be added to the log-odds because weights keep labels that were taken back.

    They have seen so many labels of 0 more than there are, of all customers alike. (Ktena et al.
    2019, "fake negative calibration", with the share of all labels in place of each one's own.)
    """
    left, reverted = (
        float(model.counts[at])
        for at in (learning.COUNT_RECENT_NEGATIVE, learning.COUNT_RECENT_REVERSED)
    )
    return math.log1p(reverted / (left + 0.5))


def doubt_of(model: PropensityModel | None, shares: NDArray[np.float64]) -> float:
    """Return the standard deviation of what is not known of an offer's log-odds.

    It has two parts. The labels counted so far, old ones less, tell n × p × (1 − p) about the base
    log-odds (Fisher's information of a rate); the intercept's prior adds 1. And of what single
    predictors leave open an eighth: drawn anew for each decision, all of it is noise that costs
    more than it teaches. On Hillstrom's mails, four seeds, a sixteenth, an eighth and a quarter of
    it gave visit rates of 0.1797, 0.1808 and 0.1796; with none of it one seed in two settled on
    the mail that happened to do well first.

    Parameters
    ----------
    model
        None for an offer that has none.
    shares
        float64[R], read-only: which share of customers is in each row, see `row_shares`.
    """
    if model is None:
        return 1.0
    weight = model.counts[learning.COUNT_LABEL_WEIGHT]
    positive = float(model.counts[learning.COUNT_POSITIVE] / weight)
    negative = float(model.counts[learning.COUNT_NEGATIVE] / weight)
    total = positive + negative
    told = positive * negative / total if total else 0.0
    return math.sqrt(1.0 / (1.0 + told) + _WEIGHT_DOUBT_SHARE * float(shares @ model.variance))


_WEIGHT_DOUBT_SHARE = 0.125


def row_shares(plan: BinningPlan) -> NDArray[np.float64]:
    """Return which share of the plan's sample is in each row of its predictor; float64[R]."""
    predictor = np.repeat(np.arange(plan.predictor_count), plan.bin_count)
    total = np.zeros(plan.predictor_count)
    np.add.at(total, predictor, plan.frequency)
    return plan.frequency / np.maximum(total, 1.0)[predictor]


def _context_shares(plan: BinningPlan, model: PropensityModel) -> NDArray[np.float64]:
    """Return the share of labels in each row of a context predictor; float64[R], else 0."""
    share = np.zeros(plan.row_count)
    seen = model.positive.astype(np.float64) + model.negative
    for p in range(plan.profile_predictor_count, plan.predictor_count):
        own = slice(plan.row_start[p], plan.row_start[p] + plan.bin_count[p])
        total = float(seen[own].sum())
        if total > 0.0:
            share[own] = seen[own] / total
    return share


def predict(served: ServedModel, rows: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return propensities in float64, the model as it is before it is put into fixed point.

    Parameters
    ----------
    served
        From `serve`.
    rows
        int32[n, P], read-only.

    Returns
    -------
    ndarray
        float64[n], in (0, 1).
    """
    raw = served.weight[rows].sum(axis=1) + served.intercept
    (x0, x1), (y0, y1) = served.calibration_x, served.calibration_y
    logit = y0 + (y1 - y0) / (x1 - x0) * (raw - x0)
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -KNOT_LIMIT, KNOT_LIMIT))))
