"""Requests to record events, read by protobuf and packed by msgpack."""

import hashlib
import struct

import msgpack
from google.protobuf.unknown_fields import UnknownFieldSet

from instanter.v1.event_service_pb2 import RecordEventsRequest
from tests.oracles import event_records

MISSING = 0xFFFF_FFFF
MEMBERS = {"number_value": 1, "category_value": 2, "flag_value": 3, "instant_value": 4}


def outline_events(data):
    """Return four times the events of a request plus its durability."""
    request = RecordEventsRequest.FromString(bytes(data))
    if len(UnknownFieldSet(request)) or request.durability not in (0, 1, 2):
        return -1
    return 4 * len(request.events) + request.durability


def read_events(data, tables, text, now_ns, followed, body, head, places, ids, keys):
    request = RecordEventsRequest.FromString(bytes(data))
    kinds = decode_tables(tables.tolist(), bytes(text))
    try:
        rows = [_read_event(event, kinds, now_ns) for event in request.events]
    except (ValueError, KeyError):
        return -1
    if not rows:
        return -1
    packed = msgpack.packb({"events": rows, "duplicates": 0})
    body[: len(packed)] = list(packed)
    count = event_records.index_events(body[: len(packed)], followed, head, places, ids, keys)
    return len(packed) if count >= 0 else -1


def decode_tables(tables, text):
    """Return of each kind's name its code, its required fields and its fields by name."""

    def name_at(row):
        return text[tables[row] : tables[row + 1]].decode()

    kinds = {}
    for kind in range(1, 1 + 6 * tables[0], 6):
        fields = {}
        for row in range(tables[kind + 3], tables[kind + 4], 9):
            low, high = struct.unpack("<dd", struct.pack("<qq", *tables[row + 5 : row + 7]))
            values = range(tables[row + 7], tables[row + 8], 3)
            codes = {name_at(value): tables[value + 2] for value in values}
            fields[name_at(row)] = (*tables[row + 2 : row + 5], low, high, codes)
        required = {name for name, field in fields.items() if field[2]}
        assert len(required) == tables[kind + 5]
        kinds[name_at(kind)] = (tables[kind + 2], required, fields)
    return kinds


def _read_event(event, kinds, now_ns):
    """Return the event's part of the record's body; raise where something is unusual."""
    code, required, fields = kinds[event.kind]
    event_id = event.event_id
    customer = event.customer.removeprefix("customers/")
    _demand(0 < len(event_id) <= 64 and _is_plain(event_id))
    _demand(event.customer.startswith("customers/") and 0 < len(customer) <= 256)
    _demand(_is_plain(customer) and "/" not in customer)
    _demand(required <= set(event.fields) and not len(UnknownFieldSet(event)))
    time, time_ns = b"\xff" * 16, now_ns
    if event.HasField("event_time"):
        _demand(0 <= event.event_time.nanos < 10**9)
        time_ns = event.event_time.seconds * 10**9 + event.event_time.nanos
        _demand(max(now_ns - 90 * 86_400 * 10**9, 0) <= time_ns <= now_ns + 300 * 10**9)
        time = time_ns.to_bytes(16, "big")
    slots = {fields[name][1]: _encode(value, fields[name]) for name, value in event.fields.items()}
    count = max(slots, default=-1) + 1
    patterns = [slots.get(slot, MISSING) for slot in range(count)]
    encoded = struct.pack(f"<II{count}I{4 * (count % 2)}x", code, count, *patterns)
    return (
        event_id,
        hashlib.blake2b(event_id.encode(), digest_size=16).digest(),
        hashlib.blake2b(time + encoded + customer.encode(), digest_size=16).digest(),
        customer,
        struct.pack("<q", min(time_ns, now_ns) // 10**6) + encoded,
    )


def _encode(value, field):
    member, _, _, low, high, codes = field
    kind = value.WhichOneof("kind")
    _demand(MEMBERS.get(kind) == member)
    if kind == "number_value":
        _demand(low <= value.number_value <= high)
        return int.from_bytes(struct.pack("<f", value.number_value + 0.0), "little")
    if kind == "category_value":
        return codes[value.category_value]
    if kind == "flag_value":
        return int(value.flag_value)
    instant = value.instant_value
    _demand(0 <= instant.seconds < MISSING and 0 <= instant.nanos < 10**9)
    return instant.seconds


def _is_plain(text):
    return text.isascii() and text.isprintable()


def _demand(usual):
    if not usual:
        raise ValueError
