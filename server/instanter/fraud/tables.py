"""One catalogue as the engine uses it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.events import as_attribute
from instanter.catalogue.fraud import FraudPolicy, FraudRule
from instanter.catalogue.fraud_figures import FIELD_FIRST, make_rooms
from instanter.catalogue.fraud_plan import FraudPlan, make_fraud_plan
from instanter.catalogue.fraud_words import EntityKind, ListKind
from instanter.catalogue.schema import Attribute
from instanter.errors import PreconditionError

_NS_PER_S = 1_000_000_000
_BY_DISPOSITION = 1_000.0
"""What a disposition weighs among reasons: more than all points."""


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """One entry of thresholds: for which merchants (None for all) and amounts it counts."""

    merchants: frozenset[str] | None
    amount_minor_from: int
    refer: float
    decline: float


@dataclass(frozen=True, slots=True, eq=False)
class FraudTables:
    """One catalogue's check at the till.

    Attributes
    ----------
    catalogue, policy, plan
        The catalogue, what it declares, and that for kernels.
    fields, fields_required, field_count, event_count
        Declared fields by name, whose slots are their indexes; names of those that must be given;
        fields with those withdrawn; slots of an event.
    places
        Terminals' latitudes and longitudes.
    limits
        The thresholds from the top.
    rules, names, reasons
        The rules by their indexes; their names; their weights, negative, and reason codes.
    hotlists
        What an entry means, by list.
    ahead_ns, behind_ns, stale_ns
        Bounds of clocks; age of a hotlist, 0 for none.
    reads
        Which kinds of entities are read for a transaction: of cards and customers there are
        baselines, of others only what velocities look at.
    figure_names
        Name and form of each figure that has one, in the order of rooms.
    """

    catalogue: CompiledCatalogue
    policy: FraudPolicy
    plan: FraudPlan
    fields: dict[str, Attribute]
    fields_required: tuple[str, ...]
    field_count: int
    event_count: int
    places: dict[str, tuple[float, float]]
    limits: tuple[Limit, ...]
    rules: tuple[FraudRule, ...]
    names: tuple[str, ...]
    reasons: tuple[tuple[float, str], ...]
    hotlists: dict[ListKind, int]
    ahead_ns: int
    behind_ns: int
    stale_ns: int
    reads: tuple[bool, ...]
    figure_names: tuple[tuple[str, Attribute], ...]


def mark_silent(tables: FraudTables, paused: frozenset[str]) -> NDArray[np.uint8]:
    """Return which rules are only reported, uint8[R]: those in shadow, and those of these names."""
    silent = tables.plan.shadow.copy()
    for index, name in enumerate(tables.names):
        if name in paused:
            silent[index] = 1
    return silent


def make_tables(catalogue: CompiledCatalogue) -> FraudTables:
    """Return the tables of a catalogue.

    Raises
    ------
    PreconditionError
        It declares no check at the till.
    """
    policy = catalogue.fraud
    if policy is None:
        raise PreconditionError(
            "the published catalogue has no `fraud:` section, so nothing says how transactions are "
            "assessed; declare one and publish it with `instanter apply`",
            reason="FRAUD_NOT_DECLARED",
        )
    plan = make_fraud_plan(catalogue)
    fields = [field for field in policy.fields if not field.withdrawn]
    velocities = [v.name for v in policy.velocities if not v.name.startswith("terminal.")]
    rooms = make_rooms(policy.fields, velocities, {})
    settings = policy.settings
    return FraudTables(
        catalogue=catalogue,
        policy=policy,
        plan=plan,
        fields={field.name: as_attribute(field) for field in fields},
        fields_required=tuple(field.name for field in fields if field.required),
        field_count=len(policy.fields),
        event_count=FIELD_FIRST + len(policy.fields),
        places={
            terminal.name: (terminal.latitude, terminal.longitude)
            for terminal in policy.terminals
            if not math.isnan(terminal.latitude)
        },
        limits=tuple(
            Limit(
                frozenset(one.merchants) if one.merchants else None,
                one.amount_minor_from,
                one.refer,
                one.decline,
            )
            for one in policy.thresholds
        ),
        rules=policy.rules,
        names=tuple(rule.name for rule in policy.rules),
        reasons=tuple(
            (-(rule.points + _BY_DISPOSITION * rule.disposition), rule.reason)
            for rule in policy.rules
        ),
        hotlists=dict(zip(ListKind, settings.hotlists.dispositions, strict=True)),
        ahead_ns=settings.clock_ahead_s * _NS_PER_S,
        behind_ns=settings.clock_behind_s * _NS_PER_S,
        stale_ns=settings.hotlists.stale_after_s * _NS_PER_S,
        reads=tuple(
            bool(kind <= EntityKind.CUSTOMER or plan.plan_cut[kind - 1] < plan.plan_cut[kind])
            for kind in EntityKind
        ),
        figure_names=tuple(
            (f"{room}.{name}", attribute)
            for room, attributes in rooms.items()
            for name, attribute in attributes.items()
        ),
    )
