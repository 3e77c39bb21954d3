"""Small logs for the tests: a clock, how to open one, how to leave one as a killed process does."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from instanter.store.log.frames import LogRecord
from instanter.store.log.log import Log
from instanter.store.log.segments import list_segments, segment_path
from instanter.store.log.survey import TornTail

SEGMENT_SIZE_BYTES = 4096


@dataclass
class HandClock:
    """A clock that is set by hand."""

    at_ns: int = 1_000

    def now_ns(self) -> int:
        return self.at_ns

    def monotonic_ns(self) -> int:
        return self.at_ns


@dataclass
class Opener:
    """Opens the log of one folder, and keeps what it was told of torn tails."""

    folder: Path
    clock: HandClock = field(default_factory=HandClock)
    torn: list[TornTail] = field(default_factory=list)

    def __call__(self, segment_size_bytes: int = SEGMENT_SIZE_BYTES, read_from: int = 0) -> Log:
        return Log.open(
            self.folder,
            clock=self.clock,
            on_torn=self.torn.append,
            segment_size_bytes=segment_size_bytes,
            read_from=read_from,
        )

    def last_file(self) -> Path:
        return segment_path(self.folder, list_segments(self.folder)[-1])


def abandon(log: Log) -> None:
    """Leave a log as a killed process leaves it: no sync, no end mark."""
    log._preparation.stop()
    os.close(log._descriptor)
    os.close(log._lock)
    log._descriptor = log._lock = -1


def body_of(number: int, size: int) -> bytes:
    """Return a body without zeros that tells its number."""
    return (b"%07d." % number * (size // 8 + 1))[:size]


def write(log: Log, bodies: Iterable[bytes], *, synced: bool = True) -> list[LogRecord]:
    """Write one group of records."""
    records = [log.append(6, 1_000 + len(body), body) for body in bodies]
    log.write_group()
    if synced:
        log.sync()
    return records


def write_groups(log: Log, *groups: int, size: int = 50) -> list[LogRecord]:
    """Write and sync groups of that many records each."""
    records: list[LogRecord] = []
    for count in groups:
        first = log.next_sequence
        records += write(log, (body_of(number, size) for number in range(first, first + count)))
    return records
