"""What the stock engine has found, written into the store: rows, times to look, shelves, alerts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.stock import StockPlan
from instanter.errors import DamagedError
from instanter.keeper.stock_advice import CAUSES_LACKING, find_actions, find_hints
from instanter.keeper.stock_alert_book import (
    AlertTransition,
    PositionView,
    StockAction,
    StockAlert,
    StockHint,
    find_open_alert,
    pack_alert,
    pack_transition,
)
from instanter.keeper.stock_desk import StockDesk, Table
from instanter.kernels.stock_rows import PLACE_PROFILE, PLACE_SITE, PLACE_UNIT
from instanter.stock.questions import Recorded, Transition, TransitionKind
from instanter.stock_limits import ALERTS_DROPPED_MAX
from instanter.store.log.frames import LogRecord
from instanter.store.stock_alert_log import append_transitions, drop_transitions, load_extent
from instanter.store.stock_alerts import delete_alert, put_alert
from instanter.store.stock_positions import (
    HEAD_DUE_MS,
    HEAD_PRICE,
    delete_due,
    put_due,
    put_positions,
    put_profiles,
)
from instanter.store.stock_shelves import Shelf, update_shelf
from instanter.store.transaction import Transaction

Advice = tuple[tuple[StockHint, ...], tuple[StockAction, ...]]
"""What may stand behind alerts, and what can be done about those that units help against."""

MS_NS: Final = 1_000_000
_S_NS: Final = 1_000_000_000


def drop_old(
    transaction: Transaction, plan: StockPlan, now_ns: int, limit: int = ALERTS_DROPPED_MAX
) -> int:
    """Drop transitions that are older than the catalogue keeps them; return how many."""
    return drop_transitions(transaction, now_ns - plan.retention_s * _S_NS, limit)


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """Writes what the engine has found into the store, for one record.

    Attributes
    ----------
    transaction
        An open write transaction.
    desk
        With the catalogue in force.
    record
        The record.
    table
        The rows that the engine has worked on.
    """

    transaction: Transaction
    desk: StockDesk
    record: LogRecord
    table: Table

    def next_sequence(self) -> int:
        """Return the number of the next transition."""
        return load_extent(self.transaction).last + 1

    def keep(self, recorded: Recorded) -> None:
        """Write all that has changed."""
        self.table.collect()
        self._put_due(recorded.due_ms)
        put_positions(self.transaction, self.table.positions)
        put_profiles(self.transaction, self.table.profiles)
        self.put_shelves(recorded)
        if recorded.transitions:
            self.tell(recorded.transitions)

    def _put_due(self, dues: NDArray[np.int64]) -> None:
        """Let positions be looked at in time.

        One that is to be looked at later than it stands in the queue stays there: whoever looks at
        it then puts it off, which is cheaper than to move it with each movement.
        """
        queued = self.table.positions.words[:, HEAD_DUE_MS]
        for index in np.flatnonzero((dues != 0) & ((queued == 0) | (dues < queued))).tolist():
            key = self.table.positions.keys[index]
            if queued[index]:
                delete_due(self.transaction, int(queued[index]), key)
            put_due(self.transaction, int(dues[index]), key)
            queued[index] = dues[index]

    def put_shelves(self, recorded: Recorded) -> None:
        """Write what is available of the units that offers are tied to."""
        stocked, plan, places = self.desk.stocked, self.desk.plan, self.table.batch.places
        if stocked is None or plan is None:
            return
        units = places[:, PLACE_UNIT]
        known = (units >= 0) & (places[:, PLACE_SITE] >= 0)
        known[list(self.table.positions.damaged)] = False
        known[known] &= stocked[units[known]]
        for site in np.unique(places[known, PLACE_SITE]).tolist():
            (rows,) = np.nonzero(known & (places[:, PLACE_SITE] == site))
            cover_days = recorded.cover_days[rows]
            shelf = Shelf(
                np.array([plan.units[units[row]].code for row in rows], np.uint32),
                recorded.available[rows],
                # Where nothing is known of demand, nothing is expected to sell.
                np.where(np.isnan(cover_days), math.inf, cover_days).astype(np.float32),
            )
            update_shelf(self.transaction, plan.sites[site].name, shelf)

    # --- Alerts ---------------------------------------------------------------------------------

    def tell(self, transitions: Sequence[Transition]) -> list[StockAlert]:
        """Write transitions into the log of alerts, and alerts as they are then; return these."""
        views: dict[int, PositionView] = {}
        advised: dict[tuple[int, bool], Advice] = {}
        alerts: dict[int, StockAlert] = {}
        packed: list[bytes] = []
        for transition in transitions:
            index = transition.position_index
            if index not in views:
                views[index] = self._view(index)
            alert = self._advance(transition, alerts, views[index], advised)
            alerts[transition.number] = alert
            packed.append(
                pack_transition(
                    AlertTransition(
                        transition.sequence,
                        self.record.sequence,
                        self.record.time_ns,
                        transition.kind,
                        transition.previous_severity or 0,
                        transition.is_overdue,
                        alert,
                    )
                )
            )
        self._put_alerts(alerts.values())
        extent = append_transitions(
            self.transaction, self.record.sequence, self.record.time_ns, packed
        )
        assert extent.last == transitions[-1].sequence, "sequences have no gaps"
        assert self.desk.plan is not None, "the desk is open"
        limit = max(ALERTS_DROPPED_MAX, 2 * len(packed))
        drop_old(self.transaction, self.desk.plan, self.record.time_ns, limit)
        return list(alerts.values())

    def _put_alerts(self, alerts: Iterable[StockAlert]) -> None:
        for alert in alerts:
            if alert.cleared_ns:
                delete_alert(self.transaction, alert.number)
            else:
                put_alert(self.transaction, alert.number, pack_alert(alert))

    def _view(self, index: int) -> PositionView:
        """Return a position as it is after the record."""
        table, plan = self.table, self.desk.plan
        assert plan is not None, "the desk is open"
        place = table.batch.places[index]
        figures = self.desk.engine.describe(
            place,
            table.states[index],
            table.profile_words[place[PLACE_PROFILE]],
            now_ms=self.record.time_ns // MS_NS,
        )
        site, unit = table.batch.positions[index]
        site_index, unit_index = plan.site_index.get(site), plan.unit_index.get(unit)
        return PositionView(
            site,
            unit,
            "" if site_index is None else plan.sites[site_index].region,
            "" if unit_index is None else plan.units[unit_index].category,
            int(table.positions.words[index, HEAD_PRICE]),
            figures,
        )

    def _advance(
        self,
        transition: Transition,
        alerts: dict[int, StockAlert],
        view: PositionView,
        advised: dict[tuple[int, bool], Advice],
    ) -> StockAlert:
        """Return an alert after one of its transitions."""
        known = alerts.get(transition.number) or self._find_alert(transition, view)
        changed = known._replace(
            severity=transition.severity,
            severity_max=max(known.severity_max, transition.severity),
            tier=transition.tier,
            position=view,
            updated_ns=self.record.time_ns,
        )
        if transition.kind == TransitionKind.CLEARED:
            position = self._keep_names(view, known.position)
            return changed._replace(
                position=position, hints=(), actions=(), cleared_ns=self.record.time_ns
            )
        if transition.kind == TransitionKind.ACKNOWLEDGED:
            return changed._replace(acknowledged_ns=self.record.time_ns)
        for alert in view.figures.alerts:
            if alert.number == transition.number and not alert.is_acknowledged:
                changed = changed._replace(acknowledged_ns=0, acknowledger="")
        index = transition.position_index
        lacks = transition.cause in CAUSES_LACKING
        if (index, lacks) not in advised:
            advised[index, lacks] = self._advise(index, view, lacks=lacks)
        hints, actions = advised[index, lacks]
        return changed._replace(hints=hints, actions=actions)

    def _keep_names(self, view: PositionView, before: PositionView) -> PositionView:
        """Return a position with the region and category that it had, when it has none any more.

        Who was told of an alert by them, and not by site and unit, is to hear of its end.
        """
        plan = self.desk.plan
        assert plan is not None, "the desk is open"
        return view._replace(
            region=view.region if view.site in plan.site_index else before.region,
            category=view.category if view.unit in plan.unit_index else before.category,
        )

    def _advise(self, index: int, view: PositionView, *, lacks: bool) -> Advice:
        """Return what may stand behind alerts of a position, and what helps where units lack."""
        head = self.table.positions.words[index]
        place = self.table.batch.places[index]
        hints = find_hints(self.transaction, self.desk, view, head, self.record.time_ns)
        if not lacks:
            return hints, ()
        return hints, find_actions(self.transaction, self.desk, place, view, self.record)

    def _find_alert(self, transition: Transition, view: PositionView) -> StockAlert:
        """Return an alert as it was before a transition; a new one, or one whose row is damaged."""
        known = None
        if transition.kind != TransitionKind.RAISED:
            try:
                known = find_open_alert(self.transaction, transition.number)
            except DamagedError:
                # Its number, cause and times stand in the position, too: no transition is lost.
                known = None
        if known is not None:
            return known
        return StockAlert(
            transition.number,
            transition.cause,
            transition.severity,
            transition.severity,
            transition.tier,
            view,
            (),
            (),
            transition.raised_ms * MS_NS,
            self.record.time_ns,
        )
