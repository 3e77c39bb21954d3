"""Reads the `policies:` of a stock section."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from instanter import limits, stock_limits
from instanter.catalogue.stock import Cause, CoverTier, Negative, Severity, StockPolicy
from instanter.catalogue.stock_names import PLACE_KEYS, StockNames
from instanter.catalogue.yaml_reader import NumberRange, Reader
from instanter.catalogue.yaml_tree import Node, Scalar

_AMOUNT_KEYS: Final = ("reorder_point", "order_up_to", "order_units", "minimum", "maximum")
_KEYS: Final = (
    "name", *PLACE_KEYS, *_AMOUNT_KEYS, "lead_time", "lead_time_sd", "service_level", "cover",
    "plunge", "severities", "negative", "count_tolerance", "hysteresis", "escalate_after",
    "transfer_from",
)  # fmt: skip
_COVER_KEYS: Final = ("days", "severity")
_PLUNGE_KEYS: Final = ("false_alarms_per_day", "severity")
_TOLERANCE_KEYS: Final = ("units", "share")
_SEVERITIES: Final = {severity.name.lower(): severity for severity in Severity}
_SEVERITIES_OR_NONE: Final = {"none": 0, **_SEVERITIES}
_SEVERITY_KEYS: Final = {
    cause.name.lower(): cause for cause in Cause if cause not in (Cause.LOW_COVER, Cause.PLUNGE)
}
_NEGATIVES: Final = {negative.name.lower(): negative for negative in Negative}
_SAME_REGION: Final = "same_region"
_DEFAULT: Final = StockPolicy("default")

_AMOUNTS: Final = NumberRange(0, stock_limits.STOCK_UNITS_AMOUNT_MAX)
_AMOUNTS_ABOVE_0: Final = NumberRange(1, stock_limits.STOCK_UNITS_AMOUNT_MAX)
_LEVELS: Final = NumberRange(0.5, 1.0, high_included=False)
_DAYS: Final = NumberRange(0.0, stock_limits.STOCK_COVER_DAYS_MAX, low_included=False)
_FALSE_ALARMS: Final = NumberRange(1e-9, 1.0)
_SHARES: Final = NumberRange(0.0, 1.0)
_HYSTERESES: Final = NumberRange(0.0, 10.0)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One policy that is being read: where it stands, its path, and its entries."""

    node: Node
    field: str
    entries: dict[str, Node]


