"""Callers of gathered commands, and what they were told."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from instanter.keeper.commands import Answered, ApplyContext, Command
from instanter.keeper.records import RecordKind
from instanter.store.transaction import Transaction


class Asker:
    """Somebody who waits until `open` is cleared."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = True


class Told:
    """What askers were told, by their names."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Any] = {}
        self._changed = threading.Condition()

    def take(self, askers: Sequence[Asker], outcomes: Sequence[Any]) -> None:
        with self._changed:
            for asker, outcome in zip(askers, outcomes, strict=True):
                assert asker.name not in self._outcomes, "nobody is told twice"
                self._outcomes[asker.name] = outcome
                asker.open = False
            self._changed.notify_all()

    def wait(self, count: int) -> dict[str, Any]:
        """Return everything once so many were told."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._outcomes) >= count, 20)
            return dict(self._outcomes)


@dataclass(frozen=True)
class Gathered:
    """A command with a deadline of its own."""

    command: Command[Any]
    deadline_ns: int | None = None
    relaxed: bool = False
    weight: int = 1

    @property
    def kind(self) -> RecordKind:
        return self.command.kind

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        return self.command.prepare(transaction, now_ns, context)
