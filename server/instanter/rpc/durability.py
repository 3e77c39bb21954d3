"""How durable a write must be before it is acknowledged."""

from typing import Final

from instanter.errors import InvalidFieldError
from instanter.v1.durability_pb2 import Durability

_KNOWN: Final = frozenset(Durability.values())
_RELAXED: Final = Durability.DURABILITY_RELAXED


def read_relaxed(durability: int) -> bool:
    """Return whether a write may be acknowledged before it is on disk.

    Raises
    ------
    InvalidFieldError
        It is none of the contract's.
    """
    if durability not in _KNOWN:
        raise InvalidFieldError(
            "durability",
            durability,
            f"one of {', '.join(Durability.keys())}",
            reason="DURABILITY_INVALID",
        )
    return durability == _RELAXED
