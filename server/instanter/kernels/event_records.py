"""Records of events as the log has them, and how they change customers' activity records.

A record's body is what `keeper/events` makes: a msgpack map whose first key is `events`, an array
with an array of five for each event: its id, the key of its id, its digest, its customer's id, and
its row (time and encoded event); then `duplicates`; behind that anything. The layouts of keys,
sealed values and activity records are those of `store/records` and `store/activity`.
"""

import numpy as np
from numba import int64, types, void

from instanter.kernels.array_types import (
    READ_F64,
    READ_I32,
    READ_I64,
    READ_I64_2D,
    READ_U8,
    WRITE_I64,
    WRITE_I64_2D,
    WRITE_U8,
)
from instanter.kernels.checksums import RESIDUE, extend_crc32c
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.derived_state import apply_events

HEAD_CUSTOMERS = 0
"""Customers who have an event that something is derived from."""
HEAD_DUPLICATES = 1
HEAD_IS_WHOLE = 2
"""Whether nothing follows the number of duplicates."""
HEAD_WORDS = 3

PLACE_FIRST = 0
"""Of a customer: the first of the events that count."""
PLACE_LAST = 1
PLACE_KEY_END = 2
"""Of a customer: where the key ends in the keys; it begins where the one before ends."""
PLACE_NEXT = 3
"""Of an event: the next of its customer, −1 for none."""
PLACE_ROW = 4
PLACE_ROW_END = 5
"""Of an event: where its row is in the body."""
PLACE_SLOT = 6
"""Of the table that customers are found by: customer's number + 1; 0 for none."""
PLACE_SLOTS = 2
"""So many slots an event: the table is never more than half full."""
PLACE_COLUMNS = PLACE_SLOT + PLACE_SLOTS

ID_SIZE_BYTES = 40
"""An event's id as it is written: its key, 16 bytes, and its sealed digest."""
EVENT_SIZE_BYTES_MIN = 56
"""Bytes of one event in a body at least."""

DELETED = -1
"""Size of the new record of a customer whose record goes; 0 says that it stays as it is."""

_KEY_SIZE_BYTES = 16
_FIELDS_COUNT = 5
_FORM = 1 << 16 | 0x4149
_DERIVED = 2
_SECTIONS_MAX = 16
_HEADER_SIZE_BYTES = 16
_TAIL_SIZE_BYTES = 8
_ROW_HEAD_SIZE_BYTES = 16
_BODY_HEAD = np.frombuffer(b"\xa6events", np.uint8)
_DUPLICATES = np.frombuffer(b"\xaaduplicates", np.uint8)
_PAIR = types.UniTuple(int64, 2)


@inner_kernel(int64(READ_U8, int64, int64))
def read_big(data, at, size):
    """Return the big-endian number of `size` bytes at `at`."""
    number = np.int64(0)
    for i in range(size):
        number = number << 8 | np.int64(data[at + i])
    return number


@inner_kernel(int64(READ_U8, int64))
def read_little(data, at):
    """Return the little-endian number of 4 bytes at `at`."""
    return (
        np.int64(data[at])
        | np.int64(data[at + 1]) << 8
        | np.int64(data[at + 2]) << 16
        | np.int64(data[at + 3]) << 24
    )


@inner_kernel(void(WRITE_U8, int64, int64))
def write_little(data, at, number):
    """Write the low 32 bits of a number, little-endian.

    Parameters
    ----------
    data, at, number
        uint8[n], written from `at` on; what.
    """
    for i in range(4):
        data[at + i] = np.uint8(number >> 8 * i & 0xFF)


@inner_kernel(_PAIR(READ_U8, int64))
def find_bytes(data, at):
    """Return where msgpack text or bytes begin and end; −1 twice when there are none."""
    code = np.int64(data[at]) if at < len(data) else 0
    width = 0
    if code in (0xC4, 0xD9):
        width = 1
    elif code in (0xC5, 0xDA):
        width = 2
    elif code in (0xC6, 0xDB):
        width = 4
    elif code >> 5 != 5:
        return -1, -1
    start = at + 1 + width
    if start > len(data):
        return -1, -1
    end = start + (read_big(data, at + 1, width) if width else code & 0x1F)
    if end > len(data):
        return -1, -1
    return start, end


