"""How positions and alerts of stock are shown."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from instanter.cli.output import (
    count_of,
    make_console,
    make_table,
    print_json,
    print_json_line,
    show_value,
)
from instanter.client import (
    Client,
    StockActionKind,
    StockAlert,
    StockAlertChange,
    StockAlertSeverity,
    StockAlertSnapshot,
    StockAlertTransition,
    StockHint,
    StockHintKind,
    StockPosition,
    StockPositionFilter,
)

if TYPE_CHECKING:
    from rich.text import Text

_SHOWN = 100
_STYLES = {
    StockAlertSeverity.NOTICE: "dim",
    StockAlertSeverity.WARNING: "yellow",
    StockAlertSeverity.SERIOUS: "bold yellow",
    StockAlertSeverity.CRITICAL: "bold red",
}


def show_position(position: StockPosition) -> None:
    """Write one position with all its figures to standard output."""
    figures = position.figures
    table = make_table("figure", "value", right=("value",))
    rows: list[tuple[str, object]] = [
        ("on hand", position.on_hand_units),
        ("on order", position.on_order_units),
        ("committed", position.committed_units),
        ("available", position.available_units),
    ]
    if position.shortfall_units:
        rows.append(("sold beyond what was there", position.shortfall_units))
    rows += [
        ("demand a day", _show_number(figures.demand_rate)),
        ("its deviation in a period", _show_number(figures.demand_deviation)),
        ("days of cover", _show_number(figures.cover_days)),
        ("out of stock, likely", _show_time(figures.stock_out_time)),
        ("  5 % earlier than", _show_time(figures.earliest_stock_out_time)),
        ("  5 % later than", _show_time(figures.latest_stock_out_time)),
        ("reorder point", _show_number(figures.reorder_point_units)),
        ("safety stock", _show_number(figures.safety_stock_units)),
    ]
    if figures.recent_start_time is not None:
        since = _show_time(figures.recent_start_time)
        sold = f"{figures.recent_units:,} of {_show_number(figures.expected_units)} expected"
        rows.append((f"sold since {since}", sold))
    rows += [
        ("latest count", _show_time(position.count_time)),
        ("latest movement", _show_time(position.move_time)),
    ]
    for name, value in rows:
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    console = make_console()
    where = " ".join(filter(None, (position.region, position.category)))
    console.print(f"{position.stock_keeping_unit} at {position.site}", style="bold")
    if where:
        console.print(where, style="dim")
    console.print(table)


def show_positions(
    client: Client, wanted: StockPositionFilter, *, every: bool, as_json: bool
) -> None:
    """Write positions to standard output, the first hundred or all."""
    # A page may be short, or empty, and have a next one: positions that do not match are left out.
    found = client.stock.list_positions(wanted)
    if every and as_json:
        for position in found:
            print_json_line(position)
        return
    shown = list(found if every else islice(found, _SHOWN + 1))
    is_cut = not every and len(shown) > _SHOWN
    shown = shown[: None if every else _SHOWN]
    if as_json:
        print_json(shown)
        return
    numbers = ("on hand", "on order", "committed", "available", "a day", "cover")
    table = make_table("site", "unit", *numbers, right=numbers)
    for each in shown:
        table.add_row(
            each.site,
            each.stock_keeping_unit,
            f"{each.on_hand_units:,}",
            f"{each.on_order_units:,}",
            f"{each.committed_units:,}",
            f"{each.available_units:,}",
            _show_number(each.figures.demand_rate),
            _show_number(each.figures.cover_days),
        )
    console = make_console()
    console.print(table)
    more = "; there are more: --all" if is_cut else ""
    console.print(f"{len(shown):,} positions{more}", style="dim")


def describe_alert(alert: StockAlert) -> str:
    """Return what an alert is about, in a few words."""
    position = alert.position
    cause = show_value(alert.cause)
    return f"{alert.id}: {cause} of {position.stock_keeping_unit} at {position.site}"


def show_snapshot(snapshot: StockAlertSnapshot) -> None:
    """Write the open alerts as a table, the gravest first."""
    console = make_console()
    if snapshot.is_gap:
        console.print(
            "what happened in between is no longer kept; what is open now:", style="bold yellow"
        )
    table = make_table("alert", "severity", "cause", "site", "unit", "available", "cover", "since",
                       right=("alert", "available", "cover"))  # fmt: skip
    for alert in sorted(snapshot.alerts, key=lambda alert: (-alert.severity, alert.raise_time)):
        position = alert.position
        table.add_row(
            alert.id,
            show_value(alert.severity),
            show_value(alert.cause),
            position.site,
            position.stock_keeping_unit,
            f"{position.available_units:,}",
            _show_number(position.figures.cover_days),
            _show_time(alert.raise_time),
            style=_STYLES.get(alert.severity, ""),
        )
    console.print(table)
    console.print(f"{len(snapshot.alerts):,} open", style="dim")


def make_line(told: StockAlertTransition) -> "Text":
    """Return a transition as one line, coloured by its severity."""
    from rich.text import Text

    alert, position = told.alert, told.alert.position
    style = _STYLES.get(alert.severity, "")
    if told.change is StockAlertChange.CLEARED:
        style = "green"
    cover = position.figures.cover_days
    parts = [
        f"{_show_clock(told.transition_time)}  {told.sequence:>6}",
        f"{show_value(told.change):<12}",
        f"{show_value(alert.severity):<8}",
        f"{show_value(alert.cause):<10}",
        f"{position.site} {position.stock_keeping_unit}",
        f"available {position.available_units:,}",
        "" if cover is None else f"cover {_show_number(cover)} d",
        _describe_plunge(told),
        "nobody has acknowledged it" if told.is_overdue else "",
        f"alert {alert.id}" if int(alert.id or 0) != told.sequence else "",
        *map(_describe_hint, alert.hints),
        *_describe_actions(alert),
    ]
    return Text("  ".join(filter(None, parts)), style=style)


def _describe_plunge(told: StockAlertTransition) -> str:
    figures = told.alert.position.figures
    if told.alert.cause.name != "PLUNGE" or figures.recent_start_time is None:
        return ""
    since = _show_clock(figures.recent_start_time)
    expected = _show_number(figures.expected_units)
    return f"{figures.recent_units:,} sold since {since}, {expected} expected"


def _describe_hint(hint: StockHint) -> str:
    if hint.kind is StockHintKind.OFFERS_PRESENTED:
        return f"offered {count_of(hint.presented_count, 'time')} today by {', '.join(hint.offers)}"
    if hint.kind is StockHintKind.PRICE_CHANGED:
        return f"price {hint.previous_price_minor:,} → {hint.price_minor:,}"
    if hint.kind is StockHintKind.DATA_ERROR:
        units = f" by {hint.difference_units:,}" if hint.difference_units else ""
        return f"{show_value(hint.data_error)}{units}"
    return ""


def _describe_actions(alert: StockAlert) -> Iterable[str]:
    for action in alert.actions:
        if action.kind is StockActionKind.REORDER:
            yield f"→ order {action.units:,}"
        elif action.kind is StockActionKind.TRANSFER:
            yield f"→ bring {action.units:,} from {action.source_site}"


def _show_number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}" if abs(value) < 1_000 else f"{value:,.0f}"


def _show_time(value: datetime | None) -> str:
    return "–" if value is None else f"{value.astimezone():%Y-%m-%d %H:%M}"


def _show_clock(value: datetime) -> str:
    return f"{value.astimezone():%H:%M:%S}"
