"""Requests to record events, as they come over the wire, made the body of a record.

For the usual request only: whatever else is in it, a mistake, an id that is not ASCII, parts twice
or in another order than protobuf writes them, something that a later version sends, is told by a
single number, and whoever calls looks at it again in a way that takes its time and names what it
finds. The wire is that of `RecordEventsRequest`; the body is that of `kernels/event_records`.
"""

import numpy as np
from numba import int64, types

from instanter.kernels.array_types import (
    READ_I64,
    READ_U8,
    WRITE_I64,
    WRITE_I64_2D,
    WRITE_U8,
    WRITE_U32,
)
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.event_bodies import (
    MESSAGE_WORDS,
    PART_CUSTOMER,
    PART_CUSTOMER_END,
    PART_FIELDS_COUNT,
    PART_ID,
    PART_ID_END,
    PART_KIND,
    PART_KIND_END,
    PART_TIME,
    PART_TIME_END,
    PARTS,
    write_event,
)
from instanter.kernels.event_records import index_events
from instanter.kernels.event_tables import (
    FIELD_COLUMNS,
    FIELD_HIGH,
    FIELD_IS_REQUIRED,
    FIELD_LOW,
    FIELD_MEMBER,
    FIELD_NAME,
    FIELD_NAME_END,
    FIELD_SLOT,
    FIELD_VALUES,
    FIELD_VALUES_END,
    FLAG_MEMBER,
    INSTANT_MEMBER,
    KIND_CODE,
    KIND_COLUMNS,
    KIND_FIELDS,
    KIND_FIELDS_END,
    KIND_NAME,
    KIND_NAME_END,
    KIND_REQUIRED,
    NUMBER_MEMBER,
    VALUE_CODE,
    VALUE_COLUMNS,
    VALUE_NAME,
    VALUE_NAME_END,
)
from instanter.kernels.wire import find_sized, read_varint

BODY_SIZE_BYTES = 64
"""Bytes of a body beside its events, and more than what one event has beside what was sent."""
EVENT_SIZE_BYTES = 320
"""Bytes that an event takes in the body beside those it takes on the wire, at most."""

_ID_SIZE_MAX = 64
_CUSTOMER_SIZE_MAX = 256
_FIELDS_MAX = 50
_PATTERNS = _FIELDS_MAX + 2
_AGE_NS_MAX = 90 * 86_400_000_000_000
_AHEAD_NS_MAX = 300_000_000_000
_S_NS = 1_000_000_000
_MS_NS = 1_000_000
_SECONDS_MAX = 9_000_000_000
"""More than any time that is near the present one; a number of nanoseconds fits 63 bits."""
_INSTANT_S_MAX = 0xFFFF_FFFE
_MISSING_CODE = np.uint32(0xFFFF_FFFF)
_CUSTOMERS = np.frombuffer(b"customers/", np.uint8)
_HEAD = np.frombuffer(b"\x82\xa6events", np.uint8)
_TAIL = np.frombuffer(b"\xaaduplicates\0", np.uint8)
_PAIR = types.UniTuple(int64, 2)


@inner_kernel(int64(READ_U8, int64, int64, READ_U8, int64, int64))
def is_same(data, start, end, text, text_start, text_end):
    """Return whether [start, end) of the data is [text_start, text_end) of the text."""
    if end - start != text_end - text_start:
        return 0
    for i in range(end - start):
        if data[start + i] != text[text_start + i]:
            return 0
    return 1


@inner_kernel(int64(READ_U8, int64, int64))
def is_printable(data, start, end):
    """Return whether there is printable ASCII only."""
    for i in range(start, end):
        if data[i] < 0x20 or data[i] > 0x7E:
            return 0
    return 1