@inner_kernel(_PAIR(READ_U8, int64))
def read_count(data, at):
    """Return a msgpack number ≥ 0 or the length of an array, and what follows; −1 for neither."""
    code = np.int64(data[at]) if at < len(data) else 0xC1
    width = 0
    if code <= 0x7F:
        return code, at + 1
    if code >> 4 == 9:
        return code & 0x0F, at + 1
    if code == 0xCC:
        width = 1
    elif code in (0xCD, 0xDC):
        width = 2
    elif code in (0xCE, 0xDD):
        width = 4
    if not width or at + 1 + width > len(data):
        return -1, -1
    return read_big(data, at + 1, width), at + 1 + width


@inner_kernel(int64(READ_U8, int64, READ_U8))
def skip_text(data, at, text):
    """Return what follows a text that is expected at `at`; −1 when it is not there."""
    if at + len(text) > len(data):
        return -1
    for i in range(len(text)):
        if data[at + i] != text[i]:
            return -1
    return at + len(text)


@inner_kernel(int64(READ_U8, int64, int64, int64, WRITE_I64, WRITE_I64_2D, WRITE_U8))
def find_customer(body, start, end, count, head, places, keys):
    """Return the number of the customer whose id is [start, end) of the body, new or not.

    Parameters
    ----------
    body, start, end
        uint8[n], read-only; where the id is.
    count
        Events of the record.
    head, places, keys
        As in `index_events`, written for a new customer.
    """
    size = end - start
    padded = size + 7 & -8
    mixed = np.int64(size)
    for i in range(start, end):
        mixed = (mixed ^ np.int64(body[i])) * 0x100_0000_01B3
    slots = PLACE_SLOTS * count
    slot = (mixed ^ mixed >> 29) % slots
    if slot < 0:
        slot += slots
    while True:
        row, column = slot // PLACE_SLOTS, PLACE_SLOT + slot % PLACE_SLOTS
        customer = places[row, column] - 1
        if customer < 0:
            break
        at = places[customer - 1, PLACE_KEY_END] if customer else 0
        if places[customer, PLACE_KEY_END] - at == padded:
            same = size == padded or keys[at + size] == 0
            for i in range(size):
                same = same and keys[at + i] == body[start + i]
            if same:
                return customer
        slot = slot + 1 if slot + 1 < slots else 0
    customer = head[HEAD_CUSTOMERS]
    at = places[customer - 1, PLACE_KEY_END] if customer else 0
    for i in range(size):
        keys[at + i] = body[start + i]
    for i in range(size, padded):
        keys[at + i] = 0
    places[row, column] = customer + 1
    places[customer, PLACE_FIRST] = -1
    places[customer, PLACE_KEY_END] = at + padded
    head[HEAD_CUSTOMERS] = customer + 1
    return customer


@inner_kernel(void(READ_U8, int64, int64, WRITE_U8, int64))
def write_id(body, key, digest, ids, at):
    """Write key and sealed digest of one event.

    Parameters
    ----------
    body, key, digest
        uint8[n], read-only: where in it the two are, 16 bytes each.
    ids, at
        uint8[n], written from `at` on.
    """
    value = at + _KEY_SIZE_BYTES
    for i in range(_KEY_SIZE_BYTES):
        ids[at + i] = body[key + i]
        ids[value + 4 + i] = body[digest + i]
    write_little(ids, value, _KEY_SIZE_BYTES)
    end = value + 4 + _KEY_SIZE_BYTES
    write_little(ids, end, extend_crc32c(ids, at, end, 0))


@inner_kernel(
    int64(READ_U8, int64, int64, int64, READ_U8, WRITE_I64, WRITE_I64_2D, WRITE_U8, WRITE_U8)
)
def index_event(body, at, e, count, followed, head, places, ids, keys):
    """Note where one event is, and return what follows it; −1 when there is something else.

    Parameters
    ----------
    body, at, e, count
        uint8[n], read-only; where the event is; its number, and of how many.
    followed
        uint8[codes], read-only.
    head, places, ids, keys
        As in `index_events`, written.
    """
    fields, at = read_count(body, at)
    _, name_end = find_bytes(body, at)
    if fields != _FIELDS_COUNT or name_end < 0:
        return -1
    key, key_end = find_bytes(body, name_end)
    digest, digest_end = find_bytes(body, key_end) if key_end >= 0 else (-1, -1)
    if digest < 0 or key_end - key != _KEY_SIZE_BYTES or digest_end - digest != _KEY_SIZE_BYTES:
        return -1
    name, name_end = find_bytes(body, digest_end)
    row, row_end = find_bytes(body, name_end) if name_end >= 0 else (-1, -1)
    if row < 0 or name == name_end or row_end - row < _ROW_HEAD_SIZE_BYTES:
        return -1
    write_id(body, key, digest, ids, ID_SIZE_BYTES * e)
    kind = read_little(body, row + 8)
    if kind < len(followed) and followed[kind]:
        customer = find_customer(body, name, name_end, count, head, places, keys)
        if places[customer, PLACE_FIRST] < 0:
            places[customer, PLACE_FIRST] = e
        else:
            places[places[customer, PLACE_LAST], PLACE_NEXT] = e
        places[customer, PLACE_LAST] = e
        places[e, PLACE_NEXT] = -1
        places[e, PLACE_ROW] = row
        places[e, PLACE_ROW_END] = row_end
    return row_end


