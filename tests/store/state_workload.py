"""Changes that are a function of their sequence, so that any process knows what it must read.

Run as a program it opens the state of a folder beside the process that writes, and reads until
its input ends: `python -m tests.store.state_workload read FOLDER`. With `write` it is the writer,
which acknowledges each sequence on its output.
"""

import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from instanter.store.databases import ACTIVITY, META, PROFILES, Database, meta_key
from instanter.store.folding import FoldResult
from instanter.store.state import State
from instanter.store.transaction import Transaction

KEYS = tuple(b"key%05d" % number for number in range(24))
SEQUENCE_KEY = meta_key("sequence")
MAP_SIZE_BYTES = 1 << 17
"""So small that both maps must grow."""

PURGE_ROWS = 3
Content = dict[tuple[str, bytes], bytes]


def changes_of(sequence: int) -> list[tuple[Database, bytes, bytes | None]]:
    """Return what a record of the log does: a few keys put and deleted together."""
    rng = random.Random(sequence)
    return [
        (
            rng.choice((PROFILES, ACTIVITY)),
            rng.choice(KEYS),
            b"%d " % sequence * rng.randrange(1, 300) if rng.random() < 0.7 else None,
        )
        for _ in range(rng.randrange(1, 6))
    ]


def apply(transaction: Transaction, sequence: int) -> None:
    """Do it to the state."""
    for database, key, value in changes_of(sequence):
        if value is None:
            transaction.delete(database, key)
        else:
            transaction.put(database, key, value)
    transaction.put(META, SEQUENCE_KEY, b"%d" % sequence)


class Oracle:
    """What the content must be after each sequence, one after the other."""

    def __init__(self) -> None:
        self.sequence = 0
        self.content: Content = {}

    def go_to(self, sequence: int) -> Content:
        """Return the content after a sequence that is not before the last one asked for."""
        assert sequence >= self.sequence, f"went back from {self.sequence} to {sequence}"
        while self.sequence < sequence:
            self.sequence += 1
            for database, key, value in changes_of(self.sequence):
                if value is None:
                    self.content.pop((database.name, key), None)
                else:
                    self.content[database.name, key] = value
        return self.content


def read(state: State) -> tuple[int, Content]:
    """Return the sequence that one snapshot says it is of, and its content, got and scanned."""
    got: Content = {}
    with state.read() as transaction:
        for database in (PROFILES, ACTIVITY):
            for key in KEYS:
                if (value := transaction.get(database, key)) is not None:
                    got[database.name, key] = bytes(value)
        stored = transaction.get(META, SEQUENCE_KEY)
        sequence = 0 if stored is None else int(bytes(stored))
        scanned = {
            (database.name, key): bytes(value)
            for database in (PROFILES, ACTIVITY)
            for key, value in transaction.scan(database)
        }
    assert scanned == got
    return sequence, got


def check_reads(state: State, oracle: Oracle) -> int:
    """Read once, and return the sequence that was seen."""
    sequence, content = read(state)
    expected = oracle.go_to(sequence)
    assert content == expected, f"a reader saw a mixture at {sequence}"
    return sequence


class Keeping:
    """A writer with a thread that folds, as the keeper has it, from a sequence on."""

    def __init__(self, state: State, sequence: int) -> None:
        self.state = state
        self.sequence = sequence
        self.fold_count = 0
        self._folder = ThreadPoolExecutor(1)

    def steps(self) -> Iterator[int]:
        """Write one record after the other, fold beside it, and yield each sequence written."""
        folding = self._folder.submit(self.state.fold)
        purging: FoldResult[None] | None = None
        while True:
            self.sequence += 1
            if self.sequence % 41 == 0:
                self._write_heavy(purging or folding.result())
                purging, folding = None, self._folder.submit(self.state.fold)
            else:
                self.state.write(lambda t: apply(t, self.sequence), sequence=self.sequence)
            yield self.sequence
            if purging is None and folding.done():
                purging = folding.result()
                self.fold_count += 1
            if purging is not None and self.state.purge(purging, PURGE_ROWS):
                purging, folding = None, self._folder.submit(self.state.fold)

    def stop(self) -> None:
        """End the thread that folds."""
        self._folder.shutdown()

    def _write_heavy(self, purging: FoldResult[None]) -> None:
        """Have the thread that folds write a change, while nothing else is written."""
        while not self.state.purge(purging, PURGE_ROWS):
            pass
        fold = self._folder.submit(
            self.state.fold,
            heavy=lambda t: apply(t, self.sequence),
            heavy_sequence=self.sequence,
        ).result()
        assert self.state.purge(fold, PURGE_ROWS)
        self.fold_count += 1


@contextmanager
def workload(role: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run this module as a program, until the end of a `with` block at the latest."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.state_workload", role, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """Read until the input ends, or write until somebody ends this process."""
    role, folder = sys.argv[1], Path(sys.argv[2])
    if role == "write":
        with State.open(
            folder,
            writable=True,
            map_size_bytes=MAP_SIZE_BYTES,
            overlay_map_size_bytes=MAP_SIZE_BYTES,
        ) as state:
            # Where the log would end.
            folded, applied = state.folded_sequence(), state.applied_sequence()
            state.rebuild(
                lambda t: [apply(t, number) for number in range(folded + 1, applied + 1)],
                sequence=applied,
            )
            for sequence in Keeping(state, applied).steps():
                print(sequence, flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
    oracle, count = Oracle(), 0
    with State.open(folder, writable=False) as state:
        print("open", flush=True)
        while not ended.is_set():
            check_reads(state, oracle)
            count += 1
    print(count, oracle.sequence, flush=True)


if __name__ == "__main__":
    main()