@inner_kernel(_PAIR(READ_U8, int64, int64))
def read_timestamp(data, start, end):
    """Return seconds and nanoseconds of a Timestamp; −1 for either when it is an unusual one."""
    seconds, nanos = 0, 0
    at = start
    while at < end:
        tag = data[at]
        number, at = read_varint(data, at + 1, end)
        if at < 0 or number < 0 or tag not in (0x08, 0x10):
            return -1, -1
        if tag == 0x08:
            seconds = number
        else:
            nanos = number
    return seconds, nanos


@inner_kernel(int64(READ_U8, int64, int64, WRITE_I64))
def find_parts(data, start, end, parts):
    """Note where the parts of an event are, its fields excepted; return whether it is usual.

    Parameters
    ----------
    data, start, end
        uint8[n], read-only; where the event is.
    parts
        int64[PARTS], written.
    """
    parts[:] = 0
    at = start
    last = np.int64(0)
    while at < end:
        tag = np.int64(data[at])
        part, at = find_sized(data, at + 1, end)
        # Only fields come more than once.
        if part < 0 or tag + (tag == 0x2A) <= last:
            return 0
        last = tag
        if tag == 0x2A:
            parts[PART_FIELDS_COUNT] += 1
        elif tag == 0x22:
            parts[PART_TIME], parts[PART_TIME_END] = part, at
        elif tag in (0x0A, 0x12, 0x1A):
            place = 2 * (tag >> 3) - 2
            parts[place], parts[place + 1] = part, at
        else:
            return 0
    size = parts[PART_ID_END] - parts[PART_ID]
    customer = parts[PART_CUSTOMER] + len(_CUSTOMERS)
    customer_size = parts[PART_CUSTOMER_END] - customer
    if not 0 < size <= _ID_SIZE_MAX or not 0 < customer_size <= _CUSTOMER_SIZE_MAX:
        return 0
    for i in range(customer, parts[PART_CUSTOMER_END]):
        if data[i] == 0x2F:
            return 0
    usual = is_same(data, parts[PART_CUSTOMER], customer, _CUSTOMERS, 0, len(_CUSTOMERS))
    usual &= is_printable(data, customer, parts[PART_CUSTOMER_END])
    parts[PART_CUSTOMER] = customer
    return usual & is_printable(data, parts[PART_ID], parts[PART_ID_END])


@inner_kernel(int64(READ_U8, int64, int64, READ_I64, READ_U8, int64, WRITE_U32))
def encode_field(data, at, end, tables, text, row, patterns):
    """Return the pattern of a field's value; −1 when that is unusual.

    Parameters
    ----------
    data, at, end
        uint8[n], read-only; where the `AttributeValue` is.
    tables, text
        As in `read_events`.
    row
        Where the field's row is in the tables.
    patterns
        uint32[_PATTERNS], of which the last two are written: room to convert a number in.
    """
    if at >= end:
        return -1
    member = np.int64(data[at] >> 3)
    if member != tables[row + FIELD_MEMBER]:
        return -1
    if member == NUMBER_MEMBER:
        if data[at] != 0x09 or end - at != 9:
            return -1
        spare = patterns[_FIELDS_MAX:]
        for i in range(8):
            spare.view(np.uint8)[i] = data[at + 1 + i]
        number = spare.view(np.float64)[0]
        bounds = tables.view(np.float64)
        if not bounds[row + FIELD_LOW] <= number <= bounds[row + FIELD_HIGH]:
            return -1
        spare.view(np.float32)[0] = np.float32(number + 0.0)
        return np.int64(spare[0])
    if member == FLAG_MEMBER:
        flag, after = read_varint(data, at + 1, end)
        return flag if after == end and data[at] == 0x18 and 0 <= flag <= 1 else -1
    part, part_end = find_sized(data, at + 1, end)
    if part_end != end or data[at] & 7 != 2:
        return -1
    if member == INSTANT_MEMBER:
        seconds, nanos = read_timestamp(data, part, part_end)
        return seconds if seconds <= _INSTANT_S_MAX and nanos < _S_NS else -1
    values_end = tables[row + FIELD_VALUES_END]
    for value in range(tables[row + FIELD_VALUES], values_end, VALUE_COLUMNS):
        name, name_end = tables[value + VALUE_NAME], tables[value + VALUE_NAME_END]
        if is_same(data, part, part_end, text, name, name_end):
            return tables[value + VALUE_CODE]
    return -1


