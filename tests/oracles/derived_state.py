"""The state of derived attributes in plain Python: a dictionary of blocks, written out in the end.

A block is `[newest, entries]`; `entries` maps a key (tile or bucket) to the words of its entry,
whose first holds only what stands in the low 32 bits.
"""

import struct

from tests.oracles import eligibility

COUNT, SUM, MINIMUM, MAXIMUM, MEAN, LAST, TIME_SINCE_LAST, DISTINCT = range(1, 9)
MISSING_CODE = 0xFFFF_FFFF
LOW = 0xFFFF_FFFF
UNITS_MAX = 2**63 - 1
UNIT = 2**20
BUCKETS = 256


def raise_two(x):
    return 2.0**x


def apply_events(state, events, plan, f64, i32, u8, program_cut, never_back, out):
    blocks = decode([int(word) for word in state])
    known = {int(row[0]) for row in plan}
    blocks = {state_id: block for state_id, block in blocks.items() if state_id in known}
    for time_ms, kind, fields in split(events):
        truths = _truths(kind, fields, time_ms, f64, i32, u8, program_cut)
        for row in plan.tolist():
            state_id, of_kind, _, field, literal = row[:5]
            if of_kind != kind or (literal >= 0 and truths[literal] != 2):
                continue
            pattern = 0
            if field >= 0:
                pattern = fields[field] if field < len(fields) else MISSING_CODE
                if pattern == MISSING_CODE:
                    continue
            if never_back and state_id in blocks and row[2] not in (LAST, TIME_SINCE_LAST):
                _count(blocks, state_id, row, max(time_ms, blocks[state_id][0] * row[5]), pattern)
            else:
                _count(blocks, state_id, row, time_ms, pattern)
    words = encode(blocks, {row[0]: row for row in plan.tolist()})
    out[: len(words)] = words
    return len(words)


def decode(words):
    """Return the blocks of a state, entries still as lists of words."""
    blocks = {}
    while words:
        state_id, size = words[0] & LOW, words[0] >> 32
        blocks[state_id] = [words[1], words[2 : 2 + size]]
        words = words[2 + size :]
    return blocks


def encode(blocks, rows):
    """Return the words of blocks, in order."""
    words = []
    for state_id, (newest, entries) in sorted(blocks.items()):
        words += [len(entries) << 32 | state_id, newest, *entries]
    return words


def split(events):
    """Return (time in ms, kind, patterns of the fields) of each event."""
    found = []
    raw = events.tobytes()
    while raw:
        time_ms, kind, count = struct.unpack_from("<qII", raw)
        found.append((time_ms, kind, list(struct.unpack_from(f"<{count}I", raw, 16))))
        raw = raw[16 + 8 * ((count + 1) // 2) :]
    return found


def number_of(pattern, is_number):
    """Return the value of a pattern that is a float32, or else a whole number."""
    if is_number:
        return struct.unpack("<f", struct.pack("<I", pattern))[0]
    return float(pattern)


def bucket_of(pattern, is_hashed):
    """Return the bucket that DISTINCT notes a value in."""
    if not is_hashed:
        return pattern % BUCKETS
    h = pattern
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & LOW
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & LOW
    return (h ^ (h >> 16)) % BUCKETS


def _truths(kind, fields, time_ms, f64, i32, u8, program_cut):
    cut = [int(c) for c in program_cut[kind]]
    if not cut[25]:
        return []
    packs = (f64, i32, u8, u8, i32, i32, i32, f64, f64, u8, i32, i32)
    arrays = [pack[cut[n] : cut[n + 12]] for n, pack in enumerate(packs)]
    values, truths = [0.0] * cut[24], [0] * cut[25]
    eligibility.evaluate_program([], fields, time_ms / 1000, *arrays, values, truths)
    return truths


def _count(blocks, state_id, row, time_ms, pattern):
    _, _, aggregation, _, _, tile_ms, kept, window_ms, is_number, is_hashed, _, width, _ = row
    value = number_of(pattern, is_number)
    if aggregation in (LAST, TIME_SINCE_LAST):
        if state_id in blocks:
            latest_ms, (present,) = blocks[state_id]
            if (time_ms, value) <= (latest_ms, number_of(present, is_number)):
                return
        blocks[state_id] = [time_ms, [pattern]]
        return
    tile = time_ms // tile_ms
    newest, words = blocks.get(state_id, [tile, []])
    newest = max(newest, tile)
    entries = {words[i] >> 32: words[i : i + width] for i in range(0, len(words), width)}
    key = bucket_of(pattern, is_hashed) if aggregation == DISTINCT else tile
    is_new = key not in entries
    entry = entries.setdefault(key, [key << 32] + [0] * (width - 1))
    low = entry[0] & LOW
    if not window_ms:
        low = 0
        weight = raise_two((time_ms - tile * tile_ms) / tile_ms)
        entry[1] = min(entry[1] + _units(weight), UNITS_MAX)
        if aggregation != COUNT:
            _add(entry, 2, value * weight)
    elif aggregation in (MINIMUM, MAXIMUM):
        better = min if aggregation == MINIMUM else max
        if is_new or better(value, number_of(low, is_number)) != number_of(low, is_number):
            low = pattern
    elif aggregation == DISTINCT:
        low = max(low, tile)
    else:
        low = min(low + 1, LOW)
        if aggregation != COUNT:
            _add(entry, 1, value)
    entry[0] = key << 32 | low
    oldest = newest - kept
    kept_entries = [
        e
        for _, e in sorted(entries.items())
        if (e[0] & LOW if aggregation == DISTINCT else e[0] >> 32) >= oldest
    ]
    blocks[state_id] = [newest, [word for e in kept_entries for word in e]]


def _units(amount):
    return min(int(amount * UNIT + 0.5), UNITS_MAX)


def _add(entry, at, amount):
    at += amount < 0
    entry[at] = min(entry[at] + _units(abs(amount)), UNITS_MAX)
