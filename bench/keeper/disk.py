"""What the disk itself takes: a bare write with a sync, and rows of SQLite."""

import os
import sqlite3
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FILE_SIZE_BYTES = 8 << 20
_WRITE_SIZE_BYTES = 256


def time_syncs(folder: Path, count: int, rate_per_s: float = 0.0) -> NDArray[np.int64]:
    """Return how long 256-byte writes with an fdatasync take in a file that is there already.

    Parameters
    ----------
    folder
        Where the file is made.
    count
        Writes.
    rate_per_s
        Writes a second, each timed from when it was due, as requests are; 0 for one behind the
        other, each timed by itself.

    Returns
    -------
    ndarray
        int64[count], nanoseconds.
    """
    path = folder / "syncs.bin"
    with path.open("wb") as file:
        file.write(b"\0" * _FILE_SIZE_BYTES)
        file.flush()
        os.fsync(file.fileno())
    descriptor = os.open(path, os.O_RDWR)
    data = os.urandom(_WRITE_SIZE_BYTES)
    times = np.empty(count, np.int64)
    try:
        first = time.perf_counter_ns()
        for at in range(count):
            begun = time.perf_counter_ns()
            if rate_per_s:
                due = first + int(at * 1e9 / rate_per_s)
                while time.perf_counter_ns() < due:
                    pass
                begun = due
            os.pwrite(descriptor, data, at * _WRITE_SIZE_BYTES % _FILE_SIZE_BYTES)
            os.fdatasync(descriptor)
            times[at] = time.perf_counter_ns() - begun
    finally:
        os.close(descriptor)
        path.unlink()
    return times


def count_sqlite_rows_per_s(folder: Path, batches: int, batch_rows: int) -> float:
    """Return the rows a second that SQLite takes, durably, in transactions of `batch_rows`.

    One connection: SQLite has one writer, and with more of them they would wait for each other.
    """
    path = folder / "events.sqlite"
    for each in folder.glob("events.sqlite*"):
        each.unlink()
    draw = np.random.default_rng(1)
    rows = [
        [
            (
                draw.bytes(16).hex(),
                f"c{draw.integers(20_000):08d}",
                "purchase",
                time.time_ns(),
                draw.bytes(60),
            )
            for _ in range(batch_rows)
        ]
        for _ in range(batches)
    ]
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE events (id TEXT PRIMARY KEY, customer TEXT, kind TEXT,"
            " time_ns INTEGER, fields BLOB) WITHOUT ROWID"
        )
        begun = time.perf_counter()
        for batch in rows:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", batch)
            connection.execute("COMMIT")
        return batches * batch_rows / (time.perf_counter() - begun)
    finally:
        connection.close()
