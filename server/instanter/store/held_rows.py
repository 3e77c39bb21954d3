"""Rows that only the process that writes ever reads: held in its memory until they are folded.

They have keys in no order, hashes mostly, so that in the overlay each would change a page of its
own, and leave it again after the fold: 4 µs a row in all. Here one costs an entry of a dictionary,
and a fold takes it from there. Whoever is killed loses nothing: like the overlay, they are made
anew from the log.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from instanter.errors import UnavailableError
from instanter.store.databases import DATABASES

Rows = dict[bytes, bytes]
"""Values by their keys; one of no bytes says that the key is deleted."""

Layer = Mapping[int, Rows]
"""The rows of all databases whose rows are held, by the database's index."""

Piece = tuple[int, Sequence[tuple[bytes, bytes]]]
"""Index of a database, and some of its keys and values."""

_PIECE_ROWS: Final = 500
"""Rows of a piece: no more than can be packed while an event loop waits, 0.1 ms."""

_ATTEMPT_INTERVAL_S: Final = 0.001
_ATTEMPTS_MAX: Final = 10_000
"""How often a fold looks for what a committed transaction has written: 10 s, for what takes
microseconds."""


_HELD: Final = tuple(database.index for database in DATABASES if database.is_held)


def make_layer() -> Layer:
    """Return a layer without any rows."""
    return {index: {} for index in _HELD}


class HeldRows:
    """What was written and not folded yet, of all databases whose rows are held.

    One thread writes and reads; another, or the same, folds.

    Parameters
    ----------
    sequence
        That of the last record of the log that was applied before; what that has written was lost.

    Attributes
    ----------
    layers
        What was written since the last fold began, and under it what that has taken, for as long as
        it is not known to be in the base.
    sequence
        That of the last record of the log whose effect is in here.
    """

    __slots__ = ("_lock", "_since", "_taken_sequence", "layers", "sequence")

    def __init__(self, sequence: int = 0) -> None:
        self.layers = (make_layer(), make_layer())
        self.sequence = sequence
        self._lock = threading.Lock()
        self._since: list[tuple[int, Layer]] | None = None
        self._taken_sequence: int | None = None

    def __len__(self) -> int:
        """Return how many rows there are; one in both layers counts twice."""
        return sum(len(rows) for layer in self.layers for rows in layer.values())

    def publish(self, written: Layer, sequence: int) -> None:
        """Take the rows of a transaction that is committed.

        Parameters
        ----------
        written
            What it has written; not changed any more.
        sequence
            That of the last record that it has applied, 0 for none.
        """
        with self._lock:
            _lay_over(self.layers[0], written)
            self.sequence = max(self.sequence, sequence)
            if self._since is not None:
                self._since.append((self.sequence, written))

    def begin_fold(self) -> None:
        """Set apart what there is; what is written from now on may or may not be folded, too.

        Called before the snapshot that is folded is taken.
        """
        with self._lock:
            fresh, taken = self.layers
            if any(taken.values()):
                # A fold before has failed.
                _lay_over(taken, fresh)
                fresh = taken
            # At once: whoever reads sees the one pair or the other.
            self.layers = (make_layer(), fresh)
            self._since = []
            self._taken_sequence = None

    def take(self, sequence: int) -> Iterator[Piece]:
        """Return what there was when a record was applied, and nothing later, in pieces.

        It stays in `layers` until it is dropped.

        Parameters
        ----------
        sequence
            That of the record. It was applied by a snapshot that was taken since `begin_fold`, so
            its rows are here, or will be this moment.

        Raises
        ------
        UnavailableError
            They have not come for seconds: whoever writes has ended, or stands still.
        """
        for _ in range(_ATTEMPTS_MAX):
            if self.sequence >= sequence:
                break
            time.sleep(_ATTEMPT_INTERVAL_S)
        else:
            raise UnavailableError(f"what record {sequence} has written is not there; retry")
        with self._lock:
            since, self._since = self._since, None
        assert since is not None, "a fold was begun"
        taken = self.layers[1]
        for at, written in since:
            if at <= sequence:
                _lay_over(taken, written)
        self._taken_sequence = sequence
        return _cut(taken)

    def drop(self, folded_sequence: int, limit: int) -> bool:
        """Drop up to so many of the rows that a fold has put into the base.

        For the thread that writes.

        Parameters
        ----------
        folded_sequence
            Up to where the base holds the log since that fold.
        limit
            How many rows.

        Returns
        -------
        bool
            Whether none of that fold is left.
        """
        if self._taken_sequence is None or self._taken_sequence > folded_sequence:
            # Another fold has them, of which nobody knows yet whether it succeeds.
            return True
        for rows in self.layers[1].values():
            while rows and limit > 0:
                rows.popitem()
                limit -= 1
        return not any(self.layers[1].values())


def _lay_over(layer: Layer, more: Layer) -> None:
    for index, rows in more.items():
        layer[index].update(rows)


def _cut(layer: Layer) -> Iterator[Piece]:
    """Yield the rows of a layer in pieces."""
    for index, rows in layer.items():
        each = iter(rows.items())
        while piece := list(islice(each, _PIECE_ROWS)):
            yield index, piece
