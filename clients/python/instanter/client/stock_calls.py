"""Every call of the stock side, described once; see `calls`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from instanter.client import stock_replies, stock_requests
from instanter.client.calls import Call, Method, Timeouts
from instanter.client.stock_values import (
    StockAlert,
    StockMovement,
    StockMovementCounts,
    StockPosition,
    StockPositionFilter,
    StockPositionPage,
)
from instanter.v1 import stock_service_pb2 as messages


def _method(name: str, decode: Any) -> Method:
    return Method(f"/instanter.v1.StockService/{name}", decode.FromString)


RECORD_STOCK_MOVEMENTS = _method("RecordStockMovements", messages.RecordStockMovementsResponse)
GET_STOCK_POSITION = _method("GetStockPosition", messages.StockPosition)
LIST_STOCK_POSITIONS = _method("ListStockPositions", messages.ListStockPositionsResponse)
ACKNOWLEDGE_STOCK_ALERT = _method("AcknowledgeStockAlert", messages.AcknowledgeStockAlertResponse)
SNOOZE_STOCK_ALERT = _method("SnoozeStockAlert", messages.SnoozeStockAlertResponse)

STOCK_METHODS = (
    RECORD_STOCK_MOVEMENTS,
    GET_STOCK_POSITION,
    LIST_STOCK_POSITIONS,
    ACKNOWLEDGE_STOCK_ALERT,
    SNOOZE_STOCK_ALERT,
)
"""The methods of the stock side that have one response."""

WATCH_STOCK_ALERTS = _method("WatchStockAlerts", messages.WatchStockAlertsResponse)
"""The one that streams."""


class StockCalls:
    """Makes calls from arguments.

    Parameters
    ----------
    timeouts
        Deadlines of calls that bring none of their own.
    """

    __slots__ = ("_timeouts",)

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts

    def record_movements(
        self, movements: Iterable[StockMovement], *, relaxed: bool, timeout_s: float | None
    ) -> Call[StockMovementCounts]:
        """Return the call that records movements; their ids make retries one recording."""
        return Call(
            RECORD_STOCK_MOVEMENTS,
            stock_requests.record_movements(movements, relaxed=relaxed),
            stock_replies.movement_counts,
            repeatable=True,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def get_position(
        self, site: str, stock_keeping_unit: str, distributor: str, timeout_s: float | None
    ) -> Call[StockPosition]:
        """Return the call that reads one position."""
        return Call(
            GET_STOCK_POSITION,
            stock_requests.get_position(site, stock_keeping_unit, distributor),
            stock_replies.position,
            repeatable=True,
            timeout_s=self._timeouts.read_s if timeout_s is None else timeout_s,
        )

    def list_positions(
        self, page_size: int, page_token: str, wanted: StockPositionFilter, timeout_s: float | None
    ) -> Call[StockPositionPage]:
        """Return the call that reads one page of positions."""
        return Call(
            LIST_STOCK_POSITIONS,
            stock_requests.list_positions(page_size, page_token, wanted),
            stock_replies.position_page,
            repeatable=True,
            timeout_s=self._timeouts.read_s if timeout_s is None else timeout_s,
        )

    def acknowledge(
        self, alert: str, acknowledger: str, distributor: str, timeout_s: float | None
    ) -> Call[StockAlert]:
        """Return the call that marks an alert as handled; a second time changes nothing."""
        return Call(
            ACKNOWLEDGE_STOCK_ALERT,
            stock_requests.acknowledge_alert(alert, acknowledger, distributor),
            lambda message: stock_replies.alert(message.alert),
            repeatable=True,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def snooze(
        self, alert: str, end: datetime, distributor: str, timeout_s: float | None
    ) -> Call[StockAlert]:
        """Return the call that puts an alert off."""
        return Call(
            SNOOZE_STOCK_ALERT,
            stock_requests.snooze_alert(alert, end, distributor),
            lambda message: stock_replies.alert(message.alert),
            repeatable=True,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )
