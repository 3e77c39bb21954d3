"""Timestamps of requests: what is not right is shown as people write it."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.errors import InvalidFieldError
from instanter.rpc.timestamps import (
    TIMESTAMP_SECONDS_MAX,
    TIMESTAMP_SECONDS_MIN,
    read_time_ns,
)


@pytest.mark.parametrize(
    ("seconds", "nanos", "shown"),
    [
        (1_798_070_400, 0, "2026-12-24T00:00:00Z"),
        (1_798_070_400, 999_999_999, "2026-12-24T00:00:00Z"),
        (-1, 0, "1969-12-31T23:59:59Z"),
        (TIMESTAMP_SECONDS_MIN, 0, "0001-01-01T00:00:00Z"),
        (TIMESTAMP_SECONDS_MAX, 0, "9999-12-31T23:59:59Z"),
        (TIMESTAMP_SECONDS_MAX + 1, 0, "253402300800 s 0 ns since 1970"),
        (TIMESTAMP_SECONDS_MIN - 1, 0, "-62135596801 s 0 ns since 1970"),
        (-(1 << 63), 0, "-9223372036854775808 s 0 ns since 1970"),
        (5, -1, "5 s -1 ns since 1970"),
        (5, 1_000_000_000, "5 s 1000000000 ns since 1970"),
    ],
)
def test_a_time_that_is_not_right_is_shown_as_people_write_it(
    seconds: int, nanos: int, shown: str
) -> None:
    time = Timestamp(seconds=seconds, nanos=nanos)
    with pytest.raises(InvalidFieldError) as caught:
        read_time_ns(time, "end", expected="an hour", reason="NOT_RIGHT", seconds_max=1_000_000)
    assert str(caught.value) == f"end: '{shown}' is not right; expected an hour"
