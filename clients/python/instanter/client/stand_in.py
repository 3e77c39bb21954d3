"""A terminal's own stand-in: what it answers when the server is silent, and what it sends later.

Nothing here is a guess about fraud. The merchant declares up to which amount a transaction may pass
unseen (the floor limit), and what happens above it; a card that the terminal knows to be on the
hotlist is declined whatever the amount. What was answered so is remembered, on disk when a file is
given, and sent to the server when it answers again: it counts there as of its own time.
"""

import fcntl
import json
import os
import threading
import weakref
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, ClassVar, Final

from instanter.card_data import EXPECTED, find_card_data
from instanter.client.errors import (
    ClientError,
    DeadlineExceededError,
    ExhaustedError,
    FieldViolation,
    InvalidRequestError,
    ServerError,
    UnavailableError,
)
from instanter.client.fraud_values import (
    Assessment,
    AssessmentSource,
    CardTransaction,
    Disposition,
    StandInCause,
)

REMEMBERED_MAX: Final = 100_000
"""Transactions remembered at most: days of a busy till. Nothing is approved unseen beyond."""

_REASON: Final = "CARD_NUMBER_REFUSED"
_SILENCE: Final = (UnavailableError, DeadlineExceededError, ExhaustedError, ServerError)


class TerminalStandIn:
    """Answers for a silent server, and remembers what it answered. Threads may share it.

    Parameters
    ----------
    approve_up_to_minor
        Floor limit by currency, in minor units: a transaction of at most that amount is approved.
        A currency that is not there has none.
    otherwise
        What happens to all others: REFER or DECLINE.
    hotlisted_cards
        Tokens of cards that are declined, as `list_hotlist("cards")` gives them.
    file
        Where to remember, so that a restart of the terminal forgets nothing; None for memory only.
        It belongs to one process for as long as that has it: each needs a file of its own. Within
        a process, stand-ins with the same file remember the same transactions.

    Raises
    ------
    ValueError
        `otherwise` is no REFER or DECLINE, a floor limit is negative, the file is not one of ours,
        or another process has it.
    OSError
        The file cannot be read or written.
    """

    def __init__(
        self,
        approve_up_to_minor: Mapping[str, int] = MappingProxyType({}),
        *,
        otherwise: Disposition = Disposition.DECLINE,
        hotlisted_cards: Container[str] = frozenset(),
        file: Path | str | None = None,
    ) -> None:
        if otherwise not in (Disposition.REFER, Disposition.DECLINE):
            raise ValueError(f"otherwise: {otherwise!r} is not right; expected REFER or DECLINE")
        for currency, limit in approve_up_to_minor.items():
            if limit < 0:
                raise ValueError(f"{currency}: {limit} is not right; expected at least 0")
        self._limits = dict(approve_up_to_minor)
        self._otherwise = otherwise
        self._hotlisted = hotlisted_cards
        self._file = None if file is None else _Journal.take(Path(file))
        self._lock = threading.Lock() if self._file is None else self._file.lock
        self._waiting = {} if self._file is None else self._file.waiting

    @property
    def waiting_count(self) -> int:
        """How many transactions the server has not been told yet."""
        return len(self._waiting)

    def list_waiting(self) -> tuple[CardTransaction, ...]:
        """Return the transactions that the server has not been told yet, the oldest first."""
        with self._lock:
            return tuple(self._waiting.values())

    def answer(self, transaction: CardTransaction) -> Assessment:
        """Answer a settled transaction here and now, and remember it.

        It is approved only when it could be remembered: nothing passes that the server would never
        hear of.

        Raises
        ------
        InvalidRequestError
            Something of it holds a card number or a verification code, which nobody may remember.
        """
        assert transaction.transaction_id is not None, "it is settled"
        _check_card_data(transaction)
        with self._lock:
            remembered = self._remember(transaction)
        disposition, reason = self._judge(transaction)
        if disposition == Disposition.APPROVE and not remembered:
            disposition, reason = self._otherwise, "STAND_IN_FULL"
        return Assessment(
            transaction_id=transaction.transaction_id,
            disposition=disposition,
            source=AssessmentSource.STAND_IN,
            reasons=(reason,),
            stand_in_causes=(StandInCause.SERVER_SILENT,),
        )

    def forget(self, transaction_id: str) -> None:
        """Forget a transaction that the server has been told, or has refused for good."""
        with self._lock:
            if self._waiting.pop(transaction_id, None) is not None and self._file is not None:
                self._file.rewrite_when_worth_it()

    def _judge(self, transaction: CardTransaction) -> tuple[Disposition, str]:
        if transaction.card_token in self._hotlisted:
            return Disposition.DECLINE, "HOTLIST_CARDS"
        limit = self._limits.get(transaction.currency, -1)
        if 0 < transaction.amount_minor <= limit:
            return Disposition.APPROVE, "BELOW_FLOOR_LIMIT"
        return self._otherwise, "ABOVE_FLOOR_LIMIT"

    def _remember(self, transaction: CardTransaction) -> bool:
        """Remember a transaction; False when there is no room, in memory or on disk."""
        assert transaction.transaction_id is not None, "it is settled"
        if transaction.transaction_id in self._waiting:
            return True
        if len(self._waiting) >= REMEMBERED_MAX:
            return False
        if self._file is not None:
            try:
                self._file.append(transaction)
            except OSError:
                return False
        self._waiting[transaction.transaction_id] = transaction
        return True


