"""What the client returns about decisions of the past: plain frozen values, no messages."""

from dataclasses import dataclass
from datetime import datetime

from instanter.client.values import Arm, ExclusionReason


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one attribute did to one propensity.

    Attributes
    ----------
    attribute, value
        Its name (`channel` for the channel itself), and its value at that moment as text.
    log_odds
        What it added to the log-odds, compared with its most frequent values.
    """

    attribute: str
    value: str
    log_odds: float


@dataclass(frozen=True, slots=True)
class OfferExplanation:
    """One offer in an explanation.

    Attributes
    ----------
    offer
        Id of the offer.
    rank
        Its place in the response, from 1; 0 when it was not listed.
    exclusion_reason, exclusion_detail
        The first reason that stopped it, and the same in words.
    propensity, context_weight, value_minor, lever, priority
        As in `RankedOffer`; propensity 0 when it was stopped before it was scored.
    contributions
        The attributes that moved the propensity most, strongest first.
    stock_factor
        What low cover of its unit multiplied its context weight by, 0 to 1.
    """

    offer: str
    rank: int
    exclusion_reason: ExclusionReason
    exclusion_detail: str
    propensity: float
    context_weight: float
    value_minor: int
    lever: float
    priority: float
    contributions: tuple[Contribution, ...]
    stock_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """What the runner-up would have needed to be first, one of it or the other.

    Attributes
    ----------
    offer
        Id of the offer.
    propensity_needed, value_minor_needed, lever_needed
        Each with all else equal; a propensity above 1, a value above 10**15 and a lever above
        10**6 say that none would have been enough.
    """

    offer: str
    propensity_needed: float
    value_minor_needed: int
    lever_needed: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision of the past and why it was made.

    Attributes
    ----------
    decision, customer
        Ids.
    decision_time
        In UTC.
    channel, placement, arm
        What was asked for, and which way of choosing decided.
    catalogue_revision, model_revision, profile_revision
        What decided; profile revision 0 when no profile was used.
    offers
        First the listed ones, then those that stayed by priority, then those that were stopped.
    runner_up
        None when there was none, or when chance chose.
    models_unchanged
        False when models have learned since, so that figures of offers that were not listed may
        differ from those of that moment.
    """

    decision: str
    customer: str
    decision_time: datetime
    channel: str
    placement: str
    arm: Arm
    catalogue_revision: int
    model_revision: int
    profile_revision: int
    offers: tuple[OfferExplanation, ...]
    runner_up: RunnerUp | None
    models_unchanged: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What happened in one arm.

    Attributes
    ----------
    arm
        The way of choosing.
    decision_count, presented_count, accepted_count
        Decisions, presentations, and presentations that were accepted or converted.
    value_minor
        Sum of the values, in minor units, at most 2**63 - 1.
    acceptance, value_per_decision
        Rates, and minor units; None where there is too little to estimate them from.
    """

    arm: Arm
    decision_count: int
    presented_count: int
    accepted_count: int
    value_minor: int
    acceptance: Estimate | None
    value_per_decision: Estimate | None


@dataclass(frozen=True, slots=True)
class UpliftReport:
    """Acceptance and value by arm, and what deciding is worth.

    Attributes
    ----------
    arms
        Those that have decisions.
    acceptance_uplift
        Acceptance of the decided arm less that of the random arm; None where one is unknown.
    value_uplift_over_random, value_uplift_over_holdout
        Value per decision of the decided arm less that of the other, in minor units.
    currency
        ISO 4217 code of all values.
    """

    arms: tuple[ArmFigures, ...]
    acceptance_uplift: Estimate | None
    value_uplift_over_random: Estimate | None
    value_uplift_over_holdout: Estimate | None
    currency: str
