"""`instanter report`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from instanter.cli.help_text import add_command
from instanter.cli.options import (
    ConfigOption,
    JsonOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
)

if TYPE_CHECKING:
    from instanter.client import Estimate, UpliftReport

report_app = typer.Typer(
    help="Report what deciding is worth.", no_args_is_help=True, rich_markup_mode=None
)


@report_app.callback()
def _group() -> None:
    """Report what deciding is worth."""


def uplift(
    *,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="First day of decisions, UTC; default: all."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="DATE", help="Last day of decisions, UTC; default: today."),
    ] = None,
    offer: Annotated[
        str, typer.Option("--offer", metavar="NAME", help="Only this offer; default: all.")
    ] = "",
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report acceptance and value of each arm, and the uplift of deciding over chance and silence.

    All intervals have a confidence of 95 %. An uplift whose interval holds 0 may be nothing.
    Without a random arm or a holdout in the catalogue (`arms:`, `holdout:`) there is nothing to
    compare with.

    For example:
      instanter report uplift
      instanter report uplift --from 2026-11-01 --to 2026-11-30
      instanter report uplift --offer espresso --json

    What next: `instanter explain DECISION` shows why one decision was made.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect

    settings = load_settings(
        {
            "server": server,
            "timeout_s": timeout,
            "output": "json" if as_json else output,
        },
        config=config,
    )
    first, last = _read_day("--from", start), _read_day("--to", end)
    # The day named last is meant whole, and an end within a day includes it.
    until = None if last is None else last.replace(hour=23, minute=59, second=59)
    with connect(settings.configuration) as client:
        found = client.report_uplift(first, until, offer)
    if settings.wants_json:
        print_json(found)
    else:
        _show(found)


def _read_day(option: str, text: str | None) -> datetime | None:
    """Return the midnight that a date names; raise when it is none."""
    from instanter.cli.failures import EXIT_USAGE, CommandError
    from instanter.errors import show

    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise CommandError(
            f"{option}: {show(text)} is no date; expected one such as 2026-11-30",
            exit_code=EXIT_USAGE,
        ) from error


def _show(found: "UpliftReport") -> None:
    from instanter.cli.output import make_console, make_table, show_value

    console = make_console()
    if not found.arms:
        console.print("No decisions.", style="bold")
        return
    numbers = ("decisions", "presented", "accepted", "value")
    table = make_table("arm", *numbers, "acceptance", "value per decision", right=numbers)
    for arm in found.arms:
        table.add_row(
            show_value(arm.arm),
            f"{arm.decision_count:,}",
            f"{arm.presented_count:,}",
            f"{arm.accepted_count:,}",
            f"{arm.value_minor:,}",
            _percent(arm.acceptance),
            _money(arm.value_per_decision),
        )
    console.print(table)
    console.print(f"uplift of acceptance, decided over random: {_points(found.acceptance_uplift)}")
    console.print(
        "uplift of value per decision, decided over random: "
        f"{_money(found.value_uplift_over_random, '+')}; over the holdout: "
        f"{_money(found.value_uplift_over_holdout, '+')}"
    )
    console.print(f"values in minor units of {found.currency}; intervals of 95 %", style="dim")


_UNKNOWN = "not known"


def _percent(estimate: "Estimate | None") -> str:
    if estimate is None:
        return _UNKNOWN
    return f"{estimate.value:.2%} [{estimate.low:.2%}, {estimate.high:.2%}]"


def _points(estimate: "Estimate | None") -> str:
    if estimate is None:
        return _UNKNOWN
    value, low, high = (100.0 * each for each in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.2f} percentage points [{low:+.2f}, {high:+.2f}]"


def _money(estimate: "Estimate | None", sign: str = "") -> str:
    if estimate is None:
        return _UNKNOWN
    value, low, high = (
        format(each, f"{sign},.2f") for each in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}]"


add_command(report_app, uplift)
