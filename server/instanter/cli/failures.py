"""What the command says when something goes wrong, and with which exit code it ends.

0 is done; 1 is refused: by the data, by the server, by the machine; 2 is a mistake in the command
line or the configuration; 130 is Ctrl-C. Nobody is ever shown a traceback who did not ask for it.
"""

import os
import sys
import traceback
from typing import Final

import typer

from instanter.errors import CatalogueInvalidError, InstanterError, Problem

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

DEBUG_NAME: Final = "INSTANTER_DEBUG"
"""Environment variable that shows tracebacks when set."""


class CommandError(Exception):
    """The command cannot do what was asked.

    Parameters
    ----------
    message
        What is wrong, in one line.
    hint
        What to do about it; empty for nothing.
    exit_code
        What the command ends with.
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: int = EXIT_REFUSED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


def report(error: Exception) -> int:
    """Write what happened to stderr, and return the exit code."""
    if os.environ.get(DEBUG_NAME):
        traceback.print_exception(error)
    if isinstance(error, CommandError):
        _write(error.message, error.hint)
        return error.exit_code
    if isinstance(error, CatalogueInvalidError):
        report_problems(error.problems)
        return EXIT_REFUSED
    if isinstance(error, InstanterError):
        _write(error.message)
        return EXIT_REFUSED
    if isinstance(error, UnicodeEncodeError):
        # Words of the command line that are not UTF-8 go unnoticed until they are to be sent.
        _write(f"{error.object!a} is not UTF-8")
        return EXIT_USAGE
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        _write(f"{place}{error.strerror or error}")
        return EXIT_REFUSED
    _write(
        f"unexpected {type(error).__name__}: {' '.join(str(error).split())}",
        f"this is a mistake in Instanter; {DEBUG_NAME}=1 shows the details to report",
    )
    return EXIT_REFUSED


def report_problems(problems: tuple[Problem, ...]) -> None:
    """Write all mistakes of a catalogue to stderr, as a table when somebody is watching.

    Off a terminal each mistake is one line `file:line: field: …`, which editors and CI know how
    to turn into links.
    """
    if sys.stderr.isatty():
        from instanter.cli.output import make_console, make_table

        table = make_table("where", "field", "text", "what is wrong")
        for problem in problems:
            hint = f"\ndid you mean {problem.suggestion!r}?" if problem.suggestion else ""
            place = f"{problem.file}:{problem.line}" if problem.line else problem.file
            table.add_row(place, problem.field, problem.text, problem.message + hint)
        make_console(stderr=True).print(table)
    else:
        for problem in problems:
            typer.echo(problem, err=True)
    mistakes = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    _write(f"the catalogue has {mistakes}; nothing was published")


def _write(message: str, hint: str = "") -> None:
    typer.echo(f"error: {_make_printable(message)}", err=True)
    if hint:
        typer.echo(f"  hint: {_make_printable(hint)}", err=True)


def _make_printable(text: str) -> str:
    """Return a text that leaves a terminal as it is: libraries quote files as they find them."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode()
        for each in text
    )
