"""One catalogue's stock section as the engine uses it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.stock import StockPlan
from instanter.catalogue.stock_layout import make_policy_rows
from instanter.errors import PreconditionError
from instanter.kernels.stock_policy import (
    COLUMN_COUNT,
    COUNT_TOLERANCE_SHARE,
    COUNT_TOLERANCE_UNITS,
    ESCALATE_AFTER_S,
    HYSTERESIS,
    NEGATIVE_ALLOWED,
    SEVERITY,
)
from instanter.kernels.stock_rows import PLACE_COLUMNS


@dataclass(frozen=True, slots=True, eq=False)
class StockTables:
    """A catalogue laid out for the stock kernels.

    Attributes
    ----------
    catalogue, plan
        The catalogue, and its stock section.
    policies
        float64[K + 1, COLUMN_COUNT], read-only: the last is that of positions that the catalogue
        has no more, and wants no alert.
    zone_start, zone_until_s, zone_offset_s
        int64, read-only: as `kernels/stock_time.find_offset_ms` takes them.
    period_days
        1 or 7.
    places
        Row of `PLACE_COLUMNS` for each position that was asked for.
    """

    catalogue: CompiledCatalogue
    plan: StockPlan
    policies: NDArray[np.float64]
    zone_start: NDArray[np.int64]
    zone_until_s: NDArray[np.int64]
    zone_offset_s: NDArray[np.int64]
    period_days: int
    places: dict[tuple[str, str], tuple[int, ...]]

    def find_place(self, site: str, unit: str) -> tuple[int, ...]:
        """Return the place of a position, with 0 for the row of its profile.

        A site or unit that the catalogue has no more has the index −1.
        """
        place = self.places.get((site, unit))
        if place is None:
            if len(self.places) >= _PLACES_MAX:
                self.places.clear()
            place = self.places[site, unit] = self._make_place(site, unit)
        return place

    def _make_place(self, site: str, unit: str) -> tuple[int, ...]:
        plan = self.plan
        site_index = plan.site_index.get(site, -1)
        unit_index = plan.unit_index.get(unit, -1)
        policy = len(self.policies) - 1
        if site_index >= 0 and unit_index >= 0:
            policy = plan.find_policy_index(site_index, unit_index)
        zone = plan.sites[site_index].zone_index if site_index >= 0 else 0
        place = (site_index, unit_index, policy, 0, zone)
        assert len(place) == PLACE_COLUMNS, "kernels/stock_rows names the columns"
        return place


_PLACES_MAX = 100_000
"""Places that are remembered: finding one anew takes a microsecond, remembering it 300 bytes."""


def make_stock_tables(catalogue: CompiledCatalogue) -> StockTables:
    """Return the tables of a catalogue.

    Raises
    ------
    PreconditionError
        It declares no stock; reason STOCK_MISSING.
    """
    plan = catalogue.stock
    if plan is None:
        raise PreconditionError(
            "the catalogue has no `stock:` section, so no stock is kept; publish one that has",
            reason="STOCK_MISSING",
        )
    lengths = [len(zone.until_s) for zone in plan.zones]
    return StockTables(
        catalogue=catalogue,
        plan=plan,
        policies=np.vstack([make_policy_rows(plan), _make_unwatched()]),
        zone_start=np.cumsum([0, *lengths], dtype=np.int64),
        zone_until_s=np.array([u for zone in plan.zones for u in zone.until_s], np.int64),
        zone_offset_s=np.array([o for zone in plan.zones for o in zone.offset_s], np.int64),
        period_days=int(plan.period),
        places={},
    )


def _make_unwatched() -> NDArray[np.float64]:
    """Return the policy that wants no alert and takes whatever a movement says."""
    row = np.full((1, COLUMN_COUNT), np.nan)
    row[0, [HYSTERESIS, ESCALATE_AFTER_S, COUNT_TOLERANCE_UNITS, COUNT_TOLERANCE_SHARE]] = 0.0
    row[0, NEGATIVE_ALLOWED] = 1.0
    row[0, SEVERITY:] = 0.0
    return row