class StockPolicyReader:
    """Reads policies.

    Parameters
    ----------
    reader
        Reads values and records problems.
    names
        What policies may name.
    """

    __slots__ = ("_names", "_reader")

    def __init__(self, reader: Reader, names: StockNames) -> None:
        self._reader = reader
        self._names = names

    def read(self, node: Node | None) -> tuple[StockPolicy, ...]:
        """Return the policies; behind them one that matches what no other does."""
        if node is None:
            return (_DEFAULT,)
        reader = self._reader
        items = reader.read_list(node, "stock.policies", stock_limits.STOCK_POLICIES_MAX)
        found: dict[str, StockPolicy] = {}
        for index, item in enumerate(items):
            field = reader.find_path(item, "stock.policies", index)
            count = len(reader.problems)
            entries = reader.read_mapping(item, field, _KEYS)
            if entries is None:
                continue
            # One that names what is not there, or by an unknown key, has its mistake already.
            is_open = not entries.keys() & set(PLACE_KEYS) and count == len(reader.problems)
            name = f"policies[{index}]"
            if "name" in entries:
                name = reader.read_label(entries["name"], f"{field}.name") or name
            if name in found or name == _DEFAULT.name:
                reader.refuse(entries["name"], f"{field}.name", "is taken already; choose another")
            found[name] = self._read_policy(name, _Entry(item, field, entries))
            if is_open and index < len(items) - 1:
                message = "matches everything, so that the entries below are never reached"
                reader.refuse(item, field, message)
        policies = tuple(found.values())
        return policies if policies and _matches_all(policies[-1]) else (*policies, _DEFAULT)

    def _read_policy(self, name: str, entry: _Entry) -> StockPolicy:
        names, entries, field = self._names, entry.entries, entry.field
        policy = StockPolicy(
            name,
            units=names.read(entries, field, "units"),
            categories=names.read(entries, field, "categories"),
            sites=names.read(entries, field, "sites"),
            regions=names.read(entries, field, "regions"),
        )
        policy = self._read_amounts(policy, entry)
        policy = self._read_lead_time(policy, entry)
        policy = self._read_alerts(policy, entry)
        return self._read_books(policy, entry)

    def _read_amounts(self, policy: StockPolicy, entry: _Entry) -> StockPolicy:
        """Read what is said in units, and compare it with one another."""
        reader = self._reader
        found: dict[str, int] = {}
        for key in _AMOUNT_KEYS:
            if key in entry.entries:
                allowed = _AMOUNTS_ABOVE_0 if key == "order_units" else _AMOUNTS
                amount = reader.read_whole(entry.entries[key], f"{entry.field}.{key}", allowed)
                if amount is not None:
                    found[key] = amount
        for low, high in (
            ("minimum", "maximum"),
            ("reorder_point", "maximum"),
            ("order_up_to", "maximum"),
            ("minimum", "order_up_to"),
            ("reorder_point", "order_up_to"),
        ):
            if low in found and high in found and found[low] > found[high]:
                message = f"must not be above {high}, {found[high]:,}"
                reader.refuse(entry.entries[low], f"{entry.field}.{low}", message)
        self._check_alone(entry, "order_units", "order_up_to")
        return replace(
            policy,
            reorder_point=found.get("reorder_point"),
            order_up_to=found.get("order_up_to"),
            order_units=found.get("order_units"),
            minimum=found.get("minimum"),
            maximum=found.get("maximum"),
        )

    def _read_lead_time(self, policy: StockPolicy, entry: _Entry) -> StockPolicy:
        """Read what a reorder point follows from."""
        entries, field = entry.entries, entry.field
        self._check_alone(entry, "service_level", "reorder_point")
        for key, needed in (
            ("lead_time", "service_level"),
            ("service_level", "lead_time"),
            ("lead_time_sd", "lead_time"),
        ):
            if key in entries and needed not in entries and "reorder_point" not in entries:
                self._reader.refuse(entries[key], f"{field}.{needed}", f"is missing beside {key}")
        lead_s, deviation_s = (
            self._duration_s(entry, key, 60, stock_limits.STOCK_LEAD_TIME_S_MAX)
            for key in ("lead_time", "lead_time_sd")
        )
        if lead_s and deviation_s > lead_s:
            message = f"must not be above lead_time, {lead_s // 86_400} days"
            self._reader.refuse(entries["lead_time_sd"], f"{field}.lead_time_sd", message)
        level = self._number(entries, field, "service_level", _LEVELS)
        return replace(
            policy,
            lead_time_s=lead_s,
            lead_time_sd_s=deviation_s,
            service_level=level or 0.0,
        )

    def _read_alerts(self, policy: StockPolicy, entry: _Entry) -> StockPolicy:
        """Read tiers of cover, plunge, severities, and how alerts end and escalate."""
        reader, entries, field = self._reader, entry.entries, entry.field
        severities = dict(zip(Cause, policy.severities, strict=True))
        if "severities" in entries:
            path = f"{field}.severities"
            told = reader.read_mapping(entries["severities"], path, tuple(_SEVERITY_KEYS)) or {}
            for key, node in told.items():
                severity = reader.read_choice(node, f"{path}.{key}", _SEVERITIES_OR_NONE)
                if severity is not None:
                    severities[_SEVERITY_KEYS[key]] = severity
        cover = self._read_cover(entries.get("cover"), f"{field}.cover")
        if cover:
            severities[Cause.LOW_COVER] = cover[0].severity
        rate: float | None = None
        if "plunge" in entries:
            path = f"{field}.plunge"
            node = entries["plunge"]
            told = reader.read_mapping(node, path, _PLUNGE_KEYS, _PLUNGE_KEYS[:1]) or {}
            rate = self._number(told, path, "false_alarms_per_day", _FALSE_ALARMS)
            severity = Severity.SERIOUS
            if "severity" in told:
                choice = reader.read_choice(told["severity"], f"{path}.severity", _SEVERITIES)
                severity = choice or severity
            severities[Cause.PLUNGE] = severity if rate else 0
        hysteresis = self._number(entries, field, "hysteresis", _HYSTERESES)
        return replace(
            policy,
            cover=cover,
            plunge_false_alarms_per_day=rate,
            severities=tuple(int(severities[cause]) for cause in Cause),
            hysteresis=policy.hysteresis if hysteresis is None else hysteresis,
            escalate_after_s=self._duration_s(entry, "escalate_after", 1, limits.WINDOW_S_MAX),
        )

    def _read_cover(self, node: Node | None, field: str) -> tuple[CoverTier, ...]:
        if node is None:
            return ()
        reader = self._reader
        tiers: dict[Severity, tuple[CoverTier, Node]] = {}
        items = reader.read_list(node, field, stock_limits.STOCK_COVER_TIERS_MAX)
        for index, item in enumerate(items):
            path = f"{field}[{index}]"
            entries = reader.read_mapping(item, path, _COVER_KEYS, _COVER_KEYS) or {}
            days = self._number(entries, path, "days", _DAYS)
            if "severity" not in entries:
                continue
            severity = reader.read_choice(entries["severity"], f"{path}.severity", _SEVERITIES)
            if severity in tiers:
                reader.refuse(entries["severity"], f"{path}.severity", "has a tier already")
            elif severity is not None and days is not None:
                tiers[severity] = (CoverTier(days, severity), item)
        ordered = [tiers[severity] for severity in sorted(tiers)]
        for (milder, _), (worse, item) in pairwise(ordered):
            if worse.days >= milder.days:
                message = (
                    f"{worse.severity.name.lower()} must have fewer days than "
                    f"{milder.severity.name.lower()}, {milder.days:g}"
                )
                reader.refuse(item, field, message)
        return tuple(tier for tier, _ in ordered)

    def _read_books(self, policy: StockPolicy, entry: _Entry) -> StockPolicy:
        """Read what is tolerated of the books, and where units may be taken from."""
        reader, entries, field = self._reader, entry.entries, entry.field
        negative = None
        if "negative" in entries:
            negative = reader.read_choice(entries["negative"], f"{field}.negative", _NEGATIVES)
        tolerance: dict[str, Node] = {}
        path = f"{field}.count_tolerance"
        if "count_tolerance" in entries:
            node = entries["count_tolerance"]
            tolerance = reader.read_mapping(node, path, _TOLERANCE_KEYS) or {}
        units = None
        if "units" in tolerance:
            units = reader.read_whole(tolerance["units"], f"{path}.units", _AMOUNTS)
        share = self._number(tolerance, path, "share", _SHARES)
        same_region, sources = self._read_sources(entry)
        return replace(
            policy,
            negative=policy.negative if negative is None else negative,
            count_tolerance_units=units or 0,
            count_tolerance_share=share or 0.0,
            transfer_same_region=same_region,
            transfer_from=sources,
        )

    def _read_sources(self, entry: _Entry) -> tuple[bool, tuple[str, ...]]:
        node = entry.entries.get("transfer_from")
        field = f"{entry.field}.transfer_from"
        if node is None:
            return False, ()
        if isinstance(node, Scalar):
            if node.text != _SAME_REGION:
                message = f"must be {_SAME_REGION} or a list of sites"
                self._reader.refuse(node, field, message)
            return True, ()
        sources = self._names.read_list(node, field, "sites")
        if len(sources) > stock_limits.STOCK_TRANSFER_SITES_MAX:
            count_max = stock_limits.STOCK_TRANSFER_SITES_MAX
            message = f"has {len(sources):,} sites; at most {count_max} are allowed"
            self._reader.refuse(node, field, message)
        return False, sources

    def _check_alone(self, entry: _Entry, key: str, other: str) -> None:
        if key in entry.entries and other in entry.entries:
            message = f"cannot stand beside {other}: say one of them"
            self._reader.refuse(entry.entries[key], f"{entry.field}.{key}", message)

    def _number(
        self, entries: dict[str, Node], field: str, key: str, allowed: NumberRange
    ) -> float | None:
        if key not in entries:
            return None
        return self._reader.read_number(entries[key], f"{field}.{key}", allowed)

    def _duration_s(self, entry: _Entry, key: str, low_s: int, high_s: int) -> int:
        """Return a duration in seconds, 0 when it is missing or after a problem."""
        if key not in entry.entries:
            return 0
        path = f"{entry.field}.{key}"
        return self._reader.read_duration_s(entry.entries[key], path, low_s, high_s) or 0


def _matches_all(policy: StockPolicy) -> bool:
    return not (policy.units or policy.categories or policy.sites or policy.regions)
