"""How soon a place is filled again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from instanter.rpc.listening import Listening
from instanter.rpc.tls import TlsFiles
from instanter.store.log.retention import Retention
from instanter.supervisor.assignments import Assignment, Role
from instanter.supervisor.channel import Message
from instanter.supervisor.place import Place

S = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.ns = 100 * S

    def now_ns(self) -> int:
        return self.ns

    def monotonic_ns(self) -> int:
        return self.ns


def end(place: Place, clock: Clock, served_ns: int | None) -> None:
    """Let a process take the place and end: after having served, or before."""
    child: Any = SimpleNamespace(ready_ns=0 if served_ns is None else clock.ns)
    place.fill(child)
    clock.ns += served_ns or 0
    place.empty()


def test_a_process_that_served_is_replaced_at_once_however_often() -> None:
    clock = Clock()
    place = Place(Role.KEEPER, clock)
    for _ in range(100):
        end(place, clock, 2 * S)
        assert place.retry_ns <= clock.ns
        assert place.failures_count == 0


def test_processes_that_fail_again_and_again_wait_longer_and_longer() -> None:
    clock = Clock()
    place = Place(Role.WORKER, clock)
    waits = []
    for _ in range(12):
        end(place, clock, None)
        waits.append((place.retry_ns - clock.ns) / S)
    assert waits[:2] == [0, 0], "one bad moment costs nothing"
    assert waits == sorted(waits)
    assert waits[2] > 0
    assert waits[-1] == 5.0
    end(place, clock, 2 * S)
    assert place.retry_ns <= clock.ns, "one that served is a new beginning"


def test_one_that_served_for_a_moment_only_has_failed() -> None:
    clock = Clock()
    place = Place(Role.WORKER, clock)
    for _ in range(5):
        end(place, clock, S // 10)
    assert place.failures_count == 5
    assert place.retry_ns > clock.ns


def travel(assignment: Assignment) -> Assignment:
    message: Message = assignment.to_message()
    return Assignment.from_message(message)


def test_an_assignment_travels_whole() -> None:
    tls = TlsFiles(certificate=b"c", key=b"k", client_authority=None)
    listening = Listening("[::1]", 7, tls=tls, transport="grpcio", reuse_port=True)
    for assignment in (
        Assignment(
            Role.KEEPER,
            Path("a"),
            (5, 1 << 40),
            None,
            fresh_overlay=True,
            retention=Retention(5, 6),
        ),
        Assignment(Role.WORKER, Path("/b c"), (0, 1), listening),
    ):
        assert travel(assignment) == assignment
