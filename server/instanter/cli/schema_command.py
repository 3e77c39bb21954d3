"""`instanter schema`."""

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

schema_app = typer.Typer(
    help="Infer and show attributes.", no_args_is_help=True, rich_markup_mode=None
)


@schema_app.callback()
def _group() -> None:
    """Infer and show attributes."""


def infer(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="Parquet or CSV file, gzip allowed."),
    ],
    *,
    key: Annotated[
        str | None,
        typer.Option("--key", "-k", metavar="COLUMN", help="Column of the customers' ids."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            "-x",
            metavar="COLUMN",
            help="Column that is no attribute, a target for example. May be repeated.",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--file", "-o", metavar="FILE", help="Write to this file, not to stdout."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a first attributes.yaml from a file's columns, so that nobody types 1000 of them.

    It is a draft: look at kinds, ranges, owners and purposes before you publish it.

    For example:
      instanter schema infer customers.parquet --key customer_id
      instanter schema infer customers.parquet -k customer_id -o shop/attributes.yaml
      instanter schema infer history.csv.gz -k id -x bought -x call_duration

    What next: `instanter apply -f shop --dry-run` checks it.
    """
    from instanter.cli import inference

    inference.infer(file, key_column=key, exclude=exclude or [], target=target, force=force)


def show(
    *,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the attributes of the published schema; the same as `instanter get attributes`.

    For example:
      instanter schema show
      instanter schema show --json
    """
    from instanter.cli.get_command import get

    get(
        ["attributes"],
        server=server,
        timeout=timeout,
        config=config,
        output=output,
        as_json=as_json,
    )


add_command(schema_app, infer)
add_command(schema_app, show)
