"""The differences between two catalogues, in the words of the contract."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import yaml

from instanter.catalogue.compiled import CompiledCatalogue, Offer
from instanter.catalogue.instants import format_instant
from instanter.catalogue.offer_declarations import OPEN_FROM_S, OPEN_TO_S
from instanter.catalogue.schema import Attribute, AttributeSource

_ABSENT: tuple[object, ...] = (None, "", (), [])


class Action(Enum):
    """What happened to one part of the catalogue; the names are the contract's."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs.

    Attributes
    ----------
    field
        As it is spelled in the file.
    old_value, new_value
        The values as YAML in one line; empty when absent.
    """

    field: str
    old_value: str
    new_value: str


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes
    ----------
    action
        What happened.
    resource
        `attributes/{attribute}`, `channels/{channel}`, `offers/{offer}` or `policies/{policy}`.
    fields
        For an update, each field that differs; else empty.
    """

    action: Action
    resource: str
    fields: tuple[FieldChange, ...] = ()


def find_changes(old: CompiledCatalogue | None, new: CompiledCatalogue) -> tuple[Change, ...]:
    """Return what differs, in the order attributes, channels, offers, policies, each by name."""
    kinds: list[tuple[str, Callable[[CompiledCatalogue], Mapping[str, dict[str, Any]]]]] = [
        ("attributes", lambda c: {a.name: _describe_attribute(a) for a in c.schema}),
        ("channels", lambda c: {name: {"placements": p} for name, p in c.channels.items()}),
        ("offers", lambda c: {offer.name: _describe_offer(offer) for offer in c.offers}),
        ("policies", _describe_policies),
    ]
    changes: list[Change] = []
    for kind, describe in kinds:
        before = describe(old) if old is not None else {}
        changes.extend(_compare(kind, before, describe(new)))
    return tuple(changes)


def _compare(
    kind: str, before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]
) -> Iterable[Change]:
    for name in sorted(before.keys() | after.keys()):
        resource = f"{kind}/{name}"
        if name not in before:
            yield Change(Action.CREATE, resource)
        elif name not in after:
            yield Change(Action.DELETE, resource)
        elif before[name] != after[name]:
            old, new = before[name], after[name]
            fields = tuple(
                FieldChange(field, _as_yaml(old[field]), _as_yaml(new[field]))
                for field in old
                if old[field] != new[field]
            )
            yield Change(Action.UPDATE, resource, fields)


def _describe_attribute(attribute: Attribute) -> dict[str, Any]:
    low, high = attribute.range_min, attribute.range_max
    values = tuple(
        value
        for code, value in enumerate(attribute.values)
        if code not in attribute.withdrawn_codes
    )
    return {
        "kind": attribute.kind.name.lower(),
        "source": attribute.source.name.lower(),
        "unit": attribute.unit,
        "range": () if low is None and high is None else (low, high),
        "values": values,
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
    }


def _describe_policies(catalogue: CompiledCatalogue) -> dict[str, dict[str, Any]]:
    policies: dict[str, dict[str, Any]] = {}
    if catalogue.currency:
        policies["currency"] = {"currency": catalogue.currency}
    policies["holdout"] = {"rate": catalogue.holdout_rate, "salt": catalogue.holdout_salt}
    return policies


def _as_yaml(value: object) -> str:
    if value in _ABSENT:
        return ""
    plain = list(value) if isinstance(value, tuple) else value
    text: str = yaml.dump(
        plain,
        Dumper=yaml.CSafeDumper,
        default_flow_style=True,
        allow_unicode=True,
        sort_keys=False,
        width=1 << 30,
    )
    return text.removesuffix("\n").removesuffix("\n...")
