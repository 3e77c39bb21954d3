"""What the client returns and takes: plain frozen values, no messages.

Ids are plain (`c-17`), resource names (`customers/c-17`) are at hand as `name` properties. The
members of the enumerations are those of the contract, in the contract's order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

AttributeValue = float | int | str | bool | datetime
"""A value of an attribute: number, category (text), flag, or instant (an aware datetime)."""


class OfferReason(IntEnum):
    """What speaks for, or qualifies, an offer."""

    UNSPECIFIED = 0
    MODEL = 1
    MODEL_WITHOUT_PROFILE = 2
    PRIOR = 3
    CONTEXT_WEIGHT = 4
    RULES_HOLD = 5
    RANDOM_ARM = 6


class NoOfferReason(IntEnum):
    """Why a decision has no offer; UNSPECIFIED exactly when it has one."""

    UNSPECIFIED = 0
    HOLDOUT = 1
    NO_CURRENT_OFFER = 2
    NO_ELIGIBLE_OFFER = 3
    NO_PRIORITY = 4
    CONTACT_POLICY = 5
    STOCK = 6


class ProfileState(IntEnum):
    """Whether a decision used the customer's profile."""

    UNSPECIFIED = 0
    KNOWN = 1
    UNKNOWN = 2
    DAMAGED = 3


class ExclusionReason(IntEnum):
    """Why offers were left out, in the order of the stages."""

    UNSPECIFIED = 0
    NOT_CURRENT = 1
    NO_TREATMENT = 2
    NOT_ELIGIBLE = 3
    NOT_APPLICABLE = 4
    NOT_SUITABLE = 5
    ATTRIBUTE_MISSING = 6
    NO_PRIORITY = 7
    NO_CONSENT = 8
    QUIET_HOURS = 9
    CAPPED = 10
    COOLING_OFF = 11
    OUT_OF_STOCK = 12
    STOCK_UNKNOWN = 13


class Arm(IntEnum):
    """A way of choosing, drawn for each customer, so that the ways can be compared."""

    UNSPECIFIED = 0
    DECIDED = 1
    RANDOM = 2
    HOLDOUT = 3


class CatalogueAction(IntEnum):
    """What a publication did to one part of the catalogue."""

    UNSPECIFIED = 0
    CREATE = 1
    UPDATE = 2
    DELETE = 3


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """One question of a batch; the fields are the arguments of `Client.decide_offers`."""

    customer: str
    channel: str
    placement: str = ""
    offer_count: int = 1
    context: Mapping[str, AttributeValue | None] = field(default_factory=dict)
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a customer did.

    Attributes
    ----------
    customer
        Id or resource name; needs no profile.
    kind
        Kind of the event as the catalogue declares it, `purchase` for example.
    fields
        Values of the kind's fields; None is left out.
    event_time
        When it happened, with its time zone; None for when the server records it.
    event_id
        The same in every retry; an event sent again is counted once. None makes one at each call,
        which only the client's own retries of that call share.
    """

    customer: str
    kind: str
    fields: Mapping[str, AttributeValue | None] = field(default_factory=dict)
    event_time: datetime | None = None
    event_id: str | None = None


class OutcomeKind(IntEnum):
    """What became of an offer."""

    PRESENTED = 1
    CLICKED = 2
    ACCEPTED = 3
    REJECTED = 4
    CONVERTED = 5


class OutcomeState(IntEnum):
    """Whether an outcome counts."""

    UNSPECIFIED = 0
    RECORDED = 1
    DUPLICATE = 2
    DECISION_UNKNOWN = 3
    CUSTOMER_MISMATCH = 4
    OFFER_MISMATCH = 5
    TOO_LATE = 6
    TOO_EARLY = 7


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one offer of one decision.

    Attributes
    ----------
    decision
        `Decision.id`, or the resource name.
    customer
        Id or resource name: the decision's.
    offer
        Name or resource name of one of the decision's offers; empty only for a conversion of a
        decision in the holdout.
    kind
        What happened.
    outcome_time
        When it happened, with its time zone; None for when the server records it.
    value_minor
        Worth of a CONVERTED or ACCEPTED, in minor units; None for what the offer was worth.
    """

    decision: str
    customer: str
    offer: str
    kind: OutcomeKind
    outcome_time: datetime | None = None
    value_minor: int | None = None


