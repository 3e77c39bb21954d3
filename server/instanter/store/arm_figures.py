"""What happened in each arm: decisions, presentations, acceptances and values, by day and offer.

Sums of whole numbers, so that they are the same in whatever order they were added. Key: day since
1970 and arm, uint32 each, big-endian; the offer's name, padded with NUL to a multiple of 8 bytes.
Value, sealed: three int64 and two 16-byte integers, little-endian.
"""

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from instanter.errors import DamagedError
from instanter.store.databases import ARM_FIGURES
from instanter.store.records import seal, unseal
from instanter.store.transaction import Transaction

_KEY: Final = struct.Struct(">II")
_COUNTS: Final = struct.Struct("<qqq")
_WIDE_SIZE_BYTES: Final = 16
_ARM_MAX: Final = 3
"""Greatest number of the contract's `Arm`."""


@dataclass(frozen=True, slots=True)
class ArmDay:
    """What happened in one arm on one day with one offer.

    Attributes
    ----------
    day
        Of the decisions: days since 1970, UTC.
    arm
        Number of the contract's `Arm`.
    offer
        Name of the offer; empty for what belongs to none: decisions, and conversions in the
        holdout.
    decisions, presented, accepted
        Counts.
    value_minor, value_squares
        Sum of the values in minor units, and sum of their squares.
    """

    day: int
    arm: int
    offer: str
    decisions: int = 0
    presented: int = 0
    accepted: int = 0
    value_minor: int = 0
    value_squares: int = 0


def add_figures(
    transaction: Transaction,
    day: int,
    arm: int,
    offer: str,
    *,
    decisions: int = 0,
    presented: int = 0,
    accepted: int = 0,
    value_minor: int = 0,
    value_squares: int = 0,
) -> None:
    """Add to what happened in one arm on one day with one offer.

    Parameters
    ----------
    transaction
        An open write transaction.
    day, arm, offer
        As in `ArmDay`.
    decisions, presented, accepted, value_minor, value_squares
        What to add; negative to correct what was added before.

    Raises
    ------
    DamagedError
        What was added before is damaged.
    """
    key = _key(day, arm, offer)
    stored = transaction.get(ARM_FIGURES, key)
    before = (0, 0, 0, 0, 0) if stored is None else _unpack(key, stored)
    added = (decisions, presented, accepted, value_minor, value_squares)
    *counts, value, squares = (a + b for a, b in zip(before, added, strict=True))
    packed = (
        _COUNTS.pack(*counts)
        + value.to_bytes(_WIDE_SIZE_BYTES, "little", signed=True)
        + squares.to_bytes(_WIDE_SIZE_BYTES, "little", signed=True)
    )
    transaction.put(ARM_FIGURES, key, seal(key, packed))


def read_figures(
    transaction: Transaction, day_from: int, day_to: int, offer: str | None = None
) -> Iterator[ArmDay]:
    """Yield what happened, by day, arm and offer.

    Parameters
    ----------
    transaction
        An open transaction.
    day_from, day_to
        Days since 1970, the first included, the last excluded.
    offer
        Yield what belongs to this offer and what belongs to none; None for everything.

    Raises
    ------
    DamagedError
        A value is damaged.
    """
    for key, stored in transaction.scan(ARM_FIGURES, _KEY.pack(day_from, 0)):
        day, arm = _KEY.unpack_from(key)
        if day >= day_to:
            return
        name = key[_KEY.size :].rstrip(b"\0").decode()
        if offer is None or name in ("", offer):
            yield ArmDay(day, arm, name, *_unpack(key, stored))


def count_presented(transaction: Transaction, day: int, offer: str) -> int:
    """Return how often an offer was presented by decisions of one day, whatever their arm.

    What is damaged counts as nothing: this only tells people what may stand behind a sale.
    """
    count = 0
    for arm in range(1, _ARM_MAX + 1):
        key = _key(day, arm, offer)
        stored = transaction.get(ARM_FIGURES, key)
        if stored is not None:
            with contextlib.suppress(DamagedError):
                count += _unpack(key, stored)[1]
    return count


def _key(day: int, arm: int, offer: str) -> bytes:
    name = offer.encode()
    return _KEY.pack(day, arm) + name + b"\0" * (-len(name) % 8)


def _unpack(key: bytes, stored: bytes | memoryview) -> tuple[int, int, int, int, int]:
    packed = unseal(key, stored)
    decisions, presented, accepted = _COUNTS.unpack_from(packed)
    middle = _COUNTS.size + _WIDE_SIZE_BYTES
    value = int.from_bytes(packed[_COUNTS.size : middle], "little", signed=True)
    squares = int.from_bytes(packed[middle:], "little", signed=True)
    return decisions, presented, accepted, value, squares
