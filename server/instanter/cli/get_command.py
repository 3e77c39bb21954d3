"""`instanter get`."""

from typing import Annotated

import typer

from instanter.cli.options import (
    ConfigOption,
    JsonOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
)


def get(
    resources: Annotated[
        list[str],
        typer.Argument(
            metavar="RESOURCE",
            help="customers, customers/ID …, catalogue, attributes[/NAME], offers[/NAME].",
        ),
    ],
    *,
    attributes: Annotated[
        str | None,
        typer.Option(
            "--attributes", "-a", metavar="A,B,…", help="Only these attributes of customers."
        ),
    ] = None,
    page_size: Annotated[
        int,
        typer.Option(
            "--page-size",
            metavar="COUNT",
            help="Customers of a page, 1 to 1000; default: 100.",
            show_default=False,
        ),
    ] = 0,
    page_token: Annotated[
        str, typer.Option("--page-token", metavar="TOKEN", help="Go on after an earlier page.")
    ] = "",
    all_pages: Annotated[
        bool, typer.Option("--all", help="All customers; with --json one object a line.")
    ] = False,
    files: Annotated[bool, typer.Option("--files", help="The catalogue with its files.")] = False,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read customers, catalogue, attributes and offers.

    For example:
      instanter get customers/c-17
      instanter get customers/c-17 customers/c-18 --attributes age,plan --json
      instanter get customers --page-size 20 --attributes age,plan
      instanter get customers --all --json > customers.jsonl
      instanter get catalogue --files
      instanter get attributes
      instanter get offers/espresso

    What next: `instanter decide c-17 --channel web` decides for a customer.
    """
    from instanter.cli import get_views
    from instanter.cli.configuration import load_settings
    from instanter.cli.server_connection import connect

    settings = load_settings(
        {
            "server": server,
            "timeout_s": timeout,
            "output": "json" if as_json else output,
        },
        config=config,
    )
    wanted = get_views.read_wanted(resources)
    picked = [name.strip() for name in attributes.split(",")] if attributes else None
    with connect(settings.configuration) as client:
        view = get_views.View(client, as_json=settings.wants_json, attributes=picked)
        match wanted:
            case ("customers", ()) if all_pages:
                view.show_all_customers(page_size)
            case ("customers", ()):
                view.show_customer_page(page_size, page_token)
            case ("customers", ids):
                view.show_customers(ids)
            case ("catalogue", _):
                view.show_catalogue(with_files=files)
            case ("attributes", names):
                view.show_attributes(names)
            case (_, names):
                view.show_offers(names)
