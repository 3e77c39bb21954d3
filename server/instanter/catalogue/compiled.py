"""The compiled catalogue: what the decision engine runs, plain arrays and frozen values."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.contact_policy import CONTACT_POLICY_EMPTY, ContactPolicy
from instanter.catalogue.events import Derivation, EventKind
from instanter.catalogue.fraud import FraudPolicy
from instanter.catalogue.response import Arms, LearningRules, OutcomeRules
from instanter.catalogue.rule_program import RuleProgram
from instanter.catalogue.schema import Schema
from instanter.catalogue.stock import StockPlan


@dataclass(frozen=True, slots=True)
class Treatment:
    """How an offer is shown in one channel.

    Attributes
    ----------
    name
        Unique within the offer; the channel's name by default.
    channel
        Declared channel.
    placements
        Declared placements of the channel; empty means everywhere in the channel.
    weight
        Context weight of this treatment, at least 0.
    content
        What the channel shows: an id or address of its own, opaque here.
    """

    name: str
    channel: str
    placements: tuple[str, ...]
    weight: float
    content: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer as declared.

    Attributes
    ----------
    name, title, issue, group, stock_keeping_unit
        Names and words; issue and group are the levels above an offer.
    treatments
        At least one.
    valid_from_s, valid_to_s
        Seconds since 1970: valid from (included) to (excluded); 0 and 2**53 when open.
    value_minor
        Worth of a positive response in minor units, at least 0.
    lever
        The business's own weight, at least 0.
    prior_propensity
        Propensity while no model has been fitted, in (0, 1).
    eligibility, applicability, suitability
        CEL text; empty when there is no such rule.
    context_weights
        Pairs of CEL text and factor ≥ 0.
    purpose
        What it is for, as consents name it; empty when only consents for all purposes count.
    """

    name: str
    title: str
    issue: str
    group: str
    stock_keeping_unit: str
    treatments: tuple[Treatment, ...]
    valid_from_s: int
    valid_to_s: int
    value_minor: int
    lever: float
    prior_propensity: float
    eligibility: str
    applicability: str
    suitability: str
    context_weights: tuple[tuple[str, float], ...]
    purpose: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledCatalogue:
    """One published revision of the catalogue.

    Attributes
    ----------
    revision, publish_time_ns
        Which publication, and when.
    schema
        Attributes and slots.
    currency
        ISO 4217 code of all values.
    channels
        Channel name to its placements.
    surfaces
        (channel, placement) to surface index; placement "" is the channel as such.
    holdout_rate, holdout_salt
        Share of customers kept out, in [0, 1); text that draws another holdout when changed.
    offers
        In the byte order of their names: offer o of every array below is `offers[o]`.
    program
        The rules of all offers.
    rule_literal
        int32[3, O]: literal of the eligibility, applicability and suitability rule; −1 for none.
    weight_offer, weight_literal, weight_factor
        int32[W], int32[W], float64[W]: context weights, sorted by offer.
    valid_from_s, valid_to_s
        float64[O].
    value
        float64[O], in major units.
    lever
        float64[O].
    prior_propensity
        float64[O].
    treatment_index
        int16[S, O]: which of the offer's treatments a surface shows; −1 for none.
    treatment_weight
        float64[S, O]: that treatment's weight; 0 where there is none.
    files
        Path to text, as applied.
    events
        Event kinds in the order of their codes, those withdrawn included.
    event_programs
        Event kind's name to the program of the conditions on its events; kinds without conditions
        are missing.
    derivations
        How derived attributes follow from events, in slot order.
    contact_policy, arms, outcome_rules, learning_rules
        As declared.
    state_id_next
        The `state_id` that the next new derivation gets: above all that were ever used.
    fraud
        The check at the till; None when nothing is declared.
    stock
        Sites, units and what counts as too little of them; None when nothing is declared.
    unit_code_next
        The code that the next new stock-keeping unit gets: above all that were ever used.
    """

    revision: int
    publish_time_ns: int
    schema: Schema
    currency: str
    channels: dict[str, tuple[str, ...]]
    surfaces: dict[tuple[str, str], int]
    holdout_rate: float
    holdout_salt: str
    offers: tuple[Offer, ...]
    program: RuleProgram
    rule_literal: NDArray[np.int32]
    weight_offer: NDArray[np.int32]
    weight_literal: NDArray[np.int32]
    weight_factor: NDArray[np.float64]
    valid_from_s: NDArray[np.float64]
    valid_to_s: NDArray[np.float64]
    value: NDArray[np.float64]
    lever: NDArray[np.float64]
    prior_propensity: NDArray[np.float64]
    treatment_index: NDArray[np.int16]
    treatment_weight: NDArray[np.float64]
    files: dict[str, str]
    events: tuple[EventKind, ...] = ()
    event_programs: dict[str, RuleProgram] = field(default_factory=dict)
    derivations: tuple[Derivation, ...] = ()
    contact_policy: ContactPolicy = CONTACT_POLICY_EMPTY
    arms: Arms = field(default_factory=Arms)
    outcome_rules: OutcomeRules = field(default_factory=OutcomeRules)
    learning_rules: LearningRules = field(default_factory=LearningRules)
    state_id_next: int = 1
    fraud: FraudPolicy | None = None
    stock: StockPlan | None = None
    unit_code_next: int = 1


Document = dict[str, Any]
"""A catalogue as plain values for msgpack; `catalogue/serialization` makes and reads it."""
