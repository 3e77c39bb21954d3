"""The standard streams of a process that was started without some of them (`<&-`, `>&-`)."""

import io
import os
import sys
from typing import TextIO

from instanter.cli.failures import CommandError


def fill_in_closed() -> None:
    """Put something in the place of standard streams that were closed.

    Python leaves None there, which has no methods. What is written to a closed output was not
    wanted; a closed input stays None, for `open_input` to tell. Descriptors are taken all the
    same, in their order: a file or a connection that got the number 1 would be written to by
    libraries that know of no Python.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = _make_sink()
    if sys.stderr is None:
        sys.stderr = _make_sink()


def open_input() -> TextIO:
    """Return standard input.

    Raises
    ------
    CommandError
        It was closed: that is no empty file.
    """
    if sys.stdin is None:
        raise CommandError("standard input is closed")
    return sys.stdin


def _make_sink() -> io.TextIOWrapper:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    # The processes of a server write their events to the standard error of whoever starts them.
    os.set_inheritable(descriptor, True)
    return os.fdopen(descriptor, "w", encoding="utf-8")
