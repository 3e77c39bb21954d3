"""`instanter stock`."""

from pathlib import Path
from typing import Annotated

import typer

from instanter.cli.help_text import add_command
from instanter.cli.options import (
    ConfigOption,
    JsonOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
)
from instanter.cli.plain_numbers import parse_whole

stock_app = typer.Typer(
    help="Stock: movements, positions, alerts, replays of recorded movements.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_SiteArgument = Annotated[str, typer.Argument(metavar="SITE", help="Id of the site.")]
_UnitArgument = Annotated[str, typer.Argument(metavar="UNIT", help="Stock-keeping unit.")]
_AlertArgument = Annotated[str, typer.Argument(metavar="ALERT", help="The alert's number.")]
_DistributorOption = Annotated[
    str, typer.Option("--distributor", help="Who asks; default: somebody who may see all.")
]


@stock_app.callback()
def _group() -> None:
    """Stock: movements, positions, alerts, replays of recorded movements."""


def record(
    movement: Annotated[
        list[str] | None,
        typer.Argument(metavar="KIND SITE UNIT [UNITS]", help="One movement."),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Movements, one JSON object a line; - for stdin."),
    ] = None,
    movement_id: Annotated[
        str | None,
        typer.Option("--id", help="The same in every retry; default: made up, shown."),
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="INSTANT", help="RFC 3339; default: now.")
    ] = None,
    destination: Annotated[
        str, typer.Option("--to", metavar="SITE", help="Where a transfer goes.")
    ] = "",
    price_minor: Annotated[
        int | None,
        typer.Option(
            "--price-minor",
            metavar="MINOR",
            parser=parse_whole,
            help="New price of a price-change, in minor units.",
        ),
    ] = None,
    relaxed: Annotated[
        bool,
        typer.Option("--relaxed", help="Do not wait for the disk: a power cut may lose a second."),
    ] = False,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record one movement, or those of a file in batches of 1000.

    Kinds are sale, return, receipt, transfer, adjustment, count, reservation, release, order,
    order-cancellation and price-change. A line of a file is an object with `movement_id`, `site`,
    `stock_keeping_unit`, `kind`, and where it has them `units`, `movement_time`,
    `destination_site`, `price_minor`. The first mistake ends it, with its line; a file that is sent
    again counts once.

    For example:
      instanter stock record receipt berlin-1 SKU1 100
      instanter stock record sale berlin-1 SKU1 3 --id receipt-4711/2
      instanter stock record transfer berlin-1 SKU1 20 --to berlin-2
      instanter stock record adjustment berlin-1 SKU1 -- -2
      instanter stock record --file movements.jsonl

    What next: `instanter stock get berlin-1 SKU1` shows the position.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json
    from instanter.cli.recording import open_lines
    from instanter.cli.server_connection import connect
    from instanter.cli.stock_recording import make_one, record_movement_lines

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    one = make_one(
        movement or [], file, movement_id, time, destination=destination, price_minor=price_minor
    )
    with connect(settings.configuration) as client:
        if one is not None:
            counts = client.stock.record_movements([one], relaxed=relaxed)
        else:
            assert file is not None, "without a movement there is a file"
            with open_lines(file) as lines:
                counts = record_movement_lines(client, lines, str(file), relaxed=relaxed)
    if settings.wants_json:
        print_json(counts)
    else:
        named = f"{one.movement_id}: " if one is not None else ""
        typer.echo(
            f"{named}{counts.recorded_count:,} recorded, {counts.duplicate_count:,} had been before"
        )


def get(
    site: _SiteArgument,
    unit: _UnitArgument,
    *,
    distributor: _DistributorOption = "",
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one position: what is there, what is learned of its demand, when it will be out.

    For example:
      instanter stock get berlin-1 SKU1
      instanter stock get berlin-1 SKU1 --json

    What next: `instanter watch stock-alerts` tells when it falls.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect
    from instanter.cli.stock_views import show_position

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    with connect(settings.configuration) as client:
        found = client.stock.get_position(site, unit, distributor=distributor)
    if settings.wants_json:
        print_json(found)
    else:
        show_position(found)


def show(
    site: Annotated[str, typer.Argument(metavar="[SITE]", help="Id of a site; default: all.")] = "",
    *,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="Sites of this region; may be repeated.")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option("--category", help="Units of it; may be repeated.")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option("--unit", help="This unit; may be repeated.")
    ] = None,
    below: Annotated[
        int | None,
        typer.Option("--below", metavar="UNITS", parser=parse_whole, help="Fewer are available."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All of them; with --json one object a line.")
    ] = False,
    distributor: _DistributorOption = "",
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """List positions, the first 100 or all: those where something has moved.

    For example:
      instanter stock list berlin-1
      instanter stock list --category coffee --below 10
      instanter stock list --all --json > positions.jsonl

    What next: `instanter stock get berlin-1 SKU1` shows one with all its figures.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.server_connection import connect
    from instanter.cli.stock_views import show_positions
    from instanter.client import StockPositionFilter

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    wanted = StockPositionFilter(
        site, tuple(region or ()), tuple(category or ()), tuple(unit or ()), below, distributor
    )
    with connect(settings.configuration) as client:
        show_positions(client, wanted, every=every, as_json=settings.wants_json)


show.__name__ = "list"


def acknowledge(
    alert: _AlertArgument,
    *,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who handles it.")] = "",
    distributor: _DistributorOption = "",
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Mark an open alert as handled: it is not escalated for want of that.

    For example:
      instanter stock acknowledge 17 --by Ada

    What next: `instanter stock record order berlin-1 SKU1 100` tells that more will come.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect
    from instanter.cli.stock_views import describe_alert

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    with connect(settings.configuration) as client:
        found = client.stock.acknowledge(alert, by, distributor=distributor)
    if settings.wants_json:
        print_json(found)
    else:
        typer.echo(f"{describe_alert(found)}: acknowledged")


def snooze(
    alert: _AlertArgument,
    *,
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="INSTANT",
            help="RFC 3339, a date, or 72h from now; at most 30 days ahead.",
        ),
    ],
    distributor: _DistributorOption = "",
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an open alert off: until then it is not escalated for want of an acknowledgement.

    A time that has passed ends it.

    For example:
      instanter stock snooze 17 --until 72h

    What next: `instanter watch stock-alerts` tells when it gets worse nevertheless.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import make_plain, print_json
    from instanter.cli.server_connection import connect
    from instanter.cli.snoozing import read_end
    from instanter.cli.stock_views import describe_alert
    from instanter.clock import SystemClock

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    end = read_end(until, "--until", SystemClock())
    with connect(settings.configuration) as client:
        found = client.stock.snooze(alert, end, distributor=distributor)
    if settings.wants_json:
        print_json(found)
    elif found.snooze_end_time is None:
        typer.echo(f"{describe_alert(found)}: no longer put off")
    else:
        typer.echo(f"{describe_alert(found)}: put off until {make_plain(end)}")


def replay(
    file: Annotated[Path, typer.Argument(help="Recorded movements, CSV (also .gz) or Parquet.")],
    *,
    mapping: Annotated[
        Path, typer.Option("--mapping", "-m", metavar="FILE", help="Which column is what, YAML.")
    ],
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="COUNT", min=1, help="The first so many; default: all."),
    ] = None,
    declare: Annotated[
        Path | None,
        typer.Option("--declare", metavar="FILE", help="Only write the sites and units of it."),
    ] = None,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send recorded movements through a server in the order of their times, and tell what came.

    They are moved by whole weeks, so that the last one lies in the week before now. Lines that are
    refused are counted by reason, with the first of each. `--declare` writes a `stock` section with
    the sites and units that the file names, to be completed with policies and applied before.

    For example:
      instanter stock replay sales.parquet --mapping mapping.yaml --declare shop/stock.yaml
      instanter stock replay sales.parquet --mapping mapping.yaml
      instanter stock replay sales.csv.gz -m mapping.yaml --limit 10000 --json

    What next: `instanter stock list --all` shows what is left.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json
    from instanter.cli.stock_replay.report import show_report
    from instanter.cli.stock_replay.run import declare_file, replay_file
    from instanter.clock import SystemClock

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    if declare is not None:
        typer.echo(declare_file(file, mapping, declare, SystemClock(), limit=limit))
        return
    report = replay_file(file, mapping, settings.configuration, SystemClock(), limit=limit)
    if settings.wants_json:
        print_json(report)
    else:
        show_report(report)


for command in (record, get, show, acknowledge, snooze, replay):
    add_command(stock_app, command)
