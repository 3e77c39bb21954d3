"""What the keeper is asked to do, and how the effect of a record follows from it.

A command looks at the state and becomes the body of a record, or refuses, or finds that it was
done before. The record's effect is then a pure function of state and record, the same when the
record is read out of the log again.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgpack

from instanter.errors import InstanterError
from instanter.events.engine import EventEngine
from instanter.keeper.fraud_desk import FraudDesk
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.records import RecordKind
from instanter.keeper.stock_desk import StockDesk
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer of a command that was carried out before and needs no record now.

    Attributes
    ----------
    result
        What the command that was carried out returned.
    """

    result: Any


@dataclass(frozen=True, slots=True, eq=False)
class ApplyContext:
    """What applying may use beside state and record: nothing that does not follow from these.

    Attributes
    ----------
    published
        The catalogue of the transaction's state, decoded once a revision.
    events
        Counts events; it is given the catalogue before each use.
    fraud
        Assesses and counts card transactions, likewise.
    stock
        Moves stock, likewise.
    """

    published: PublishedCatalogue
    events: EventEngine = field(default_factory=EventEngine)
    fraud: FraudDesk = field(default_factory=FraudDesk)
    stock: StockDesk = field(default_factory=StockDesk)
    _prepared: list[Any] = field(default_factory=lambda: [b"", None])

    def pack(self, body: dict[str, Any]) -> bytes:
        """Return the body of a record, and remember what it was made of."""
        packed = pack_body(body)
        self._prepared[:] = packed, body
        return packed

    def unpack(self, record: LogRecord) -> dict[str, Any]:
        """Return what `pack` or `pack_body` was given, for reading only.

        What was packed this moment is not unpacked again: a record's bytes are those very ones.
        Of a record that was read out of the log, tuples are lists.
        """
        packed, body = self._prepared
        found: dict[str, Any] = body if packed is record.body else unpack_body(record)
        return found

    def warm_up(self, transaction: Transaction) -> None:
        """Decode the catalogue in force, which takes 0.2 s, before a command has to.

        For the thread that applies, at the start and when a catalogue was published: an event loop
        would answer nobody meanwhile. What cannot be read is told to the command that needs it.
        """
        try:
            catalogue = self.published.load(transaction)
        except InstanterError:
            return
        if catalogue is not None:
            self.events.install(catalogue)
            self.fraud.install(catalogue)
            self.stock.install(catalogue)


class Command(Protocol[T_co]):
    """Something that the keeper is asked to do; a frozen value.

    Attributes
    ----------
    kind
        Kind of its record.
    """

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        ...

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check the command against the state, and return the body of its record.

        It may run several times and writes nothing. What it refuses, it refuses here: applying
        the record must succeed.

        Raises
        ------
        InstanterError
            The command is refused.
        """
        ...


class GatheredCommand(Protocol[T_co]):
    """A command that is gathered with others, see `Gather`.

    Attributes
    ----------
    kind
        As of `Command`.
    deadline_ns, relaxed, weight
        As `Keeper.submit` explains.
    """

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        ...

    @property
    def relaxed(self) -> bool:
        """Whether it is acknowledged before the disk has it."""
        ...

    @property
    def weight(self) -> int:
        """How many things it changes, about."""
        ...

    @property
    def deadline_ns(self) -> int | None:
        """When nobody waits for it any longer."""
        ...

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Do what `Command.prepare` does."""
        ...


class Caller(Protocol):
    """Who waits for a gathered command.

    Attributes
    ----------
    open
        Somebody still waits; its command is dropped otherwise, as long as its turn has not come.
    """

    open: bool


Tell = Callable[[Sequence[Any], Sequence[Any]], None]
"""Takes callers and what has become of their commands, in the same order: results and errors. A
caller that is not open any more was told before, or has gone away. It raises nothing: what is wrong
with one caller is no other's business."""


class Gathering(Protocol):
    """Commands of one kind that wait for their turn, and those that come until then."""

    def add(self, command: GatheredCommand[Any], caller: Any) -> bool:
        """Take a command, unless it is too late for that or it does not go with these.

        Raises
        ------
        ExhaustedError
            Too many commands wait.
        """
        ...


class Gather(Protocol):
    """Begins a gathering, as `Keeper.gather` does."""

    def __call__(self, command: GatheredCommand[Any], caller: Any, tell: Tell) -> Gathering:
        """Queue a command together with those that are added until its turn."""
        ...


class Submit(Protocol):
    """Carries out a command, as `Keeper.submit` does."""

    def __call__(
        self,
        command: Command[Any],
        deadline_ns: int | None = None,
        *,
        relaxed: bool = False,
        weight: int = 1,
    ) -> Future[Any]:
        """Queue a command; the future has its result once that is acknowledged."""
        ...


Append = Callable[[int, bytes], LogRecord]
"""Appends a record of a kind, with a body, to the log."""


class CarryTogether(Protocol):
    """Carries out commands of one form together, as far as they are usual."""

    def __call__(
        self,
        commands: Sequence[Any],
        transaction: Transaction,
        now_ns: int,
        context: ApplyContext,
        first_sequence: int,
        append: Append,
    ) -> list[Any]:
        """Do what preparing, logging and applying each of the first commands would do.

        Parameters
        ----------
        commands
            In their order, at least one.
        transaction, now_ns, context
            As for `Command.prepare`.
        first_sequence
            Of the record to be appended next.
        append
            Appends each command's record, after all that may refuse it.

        Returns
        -------
        list
            The results of the first commands; shorter than these, or empty, where one is unusual:
            of that one, and of all behind it, nothing has happened.
        """
        ...


Apply = Callable[[Transaction, LogRecord, ApplyContext], Any]
"""From state, record and context to the command's result: no clock, no randomness, no I/O."""


def pack_body(body: dict[str, Any]) -> bytes:
    """Return the body of a record."""
    packed: bytes = msgpack.packb(body)
    return packed


def unpack_body(record: LogRecord) -> dict[str, Any]:
    """Return what `pack_body` was given for a record."""
    body: dict[str, Any] = msgpack.unpackb(record.body, strict_map_key=False)
    return body
