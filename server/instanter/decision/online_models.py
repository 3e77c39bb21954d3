"""The models of a node while they learn: a pure function of labels in their order."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgpack
import numpy as np
from numpy.typing import NDArray

from instanter.decision.learner import LearnerSettings, PropensityModel, new_model
from instanter.decision.models import (
    ModelSet,
    digest_of,
    model_from_bytes,
    model_to_bytes,
    plan_to_bytes,
)
from instanter.decision.selection import CHOSEN_MAX, choose_predictors, is_time_to_choose
from instanter.errors import DamagedError
from instanter.kernels.calibration import blend_scores, learn_calibration
from instanter.kernels.learning import (
    LABEL_REVERSED,
    SETTING_CALIBRATION_DRIFT,
    SETTING_EVIDENCE_SPREAD,
    add_rows,
    count_evidence,
    learn_logistic,
    replay_rows,
)

_NO_AVERAGE = np.zeros(0)
_NO_VISITS = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Label:
    """What one outcome teaches.

    Attributes
    ----------
    offer
        Whose model learns.
    truth
        0, 1 or `kernels/learning.LABEL_REVERSED`.
    prior_propensity
        What a model that is made for it believes beforehand, in (0, 1).
    bins
        See `binning_plan.Binner`.
    """

    offer: str
    truth: int
    prior_propensity: float
    bins: bytes


@dataclass(frozen=True, slots=True)
class Labels:
    """What one record of the log teaches.

    Attributes
    ----------
    plan
        Digest of the plan that all bins are of.
    half_life
        Labels after which one weighs half; 0 for what the models' settings say.
    labels
        In the order of the log.
    """

    plan: bytes
    half_life: int
    labels: tuple[Label, ...]


class OnlineModels:
    """Models that learn label by label. Belongs to one thread.

    The same publication and the same labels in the same order give the same bits, however they
    are shared out among calls, restarts and `pack_state`.

    Parameters
    ----------
    model_set
        What has been published, or made: its models are changed.
    """

    def __init__(self, model_set: ModelSet) -> None:
        self.plan = model_set.plan
        self.plan_digest = digest_of(plan_to_bytes(model_set.plan))
        self._settings = model_set.settings
        self._models = dict(model_set.models)
        self._origin = {
            name: digest_of(model_to_bytes(model)) for name, model in model_set.models.items()
        }
        self._chosen: dict[str, NDArray[np.int64]] = {}
        self._chooses = self.plan.predictor_count > CHOSEN_MAX
        self._neighbours = self.plan.find_neighbours()
        self._given: dict[tuple[int, int], NDArray[np.float64]] = {}
        self._propensity = np.empty(1)
        self._truth = np.empty(1, np.uint8)

    @property
    def models(self) -> Mapping[str, PropensityModel]:
        """The models by offer; read-only for everybody else."""
        return self._models

    def learn(self, labels: Labels) -> list[tuple[str, int, float]]:
        """Learn the labels of a record; return each one's offer, truth, and what was predicted.

        Labels of another plan teach nothing: what their bins mean is not known here.
        """
        if labels.plan != self.plan_digest:
            return []
        found = []
        for label in labels.labels:
            model = self._models.get(label.offer)
            if model is None:
                model = new_model(self.plan, self._settings, label.prior_propensity)
                self._models[label.offer] = model
            rows = self.plan.find_rows(label.bins)
            chosen = self._chosen.get(label.offer)
            if chosen is None:
                self._learn_all(model, rows, label.truth, labels.half_life)
            else:
                self._learn_chosen(model, rows[0], chosen, label.truth, labels.half_life)
            is_new = label.truth != LABEL_REVERSED
            model.label_count[min(label.truth, 1)] += 1
            if not is_new:
                model.label_count[0] = max(model.label_count[0] - 1, 0)
            found.append((label.offer, min(label.truth, 1), float(self._propensity[0])))
            # What was fitted beforehand has weights of all predictors, which are right together.
            if (
                is_new
                and self._chooses
                and label.offer not in self._origin
                and is_time_to_choose(int(model.label_count.sum()))
            ):
                self._choose(label.offer, model)
        return found

    def _learn_all(
        self, model: PropensityModel, rows: NDArray[np.int32], truth: int, half_life: int
    ) -> None:
        """Learn one label from all predictors, exactly as a replay of a file does."""
        self._truth[0] = truth
        replay_rows(
            rows,
            self._truth,
            self._neighbours,
            _NO_VISITS,
            self._find_given(half_life, self.plan.predictor_count),
            *model.arrays(),
            _NO_AVERAGE,
            self._propensity,
        )

    def _learn_chosen(
        self,
        model: PropensityModel,
        rows: NDArray[np.int32],
        chosen: NDArray[np.int64],
        truth: int,
        half_life: int,
    ) -> None:
        """Learn one label from the chosen predictors; count it for all, lest they are needed."""
        given = self._find_given(half_life, len(chosen))
        # Without a profile, only the last predictors have rows.
        missing = self.plan.predictor_count - len(rows)
        own = np.ascontiguousarray(rows[chosen[chosen >= missing] - missing])
        score, doubt, told = add_rows(own, model.mean, model.variance, model.evidence)
        raw = score + model.intercept[0]
        told *= given[SETTING_EVIDENCE_SPREAD]
        logit = blend_scores(raw, told, model.calibration)
        self._propensity[0] = 1.0 / (1.0 + math.exp(-logit))
        drift = given[SETTING_CALIBRATION_DRIFT]
        learn_calibration(min(float(truth), 1.0), raw, told, drift, model.calibration)
        counted = (model.positive, model.negative, model.evidence, model.counts)
        count_evidence(rows, float(truth), given, *counted)
        learn_logistic(
            own,
            self._neighbours,
            _NO_VISITS,
            min(float(truth), 1.0),
            score,
            doubt,
            given,
            model.mean,
            model.variance,
            model.intercept,
            _NO_AVERAGE,
        )

    def _find_given(self, half_life: int, predictor_count: int) -> NDArray[np.float64]:
        given = self._given.get((half_life, predictor_count))
        if given is None:
            settings = forget_by(self._settings, half_life) if half_life else self._settings
            given = self._given[half_life, predictor_count] = settings.to_array(predictor_count)
        return given

    def _choose(self, offer: str, model: PropensityModel) -> None:
        """Choose an offer's predictors anew; all begin at 0 but those that go on being chosen."""
        before = self._chosen.get(offer)
        chosen = self._chosen[offer] = choose_predictors(self.plan, model)
        goes_on = self._find_rows(chosen if before is None else np.intersect1d(before, chosen))
        if before is None:
            # Until now each had a share of the variance that was meant for a thousand.
            goes_on[:] = False
        variance = np.float32(self._settings.prior_variance / len(chosen))
        model.mean[~goes_on] = 0.0
        model.variance[~goes_on] = variance
        np.minimum(model.variance, variance, out=model.variance)

    def _find_rows(self, predictors: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows belong to some predictors; bool[R]."""
        member = np.zeros(self.plan.predictor_count, np.bool_)
        member[predictors] = True
        return np.repeat(member, self.plan.bin_count)

    def find_served(self, offer: str) -> PropensityModel | None:
        """Return an offer's model as `learner.serve` and `learner.doubt_of` take it, or None.

        Where predictors are chosen it is a copy without the others, whose evidence is scaled as if
        there were no others.
        """
        model, chosen = self._models.get(offer), self._chosen.get(offer)
        if model is None or chosen is None:
            return model
        used = self._find_rows(chosen)
        scale = np.float32(math.sqrt(self.plan.predictor_count / len(chosen)))
        return replace(
            model,
            mean=np.where(used, model.mean, np.float32(0.0)),
            variance=np.where(used, model.variance, np.float32(0.0)),
            evidence=np.where(used, model.evidence * scale, np.float32(0.0)),
        )

    def publish(self, model_set: ModelSet) -> "OnlineModels":
        """Return the models after a publication.

        What an offer's model has learned since the one it began with was published stays, as long
        as that is published again: fitting one offer publishes the models of all.
        """
        other = OnlineModels(model_set)
        if other.plan_digest == self.plan_digest:
            for name, model in self._models.items():
                if self._origin.get(name) == other._origin.get(name):
                    other._models[name] = model
                    if name in self._chosen:
                        other._chosen[name] = self._chosen[name]
        return other

    def pack_state(self, offer: str) -> bytes:
        """Return the state of an offer's model, with what it began from."""
        packed: bytes = msgpack.packb(
            (
                self.plan_digest,
                self._origin.get(offer, b""),
                model_to_bytes(self._models[offer]),
                None if offer not in self._chosen else self._chosen[offer].tolist(),
            )
        )
        return packed

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Go on from packed states; those of another plan or beginning are left out.

        Raises
        ------
        DamagedError
            A state is none.
        """
        for offer, packed in states.items():
            try:
                plan, origin, model, chosen = msgpack.unpackb(packed)
            except (msgpack.UnpackException, ValueError, TypeError) as error:
                raise DamagedError(f"the state of offer {offer!r} cannot be read") from error
            if plan == self.plan_digest and origin == self._origin.get(offer, b""):
                self._models[offer] = model_from_bytes(model, self.plan.row_count)
                if chosen is not None:
                    self._chosen[offer] = np.array(chosen, np.int64)


def forget_by(settings: LearnerSettings, half_life: int) -> LearnerSettings:
    """Return settings in which a label weighs half after so many others.

    Counts, and with them the evidence and the base rate, forget by exactly this half-life. The
    weights' and the intercept's variances grow in inverse proportion to it.
    """
    return replace(
        settings,
        evidence_half_life=float(half_life),
        base_rate_half_life=float(half_life),
        weight_drift=min(
            settings.weight_drift * settings.evidence_half_life / half_life, _DRIFT_MAX
        ),
        intercept_drift=min(
            settings.intercept_drift * settings.base_rate_half_life / half_life, _DRIFT_MAX
        ),
    )


_DRIFT_MAX = 0.05
"""A variance must not grow faster than labels can shrink it."""
