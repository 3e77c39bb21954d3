"""What a request to record events consists of, before anybody reads the events."""

import numpy as np

from instanter.kernels.event_requests import outline_events


def outline_request(request: bytes) -> tuple[int, int] | None:
    """Return how many events a request has and the number of its durability. Costs 1 µs.

    Parameters
    ----------
    request
        A `RecordEventsRequest` on the wire.

    Returns
    -------
    tuple or None
        None when it is no such request, or not as it usually is. Of the events it is only known
        where they begin and end.
    """
    found = outline_events(np.frombuffer(request, np.uint8))
    return None if found < 0 else (found >> 2, found & 3)