@kernel(int64(READ_U8, READ_U8, WRITE_I64, WRITE_I64_2D, WRITE_U8, WRITE_U8))
def index_events(body, followed, head, places, ids, keys):
    """Find the events of a record's body, by customer, and seal what is remembered of their ids.

    Parameters
    ----------
    body
        uint8[n], read-only: the record's body.
    followed
        uint8[codes], read-only: whether something is derived from events of a kind.
    head
        int64[HEAD_WORDS], written.
    places
        int64[≥ events, PLACE_COLUMNS], written: see `PLACE_...`; a column is of customers, of
        events or of slots.
    ids
        uint8[≥ 40 events], written: `ID_SIZE_BYTES` for each event.
    keys
        uint8[≥ n], written: the customers' keys, end to end.

    Returns
    -------
    int
        The number of events; −1 when the body is something else.
    """
    head[:] = 0
    if not len(body) or body[0] >> 4 != 8:
        return -1
    at = skip_text(body, 1, _BODY_HEAD)
    count, at = read_count(body, at) if at >= 0 else (-1, -1)
    if count < 0 or count > len(places):
        return -1
    for e in range(count):
        for i in range(PLACE_SLOTS):
            places[e, PLACE_SLOT + i] = 0
    for e in range(count):
        at = index_event(body, at, e, count, followed, head, places, ids, keys)
        if at < 0:
            return -1
    at = skip_text(body, at, _DUPLICATES)
    duplicates, at = read_count(body, at) if at >= 0 else (-1, -1)
    head[HEAD_DUPLICATES] = duplicates
    head[HEAD_IS_WHOLE] = at == len(body)
    return count if duplicates >= 0 else -1


@inner_kernel(int64(READ_U8, int64, int64, READ_U8, int64, int64))
def find_sections(records, start, end, keys, key, key_end):
    """Return where the sections of an activity record begin; −1 when it is damaged.

    Parameters
    ----------
    records, start, end
        uint8[n], read-only; where the record is.
    keys, key, key_end
        uint8[n], read-only; where the customer's key is.
    """
    if end - start < _HEADER_SIZE_BYTES + _TAIL_SIZE_BYTES:
        return -1
    crc = extend_crc32c(records, start, end, extend_crc32c(keys, key, key_end, 0))
    count = read_little(records, start + 4)
    if crc != RESIDUE or read_little(records, start) != _FORM or count > _SECTIONS_MAX:
        return -1
    sections = start + _HEADER_SIZE_BYTES + 8 * count
    at = sections
    for i in range(count):
        if at > end:
            return -1
        at += read_little(records, start + _HEADER_SIZE_BYTES + 8 * i + 4) + 7 & -8
    return sections if at == end - _TAIL_SIZE_BYTES else -1


@inner_kernel(_PAIR(READ_U8, int64, int64))
def find_derived(records, start, sections):
    """Return where the section of derived attributes begins and ends; the same twice for none."""
    at = sections
    for i in range(start + _HEADER_SIZE_BYTES, sections, 8):
        size = read_little(records, i + 4)
        if read_little(records, i) == _DERIVED:
            return at, at + size
        at += size + 7 & -8
    return at, at


