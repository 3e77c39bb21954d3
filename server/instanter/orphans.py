"""No process of the server outlives the one that started it."""

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent: int) -> None:
    """Have the operating system kill this process as soon as its parent dies.

    Parameters
    ----------
    parent
        Process id of the parent. One that has died before this call is noticed too.

    Raises
    ------
    OSError
        The operating system refuses.
    SystemExit
        The parent is gone already.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:
        raise SystemExit(1)
