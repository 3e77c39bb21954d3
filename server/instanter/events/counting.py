"""The events of one record, counted in the activity records of their customers.

The work is that of two kernel calls a record, however many events it has; here are the arrays that
they work in, and their results as the store writes them.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from instanter.catalogue.derivation_plan import DerivationPlan
from instanter.catalogue.events import EventKind
from instanter.errors import DamagedError
from instanter.events.wire_tables import make_wire_tables
from instanter.kernels.event_records import (
    EVENT_SIZE_BYTES_MIN,
    HEAD_WORDS,
    ID_SIZE_BYTES,
    PLACE_COLUMNS,
    PLACE_KEY_END,
    count_events,
    index_events,
)
from instanter.kernels.event_requests import BODY_SIZE_BYTES, EVENT_SIZE_BYTES, read_events
from instanter.limits import DERIVED_STATE_SIZE_BYTES_MAX

_ID_KEY_SIZE_BYTES: Final = 16
_ENTRY_SIZE_BYTES_MAX: Final = 48
"""By how much an event makes the state of one derivation longer: head and entry of a new block."""
_RECORD_SIZE_BYTES: Final = 40
"""Of an activity record beside its sections: header, an entry of the table, padding and tail."""


class IndexedEvents(NamedTuple):
    """The events of one record. A tuple, because a frozen dataclass costs 1 µs more to make.

    Attributes
    ----------
    event_count
        Events in it.
    duplicate_count
        Events that were sent with them and had been recorded before.
    is_whole
        Whether the record holds nothing beside.
    ids
        Of each event the key of its id, and its digest as the store has it.
    customer_keys
        Keys of the customers who have an event that something is derived from.
    """

    event_count: int
    duplicate_count: int
    is_whole: bool
    ids: Sequence[tuple[bytes, bytes]]
    customer_keys: Sequence[bytes]


class EventCounter:
    """Counts the events of records by one catalogue. Belongs to one thread.

    Parameters
    ----------
    plan
        The catalogue's derivations.
    kinds
        The kinds whose events are read here when a request is as usual.
    """

    __slots__ = (
        "_body", "_followed", "_head", "_ids", "_indexed", "_keys", "_made", "_out", "_places",
        "_plan", "_size", "_state", "_tables", "_text",
    )  # fmt: skip

    def __init__(self, plan: DerivationPlan, kinds: Iterable[EventKind]) -> None:
        self._plan = plan
        self._tables, self._text = make_wire_tables(kinds)
        self._followed = np.zeros(max(plan.kind_codes, default=0) + 1, np.uint8)
        self._followed[list(plan.kind_codes)] = 1
        self._state = np.zeros(plan.state_words_max, np.int64)
        assert self._state.nbytes <= DERIVED_STATE_SIZE_BYTES_MAX
        self._head = np.zeros(HEAD_WORDS, np.int64)
        self._places = np.zeros((0, PLACE_COLUMNS), np.int64)
        self._size = np.zeros(0, np.int64)
        self._ids = self._keys = self._made = self._out = np.zeros(0, np.uint8)
        self._body = b""
        self._indexed = IndexedEvents(0, 0, True, (), ())

    def read(self, request: bytes, event_count: int, now_ns: int) -> bytes | None:
        """Check the events of a request and make them the body of a record, and index that.

        Parameters
        ----------
        request
            The request on the wire.
        event_count
            Events in it.
        now_ns
            Nanoseconds since 1970: the time of the record.

        Returns
        -------
        bytes or None
            The body; None when anything is wrong with the request, or not as it usually is.
        """
        self._make_room(event_count, len(request))
        longest = BODY_SIZE_BYTES + len(request) + EVENT_SIZE_BYTES * event_count
        if longest > len(self._made):
            self._made = np.empty(longest, np.uint8)
        size = read_events(
            np.frombuffer(request, np.uint8),
            self._tables,
            self._text,
            now_ns,
            self._followed,
            self._made,
            self._head,
            self._places,
            self._ids,
            self._keys,
        )
        if size < 0:
            return None
        body = self._made[:size].tobytes()
        self._note(body, event_count)
        return body

    def index(self, body: bytes) -> IndexedEvents:
        """Find the events in a record's body, unless it is the one that was read or indexed last.

        Raises
        ------
        DamagedError
            It is none of a record of events.
        """
        if body is not self._body:
            self._make_room(len(body) // EVENT_SIZE_BYTES_MIN + 1, len(body))
            count = index_events(
                np.frombuffer(body, np.uint8),
                self._followed,
                self._head,
                self._places,
                self._ids,
                self._keys,
            )
            if count < 0:
                self._body = b""
                raise DamagedError("a record of events in the log holds something else")
            self._note(body, count)
        return self._indexed

    def _make_room(self, event_count: int, size_bytes: int) -> None:
        """Make room to index a body of so many events and bytes; forget what was indexed."""
        self._body = b""
        if event_count > len(self._places):
            self._places = np.zeros((event_count, PLACE_COLUMNS), np.int64)
            self._size = np.zeros(event_count, np.int64)
            self._ids = np.zeros(ID_SIZE_BYTES * event_count, np.uint8)
        # A key is its id, padded to a multiple of 8 bytes.
        longest = size_bytes + 8 * event_count
        if longest > len(self._keys):
            self._keys = np.zeros(longest, np.uint8)

    def _note(self, body: bytes, count: int) -> None:
        """Keep what was found in a body."""
        customers, duplicates, is_whole = self._head.tolist()
        ids = self._ids[: ID_SIZE_BYTES * count].tobytes()
        ends = self._places[:customers, PLACE_KEY_END].tolist()
        keys = self._keys[: ends[-1] if ends else 0].tobytes()
        split = _ID_KEY_SIZE_BYTES
        self._body = body
        self._indexed = IndexedEvents(
            count,
            duplicates,
            bool(is_whole),
            [
                (ids[at : at + split], ids[at + split : at + ID_SIZE_BYTES])
                for at in range(0, len(ids), ID_SIZE_BYTES)
            ],
            [keys[start:end] for start, end in zip([0, *ends], ends, strict=False)],
        )

    def count(self, records: bytes, ends: Sequence[int]) -> list[memoryview | None]:
        """Count the events that were indexed last.

        Parameters
        ----------
        records
            The activity records of the customers, end to end, in the order of their keys; nothing
            of one who has none.
        ends
            Where each ends.

        Returns
        -------
        list of memoryview or None
            Each customer's new record: empty where there is none any more, None where it stays as
            it was, which is also so for a damaged one. The views are valid until the next call.
        """
        plan = self._plan
        indexed = self._indexed
        customers = len(indexed.customer_keys)
        longest = (
            len(records)
            + customers * _RECORD_SIZE_BYTES
            + indexed.event_count * len(plan.plan) * _ENTRY_SIZE_BYTES_MAX
        )
        if longest > len(self._out):
            self._out = np.empty(longest, np.uint8)
        written = count_events(
            np.frombuffer(self._body, np.uint8),
            customers,
            self._places,
            self._keys,
            np.frombuffer(records, np.uint8),
            np.array(ends, np.int64),
            plan.plan,
            plan.f64,
            plan.i32,
            plan.u8,
            plan.program_cut,
            self._state,
            self._out,
            self._size,
        )
        view = self._out.data[:written]
        found: list[memoryview | None] = []
        at = 0
        for size in self._size[:customers].tolist():
            end = at + max(size, 0)
            found.append(view[at:end] if size else None)
            at = end
        return found
