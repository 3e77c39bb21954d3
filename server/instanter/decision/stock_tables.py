"""How stock tells on the offers of a catalogue, laid out for `kernels/stocked_offers`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.schema import MISSING_CODE
from instanter.catalogue.stock import NO_UNIT
from instanter.kernels.stocked_offers import SHELF_UNKNOWN
from instanter.store.stock_shelves import shelf_key

_OFFERED: Final = 1.0
"""The factor of a unit of which nothing is known, when such offers are not withheld."""


@dataclass(frozen=True, slots=True, eq=False)
class StockTables:
    """What a decision reads besides profile, context and the rows of `store/stock_shelves`.

    Attributes
    ----------
    shelf_place
        int32[O + 1], read-only: how many units are stocked, then for each offer the place of its
        unit among them, −1 for an offer that is not; empty when stock does not tell on offers.
    codes
        uint32[U], read-only: the codes of the stocked units, rising.
    unit_names
        Their names.
    curve_days, curve_factor
        float64[N], read-only: as in `find_cover_factor`.
    unknown
        As in `lay_out_shelf`.
    site_names, site_keys
        Names of all sites, and the keys of their rows.
    site_slot, sites_of_values
        Context slot that names the chosen site, −1 for none, and the site of each of its codes.
    reachable_slots, reachable_of_values
        Profile slots that name the sites a customer reaches, and the site of each code of each.
    fixed_site
        The site of whoever names and reaches none; −1 without one.
    """

    shelf_place: NDArray[np.int32]
    codes: NDArray[np.uint32]
    unit_names: tuple[str, ...]
    curve_days: NDArray[np.float64]
    curve_factor: NDArray[np.float64]
    unknown: float
    site_names: tuple[str, ...]
    site_keys: tuple[bytes, ...]
    site_slot: int
    sites_of_values: tuple[int, ...]
    reachable_slots: tuple[int, ...]
    reachable_of_values: tuple[tuple[int, ...], ...]
    fixed_site: int

    @property
    def unit_count(self) -> int:
        """How many units are stocked; above 0 when stock tells on offers."""
        return len(self.codes)

    def restore_shelf(self, recorded: Mapping[int, float] | None) -> NDArray[np.float32]:
        """Return float32[U], or float32[0] when stock did not tell: what a record kept of a shelf.

        Parameters
        ----------
        recorded
            `RecordedDecision.shelf`.
        """
        shelf = np.ones(0 if recorded is None else self.unit_count, np.float32)
        for place, factor in (recorded or {}).items():
            shelf[place] = factor
        return shelf


def make_stock_tables(catalogue: CompiledCatalogue) -> StockTables:
    """Lay out how stock tells on the offers of a catalogue; empty when it does not."""
    plan = catalogue.stock
    if plan is None or plan.offers is None or not plan.stocked_units:
        return _NOT_STOCKED
    offers = plan.offers
    units = sorted((plan.units[unit] for unit in plan.stocked_units), key=lambda unit: unit.code)
    place_of = {plan.unit_index[unit.name]: place for place, unit in enumerate(units)}
    places = [place_of.get(unit, NO_UNIT) for unit in offers.offer_unit]
    return StockTables(
        shelf_place=np.array([len(units), *places], np.int32),
        codes=np.array([unit.code for unit in units], np.uint32),
        unit_names=tuple(unit.name for unit in units),
        curve_days=np.array([point.days for point in offers.low_cover], np.float64),
        curve_factor=np.array([point.factor for point in offers.low_cover], np.float64),
        unknown=SHELF_UNKNOWN if offers.withhold_unknown else _OFFERED,
        site_names=tuple(site.name for site in plan.sites),
        site_keys=tuple(shelf_key(site.name) for site in plan.sites),
        site_slot=offers.site_slot,
        sites_of_values=offers.sites_of_values,
        reachable_slots=offers.reachable_slots,
        reachable_of_values=offers.reachable_of_values,
        fixed_site=offers.fixed_site,
    )


def find_sites(
    tables: StockTables, slots: NDArray[np.uint32], context: NDArray[np.uint32]
) -> tuple[int, ...]:
    """Return the sites that count for one customer: the chosen one, else all within reach.

    Empty when none is known: a chosen site that the stock section does not declare is none, and
    nothing else stands in for it.

    Parameters
    ----------
    tables
        Says where they stand.
    slots, context
        uint32[S], uint32[X]: the customer's profile and context slots.
    """
    if tables.site_slot >= 0:
        code = int(context[tables.site_slot])
        if code != MISSING_CODE:
            return _only(tables.sites_of_values, code)
    found: tuple[int, ...] = ()
    for slot, sites in zip(tables.reachable_slots, tables.reachable_of_values, strict=True):
        found += _only(sites, int(slots[slot]))
    if not found and tables.fixed_site >= 0:
        return (tables.fixed_site,)
    return found


def _only(sites: tuple[int, ...], code: int) -> tuple[int, ...]:
    """Return the site of a code; empty for one that is missing, unknown, or of no site."""
    return (sites[code],) if code < len(sites) and sites[code] >= 0 else ()


_NOT_STOCKED: Final = StockTables(
    shelf_place=np.zeros(0, np.int32),
    codes=np.zeros(0, np.uint32),
    unit_names=(),
    curve_days=np.zeros(0, np.float64),
    curve_factor=np.zeros(0, np.float64),
    unknown=_OFFERED,
    site_names=(),
    site_keys=(),
    site_slot=NO_UNIT,
    sites_of_values=(),
    reachable_slots=(),
    reachable_of_values=(),
    fixed_site=NO_UNIT,
)
