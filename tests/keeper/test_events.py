"""Events through the keeper: each counts once, whatever is sent again; and what follows."""

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.errors import (
    AlreadyExistsError,
    DamagedError,
    InstanterError,
    InvalidFieldError,
    PreconditionError,
)
from instanter.keeper.commands import Answered, ApplyContext
from instanter.keeper.customers import DeleteCustomer
from instanter.keeper.events import EventCounts, GivenEvent, RecordEvents
from instanter.keeper.published import PublishedCatalogue
from instanter.limits import EVENT_AGE_NS_MAX, EVENT_AHEAD_NS_MAX, IDS_KEPT_NS
from instanter.rpc.events import EventService, make_command
from instanter.rpc.front import CallContext
from instanter.store.activity import DERIVED, load_activity
from instanter.store.databases import ACTIVITY, EVENT_ID_EXPIRY, EVENT_IDS
from instanter.store.expiry import HOUR_NS
from instanter.store.records import key_of
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.event_service_pb2 import Event, RecordEventsRequest
from tests.catalogue.event_worlds import EVENT_FILES
from tests.keeper.desk import Desk, open_desk
from tests.keeper.test_keeper import read_all

NOW_NS = 1_800_000_000_000_000_000
S_NS = 1_000_000_000


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time_ns = NOW_NS

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic_ns(self) -> int:
        return self.time_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    with open_desk(tmp_path / "store", clock) as opened:
        opened.publish(EVENT_FILES)
        yield opened


def purchase(
    event_id: str,
    customer: str = "anna",
    *,
    time_ns: int | None = None,
    fields: Mapping[str, Any] | None = None,
    kind: str = "purchase",
) -> GivenEvent:
    return GivenEvent(event_id, customer, kind, time_ns, fields or {"amount": 20.0})


def record(desk: Desk, *events: GivenEvent) -> EventCounts:
    counts: EventCounts = desk.keeper.submit(RecordEvents(lambda: events)).result(20)
    return counts


def state_of(desk: Desk, customer: str = "anna") -> bytes:
    with desk.kept.state.read() as transaction:
        return (load_activity(transaction, key_of(customer)) or {}).get(DERIVED, b"")


def count_keys(desk: Desk) -> tuple[int, int]:
    with desk.kept.state.read() as transaction:
        return transaction.count(EVENT_IDS), transaction.count(EVENT_ID_EXPIRY)


def test_an_event_that_is_sent_again_counts_once(desk: Desk) -> None:
    events = [purchase("e1"), purchase("e2", "bert"), purchase("e1")]
    assert record(desk, *events) == EventCounts(2, 1)
    state = state_of(desk)
    assert record(desk, *events) == EventCounts(0, 3)
    assert record(desk, purchase("e3"), purchase("e1")) == EventCounts(1, 1)
    assert state_of(desk) != state
    assert len(state_of(desk, "bert")) == len(state)


def test_a_repeat_counts_once_after_a_restart_too(tmp_path: Path, clock: Clock) -> None:
    with open_desk(tmp_path / "store", clock) as desk:
        desk.publish(EVENT_FILES)
        record(desk, purchase("e1"))
        state = state_of(desk)
    clock.time_ns += 23 * HOUR_NS
    with open_desk(tmp_path / "store", clock) as desk:
        assert record(desk, purchase("e1")) == EventCounts(0, 1)
        assert state_of(desk) == state


@pytest.mark.parametrize(
    "other",
    [
        purchase("e1", fields={"amount": 21.0}),
        purchase("e1", fields={"amount": 20.0, "online": False}),
        purchase("e1", "bert"),
        purchase("e1", time_ns=NOW_NS),
    ],
)
def test_one_id_for_two_events_is_refused_and_leaves_nothing(desk: Desk, other: GivenEvent) -> None:
    record(desk, purchase("e1"))
    state = state_of(desk)
    for batch in ([purchase("e2"), other], [purchase("e3"), purchase("e3", fields={"amount": 1})]):
        with pytest.raises(AlreadyExistsError, match=r"events\[1\].event_id: 'e[13]'") as caught:
            record(desk, *batch)
        assert caught.value.reason == "EVENT_ID_CONFLICT"
        assert caught.value.field == "events[1].event_id"
    assert state_of(desk) == state
    assert state_of(desk, "bert") == b""
    assert record(desk, purchase("e2"), purchase("e3")) == EventCounts(2, 0)


def test_the_order_of_arrival_leaves_no_trace(desk: Desk) -> None:
    times = [NOW_NS - n * 400_000 * S_NS for n in range(12)]
    events = [("amount", 0.1 * n, times[n]) for n in range(12)]

    def send(customer: str, order: list[int]) -> None:
        for n in order:
            name, value, time_ns = events[n]
            given = {name: value, "online": n % 2 == 0}
            event = purchase(f"{customer}-{n}", customer, time_ns=time_ns, fields=given)
            record(desk, event)

    send("anna", list(range(12)))
    send("bert", list(reversed(range(12))))
    send("carla", [5, 0, 11, 3, 7, 1, 9, 2, 10, 4, 8, 6])
    assert state_of(desk, "anna") == state_of(desk, "bert") == state_of(desk, "carla") != b""


