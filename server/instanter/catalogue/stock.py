"""The stock side as a catalogue declares it: sites, units, policies, and what they are tied to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from instanter.limits import EVENT_AGE_NS_MAX

NO_UNIT: Final = -1
"""In the place of a unit's or a site's index: none."""


class Severity(IntEnum):
    """How much an alert matters."""

    NOTICE = 1
    WARNING = 2
    SERIOUS = 3
    CRITICAL = 4


class Cause(IntEnum):
    """What an alert is about. One is open at most for each site, unit and cause."""

    STOCK_OUT = 1
    """Nothing is available."""
    LOW_COVER = 2
    """What is available lasts for fewer days than a tier says."""
    REORDER = 3
    """Available and on order are at or below the reorder point or the minimum."""
    PLUNGE = 4
    """Sales come faster than the learned rate makes likely."""
    OVERSTOCK = 5
    """More is on hand than the maximum."""
    DATA_ERROR = 6
    """What was told cannot be right."""


class Negative(IntEnum):
    """What becomes of a movement that takes more than is there."""

    REFUSED = 0
    ALLOWED = 1


class DemandPeriod(IntEnum):
    """What demand is learned in; the values are days."""

    DAY = 1
    WEEK = 7


@dataclass(frozen=True, slots=True)
class Site:
    """A place that holds stock.

    Attributes
    ----------
    name
        A label, unique.
    region
        A label; empty for none.
    time_zone
        IANA name.
    zone_index
        Which of `StockPlan.zones` that is.
    """

    name: str
    region: str
    time_zone: str
    zone_index: int


@dataclass(frozen=True, slots=True)
class StockUnit:
    """A stock-keeping unit.

    Attributes
    ----------
    name
        1 to 64 printable ASCII characters without `/`; unique.
    category
        A label; empty for none.
    title
        For people; the name when none is declared.
    code
        Its number in stored rows, from 1; never given to another unit.
    """

    name: str
    category: str
    title: str
    code: int


@dataclass(frozen=True, slots=True)
class ZoneOffsets:
    """The clocks of one time zone.

    Attributes
    ----------
    name
        IANA name.
    until_s, offset_s
        Until when (excluded), seconds since 1970, rising, its clocks are how many seconds ahead
        of UTC; the last goes on for ever.
    """

    name: str
    until_s: tuple[int, ...]
    offset_s: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CoverTier:
    """Days of cover below which an alert of a severity is raised."""

    days: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class StockPolicy:
    """What counts as too little, too much and too fast, for the positions that it matches.

    Attributes
    ----------
    name
        `policies[3]`, or the declared one; unique.
    units, categories, sites, regions
        What it matches; all four must, and an empty one matches everything.
    reorder_point
        Units; None when it follows from lead time and service level, or there is none.
    lead_time_s, lead_time_sd_s
        Time from an order to its receipt and its standard deviation; 0 when not declared.
    service_level
        Probability that no demand of the lead time is missed, in (0.5, 1); 0 when not declared.
    order_up_to, order_units
        Units up to which is ordered, or units of one order; None when not declared.
    minimum, maximum
        Units; None when not declared.
    cover
        Tiers, days falling and severity rising.
    plunge_false_alarms_per_day
        Allowed per position; None without plunge.
    severities
        By `Cause` − 1: the severity of its alerts, 0 for none. Of LOW_COVER: that of the first
        tier.
    negative
        Whether on hand may fall below 0.
    count_tolerance_units, count_tolerance_share
        How far a count may be from what was expected without an alert: the larger of both.
    hysteresis
        An alert clears beyond its threshold × (1 + this).
    escalate_after_s
        Time after which an alert that nobody acknowledged escalates; 0 for never.
    transfer_same_region
        Whether units may be taken from all sites of the same region.
    transfer_from
        Names of the sites from which units may be taken.
    """

    name: str
    units: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    reorder_point: int | None = None
    lead_time_s: int = 0
    lead_time_sd_s: int = 0
    service_level: float = 0.0
    order_up_to: int | None = None
    order_units: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    cover: tuple[CoverTier, ...] = ()
    plunge_false_alarms_per_day: float | None = None
    severities: tuple[int, ...] = (
        Severity.CRITICAL, 0, Severity.WARNING, 0, Severity.NOTICE, Severity.SERIOUS,
    )  # fmt: skip
    negative: Negative = Negative.REFUSED
    count_tolerance_units: int = 0
    count_tolerance_share: float = 0.0
    hysteresis: float = 0.2
    escalate_after_s: int = 0
    transfer_same_region: bool = False
    transfer_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PurchaseMapping:
    """How a movement follows from an event of one kind.

    Attributes
    ----------
    event
        Name of the event kind.
    unit_index
        Index of the event's category field whose values are stock-keeping units.
    units_of_values
        For each code of that field, index of the unit in `StockPlan.units`; −1 for a value that
        is no declared unit, of which no movement follows.
    units_index
        Index of the number field with the units sold; below 0 they came back. −1: one unit.
    site_index
        Index of the category field whose values are sites; −1 when all are of `fixed_site`.
    sites_of_values
        For each code of that field, index of the site in `StockPlan.sites`, or −1.
    fixed_site
        Index of the site of all events; −1 when a field says it.
    movement_id_index
        Index of the field (category, or whole number) that is the movement's id; −1: the
        event's id.
    return_index
        Index of the flag field that is true for returns; −1 for none.
    """

    event: str
    unit_index: int
    units_of_values: tuple[int, ...]
    units_index: int = -1
    site_index: int = -1
    sites_of_values: tuple[int, ...] = ()
    fixed_site: int = -1
    movement_id_index: int = -1
    return_index: int = -1


@dataclass(frozen=True, slots=True)
class Grant:
    """What one distributor may see.

    That is, of the sites that are named or in a named region, the units that are named or of a
    named category.

    Attributes
    ----------
    distributor
        A label.
    sites, regions, units, categories
        As declared.
    site_covered, unit_covered
        A byte for each site and unit of the plan: 1 when it is covered.
    """

    distributor: str
    sites: tuple[str, ...]
    regions: tuple[str, ...]
    units: tuple[str, ...]
    categories: tuple[str, ...]
    site_covered: bytes
    unit_covered: bytes

    def covers(self, site_index: int, unit_index: int) -> bool:
        """Return whether a position lies inside."""
        return bool(self.site_covered[site_index] and self.unit_covered[unit_index])


@dataclass(frozen=True, slots=True)
class CoverPoint:
    """One point of the curve of low cover: what an offer's priority is multiplied by."""

    days: float
    factor: float


