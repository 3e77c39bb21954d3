"""Which positions somebody asks for, and which a distributor's grant covers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Final

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.stock import Grant, StockPlan
from instanter.errors import (
    CatalogueMissingError,
    InvalidFieldError,
    PermissionDeniedError,
    PreconditionError,
    nearest,
    show,
)
from instanter.rpc.names import DISTRIBUTORS, parse_plain_name
from instanter.stock_limits import STOCK_FILTER_NAMES_MAX
from instanter.v1 import stock_service_pb2 as messages

Filtering = messages.ListStockPositionsRequest | messages.WatchStockAlertsRequest
"""Requests that have a filter."""

ALL: Final[frozenset[str]] = frozenset()
"""Of a filter: everything matches."""


@dataclass(frozen=True, slots=True)
class StockFilter:
    """Which positions are meant: those that match all of it; an empty part matches everything.

    Attributes
    ----------
    sites, regions, categories, units
        Names.
    distributor
        Whose grant must cover the position; empty for somebody who may see everything.
    """

    sites: frozenset[str] = ALL
    regions: frozenset[str] = ALL
    categories: frozenset[str] = ALL
    units: frozenset[str] = ALL
    distributor: str = ""

    def matches(self, site: str, unit: str, region: str, category: str) -> bool:
        """Return whether a position matches, its grant left aside. Costs 0.15 µs."""
        return (
            (not self.sites or site in self.sites)
            and (not self.units or unit in self.units)
            and (not self.regions or region in self.regions)
            and (not self.categories or category in self.categories)
        )


def get_plan(catalogue: CompiledCatalogue | None) -> StockPlan:
    """Return what a catalogue declares of stock.

    Raises
    ------
    CatalogueMissingError
        No catalogue has been published.
    PreconditionError
        It declares none; reason STOCK_MISSING.
    """
    if catalogue is None:
        raise CatalogueMissingError
    return check_plan(catalogue.stock)


def check_plan(plan: StockPlan | None) -> StockPlan:
    """Return what a catalogue declares of stock, which is something.

    Raises
    ------
    PreconditionError
        It declares none; reason STOCK_MISSING.
    """
    if plan is None:
        raise PreconditionError(
            "the catalogue has no `stock` section; publish one with sites and units",
            reason="STOCK_MISSING",
        )
    return plan


def find_grant(plan: StockPlan, distributor: str) -> Grant | None:
    """Return the grant of a distributor, or None for somebody who may see everything.

    Parameters
    ----------
    plan
        What the catalogue declares.
    distributor
        Its name; empty for somebody who may see everything.

    Raises
    ------
    PermissionDeniedError
        It has none; reason GRANT_MISSING.
    """
    if not distributor:
        return None
    grant = plan.grants.get(distributor)
    if grant is None:
        raise PermissionDeniedError(
            f"distributor: the catalogue grants nothing to {show(distributor)}",
            reason="GRANT_MISSING",
        )
    return grant


def is_covered(plan: StockPlan, grant: Grant, site: str, unit: str) -> bool:
    """Return whether a grant covers a position; what is not declared any more is not covered."""
    site_index, unit_index = plan.site_index.get(site), plan.unit_index.get(unit)
    if site_index is None or unit_index is None:
        return False
    return grant.covers(site_index, unit_index)


def was_covered(
    plan: StockPlan, grant: Grant, site: str, unit: str, region: str, category: str
) -> bool:
    """Return whether a grant covers the position of an alert, by the names that it has or had.

    Of a site or unit that is declared no more, an alert keeps the region or category: whoever was
    told of it by these is to hear of its end. What was granted by name is granted no more.
    """
    site_index, unit_index = plan.site_index.get(site), plan.unit_index.get(unit)
    if site_index is None:
        is_seen = region in grant.regions or not (grant.sites or grant.regions)
    else:
        is_seen = bool(grant.site_covered[site_index])
    if not is_seen:
        return False
    if unit_index is None:
        return category in grant.categories or not (grant.units or grant.categories)
    return bool(grant.unit_covered[unit_index])


def check_covered(plan: StockPlan, distributor: str, site: str, unit: str, what: str) -> None:
    """Raise unless a distributor may see a position.

    Parameters
    ----------
    plan, distributor
        As for `find_grant`.
    site, unit
        The position.
    what
        What was asked for, for the error.

    Raises
    ------
    PermissionDeniedError
        It has no grant, or none that covers this; reason GRANT_MISSING or NOT_GRANTED.
    """
    grant = find_grant(plan, distributor)
    if grant is not None and not is_covered(plan, grant, site, unit):
        raise _not_granted(what, distributor)


def read_distributor(name: str) -> str:
    """Return the distributor that a request names, empty for none.

    Raises
    ------
    InvalidFieldError
        It is no resource name; reason RESOURCE_NAME_INVALID.
    """
    return parse_plain_name(name, DISTRIBUTORS, "distributor") if name else ""


class FilterReader:
    """Reads filters of requests. Remembers which names one plan declares; for one thread at a time.

    Regions and categories stand at sites and units, of which there may be 10,000 and 50,000: they
    are gathered once for everybody, and once for each distributor.
    """

    __slots__ = ("_gathered", "_plan")

    def __init__(self) -> None:
        self._plan: StockPlan | None = None
        self._gathered: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def read(
        self, plan: StockPlan, request: Filtering, sites: Sequence[str], field: str = "sites"
    ) -> StockFilter:
        """Return the filter of a request.

        Parameters
        ----------
        plan
            What the catalogue declares.
        request
            The request.
        sites
            Names of sites that it is about, each checked to be a name; empty for all.
        field
            The field that they stand in.

        Raises
        ------
        InvalidFieldError
            Something is named that is not declared, or there is too much; names the element.
        PermissionDeniedError
            The distributor has no grant, or none that covers what is named.
        """
        distributor = read_distributor(request.distributor)
        grant = find_grant(plan, distributor)
        regions, categories = ALL, ALL
        if request.regions or request.categories:
            regions, categories = self._gather(plan, grant)
        return StockFilter(
            _read_names(
                sites, field, partial(_has_site, plan, grant), plan.site_index, distributor
            ),
            _read_names(request.regions, "regions", regions.__contains__, regions, distributor),
            _read_names(
                request.categories, "categories", categories.__contains__, categories, distributor
            ),
            _read_names(
                request.stock_keeping_units,
                "stock_keeping_units",
                partial(_has_unit, plan, grant),
                plan.unit_index,
                distributor,
            ),
            distributor,
        )

    def _gather(
        self, plan: StockPlan, grant: Grant | None
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Return the regions and categories that somebody may name."""
        if plan is not self._plan:
            self._plan = plan
            self._gathered = {}
        distributor = "" if grant is None else grant.distributor
        found = self._gathered.get(distributor)
        if found is None:
            sites = zip(plan.sites, grant.site_covered if grant else repeat(1), strict=False)
            units = zip(plan.units, grant.unit_covered if grant else repeat(1), strict=False)
            found = self._gathered[distributor] = (
                frozenset(site.region for site, covered in sites if covered) - {""},
                frozenset(unit.category for unit, covered in units if covered) - {""},
            )
        return found


