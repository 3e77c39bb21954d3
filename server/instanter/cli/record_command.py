"""`instanter record`."""

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

record_app = typer.Typer(
    help="Record what customers did.", no_args_is_help=True, rich_markup_mode=None
)


@record_app.callback()
def _group() -> None:
    """Record what customers did."""


def events(
    file: Annotated[
        Path,
        typer.Argument(help="Events, one JSON object a line; - for standard input."),
    ],
    *,
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
    """Record the events of a file, in batches of 1000.

    A line is an object with `event_id`, `customer`, `kind`, and if there are any `event_time`
    (RFC 3339; default: now) and `fields`. Texts that look like an RFC 3339 instant are instants.
    The first mistake ends it, with its line; a file that is sent again counts once.

    For example:
      instanter record events events.jsonl
      zcat events.jsonl.gz | instanter record events - --relaxed
      instanter record events events.jsonl --json

    What next: `instanter get customers/c-17` shows what was derived from them.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import count_of, print_json
    from instanter.cli.recording import open_lines, record_lines
    from instanter.cli.server_connection import connect

    settings = load_settings(
        {
            "server": server,
            "timeout_s": timeout,
            "output": "json" if as_json else output,
        },
        config=config,
    )
    with open_lines(file) as lines, connect(settings.configuration) as client:
        counts = record_lines(client, lines, str(file), relaxed=relaxed)
    if settings.wants_json:
        print_json(counts)
    else:
        typer.echo(
            f"{count_of(counts.recorded_count, 'event')} recorded, "
            f"{counts.duplicate_count:,} had been before"
        )


add_command(record_app, events)