@inner_kernel(int64(READ_U8, int64, int64, READ_I64, READ_U8, int64, WRITE_U32))
def read_field(data, start, end, tables, text, kind, patterns):
    """Read one entry of an event's fields into the patterns.

    Parameters
    ----------
    data, start, end
        uint8[n], read-only; where the entry is.
    tables, text
        As in `read_events`.
    kind
        Where the row of the event's kind is in the tables.
    patterns
        uint32[_PATTERNS], written at the field's slot, where nothing may have been written before.

    Returns
    -------
    int
        Twice the number of patterns that reach up to this one, and 1 more when the event must have
        the field; −1 when it is unusual.
    """
    if start >= end or data[start] != 0x0A:
        return -1
    name, name_end = find_sized(data, start + 1, end)
    if name < 0 or name_end >= end or data[name_end] != 0x12:
        return -1
    value, value_end = find_sized(data, name_end + 1, end)
    if value_end != end:
        return -1
    fields_end = tables[kind + KIND_FIELDS_END]
    for row in range(tables[kind + KIND_FIELDS], fields_end, FIELD_COLUMNS):
        known, known_end = tables[row + FIELD_NAME], tables[row + FIELD_NAME_END]
        if is_same(data, name, name_end, text, known, known_end):
            pattern = encode_field(data, value, value_end, tables, text, row, patterns)
            if pattern < 0:
                return -1
            slot = tables[row + FIELD_SLOT]
            if patterns[slot] != _MISSING_CODE:
                return -1
            patterns[slot] = np.uint32(pattern)
            return 2 * (slot + 1) + tables[row + FIELD_IS_REQUIRED]
    return -1


@inner_kernel(int64(READ_U8, int64, int64, READ_I64, READ_U8, int64, WRITE_U32))
def read_fields(data, start, end, tables, text, kind, patterns):
    """Read all fields of the event in [start, end); return patterns up to the last, −1 if unusual.

    Parameters
    ----------
    data, start, end, tables, text, kind
        As in `read_field`, but for the whole event, which `find_parts` has found usual.
    patterns
        uint32[_PATTERNS], written.
    """
    for i in range(_FIELDS_MAX):
        patterns[i] = _MISSING_CODE
    count = 0
    required = 0
    at = start
    while at < end:
        tag = data[at]
        part, at = find_sized(data, at + 1, end)
        if tag == 0x2A:
            found = read_field(data, part, at, tables, text, kind, patterns)
            if found < 0:
                return -1
            count = max(count, found >> 1)
            required += found & 1
    return count if required == tables[kind + KIND_REQUIRED] else -1


@inner_kernel(_PAIR(READ_U8, READ_I64, int64))
def read_time(data, parts, now_ns):
    """Return when an event happened, −1 for not told, and what it counts as; −2 if unusual."""
    if not parts[PART_TIME]:
        return -1, now_ns // _MS_NS
    seconds, nanos = read_timestamp(data, parts[PART_TIME], parts[PART_TIME_END])
    if not 0 <= seconds <= _SECONDS_MAX or not 0 <= nanos < _S_NS:
        return -2, 0
    time_ns = seconds * _S_NS + nanos
    if not max(now_ns - _AGE_NS_MAX, 0) <= time_ns <= now_ns + _AHEAD_NS_MAX:
        return -2, 0
    return time_ns, min(time_ns, now_ns) // _MS_NS


