"""Rows that are held in memory: what a fold takes of them, and until when."""

import threading
import time
from pathlib import Path

import pytest

from instanter.errors import UnavailableError
from instanter.store import held_rows
from instanter.store.databases import DATABASES, EVENT_IDS, PROFILES, TRANSACTIONS
from instanter.store.held_rows import HeldRows, make_layer
from instanter.store.state import State


def publish(held: HeldRows, sequence: int, **values: bytes) -> None:
    written = make_layer()
    written[TRANSACTIONS.index].update({key.encode(): value for key, value in values.items()})
    held.publish(written, sequence)


def take(held: HeldRows, sequence: int) -> dict[str, bytes]:
    return {
        key.decode(): value
        for index, rows in held.take(sequence)
        for key, value in rows
        if index == TRANSACTIONS.index
    }


def test_what_has_no_order_is_held_and_nothing_that_others_read() -> None:
    assert {each.name for each in DATABASES if each.is_held} == {
        "event_ids",
        "fraud_states",
        "transactions",
    }
    assert set(make_layer()) >= {EVENT_IDS.index}
    assert PROFILES.index not in make_layer()


def test_a_fold_waits_for_what_is_committed_and_not_told_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = HeldRows()
    publish(held, 1, a=b"1")
    held.begin_fold()

    def tell_late() -> None:
        time.sleep(0.05)
        publish(held, 2, a=b"2", b=b"2")

    teller = threading.Thread(target=tell_late)
    teller.start()
    assert take(held, 2) == {"a": b"2", "b": b"2"}
    teller.join()
    monkeypatch.setattr(held_rows, "_ATTEMPTS_MAX", 3)
    held.begin_fold()
    with pytest.raises(UnavailableError, match="record 3 "):
        held.take(3)
    # The next fold has everything.
    publish(held, 3, c=b"3")
    held.begin_fold()
    assert take(held, 3) == {"a": b"2", "b": b"2", "c": b"3"}


def test_what_a_fold_has_taken_is_dropped_when_it_is_in_the_base_and_not_before() -> None:
    held = HeldRows()
    publish(held, 1, a=b"1", b=b"1")
    held.begin_fold()
    assert held.drop(1, 10), "a fold before this one has nothing left"
    assert len(held) == 2
    assert len(take(held, 1)) == 2
    assert held.drop(0, 10)
    assert len(held) == 2
    publish(held, 2, a=b"2")
    assert not held.drop(1, 1)
    assert held.drop(1, 1)
    assert len(held) == 1
    held.begin_fold()
    assert take(held, 2) == {"a": b"2"}


def test_what_only_reads_writes_no_row_that_is_held(tmp_path: Path) -> None:
    with State.open(tmp_path, writable=True) as state, state.read() as transaction:
        with pytest.raises(AssertionError, match="only reads"):
            transaction.put_each(TRANSACTIONS, [(b"a", b"1")])
        assert transaction.is_empty(TRANSACTIONS)


def test_a_fold_takes_pieces_that_are_small() -> None:
    held = HeldRows()
    publish(held, 1, **{f"k{number}": b"v" for number in range(1_203)})
    held.begin_fold()
    sizes = [len(rows) for _, rows in held.take(1)]
    assert sizes == [500, 500, 203]
