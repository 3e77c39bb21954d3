"""The kernels that read requests of events, and count the records that these become."""

import hashlib
import zlib

import google_crc32c
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter import limits
from instanter.events.wire_tables import make_wire_tables
from instanter.kernels import checksums, event_bodies, event_records, event_requests
from instanter.store import activity
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.event_service_pb2 import Event, RecordEventsRequest
from tests.events.test_engine import CATALOGUE, make_engine
from tests.oracles import checksums as checksums_oracle
from tests.oracles import event_bodies as bodies_oracle
from tests.oracles import event_records as records_oracle
from tests.oracles import event_requests as requests_oracle

NOW_NS = 1_800_000_000_123_456_789
S_NS = 1_000_000_000
TABLES, TEXT = make_wire_tables(CATALOGUE.events)
FOLLOWED = np.array([0, 1, 1, 0], np.uint8)


def make_value(kind, value):
    if kind == "instant_value":
        message = AttributeValue()
        message.instant_value.SetInParent()
        message.instant_value.seconds, message.instant_value.nanos = value
        return message
    return AttributeValue(**({kind: value} if kind else {}))


def make_event(event_id="e1", customer="customers/anna", kind="purchase", time=None, **fields):
    event = Event(event_id=event_id, customer=customer, kind=kind)
    if time is not None:
        event.event_time.SetInParent()
        event.event_time.seconds, event.event_time.nanos = time
    for name, value in fields.items():
        event.fields[name].CopyFrom(make_value(*value))
    return event


