"""How the records of a group get into the log: behind their effects, or before the only one.

What one command of a group does depends on those before it, so a group of several is written when
all of it is applied. Of a single command nothing is left to be decided once it is prepared: its
record is written first, and its effect follows while the disk works. What is written and cannot be
applied is taken back by another record (see `voiding`).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from instanter.errors import ExhaustedError
from instanter.store.log.frames import LogRecord
from instanter.store.log.log import Log


class Writing(Protocol):
    """The records of one group.

    Attributes
    ----------
    time_ns
        Their time, nanoseconds since 1970.
    """

    time_ns: int

    @property
    def next_sequence(self) -> int:
        """Sequence of the record to be appended next."""
        ...

    @property
    def records(self) -> Sequence[LogRecord]:
        """What has been appended."""
        ...

    def begin_again(self) -> None:
        """Begin; also where the map had to grow, and what was applied is lost."""
        ...

    def append(self, kind: int, body: bytes) -> LogRecord:
        """Append a record; whoever does applies it."""
        ...

    def check(self) -> None:
        """Make sure that all that is written was applied."""
        ...


class GroupWriting:
    """Records that are written later, by `Log.write_group`.

    Parameters
    ----------
    log
        The log.
    time_ns
        Their time, nanoseconds since 1970.
    """

    __slots__ = ("_log", "_mark", "records", "time_ns")

    def __init__(self, log: Log, time_ns: int) -> None:
        self._log = log
        self.time_ns = time_ns
        self._mark = log.mark()
        self.records: list[LogRecord] = []

    @property
    def next_sequence(self) -> int:
        """See `Writing`."""
        return self._log.next_sequence

    def begin_again(self) -> None:
        """See `Writing`. What was appended before is forgotten, as it is by who gives up."""
        self._log.rollback(self._mark)
        self.records.clear()

    def append(self, kind: int, body: bytes) -> LogRecord:
        """See `Writing`."""
        record = self._log.append(kind, self.time_ns, body)
        self.records.append(record)
        return record

    def check(self) -> None:
        """See `Writing`: nothing is written yet."""


class EarlyWriting:
    """The only record of a group, which is written when it is appended.

    Parameters
    ----------
    log, time_ns
        As of `GroupWriting`.
    begin_sync
        Begins to sync the log, unless that has to wait; None where nobody waits for it.

    Attributes
    ----------
    written
        The record, once it is in the log; whoever gives up then has to take it back.
    records
        The same, since `begin_again`.
    has_failed
        Whether the log has failed over it.
    """

    __slots__ = ("_begin_sync", "_log", "_mark", "has_failed", "records", "time_ns", "written")

    def __init__(self, log: Log, time_ns: int, begin_sync: Callable[[], None] | None) -> None:
        self._log = log
        self.time_ns = time_ns
        self._begin_sync = begin_sync
        self._mark = log.mark()
        self.written: LogRecord | None = None
        self.has_failed = False
        self.records: Sequence[LogRecord] = ()

    @property
    def next_sequence(self) -> int:
        """See `Writing`; once it is written, its own."""
        return self._log.next_sequence if self.written is None else self.written.sequence

    def begin_again(self) -> None:
        """See `Writing`."""
        self.records = ()

    def append(self, kind: int, body: bytes) -> LogRecord:
        """Write the record, or return it when it is written already.

        Raises
        ------
        ExhaustedError
            The log has no room; it is as it was before.
        UnavailableError
            The log has failed.
        PreparedTwiceError
            Another one was written before.
        """
        record = self.written
        if record is None:
            record = self._log.append(kind, self.time_ns, body)
            self._write()
            self.written = record
            if self._begin_sync is not None:
                # A thread of the kernel begins the sync, perhaps only when this one rests.
                self._log.begin_writing_out(record)
                self._begin_sync()
        elif (record.kind, record.body) != (kind, body):
            raise PreparedTwiceError(record)
        self.records = (record,)
        return record

    def _write(self) -> None:
        try:
            self._log.write_group()
        except ExhaustedError:
            raise
        except BaseException:
            self.has_failed = True
            raise

    def check(self) -> None:
        """See `Writing`.

        Raises
        ------
        PreparedTwiceError
            It was wanted at first, and then not.
        """
        if self.written is not None and not self.records:
            raise PreparedTwiceError(self.written)

    def forget(self) -> None:
        """Forget what could not be written."""
        assert self.written is None, "that would have to be taken back"
        self._log.rollback(self._mark)


class PreparedTwiceError(Exception):
    """A command that was prepared again in the same state wanted something else: a bug of ours."""

    def __init__(self, record: LogRecord) -> None:
        super().__init__(f"record {record.sequence} of kind {record.kind} was prepared in two ways")
