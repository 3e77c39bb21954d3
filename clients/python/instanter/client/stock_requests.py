"""Builds the messages of the stock calls from plain values; see `requests`."""

from collections.abc import Iterable
from datetime import datetime
from typing import cast
from uuid import uuid4

from instanter.client.fraud_requests import make_time
from instanter.client.requests import check_number
from instanter.client.stock_values import StockAlertFilter, StockMovement, StockPositionFilter
from instanter.v1 import durability_pb2 as durability_messages
from instanter.v1 import stock_service_pb2 as messages


def record_movements(
    movements: Iterable[StockMovement], *, relaxed: bool
) -> messages.RecordStockMovementsRequest:
    """Return the message that records movements; one without an id gets a fresh one."""
    return messages.RecordStockMovementsRequest(
        movements=[_movement(movement, index) for index, movement in enumerate(movements)],
        durability=(
            durability_messages.DURABILITY_RELAXED
            if relaxed
            else durability_messages.DURABILITY_DURABLE
        ),
    )


def _movement(movement: StockMovement, index: int) -> messages.StockMovement:
    check_number(f"movements[{index}].units", movement.units, 64)
    check_number(f"movements[{index}].price_minor", movement.price_minor, 64)
    return messages.StockMovement(
        movement_id=uuid4().hex if movement.movement_id is None else movement.movement_id,
        site=site_name(movement.site),
        stock_keeping_unit=movement.stock_keeping_unit,
        kind=cast("messages.StockMovementKind.ValueType", int(movement.kind)),
        units=movement.units,
        movement_time=make_time("movement_time", movement.movement_time),
        destination_site=site_name(movement.destination_site),
        price_minor=movement.price_minor,
    )


def get_position(
    site: str, stock_keeping_unit: str, distributor: str
) -> messages.GetStockPositionRequest:
    """Return the message that asks for one position."""
    return messages.GetStockPositionRequest(
        name=f"sites/{site}/positions/{stock_keeping_unit}",
        distributor=distributor_name(distributor),
    )


def list_positions(
    page_size: int, page_token: str, wanted: StockPositionFilter
) -> messages.ListStockPositionsRequest:
    """Return the message that asks for one page of positions."""
    check_number("page_size", page_size, 32)
    check_number("available_below_units", wanted.available_below_units, 64)
    return messages.ListStockPositionsRequest(
        parent=site_name(wanted.site or "-"),
        page_size=page_size,
        page_token=page_token,
        regions=wanted.regions,
        categories=wanted.categories,
        stock_keeping_units=wanted.stock_keeping_units,
        available_below_units=wanted.available_below_units,
        distributor=distributor_name(wanted.distributor),
    )


def watch_alerts(
    wanted: StockAlertFilter, resume_token: str, *, open_alerts_first: bool
) -> messages.WatchStockAlertsRequest:
    """Return the message that subscribes to alerts."""
    return messages.WatchStockAlertsRequest(
        resume_token=resume_token,
        open_alerts_first=open_alerts_first,
        distributor=distributor_name(wanted.distributor),
        sites=[site_name(site) for site in wanted.sites],
        regions=wanted.regions,
        categories=wanted.categories,
        stock_keeping_units=wanted.stock_keeping_units,
        minimum_severity=cast(
            "messages.StockAlertSeverity.ValueType", int(wanted.minimum_severity)
        ),
    )


def acknowledge_alert(
    alert: str, acknowledger: str, distributor: str
) -> messages.AcknowledgeStockAlertRequest:
    """Return the message that marks an alert as handled."""
    return messages.AcknowledgeStockAlertRequest(
        name=f"stockAlerts/{alert}",
        acknowledger=acknowledger,
        distributor=distributor_name(distributor),
    )


def snooze_alert(alert: str, end: datetime, distributor: str) -> messages.SnoozeStockAlertRequest:
    """Return the message that puts an alert off."""
    return messages.SnoozeStockAlertRequest(
        name=f"stockAlerts/{alert}",
        snooze_end_time=make_time("end", end),
        distributor=distributor_name(distributor),
    )


def site_name(site: str) -> str:
    """Return the resource name of a site; empty stays empty."""
    return f"sites/{site}" if site else ""


def distributor_name(distributor: str) -> str:
    """Return the resource name of a distributor; empty stays empty."""
    return f"distributors/{distributor}" if distributor else ""