@dataclass(frozen=True, slots=True)
class StockedOffers:
    """How stock tells on offers whose `stock_keeping_unit` is a declared unit.

    Attributes
    ----------
    site_slot
        Context slot of the category attribute that names the chosen site; −1 for none.
    sites_of_values
        For each code of that attribute, index of the site in `StockPlan.sites`, or −1.
    reachable_slots
        Profile slots of category attributes that name the sites a customer reaches, for
        requests without a chosen site.
    reachable_of_values
        For each of them and each code, index of the site, or −1.
    low_cover
        Points of the curve, days rising: straight between them, flat outside; no points: 1.
    withhold_unknown
        Whether an offer whose stock is not known is withheld.
    offer_unit
        For each offer of the catalogue, index of its unit in `StockPlan.units`; −1 when it is
        not stocked.
    fixed_site
        Index of the site of whoever names and reaches none; −1 without one.
    """

    site_slot: int
    sites_of_values: tuple[int, ...]
    reachable_slots: tuple[int, ...]
    reachable_of_values: tuple[tuple[int, ...], ...]
    low_cover: tuple[CoverPoint, ...]
    withhold_unknown: bool
    offer_unit: tuple[int, ...]
    fixed_site: int = NO_UNIT


@dataclass(frozen=True, slots=True, eq=False)
class StockPlan:
    """The whole `stock:` of a catalogue.

    Attributes
    ----------
    sites, units
        In the byte order of their names: their indices are positions here, and change when
        others come and go. What is stored names them by name, or units by code.
    zones
        The time zones of sites.
    period
        What demand is learned in.
    policies
        In their order; the first that matches counts, and the last matches everything.
    purchases
        By event kind.
    grants
        By distributor.
    offers
        None when stock does not tell on offers.
    retention_s
        Time for which transitions of alerts are kept.
    heartbeat_s
        Longest silence of a stream of alerts.
    behind_max_s
        How late a movement may come.
    site_index, unit_index
        Index by name.
    stocked_units
        Indices of the units that offers are tied to, rising: those that the rows of
        `store/stock_shelves` hold. Empty when stock does not tell on offers.
    """

    sites: tuple[Site, ...]
    units: tuple[StockUnit, ...]
    zones: tuple[ZoneOffsets, ...]
    period: DemandPeriod
    policies: tuple[StockPolicy, ...]
    purchases: dict[str, PurchaseMapping]
    grants: dict[str, Grant]
    offers: StockedOffers | None
    retention_s: int
    heartbeat_s: int
    behind_max_s: int = EVENT_AGE_NS_MAX // 1_000_000_000
    site_index: dict[str, int] = field(init=False, repr=False)
    unit_index: dict[str, int] = field(init=False, repr=False)
    stocked_units: tuple[int, ...] = field(init=False, repr=False)
    _site_bits: list[int] = field(init=False, repr=False)
    _unit_bits: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index sites and units, and find out which policies can match each."""
        put = object.__setattr__  # a frozen dataclass is written by nothing else
        put(self, "site_index", {site.name: i for i, site in enumerate(self.sites)})
        put(self, "unit_index", {unit.name: i for i, unit in enumerate(self.units)})
        tied = self.offers.offer_unit if self.offers else ()
        put(self, "stocked_units", tuple(sorted(set(tied) - {NO_UNIT})))
        site_bits = _find_bits([(p.sites, p.regions) for p in self.policies])
        unit_bits = _find_bits([(p.units, p.categories) for p in self.policies])
        put(self, "_site_bits", [site_bits(site.name, site.region) for site in self.sites])
        put(self, "_unit_bits", [unit_bits(unit.name, unit.category) for unit in self.units])

    def find_policy_index(self, site_index: int, unit_index: int) -> int:
        """Return which of `policies` counts for a position."""
        bits = self._site_bits[site_index] & self._unit_bits[unit_index]
        return (bits & -bits).bit_length() - 1

    def find_policy(self, site_index: int, unit_index: int) -> StockPolicy:
        """Return the policy that counts for a position."""
        return self.policies[self.find_policy_index(site_index, unit_index)]


def _find_bits(
    conditions: list[tuple[tuple[str, ...], tuple[str, ...]]],
) -> Callable[[str, str], int]:
    """Return what tells which conditions a pair of name and group meets, one bit for each.

    So the first policy that matches a position is the lowest bit that its site and its unit have
    in common, without a table of all positions.
    """
    any_name = any_group = 0
    by_name: dict[str, int] = {}
    by_group: dict[str, int] = {}
    for index, (names, groups) in enumerate(conditions):
        bit = 1 << index
        any_name |= 0 if names else bit
        any_group |= 0 if groups else bit
        for name in names:
            by_name[name] = by_name.get(name, 0) | bit
        for group in groups:
            by_group[group] = by_group.get(group, 0) | bit
    shared: dict[int, int] = {}

    def find(name: str, group: str) -> int:
        bits = (any_name | by_name.get(name, 0)) & (any_group | by_group.get(group, 0))
        return shared.setdefault(bits, bits)

    return find
