"""Several records of events as one: their effect is the same, and found with fewer calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_HEAD: Final = b"\x82\xa6events"
_FIRST: Final = len(_HEAD)
_DUPLICATES: Final = b"\xaaduplicates"
_COUNT_MAX: Final = 0x7F
"""The largest number that msgpack writes in one byte."""
_ARRAY: Final = 0x90
_ARRAY_16: Final = 0xDC
_ARRAY_32: Final = 0xDD


@dataclass(frozen=True, slots=True, eq=False)
class JoinedEvents:
    """The events of several records.

    Attributes
    ----------
    body
        The body of a record that has them all, in their order.
    event_counts
        How many events each record has.
    duplicate_counts
        How many events were sent with each and had been recorded before.
    """

    body: bytes
    event_counts: Sequence[int]
    duplicate_counts: Sequence[int]


def join_events(bodies: Sequence[bytes]) -> JoinedEvents | None:
    """Join the bodies of records of events, as `keeper/events` makes them.

    None when one of them holds more than events, or is not as it usually is.
    """
    event_counts, duplicate_counts, rows = [], [], []
    for body in bodies:
        tail = len(body) - len(_DUPLICATES) - 1
        if not body.startswith(_HEAD) or body[tail:-1] != _DUPLICATES or body[-1] > _COUNT_MAX:
            return None
        code = body[_FIRST]
        start = _FIRST + 1
        count = code - _ARRAY
        if not 0 <= count <= 0x0F:
            width = {_ARRAY_16: 2, _ARRAY_32: 4}.get(code, 0)
            start += width
            count = int.from_bytes(body[start - width : start], "big")
        event_counts.append(count)
        duplicate_counts.append(body[-1])
        rows.append(body[start:tail])
    head = bytes((_ARRAY_32,)) + sum(event_counts).to_bytes(4, "big")
    return JoinedEvents(
        b"".join((_HEAD, head, *rows, _DUPLICATES, b"\0")), event_counts, duplicate_counts
    )