def _has_site(plan: StockPlan, grant: Grant | None, name: str) -> bool:
    at = plan.site_index.get(name)
    return at is not None and (grant is None or bool(grant.site_covered[at]))


def _has_unit(plan: StockPlan, grant: Grant | None, name: str) -> bool:
    at = plan.unit_index.get(name)
    return at is not None and (grant is None or bool(grant.unit_covered[at]))


def _read_names(
    names: Sequence[str],
    field: str,
    is_known: Callable[[str], bool],
    known: Iterable[str],
    distributor: str,
) -> frozenset[str]:
    """Return the names of one field, each of them known."""
    if len(names) > STOCK_FILTER_NAMES_MAX:
        raise InvalidFieldError(
            field,
            f"{len(names):,} names",
            f"at most {STOCK_FILTER_NAMES_MAX:,}",
            reason="STOCK_FILTER_TOO_LONG",
        )
    for at, name in enumerate(names):
        if is_known(name):
            continue
        place = field if field == "parent" else f"{field}[{at}]"
        if distributor:
            # The same whether it is declared or not: that is not theirs to know either.
            raise _not_granted(f"{place} {show(name)}", distributor)
        found = nearest(name, known)
        hint = f", '{found}' for example" if found else ""
        raise InvalidFieldError(
            place,
            name,
            f"one that the catalogue's `stock` section declares{hint}",
            reason="STOCK_FILTER_UNKNOWN",
        )
    return frozenset(names)


def _not_granted(what: str, distributor: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"{what}: the grant of distributor '{distributor}' does not cover it", reason="NOT_GRANTED"
    )
