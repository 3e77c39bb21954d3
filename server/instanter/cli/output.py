"""How results are shown: tables for people, JSON for programs. Rich is imported when needed."""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NAMES_SHOWN = 10
_WIDTH_OFF_TERMINAL = 200
"""Columns of a table in a pipe or file, where cutting it to a guessed screen would lose text."""


def make_console(*, stderr: bool = False) -> "Console":
    """Return a console that honours NO_COLOR and colours nothing but a terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OFF_TERMINAL
    # Highlighting colours every number and path it believes to see; our tables mean their colours.
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def make_table(*columns: str, right: tuple[str, ...] = ()) -> "Table":
    """Return an empty table; columns named in `right` hold numbers and are aligned so."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def make_plain(value: Any) -> Any:
    """Return a value as JSON has it.

    Dataclasses become objects of their fields, members of enumerations their names, datetimes
    RFC 3339 in UTC, tuples lists, and floats that are not finite null, for which JSON has no word.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if dataclasses.is_dataclass(value):
        return {
            field.name: make_plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: make_plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_plain(each) for each in value]
    return value


def print_json(value: Any) -> None:
    """Write one value as JSON to stdout."""
    typer.echo(json.dumps(make_plain(value), indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """Write one value as one line of JSON to stdout."""
    typer.echo(json.dumps(make_plain(value), ensure_ascii=False))


def print_event(event: str, **facts: Any) -> None:
    """Write one event as one line of JSON to stdout, at once."""
    print_json_line({"event": event, **facts})


def print_note(text: str) -> None:
    """Write a hint or a remark for people to stderr, where it disturbs no pipe."""
    typer.echo(text, err=True)


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun: `1 row`, `2 rows`, `3 entries`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("ry") else f"{count:,} {noun}s"


def show_names(names: Sequence[str]) -> str:
    """Return names in one line, the first ten of many."""
    more = f", … {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def show_value(value: object) -> str:
    """Return a value as a cell of a table."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, IntEnum):
        return value.name.lower().replace("_", " ")
    if isinstance(value, datetime):
        return str(make_plain(value))
    return "" if value is None else str(value)
