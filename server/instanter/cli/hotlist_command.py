"""`instanter hotlist`."""

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

hotlist_app = typer.Typer(
    help="Stop cards, terminals, merchants, devices and bank numbers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_ListArgument = Annotated[
    str,
    typer.Argument(metavar="LIST", help="cards, terminals, merchants, devices or bins."),
]
_ReasonOption = Annotated[str, typer.Option("--reason", help="Why, `stolen` for example.")]
_SourceOption = Annotated[str, typer.Option("--source", help="Who says so.")]


@hotlist_app.callback()
def _group() -> None:
    """Stop cards, terminals, merchants, devices and bank numbers."""


def load(
    hotlist: _ListArgument,
    file: Annotated[
        Path, typer.Argument(help="CSV (also .gz) or Parquet: column `id`, or the only one.")
    ],
    *,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="The new list may be more than 20 % shorter.")
    ] = False,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a whole list with the entries of a file.

    Columns `reason`, `source` and `expire_time` (RFC 3339) are taken too, others refused; blanks
    round values are left out. The old list holds until the whole file has arrived; a mistake, a
    file that was cut, or a list that shrinks too much change nothing.

    For example:
      instanter hotlist load cards stolen.csv
      instanter hotlist load terminals terminals.parquet --allow-shrink

    What next: `instanter hotlist list cards` shows what is stopped.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.hotlist_files import load_hotlist
    from instanter.cli.output import count_of, print_json
    from instanter.cli.server_connection import connect

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    with connect(settings.configuration) as client:
        done = load_hotlist(client, hotlist, file, allow_shrink=allow_shrink)
    if settings.wants_json:
        print_json(done)
    else:
        entries = count_of(done.entry_count, "entry")
        typer.echo(f"{hotlist}: {entries}, {done.replaced_count:,} before")


def add(
    hotlist: _ListArgument,
    entries: Annotated[
        list[str],
        typer.Argument(metavar="ID …", help="Token, id or digits; - reads them line by line."),
    ],
    *,
    reason: _ReasonOption = "",
    source: _SourceOption = "",
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="INSTANT",
            help="Until when: date, time and zone as 2026-12-24T18:00:00Z (RFC 3339); default: "
            "for ever.",
        ),
    ] = None,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put entries on a list; they hold in the very next assessment.

    For example:
      instanter hotlist add cards TOKEN --reason stolen
      instanter token --key shop.key < numbers | instanter hotlist add cards -
      instanter hotlist add terminals berlin-7 --expires 2026-12-24T00:00:00Z

    What next: `instanter hotlist remove cards TOKEN` takes one off again.
    """
    from instanter.cli.card_transactions import read_time
    from instanter.cli.configuration import load_settings
    from instanter.cli.hotlist_files import add_entries, read_ids
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect
    from instanter.client import HotlistEntry

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    end = read_time(expires, "--expires")
    made = (HotlistEntry(each, reason, source, end) for each in read_ids(entries))
    with connect(settings.configuration) as client:
        counts = add_entries(client, hotlist, made)
    if settings.wants_json:
        print_json(counts)
    else:
        typer.echo(
            f"{hotlist}: {counts.created_count:,} added, {counts.existing_count:,} had been there"
        )


def remove(
    hotlist: _ListArgument,
    entries: Annotated[
        list[str],
        typer.Argument(metavar="ID …", help="Token, id or digits; - reads them line by line."),
    ],
    *,
    missing_ok: Annotated[
        bool, typer.Option("--missing-ok", help="Those that are not there are no error.")
    ] = False,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
) -> None:
    """Take entries off a list; they stop at once.

    For example:
      instanter hotlist remove cards TOKEN
      instanter hotlist remove cards - --missing-ok < tokens

    What next: `instanter assess` shows what happens to a transaction now.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.hotlist_files import read_ids
    from instanter.cli.output import count_of
    from instanter.cli.server_connection import connect

    settings = load_settings({"server": server, "timeout_s": timeout}, config=config)
    count = 0
    with connect(settings.configuration) as client:
        for each in read_ids(entries):
            client.fraud.remove_from_hotlist(hotlist, each, allow_missing=missing_ok)
            count += 1
    typer.echo(f"{hotlist}: {count_of(count, 'entry')} off")


def show(
    hotlist: _ListArgument,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="All entries; with --json one object a line.")
    ] = False,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a list: how long it is, and its first 100 entries or all.

    For example:
      instanter hotlist list cards
      instanter hotlist list terminals --all --json

    What next: `instanter hotlist add` and `instanter hotlist remove` change it.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.hotlist_files import show_hotlist
    from instanter.cli.server_connection import connect

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    with connect(settings.configuration) as client:
        show_hotlist(client, hotlist, every=every, as_json=settings.wants_json)


show.__name__ = "list"

for command in (load, add, remove, show):
    add_command(hotlist_app, command)
