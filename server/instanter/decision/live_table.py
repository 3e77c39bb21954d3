"""The live score table: what is learned reaches all processes through one mapped file.

The file holds two copies of everything in a score table that learning changes. Its one writer
fills the copy that nobody reads and then turns the *generation*, whose lowest bit says which copy
counts. Before it writes into a copy again it says so (*begun*), and not before `LIVE_GRACE_NS`
have passed since readers were sent to the other one. A reader takes the generation, decides, and
looks whether its copy has been begun meanwhile; then it decides again. So nobody ever waits, and a
decision never mixes two generations.

Layout: a page with eight uint64 (magic, generation, begun, bytes of one copy, digest of the layout
in two words), then the two copies, each a multiple of a page. The file belongs to one layout, that
is to one revision of catalogue and models; another layout gets another file.
"""

import contextlib
import mmap
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from instanter.clock import Clock
from instanter.decision.models import digest_of
from instanter.decision.score_table import ScoreTable

LIVE_GRACE_NS: Final = 10_000_000
"""Time that readers have left to finish with a copy: a turn of decisions takes about a third."""

_FIELDS: Final = (
    "weight",
    "base",
    "context_base",
    "scale",
    "intercept",
    "prior_logit",
    "calibration_x",
    "calibration_y",
    "fitted",
    "doubt",
)
_MAGIC: Final = 0x315645564954494C
_PAGE: Final = 4096
_GENERATION, _BEGUN, _SIZE, _DIGEST = 1, 2, 3, 4


def live_path(folder: Path, catalogue_revision: int, model_revision: int, plan: bytes) -> Path:
    """Return where the live table of a catalogue, models and a plan (its digest) is."""
    name = digest_of(b"%d %d %s" % (catalogue_revision, model_revision, plan)).hex()
    return folder / f"score_table-{name}"


class _Mapping:
    """The mapped file as arrays."""

    def __init__(self, table: ScoreTable, memory: mmap.mmap) -> None:
        self.head = np.frombuffer(memory, np.uint64, 8)
        size = _copy_size_bytes(table)
        self.copies = tuple(_view_copy(table, memory, _PAGE + number * size) for number in range(2))


class LiveTableWriter:
    """Writes a live table. Belongs to one thread of the one process that learns.

    Parameters
    ----------
    path
        See `live_path`. A file that is there, because this process has been started anew, is
        written on.
    table
        What the table is now; its arrays tell the layout, and are changed by whoever learns.
    clock
        Tells how long readers have had to leave a copy.
    wait
        Waits for some seconds; `time.sleep` by default.
    """

    def __init__(
        self,
        path: Path,
        table: ScoreTable,
        *,
        clock: Clock,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.path = path
        self.table = table
        self._clock = clock
        self._wait = wait
        path.parent.mkdir(exist_ok=True)
        size = _PAGE + 2 * _copy_size_bytes(table)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, size)
            # A hole on a full disk would be SIGBUS, and the end of the process.
            os.posix_fallocate(descriptor, 0, size)
            memory = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._mapping = _Mapping(table, memory)
        self._head = self._mapping.head
        self._stale: set[int] = set()
        self._turned_ns = self._clock.monotonic_ns()
        self._write_all()

    @property
    def generation(self) -> int:
        """How often the table has been turned."""
        return int(self._head[_GENERATION])

    def publish(self, columns: Sequence[int]) -> None:
        """Show everybody what these columns of `table` are now.

        Waits until readers have had time to leave the copy that is written into: 10 ms at most.
        """
        wanted = set(columns)
        self._begin()
        generation = self.generation + 1
        copy = self._mapping.copies[generation & 1]
        for column in self._stale | wanted:
            for name in _FIELDS:
                if name == "weight":
                    copy.weight[:, column] = self.table.weight[:, column]
                else:
                    getattr(copy, name)[column] = getattr(self.table, name)[column]
        self._stale = wanted
        self._turn(generation)

    def remove(self) -> None:
        """Take the file away; processes that have it mapped may go on reading."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write_all(self) -> None:
        """Fill the idle copy, turn, and remember that all of the other one is old."""
        head = self._head
        generation = max(self.generation, int(head[_BEGUN])) + 1
        head[_BEGUN] = generation
        copy = self._mapping.copies[generation & 1]
        for name in _FIELDS:
            getattr(copy, name)[...] = getattr(self.table, name)
        head[_SIZE] = _copy_size_bytes(self.table)
        head[_DIGEST : _DIGEST + 2] = _layout_digest(self.table)
        self._stale = set(range(len(self.table.base)))
        self._turn(generation)
        head[0] = _MAGIC

    def _begin(self) -> None:
        passed = self._clock.monotonic_ns() - self._turned_ns
        if passed < LIVE_GRACE_NS:
            self._wait((LIVE_GRACE_NS - passed) / 1e9)
        self._head[_BEGUN] = self.generation + 1

    def _turn(self, generation: int) -> None:
        self._head[_GENERATION] = generation
        self._turned_ns = self._clock.monotonic_ns()


class LiveTable:
    """Reads a live table; for any thread.

    Parameters
    ----------
    mapping
        The file.
    """

    __slots__ = ("_head", "_views")

    def __init__(self, mapping: _Mapping) -> None:
        self._head = mapping.head
        self._views = mapping.copies

    @classmethod
    def find(cls, path: Path, table: ScoreTable) -> Self | None:
        """Map a file for reading; None when it is not there yet, or has another layout."""
        size = _PAGE + 2 * _copy_size_bytes(table)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if os.fstat(descriptor).st_size != size:
                return None
            memory = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        mapping = _Mapping(table, memory)
        head = mapping.head
        if head[0] != _MAGIC or (head[_DIGEST : _DIGEST + 2] != _layout_digest(table)).any():
            return None
        return cls(mapping)

    @property
    def generation(self) -> int:
        """The generation that counts now. Costs 0.1 µs."""
        return int(self._head[_GENERATION])

    def view(self, generation: int) -> ScoreTable:
        """Return the table of a generation, mapped; what is read is right only if `holds` after."""
        return self._views[generation & 1]

    def holds(self, generation: int) -> bool:
        """Return whether nothing of a generation has been overwritten yet."""
        return int(self._head[_BEGUN]) < generation + 2


def _copy_size_bytes(table: ScoreTable) -> int:
    size = sum(_padded(getattr(table, name).nbytes) for name in _FIELDS)
    return -(-size // _PAGE) * _PAGE


def _padded(size: int) -> int:
    return -(-size // 64) * 64


def _view_copy(table: ScoreTable, memory: mmap.mmap, start: int) -> ScoreTable:
    """Return the table with its changing arrays being those in the file."""
    arrays: dict[str, Any] = {}
    for name in _FIELDS:
        own = getattr(table, name)
        mapped = np.frombuffer(memory, own.dtype, own.size, start)
        arrays[name] = mapped.reshape(own.shape)
        start += _padded(own.nbytes)
    return replace(table, **arrays)


def _layout_digest(table: ScoreTable) -> NDArray[np.uint64]:
    layout = [(name, getattr(table, name).shape) for name in _FIELDS]
    names = ("predictor_slot", "predictor_source", "edges", "edge_start", "row_start", "modal_bin")
    parts = [repr(layout).encode(), *(getattr(table, name).tobytes() for name in names)]
    return np.frombuffer(digest_of(b"".join(parts)), np.uint64)
