"""Signals that come while a server starts: it has begun nothing that needs an end in order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedEarlyError(BaseException):
    """A signal has come before anything was served. No `Exception`, for nothing has failed."""


def list_stop_signals() -> list[signal.Signals]:
    """Return the signals that end a server; what `nohup` has it ignore is none."""
    return [
        number
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]


@contextmanager
def ending_early() -> Iterator[None]:
    """End the block at the first signal as if it were done; the second ends the process."""
    before = {number: signal.getsignal(number) for number in list_stop_signals()}

    def stop(_number: int, _frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise StoppedEarlyError

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except StoppedEarlyError:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
