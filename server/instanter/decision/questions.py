"""What the engine is asked, and what it answers: plain values, no messages.

The numbers of the enumerations are those of the contract (`decision_service.proto`), so that a
translation is a copy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

ContextValue = float | int | bool | str | datetime
"""A context value: number, flag, category, or instant (seconds since 1970, or a datetime)."""


class Arm(IntEnum):
    """A way of choosing."""

    DECIDED = 1
    RANDOM = 2
    HOLDOUT = 3


class OfferReason(IntEnum):
    """What speaks for, or qualifies, an offer."""

    MODEL = 1
    MODEL_WITHOUT_PROFILE = 2
    PRIOR = 3
    CONTEXT_WEIGHT = 4
    RULES_HOLD = 5
    RANDOM_ARM = 6


class NoOfferReason(IntEnum):
    """Why a decision has no offer."""

    UNSPECIFIED = 0
    HOLDOUT = 1
    NO_CURRENT_OFFER = 2
    NO_ELIGIBLE_OFFER = 3
    NO_PRIORITY = 4
    CONTACT_POLICY = 5
    STOCK = 6


@dataclass(slots=True)
class Question:
    """One request for a decision.

    Not frozen, although a value: a frozen one takes 1.0 µs to make, this one 0.3 µs, and one is
    made for each request.

    Attributes
    ----------
    customer_id
        Id of the customer, checked already.
    channel, placement
        Where the offers will be shown; placement "" for the channel as such.
    offer_count
        How many are wanted, 1 to 100, checked already.
    context
        Values by context attribute.
    request_id
        Makes a retry recognisable; "" for none.
    """

    customer_id: str
    channel: str
    placement: str
    offer_count: int
    context: Mapping[str, ContextValue]
    request_id: str


@dataclass(slots=True)
class RankedOffer:
    """One offer of a decision; the fields are the contract's.

    Not frozen for the same reason as `Question`.
    """

    offer: str
    treatment: str
    priority: float
    propensity: float
    value_minor: int
    context_weight: float
    lever: float
    reasons: tuple[int, ...]
    choice_propensity: float


@dataclass(slots=True)
class Decision:
    """One decision; the fields are the contract's.

    `exclusions` holds pairs of `ExclusionReason` and count, and only when fewer offers are
    returned than were wanted. Not frozen for the same reason as `Question`.
    """

    decision_id: str
    offers: list[RankedOffer]
    no_offer_reason: int
    profile_state: int
    in_holdout: bool
    catalogue_revision: int
    model_revision: int
    exclusions: list[tuple[int, int]]
    arm: int
