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
        str, typer.Option("--channel", "-c", help="Channel in which the labels came about.")
    ] = "",
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            "-x",
            metavar="COLUMN",
            help="Not to be learned from: what is known only afterwards. May be repeated.",
        ),
    ] = None,
    passes: Annotated[
        int,
        typer.Option(
            "--passes",
            metavar="COUNT",
            help="How often the rows are learned; more than 1 only without an order in time.",
        ),
    ] = 1,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Bin all attributes anew; forgets the other offers' models."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how good it is, publish nothing.")
    ] = False,
    data: DataOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit an offer's propensity model on labelled rows, and publish it.

    Replays the rows in file order through the kernels that learn online: each row is predicted
    first and learned then, so the quality shown is honest. The offer's model begins anew, so
    fitting the same file again gives the same model; other offers' models stay.

    For example:
      instanter fit history.parquet --target accepted --offer espresso --data store
      instanter fit history.csv.gz -t bought --offer espresso --channel web --json
      instanter fit history.csv.gz -t bought --offer espresso -x call_duration --dry-run

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
        excluded_columns=tuple(exclude or ()),
        passes=passes,
        fresh=fresh,
        dry_run=dry_run,
        as_json=settings.wants_json,
    )
