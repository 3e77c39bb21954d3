"""Messages of positions and alerts, made of the keeper's values."""

from typing import Final, cast

from instanter.keeper.stock_alert_book import (
    AlertTransition,
    PositionView,
    StockAction,
    StockAlert,
    StockHint,
)
from instanter.rpc.names import (
    SITES,
    format_offer_name,
    format_plain_name,
    format_position_name,
    format_stock_alert_name,
)
from instanter.rpc.timestamps import make_timestamp
from instanter.stock.questions import DataError, Figures
from instanter.v1 import stock_service_pb2 as messages

_DATA_ERRORS: Final = {
    DataError.COUNT: messages.STOCK_DATA_ERROR_COUNT_CONTRADICTS,
    DataError.NEGATIVE: messages.STOCK_DATA_ERROR_NEGATIVE_ON_HAND,
    DataError.OVERCOMMITTED: messages.STOCK_DATA_ERROR_COMMITTED_ABOVE_ON_HAND,
    DataError.SHORTFALL: messages.STOCK_DATA_ERROR_SHORTFALL,
    DataError.CONFLICT: messages.STOCK_DATA_ERROR_MOVEMENT_CONFLICT,
}
_MS_NS: Final = 1_000_000


def translate_position(view: PositionView, now_ns: int) -> messages.StockPosition:
    """Return the message of a position with its figures.

    Parameters
    ----------
    view
        The position.
    now_ns
        The time for which its figures were made, nanoseconds since 1970.
    """
    figures = view.figures
    message = messages.StockPosition(
        name=format_position_name(view.site, view.unit),
        region=view.region,
        category=view.category,
        on_hand_units=figures.on_hand,
        on_order_units=figures.on_order,
        committed_units=figures.committed,
        available_units=figures.available,
        shortfall_units=figures.shortfall,
        price_minor=view.price_minor,
        figures=_translate_figures(figures, now_ns),
    )
    if figures.counted_ms is not None:
        message.count_time.CopyFrom(make_timestamp(figures.counted_ms * _MS_NS))
    if figures.latest_ms is not None:
        message.move_time.CopyFrom(make_timestamp(figures.latest_ms * _MS_NS))
    return message


def translate_alert(alert: StockAlert) -> messages.StockAlert:
    """Return the message of an alert."""
    message = messages.StockAlert(
        name=format_stock_alert_name(alert.number),
        # Causes, severities and changes have the numbers of the contract; a test holds them equal.
        cause=cast("messages.StockAlertCause.ValueType", int(alert.cause)),
        severity=_severity(alert.severity),
        position=translate_position(alert.position, alert.updated_ns),
        hints=[_translate_hint(hint) for hint in alert.hints],
        actions=[_translate_action(action) for action in alert.actions],
        raise_time=make_timestamp(alert.raised_ns),
        update_time=make_timestamp(alert.updated_ns),
        acknowledger=alert.acknowledger,
    )
    if alert.acknowledged_ns:
        message.acknowledge_time.CopyFrom(make_timestamp(alert.acknowledged_ns))
    if alert.snoozed_until_ns:
        message.snooze_end_time.CopyFrom(make_timestamp(alert.snoozed_until_ns))
    if alert.cleared_ns:
        message.clear_time.CopyFrom(make_timestamp(alert.cleared_ns))
    return message


def encode_transition(transition: AlertTransition, resume_token: str) -> bytes:
    """Return the message that tells a transition, encoded. Costs 25 µs, once for all who get it."""
    return messages.WatchStockAlertsResponse(
        transition=messages.StockAlertTransition(
            sequence=transition.sequence,
            change=cast("messages.StockAlertChange.ValueType", int(transition.kind)),
            alert=translate_alert(transition.alert),
            previous_severity=_severity(transition.previous_severity),
            transition_time=make_timestamp(transition.time_ns),
            overdue=transition.is_overdue,
        ),
        resume_token=resume_token,
    ).SerializeToString()


def encode_open_alert(alert: StockAlert) -> bytes:
    """Return the message that tells an open alert of a snapshot, encoded."""
    return messages.WatchStockAlertsResponse(open_alert=translate_alert(alert)).SerializeToString()


def encode_progress(sequence: int, resume_token: str) -> bytes:
    """Return the message that tells how far a subscriber has come, encoded."""
    return messages.WatchStockAlertsResponse(
        progress=messages.StockAlertProgress(sequence=sequence), resume_token=resume_token
    ).SerializeToString()


def _severity(number: int) -> "messages.StockAlertSeverity.ValueType":
    return cast("messages.StockAlertSeverity.ValueType", int(number))


def _translate_figures(figures: Figures, now_ns: int) -> messages.StockFigures:
    message = messages.StockFigures(
        demand_rate=figures.demand_rate,
        demand_deviation=figures.demand_deviation,
        cover_days=figures.days_of_cover,
        reorder_point_units=figures.reorder_point,
        safety_stock_units=figures.safety_stock,
        recent_units=figures.recent_units,
        expected_units=figures.recent_expected_units,
        recent_sale_count=figures.recent_sales,
        intermittent=figures.is_intermittent,
    )
    if figures.stock_out_ms is not None:
        message.stock_out_time.CopyFrom(make_timestamp(figures.stock_out_ms * _MS_NS))
    if figures.stock_out_early_ms is not None:
        earliest = make_timestamp(figures.stock_out_early_ms * _MS_NS)
        message.earliest_stock_out_time.CopyFrom(earliest)
    if figures.stock_out_late_ms is not None:
        latest = make_timestamp(figures.stock_out_late_ms * _MS_NS)
        message.latest_stock_out_time.CopyFrom(latest)
    if figures.recent_sales:
        begun_ns = max(now_ns - figures.recent_ms * _MS_NS, 0)
        message.recent_start_time.CopyFrom(make_timestamp(begun_ns))
    return message


def _translate_hint(hint: StockHint) -> messages.StockHint:
    message = messages.StockHint(
        kind=cast("messages.StockHintKind.ValueType", hint.kind),
        offers=[format_offer_name(offer) for offer in hint.offers],
        presented_count=hint.presented_count,
        price_minor=hint.price_minor,
        previous_price_minor=hint.previous_price_minor,
        difference_units=hint.difference_units,
    )
    for flag, error in _DATA_ERRORS.items():
        if hint.data_error & flag:
            message.data_error = error
            break
    if hint.time_ns:
        message.hint_time.CopyFrom(make_timestamp(hint.time_ns))
    return message


def _translate_action(action: StockAction) -> messages.StockAction:
    return messages.StockAction(
        kind=cast("messages.StockActionKind.ValueType", action.kind),
        units=action.units,
        source_site=format_plain_name(SITES, action.source_site) if action.source_site else "",
    )
