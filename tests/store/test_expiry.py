"""Expiry: a queue goes on where it was, looks at nothing twice, and follows the clock back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from instanter.store.databases import DECISIONS
from instanter.store.decision_index import DECISION_QUEUE, expire_key
from instanter.store.event_ids import EVENT_ID_QUEUE, event_id_key, put_event_ids
from instanter.store.expiry import HOUR_NS, ExpiryQueue, drop_expired
from instanter.store.history import HISTORY_QUEUE, keep_profile
from instanter.store.records import RecordHeader, encode_record, key_of
from instanter.store.state import State
from instanter.store.transaction import Transaction

Put = Callable[[Transaction, int, int], None]
HOUR_S = HOUR_NS // 1_000_000_000


def put_ids(transaction: Transaction, number: int, hour: int) -> None:
    ids = [(event_id_key(str(number)), bytes(16))]
    put_event_ids(transaction, ids, sequence=number, until_ns=hour * HOUR_NS)


def put_history(transaction: Transaction, number: int, hour: int) -> None:
    key = key_of(f"c{number}")
    header = RecordHeader(2, 1, 1, 0, 0)
    record = bytes(encode_record(key, header, np.zeros(2, np.uint32)))
    keep_profile(transaction, key, record, hour * HOUR_S)


def put_turn(transaction: Transaction, number: int, hour: int) -> None:
    key = number.to_bytes(16, "big")
    transaction.put(DECISIONS, key, b"anything")
    expire_key(transaction, DECISIONS, key, hour)


QUEUES = pytest.mark.parametrize(
    ("queue", "put"),
    [(EVENT_ID_QUEUE, put_ids), (HISTORY_QUEUE, put_history), (DECISION_QUEUE, put_turn)],
    ids=["event ids", "history", "decisions"],
)


@dataclass
class Watched:
    """A transaction that notes where its scans begin."""

    inner: Transaction
    starts: list[bytes] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def scan(
        self, database: Any, start: bytes = b"", *, after: bool = False
    ) -> Iterator[tuple[bytes, memoryview]]:
        self.starts.append(start)
        return self.inner.scan(database, start, after=after)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path, writable=True) as opened:
        yield opened


def drop(
    state: State, queue: ExpiryQueue, now_ns: int, limit: int = 100
) -> tuple[int, list[bytes]]:
    """Return how many keys went, and where scans began."""
    watched: list[Watched] = []

    def change(transaction: Transaction) -> int:
        watched.append(Watched(transaction))
        return drop_expired(cast("Transaction", watched[-1]), queue, now_ns, limit)

    return state.write(change), watched[-1].starts


@QUEUES
def test_a_step_never_walks_over_what_an_earlier_one_dropped(
    state: State, queue: ExpiryQueue, put: Put
) -> None:
    def fill(transaction: Transaction) -> None:
        for number in range(10):
            put(transaction, number, 10 + number // 5)

    state.write(fill)
    with state.read() as transaction:
        entries = [entry for entry, _ in transaction.scan(queue.entries)]
    steps = [drop(state, queue, 11 * HOUR_NS, limit=3) for _ in range(4)]
    assert [count for count, _ in steps] == [3, 3, 3, 1]
    assert [starts for _, starts in steps] == [[b""], [entries[2]], [entries[5]], [entries[8]]]
    with state.read() as transaction:
        assert transaction.count(queue.entries) == 0


@QUEUES
def test_an_hour_that_is_done_with_is_not_looked_at_again(
    state: State, queue: ExpiryQueue, put: Put
) -> None:
    state.write(lambda transaction: put(transaction, 1, 12))
    assert drop(state, queue, 11 * HOUR_NS)[1] == [b""]
    assert drop(state, queue, 12 * HOUR_NS - 1) == (0, [])
    state.fold()
    state.rebuild(lambda _: None)
    assert drop(state, queue, 12 * HOUR_NS - 1) == (0, [])
    assert drop(state, queue, 12 * HOUR_NS)[0] == 1


@QUEUES
def test_what_is_put_after_the_clock_was_put_back_goes_in_its_own_time(
    state: State, queue: ExpiryQueue, put: Put
) -> None:
    state.write(lambda transaction: put(transaction, 1, 90))
    assert drop(state, queue, 100 * HOUR_NS)[0] == 1
    state.write(lambda transaction: put(transaction, 2, 50))
    assert drop(state, queue, 40 * HOUR_NS)[0] == 0
    assert drop(state, queue, 50 * HOUR_NS - 1)[0] == 0
    assert drop(state, queue, 50 * HOUR_NS)[0] == 1
