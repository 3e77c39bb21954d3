"""When workers are woken for new alerts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from instanter.rpc.alert_wakes import AlertWaker, read_wake
from instanter.store.databases import STOCK_ALERT_LOG
from instanter.store.state import State
from instanter.store.stock_alert_log import append_transitions


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path / "store", writable=True) as opened:
        yield opened


def append(state: State, record: int) -> None:
    state.write(
        lambda transaction: append_transitions(transaction, record, 0, [b"told"]), sequence=record
    )


def test_workers_are_woken_only_when_there_is_something_to_tell(state: State) -> None:
    told: list[int] = []
    waker = AlertWaker(state, lambda body: told.append(read_wake(body)))
    waker.note_synced(1)
    assert told == []
    append(state, 2)
    waker.note_synced(3)
    waker.note_synced(4)
    assert told == [3]
    assert read_wake(waker.describe()) == 4, "who connects now hears of now"


def test_what_was_applied_before_it_was_on_disk_wakes_when_it_is(state: State) -> None:
    told: list[int] = []
    waker = AlertWaker(state, lambda body: told.append(read_wake(body)))
    append(state, 5)
    waker.note_synced(4)
    waker.note_synced(5)
    waker.note_synced(6)
    assert told[-1] == 5
    state.write(lambda transaction: transaction.put(STOCK_ALERT_LOG, (1).to_bytes(8, "big"), b"x"))
    waker.note_synced(7)
    assert told[-1] == 7, "nobody knows whose it was"
