"""A catalogue in the words of its files, so that two of them can be compared."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from instanter.catalogue.compiled import CompiledCatalogue, Offer
from instanter.catalogue.contact_policy import CONTACT_POLICY_EMPTY, ContactPolicy
from instanter.catalogue.events import Aggregation, Derivation, EventField, EventKind
from instanter.catalogue.fraud_descriptions import (
    describe_rules,
    describe_settings,
    describe_terminals,
    describe_velocities,
)
from instanter.catalogue.instants import format_instant
from instanter.catalogue.offer_declarations import OPEN_FROM_S, OPEN_TO_S
from instanter.catalogue.response import UNANSWERED, Arms, LearningRules, OutcomeRules
from instanter.catalogue.schema import Attribute, AttributeSource
from instanter.catalogue.stock_descriptions import (
    describe_grants,
    describe_sites,
    describe_stock_policies,
    describe_stock_settings,
    describe_units,
)
from instanter.catalogue.yaml_reader import format_duration

Described: TypeAlias = Mapping[str, dict[str, Any]]
"""Name to key to value, for all that is of one kind; the same keys for each."""


def _describe_attributes(catalogue: CompiledCatalogue) -> Described:
    derivations = {derivation.slot: derivation for derivation in catalogue.derivations}
    described: dict[str, dict[str, Any]] = {}
    for attribute in catalogue.schema:
        is_derived = attribute.source is AttributeSource.DERIVED
        derive = _describe_derivation(derivations[attribute.slot], catalogue) if is_derived else {}
        described[attribute.name] = {**_describe_attribute(attribute), "derive": derive}
    return described


def _describe_attribute(attribute: Attribute) -> dict[str, Any]:
    low, high = attribute.range_min, attribute.range_max
    return {
        "kind": attribute.kind.name.lower(),
        "source": attribute.source.name.lower(),
        "unit": attribute.unit,
        "range": () if low is None and high is None else (low, high),
        "values": _describe_values(attribute),
        "column": attribute.column if attribute.source is AttributeSource.LOADED else "",
        "owner": attribute.owner,
        "purpose": attribute.purpose,
        "sensitivity": attribute.sensitivity.name.lower(),
        "description": attribute.description,
    }


def _describe_offer(offer: Offer) -> dict[str, Any]:
    from_s, to_s = offer.valid_from_s, offer.valid_to_s
    return {
        "title": offer.title,
        "issue": offer.issue,
        "group": offer.group,
        "treatments": [
            {
                "channel": treatment.channel,
                "name": treatment.name,
                "placements": list(treatment.placements),
                "weight": treatment.weight,
                "content": treatment.content,
            }
            for treatment in offer.treatments
        ],
        "valid_from": None if from_s == OPEN_FROM_S else format_instant(from_s),
        "valid_to": None if to_s == OPEN_TO_S else format_instant(to_s),
        "value_minor": offer.value_minor,
        "lever": offer.lever,
        "stock_keeping_unit": offer.stock_keeping_unit,
        "prior_propensity": offer.prior_propensity,
        "eligibility": offer.eligibility.strip(),
        "applicability": offer.applicability.strip(),
        "suitability": offer.suitability.strip(),
        "context_weights": [
            {"when": when.strip(), "weight": weight} for when, weight in offer.context_weights
        ],
        "purpose": offer.purpose,
    }


def _describe_values(declared: Attribute | EventField) -> tuple[str, ...]:
    return tuple(
        value for code, value in enumerate(declared.values) if code not in declared.withdrawn_codes
    )


def _describe_derivation(derivation: Derivation, catalogue: CompiledCatalogue) -> dict[str, Any]:
    function = derivation.aggregation.name.lower()
    if derivation.aggregation is Aggregation.RATIO:
        names = {attribute.slot: name for name, attribute in catalogue.schema.derived.items()}
        return {
            "function": function,
            "numerator": names[derivation.numerator],
            "denominator": names[derivation.denominator],
        }
    described: dict[str, Any] = {"event": derivation.event, "function": function}
    if derivation.field_index >= 0:
        events = {event.name: event for event in catalogue.events}
        described["field"] = events[derivation.event].fields[derivation.field_index].name
    for key, seconds in (("window", derivation.window_s), ("half_life", derivation.half_life_s)):
        if seconds:
            described[key] = format_duration(seconds)
    if derivation.condition:
        described["where"] = derivation.condition
    return described


def _describe_event(event: EventKind) -> dict[str, Any]:
    fields = [
        {
            key: value
            for key, value in _describe_field(field).items()
            if value not in ("", (), False)
        }
        for field in event.fields
        if not field.withdrawn
    ]
    return {"description": event.description, "fields": fields}


def _describe_field(field: EventField) -> dict[str, Any]:
    low, high = field.range_min, field.range_max
    return {
        "name": field.name,
        "kind": field.kind.name.lower(),
        "unit": field.unit,
        "range": () if low is None and high is None else [low, high],
        "values": list(_describe_values(field)) or (),
        "required": field.required,
    }


def _describe_policies(catalogue: CompiledCatalogue) -> Described:
    """Return the policies that are declared; the holdout stands there with its default too."""
    policies: dict[str, dict[str, Any]] = {}
    if catalogue.currency:
        policies["currency"] = {"currency": catalogue.currency}
    policies["holdout"] = {"rate": catalogue.holdout_rate, "salt": catalogue.holdout_salt}
    if catalogue.contact_policy != CONTACT_POLICY_EMPTY:
        policies["contact_policy"] = _describe_contact_policy(catalogue.contact_policy, catalogue)
    if catalogue.arms != Arms():
        arms = catalogue.arms
        policies["arms"] = {"random_rate": arms.random_rate, "salt": arms.random_salt}
    if catalogue.outcome_rules != OutcomeRules():
        rules = catalogue.outcome_rules
        wait, accept_for = format_duration(rules.wait_s), format_duration(rules.accept_s)
        policies["outcomes"] = {"wait": wait, "accept_for": accept_for}
    if catalogue.learning_rules != LearningRules():
        learning = catalogue.learning_rules
        policies["learning"] = {
            "enabled": learning.enabled,
            "half_life_labels": learning.half_life_labels,
            "exploration": learning.exploration,
            "unanswered": next(w for w, c in UNANSWERED.items() if c == learning.negative_at_once),
        }
    if catalogue.fraud is not None:
        policies["fraud"] = describe_settings(catalogue.fraud)
    if catalogue.stock is not None:
        policies["stock"] = describe_stock_settings(catalogue.stock, catalogue)
    return policies


def _describe_contact_policy(policy: ContactPolicy, catalogue: CompiledCatalogue) -> dict[str, Any]:
    zone: Any = policy.time_zone
    if policy.time_zone_slot >= 0:
        schema = catalogue.schema
        names = {a.slot: a.name for a in (*schema.loaded.values(), *schema.derived.values())}
        zone = {"attribute": names[policy.time_zone_slot], "default": policy.time_zone}
    return {
        "time_zone": zone,
        "caps": [
            _without_empty(
                name=cap.name,
                count=cap.count_max,
                window=format_duration(cap.window_s),
                per=cap.scope.name.lower(),
                channel=cap.channel,
            )
            for cap in policy.caps
        ],
        "cool_off": [
            {
                "after": one.cause.name.lower(),
                "for": format_duration(one.rest_s),
                "per": one.scope.name.lower(),
            }
            for one in policy.cool_offs
        ],
        "quiet_hours": [
            {
                **_without_empty(channels=list(one.channels)),
                "from": _format_minute(one.start_minute),
                "to": _format_minute(one.end_minute),
            }
            for one in policy.quiet_hours
        ],
        "consent": [
            _without_empty(
                attribute=consent.attribute, channel=consent.channel, purpose=consent.purpose
            )
            for consent in policy.consents
        ],
    }


def _without_empty(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in ("", [])}


def _format_minute(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


DESCRIPTIONS: Final[dict[str, Callable[[CompiledCatalogue], Described]]] = {
    "attributes": _describe_attributes,
    "channels": lambda c: {name: {"placements": places} for name, places in c.channels.items()},
    "events": lambda c: {e.name: _describe_event(e) for e in c.events if not e.withdrawn},
    "offers": lambda c: {offer.name: _describe_offer(offer) for offer in c.offers},
    "policies": _describe_policies,
    "velocities": lambda c: describe_velocities(c.fraud) if c.fraud else {},
    "fraudRules": lambda c: describe_rules(c.fraud) if c.fraud else {},
    "terminals": lambda c: describe_terminals(c.fraud) if c.fraud else {},
    "sites": lambda c: describe_sites(c.stock) if c.stock else {},
    "stockKeepingUnits": lambda c: describe_units(c.stock) if c.stock else {},
    "stockPolicies": lambda c: describe_stock_policies(c.stock) if c.stock else {},
    "distributors": lambda c: describe_grants(c.stock) if c.stock else {},
}
"""What a catalogue has of each kind; the keys are the beginnings of resource names."""
