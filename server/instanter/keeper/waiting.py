"""Commands on their way through the keeper: those that wait for their turn, and for the disk."""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from instanter.clock import Clock
from instanter.errors import ExpiredError, InstanterError, UnavailableError
from instanter.keeper.commands import Caller, Command, GatheredCommand, Tell
from instanter.keeper.records import RecordKind
from instanter.limits import WRITES_ON_LOOP_WEIGHT_MAX

T = TypeVar("T")

_TOO_LATE: Final = "the deadline passed while the write waited; nothing was written"


class Waiting(Protocol):
    """Commands that wait together.

    Attributes
    ----------
    commands
        What waits, in its order.
    kind
        Kind of their records.
    relaxed, weight
        As `Keeper.submit` explains.
    """

    relaxed: bool

    @property
    def commands(self) -> Sequence[Command[Any]]:
        """What waits."""
        ...

    @property
    def kind(self) -> RecordKind:
        """Kind of their records."""
        ...

    @property
    def weight(self) -> int:
        """How many things they change, about."""
        ...

    def close(self) -> None:
        """Take no more commands: their turn has come."""
        ...

    def keep_wanted(self, clock: Clock) -> bool:
        """Drop what nobody waits for, or not in time; return whether anything is left."""
        ...

    def split(self) -> Iterable["Waiting"]:
        """Return the same, each command by itself."""
        ...

    def tell(self, outcomes: Sequence[Any]) -> None:
        """Tell the callers what has become of the commands: a result, or an error, of each."""
        ...

    def refuse(self, error: Exception) -> None:
        """Tell those who have not been told anything that their command has failed."""
        ...


class WaitingCommand(Generic[T]):
    """A command that waits for its turn; `Keeper.submit` explains the rest.

    Attributes
    ----------
    commands, kind, relaxed, weight
        As of `Waiting`.
    future
        Gets the command's result.
    """

    __slots__ = ("_deadline_ns", "commands", "future", "kind", "relaxed", "weight")

    def __init__(
        self,
        command: Command[T],
        deadline_ns: int | None = None,
        *,
        relaxed: bool = False,
        weight: int = 1,
    ) -> None:
        self.commands: Sequence[Command[Any]] = (command,)
        self.kind = command.kind
        self._deadline_ns = deadline_ns
        self.relaxed = relaxed
        self.weight = weight
        self.future: Future[T] = Future()

    def close(self) -> None:
        """See `Waiting`."""

    def keep_wanted(self, clock: Clock) -> bool:
        """See `Waiting`."""
        if not self.future.set_running_or_notify_cancel():
            return False
        if self._deadline_ns is None or clock.monotonic_ns() < self._deadline_ns:
            return True
        self.future.set_exception(ExpiredError(_TOO_LATE))
        return False

    def split(self) -> Iterable[Waiting]:
        """See `Waiting`."""
        return (self,)

    def tell(self, outcomes: Sequence[Any]) -> None:
        """See `Waiting`."""
        (outcome,) = outcomes
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)

    def refuse(self, error: Exception) -> None:
        """See `Waiting`."""
        future = self.future
        if not future.done() and (future.running() or future.set_running_or_notify_cancel()):
            future.set_exception(error)


class WaitingCommands:
    """Commands of one kind and durability that come one after another, until their turn has come.

    A caller is told of its own outcome, but all of them at once: what one command costs by itself
    is a place in two lists.

    Parameters
    ----------
    kind, relaxed
        As of `Waiting`.
    tell
        Takes callers and their outcomes.
    lock
        Held by whoever closes it.
    admit
        Called before each command is taken; raises where too many wait already.

    Attributes
    ----------
    commands, kind, relaxed, weight
        As of `Waiting`.
    """

    __slots__ = (
        "_admit", "_callers", "_closed", "_lock", "_tell", "_told", "commands", "kind", "relaxed",
        "weight",
    )  # fmt: skip

    def __init__(
        self,
        kind: RecordKind,
        tell: Tell,
        lock: "threading.RLock | threading.Lock",
        admit: Callable[[], None],
        *,
        relaxed: bool,
    ) -> None:
        self.kind = kind
        self.relaxed = relaxed
        self.weight = 0
        self.commands: list[GatheredCommand[Any]] = []
        self._callers: list[Caller] = []
        self._tell = tell
        self._lock = lock
        self._admit = admit
        self._closed = False
        self._told = False

    def add(self, command: GatheredCommand[Any], caller: Caller) -> bool:
        """Take a command, unless the turn of these has come, or it makes them too many.

        Raises
        ------
        ExhaustedError
            Too many commands wait.
        """
        with self._lock:
            weight = self.weight + command.weight
            if (
                self._closed
                or self.relaxed != command.relaxed
                or (self.commands and weight > WRITES_ON_LOOP_WEIGHT_MAX)
            ):
                return False
            self._admit()
            self.commands.append(command)
            self._callers.append(caller)
            self.weight = weight
        return True

    def close(self) -> None:
        """See `Waiting`."""
        self._closed = True

    def keep_wanted(self, clock: Clock) -> bool:
        """See `Waiting`."""
        now_ns = clock.monotonic_ns()
        for command, caller in zip(self.commands, self._callers, strict=True):
            if not caller.open or (
                command.deadline_ns is not None and command.deadline_ns <= now_ns
            ):
                self._drop_unwanted(now_ns)
                break
        return bool(self.commands)

    def _drop_unwanted(self, now_ns: int) -> None:
        commands, callers = self.commands, self._callers
        self.commands, self._callers, late = [], [], []
        for command, caller in zip(commands, callers, strict=True):
            if command.deadline_ns is not None and command.deadline_ns <= now_ns:
                late.append(caller)
            elif caller.open:
                self.commands.append(command)
                self._callers.append(caller)
        if late:
            self._tell(late, [ExpiredError(_TOO_LATE)] * len(late))

    def split(self) -> Iterable[Waiting]:
        """See `Waiting`."""
        for command, caller in zip(self.commands, self._callers, strict=True):
            single = WaitingCommands(
                self.kind, self._tell, self._lock, self._admit, relaxed=self.relaxed
            )
            single.commands.append(command)
            single._callers.append(caller)
            yield single

    def tell(self, outcomes: Sequence[Any]) -> None:
        """See `Waiting`."""
        self._told = True
        self._tell(self._callers, outcomes)

    def refuse(self, error: Exception) -> None:
        """See `Waiting`; callers that are not open any more have been told."""
        if not self._told:
            self.tell([error] * len(self._callers))


@dataclass(frozen=True, slots=True, eq=False)
class Unsynced:
    """Answers that wait until the log is on disk up to `sequence`.

    Attributes
    ----------
    sequence
        Of the last record that they tell of.
    answers
        Who waits, and the outcomes of each.
    count
        How many outcomes these are.
    """

    sequence: int
    answers: Sequence[tuple[Waiting, Sequence[Any]]]
    count: int


def make_unknown(error: InstanterError) -> UnavailableError:
    """Return what a caller hears whose record may or may not be on disk."""
    return UnavailableError(
        f"whether this was written is not known: {error.message}; retry, with the same id",
        reason="WRITE_UNKNOWN",
    )