@inner_kernel(int64(READ_U8, READ_I64, READ_I64, READ_U8))
def find_kind(data, parts, tables, text):
    """Return where the row of an event's kind is in the tables; −1 when there is none."""
    for row in range(1, 1 + KIND_COLUMNS * tables[0], KIND_COLUMNS):
        name, name_end = tables[row + KIND_NAME], tables[row + KIND_NAME_END]
        if is_same(data, parts[PART_KIND], parts[PART_KIND_END], text, name, name_end):
            return row
    return -1


@kernel(int64(READ_U8))
def outline_events(data):
    """Return four times the number of a request's events, plus its durability.

    −1 when there is something else in it, or another durability than 0, 1 and 2. The events
    themselves are not looked at.

    Parameters
    ----------
    data
        uint8[n], read-only: the request on the wire.
    """
    count = 0
    durability = 0
    at = 0
    while at < len(data):
        tag = data[at]
        if tag == 0x0A:
            _, at = find_sized(data, at + 1, len(data))
            count += 1
        elif tag == 0x10:
            durability, at = read_varint(data, at + 1, len(data))
        else:
            return -1
        if at < 0:
            return -1
    return 4 * count + durability if 0 <= durability <= 2 else -1


@kernel(
    int64(
        READ_U8, READ_I64, READ_U8, int64, READ_U8, WRITE_U8, WRITE_I64, WRITE_I64_2D, WRITE_U8,
        WRITE_U8,
    )
)  # fmt: skip
def read_events(data, tables, text, now_ns, followed, body, head, places, ids, keys):
    """Check a request's events and make them the body of a record, as `index_events` finds it.

    Parameters
    ----------
    data
        uint8[n], read-only: the request on the wire.
    tables, text
        int64[n], uint8[m], read-only: the number of kinds, then their rows (`KIND_...`), those of
        their fields and those of their categories' values; and the names that are in it.
    now_ns
        Nanoseconds since 1970: the time of the record.
    body
        uint8[≥ BODY_SIZE_BYTES + n + EVENT_SIZE_BYTES × events], written: the record's body.
    followed, head, places, ids, keys
        As in `event_records.index_events`.

    Returns
    -------
    int
        The bytes of the body; −1 when anything is wrong or unusual.
    """
    count = outline_events(data) >> 2
    if not 0 < count <= len(places) or count > 0xFFFF:
        return -1
    if len(body) < BODY_SIZE_BYTES + len(data) + EVENT_SIZE_BYTES * count:
        return -1
    parts = np.empty(PARTS, np.int64)
    patterns = np.empty(_PATTERNS, np.uint32)
    message = np.empty(MESSAGE_WORDS, np.uint64)
    size = len(_HEAD)
    body[:size] = _HEAD
    if count <= 15:
        body[size] = np.uint8(0x90 | count)
        size += 1
    else:
        body[size], body[size + 1], body[size + 2] = 0xDC, count >> 8, count & 0xFF
        size += 3
    at = 0
    while at < len(data):
        if data[at] == 0x10:
            _, at = read_varint(data, at + 1, len(data))
            continue
        start, at = find_sized(data, at + 1, len(data))
        if not find_parts(data, start, at, parts):
            return -1
        kind = find_kind(data, parts, tables, text)
        time_ns, time_ms = read_time(data, parts, now_ns)
        if kind < 0 or time_ns < -1 or parts[PART_FIELDS_COUNT] > _FIELDS_MAX:
            return -1
        given = read_fields(data, start, at, tables, text, kind, patterns)
        if given < 0:
            return -1
        code = tables[kind + KIND_CODE]
        size = write_event(
            data, parts, code, time_ns, time_ms, patterns, given, message, body, size
        )
    body[size : size + len(_TAIL)] = _TAIL
    size += len(_TAIL)
    return size if index_events(body[:size], followed, head, places, ids, keys) == count else -1


KERNELS = (
    Kernel("outline_events", outline_events, ()),
    Kernel("read_events", read_events, ("body", "head", "places", "ids", "keys")),
)
