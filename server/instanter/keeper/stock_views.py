"""Positions as they are read: one, or a page of them, with the figures behind them."""

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.catalogue.stock import StockPlan
from instanter.errors import NotFoundError, show
from instanter.keeper.stock_alert_book import PositionView
from instanter.keeper.stock_desk import NO_MOVES, Table, gather, load_table
from instanter.kernels.stock_rows import COMMITTED, ON_HAND, PLACE_PROFILE
from instanter.limits import LIST_ROWS_MAX
from instanter.stock.engine import StockEngine
from instanter.store.stock_positions import (
    HEAD_PRICE,
    position_key,
    scan_positions,
    site_key,
    split_key,
)
from instanter.store.transaction import Transaction

_MS_NS: Final = 1_000_000
_ROWS_AT_ONCE: Final = 100
"""Rows that are looked at together: one call of the engine for all of them."""


class WantedPositions(NamedTuple):
    """Which positions a list is to have.

    Attributes
    ----------
    sites, units
        Indices in `StockPlan.sites` and `StockPlan.units`, rising; no units for all of them.
    unit_matches
        A byte for each unit of the plan: 1 when it is wanted.
    available_below
        Only those with fewer units available; None for any.
    """

    sites: Sequence[int]
    units: Sequence[int]
    unit_matches: bytes
    available_below: int | None


class PositionPage(NamedTuple):
    """Positions of a page.

    Attributes
    ----------
    views
        In the byte order of sites, then of units.
    after
        The position behind which the next page begins; None when there is none.
    """

    views: list[PositionView]
    after: tuple[str, str] | None


class StockViews:
    """Reads positions. For any thread; those who come together wait for one another."""

    __slots__ = ("_engine", "_lock")

    def __init__(self) -> None:
        self._engine = StockEngine()
        self._lock = threading.Lock()

    def get(
        self,
        transaction: Transaction,
        catalogue: CompiledCatalogue,
        site: str,
        unit: str,
        now_ns: int,
    ) -> PositionView:
        """Return one position.

        Parameters
        ----------
        transaction
            An open transaction.
        catalogue
            The one in force there, with a stock section.
        site, unit
            Names.
        now_ns
            The time for which figures are made, nanoseconds since 1970.

        Raises
        ------
        NotFoundError
            The site or the unit is not declared.
        DamagedError
            The position is damaged.
        """
        plan = _get_plan(catalogue)
        if site not in plan.site_index or unit not in plan.unit_index:
            what = "site" if site not in plan.site_index else "stock-keeping unit"
            name = site if site not in plan.site_index else unit
            raise NotFoundError(
                f"the catalogue declares no {what} {show(name)}", reason="POSITION_UNKNOWN"
            )
        with self._lock:
            self._engine.install(catalogue)
            table = load_table(transaction, gather(self._engine, [(site, unit)], NO_MOVES))
            table.positions.check()
            return self._view(plan, table, 0, now_ns)

    def list(
        self,
        transaction: Transaction,
        catalogue: CompiledCatalogue,
        wanted: WantedPositions,
        *,
        after: tuple[str, str] | None,
        limit: int,
        now_ns: int,
    ) -> PositionPage:
        """Return a page of positions; damaged ones are left out.

        Parameters
        ----------
        transaction, catalogue, now_ns
            As for `get`.
        wanted
            Which ones.
        after
            Site and unit of the position behind which to begin; None for the first page.
        limit
            How many at most; fewer when `limits.LIST_ROWS_MAX` others were looked at.
        """
        plan = _get_plan(catalogue)
        candidates = _find_candidates(transaction, plan, wanted, after)
        views: list[PositionView] = []
        looked_count = 0
        while batch := list(islice(candidates, _ROWS_AT_ONCE)):
            with self._lock:
                self._engine.install(catalogue)
                table = load_table(transaction, gather(self._engine, batch, NO_MOVES))
                for index in range(len(batch)):
                    if len(views) == limit:
                        return PositionPage(views, (views[-1].site, views[-1].unit))
                    if _is_wanted(table, index, wanted):
                        views.append(self._view(plan, table, index, now_ns))
            looked_count += len(batch)
            if looked_count >= LIST_ROWS_MAX:
                return PositionPage(views, batch[-1])
        return PositionPage(views, None)

    def _view(self, plan: StockPlan, table: Table, index: int, now_ns: int) -> PositionView:
        """Return one row of a table as it is seen."""
        site, unit = table.batch.positions[index]
        place = table.batch.places[index]
        figures = self._engine.describe(
            place,
            table.states[index],
            table.profile_words[place[PLACE_PROFILE]],
            now_ms=now_ns // _MS_NS,
        )
        return PositionView(
            site,
            unit,
            plan.sites[plan.site_index[site]].region,
            plan.units[plan.unit_index[unit]].category,
            int(table.positions.words[index, HEAD_PRICE]),
            figures,
        )


def _get_plan(catalogue: CompiledCatalogue) -> StockPlan:
    assert catalogue.stock is not None, "whoever asks has looked"
    return catalogue.stock


def _is_wanted(table: Table, index: int, wanted: WantedPositions) -> bool:
    """Return whether something is stored of a position, and it is one of those wanted."""
    rows = table.positions
    if index in rows.damaged or not any(rows.stored[index]):
        return False
    state = table.states[index]
    below = wanted.available_below
    return below is None or int(state[ON_HAND]) - int(state[COMMITTED]) < below


def _find_candidates(
    transaction: Transaction,
    plan: StockPlan,
    wanted: WantedPositions,
    after: tuple[str, str] | None,
) -> Iterator[tuple[str, str]]:
    """Yield site and unit of positions that may be there, in the order of their keys.

    Units that were named are looked for one by one; otherwise what is stored of a site is looked
    through. What is stored of units that are not declared any more is passed over.
    """
    after_key = b"" if after is None else position_key(*after)
    for site_index in wanted.sites:
        site = plan.sites[site_index].name
        first = site_key(site)
        if after is not None and site.encode() < after[0].encode():
            continue
        if wanted.units:
            for unit_index in wanted.units:
                unit = plan.units[unit_index].name
                if position_key(site, unit) > after_key:
                    yield site, unit
            continue
        behind = after_key.startswith(first)
        for key in scan_positions(transaction, after_key if behind else first, after=behind):
            if not key.startswith(first):
                break
            _, unit = split_key(key)
            found = plan.unit_index.get(unit)
            if found is not None and wanted.unit_matches[found]:
                yield site, unit
