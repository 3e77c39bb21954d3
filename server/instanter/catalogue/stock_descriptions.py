"""The stock side in the words of its files, so that two catalogues can be compared."""

from collections.abc import Mapping
from typing import Any

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.stock import (
    NO_UNIT,
    Cause,
    PurchaseMapping,
    Severity,
    StockedOffers,
    StockPlan,
    StockPolicy,
)
from instanter.catalogue.yaml_reader import format_duration

Described = Mapping[str, dict[str, Any]]
"""Name to key to value, for all that is of one kind; the same keys for each."""

_MATCHED = ("units", "categories", "sites", "regions")


def describe_sites(plan: StockPlan) -> Described:
    """Return the sites."""
    return {site.name: {"region": site.region, "time_zone": site.time_zone} for site in plan.sites}


def describe_units(plan: StockPlan) -> Described:
    """Return the stock-keeping units."""
    return {unit.name: {"category": unit.category, "title": unit.title} for unit in plan.units}


def describe_stock_policies(plan: StockPlan) -> Described:
    """Return the policies that are declared."""
    return {
        policy.name: _describe_policy(policy)
        for policy in plan.policies
        if policy.name != "default"
    }


def describe_grants(plan: StockPlan) -> Described:
    """Return what distributors may see."""
    return {
        grant.distributor: {key: list(getattr(grant, key)) for key in _MATCHED}
        for grant in plan.grants.values()
    }


def describe_stock_settings(plan: StockPlan, catalogue: CompiledCatalogue) -> dict[str, Any]:
    """Return the rest; the order of policies is of it, for the first that matches counts.

    Parameters
    ----------
    plan, catalogue
        The stock side, and the catalogue that it is of.
    """
    return {
        "period": plan.period.name.lower(),
        "policies": [policy.name for policy in plan.policies if policy.name != "default"],
        "purchases": {
            name: _describe_purchase(purchase, plan, catalogue)
            for name, purchase in plan.purchases.items()
        },
        "offers": {} if plan.offers is None else _describe_offers(plan.offers, plan, catalogue),
        "alerts": {
            "retention": format_duration(plan.retention_s),
            "heartbeat": format_duration(plan.heartbeat_s),
        },
        "clock": {"behind_max": format_duration(plan.behind_max_s)},
    }


def _describe_policy(policy: StockPolicy) -> dict[str, Any]:
    spans = ("lead_time_s", "lead_time_sd_s", "escalate_after_s")
    tolerance = {"units": policy.count_tolerance_units, "share": policy.count_tolerance_share}
    rate = policy.plunge_false_alarms_per_day
    named = dict(zip(Cause, policy.severities, strict=True))
    return {
        **{key: list(getattr(policy, key)) for key in _MATCHED},
        "reorder_point": policy.reorder_point,
        **{
            key.removesuffix("_s"): format_duration(getattr(policy, key))
            if getattr(policy, key)
            else ""
            for key in spans
        },
        "service_level": policy.service_level or None,
        "order_up_to": policy.order_up_to,
        "order_units": policy.order_units,
        "minimum": policy.minimum,
        "maximum": policy.maximum,
        "cover": [
            {"days": tier.days, "severity": tier.severity.name.lower()} for tier in policy.cover
        ],
        "plunge": {}
        if rate is None
        else {"false_alarms_per_day": rate, "severity": _word(named[Cause.PLUNGE])},
        "severities": {
            cause.name.lower(): _word(severity)
            for cause, severity in named.items()
            if cause not in (Cause.LOW_COVER, Cause.PLUNGE)
        },
        "negative": policy.negative.name.lower(),
        "count_tolerance": tolerance,
        "hysteresis": policy.hysteresis,
        "transfer_from": "same_region"
        if policy.transfer_same_region
        else list(policy.transfer_from),
    }


def _describe_purchase(
    purchase: PurchaseMapping, plan: StockPlan, catalogue: CompiledCatalogue
) -> dict[str, Any]:
    events = {event.name: event for event in catalogue.events}
    fields = events[purchase.event].fields
    named = {
        "unit": purchase.unit_index,
        "units": purchase.units_index,
        "site": purchase.site_index,
        "movement_id": purchase.movement_id_index,
        "returns": purchase.return_index,
    }
    described = {key: fields[index].name for key, index in named.items() if index != NO_UNIT}
    if purchase.fixed_site != NO_UNIT:
        described["site_is"] = plan.sites[purchase.fixed_site].name
    return described


def _describe_offers(
    offers: StockedOffers, plan: StockPlan, catalogue: CompiledCatalogue
) -> dict[str, Any]:
    schema = catalogue.schema
    profile = {a.slot: a.name for a in (*schema.loaded.values(), *schema.derived.values())}
    context = {a.slot: a.name for a in schema.context.values()}
    described: dict[str, Any] = {}
    if offers.site_slot != NO_UNIT:
        described["site"] = f"context.{context[offers.site_slot]}"
    if offers.reachable_slots:
        described["reachable"] = [f"profile.{profile[slot]}" for slot in offers.reachable_slots]
    if offers.fixed_site != NO_UNIT:
        described["site_is"] = plan.sites[offers.fixed_site].name
    if offers.low_cover:
        described["low_cover"] = [
            {"days": point.days, "factor": point.factor} for point in offers.low_cover
        ]
    described["unknown"] = "withhold" if offers.withhold_unknown else "offer"
    return described


def _word(severity: int) -> str:
    return Severity(severity).name.lower() if severity else "none"
