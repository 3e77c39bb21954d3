"""Folds in a process of its own: a server that answers keeps the interpreter's lock to itself.

The process reads the overlay's snapshot and writes the base; what it may write, and what has been
learned, it asks the keeper, which waits for the log. It holds the keeper's lock as well, so no
other keeper begins while it may still be writing, and it ends with the thread that has started it.

The two sides exchange msgpack: `["fold"]`; back `["read", sequence]`; then `["leave"]`, or what the
keeper holds in its memory, `["held", database, rows]` piece by piece, and `["write", learned]`; and
back `["folded", sequence, entries, snapshot]`, `["left"]` or `["failed", reason, message]`.
"""

import gc
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from instanter.errors import ExhaustedError, InstanterError
from instanter.frames import Frames, pack
from instanter.limits import FOLD_PROCESS_WAIT_NS_MAX
from instanter.module_path import find_module_path
from instanter.orphans import end_with_parent
from instanter.store.held_rows import Piece
from instanter.store.model_states import LearnedStates, LearnedUpTo, put_learned
from instanter.store.state import State
from instanter.store.transaction import Transaction


class Allowed(NamedTuple):
    """What a fold may write beside what it has read.

    Attributes
    ----------
    learned
        What has been learned by then, None for nothing new.
    held
        What the keeper held in its memory then.
    """

    learned: LearnedStates | None
    held: Iterable[Piece]


Decide = Callable[[int], Allowed]
"""From the sequence that a fold has read to what else it may write, once the log is on disk up to
there; raises when nothing may be written."""

_NICENESS: Final = 10
"""Whoever answers callers comes first; a fold may take ten times as long."""

_OBJECTS_UNTIL_COLLECTED: Final = 500_000
"""A fold makes a tuple of each row, up to 120,000, none of them in a cycle. Looking for cycles
after each 700 of them took a third of its processor time: 0.29 s, and 0.20 without."""

_MESSAGE_SIZE_BYTES_MAX: Final = 256 << 20
"""Bytes of a message: what has been learned of all models."""

_PIECE_SIZE_BYTES: Final = 1 << 16


class FoldProcess:
    """The keeper's side: one process at a time, for one thread, which starts it as well.

    Parameters
    ----------
    folder
        The data folder.
    lock_descriptor
        File descriptor of the keeper's lock.
    """

    def __init__(self, folder: Path, lock_descriptor: int) -> None:
        self._folder = folder
        self._lock_descriptor = lock_descriptor
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: Iterator[Any] = iter(())

    def start(self) -> None:
        """Start the process unless it is there; the thread that calls this has to outlive it.

        Raises
        ------
        FoldProcessError
            The system has no room for another process.
        """
        if self._process is not None:
            return
        words = ["-m", "instanter.keeper.fold_process", str(os.getpid()), str(self._folder)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, with our own words
                [sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": find_module_path()},
                pass_fds=(self._lock_descriptor,),
            )
        except OSError as error:
            raise FoldProcessError(f"it cannot be started: {error}") from error
        # By us, because it begins with 0.3 s of imports. Where it is denied, it folds all the same.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)
        assert self._process.stdout is not None
        self._messages = _read_messages(self._process.stdout.fileno())

    def fold(self, decide: Decide) -> tuple[int, int, int]:
        """Fold what the overlay holds; return sequence, entries and snapshot as `FoldResult` does.

        Raises
        ------
        FoldProcessError
            The process has ended, or does not answer. It may or may not have folded.
        ExhaustedError
            The disk is full.
        Exception
            What `decide` raises; nothing was folded.
        """
        try:
            self._tell(("fold",))
            kind, *found = self._take()
            if kind == "read":
                self._decide(decide, found[0])
                kind, *found = self._take()
        except FoldProcessError:
            self.stop()
            raise
        if kind == "failed":
            reason, message = found
            raise ExhaustedError(message, reason=reason)
        sequence, entry_count, snapshot = found
        return sequence, entry_count, snapshot

    def stop(self) -> None:
        """End the process, whatever it does, and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _decide(self, decide: Decide, sequence: int) -> None:
        """Let the process write what it has read, or not."""
        try:
            learned, held = decide(sequence)
        except BaseException:
            self._tell(("leave",))
            self._take()
            raise
        for index, rows in held:
            self._tell(("held", index, rows))
        self._tell(("write", learned))

    def _tell(self, message: object) -> None:
        assert self._process is not None, "it was started"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pack(message))
            self._process.stdin.flush()
        except OSError as error:
            raise FoldProcessError(f"it takes nothing more: {error}") from error

    def _take(self) -> Any:
        """Return its next message."""
        for message in self._messages:
            return message
        raise FoldProcessError("it has ended")


class FoldProcessError(Exception):
    """The process is no longer there, or of no use; whoever needs a fold makes it without."""


def _read_messages(descriptor: int) -> Iterator[Any]:
    """Yield what the process tells until it ends.

    Raises
    ------
    FoldProcessError
        It has said nothing for too long.
    """
    frames = Frames(_MESSAGE_SIZE_BYTES_MAX)
    # `select` takes no descriptor above 1,023: a keeper with a thousand connections has such.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(FOLD_PROCESS_WAIT_NS_MAX / 1e6):
            raise FoldProcessError("it does not answer")
        piece = os.read(descriptor, _PIECE_SIZE_BYTES)
        if not piece:
            return
        yield from frames.feed(piece)


class _LeaveError(Exception):
    """What was read must not be written."""


def _serve(state: State) -> None:
    """Fold as often as it is asked for."""
    frames = Frames(_MESSAGE_SIZE_BYTES_MAX)
    asked = (
        message
        for piece in iter(lambda: os.read(sys.stdin.fileno(), _PIECE_SIZE_BYTES), b"")
        for message in frames.feed(piece)
    )
    for _ in asked:
        _tell(_fold(state, asked))


def _fold(state: State, asked: Iterator[Any]) -> tuple[Any, ...]:
    """Fold once; return what is told of it."""
    learned: list[LearnedStates] = []
    held: list[Piece] = []

    def wait_durable(sequence: int) -> None:
        _tell(("read", sequence))
        kind, *found = next(asked)
        while kind == "held":
            index, rows = found
            held.append((index, rows))
            kind, *found = next(asked)
        if kind == "leave":
            raise _LeaveError
        if found[0] is not None:
            reset, states, up_to = found[0]
            learned.append(LearnedStates(reset, states, LearnedUpTo(*up_to)))

    def collect(_: int) -> Callable[[Transaction], None] | None:
        return partial(put_learned, found=learned[0]) if learned else None

    try:
        result = state.fold(wait_durable=wait_durable, collect=collect, take_held=lambda _: held)
    except _LeaveError:
        return ("left",)
    except InstanterError as error:
        return ("failed", error.reason, error.message)
    return ("folded", result.folded_sequence, result.entry_count, result.snapshot)


def _tell(message: tuple[Any, ...]) -> None:
    sys.stdout.buffer.write(pack(message))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    # Whoever stops the keeper stops this process through it, after the last fold.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTED)
    with State.open_for_folding(Path(sys.argv[2])) as opened:
        _serve(opened)
