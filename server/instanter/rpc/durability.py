"""How durable a write must be before it is acknowledged."""

from instanter.errors import InvalidFieldError
from instanter.v1.durability_pb2 import Durability


def read_relaxed(durability: "Durability.ValueType") -> bool:
    """Return whether a write may be acknowledged before it is on disk.

    Raises
    ------
    InvalidFieldError
        It is none of the contract's.
    """
    if durability not in Durability.values():
        raise InvalidFieldError(
            "durability",
            durability,
            f"one of {', '.join(Durability.keys())}",
            reason="DURABILITY_INVALID",
        )
    return durability == Durability.DURABILITY_RELAXED
