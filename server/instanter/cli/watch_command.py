"""`instanter watch`."""

from pathlib import Path
from typing import Annotated

import typer

from instanter.cli.help_text import add_command
from instanter.cli.options import ConfigOption, JsonOption, OutputOption, ServerOption

watch_app = typer.Typer(
    help="Watch what happens, as it happens.", no_args_is_help=True, rich_markup_mode=None
)


@watch_app.callback()
def _group() -> None:
    """Watch what happens, as it happens."""


def stock_alerts(
    *,
    distributor: Annotated[
        str, typer.Option("--distributor", help="Who watches; default: who may see all.")
    ] = "",
    site: Annotated[
        list[str] | None, typer.Option("--site", help="At this site; may be repeated.")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="At sites of it; may be repeated.")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="Units of it; may be repeated.")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option("--unit", help="This unit; may be repeated.")
    ] = None,
    severity: Annotated[
        str, typer.Option("--severity", help="At least notice, warning, serious or critical.")
    ] = "",
    resume: Annotated[
        str, typer.Option("--resume", metavar="TOKEN", help="Go on behind this token.")
    ] = "",
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Keep the token here, and go on behind it."),
    ] = None,
    new_only: Annotated[
        bool, typer.Option("--new-only", help="Do not begin with what is open.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="End when all is told that has happened by now.")
    ] = False,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="End after so many changes.")
    ] = None,
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch stock alerts: what is open, then every change as soon as it is on disk.

    Goes on where it was when the connection is lost, and with `--state` also in the next run; what
    happened in between is told then. When that is longer ago than the server keeps, it says so and
    begins with what is open. Ctrl-C ends it.

    With `--json` each line is an object: `told` is `transition` or `snapshot`, with a
    `resume_token`.

    For example:
      instanter watch stock-alerts
      instanter watch stock-alerts --region east --severity serious
      instanter watch stock-alerts --state shift.token --once
      instanter watch stock-alerts --distributor nord --state nord.token --json >> alerts.jsonl

    What next: `instanter stock acknowledge 17 --by Ada` says that somebody has it in hand.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.server_connection import connect
    from instanter.cli.stock_watching import read_severity, watch
    from instanter.client import StockAlertFilter

    settings = load_settings({"server": server, "output": "json" if as_json else output},
                             config=config)  # fmt: skip
    wanted = StockAlertFilter(
        distributor,
        tuple(site or ()),
        tuple(region or ()),
        tuple(category or ()),
        tuple(unit or ()),
        read_severity(severity),
    )
    with connect(settings.configuration) as client:
        watch(
            client,
            wanted,
            resume_token=resume,
            state=state,
            open_first=not new_only,
            once=once,
            count=count,
            as_json=settings.wants_json,
        )


add_command(watch_app, stock_alerts, "stock-alerts")
