"""What may stand behind an alert, and what can be done about it."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.stock import Cause
from instanter.keeper.stock_alert_book import (
    ActionKind,
    HintKind,
    PositionView,
    StockAction,
    StockHint,
)
from instanter.keeper.stock_desk import NO_MOVES, StockDesk, gather, load_table
from instanter.kernels.stock_rows import PLACE_SITE, PLACE_UNIT
from instanter.stock.questions import DataError
from instanter.stock_limits import STOCK_HINT_OFFERS_MAX, STOCK_TRANSFER_SITES_MAX
from instanter.store.arm_figures import count_presented
from instanter.store.log.frames import LogRecord
from instanter.store.stock_positions import HEAD_PRICE, HEAD_PRICE_BEFORE, HEAD_PRICE_MS
from instanter.store.transaction import Transaction

_MS_NS: Final = 1_000_000
_DAY_NS: Final = 86_400_000_000_000
CAUSES_LACKING: Final = frozenset((Cause.STOCK_OUT, Cause.LOW_COVER, Cause.REORDER, Cause.PLUNGE))
"""Causes that more units help against."""


def find_hints(
    transaction: Transaction,
    desk: StockDesk,
    view: PositionView,
    head: NDArray[np.int64],
    now_ns: int,
) -> tuple[StockHint, ...]:
    """Return what may stand behind an alert of a position.

    Parameters
    ----------
    transaction
        The store.
    desk
        With the catalogue in force.
    view
        The position.
    head
        int64[HEAD_WORDS or more], read-only: what is stored beside its state.
    now_ns
        The time of the record, nanoseconds since 1970.
    """
    hints: list[StockHint] = []
    offers = [
        (count, name)
        for name in desk.offers.get(view.unit, ())
        if (count := count_presented(transaction, now_ns // _DAY_NS, name)) > 0
    ]
    if offers:
        offers.sort(key=lambda each: (-each[0], each[1]))
        names = tuple(name for _, name in offers[:STOCK_HINT_OFFERS_MAX])
        hints.append(StockHint(HintKind.OFFERS_PRESENTED, names, sum(n for n, _ in offers)))
    price_ns = int(head[HEAD_PRICE_MS]) * _MS_NS
    if price_ns and now_ns - price_ns <= _DAY_NS:
        price, before = int(head[HEAD_PRICE]), int(head[HEAD_PRICE_BEFORE])
        hints.append(
            StockHint(
                HintKind.PRICE_CHANGED,
                price_minor=price,
                previous_price_minor=before,
                time_ns=price_ns,
            )
        )
    figures = view.figures
    differences = {
        DataError.NEGATIVE: -figures.on_hand,
        DataError.OVERCOMMITTED: figures.committed - figures.on_hand,
        DataError.SHORTFALL: figures.shortfall,
    }
    hints += [
        StockHint(
            HintKind.DATA_ERROR,
            data_error=int(error),
            difference_units=max(differences.get(error, 0), 0),
        )
        for error in figures.data_errors
    ]
    return tuple(hints)


def find_actions(
    transaction: Transaction,
    desk: StockDesk,
    place: NDArray[np.int64],
    view: PositionView,
    record: LogRecord,
) -> tuple[StockAction, ...]:
    """Return what helps where units lack: an order, a transfer from where most is left.

    Parameters
    ----------
    transaction, desk, view
        As for `find_hints`.
    place
        int64[PLACE_COLUMNS], read-only: the position's.
    record
        The record that brings it.
    """
    actions: list[StockAction] = []
    if view.figures.order_units > 0:
        actions.append(StockAction(ActionKind.REORDER, view.figures.order_units))
    transfer = _find_transfer(transaction, desk, place, view, record)
    return (*actions, transfer) if transfer is not None else tuple(actions)


def _find_transfer(
    transaction: Transaction,
    desk: StockDesk,
    place: NDArray[np.int64],
    view: PositionView,
    record: LogRecord,
) -> StockAction | None:
    """Return the transfer from the site with the most days of cover, among those declared.

    It is so many units that both sites then last equally long, but not more than would be ordered.
    """
    sites = _list_sources(desk, place, view)
    if not sites:
        return None
    batch = gather(desk.engine, [(site, view.unit) for site in sites], NO_MOVES)
    table = load_table(transaction, batch)
    found = desk.engine.look(
        batch.places,
        table.states,
        table.profile_words,
        now_ms=record.time_ns // _MS_NS,
        sequence=1,
    )
    cover = np.where(np.isnan(found.cover_days), math.inf, found.cover_days)
    cover[found.available <= 0] = -math.inf
    best = int(np.lexsort((-found.available, -cover))[0])
    available = int(found.available[best])
    if available <= 0 or cover[best] <= 0:
        return None
    units = _balance(
        available,
        available / float(cover[best]),
        view.figures.available,
        view.figures.demand_rate or 0.0,
    )
    if view.figures.order_units > 0:
        units = min(units, view.figures.order_units)
    return StockAction(ActionKind.TRANSFER, units, sites[best]) if units > 0 else None


def _list_sources(desk: StockDesk, place: NDArray[np.int64], view: PositionView) -> list[str]:
    """Return the names of the sites from which a position's policy lets units be taken."""
    plan = desk.plan
    assert plan is not None, "the desk is open"
    site_index, unit_index = int(place[PLACE_SITE]), int(place[PLACE_UNIT])
    if site_index < 0 or unit_index < 0:
        return []
    policy = plan.find_policy(site_index, unit_index)
    sites = desk.regions.get(view.region, []) if policy.transfer_same_region else []
    named = [site for site in policy.transfer_from if site in plan.site_index]
    joined = dict.fromkeys([*named, *sites[: STOCK_TRANSFER_SITES_MAX + 1]])
    return [site for site in joined if site != view.site][:STOCK_TRANSFER_SITES_MAX]


def _balance(there: int, rate_there: float, here: int, rate_here: float) -> int:
    """Return how many of the units there, moved here, let both last equally long."""
    if rate_here + rate_there <= 0:
        return max((there - here) // 2, 0)
    units = (there * rate_here - here * rate_there) / (rate_here + rate_there)
    return max(min(math.floor(units), there), 0)
