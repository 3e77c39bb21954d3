"""`instanter demo`."""

from typing import Annotated

import typer


def demo(
    *,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=1, help="End after this time. [default: Ctrl-C ends it]"),
    ] = None,
    customers: Annotated[
        int, typer.Option("--customers", min=100, max=1_000_000, help="Customers of the retailer.")
    ] = 20_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Makes the same demo again.")] = 1,
) -> None:
    """Serve a seeded shop and drive it, live; Ctrl-C ends it.

    Makes 20,000 customers of 1000 attributes and 200 offers, starts a server on a temporary
    store, publishes, loads and learns through the ordinary doors, and then asks for decisions
    over gRPC. Compares what decided offers earn with what random eligible ones do. Nothing stays
    behind.

    For example:
      instanter demo
      instanter demo --seconds 20
      instanter demo --customers 1000 --seed 7
    """
    from instanter.cli.demo.run import DemoSettings, run_demo

    run_demo(DemoSettings(seconds, customers, seed))
