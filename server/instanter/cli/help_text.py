"""Turns a command's docstring into its help text."""

import inspect
from collections.abc import Callable
from typing import Any, Final

import typer

from instanter.cli.plain_numbers import read_plainly

_KEEP_LINES: Final = "\b\n"
"""What stands before a paragraph whose lines must stay as they are."""


def add_command(app: typer.Typer, function: Callable[..., Any], name: str | None = None) -> None:
    """Add a function as a command of its name, or another; its docstring is the help.

    Paragraphs with indented lines, the examples, keep their lines; all others are wrapped to the
    screen.
    """
    read_plainly(function)
    app.command(name or function.__name__, help=make_help(function.__doc__ or ""))(function)


def make_help(docstring: str) -> str:
    """Return a docstring as typer wants it."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(
        _KEEP_LINES + paragraph if "\n  " in paragraph else paragraph for paragraph in paragraphs
    )
