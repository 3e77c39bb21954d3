"""How responses are gathered and learned from, as a catalogue declares it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

UNANSWERED: Final[Mapping[str, bool]] = {"at_once": True, "after_wait": False}
"""Words for when a presentation counts as not accepted; see `LearningRules.negative_at_once`."""


@dataclass(frozen=True, slots=True)
class Arms:
    """How customers are shared out among ways of choosing, so that uplift is always known.

    The holdout stands in the catalogue itself (`holdout_rate`, `holdout_salt`); the customers who
    are not in it are shared out here, by a hash of salt and id.

    Attributes
    ----------
    random_rate
        Share of all customers, in [0, 1), to whom an eligible offer is given at random.
    random_salt
        Text that draws another share when changed.
    """

    random_rate: float = 0.0
    random_salt: str = "random"


@dataclass(frozen=True, slots=True)
class OutcomeRules:
    """When an outcome counts.

    Attributes
    ----------
    wait_s
        Seconds after which a presentation without an answer counts as ignored: 60 to 2,592,000
        (30 days).
    accept_s
        Seconds after its decision until when an outcome is accepted, at least `wait_s`, at most
        7,776,000 (90 days).
    """

    wait_s: int = 86_400
    accept_s: int = 2_592_000


@dataclass(frozen=True, slots=True)
class LearningRules:
    """How models learn while serving.

    Attributes
    ----------
    enabled
        Whether outcomes change the models.
    half_life_labels
        Labels after which a label weighs half; 0 for the learner's own default.
    exploration
        How far choices are varied to learn, in standard deviations of what is not yet known: 0
        for never, 1 for Thompson sampling.
    negative_at_once
        Whether a presentation counts as not accepted from the beginning, until it is accepted;
        else from the end of its wait.
    """

    enabled: bool = True
    half_life_labels: int = 0
    exploration: float = 0.0
    negative_at_once: bool = True
