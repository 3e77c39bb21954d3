"""`instanter decide`."""

from typing import TYPE_CHECKING, Annotated

import typer

from instanter.cli.options import (
    ConfigOption,
    JsonOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
)

if TYPE_CHECKING:
    from instanter.client import Decision


def decide(
    customer: Annotated[str, typer.Argument(help="Id of the customer; need not exist.")],
    *,
    channel: Annotated[
        str, typer.Option("--channel", "-c", help="Channel that will show the offers.")
    ],
    placement: Annotated[str, typer.Option("--placement", "-p", help="Place within it.")] = "",
    offers: Annotated[
        int, typer.Option("--offers", "-n", metavar="COUNT", help="How many, 1 to 100.")
    ] = 1,
    context: Annotated[
        list[str] | None,
        typer.Option(
            "--context",
            "-x",
            metavar="NAME=VALUE",
            help="Value of a context attribute; NAME:KIND=VALUE says its kind "
            "(number, flag, instant, category). May be repeated.",
        ),
    ] = None,
    request_id: Annotated[
        str | None, typer.Option("--request-id", help="Makes a repetition the same decision.")
    ] = None,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide which offers are right for a customer here and now.

    That there is none is a regular answer, shown with its reason, and ends with exit code 0.

    For example:
      instanter decide c-17 --channel web
      instanter decide c-17 --channel web --placement home_hero --offers 3
      instanter decide c-17 -c web -x basket_value=12.5 -x device=phone -x signed_in=true
      instanter decide c-17 -c store -x terminal:category=0042 --json

    What next: `instanter get customers/c-17` shows what is known about the customer.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.context_values import read_context
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect

    settings = load_settings(
        {
            "server": server,
            "timeout_s": timeout,
            "output": "json" if as_json else output,
        },
        config=config,
    )
    values = read_context(context or ())
    with connect(settings.configuration) as client:
        decision = client.decide_offers(customer, channel, placement, offers, values, request_id)
    if settings.wants_json:
        print_json(decision)
    else:
        _show(decision)


def _show(decision: "Decision") -> None:
    from instanter.cli.output import make_console, make_table, show_value

    console = make_console()
    numbers = ("", "priority", "propensity", "value", "context weight", "lever")
    if decision.offers:
        table = make_table("", "offer", "treatment", *numbers[1:], "reasons", right=numbers)
        for rank, offer in enumerate(decision.offers, 1):
            table.add_row(
                str(rank),
                offer.offer,
                offer.treatment,
                f"{offer.priority:.6g}",
                f"{offer.propensity:.6g}",
                str(offer.value_minor),
                f"{offer.context_weight:g}",
                f"{offer.lever:g}",
                ", ".join(show_value(reason) for reason in offer.reasons),
            )
        console.print(table)
    else:
        console.print(f"No offer: {show_value(decision.no_offer_reason)}.", style="bold")
    for exclusion in decision.exclusions:
        console.print(f"  left out, {show_value(exclusion.reason)}: {exclusion.offer_count}")
    holdout = ", in the holdout" if decision.in_holdout else ""
    console.print(
        f"decision {decision.id}, profile {show_value(decision.profile_state)}{holdout}, "
        f"catalogue {decision.catalogue_revision}, models {decision.model_revision}, "
        f"took {decision.took_us} µs",
        style="dim",
    )
