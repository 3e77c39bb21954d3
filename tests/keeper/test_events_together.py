"""Events of several records counted at once have the effects that they have one by one."""

import random
import shutil
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from instanter.errors import InstanterError
from instanter.events.joining import join_events
from instanter.keeper import events as keeper_events
from instanter.keeper.customers import DeleteCustomer
from instanter.keeper.events import EventCounts, RecordEvents
from instanter.keeper.records import RecordKind
from instanter.rpc.events import make_command
from instanter.store.expiry import HOUR_NS
from instanter.store.log.frames import LogRecord
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.event_service_pb2 import Event, RecordEventsRequest
from tests.catalogue.event_worlds import EVENT_FILES
from tests.keeper.desk import Desk, open_desk
from tests.keeper.test_events import Clock, purchase, record
from tests.keeper.test_keeper import read_all


@pytest.fixture
def joined_counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records were counted at once, each time that it was more than one."""
    found: list[int] = []
    count_joined = keeper_events._count_joined

    def count(transaction: Any, records: Sequence[LogRecord], *given: Any) -> None:
        if len(records) > 1:
            found.append(len(records))
        count_joined(transaction, records, *given)

    monkeypatch.setattr(keeper_events, "_count_joined", count)
    return found


def test_a_replay_at_once_gives_the_same_bytes(tmp_path: Path, joined_counts: list[int]) -> None:
    """Batches and single events, repeats, customers deleted, hours that pass, ids that go."""
    folder, replayed = tmp_path / "store", tmp_path / "replayed"
    clock, draw = Clock(), random.Random(3)
    with open_desk(folder, clock) as desk:
        desk.publish(EVENT_FILES)
        for n in range(400):
            if n % 110 == 109:
                clock.time_ns += draw.choice([1, 1, 26]) * HOUR_NS
            ids = [draw.randrange(2_000) for _ in range(draw.choice([1, 1, 1, 20, 90]))]
            # The content follows from the id: who sends it again sends the same.
            events = [
                purchase(
                    f"e{i}", f"c{i % 13}", fields={"amount": 1.0 + i % 90, "online": i % 2 == 0}
                )
                for i in ids
            ]
            record(desk, *events)
            if n % 97 == 0:
                desk.keeper.submit(DeleteCustomer("c3", allow_missing=True)).result(20)
    shutil.copytree(folder / "log", replayed / "log")
    assert not joined_counts, "each was waited for"
    with open_desk(replayed, clock) as again, open_desk(folder, clock) as desk:
        assert read_all(again.kept.state) == read_all(desk.kept.state)
    assert max(joined_counts) > 30


def make_commands() -> list[RecordEvents]:
    """Return commands as they come from the wire: usual, repeated, wrong, unusual, purchases."""
    commands: list[RecordEvents] = []

    def send(
        *ids: str, customer: str = "anna", amount: float = 2.0, kind: str = "purchase"
    ) -> None:
        fields = {"amount": AttributeValue(number_value=amount)}
        events = [
            Event(event_id=i, customer=f"customers/{customer}", kind=kind, fields=fields)
            for i in ids
        ]
        encoded = RecordEventsRequest(events=events).SerializeToString()
        commands.append(make_command(encoded, None))

    send("e1")
    send("e2", "e3", customer="bert")
    send("e4", amount=3.5)
    send("e2", "e3", customer="bert")  # again, in one group
    send("e5", "e5")
    send("e6", "e1")  # one of two is known
    send("e7", kind="no such kind")
    send("e4", amount=4.0)  # a conflict
    send("e8", amount=-1e9)
    send("e9")
    send("e10", customer="bert")
    send(*[f"many{n}" for n in range(200)], customer="cora")
    send("e11")
    return commands


def carry_out(desk: Desk, *, at_once: bool) -> list[EventCounts | str]:
    """Return what becomes of the commands, in one group or one by one."""
    opened = desk.hold()
    if not at_once:
        opened()
    found: list[EventCounts | str] = []
    futures: list[Future[EventCounts]] = []
    for command in make_commands():
        futures.append(desk.keeper.submit(command))
        if not at_once:
            futures[-1].exception(20)
    opened()
    for future in futures:
        error = future.exception(20)
        assert error is None or isinstance(error, InstanterError)
        found.append(future.result() if error is None else f"{error.reason}: {error.message}")
    return found


def test_a_group_at_once_does_what_one_by_one_does(
    tmp_path: Path, joined_counts: list[int]
) -> None:
    clock = Clock()
    with open_desk(tmp_path / "one", clock) as one, open_desk(tmp_path / "many", clock) as many:
        for desk in (one, many):
            desk.publish(EVENT_FILES)
            record(desk, purchase("before"))
        expected = carry_out(one, at_once=False)
        assert not joined_counts
        assert carry_out(many, at_once=True) == expected
        assert joined_counts == [3, 4]
        assert expected[:4] == [*(EventCounts(n, 0) for n in (1, 2, 1)), EventCounts(0, 2)]
        assert sum(isinstance(each, str) for each in expected) == 3
        assert read_all(many.kept.state) == read_all(one.kept.state)
        logs = [
            [(r.kind, r.body) for r in desk.kept.log.read(1) if r.kind == RecordKind.EVENTS]
            for desk in (one, many)
        ]
        assert logs[0] == logs[1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x82\xa6events",
        b"\x82\xa6events\x90\xaaduplicates",
        b"\x83\xa6events\x90\xaaduplicates\x00\xa5stock\x80",
        b"\x82\xa6events\x90\xaaduplicates\xcc\x80",
    ],
)
def test_what_is_not_as_usual_is_not_joined(body: bytes) -> None:
    usual = b"\x82\xa6events\x90\xaaduplicates\x05"
    found = join_events([usual, usual])
    assert found is not None
    assert (found.event_counts, found.duplicate_counts) == ([0, 0], [5, 5])
    assert join_events([usual, body]) is None
