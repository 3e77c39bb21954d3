"""`instanter log`."""

from typing import Annotated

import typer

from instanter.cli.help_text import add_command
from instanter.cli.options import ConfigOption, DataOption, JsonOption, OutputOption

log_app = typer.Typer(help="Read and check the log.", no_args_is_help=True, rich_markup_mode=None)


@log_app.callback()
def _group() -> None:
    """Read and check the log."""


def show(
    *,
    from_sequence: Annotated[
        int | None,
        typer.Option(
            "--from", metavar="SEQUENCE", min=1, help="First record; default: the oldest."
        ),
    ] = None,
    to_sequence: Annotated[
        int | None,
        typer.Option("--to", metavar="SEQUENCE", min=1, help="Last record; default: the newest."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="NAME", help="Only records of this kind, such as events."),
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the log holds: one line a record, beside a running server or without.

    A line has the record's sequence, time, kind and size, and what it says; long binary values
    are shortened. With --json it is one object a line.

    For example:
      instanter log show --data store
      instanter log show --data store --from 1000 --to 1020
      instanter log show --data store --kind outcomes --json > outcomes.jsonl

    What next: `instanter log verify` checks that nothing is lost.
    """
    from instanter.cli import log_views
    from instanter.cli.configuration import load_settings

    settings = load_settings(
        {"data_folder": data, "output": "json" if as_json else output}, config=config
    )
    log_views.show_log(
        settings.configuration.data_folder,
        from_sequence=from_sequence,
        to_sequence=to_sequence,
        kind=kind,
        as_json=settings.wants_json,
    )


def verify(
    *,
    data: DataOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every record of the log, beside a running server or without; nothing is changed.

    Exit code 0: nothing is lost. A write that was interrupted at the very end is no loss: nobody
    was told that it is on disk, and the next start cuts it off. Exit code 1: records are lost,
    and each gap is listed.

    For example:
      instanter log verify --data store
      instanter log verify --data store --json

    What next: a damaged file is restored from a backup; `instanter serve` refuses to start before.
    """
    from instanter.cli import log_views
    from instanter.cli.configuration import load_settings

    settings = load_settings(
        {"data_folder": data, "output": "json" if as_json else output}, config=config
    )
    log_views.verify_log(settings.configuration.data_folder, as_json=settings.wants_json)


add_command(log_app, show)
add_command(log_app, verify)
