"""`instanter cases`."""

from typing import TYPE_CHECKING, Annotated

import typer

from instanter.cli.help_text import add_command
from instanter.cli.options import (
    ConfigOption,
    JsonOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from instanter.client import Case, CaseState

cases_app = typer.Typer(
    help="Work on card transactions that were referred or declined.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@cases_app.callback()
def _group() -> None:
    """Work on card transactions that were referred or declined."""


def show(
    *,
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="COUNT", min=1, help="At most so many.")
    ] = 20,
    state: Annotated[
        str, typer.Option("--state", metavar="open|closed|all", help="Of which state.")
    ] = "open",
    assignee: Annotated[str, typer.Option("--assignee", metavar="NAME")] = "",
    card: Annotated[str, typer.Option("--card", metavar="TOKEN")] = "",
    terminal: Annotated[str, typer.Option("--terminal", metavar="ID")] = "",
    merchant: Annotated[str, typer.Option("--merchant", metavar="ID")] = "",
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """List cases, the newest first, with what spoke against each.

    With --json one object a line, with the figures that the verdict was given on.

    For example:
      instanter cases list
      instanter cases list --state all --card TOKEN --json

    What next: `instanter cases update 17 --label genuine` says what one was.
    """
    from itertools import islice

    from instanter.cli.configuration import load_settings
    from instanter.cli.output import print_json_line
    from instanter.cli.server_connection import connect
    from instanter.client import CaseFilter

    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    wanted = CaseFilter(
        state=_read_state(state),
        assignee=assignee,
        card_token=card,
        terminal=terminal,
        merchant=merchant,
    )
    with connect(settings.configuration) as client:
        found = list(islice(client.fraud.list_cases(wanted), count))
    if settings.wants_json:
        for case in found:
            print_json_line(case)
    else:
        _show(found)


def update(
    case: Annotated[str, typer.Argument(metavar="CASE", help="Number of the case.")],
    *,
    assignee: Annotated[
        str | None, typer.Option("--assignee", metavar="NAME", help="Who works on it.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="fraud|genuine", help="What it was.")
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="open|closed", help="Open or close it.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Is added to its notes.")] = "",
    author: Annotated[str, typer.Option("--author", metavar="NAME", help="Of the note.")] = "",
    server: ServerOption = None,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Assign a case, add a note, say what it was. A label is an outcome: the model learns it.

    For example:
      instanter cases update 17 --assignee Ada --note "called the holder" --author Ada
      instanter cases update 17 --label fraud

    What next: `instanter cases list` shows those that are left.
    """
    from instanter.cli.configuration import load_settings
    from instanter.cli.failures import EXIT_USAGE, CommandError
    from instanter.cli.output import print_json
    from instanter.cli.server_connection import connect
    from instanter.client import CaseChange, CaseLabel

    labels = {"fraud": CaseLabel.FRAUD, "genuine": CaseLabel.GENUINE}
    if label is not None and label not in labels:
        raise CommandError(f"--label {label}: expected fraud or genuine", exit_code=EXIT_USAGE)
    settings = load_settings(
        {"server": server, "timeout_s": timeout, "output": "json" if as_json else output},
        config=config,
    )
    change = CaseChange(
        assignee=assignee,
        state=None if state is None else _read_state(state),
        label=None if label is None else labels[label],
        note=note,
        note_author=author,
    )
    with connect(settings.configuration) as client:
        changed = client.fraud.update_case(case.removeprefix("cases/"), change)
    if settings.wants_json:
        print_json(changed)
    else:
        _show([changed])


def _read_state(text: str) -> "CaseState":
    from instanter.cli.failures import EXIT_USAGE, CommandError
    from instanter.client import CaseState

    states = {
        "open": CaseState.OPEN,
        "closed": CaseState.CLOSED,
        "all": CaseState.UNSPECIFIED,
    }
    if text not in states:
        raise CommandError(f"--state {text}: expected open, closed or all", exit_code=EXIT_USAGE)
    return states[text]


def _show(cases: "Sequence[Case]") -> None:
    from instanter.cli.output import make_console, make_table, show_value

    table = make_table(
        "case", "time", "", "amount", "currency", "risk", "reasons", "terminal", "label",
        "assignee", "notes",
        right=("amount", "risk"),
    )  # fmt: skip
    for case in cases:
        table.add_row(
            case.id,
            show_value(case.transaction_time),
            show_value(case.disposition),
            f"{case.amount_minor:,}",
            case.currency,
            f"{case.risk:.4g}",
            ", ".join(case.reasons),
            case.terminal,
            show_value(case.label) if case.label else "",
            case.assignee,
            " | ".join(note.text for note in case.notes),
        )
    make_console().print(table)


show.__name__ = "list"

for command in (show, update):
    add_command(cases_app, command)
