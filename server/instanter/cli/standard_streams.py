"""The standard streams of a process that was started without some of them (`<&-`, `>&-`)."""

import errno
import io
import os
import sys
from typing import Any


class _ClosedInput(io.RawIOBase):
    """Standard input that was closed: whoever reads it is told so, and nobody else."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        raise OSError(errno.EBADF, "it is closed", "standard input")


def fill_in_closed() -> None:
    """Put something in the place of standard streams that were closed.

    Python leaves None there, which has no methods. What is read from a closed input is no empty
    file, but an error; what is written to a closed output was not wanted. Descriptors are taken
    too, in their order: a file or a connection that got the number 1 would be written to by
    libraries that know of no Python.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_ClosedInput()))
    if sys.stdout is None:
        sys.stdout = _make_sink()
    if sys.stderr is None:
        sys.stderr = _make_sink()


def _make_sink() -> io.TextIOWrapper:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    # The processes of a server write their events to the standard error of whoever starts them.
    os.set_inheritable(descriptor, True)
    return os.fdopen(descriptor, "w", encoding="utf-8")