@inner_kernel(int64(READ_U8, int64, int64, READ_U8, int64, WRITE_U8, int64))
def write_sections(records, start, sections, state, size, out, at):
    """Write an activity record with another state of derived attributes, but for its tail.

    Parameters
    ----------
    records, start, sections
        uint8[n], read-only; where the record before and its sections are, the same twice for none.
    state, size
        uint8[n], read-only: the state, of `size` bytes, a multiple of 8; none when it is empty.
    out, at
        uint8[n], written from `at` on.

    Returns
    -------
    int
        The end of what was written; `at` when there is no section.
    """
    first = start + _HEADER_SIZE_BYTES
    others = 0
    for i in range(first, sections, 8):
        others += read_little(records, i) != _DERIVED
    count = others + (size > 0)
    if not count:
        return at
    write_little(out, at, _FORM)
    write_little(out, at + 4, count)
    for i in range(8, _HEADER_SIZE_BYTES):
        out[at + i] = 0
    pair = at + _HEADER_SIZE_BYTES
    to = pair + 8 * count
    is_due = size > 0
    come = sections
    # Once more than there are: the state may belong behind all others.
    for i in range(first, max(sections, first) + 8, 8):
        is_behind = i >= sections
        number = _SECTIONS_MAX if is_behind else read_little(records, i)
        if is_due and (is_behind or number >= _DERIVED):
            write_little(out, pair, _DERIVED)
            write_little(out, pair + 4, size)
            out[to : to + size] = state[:size]
            pair += 8
            to += size
            is_due = False
        if is_behind:
            break
        length = read_little(records, i + 4)
        if number != _DERIVED:
            padded = length + 7 & -8
            write_little(out, pair, number)
            write_little(out, pair + 4, length)
            out[to : to + padded] = records[come : come + padded]
            pair += 8
            to += padded
        come += length + 7 & -8
    return to


@kernel(
    int64(
        READ_U8, int64, READ_I64_2D, READ_U8, READ_U8, READ_I64, READ_I64_2D, READ_F64, READ_I32,
        READ_U8, READ_I64_2D, WRITE_I64, WRITE_U8, WRITE_I64,
    )
)  # fmt: skip
def count_events(
    body, customers, places, keys, records, record_end, plan, f64, i32, u8, program_cut, state,
    out, size,
):  # fmt: skip
    """Count a record's events in the activity records of their customers.

    A damaged activity record stays as it is.

    Parameters
    ----------
    body, places, keys
        uint8[n], int64[E, PLACE_COLUMNS], uint8[m], read-only: from `index_events`.
    customers
        How many there are.
    records, record_end
        uint8[n], int64[customers], read-only: the customers' records end to end, nothing for one
        who has none; where each ends.
    plan, f64, i32, u8, program_cut
        As in `derived_state.apply_events`, read-only.
    state
        int64[n], written: room for a new state.
    out
        uint8[n], written: the new records, end to end.
    size
        int64[≥ customers], written: bytes of each new record, 0 where it stays as it was,
        `DELETED` where it goes.

    Returns
    -------
    int
        The bytes written to `out`.
    """
    state_bytes = state.view(np.uint8)
    at = 0
    for c in range(customers):
        key = places[c - 1, PLACE_KEY_END] if c else 0
        key_end = places[c, PLACE_KEY_END]
        start = record_end[c - 1] if c else 0
        end = record_end[c]
        size[c] = 0
        sections, derived, derived_end = start, start, start
        if end > start:
            sections = find_sections(records, start, end, keys, key, key_end)
            if sections < 0:
                continue
            derived, derived_end = find_derived(records, start, sections)
        words = 0
        e = places[c, PLACE_FIRST]
        while e >= 0:
            words += places[e, PLACE_ROW_END] - places[e, PLACE_ROW] >> 3
            e = places[e, PLACE_NEXT]
        before = np.empty(derived_end - derived >> 3, np.int64)
        before.view(np.uint8)[:] = records[derived:derived_end]
        events = np.empty(words, np.int64)
        event_bytes = events.view(np.uint8)
        to = 0
        e = places[c, PLACE_FIRST]
        while e >= 0:
            row, row_end = places[e, PLACE_ROW], places[e, PLACE_ROW_END]
            event_bytes[to : to + row_end - row] = body[row:row_end]
            to += row_end - row
            e = places[e, PLACE_NEXT]
        found = apply_events(before, events, plan, f64, i32, u8, program_cut, 0, state)
        same = found == len(before)
        for i in range(found if same else 0):
            same = same and state[i] == before[i]
        if same:
            continue
        to = write_sections(records, start, sections, state_bytes, 8 * found, out, at)
        if to == at:
            size[c] = DELETED
            continue
        write_little(out, to, 0)
        crc = extend_crc32c(out, at, to + 4, extend_crc32c(keys, key, key_end, 0))
        write_little(out, to + 4, crc)
        size[c] = to + _TAIL_SIZE_BYTES - at
        at = to + _TAIL_SIZE_BYTES
    return at


KERNELS = (
    Kernel("write_little", write_little, ("data",)),
    Kernel("index_events", index_events, ("head", "places", "ids", "keys")),
    Kernel("count_events", count_events, ("state", "out", "size")),
)
