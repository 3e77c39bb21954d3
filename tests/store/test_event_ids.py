"""Event ids: remembered, found with their content, forgotten in bounded steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instanter.errors import DamagedError
from instanter.store.databases import (
    EVENT_ID_EXPIRY,
    EVENT_IDS,
    META,
    META_KEY_EVENT_IDS_EXPIRED,
    Database,
)
from instanter.store.event_ids import (
    EVENT_ID_QUEUE,
    event_id_key,
    find_event_digest,
    put_event_ids,
)
from instanter.store.expiry import HOUR_NS, drop_expired
from instanter.store.state import State
from instanter.store.transaction import Transaction

DIGEST = bytes(range(16))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State.open(tmp_path / "store", writable=True, fresh_overlay=True)
    yield opened
    opened.close()


def put(transaction: Transaction, record: int, count: int, hour: int) -> None:
    ids = [(event_id_key(f"{record}-{n}"), DIGEST) for n in range(count)]
    put_event_ids(transaction, ids, sequence=record, until_ns=hour * HOUR_NS)


def counts(state: State) -> tuple[int, int]:
    with state.read() as transaction:
        return transaction.count(EVENT_IDS), transaction.count(EVENT_ID_EXPIRY)


def drop(state: State, now_ns: int, limit: int = 1_000) -> int:
    return state.write(lambda t: drop_expired(t, EVENT_ID_QUEUE, now_ns, limit))


def damage(state: State, database: Database, key: bytes) -> None:
    def flip(transaction: Any) -> None:
        value = bytearray(transaction.get(database, key))
        value[-1] ^= 1
        transaction.put(database, key, bytes(value))

    state.write(flip)


def test_an_id_is_found_with_its_digest_until_it_is_dropped(state: State) -> None:
    state.write(lambda transaction: put(transaction, 1, 3, hour=10))
    with state.read() as transaction:
        assert find_event_digest(transaction, event_id_key("1-2")) == DIGEST
        assert find_event_digest(transaction, event_id_key("1-3")) is None
    assert drop(state, 10 * HOUR_NS - 1) == 0
    assert counts(state) == (3, 1)
    assert drop(state, 10 * HOUR_NS) == 3
    assert counts(state) == (0, 0)


def test_what_is_kept_until_within_an_hour_stays_to_its_end(state: State) -> None:
    def keep(transaction: Transaction) -> None:
        ids = [(event_id_key("a"), DIGEST)]
        put_event_ids(transaction, ids, sequence=1, until_ns=10 * HOUR_NS + 1)

    state.write(keep)
    assert drop(state, 11 * HOUR_NS - 1) == 0
    assert drop(state, 11 * HOUR_NS) == 1


def test_ids_are_dropped_in_bounded_steps_and_each_goes_on_where_the_last_ended(
    state: State,
) -> None:
    def keep(transaction: Transaction) -> None:
        for record in range(30):
            put(transaction, record, 4, hour=10 + record % 3)

    state.write(keep)
    dropped = [drop(state, 11 * HOUR_NS, limit=10) for _ in range(8)]
    assert dropped == [12, 12, 12, 12, 12, 12, 8, 0]
    assert counts(state) == (40, 10)
    state.fold()
    assert drop(state, 100 * HOUR_NS) == 40
    assert counts(state) == (0, 0)


def test_what_is_kept_longer_and_what_is_kept_shorter_do_not_wait_for_one_another(
    state: State,
) -> None:
    def keep(transaction: Transaction) -> None:
        for record in range(4):
            put(transaction, record, 2, hour=10 + record)
            put(transaction, 100 + record, 3, hour=700 + record)

    state.write(keep)
    assert [drop(state, hour * HOUR_NS) for hour in (10, 11)] == [2, 2]
    state.write(lambda transaction: put(transaction, 9, 2, hour=13))
    assert [drop(state, hour * HOUR_NS, limit=1) for hour in (13, 13, 13, 699)] == [2, 2, 2, 0]
    assert counts(state) == (12, 4)
    assert [drop(state, hour * HOUR_NS) for hour in (700, 702, 703)] == [3, 6, 3]
    assert counts(state) == (0, 0)


def test_damaged_bytes_are_never_taken_for_a_digest(state: State) -> None:
    state.write(lambda transaction: put(transaction, 1, 2, hour=10))
    damage(state, EVENT_IDS, event_id_key("1-0"))
    with state.read() as transaction, pytest.raises(DamagedError):
        find_event_digest(transaction, event_id_key("1-0"))
    assert drop(state, 10 * HOUR_NS) == 2


def test_a_damaged_entry_of_expiry_holds_nothing_up(state: State) -> None:
    def keep(transaction: Transaction) -> None:
        for record in range(3):
            put(transaction, record, 2, hour=10)

    state.write(keep)
    with state.read() as transaction:
        (first, _), *_ = list(transaction.scan(EVENT_ID_EXPIRY))
    damage(state, EVENT_ID_EXPIRY, first)
    assert drop(state, 10 * HOUR_NS) == 4
    assert counts(state) == (2, 0)
    damage(state, META, META_KEY_EVENT_IDS_EXPIRED)
    state.write(lambda transaction: put(transaction, 7, 2, hour=12))
    assert drop(state, 12 * HOUR_NS) == 2
