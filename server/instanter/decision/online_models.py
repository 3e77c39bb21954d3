"""The models of a node while they learn: a pure function of labels in their order."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgpack
import numpy as np

from instanter.decision.learner import LearnerSettings, PropensityModel, new_model
from instanter.decision.models import (
    ModelSet,
    digest_of,
    model_from_bytes,
    model_to_bytes,
    plan_to_bytes,
)
from instanter.errors import DamagedError
from instanter.kernels.learning import replay_rows

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
        0 or 1.
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
        self._neighbours = self.plan.find_neighbours()
        self._given = {0: self._settings.to_array(self.plan.predictor_count)}
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
        given = self._given.get(labels.half_life)
        if given is None:
            settings = forget_by(self._settings, labels.half_life)
            given = self._given[labels.half_life] = settings.to_array(self.plan.predictor_count)
        found = []
        for label in labels.labels:
            model = self._models.get(label.offer)
            if model is None:
                model = new_model(self.plan, self._settings, label.prior_propensity)
                self._models[label.offer] = model
            self._truth[0] = label.truth
            replay_rows(
                self.plan.find_rows(label.bins),
                self._truth,
                self._neighbours,
                _NO_VISITS,
                given,
                *model.arrays(),
                _NO_AVERAGE,
                self._propensity,
            )
            model.label_count[label.truth] += 1
            found.append((label.offer, label.truth, float(self._propensity[0])))
        return found

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
        return other

    def pack_state(self, offer: str) -> bytes:
        """Return the state of an offer's model, with what it began from."""
        packed: bytes = msgpack.packb(
            (
                self.plan_digest,
                self._origin.get(offer, b""),
                model_to_bytes(self._models[offer]),
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
                plan, origin, model = msgpack.unpackb(packed)
            except (msgpack.UnpackException, ValueError, TypeError) as error:
                raise DamagedError(f"the state of offer {offer!r} cannot be read") from error
            if plan == self.plan_digest and origin == self._origin.get(offer, b""):
                self._models[offer] = model_from_bytes(model, self.plan.row_count)


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
