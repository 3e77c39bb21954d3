"""What a purge takes out of the overlay, in which order and how much of it at once."""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from instanter.store.databases import (
    ACTIVITY,
    DATABASES,
    META,
    META_KEY_APPLIED,
    PROFILES,
    Database,
    meta_key,
)
from instanter.store.environment import Environment
from instanter.store.records import seal
from instanter.store.state import State
from instanter.store.transaction import Handles

PAGES_MAX = 1_000
"""Pages of a database that are emptied at once."""

KEYS = [b"key%05d" % number for number in range(3_000)]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path, writable=True) as opened:
        yield opened


def put(state: State, keys: list[bytes], value: bytes, database: Database = ACTIVITY) -> None:
    rows = [(key, key + value) for key in keys]
    state.write(lambda transaction: transaction.put_each(database, rows))


def read(state: State, *, database: Database = ACTIVITY) -> dict[bytes, bytes]:
    with state.read() as transaction:
        return {key: bytes(value) for key, value in transaction.scan(database)}


def overlay_keys(state: State, database: Database = ACTIVITY) -> list[bytes]:
    """Return what the overlay alone holds of a database."""
    # A process may have an environment open only once.
    assert state._overlay is not None
    with state._overlay.read() as transaction:
        return [key for key, _ in transaction.scan(database)]


@pytest.mark.parametrize("limit", [1, 97, 1_000])
@pytest.mark.parametrize("size_bytes", [8, 600, 5_000])
def test_all_that_was_folded_goes_step_by_step_but_what_was_written_since(
    state: State, limit: int, size_bytes: int
) -> None:
    chosen = random.Random(limit + size_bytes)
    keys = KEYS[: 300 if limit == 1 else None]
    old, new = b"o" * size_bytes, b"n" * size_bytes
    put(state, chosen.sample(keys, len(keys)), old)
    fold = state.fold()
    # Whole pages of them, and single ones.
    again = {*keys[40:140], *chosen.sample(keys, len(keys) // 10)}
    put(state, sorted(again), new)
    expected = {key: key + (new if key in again else old) for key in keys}
    steps = 0
    before = len(keys)
    while True:
        done = state.purge(fold, limit)
        steps += 1
        left = len(overlay_keys(state)) if steps % 50 == 0 or done else before
        assert left >= before - limit * 50
        before = left
        if steps % 50 == 0 or done:
            assert read(state) == expected
        if done:
            break
    assert steps >= len(keys) / limit
    assert overlay_keys(state) == sorted(again)
    assert state.changed_count == len(again)
    assert state.purge(fold, limit), "nothing is left to do"
    last = state.fold()
    assert last.entry_count == len(again)
    while not state.purge(last, limit):
        pass
    assert (overlay_keys(state), state.changed_count) == ([], 0)
    assert read(state) == expected


def test_what_is_written_between_two_steps_stays(state: State) -> None:
    put(state, KEYS[:100], b"old")
    fold = state.fold()
    put(state, KEYS[:1], b"new")
    assert not state.purge(fold, 50)
    # Before the place where the purge stands, at it, and behind it; known keys and new ones.
    put(state, [KEYS[10], KEYS[50], KEYS[90], KEYS[10] + b"0", KEYS[90] + b"0"], b"new")
    state.write(lambda transaction: transaction.delete(ACTIVITY, KEYS[95]))
    expected = read(state)
    while not state.purge(fold, 50):
        pass
    kept = [KEYS[0], KEYS[10], KEYS[10] + b"0", KEYS[50], KEYS[90], KEYS[90] + b"0", KEYS[95]]
    assert overlay_keys(state) == kept
    assert state.changed_count == len(kept)
    assert read(state) == expected
    assert KEYS[95] not in expected


def test_a_database_that_nobody_has_changed_is_emptied_in_one_step(state: State) -> None:
    put(state, KEYS[:99], b"old")
    put(state, KEYS[:50], b"old", PROFILES)
    fold = state.fold()
    put(state, KEYS[:1], b"new", PROFILES)
    while overlay_keys(state):
        assert len(overlay_keys(state)) == 99, "all or nothing"
        state.purge(fold, 10)
    assert state.purge(fold, 10)
    assert overlay_keys(state, PROFILES) == KEYS[:1]
    assert state.changed_count == 1


def test_a_large_one_is_emptied_at_once_when_little_is_left(state: State) -> None:
    count = PAGES_MAX + 500
    put(state, KEYS[:count], bytes(3_000))
    fold = state.fold()
    lefts = [count]
    while not state.purge(fold, 100):
        lefts.append(len(overlay_keys(state)))
    *_, last = (left for left in lefts if left)
    assert {before - after for before, after in pairwise(lefts[1 : lefts.index(last)])} == {100}
    assert PAGES_MAX * 0.8 < last <= PAGES_MAX + 100
    assert (overlay_keys(state), state.changed_count) == ([], 0)


def test_what_was_in_the_overlay_when_it_was_opened_is_purged_too(tmp_path: Path) -> None:
    with State.open(tmp_path, writable=True) as state:
        put(state, KEYS[:20], b"old")
    with State.open(tmp_path, writable=True) as state:
        fold = state.fold()
        put(state, KEYS[:1], b"new")
        while not state.purge(fold, 3):
            pass
        assert overlay_keys(state) == KEYS[:1]
        assert len(read(state)) == 20


def test_a_purge_that_fails_is_taken_up_again(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raw = Environment.write_raw

    def fail(environment: Environment, change: Callable[[Any, Handles], Any]) -> None:
        def fail_at_the_end(raw: Any, handles: Handles) -> None:
            change(raw, handles)
            raise ZeroDivisionError

        write_raw(environment, fail_at_the_end)

    put(state, KEYS[:20], b"old")
    fold = state.fold()
    put(state, KEYS[:1], b"new")
    assert not state.purge(fold, 10)
    left = overlay_keys(state)
    assert 1 < len(left) < 20
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "write_raw", fail)
        with pytest.raises(ZeroDivisionError):
            state.purge(fold, 10)
    assert overlay_keys(state) == left
    while not state.purge(fold, 10):
        pass
    assert overlay_keys(state) == KEYS[:1]
    assert state.changed_count == 1


def test_what_says_what_the_overlay_is_stays_in_it(state: State) -> None:
    key = meta_key("tick")
    state.write(lambda t: t.put(META, key, seal(key, b"7")), sequence=4)
    before = overlay_keys(state, META)
    assert {key, META_KEY_APPLIED} <= set(before)
    fold = state.fold()
    while not state.purge(fold, 2):
        pass
    assert overlay_keys(state, META) == [each for each in before if each != key]
    assert state.applied_sequence() == 4
    assert all(not overlay_keys(state, each) for each in DATABASES if each is not META)
