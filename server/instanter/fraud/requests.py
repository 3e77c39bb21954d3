"""Requests to assess card transactions, read together as they come over the wire.

The work is that of one kernel call, however many requests there are; here are the arrays that it
works in, and what comes out of it as the keeper and the store take it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.currencies import find_minor_digits
from instanter.catalogue.fraud_figures import list_currencies
from instanter.kernels.fraud_columns import NUMBERS, TEXTS
from instanter.kernels.fraud_requests import (
    DIGITS_UNKNOWN,
    ENTITIES,
    KEYS_SIZE_BYTES,
    PACKED_SIZE_BYTES,
    REQUEST_SIZE_BYTES_MAX,
    read_transactions,
)

_REQUESTS: Final = 64
"""What there is room for at first: the requests of one group."""
_ROOM_SIZE_BYTES: Final = REQUEST_SIZE_BYTES_MAX + max(PACKED_SIZE_BYTES, KEYS_SIZE_BYTES)
"""Bytes of one packed transaction at most, and of its keys."""


class ReadRequests(NamedTuple):
    """The requests of one turn. A tuple, because a frozen dataclass takes 1 µs more to make.

    The arrays are those that the reader works in: they hold until it reads again, and may have
    more rows than there are requests. Of a request that is not usual there is nothing in them but
    that.

    Attributes
    ----------
    usual_count
        So many of the first ones are usual.
    usual
        Of each 1 when it is as usual: then all is checked that needs no catalogue, it has no
        declared fields, and holds nothing like a card number. Else 0, whatever may be the matter.
    joined, data
        The requests' bytes, one behind the other, but for such as are too long to be usual; the
        same as uint8[n], read-only.
    numbers, places, texts
        int64[≥ requests, NUMBERS], float64[≥ requests, 2] (degrees, NaN for none),
        int64[≥ requests, TEXTS, 2] (where a text begins and ends in the data; 0 twice for none), as
        `kernels/fraud_columns` says.
    packed, packed_cut
        uint8[n], int64[≥ requests + 1]: the transactions, as
        `keeper/transaction_records.pack_transaction` packs them, one behind the other; where each
        begins.
    keys
        For each request its entities' keys, as `store/fraud_states.entity_key` makes them, by their
        kinds from the first; empty where there is no such entity.
    """

    usual_count: int
    usual: bytes
    joined: bytes
    data: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    places: NDArray[np.float64]
    texts: NDArray[np.int64]
    packed: NDArray[np.uint8]
    packed_cut: NDArray[np.int64]
    keys: list[list[bytes]]

    def list_names(self, text: int, count: int) -> list[str]:
        """Return one text of each of the first requests; empty where there is none.

        Parameters
        ----------
        text
            Which, `fraud_columns.CARD` for example.
        count
            Of how many.
        """
        # Nothing but ASCII is ever cut out.
        joined = self.joined.decode("latin-1")
        return [joined[start:end] for start, end in self.texts[:count, text].tolist()]

    def list_packed(self, count: int) -> list[bytes]:
        """Return the first packed transactions; empty where the request is not usual."""
        return _cut_up(self.packed, self.packed_cut[: count + 1].tolist())


class RequestReader:
    """Reads the requests of one turn after the other. Belongs to one thread."""

    __slots__ = (
        "_currencies", "_cut", "_key_cut", "_keys", "_numbers", "_packed", "_packed_cut", "_places",
        "_texts", "_usual",
    )  # fmt: skip

    def __init__(self) -> None:
        self._currencies = make_currency_table()
        self._make_room(_REQUESTS)

    def read(self, messages: Sequence[bytes]) -> ReadRequests:
        """Return what the encoded requests hold; nothing of them is refused here."""
        count = len(messages)
        joined = b"".join(messages)
        if len(joined) > count * REQUEST_SIZE_BYTES_MAX:
            # There is room for those only that may be usual; nobody can have it grow by long ones.
            messages = [m if len(m) <= REQUEST_SIZE_BYTES_MAX else b"" for m in messages]
            joined = b"".join(messages)
        if count > len(self._usual):
            self._make_room(2 * count)
        # One by one: most turns have few requests, and any call of NumPy costs as much as eight.
        at = 0
        for number, message in enumerate(messages, 1):
            at += len(message)
            self._cut[number] = at
        data = np.frombuffer(joined, np.uint8)
        read_transactions(
            data, self._cut, count, self._currencies, self._usual, self._numbers, self._places,
            self._texts, self._packed, self._packed_cut, self._keys, self._key_cut,
        )  # fmt: skip
        key_cut = self._key_cut[: ENTITIES * count + 1].tolist()
        keys = _cut_up(self._keys, key_cut)
        usual = self._usual.tobytes()[:count]
        first = usual.find(0)
        return ReadRequests(
            count if first < 0 else first,
            usual,
            joined,
            data,
            self._numbers,
            self._places,
            self._texts,
            self._packed,
            self._packed_cut,
            [keys[at : at + ENTITIES] for at in range(0, len(keys), ENTITIES)],
        )

    def _make_room(self, count: int) -> None:
        """Make room for so many requests."""
        self._cut = np.zeros(count + 1, np.int64)
        self._usual = np.zeros(count, np.uint8)
        self._numbers = np.zeros((count, NUMBERS), np.int64)
        self._places = np.zeros((count, 2))
        self._texts = np.zeros((count, TEXTS, 2), np.int64)
        self._packed = np.zeros(count * _ROOM_SIZE_BYTES, np.uint8)
        self._packed_cut = np.zeros(count + 1, np.int64)
        self._keys = np.zeros(count * _ROOM_SIZE_BYTES, np.uint8)
        self._key_cut = np.zeros(ENTITIES * count + 1, np.int64)


def make_currency_table() -> NDArray[np.uint8]:
    """Return `currencies` of `kernels/fraud_requests.read_transactions`: uint8[26^3]."""
    digits = map(find_minor_digits, list_currencies())
    return np.array([DIGITS_UNKNOWN if d is None else d for d in digits], np.uint8)


def _cut_up(data: NDArray[np.uint8], cut: Sequence[int]) -> list[bytes]:
    """Return the parts of the data between each two cuts."""
    whole = data[: cut[-1]].tobytes()
    return [whole[start:end] for start, end in pairwise(cut)]
