"""Starts the generators, lets them begin at one moment, and adds up what they counted."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

from instanter.cli.bench.generator import READY, run_generator
from instanter.cli.bench.plan import Plan
from instanter.cli.bench.tally import Tally
from instanter.cli.failures import CommandError
from instanter.clock import Clock

_BEGIN_NS = 50_000_000
"""Until the generators begin: all of them have been told by then."""

_JOIN_S = 5.0
_STOP = "stop"


@dataclass(frozen=True, slots=True)
class _Member:
    """A generator, and the command's end of its pipe."""

    process: SpawnProcess
    pipe: Connection

    def receive(self) -> Any:
        """Return what the generator says next.

        Raises
        ------
        CommandError
            It has died.
        """
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            self.process.join(_JOIN_S)
            raise CommandError(
                f"generator {self.process.name} died with exit code {self.process.exitcode}"
            ) from error


def run_plan(plan: Plan, clock: Clock, tell: Callable[[int], None]) -> tuple[Tally, bool]:
    """Measure, and return what was counted, and whether Ctrl-C ended it before its time.

    Parameters
    ----------
    plan
        What is measured.
    clock
        Names the moment to begin.
    tell
        Is told how many calls have been made so far.

    Raises
    ------
    CommandError
        A generator has died.
    KeyboardInterrupt
        Ctrl-C before the asking began, or a second time.
    """
    with _hire(plan) as members:
        for member in members:
            assert member.receive() == READY
        with _stopped_by_interrupt(members) as is_stopped:
            start_ns = clock.monotonic_ns() + _BEGIN_NS
            for member in members:
                member.pipe.send(start_ns)
            return _gather(members, tell), is_stopped()


@contextmanager
def _hire(plan: Plan) -> Iterator[tuple[_Member, ...]]:
    """Yield running generators; none is left behind."""
    context = multiprocessing.get_context("spawn")
    members = []
    try:
        for index in range(plan.load.process_count):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=run_generator, args=(plan, index, theirs), name=str(index + 1), daemon=True
            )
            with _deaf_to_interrupt():
                process.start()
            # The generator holds the only other end now: when it dies, ours says so.
            theirs.close()
            members.append(_Member(process, ours))
        yield tuple(members)
    finally:
        for member in members:
            member.pipe.close()
        for member in members:
            member.process.join(_JOIN_S)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()


@contextmanager
def _stopped_by_interrupt(members: tuple[_Member, ...]) -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C stop the generators; yield what tells whether there was one.

    A handler and no exception: an exception could fall between half of a tally and its rest.
    """
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        for member in members:
            # One that has ended already needs no word.
            with contextlib.suppress(OSError):
                member.pipe.send(_STOP)

    former = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: stopped
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def _deaf_to_interrupt() -> Iterator[None]:
    """Ignore Ctrl-C; processes started meanwhile ignore it for good.

    It goes to the whole group of processes, and the command alone decides what it means.
    """
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _gather(members: tuple[_Member, ...], tell: Callable[[int], None]) -> Tally:
    """Wait for the tallies of all generators, and return their sum."""
    waiting = {member.pipe: member for member in members}
    told = dict.fromkeys(waiting, 0)
    total = Tally()
    while waiting:
        for pipe in wait(list(waiting)):
            assert isinstance(pipe, Connection)
            said = waiting[pipe].receive()
            if isinstance(said, Tally):
                total.add(said)
                del waiting[pipe]
            else:
                told[pipe] = said
                tell(sum(told.values()))
    return total
