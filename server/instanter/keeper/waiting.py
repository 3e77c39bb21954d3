"""Commands on their way through the keeper: those that wait for their turn, and for the disk."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from instanter.errors import InstanterError, UnavailableError
from instanter.keeper.commands import Command

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Waiting(Generic[T]):
    """A command that waits for its turn; `Keeper.submit` explains the rest."""

    command: Command[T]
    deadline_ns: int | None
    relaxed: bool
    weight: int
    future: Future[T]


@dataclass(frozen=True, slots=True, eq=False)
class Unsynced:
    """Answers that wait until the log is on disk up to `sequence`."""

    sequence: int
    answers: Sequence[tuple[Future[Any], Any]]


def resolve(future: Future[Any], outcome: Any) -> None:
    """Give a future its result, or the error that the command was refused with."""
    if isinstance(outcome, InstanterError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def make_unknown(error: InstanterError) -> UnavailableError:
    """Return what a caller hears whose record may or may not be on disk."""
    return UnavailableError(
        f"whether this was written is not known: {error.message}; retry, with the same id",
        reason="WRITE_UNKNOWN",
    )


def answer_unknown(group: Sequence[Waiting[Any]], error: InstanterError) -> None:
    """Tell those of a group who have no answer yet that its fate is not known."""
    for waiting in group:
        if not waiting.future.done():
            waiting.future.set_exception(make_unknown(error))
