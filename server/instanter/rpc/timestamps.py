"""Timestamps of the contract: checked when they are read, made from times of ours."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from instanter.catalogue.instants import format_instant
from instanter.errors import InvalidFieldError

TIMESTAMP_SECONDS_MAX: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the latest time of a Timestamp."""

TIMESTAMP_SECONDS_MIN: Final = -62_135_596_800
"""0001-01-01T00:00:00Z, the earliest one."""

_S_NS: Final = 1_000_000_000


def read_time_ns(
    time: Timestamp,
    field: str,
    *,
    expected: str,
    reason: str,
    seconds_max: int = TIMESTAMP_SECONDS_MAX,
) -> int:
    """Return nanoseconds since 1970.

    Parameters
    ----------
    time
        What a caller sent.
    field
        Its place in the request.
    expected, reason
        What would be right, and the reason of the error.
    seconds_max
        The latest second.

    Raises
    ------
    InvalidFieldError
        It is before 1970 or too late, or its nanoseconds are none.
    """
    seconds, nanos = time.seconds, time.nanos
    if 0 <= seconds <= seconds_max and 0 <= nanos < _S_NS:
        return seconds * _S_NS + nanos
    raise InvalidFieldError(field, _show(seconds, nanos), expected, reason=reason)


def _show(seconds: int, nanos: int) -> str:
    """Return a time that is not right as people write it; one that is none as its two numbers."""
    if TIMESTAMP_SECONDS_MIN <= seconds <= TIMESTAMP_SECONDS_MAX and 0 <= nanos < _S_NS:
        return format_instant(seconds)
    return f"{seconds} s {nanos} ns since 1970"


def make_timestamp(time_ns: int) -> Timestamp:
    """Return the message of nanoseconds since 1970."""
    seconds, nanos = divmod(time_ns, _S_NS)
    return Timestamp(seconds=seconds, nanos=nanos)
