"""`instanter fraud`."""

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

fraud_app = typer.Typer(
    help="Fraud rules: what they do now, back-tests, replays of recorded transactions.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@fraud_app.callback()
def _group() -> None:
    """Fraud rules: what they do now, back-tests, replays of recorded transactions."""


def replay(
    file: Annotated[Path, typer.Argument(help="Recorded transactions, CSV (also .gz) or Parquet.")],
    *,
    mapping: Annotated[
        Path, typer.Option("--mapping", "-m", metavar="FILE", help="Which column is what, YAML.")
    ],
    in_flight: Annotated[
        int,
        typer.Option("--in-flight", metavar="COUNT", min=1, max=1000, help="Calls at a time."),
    ] = 128,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="COUNT", min=1, help="The first so many; default: all."),
    ] = None,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send recorded transactions through a server as if they happened now, and judge its verdicts.

    They are moved by whole weeks, so that the last one lies in the week before now; labels follow
    their transactions after the mapping's delay. Use a new store, and a catalogue whose
    `fraud.clock.behind_max` reaches back to the first transaction.

    For example:
      instanter fraud replay transactions.parquet --mapping mapping.yaml
      instanter fraud replay transactions.csv -m mapping.yaml --limit 10000 --json

    What next: `instanter fraud backtest -f fraud.yaml` tries other rules on the same transactions.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json
    from instanter.cli.replay.report import show_report
    from instanter.cli.replay.run import replay_file
    from instanter.clock import SystemClock

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    report = replay_file(
        file,
        mapping,
        settings.configuration,
        SystemClock(),
        in_flight=in_flight,
        limit=limit,
    )
    if settings.wants_json:
        print_json(report)
    else:
        show_report(report)


def backtest(
    *,
    file: Annotated[
        Path, typer.Option("--file", "-f", metavar="FILE", help="YAML with a `fraud` section.")
    ],
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="INSTANT", help="RFC 3339 or a date; default: all."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="INSTANT", help="The same; default: now.")
    ] = None,
    server: ServerOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay the server's recorded transactions through other rules, and compare the two.

    Nothing changes on the server. Labels are those that are known by now. Attributes of profiles
    are missing: their past is not kept. Rules in shadow take no part, and none is paused or
    snoozed.

    For example:
      instanter fraud backtest -f fraud.yaml --since 2026-11-01
      instanter fraud backtest -f fraud.yaml --json

    What next: `instanter apply -f FOLDER` publishes the rules with the rest of the catalogue.
    """
    from instanter.cli.backtesting import run_backtest, show_backtest
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect

    settings = load_settings(
        {"server": server, "output": "json" if as_json else output}, config=config
    )
    with connect(settings.configuration) as client:
        report = run_backtest(client, file, since, until)
    if settings.wants_json:
        print_json(report)
    else:
        show_backtest(report)


def rules(
    *,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the fraud rules with what they do now: live, in shadow, paused by their guards.

    For example:
      instanter fraud rules
      instanter fraud rules --json

    What next: `instanter fraud resume RULE` lets a paused one take part again.
    """
    from instanter.cli.backtesting import show_rules
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    with connect(settings.configuration) as client:
        found = client.fraud.list_rules()
    if settings.wants_json:
        print_json(found)
    else:
        show_rules(found)


def resume(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Name of the rule.")],
    *,
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
) -> None:
    """Let a rule that its guard has paused take part again.

    For example:
      instanter fraud resume too-many

    What next: `instanter fraud rules` shows what it does.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import show_value
    from instanter.cli.server_connection import connect

    settings = load_settings({"server": server, "timeout_s": timeout}, config=config)
    with connect(settings.configuration) as client:
        found = client.fraud.resume_rule(rule)
    typer.echo(f"{found.name}: {show_value(found.state)}")


def snooze(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Name of the rule.")],
    card: Annotated[str, typer.Argument(metavar="TOKEN", help="Token of the card.")],
    *,
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="INSTANT",
            help="RFC 3339, a date, or 72h from now; at most 120 days ahead.",
        ),
    ],
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
) -> None:
    """Let a rule leave one card alone until a time; one that has passed ends it.

    For example:
      instanter fraud snooze too-far TOKEN --until 72h

    What next: `instanter assess TOKEN` shows what is left.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.output import make_plain
    from instanter.cli.server_connection import connect
    from instanter.cli.snoozing import is_over, read_end
    from instanter.clock import SystemClock

    settings = load_settings({"server": server, "timeout_s": timeout}, config=config)
    clock = SystemClock()
    wanted = read_end(until, "--until", clock)
    with connect(settings.configuration) as client:
        end = client.fraud.snooze_rule(rule, card, wanted)
    if is_over(end, clock):
        typer.echo(f"{rule}: no longer silent for this card")
    else:
        typer.echo(f"{rule}: silent for this card until {make_plain(end)}")


for command in (replay, backtest, rules, resume, snooze):
    add_command(fraud_app, command)
