"""Compiles the `stock:` of a catalogue: ties names to indices, fields and slots."""

from collections.abc import Mapping
from typing import Final, TypeVar

from instanter.catalogue.compiled import CompiledCatalogue, Offer
from instanter.catalogue.events import EventField, EventKind
from instanter.catalogue.problems import suggest
from instanter.catalogue.schema import Attribute, AttributeKind, Schema
from instanter.catalogue.stock import (
    NO_UNIT,
    Grant,
    PurchaseMapping,
    Site,
    StockedOffers,
    StockPlan,
    StockUnit,
    ZoneOffsets,
)
from instanter.catalogue.stock_declarations import (
    DeclaredGrant,
    DeclaredSite,
    DeclaredStock,
    DeclaredUnit,
)
from instanter.catalogue.stock_uses import DeclaredPurchase, DeclaredStockedOffers
from instanter.catalogue.yaml_reader import Reader
from instanter.catalogue.yaml_tree import Scalar
from instanter.catalogue.zones import find_offsets

_FIELD_KINDS: Final = {
    "unit": (AttributeKind.CATEGORY,),
    "units": (AttributeKind.NUMBER,),
    "site": (AttributeKind.CATEGORY,),
    "movement_id": (AttributeKind.NUMBER, AttributeKind.CATEGORY),
    "returns": (AttributeKind.FLAG,),
}
"""What kinds of fields each key of a purchase may name."""

_NAMES_SHOWN_MAX: Final = 5

_Kinded = TypeVar("_Kinded", EventField, Attribute)


class StockCompiler:
    """Compiles one `stock:`.

    Parameters
    ----------
    schema, events, offers
        Of the same catalogue.
    reader, warnings
        Take what is wrong, and what deserves a look.
    previous
        The catalogue in force, whose codes are kept; None without one.

    Attributes
    ----------
    unit_code_next
        The code of the next new unit.
    """

    __slots__ = (
        "_codes", "_events", "_offers", "_reader", "_schema", "_warnings", "unit_code_next",
    )  # fmt: skip

    def __init__(
        self,
        schema: Schema,
        events: tuple[EventKind, ...],
        offers: tuple[Offer, ...],
        reader: Reader,
        warnings: list[str],
        previous: CompiledCatalogue | None,
    ) -> None:
        self._schema = schema
        self._events = events
        self._offers = offers
        self._reader = reader
        self._warnings = warnings
        units = previous.stock.units if previous and previous.stock else ()
        self._codes = {unit.name: unit.code for unit in units}
        self.unit_code_next = previous.unit_code_next if previous else 1

    def compile(self, declared: DeclaredStock | None) -> StockPlan | None:
        """Return the plan, or None without one or after problems."""
        if declared is None:
            return None
        count = len(self._reader.problems)
        zones, sites = _place_sites(declared.sites)
        units = self._number_units(declared.units)
        site_index = {site.name: index for index, site in enumerate(sites)}
        unit_index = {unit.name: index for index, unit in enumerate(units)}
        purchases = [self._tie(one, site_index, unit_index) for one in declared.purchases]
        offers = None
        if declared.offers is not None:
            offers = self._tie_offers(declared.offers, site_index, unit_index)
        if len(self._reader.problems) > count:
            return None
        return StockPlan(
            sites=sites,
            units=units,
            zones=zones,
            period=declared.period,
            policies=declared.policies,
            purchases={one.event: one for one in purchases if one is not None},
            grants={one.distributor: _cover(one, sites, units) for one in declared.grants},
            offers=offers,
            retention_s=declared.retention_s,
            heartbeat_s=declared.heartbeat_s,
            behind_max_s=declared.behind_max_s,
        )

    def _number_units(self, declared: tuple[DeclaredUnit, ...]) -> tuple[StockUnit, ...]:
        """Return the units with their codes; who keeps the name keeps the code."""
        units: list[StockUnit] = []
        for one in declared:
            code = self._codes.get(one.name)
            if code is None:
                code = self.unit_code_next
                self.unit_code_next += 1
            units.append(StockUnit(one.name, one.category, one.title, code))
        return tuple(units)

    def _tie(
        self,
        declared: DeclaredPurchase,
        site_index: Mapping[str, int],
        unit_index: Mapping[str, int],
    ) -> PurchaseMapping | None:
        """Return how movements follow from events, or None after a problem."""
        events = {event.name: event for event in self._events if not event.withdrawn}
        event = events.get(declared.event.text)
        if event is None:
            near = suggest(declared.event.text, events)
            self._reader.refuse(declared.event, declared.field, "is not a declared event", near)
            return None
        known = {field.name: field for field in event.fields if not field.withdrawn}
        found: dict[str, EventField] = {}
        for key, name in declared.fields.items():
            path, what = f"{declared.field}.{key}", f"a field of {event.name}"
            field = self._find(name, name.text, known, what, path, _FIELD_KINDS[key])
            if field is not None:
                found[key] = field
        unit = found.get("unit")
        if unit is None:
            return None
        site = found.get("site")
        where = f"{declared.field}.unit: field {unit.name}"
        self._warn_of_values(where, _values(unit), unit_index, "declared units")
        if site is not None:
            where = f"{declared.field}.site: field {site.name}"
            self._warn_of_values(where, _values(site), site_index, "declared sites")
        index = {key: field.index for key, field in found.items()}
        return PurchaseMapping(
            event=event.name,
            unit_index=unit.index,
            units_of_values=tuple(unit_index.get(value, NO_UNIT) for value in unit.values),
            units_index=index.get("units", NO_UNIT),
            site_index=index.get("site", NO_UNIT),
            sites_of_values=tuple(site_index.get(v, NO_UNIT) for v in site.values) if site else (),
            fixed_site=site_index.get(declared.fixed_site, NO_UNIT),
            movement_id_index=index.get("movement_id", NO_UNIT),
            return_index=index.get("returns", NO_UNIT),
        )

    def _tie_offers(
        self,
        declared: DeclaredStockedOffers,
        site_index: Mapping[str, int],
        unit_index: Mapping[str, int],
    ) -> StockedOffers:
        schema = self._schema
        site = None
        if declared.site is not None:
            site = self._find_attribute(
                declared.site, "context", schema.context, "stock.offers.site"
            )
        profile = {**schema.loaded, **schema.derived}
        reachable = [
            attribute
            for scalar in declared.reachable
            if (
                attribute := self._find_attribute(
                    scalar, "profile", profile, "stock.offers.reachable"
                )
            )
        ]
        for attribute in (*([site] if site else ()), *reachable):
            where = f"stock.offers: attribute {attribute.name}"
            self._warn_of_values(where, _values(attribute), site_index, "declared sites")
        tied = tuple(unit_index.get(offer.stock_keeping_unit, NO_UNIT) for offer in self._offers)
        strange = {
            offer.stock_keeping_unit: ""
            for offer, unit in zip(self._offers, tied, strict=True)
            if offer.stock_keeping_unit and unit == NO_UNIT
        }
        if strange:
            shown = _show(tuple(strange))
            self._warnings.append(
                f"stock.offers: offers are tied to {shown}, which the stock section does not "
                "declare; stock does not tell on them"
            )
        elif all(unit == NO_UNIT for unit in tied):
            self._warnings.append("stock.offers: no offer has a stock_keeping_unit")
        return StockedOffers(
            site_slot=site.slot if site else NO_UNIT,
            sites_of_values=_sites_of(site, site_index) if site else (),
            reachable_slots=tuple(attribute.slot for attribute in reachable),
            reachable_of_values=tuple(_sites_of(one, site_index) for one in reachable),
            low_cover=declared.low_cover,
            withhold_unknown=declared.withhold_unknown,
            offer_unit=tied,
            fixed_site=site_index.get(declared.fixed_site, NO_UNIT),
        )

    def _find_attribute(
        self, scalar: Scalar, room: str, known: Mapping[str, Attribute], path: str
    ) -> Attribute | None:
        name = scalar.text.removeprefix(f"{room}.")
        return self._find(
            scalar, name, known, f"an attribute of the {room}", path, (AttributeKind.CATEGORY,)
        )

    def _find(
        self,
        scalar: Scalar,
        name: str,
        known: Mapping[str, _Kinded],
        what: str,
        path: str,
        kinds: tuple[AttributeKind, ...],
    ) -> _Kinded | None:
        """Return what has a name and one of the kinds, or None after a problem."""
        found = known.get(name)
        words = " or ".join(kind.name.lower() for kind in kinds)
        if found is None:
            right = [other for other, one in known.items() if one.kind in kinds]
            message = f"is not {what}; it must be a {words}"
            self._reader.refuse(scalar, path, message, suggest(name, right))
        elif found.kind not in kinds:
            message = f"is of kind {found.kind.name.lower()}; it must be a {words}"
            self._reader.refuse(scalar, path, message)
            return None
        return found

    def _warn_of_values(
        self, where: str, values: tuple[str, ...], known: Mapping[str, int], what: str
    ) -> None:
        strange = tuple(value for value in values if value not in known)
        if strange:
            self._warnings.append(f"{where} has values that are no {what}: {_show(strange)}")


