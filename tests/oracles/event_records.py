"""Records of events by msgpack, and activity records as dictionaries of sections."""

import struct
from itertools import pairwise

import google_crc32c
import msgpack
import numpy as np

from tests.oracles import derived_state

HEAD = struct.Struct("<IIQ")
FORM = 0x0001_4149
DERIVED = 2


def write_little(data, at, number):
    data[at : at + 4] = np.frombuffer((number & 0xFFFF_FFFF).to_bytes(4, "little"), np.uint8)


def index_events(body, followed, head, places, ids, keys):
    data = bytes(body)
    try:
        found = msgpack.unpackb(data)
        events, duplicates = found["events"], found["duplicates"]
        assert [*found][:2] == ["events", "duplicates"]
        assert len(events) <= len(places)
        for _, key, digest, _, row in events:
            assert len(key) == len(digest) == 16
            assert len(row) >= 16
    except (ValueError, TypeError, KeyError, AssertionError):
        return -1
    customers = {}
    at = 0
    for e, (_, key, digest, customer, row) in enumerate(events):
        sealed = struct.pack("<I", 16) + digest
        crc = google_crc32c.value(key + sealed)
        ids[40 * e : 40 * e + 40] = list(key + sealed + struct.pack("<I", crc))
        start = at = data.index(row, data.index(digest, at) + 16 + len(customer.encode()))
        at += len(row)
        (kind,) = struct.unpack_from("<I", row, 8)
        if kind < len(followed) and followed[kind]:
            customers.setdefault(customer, []).append(e)
            places[e, 3:6] = -1, start, at
    end = 0
    for c, (customer, own) in enumerate(customers.items()):
        key = customer.encode()
        key += b"\0" * (-len(key) % 8)
        keys[end : end + len(key)] = list(key)
        end += len(key)
        places[c, :3] = own[0], own[-1], end
        for e, following in pairwise(own):
            places[e, 3] = following
    head[:] = len(customers), duplicates, len(found) == 2
    return len(events)


def count_events(
    body, customers, places, keys, records, record_end, plan, f64, i32, u8, program_cut, state,
    out, size,
):  # fmt: skip
    written = b""
    for c in range(customers):
        key = bytes(keys[places[c - 1, 2] if c else 0 : places[c, 2]])
        record = bytes(records[record_end[c - 1] if c else 0 : record_end[c]])
        size[c] = 0
        sections = read_sections(key, record) if record else {}
        if sections is None:
            continue
        rows = b""
        e = places[c, 0]
        while e >= 0:
            rows += bytes(body[places[e, 4] : places[e, 5]])
            e = places[e, 3]
        before = np.frombuffer(sections.pop(DERIVED, b""), np.int64)
        count = derived_state.apply_events(
            before, np.frombuffer(rows, np.int64), plan, f64, i32, u8, program_cut, 0, state
        )
        after = state[:count].tobytes()
        if after == before.tobytes():
            continue
        made = write_sections(key, {**sections, DERIVED: after} if after else sections)
        size[c] = len(made) or -1
        written += made
    out[: len(written)] = list(written)
    return len(written)


def read_sections(key, record):
    """Return the sections by their numbers, None of a damaged record."""
    if len(record) < 24 or google_crc32c.value(key + record[:-4]) != int.from_bytes(
        record[-4:], "little"
    ):
        return None
    form, count, _ = HEAD.unpack_from(record)
    if form != FORM or count > 16:
        return None
    at = HEAD.size + 8 * count
    sections = {}
    for i in range(count):
        number, length = struct.unpack_from("<II", record, HEAD.size + 8 * i)
        sections[number] = record[at : at + length]
        at += length + -length % 8
    return sections if at == len(record) - 8 else None


def write_sections(key, sections):
    """Return the record of sections by their numbers; nothing without any."""
    if not sections:
        return b""
    made = HEAD.pack(FORM, len(sections), 0)
    made += b"".join(struct.pack("<II", n, len(sections[n])) for n in sorted(sections))
    for number in sorted(sections):
        made += sections[number] + b"\0" * (-len(sections[number]) % 8)
    made += b"\0\0\0\0"
    return made + struct.pack("<I", google_crc32c.value(key + made))
