"""`instanter bench`."""

from pathlib import Path
from typing import Annotated

import typer

from instanter.cli.options import (
    ConfigOption,
    JsonOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
)


def bench(
    *,
    channel: Annotated[
        str, typer.Option("--channel", "-c", help="Channel that the offers are for.")
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
            help="Value of a context attribute, as in `instanter decide`. May be repeated.",
        ),
    ] = None,
    customers: Annotated[
        Path | None,
        typer.Option(
            "--customers",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Ids to ask for, one a line. [default: a sample of the server's own]",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", "-t", min=0.1, max=86_400, help="How long to measure.")
    ] = 10.0,
    warm_up: Annotated[
        float,
        typer.Option("--warm-up", metavar="SECONDS", min=0, max=3600, help="Not counted before."),
    ] = 1.0,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            "-r",
            metavar="PER_SECOND",
            min=0.1,
            max=1_000_000,
            help="Begin calls at this rate whether answers come or not, and count latency from "
            "when a call was due. [default: the next call when the last is answered]",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=64, help="Generators, one core each.")
    ] = 1,
    connections: Annotated[
        int | None,
        typer.Option(
            "--connections", min=1, max=1000, help="Of all together. [default: one a process]"
        ),
    ] = None,
    in_flight: Annotated[
        int | None,
        typer.Option(
            "--in-flight",
            min=1,
            max=1000,
            help="Calls at a time on each connection. [default: 4; with --rate at most 64]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the customers.")] = 1,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", dir_okay=False, help="Write the report as a page."),
    ] = None,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast your server decides.

    The generators are Python and cost more than a decision: about 250 µs of their own a call, which
    is part of the latency that they see. What the server says it took stands beside it. Ends with
    exit code 1 when a call failed; Ctrl-C ends it early with what there is.

    For example:
      instanter bench --channel web --seconds 30
      instanter bench -c web -p home_hero -n 3 -x basket_value=80 --processes 4 --in-flight 8
      instanter bench -c web --rate 2000 --customers ids.txt --html report.html
      instanter bench -c web --rate 500 --json

    What next: `instanter serve --metrics HOST:PORT` shows the server's own figures all day.
    """
    from instanter.cli.bench.plan import Load, Question
    from instanter.cli.bench.run import run_bench
    from instanter.cli.configuration import load_settings
    from instanter.cli.context_values import read_context

    connection_count = processes if connections is None else connections
    if connection_count < processes:
        raise typer.BadParameter(
            f"{connection_count} of them are too few: each of {processes} processes needs one",
            param_hint="--connections",
        )
    settings = load_settings(
        {
            "server": server,
            "timeout_s": timeout,
            "output": "json" if as_json else output,
        },
        config=config,
    )
    question = Question(channel, placement, offers, read_context(context or ()))
    load = Load(
        processes,
        connection_count,
        in_flight or (4 if rate is None else 64),
        rate or 0.0,
        warm_up,
        seconds,
        seed,
    )
    code = run_bench(settings, question, load, customers, page)
    if code:
        raise typer.Exit(code)