def test_an_event_from_the_future_counts_as_happening_when_it_is_recorded(desk: Desk) -> None:
    ahead = purchase("e1", "anna", time_ns=NOW_NS + EVENT_AHEAD_NS_MAX)
    record(desk, ahead, purchase("e2", "bert"), purchase("e3", "carla", time_ns=NOW_NS))
    assert state_of(desk, "anna") == state_of(desk, "bert") == state_of(desk, "carla")
    assert record(desk, ahead) == EventCounts(0, 1)


@pytest.mark.parametrize("away_ns", [EVENT_AHEAD_NS_MAX + 1, -EVENT_AGE_NS_MAX - 1])
def test_a_time_too_far_away_is_refused(desk: Desk, away_ns: int) -> None:
    with pytest.raises(InvalidFieldError, match=r"events\[1\].event_time: '20") as caught:
        record(desk, purchase("e1"), purchase("e2", time_ns=NOW_NS + away_ns))
    assert caught.value.reason == "EVENT_TIME_OUT_OF_RANGE"
    assert count_keys(desk) == (0, 0)


def test_a_repeat_is_known_even_when_it_is_too_old_by_now(desk: Desk, clock: Clock) -> None:
    old = purchase("e1", time_ns=NOW_NS - EVENT_AGE_NS_MAX)
    assert record(desk, old) == EventCounts(1, 0)
    clock.time_ns += HOUR_NS
    assert record(desk, old) == EventCounts(0, 1)


def test_ids_are_forgotten_after_their_time_and_not_before(desk: Desk, clock: Clock) -> None:
    for n in range(100):
        record(desk, purchase(f"old-{n}"))
    clock.time_ns += IDS_KEPT_NS - 1
    assert record(desk, purchase("old-7")) == EventCounts(0, 1)
    assert record(desk, purchase("new")) == EventCounts(1, 0)
    assert count_keys(desk) == (101, 101)
    clock.time_ns += HOUR_NS
    for n in range(7):
        record(desk, purchase(f"new-{n}"))
    assert count_keys(desk) == (8, 8)
    assert record(desk, purchase("old-7")) == EventCounts(1, 0)


def test_without_a_catalogue_events_are_refused(tmp_path: Path) -> None:
    with open_desk(tmp_path / "store") as desk, pytest.raises(PreconditionError, match="publish"):
        record(desk, purchase("e1"))


def test_an_event_nothing_is_derived_from_is_recorded_all_the_same(desk: Desk) -> None:
    files = {name: text for name, text in EVENT_FILES.items() if name == "events.yaml"}
    files["shop.yaml"] = "currency: EUR\nchannels: {web: []}\n"
    desk.publish(files)
    assert record(desk, purchase("e1")) == EventCounts(1, 0)
    assert state_of(desk) == b""
    assert record(desk, purchase("e1")) == EventCounts(0, 1)


def test_an_event_that_no_derivation_counts_leaves_no_trace_of_its_customer(desk: Desk) -> None:
    only = "attributes:\n  - {name: big, kind: number, source: derived, derive: {event: purchase,"
    only += " function: count, window: 1d, where: amount > 50.0}}\n"
    desk.publish({"attributes.yaml": only, "events.yaml": EVENT_FILES["events.yaml"]})
    assert record(desk, purchase("e1"), purchase("e2", "bert", fields={"amount": 60})) == (
        EventCounts(2, 0)
    )
    with desk.kept.state.read() as transaction:
        assert load_activity(transaction, key_of("anna")) is None
    assert state_of(desk, "bert") != b""


def test_a_withdrawn_kind_is_refused_and_its_states_are_left_alone(desk: Desk) -> None:
    record(desk, purchase("e1"))
    state = state_of(desk)
    desk.publish({"shop.yaml": "currency: EUR\nchannels: {web: []}\n"})
    with pytest.raises(InvalidFieldError, match=r"events\[0\].kind: 'purchase'") as caught:
        record(desk, purchase("e2"))
    assert caught.value.reason == "EVENT_KIND_UNKNOWN"
    assert state_of(desk) == state


@pytest.mark.parametrize(
    "later",
    [
        pytest.param("", id="kind withdrawn"),
        pytest.param("{name: amount, kind: number, range: [0, 10]}", id="range narrowed"),
        pytest.param(
            "{name: shop, kind: number, required: true}", id="field withdrawn, another required"
        ),
    ],
)
def test_a_repeat_is_known_under_whatever_catalogue_came_since(desk: Desk, later: str) -> None:
    record(desk, purchase("e1"), purchase("e2", "bert"))
    state = state_of(desk)
    kinds = f"events: [{{name: purchase, fields: [{later}]}}]\n" if later else ""
    desk.publish({"shop.yaml": f"currency: EUR\nchannels: {{web: []}}\n{kinds}"})
    assert record(desk, purchase("e1"), purchase("e2", "bert")) == EventCounts(0, 2)
    assert state_of(desk) == state
    for other in (purchase("e3"), purchase("e1", fields={"amount": 21.0}), purchase("e2")):
        with pytest.raises(InvalidFieldError):
            record(desk, purchase("e1"), other)


