"""What the record of a turn keeps of stock: the shelves that decided, as far as they matter.

Most units are well in stock, and their factor is 1: only the others are written, 6 bytes each, and
a shelf that several rows have is written once. It stands at the end of a turn's document, and only
there when stock told on the turn's offers: which of the shelves each row has, uint16; where each
shelf begins, uint32; then place, uint16, and factor, float32, of every unit whose factor is not 1.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

PACKED_COUNT: Final = 4
"""Fields that `pack_shelves` makes."""

_PLAIN: Final = 1.0


class TurnShelves(Protocol):
    """The shelves of one turn.

    Attributes
    ----------
    shelf_of_row
        Which of `shelves` each row has.
    shelves
        float32[U] each.
    """

    @property
    def shelf_of_row(self) -> Sequence[int]:
        """Which of `shelves` each row has."""

    @property
    def shelves(self) -> Sequence[NDArray[np.float32]]:
        """The shelves, float32[U] each."""


def pack_shelves(turn: TurnShelves) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the four fields that a document ends with."""
    places = [np.flatnonzero(shelf != _PLAIN) for shelf in turn.shelves]
    starts = np.cumsum([0, *(len(found) for found in places)], dtype=np.uint32)
    factors = [shelf[found] for shelf, found in zip(turn.shelves, places, strict=True)]
    return (
        np.array(turn.shelf_of_row, np.uint16).tobytes(),
        starts.tobytes(),
        np.concatenate(places).astype(np.uint16).tobytes(),
        np.concatenate(factors).tobytes(),
    )


def unpack_shelves(packed: Sequence[bytes], count: int) -> list[dict[int, float]] | None:
    """Return for each row place to factor, without those of 1; None when stock did not tell.

    Parameters
    ----------
    packed
        The last fields of a document; none when stock did not tell.
    count
        Rows of the turn.

    Raises
    ------
    ValueError
        They are not what `pack_shelves` makes.
    """
    if not packed:
        return None
    rows, starts, places, factors = packed
    start = np.frombuffer(starts, np.uint32).tolist()
    units = list(
        zip(
            np.frombuffer(places, np.uint16).tolist(),
            np.frombuffer(factors, np.float32).tolist(),
            strict=True,
        )
    )
    shelves = [dict(units[begin:end]) for begin, end in pairwise(start)]
    found = [shelves[at] for at in np.frombuffer(rows, np.uint16).tolist()]
    if len(found) != count:
        raise ValueError(f"shelves of {len(found)} rows, not of {count}")
    return found
