"""What the record of a turn keeps of stock: the shelves that decided, as far as they matter.

It stands at the end of a turn's document, and only there when stock told on the turn's offers:
which of the shelves each row has, uint16, and the shelves, each once. A shelf is the places,
uint16, then the factors, float32, of every unit whose factor is not 1, for most are well in stock.
"""

from array import array
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

_PLAIN: Final = 1.0
_UNIT_SIZE_BYTES: Final = 6
_PLACE_SIZE_BYTES: Final = 2
_UINT16: Final = "H"


class RecordedShelf:
    """A shelf that is packed at most once, however many turns are recorded with it.

    Parameters
    ----------
    factors
        float32[U], read-only: as in `kernels/stocked_offers`; never written again.
    """

    __slots__ = ("_packed", "factors")

    def __init__(self, factors: NDArray[np.float32]) -> None:
        self.factors = factors
        self._packed: bytes | None = None

    def pack(self) -> bytes:
        """Return what the record keeps of it."""
        packed = self._packed
        if packed is None:
            places = np.flatnonzero(self.factors != _PLAIN)
            packed = places.astype(np.uint16).tobytes() + self.factors[places].tobytes()
            self._packed = packed
        return packed


class TurnShelves(Protocol):
    """The shelves of one turn."""

    @property
    def shelf_of_row(self) -> Sequence[int]:
        """Which of `shelves` each row has."""

    @property
    def shelves(self) -> Sequence[RecordedShelf]:
        """The shelves, each once."""


def pack_shelves(turn: TurnShelves) -> tuple[bytes, list[bytes]]:
    """Return the two fields that a document ends with."""
    return array(_UINT16, turn.shelf_of_row).tobytes(), [shelf.pack() for shelf in turn.shelves]


def unpack_shelves(fields: Sequence[Any], count: int) -> list[dict[int, float]] | None:
    """Return for each row place to factor, without those of 1; None when stock did not tell.

    Parameters
    ----------
    fields
        The last ones of a document; none when stock did not tell.
    count
        Rows of the turn.

    Raises
    ------
    ValueError, TypeError, LookupError
        They are not what `pack_shelves` makes.
    """
    if not fields:
        return None
    rows, packed = fields
    shelves = [_unpack_shelf(one) for one in packed]
    found = [shelves[at] for at in np.frombuffer(rows, np.uint16).tolist()]
    if len(found) != count:
        raise ValueError(f"shelves of {len(found)} rows, not of {count}")
    return found


def _unpack_shelf(packed: bytes) -> dict[int, float]:
    count = len(packed) // _UNIT_SIZE_BYTES
    places = np.frombuffer(packed, np.uint16, count)
    factors = np.frombuffer(packed, np.float32, count, count * _PLACE_SIZE_BYTES)
    return dict(zip(places.tolist(), factors.tolist(), strict=True))
