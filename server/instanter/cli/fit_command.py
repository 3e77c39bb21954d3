"""`instanter fit`."""

from pathlib import Path
from typing import Annotated

import typer

from instanter.cli.options import ConfigOption, DataOption, JsonOption, OutputOption


def fit(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="Parquet or CSV file, gzip allowed."),
    ],
    *,
    target: Annotated[
        str,
        typer.Option(
            "--target", "-t", metavar="COLUMN", help="Column that says whether it was accepted."
        ),
    ],
    offer: Annotated[
        str, typer.Option("--offer", metavar="NAME", help="Offer whose model learns.")
    ],
    channel: Annotated[
        str, typer.Option("--channel", "-c", help="Only for this channel; default: for all.")
    ] = "",
    data: DataOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit an offer's propensity model on labelled rows, and publish it.

    Replays the rows in file order through the kernels that learn online: each row is predicted
    first and learnt then, so the quality shown is honest.

    For example:
      instanter fit history.parquet --target accepted --offer espresso --data store
      instanter fit history.csv.gz -t bought --offer espresso --channel web --json

    What next: `instanter decide CUSTOMER --channel CHANNEL` uses it within a second.
    """
    from instanter.cli import fitting
    from instanter.cli.configuration import load_settings

    settings = load_settings(
        {"data_folder": data, "output": "json" if as_json else output}, config=config
    )
    fitting.fit(
        file,
        Path(settings.configuration.data_folder),
        target_column=target,
        offer=offer,
        channel=channel,
        as_json=settings.wants_json,
    )
