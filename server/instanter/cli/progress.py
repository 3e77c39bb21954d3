"""Progress on stderr: a bar on a terminal, elsewhere one plain line every five seconds."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import typer

from instanter.clock import Clock

LINE_NS: Final = 5_000_000_000
"""Time between two lines off a terminal."""

Report = Callable[[int, int], None]
"""Takes how much is done, and of how much; 0 for an unknown whole."""


@contextmanager
def show_progress(what: str, unit: str, clock: Clock) -> Iterator[Report]:
    """Yield a function that is told how far the work is; calling it often costs nothing.

    Parameters
    ----------
    what
        What is going on, `loading` for example.
    unit
        What is counted, `rows` for example.
    clock
        Tells when the next line is due.
    """
    if sys.stderr.isatty():
        with _show_bar(what, unit) as tell:
            yield tell
    else:
        yield make_line_report(what, unit, clock)


def make_line_report(what: str, unit: str, clock: Clock) -> Report:
    """Return a function that writes a line when five seconds have gone by since the last."""
    due_ns = clock.monotonic_ns() + LINE_NS

    def tell(done: int, total: int) -> None:
        nonlocal due_ns
        now_ns = clock.monotonic_ns()
        if now_ns < due_ns:
            return
        due_ns = now_ns + LINE_NS
        share = f" of {total:,} ({done / total:.0%})" if total else ""
        typer.echo(f"{what}: {done:,}{share} {unit}", err=True)

    return tell


@contextmanager
def _show_bar(what: str, unit: str) -> Iterator[Report]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from instanter.cli.output import make_console

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} {task.fields[unit]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=make_console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, unit=unit)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield tell