AMOUNTS = st.tuples(
    st.just("number_value"),
    st.floats(-1000, 100000) | st.sampled_from([-0.0, -1000.0, 100000.0, 1e-42]),
)
DEPARTMENTS = st.tuples(st.just("category_value"), st.sampled_from(["food", "toys", "books"]))
PURCHASES = st.fixed_dictionaries(
    {"kind": st.just("purchase")},
    optional={
        "amount": AMOUNTS,
        "department": DEPARTMENTS,
        "online": st.tuples(st.just("flag_value"), st.booleans()),
        "promised": st.tuples(
            st.just("instant_value"), st.tuples(st.integers(0, 2**32 - 2), st.just(5))
        ),
    },
)
VISITS = st.fixed_dictionaries(
    {
        "kind": st.just("visit"),
        "page": st.tuples(st.just("category_value"), st.sampled_from(["home", "basket"])),
    }
)
SIGNALS = st.just({"kind": "signal"})
PLAIN = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
IDS = st.text(PLAIN, min_size=1, max_size=64)
NAMES = st.sampled_from(["anna", "berta ", "customer", "customers", "c" * 256]) | st.text(
    PLAIN.filter(lambda character: character != "/"), min_size=1, max_size=40
)
TIMES = st.none() | st.tuples(
    st.integers(NOW_NS // S_NS - 90 * 86_400 + 1, NOW_NS // S_NS + 299), st.integers(0, S_NS - 1)
)
EVENTS = st.builds(
    lambda event_id, name, time, rest: make_event(event_id, f"customers/{name}", time=time, **rest),
    IDS,
    NAMES,
    TIMES,
    PURCHASES | VISITS | SIGNALS,
)
REQUESTS = st.lists(EVENTS, min_size=1, max_size=40).map(lambda e: RecordEventsRequest(events=e))


def index_into(module, function, *given, size):
    """Return what a kernel or its twin says and writes, of the events and customers there are."""
    head = np.full(event_records.HEAD_WORDS, -7, np.int64)
    places = np.full((size // 50 + 2, event_records.PLACE_COLUMNS), -7, np.int64)
    ids = np.zeros(40 * len(places), np.uint8)
    keys = np.zeros(2 * size + 64, np.uint8)
    count = getattr(module, function)(*given, head, places, ids, keys)
    if count < 0:
        return count, None
    customers = head[event_records.HEAD_CUSTOMERS]
    followed = set()
    for c in range(customers):
        e = places[c, event_records.PLACE_FIRST]
        while e >= 0:
            followed.add(int(e))
            e = places[e, event_records.PLACE_NEXT]
    key_size = places[customers - 1, event_records.PLACE_KEY_END] if customers else 0
    return count, (
        head.tolist(),
        places[:customers, : event_records.PLACE_NEXT].tolist(),
        places[sorted(followed), event_records.PLACE_NEXT : event_records.PLACE_SLOT].tolist(),
        ids.tobytes().rstrip(b"\0"),
        keys[:key_size].tobytes(),
        places,
        keys,
    )


def read(module, request):
    """Return the body that a request becomes, and how it is indexed."""
    return read_wire(module, request.SerializeToString(), len(request.events))


def read_wire(module, wire, count):
    """Do what `read` does with a request of so many events on the wire."""
    data = np.frombuffer(wire, np.uint8)
    body = np.zeros(64 + len(data) + 320 * count, np.uint8)
    given = (data, TABLES, TEXT, NOW_NS, FOLLOWED, body)
    size, found = index_into(module, "read_events", *given, size=len(body))
    return (None, None) if size < 0 else (body[:size].tobytes(), found[:5])


def index(module, body):
    data = np.frombuffer(body, np.uint8)
    return index_into(module, "index_events", data, FOLLOWED, size=len(body))


@pytest.mark.parametrize("size", [0, 1, 7, 8, 35, 36, 127, 128, 129, 255, 256, 257, 480])
def test_checksums_are_those_of_the_libraries(size):
    data = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
    whole = checksums.extend_crc32c(data, 0, size, 0)
    assert whole == google_crc32c.value(data.tobytes())
    half = checksums.extend_crc32c(data, 0, size // 3, 0)
    for module in (checksums, checksums_oracle):
        assert module.extend_crc32c(data, size // 3, size, half) == whole
        half_crc32 = module.extend_crc32(data, 0, size // 3, 0)
        assert module.extend_crc32(data, size // 3, size, half_crc32) == zlib.crc32(data)
    padded = data.tobytes() + b"\0" * (-size % 128 or 128 * (not size))
    for module in (checksums, checksums_oracle):
        out = np.zeros(20, np.uint8)
        module.digest_blake2b(np.frombuffer(padded, np.uint64), size, out, 3)
        assert out[3:19].tobytes() == hashlib.blake2b(data.tobytes(), digest_size=16).digest()
        assert not out[:3].any()
        assert not out[19:].any()


@given(REQUESTS)
def test_a_usual_request_becomes_the_body_that_its_twin_makes(request):
    body, found = read(event_requests, request)
    assert body is not None
    assert (body, found) == read(requests_oracle, request)
    content = msgpack.unpackb(body)
    assert body == msgpack.packb(content)
    # What was read is indexed as the record will be when it is replayed.
    assert index(event_records, body)[1][:5] == found


@given(
    IDS, NAMES, st.sampled_from([-1, 0, NOW_NS]), st.lists(st.integers(0, 2**32 - 1), max_size=50)
)
def test_an_event_is_written_as_its_twin_writes_it(event_id, name, time_ns, patterns):
    data = np.frombuffer(b"--" + event_id.encode() + name.encode(), np.uint8)
    parts = np.zeros(event_bodies.PARTS, np.int64)
    middle = 2 + len(event_id)
    parts[:4] = 2, middle, middle, len(data)
    fields = np.array(patterns, np.uint32)
    given = (data, parts, 7, time_ns, NOW_NS // 10**6, fields, len(patterns))
    written = []
    for module in (event_bodies, bodies_oracle):
        body = np.zeros(1_000, np.uint8)
        message = np.zeros(event_bodies.MESSAGE_WORDS, np.uint64)
        written.append((module.write_event(*given, message, body, 5), body.tobytes()))
    assert written[0] == written[1]


UNUSUAL = {
    "no id": make_event(""),
    "a long id": make_event("e" * 65),
    "an id with a control character": make_event("e\x7f"),
    "an id that is not ASCII": make_event("é"),
    "no customer": make_event(customer=""),
    "no customer's name": make_event(customer="customers/"),
    "another name": make_event(customer="clients/anna"),
    "a name that is not ASCII": make_event(customer="customers/ännä"),
    "a name with a slash": make_event(customer="customers/a/b"),
    "a name with a control character": make_event(customer="customers/a\tb"),
    "a long name": make_event(customer="customers/" + "c" * 257),
    "no kind": make_event(kind=""),
    "an unknown kind": make_event(kind="purchases"),
    "an unknown field": make_event(colour=("category_value", "red")),
    "a value of nothing": make_event(amount=(None, None)),
    "a value of another kind": make_event(amount=("flag_value", True)),
    "a number too large": make_event(amount=("number_value", 100000.01)),
    "a number too small": make_event(amount=("number_value", -1000.01)),
    "no number": make_event(amount=("number_value", float("nan"))),
    "an infinite number": make_event(amount=("number_value", float("inf"))),
    "an unknown value": make_event(department=("category_value", "wine")),
    "an empty value": make_event(department=("category_value", "")),
    "an instant before 1970": make_event(promised=("instant_value", (-1, 0))),
    "an instant too late": make_event(promised=("instant_value", (2**32 - 1, 0))),
    "an instant without its nanoseconds": make_event(promised=("instant_value", (5, -1))),
    "an instant of two seconds": make_event(promised=("instant_value", (5, S_NS))),
    "a field that is missing": make_event(kind="visit"),
    "a time too long ago": make_event(time=(NOW_NS // S_NS - 90 * 86_400, 123_456_788)),
    "a time too far ahead": make_event(time=(NOW_NS // S_NS + 300, 123_456_790)),
    "a time of no year": make_event(time=(2**62, 0)),
    "a time before 1970": make_event(time=(-1, 0)),
    "a fraction of two seconds": make_event(time=(NOW_NS // S_NS, S_NS)),
    "a fraction below 0": make_event(time=(NOW_NS // S_NS, -1)),
    "a field of a later version": Event.FromString(
        make_event().SerializeToString() + b"\x9a\x06\x01x"
    ),
}


@pytest.mark.parametrize("event", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_is_left_to_others(event):
    usual = make_event("other", amount=("number_value", 1.0))
    request = RecordEventsRequest(events=[usual, event])
    assert read(event_requests, request) == read(requests_oracle, request) == (None, None)


def part(number, content):
    """Return a part of a message that has its size before it."""
    return bytes([number << 3 | 2, len(content)]) + content


ONLINE = part(1, b"online") + part(2, b"\x18\x01")
USUAL = make_event(time=(NOW_NS // S_NS, 5), online=("flag_value", True)).SerializeToString()
"""Its parts in the order of their numbers, the fields last."""

DISORDER = {
    "two ids": part(1, b"e1") + USUAL,
    "two customers": USUAL[:4] + part(2, b"customers/anna") + USUAL[4:],
    "two kinds": USUAL[:20] + part(3, b"purchase") + USUAL[20:],
    "two times": USUAL[:30] + part(4, b"\x08\x05") + USUAL[30:],
    "an id behind the fields": USUAL + part(1, b"e2"),
    "a kind before the customer": USUAL[:4] + part(3, b"visit") + USUAL[4:],
    "a field twice": USUAL + part(5, ONLINE),
    "a field with another value": USUAL + part(5, part(1, b"online") + part(2, b"\x18\x00")),
    "a field's value before its name": USUAL[:-14] + part(5, ONLINE[8:] + ONLINE[:8]),
    "a field with two values": USUAL[:-14] + part(5, ONLINE + part(2, b"\x18\x00")),
    "a field with two names": USUAL[:-14] + part(5, part(1, b"promised") + ONLINE),
}


def test_the_parts_are_where_the_tests_think():
    assert USUAL[:4] == part(1, b"e1")
    assert USUAL[4:20] == part(2, b"customers/anna")
    assert USUAL[20:30] == part(3, b"purchase")
    assert USUAL[-14:] == part(5, ONLINE)
    assert read_wire(event_requests, part(1, USUAL), 1)[0] is not None


@pytest.mark.parametrize("event", DISORDER.values(), ids=DISORDER)
def test_parts_twice_or_in_another_order_are_left_to_others(event):
    assert read_wire(event_requests, part(1, event), 1) == (None, None)
    assert Event.FromString(event).event_id


@given(REQUESTS, st.integers(0, 3))
def test_a_request_is_outlined_as_its_twin_does(request, durability):
    request.durability = durability
    data = np.frombuffer(request.SerializeToString(), np.uint8)
    found = event_requests.outline_events(data)
    assert found == requests_oracle.outline_events(data)
    assert found == (-1 if durability == 3 else 4 * len(request.events) + durability)


def test_what_is_no_request_has_no_outline():
    for wire in (
        b"\x0a",
        b"\x0a\x05abc",
        b"\x10",
        b"\x18\x01",
        b"\x10\x80",
        b"\x08\x01",
        b"\x1a\x00",
    ):
        assert event_requests.outline_events(np.frombuffer(wire, np.uint8)) == -1
    negative = RecordEventsRequest(durability=-1).SerializeToString()
    assert event_requests.outline_events(np.frombuffer(negative, np.uint8)) == -1
    assert event_requests.outline_events(np.zeros(0, np.uint8)) == 0


def mangle(wire, random):
    """Return a request's bytes with something in them changed, repeated, moved or left out."""
    changed = bytearray(wire)
    for _ in range(random.randint(1, 3)):
        at, other = sorted(random.randrange(len(changed) + 1) for _ in range(2))
        piece = changed[at : at + random.randint(1, 12)]
        match random.randrange(5):
            case 0 if at < len(changed):
                changed[at] = random.randrange(256)
            case 1:
                changed[other:other] = piece
            case 2:
                del changed[at : at + len(piece)]
            case 3 if at < len(changed):
                changed[at] = (changed[at] + random.choice([-1, 1, 0x80])) & 0xFF
            case _:
                changed[at : at + len(piece)], changed[other:other] = b"", piece
    return bytes(changed)


@given(st.lists(EVENTS, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_whatever_is_read_from_mangled_bytes_is_what_protobuf_reads(events, random):
    wire = RecordEventsRequest(events=events).SerializeToString()
    for _ in range(30):
        mangled = mangle(wire, random)
        count = event_requests.outline_events(np.frombuffer(mangled, np.uint8)) >> 2
        if count <= 0:
            continue
        body, found = read_wire(event_requests, mangled, count)
        if body is not None:
            assert len(RecordEventsRequest.FromString(mangled).events) == count
            assert (body, found) == read_wire(requests_oracle, mangled, count)


@pytest.mark.parametrize(
    "time",
    [
        (NOW_NS // S_NS - 90 * 86_400, 123_456_789),
        (NOW_NS // S_NS + 300, 123_456_789),
        (NOW_NS // S_NS, 123_456_790),
    ],
)
def test_the_first_and_the_last_time_are_usual(time):
    request = RecordEventsRequest(events=[make_event(time=time)], durability=2)
    body, found = read(event_requests, request)
    assert body is not None
    assert (body, found) == read(requests_oracle, request)


@pytest.mark.parametrize("count", [15, 16, limits.EVENTS_BATCH_MAX])
def test_any_number_of_events_is_read(count):
    request = RecordEventsRequest(
        events=[make_event(f"e{n}", f"customers/c{n % 700}") for n in range(count)]
    )
    body, found = read(event_requests, request)
    assert body is not None
    assert (body, found) == read(requests_oracle, request)


def test_a_request_that_is_cut_anywhere_is_unusual():
    whole = RecordEventsRequest(
        events=[make_event(time=(NOW_NS // S_NS, 5), amount=("number_value", 5.0))]
    ).SerializeToString()
    for size in range(len(whole)):
        data = np.frombuffer(whole[:size], np.uint8)
        body = np.zeros(2_000, np.uint8)
        given = (data, TABLES, TEXT, NOW_NS, FOLLOWED, body)
        assert index_into(event_requests, "read_events", *given, size=2_000)[0] == -1


def test_the_bounds_of_the_kernels_are_the_limits():
    assert limits.EVENT_ID_SIZE_MAX == event_requests._ID_SIZE_MAX
    assert limits.CUSTOMER_ID_SIZE_BYTES_MAX == event_requests._CUSTOMER_SIZE_MAX
    assert limits.EVENT_FIELDS_MAX == event_requests._FIELDS_MAX
    assert limits.EVENT_AGE_NS_MAX == event_requests._AGE_NS_MAX
    assert limits.EVENT_AHEAD_NS_MAX == event_requests._AHEAD_NS_MAX
    assert activity.DERIVED == event_records._DERIVED
    assert activity.SECTIONS_MAX == event_records._SECTIONS_MAX


def make_body(*events, **rest):
    """Return a record's body of (id, customer, row) triples."""
    packed = [(i, bytes([n]) * 16, b"d" * 16, c, row) for n, (i, c, row) in enumerate(events)]
    return msgpack.packb({"events": packed, "duplicates": 0, **rest})


ROW = b"t" * 8 + b"\1\0\0\0\0\0\0\0"
LONG_ROW = b"t" * 8 + b"\1\0\0\0\x46\0\0\0" + b"\xff" * 280


@pytest.mark.parametrize(
    "body",
    [
        make_body(("e", "ännä", ROW), ("f", "c" * 300, LONG_ROW), ("g", "ännä", ROW)),
        make_body(("e", "a", ROW), duplicates=70_000),
        make_body(("e", "a", ROW), ("e" * 300, "b", ROW), duplicates=200),
        make_body(("e", "a", ROW), stock=[1, 2]),
        make_body(("e", "a", b"t" * 8 + b"\3\0\0\0\0\0\0\0")),
        make_body(("e", "a", b"t" * 8 + b"\x50\0\0\0\0\0\0\0")),
        make_body(*((f"e{n}", f"c{n % 300}", ROW) for n in range(250))),
    ],
)
def test_a_record_of_any_size_is_indexed(body):
    count, found = index(event_records, body)
    assert count > 0
    assert (count, found[:5]) == (
        index(records_oracle, body)[0],
        index(records_oracle, body)[1][:5],
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80",
        b"\x82\xa6events",
        msgpack.packb({"duplicates": 0, "events": []}),
        msgpack.packb({"events": [], "duplicate": 0}),
        msgpack.packb({"events": [("e", b"k" * 15, b"d" * 16, "a", ROW)], "duplicates": 0}),
        msgpack.packb({"events": [("e", b"k" * 16, b"d" * 17, "a", ROW)], "duplicates": 0}),
        msgpack.packb({"events": [("e", b"k" * 16, b"d" * 16, "a", b"short")], "duplicates": 0}),
        make_body(("e", "a", ROW))[:-1],
        make_body(("e", "a", ROW))[:60],
    ],
)
def test_what_is_no_record_of_events_is_noticed(body):
    assert index(event_records, body)[0] == index(records_oracle, body)[0] == -1


def count_into(module, body, records):
    """Return each customer's new record, as a kernel or its twin makes it."""
    counter = make_engine()._in_use().counter
    _, found = index(event_records, body)
    head, *_, places, keys = found
    customers = head[event_records.HEAD_CUSTOMERS]
    joined = np.frombuffer(b"".join(records[:customers]), np.uint8)
    ends = np.cumsum([len(record) for record in records[:customers]]).astype(np.int64)
    out = np.zeros(200_000, np.uint8)
    size = np.full(customers + 1, -7, np.int64)
    plan = counter._plan
    written = module.count_events(
        np.frombuffer(body, np.uint8), customers, places, keys, joined, ends,
        plan.plan, plan.f64, plan.i32, plan.u8, plan.program_cut,
        np.zeros(plan.state_words_max, np.int64), out, size,
    )  # fmt: skip
    assert size[customers] == -7
    return size[:customers].tolist(), out[:written].tobytes()


OTHERS = st.dictionaries(st.sampled_from([1, 3, 7]), st.binary(min_size=1, max_size=40), max_size=3)


@given(
    st.lists(EVENTS, min_size=1, max_size=12),
    st.lists(EVENTS, min_size=1, max_size=12),
    OTHERS,
    st.integers(-1, 400),
)
def test_events_are_counted_as_the_twin_counts_them(earlier, later, others, flipped):
    bodies = []
    for events in (earlier, later):
        for n, event in enumerate(events):
            event.customer = f"customers/customer{n % 3}"
        bodies.append(read(event_requests, RecordEventsRequest(events=events))[0])
    keys = [b"customer0\0\0\0\0\0\0\0", b"customer1\0\0\0\0\0\0\0", b"customer2\0\0\0\0\0\0\0"]
    before = {key: records_oracle.write_sections(key, others) for key in keys}
    for body in bodies:
        _, found = index(event_records, body)
        joined = found[4]
        own = [joined[at : at + 16] for at in range(0, len(joined), 16)]
        records = [before[key] for key in own]
        if 0 <= flipped < 8 * sum(map(len, records[:1])):
            damaged = bytearray(records[0])
            damaged[flipped // 8] ^= 1 << flipped % 8
            records[0] = bytes(damaged)
        sizes, out = count_into(event_records, body, records)
        assert (sizes, out) == count_into(records_oracle, body, records)
        for key, size in zip(own, sizes, strict=True):
            if size > 0:
                before[key], out = out[:size], out[size:]
                assert records_oracle.read_sections(key, before[key]) is not None


def test_a_state_that_nothing_is_left_of_goes_and_the_other_sections_stay():
    key = b"anna\0\0\0\0"
    # A derivation that is no longer declared, and an event that no derivation counts.
    state = np.array([1 << 32 | 9_999, 5, 1 << 32 | 1], np.int64).tobytes()
    request = RecordEventsRequest(
        events=[make_event(time=(NOW_NS // S_NS, 0), amount=("number_value", 1.0))]
    )
    row = msgpack.unpackb(read(event_requests, request)[0])["events"][0][4]
    body = make_body(("e", "anna", row[:8] + b"\2\0\0\0\0\0\0\0"))
    for others in ({}, {1: b"contacts"}, {7: b"later"}, {1: b"contacts", 7: b"later"}):
        record = records_oracle.write_sections(key, {**others, 2: state})
        sizes, out = count_into(event_records, body, [record])
        assert (sizes, out) == count_into(records_oracle, body, [record])
        kept = records_oracle.read_sections(key, out) if others else {}
        if sizes[0] == -1:
            assert not others
        else:
            assert {n: v for n, v in kept.items() if n != 2} == others