def test_a_damaged_activity_record_is_never_counted_on(desk: Desk) -> None:
    record(desk, purchase("e1"))

    def damage(transaction: Any) -> None:
        value = bytearray(transaction.get(ACTIVITY, key_of("anna")))
        value[20] ^= 1
        transaction.put(ACTIVITY, key_of("anna"), bytes(value))

    desk.kept.state.write(damage)
    assert record(desk, purchase("e2", "bert"), purchase("e3")) == EventCounts(2, 0)
    assert state_of(desk, "bert") != b""
    with pytest.raises(DamagedError, match="anna"):
        state_of(desk)
    desk.keeper.submit(DeleteCustomer("anna", allow_missing=False)).result(20)
    record(desk, purchase("e4"))
    assert state_of(desk) == state_of(desk, "bert")


def test_the_log_of_events_replayed_gives_the_same_bytes(tmp_path: Path, clock: Clock) -> None:
    folder, replayed = tmp_path / "store", tmp_path / "replayed"
    with open_desk(folder, clock) as desk:
        desk.publish(EVENT_FILES)
        for n in range(60):
            clock.time_ns += HOUR_NS
            late_ns = clock.time_ns - (n % 7) * 9 * HOUR_NS
            given = {"amount": 1.1 * n, "online": n % 3 == 0, "department": "toys"}
            event = purchase(f"e{n % 50}-{n // 50}", f"c{n % 5}", time_ns=late_ns, fields=given)
            record(desk, event, purchase(f"now{n}", "c9"))
            if n == 30:
                changed = EVENT_FILES["attributes.yaml"].replace("half_life: 7d", "half_life: 1d")
                desk.publish({**EVENT_FILES, "attributes.yaml": changed})
            if n % 20 == 19:
                desk.keeper.submit(DeleteCustomer("c3", allow_missing=True)).result(20)
    shutil.copytree(folder / "log", replayed / "log")
    with open_desk(replayed, clock) as again, open_desk(folder, clock) as desk:
        expected = read_all(desk.kept.state)
        assert read_all(again.kept.state) == expected
        assert {name for name, _ in expected} >= {"activity", "event_ids", "event_id_expiry"}
        assert count_keys(desk)[1] < 40


def prepare(desk: Desk, command: RecordEvents) -> bytes | Answered | str:
    """Return what a command prepares, or what is said of it when it is refused."""
    context = ApplyContext(PublishedCatalogue())
    with desk.kept.state.read() as transaction:
        try:
            return command.prepare(transaction, NOW_NS, context)
        except InstanterError as error:
            return f"{error.reason} {error.message}"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"event_id": "known"},
        {"event_id": "e0"},
        {"event_id": "é"},
        {"customer": "customers/ännä"},
        {"customer": "customers/a/b"},
        {"kind": "purchas"},
        {"event_time": Timestamp(seconds=NOW_NS // S_NS - 5)},
        {"event_time": Timestamp(seconds=5)},
        {"fields": {}},
        {"fields": {"amount": AttributeValue(number_value=1e9)}},
        {"fields": {"amount": AttributeValue()}},
        {"fields": {"amount": AttributeValue(number_value=1.0), "online": AttributeValue()}},
        {"fields": {"amount": AttributeValue(category_value="much")}},
    ],
)
def test_a_request_means_the_same_whichever_way_it_is_read(
    desk: Desk, changes: Mapping[str, Any]
) -> None:
    """The usual way, which takes little time, and the one that knows whatever may be wrong."""
    amount = {"amount": AttributeValue(number_value=20.0)}
    given: dict[str, Any] = {
        "event_id": "e1", "customer": "customers/anna", "kind": "purchase", "fields": amount
    }  # fmt: skip
    known = Event(**{**given, "event_id": "known"})
    commands: list[RecordEvents] = []

    def submit(command: RecordEvents, *_: Any, **__: Any) -> Future[EventCounts]:
        commands.append(command)
        return Future()

    service = EventService(submit=submit, gather=desk.keeper.gather)
    first = Event(**{**given, "event_id": "e0"})
    context = CallContext(None, "test")
    request = RecordEventsRequest(events=[first, Event(**{**given, **changes})], durability=2)
    service.record_events(RecordEventsRequest(events=[known]), context)
    service.record_events(request, context)
    commands.append(make_command(request.SerializeToString(), None))
    desk.keeper.submit(commands[0]).result(20)
    _, decoded, encoded = commands
    found = prepare(desk, decoded)
    assert found == prepare(desk, encoded)
    for command in (decoded, encoded):
        assert command.event_count == 2
        assert found == prepare(desk, RecordEvents(command.read_events))
