"""Reads the messages of the stock calls into plain values; see `replies`."""

from google.protobuf.message import Message

from instanter.client import stock_values as values
from instanter.client.fraud_replies import find_time
from instanter.client.replies import read_id, read_instant, read_member
from instanter.v1 import stock_service_pb2 as messages


def movement_counts(
    message: messages.RecordStockMovementsResponse,
) -> values.StockMovementCounts:
    """Return the plain form of what was recorded."""
    return values.StockMovementCounts(message.recorded_count, message.duplicate_count)


def position(message: messages.StockPosition) -> values.StockPosition:
    """Return the plain form of one position."""
    _, site, _, unit = (message.name or "///").split("/", 3)
    return values.StockPosition(
        site=site,
        stock_keeping_unit=unit,
        region=message.region,
        category=message.category,
        on_hand_units=message.on_hand_units,
        on_order_units=message.on_order_units,
        committed_units=message.committed_units,
        available_units=message.available_units,
        shortfall_units=message.shortfall_units,
        price_minor=message.price_minor,
        count_time=find_time(message, "count_time"),
        move_time=find_time(message, "move_time"),
        figures=_figures(message.figures),
    )


def position_page(message: messages.ListStockPositionsResponse) -> values.StockPositionPage:
    """Return the plain form of one page of positions."""
    positions = tuple(position(each) for each in message.positions)
    return values.StockPositionPage(positions, message.next_page_token)


def alert(message: messages.StockAlert) -> values.StockAlert:
    """Return the plain form of one alert."""
    return values.StockAlert(
        id=read_id(message.name),
        cause=read_member(values.StockAlertCause, message.cause),
        severity=read_member(values.StockAlertSeverity, message.severity),
        position=position(message.position),
        hints=tuple(_hint(each) for each in message.hints),
        actions=tuple(_action(each) for each in message.actions),
        raise_time=read_instant(message.raise_time),
        update_time=read_instant(message.update_time),
        acknowledge_time=find_time(message, "acknowledge_time"),
        acknowledger=message.acknowledger,
        snooze_end_time=find_time(message, "snooze_end_time"),
        clear_time=find_time(message, "clear_time"),
    )


def transition(message: messages.WatchStockAlertsResponse) -> values.StockAlertTransition:
    """Return the plain form of a message that tells a transition."""
    told = message.transition
    return values.StockAlertTransition(
        sequence=told.sequence,
        change=read_member(values.StockAlertChange, told.change),
        alert=alert(told.alert),
        previous_severity=read_member(values.StockAlertSeverity, told.previous_severity),
        transition_time=read_instant(told.transition_time),
        is_overdue=told.overdue,
        resume_token=message.resume_token,
    )


def _figures(message: messages.StockFigures) -> values.StockFigures:
    return values.StockFigures(
        demand_rate=_find_number(message, "demand_rate"),
        demand_deviation=_find_number(message, "demand_deviation"),
        cover_days=_find_number(message, "cover_days"),
        stock_out_time=find_time(message, "stock_out_time"),
        earliest_stock_out_time=find_time(message, "earliest_stock_out_time"),
        latest_stock_out_time=find_time(message, "latest_stock_out_time"),
        reorder_point_units=_find_number(message, "reorder_point_units"),
        safety_stock_units=_find_number(message, "safety_stock_units"),
        recent_units=message.recent_units,
        recent_sale_count=message.recent_sale_count,
        expected_units=_find_number(message, "expected_units"),
        recent_start_time=find_time(message, "recent_start_time"),
        is_intermittent=message.intermittent,
    )


def _hint(message: messages.StockHint) -> values.StockHint:
    return values.StockHint(
        kind=read_member(values.StockHintKind, message.kind),
        offers=tuple(read_id(offer) for offer in message.offers),
        presented_count=message.presented_count,
        price_minor=message.price_minor,
        previous_price_minor=message.previous_price_minor,
        data_error=read_member(values.StockDataError, message.data_error),
        difference_units=message.difference_units,
        hint_time=find_time(message, "hint_time"),
    )


def _action(message: messages.StockAction) -> values.StockAction:
    return values.StockAction(
        kind=read_member(values.StockActionKind, message.kind),
        units=message.units,
        source_site=read_id(message.source_site),
    )


def _find_number(message: Message, field: str) -> float | None:
    return float(getattr(message, field)) if message.HasField(field) else None
