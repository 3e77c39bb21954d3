"""The differences between two catalogues, in the words of the contract."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import yaml

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.descriptions import DESCRIPTIONS

_ABSENT: tuple[object, ...] = (None, "", (), [], {})


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
        `attributes/{attribute}`, `channels/{channel}`, `events/{event}`, `offers/{offer}`,
        `policies/{policy}`, `velocities/{velocity}`, `fraudRules/{rule}`,
        `terminals/{terminal}`, `sites/{site}`, `stockKeepingUnits/{unit}`,
        `stockPolicies/{policy}` or `distributors/{distributor}`.
    fields
        For an update, each field that differs; else empty.
    """

    action: Action
    resource: str
    fields: tuple[FieldChange, ...] = ()


def find_changes(old: CompiledCatalogue | None, new: CompiledCatalogue) -> tuple[Change, ...]:
    """Return what differs: attributes, channels, events, offers, policies, each by name."""
    changes: list[Change] = []
    for kind, describe in DESCRIPTIONS.items():
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