def is_silence(error: ClientError) -> bool:
    """Return whether a failure means that the server gives no answer now.

    A request that is wrong, or a caller that is not allowed, is not: these are answers.
    """
    return isinstance(error, _SILENCE)


def _check_card_data(transaction: CardTransaction) -> None:
    """Refuse what the server refuses, with the same words and nothing of the value."""
    given: list[tuple[str, str, object]] = []
    for each in fields(transaction):
        value = getattr(transaction, each.name)
        if isinstance(value, Mapping):
            for at, (name, member) in enumerate(value.items()):
                place = f"{each.name}[{at}]"
                given += [(f"{place} (its name)", "", name), (place, name, member)]
        else:
            given.append((each.name, each.name, value))
    for field, name, value in given:
        what = find_card_data(value, name)
        if what is not None:
            expected = f"expected {EXPECTED}"
            raise InvalidRequestError(
                f"{field}: '{what}' is not right; {expected}",
                code="INVALID_ARGUMENT",
                reason=_REASON,
                violations=(FieldViolation(field, expected, _REASON),),
            )


class _Journal:
    """The file of stand-ins: one transaction a line, for the terminal's own user only.

    Attributes
    ----------
    waiting
        What the server has not been told yet, by id. Whoever changes it changes the file.
    lock
        Held by whoever looks at it or changes it.
    """

    _taken: ClassVar["weakref.WeakValueDictionary[Path, _Journal]"] = weakref.WeakValueDictionary()
    _taking: ClassVar = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line_count = 0
        self.lock = threading.Lock()
        self.waiting: dict[str, CardTransaction] = {}
        release = weakref.finalize(self, os.close, _hold(path))
        try:
            self._load()
        except (OSError, ValueError):
            release()
            raise

    @classmethod
    def take(cls, path: Path) -> "_Journal":
        """Return the journal of a file: of one file there is one, or they drop each other's."""
        with cls._taking:
            found = cls._taken.get(path.resolve())
            if found is None:
                cls._taken[path.resolve()] = found = cls(path)
            return found

    def _load(self) -> None:
        """Take what the file holds; a last line that was cut is left out."""
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return
        for number, line in enumerate(text.split("\n")[:-1], 1):
            transaction = self._read(line, number)
            assert transaction.transaction_id is not None, "it was settled"
            self.waiting[transaction.transaction_id] = transaction
        self._rewrite()

    def append(self, transaction: CardTransaction) -> None:
        """Write one more transaction, to the disk."""
        raw = _make_line(transaction).encode()
        with _open(self._path, "ab") as file:
            size_bytes = file.tell()
            try:
                _write(file, raw)
            except OSError:
                # A line that was cut would spoil the next one.
                file.truncate(size_bytes)
                raise
        self._line_count += 1

    def rewrite_when_worth_it(self) -> None:
        """Take out what is no longer waiting, once that is half of the file or all of it."""
        if self._line_count >= 2 * len(self.waiting):
            # On a full disk it stays as it is: what is sent again after a restart counts once.
            with suppress(OSError):
                self._rewrite()

    def _rewrite(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        with _open(fresh, "wb") as file:
            _write(file, "".join(_make_line(each) for each in self.waiting.values()).encode())
        fresh.replace(self._path)
        self._line_count = len(self.waiting)

    def _read(self, line: str, number: int) -> CardTransaction:
        try:
            given: dict[str, Any] = json.loads(line)
            given["transaction_time"] = datetime.fromisoformat(given["transaction_time"])
            given["fields"] = {
                name: datetime.fromisoformat(value["instant"]) if isinstance(value, dict) else value
                for name, value in given["fields"].items()
            }
            return CardTransaction(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self._path}:{number}: it is no transaction of a stand-in: {error}"
            ) from None


def _hold(path: Path) -> int:
    """Keep other processes from a file, and return the descriptor of the lock.

    Each would write its own waiting ones over the others'. What is locked is a file beside it,
    because the file itself is replaced.
    """
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(
            f"file '{path}' is not right; another process has it, and each needs one of its own"
        ) from None
    return descriptor


def _make_line(transaction: CardTransaction) -> str:
    def plain(value: object) -> object:
        assert isinstance(value, datetime), "all else is plain"
        return {"instant": value.isoformat()}

    assert transaction.transaction_time is not None, "it is settled"
    given = asdict(transaction) | {"transaction_time": transaction.transaction_time.isoformat()}
    return json.dumps(given, default=plain) + "\n"


def _open(path: Path, mode: str) -> IO[bytes]:
    """Open a file without a buffer; a new one is for its owner only."""

    def make(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    return open(path, mode, buffering=0, opener=make)


def _write(file: IO[bytes], raw: bytes) -> None:
    """Write everything, to the disk."""
    left = memoryview(raw)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())