@dataclass(frozen=True, slots=True)
class EventCounts:
    """What became of a batch of events.

    Attributes
    ----------
    recorded_count
        Events that are recorded now and were not before.
    duplicate_count
        Events that had been recorded before, or stood in the batch twice.
    """

    recorded_count: int
    duplicate_count: int


@dataclass(frozen=True, slots=True)
class RankedOffer:
    """One offer of a decision.

    Attributes
    ----------
    offer, treatment
        Id of the offer, and which of its treatments to show.
    priority
        The number ranked by: propensity × context weight × value (major units) × lever.
    propensity
        The probability of a positive response, in [0, 1].
    value_minor
        The worth of a positive response, in minor units of the catalogue's currency.
    context_weight, lever
        The other two factors of the priority, each at least 0.
    reasons
        What speaks for, or qualifies, this offer.
    choice_propensity
        The probability with which it was to be ranked first; 0 when it was not.
    """

    offer: str
    treatment: str
    priority: float
    propensity: float
    value_minor: int
    context_weight: float
    lever: float
    reasons: tuple[OfferReason, ...]
    choice_propensity: float = 0.0

    @property
    def name(self) -> str:
        """Resource name, `offers/{offer}`."""
        return f"offers/{self.offer}"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """How many offers were left out for one reason."""

    reason: ExclusionReason
    offer_count: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one question. It is true when it has an offer.

    Attributes
    ----------
    id
        Id of this decision; quote it when the customer's response is recorded.
    offers
        Best first; empty when there is none, which is a regular answer.
    no_offer_reason
        Why there is none.
    profile_state
        Whether a profile was used.
    in_holdout
        Whether the customer is kept out on purpose, to measure uplift.
    catalogue_revision, model_revision
        What decided; model revision 0 when no model has been fitted yet.
    took_us
        Time inside the server, in microseconds.
    exclusions
        How many offers were left out and why; filled when fewer are returned than were wanted.
    arm
        Which way of choosing decided.
    """

    id: str
    offers: tuple[RankedOffer, ...]
    no_offer_reason: NoOfferReason
    profile_state: ProfileState
    in_holdout: bool
    catalogue_revision: int
    model_revision: int
    took_us: int
    exclusions: tuple[Exclusion, ...]
    arm: Arm = Arm.UNSPECIFIED

    @property
    def name(self) -> str:
        """Resource name, `decisions/{decision}`."""
        return f"decisions/{self.id}"

    def __bool__(self) -> bool:
        return bool(self.offers)


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer and the profile. Attributes that are missing are absent.

    Attributes
    ----------
    id
        The customer's id.
    attributes
        Value by attribute name; instants are aware datetimes in UTC.
    revision
        How often the profile has been written, from 1.
    create_time, update_time
        In UTC, whole milliseconds; None when the server did not say.
    """

    id: str
    attributes: dict[str, AttributeValue]
    revision: int
    create_time: datetime | None
    update_time: datetime | None

    @property
    def name(self) -> str:
        """Resource name, `customers/{customer}`."""
        return f"customers/{self.id}"


@dataclass(frozen=True, slots=True)
class CustomerPage:
    """One page of customers.

    Attributes
    ----------
    customers
        In the byte order of their ids.
    next_page_token
        Ask for the next page with it; empty when this was the last.
    damaged_count
        How many records of this page were damaged and left out.
    """

    customers: tuple[Customer, ...]
    next_page_token: str
    damaged_count: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The published catalogue; `files` maps path to text and is empty unless asked for."""

    revision: int
    publish_time: datetime | None
    schema_revision: int
    attribute_count: int
    offer_count: int
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs; values are YAML, empty where the field was absent."""

    field: str
    old_value: str
    new_value: str


@dataclass(frozen=True, slots=True)
class CatalogueChange:
    """One difference between two catalogues."""

    action: CatalogueAction
    resource: str
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class Publication:
    """What a publication changed, or would change."""

    catalogue: Catalogue
    changes: tuple[CatalogueChange, ...]
    warnings: tuple[str, ...]
