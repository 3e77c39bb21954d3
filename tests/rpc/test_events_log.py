"""What is logged, and what never is."""

import io
import json

import pytest

from instanter.events_log import (
    DAMAGED_EVENTS_PER_MINUTE_MAX,
    DamagedRecords,
    hash_customer_id,
    make_events_log,
)
from instanter.metrics import Metrics


class Hands:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.time_ns = 5

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.time_ns


def test_an_event_is_one_line_of_json() -> None:
    stream = io.StringIO()
    make_events_log(stream).warning("disk_nearly_full", free_size_bytes=5)
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "disk_nearly_full", "level": "warning", "free_size_bytes": 5}


def test_people_get_a_readable_line() -> None:
    stream = io.StringIO()
    make_events_log(stream, as_json=False).info("front_started", port=7878)
    assert "front_started" in stream.getvalue()
    assert "port=7878" in stream.getvalue()
    assert "{" not in stream.getvalue()


@pytest.mark.parametrize(("wish", "is_coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_it_wants_none(
    monkeypatch: pytest.MonkeyPatch, wish: str, *, is_coloured: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setenv("NO_COLOR", wish)
    make_events_log(stream).info("front_started", port=7878)
    assert "front_started" in stream.getvalue()
    assert ("\x1b[" in stream.getvalue()) == is_coloured


def test_damaged_records_are_all_counted_and_the_first_of_a_minute_logged() -> None:
    stream, metrics, hands = io.StringIO(), Metrics(), Hands()
    damaged = DamagedRecords(log=make_events_log(stream), metrics=metrics, clock=hands)
    for _ in range(3):
        for number in range(100):
            damaged(f"customer-{number}")
        hands.time_ns += 60_000_000_000
    assert metrics.records_damaged_count == 300
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(events) == 3 * DAMAGED_EVENTS_PER_MINUTE_MAX
    assert {event["event"] for event in events} == {"record_damaged"}


@pytest.mark.parametrize("customer_id", ["jo@mail.example", "\ud800"])
def test_no_customer_id_is_logged(customer_id: str) -> None:
    stream = io.StringIO()
    log = make_events_log(stream)
    DamagedRecords(log=log, metrics=Metrics(), clock=Hands())(customer_id)
    assert "jo@" not in stream.getvalue()
    assert hash_customer_id(customer_id) in stream.getvalue()
    assert len(hash_customer_id(customer_id)) == 16
