"""`instanter load`."""

from pathlib import Path
from typing import Annotated

import typer

from instanter.cli.help_text import add_command
from instanter.cli.options import ConfigOption, DataOption, JsonOption, OutputOption

load_app = typer.Typer(
    help="Load files into the store.", no_args_is_help=True, rich_markup_mode=None
)


@load_app.callback()
def _group() -> None:
    """Load files into the store."""


def customers(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="Parquet or CSV file, gzip allowed."),
    ],
    *,
    key: Annotated[
        str, typer.Option("--key", "-k", metavar="COLUMN", help="Column of the customers' ids.")
    ],
    data: DataOption = None,
    rejects: Annotated[
        Path | None,
        typer.Option(
            "--rejects",
            metavar="FILE",
            help="Write all rejected values to this CSV file.",
        ),
    ] = None,
    ignore_unknown_columns: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown-columns", help="Skip columns that are no attribute's column."
        ),
    ] = False,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load customers' profiles from a file into the store, beside a running server or without.

    Every value is checked against the catalogue's schema. A row with a wrong value is rejected
    whole and reported; the others are loaded, and the exit code is 1.

    For example:
      instanter load customers customers.parquet --key customer_id --data store
      instanter load customers export.csv.gz -k id --data store --rejects rejects.csv
      instanter load customers export.csv -k id --ignore-unknown-columns --json

    What next: `instanter get customers` shows them.
    """
    from instanter.cli import loading
    from instanter.cli.configuration import load_settings

    settings = load_settings(
        {"data_folder": data, "output": "json" if as_json else output}, config=config
    )
    loading.load_customers(
        file,
        Path(settings.configuration.data_folder),
        key_column=key,
        rejects=rejects,
        ignore_unknown_columns=ignore_unknown_columns,
        as_json=settings.wants_json,
    )


add_command(load_app, customers)
