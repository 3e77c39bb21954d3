"""`instanter assess`."""

from typing import TYPE_CHECKING, Annotated

import typer

from instanter.cli.options import (
    ConfigOption,
    JsonOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
)
from instanter.cli.plain_numbers import parse_whole

if TYPE_CHECKING:
    from instanter.client import Assessment


def assess(
    card: Annotated[
        str, typer.Argument(metavar="TOKEN", help="Token of the card, see `instanter token`.")
    ],
    *,
    amount: Annotated[
        int,
        typer.Option(
            "--amount",
            "-a",
            metavar="MINOR",
            parser=parse_whole,
            help="In minor units, 1999 for 19.99.",
        ),
    ],
    currency: Annotated[
        str, typer.Option("--currency", "-c", metavar="CODE", help="ISO 4217, EUR for example.")
    ],
    terminal: Annotated[str, typer.Option("--terminal", "-t", metavar="ID")],
    merchant: Annotated[str, typer.Option("--merchant", "-m", metavar="ID")],
    mcc: Annotated[
        int,
        typer.Option("--mcc", metavar="CODE", parser=parse_whole, help="Category (ISO 18245)."),
    ],
    not_present: Annotated[
        bool, typer.Option("--not-present", help="The card was not there: a web checkout.")
    ] = False,
    place: Annotated[
        str,
        typer.Option("--place", metavar="LAT,LON", help="Degrees; default: the terminal's place."),
    ] = "",
    customer: Annotated[str, typer.Option("--customer", metavar="ID")] = "",
    device: Annotated[str, typer.Option("--device", metavar="ID")] = "",
    bin_digits: Annotated[
        str, typer.Option("--bin", metavar="DIGITS", help="First 6 to 8 digits of the number.")
    ] = "",
    field: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            "-x",
            metavar="NAME=VALUE",
            help="Value of a declared field, as for `decide --context`. May be repeated.",
        ),
    ] = None,
    transaction_id: Annotated[
        str | None,
        typer.Option("--id", help="With the same --time, makes a repetition the same transaction."),
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="INSTANT", help="RFC 3339; default: now.")
    ] = None,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve, refer or decline one card transaction. It counts, as one of a terminal does.

    Any verdict ends with exit code 0.

    For example:
      instanter assess TOKEN -a 1999 -c EUR -t berlin-1 -m cafe --mcc 5812
      instanter assess TOKEN -a 99900 -c EUR -t web -m cafe --mcc 5812 --not-present --json

    What next: `instanter cases list` shows what was referred and declined.
    """
    from instanter.cli.card_transactions import read_place, read_time
    from instanter.cli.configuration import load_settings
    from instanter.cli.context_values import read_context
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect
    from instanter.client import CardTransaction

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    latitude, longitude = read_place(place)
    transaction = CardTransaction(
        card,
        terminal,
        merchant,
        mcc,
        amount,
        currency,
        card_present=not not_present,
        transaction_id=transaction_id,
        transaction_time=read_time(time, "--time"),
        customer=customer,
        device=device,
        latitude=latitude,
        longitude=longitude,
        bin=bin_digits,
        fields=read_context(field or (), option="--field"),
    )
    with connect(settings.configuration) as client:
        assessment = client.fraud.assess(transaction, timeout_s=settings.configuration.timeout_s)
    if settings.wants_json:
        print_json(assessment)
    else:
        _show(assessment)


def _show(assessment: "Assessment") -> None:
    from instanter.cli.output import make_console, show_value

    console = make_console()
    console.print(show_value(assessment.disposition), style="bold")
    source = show_value(assessment.source)
    console.print(f"  risk {assessment.risk:.4g}, by {source}")
    if assessment.fraud_probability:
        console.print(f"  the model's probability of fraud: {assessment.fraud_probability:.4f}")
    if assessment.reasons:
        console.print(f"  reasons: {', '.join(assessment.reasons)}")
    if assessment.fraud_rules:
        console.print(f"  rules: {', '.join(assessment.fraud_rules)}")
    if assessment.case_id:
        console.print(f"  case {assessment.case_id}")
    repeated = ", assessed before" if assessment.is_duplicate else ""
    console.print(
        f"transaction {assessment.transaction_id}, catalogue {assessment.catalogue_revision}"
        f"{repeated}",
        style="dim",
    )
