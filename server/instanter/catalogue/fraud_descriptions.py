"""The check at the till in the words of its files, so that two catalogues can be compared."""

import math
from collections.abc import Mapping
from typing import Any

from instanter import fraud_limits
from instanter.catalogue.events import EventField
from instanter.catalogue.fraud import (
    CONTINUE,
    FraudModel,
    FraudPolicy,
    FraudRule,
    Guard,
    Threshold,
    Velocity,
)
from instanter.catalogue.fraud_words import Disposition, ListKind
from instanter.catalogue.instants import format_instant
from instanter.catalogue.offer_declarations import OPEN_FROM_S, OPEN_TO_S
from instanter.catalogue.yaml_reader import format_duration

Described = Mapping[str, dict[str, Any]]
"""Name to key to value, for all that is of one kind; the same keys for each."""


def describe_rules(policy: FraudPolicy) -> Described:
    """Return the rules."""
    return {rule.name: _describe_rule(rule) for rule in policy.rules}


def describe_velocities(policy: FraudPolicy) -> Described:
    """Return the velocities that are declared."""
    return {
        velocity.name: _describe_velocity(velocity)
        for velocity in policy.velocities
        if not velocity.name.startswith("terminal.")
    }


def describe_terminals(policy: FraudPolicy) -> Described:
    """Return the terminals with declared places."""
    return {
        terminal.name: {
            "latitude": None if math.isnan(terminal.latitude) else terminal.latitude,
            "longitude": None if math.isnan(terminal.longitude) else terminal.longitude,
            "merchant": terminal.merchant,
        }
        for terminal in policy.terminals
    }


def describe_settings(policy: FraudPolicy) -> dict[str, Any]:
    """Return the rest."""
    settings = policy.settings
    hotlists, stand_in = settings.hotlists, settings.stand_in
    words = dict(zip(ListKind, hotlists.dispositions, strict=True))
    return {
        "fields": [_describe_field(field) for field in policy.fields if not field.withdrawn],
        "model": {} if policy.model is None else _describe_model(policy.model),
        "thresholds": [_describe_threshold(one) for one in policy.thresholds],
        "baselines": {"half_life": format_duration(settings.baseline_half_life_s)},
        "travel": {
            "distance_km_min": settings.travel.distance_km_min,
            "speed_kmh_max": settings.travel.speed_kmh_max,
        },
        "compromised_terminal": {
            "window": format_duration(settings.compromised_terminal.window_s),
            "labels_min": settings.compromised_terminal.labels_min,
            "suggest_rate": settings.compromised_terminal.suggest_rate,
        },
        "hotlists": {
            **{kind.name.lower(): _word(words[kind]) for kind in ListKind},
            "expected": [kind.name.lower() for kind in hotlists.expected],
            "stale_after": format_duration(hotlists.stale_after_s)
            if hotlists.stale_after_s
            else "",
        },
        "stand_in": {
            "hotlist_missing": _word(stand_in.hotlist_missing),
            "hotlist_stale": _word(stand_in.hotlist_stale),
            "state_damaged": _word(stand_in.state_damaged),
            "place_missing": _word(stand_in.place_missing),
            "clock_jumped": _word(stand_in.clock_jumped),
            "deadline_short": {
                "approve_up_to_minor": stand_in.approve_up_to_minor,
                "else": _word(stand_in.deadline_otherwise),
            },
        },
        "clock": {
            "ahead_max": format_duration(settings.clock_ahead_s),
            "behind_max": format_duration(settings.clock_behind_s),
        },
        "guard": _describe_guard(settings.guard),
    }


def _describe_rule(rule: FraudRule) -> dict[str, Any]:
    from_s, to_s = rule.valid_from_s, rule.valid_to_s
    return {
        "when": rule.when,
        "disposition": _word(rule.disposition) if rule.disposition else "",
        "points": None if rule.disposition else rule.points,
        "reason": rule.reason,
        "valid_from": None if from_s == OPEN_FROM_S else format_instant(from_s),
        "valid_to": None if to_s == OPEN_TO_S else format_instant(to_s),
        "shadow": rule.shadow,
        "guard": _describe_guard(rule.guard),
    }


def _describe_velocity(velocity: Velocity) -> dict[str, Any]:
    return {
        "per": velocity.per.name.lower(),
        "function": velocity.function.name.lower(),
        "of": velocity.of,
        "window": format_duration(velocity.window_s),
        "counts": "approved" if velocity.approved_only else "attempts",
        "where": velocity.where,
    }


def _describe_guard(guard: Guard) -> dict[str, Any]:
    return {
        "enabled": guard.enabled,
        "share": guard.share_max,
        "period": format_duration(guard.period_s),
        "declines_min": guard.declines_min,
        "times_history": guard.times_history,
    }


def _describe_model(model: FraudModel) -> dict[str, Any]:
    names = model.features
    return {
        "features": list(names),
        "pairs": [[names[first], names[second]] for first, second in model.pairs],
        "points": model.points,
        "start_rate": model.start_rate,
    }


def _describe_threshold(threshold: Threshold) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if threshold.merchants:
        described["merchants"] = list(threshold.merchants)
    if threshold.amount_minor_from:
        described["amount_minor_from"] = threshold.amount_minor_from
    risks = {"refer": threshold.refer, "decline": threshold.decline}
    never = fraud_limits.FRAUD_POINTS_MAX
    return described | {key: risk for key, risk in risks.items() if risk <= never}


def _describe_field(field: EventField) -> dict[str, Any]:
    low, high = field.range_min, field.range_max
    values = [v for code, v in enumerate(field.values) if code not in field.withdrawn_codes]
    described: dict[str, Any] = {"name": field.name, "kind": field.kind.name.lower()}
    if field.unit:
        described["unit"] = field.unit
    if low is not None or high is not None:
        described["range"] = [low, high]
    if values:
        described["values"] = values
    if field.required:
        described["required"] = True
    return described


def _word(disposition: int) -> str:
    return "continue" if disposition == CONTINUE else Disposition(disposition).name.lower()