def _place_sites(
    declared: tuple[DeclaredSite, ...],
) -> tuple[tuple[ZoneOffsets, ...], tuple[Site, ...]]:
    """Return the time zones of sites, and the sites."""
    names = sorted({site.time_zone for site in declared})
    index = {name: at for at, name in enumerate(names)}
    zones: list[ZoneOffsets] = []
    for name in names:
        pairs = find_offsets(name, "UTC")
        zones.append(ZoneOffsets(name, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)))
    sites = tuple(
        Site(site.name, site.region, site.time_zone, index[site.time_zone]) for site in declared
    )
    return tuple(zones), sites


def _cover(declared: DeclaredGrant, sites: tuple[Site, ...], units: tuple[StockUnit, ...]) -> Grant:
    """Return a grant: the named sites and those of the named regions, and so with units."""
    any_site = not (declared.sites or declared.regions)
    any_unit = not (declared.units or declared.categories)
    named_sites, regions = set(declared.sites), set(declared.regions)
    named_units, categories = set(declared.units), set(declared.categories)
    return Grant(
        distributor=declared.distributor,
        sites=declared.sites,
        regions=declared.regions,
        units=declared.units,
        categories=declared.categories,
        site_covered=bytes(
            any_site or site.name in named_sites or site.region in regions for site in sites
        ),
        unit_covered=bytes(
            any_unit or unit.name in named_units or unit.category in categories for unit in units
        ),
    )


def _values(kinded: EventField | Attribute) -> tuple[str, ...]:
    """Return the values of a category that are not withdrawn."""
    gone = kinded.withdrawn_codes
    return tuple(value for code, value in enumerate(kinded.values) if code not in gone)


def _sites_of(attribute: Attribute, site_index: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(site_index.get(value, NO_UNIT) for value in attribute.values)


def _show(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN_MAX])
    more = len(names) - _NAMES_SHOWN_MAX
    return f"{shown} and {more:,} more" if more > 0 else shown
