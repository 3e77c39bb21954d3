"""Events of one customer, counted by the engine as those of a record of the log are."""

import msgpack

from tests.oracles.event_records import read_sections, write_sections

KEY = b"anna\0\0\0\0"
DERIVED = 2


def count_rows(engine, state, rows):
    """Return the customer's state after events, each given as its time and what `encode` made."""
    events = [("e", bytes(16), bytes(16), "anna", row) for row in rows]
    indexed = engine.index(msgpack.packb({"events": events, "duplicates": 0}))
    if not indexed.customer_keys:
        return state
    assert indexed.customer_keys == [KEY]
    record = write_sections(KEY, {DERIVED: state} if state else {})
    (made,) = engine.count(record, [len(record)])
    return state if made is None else read_sections(KEY, bytes(made))[DERIVED] if made else b""
