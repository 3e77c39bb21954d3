"""Profiles as they were: kept as long as asked for, and never mistaken for one another."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from instanter.errors import DamagedError
from instanter.store import history, profiles
from instanter.store.activity import put_activity
from instanter.store.databases import HISTORY_EXPIRY, META, PROFILE_HISTORY, PROFILES
from instanter.store.expiry import HOUR_NS, drop_expired
from instanter.store.records import Profile, key_of
from instanter.store.state import State

ANNA = key_of("anna")
S_NS = 1_000_000_000
HOUR = HOUR_NS // S_NS


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path, writable=True) as opened:
        yield opened


def put(state: State, value: int, until_s: int | None, key: bytes = ANNA) -> Profile:
    slots = np.full(4, value, np.uint32)
    return state.write(
        lambda t: profiles.put_profile(
            t, key, slots, schema_revision=1, now_ms=value, keep_until_s=until_s
        )
    )


def kept(state: State, revision: int, key: bytes = ANNA) -> int | None:
    """Return the value that a profile had at a revision."""
    with state.read() as transaction:
        profile = history.load_kept_profile(transaction, key, revision, 4)
    if profile is None:
        return None
    assert profile.revision == revision
    assert len(set(profile.slots.tolist())) == 1
    return int(profile.slots[0])


def drop(state: State, now_s: int, limit: int = 1000) -> int:
    return state.write(lambda t: drop_expired(t, history.HISTORY_QUEUE, now_s * S_NS, limit))


def is_gone(state: State) -> bool:
    with state.read() as transaction:
        return transaction.count(PROFILE_HISTORY) == transaction.count(HISTORY_EXPIRY) == 0


def test_what_is_overwritten_or_deleted_is_found_again_by_its_revision(state: State) -> None:
    for value in (10, 20, 30):
        put(state, value, HOUR)
    state.write(lambda t: profiles.delete_profile(t, ANNA, keep_until_s=HOUR))
    assert [kept(state, revision) for revision in range(5)] == [None, 10, 20, 30, None]


def test_a_block_keeps_what_it_overwrites_of_customers_with_activity(state: State) -> None:
    keys = [key_of("anna"), key_of("bert")]
    put(state, 10, None)
    state.write(lambda t: put_activity(t, ANNA, {1: b"a contact"}))
    for value in (20, 30):
        state.write(
            lambda t, value=value: profiles.put_block(
                t,
                keys,
                np.full((2, 4), value, np.uint32),
                schema_revision=1,
                now_ms=1,
                keep_until_s=HOUR,
            )
        )
    assert [kept(state, revision) for revision in (1, 2, 3)] == [10, 20, None]
    assert [kept(state, revision, keys[1]) for revision in (1, 2)] == [None, None]


@pytest.mark.parametrize("other", ["a", "anna\u00e4", "annabellannabell", "annb"])
def test_a_profile_made_anew_goes_on_from_the_last_revision_that_is_kept(
    state: State, other: str
) -> None:
    # Ids that are the beginning of others: their entries are neighbours.
    for key in (key_of(other), key_of("annabell")):
        put(state, 1, HOUR, key)
        put(state, 2, HOUR, key)
        state.write(lambda t, key=key: profiles.delete_profile(t, key, keep_until_s=HOUR))
        assert put(state, 3, HOUR, key).revision == 3
        state.write(lambda t, key=key: profiles.delete_profile(t, key, keep_until_s=HOUR))
    made = state.write(
        lambda t: profiles.put_block(
            t,
            [key_of(other), key_of("new")],
            np.zeros((2, 4), np.uint32),
            schema_revision=1,
            now_ms=1,
        )
    )
    assert made.created_count == 2
    with state.read() as transaction:
        revisions = [
            profiles.load_profile(transaction, key_of(name), 4).revision for name in (other, "new")
        ]
    assert revisions == [4, 1]


def test_what_has_expired_goes_the_oldest_first_and_nothing_too_soon(state: State) -> None:
    for value in range(1, 6):
        put(state, value, value * HOUR)
    assert drop(state, 2 * HOUR - 1) == 0
    # The first write keeps nothing, so revision 1 is kept until hour 2.
    assert drop(state, 2 * HOUR) == 1
    assert [kept(state, revision) for revision in (1, 2)] == [None, 2]
    assert drop(state, 100 * HOUR, limit=2) == 2
    assert [kept(state, revision) for revision in (2, 3, 4)] == [None, None, 4]
    fold = state.fold()
    assert state.purge(fold, 1000)
    put(state, 6, 100 * HOUR + 1)
    assert drop(state, 101 * HOUR - 1, limit=2) == 1
    assert kept(state, 5) == 5
    assert drop(state, 101 * HOUR) == 1
    assert is_gone(state)


def test_a_damaged_note_of_what_was_dropped_only_costs_time(state: State) -> None:
    put(state, 1, HOUR)
    put(state, 2, 2 * HOUR)
    put(state, 3, 5 * HOUR)
    assert drop(state, 2 * HOUR) == 1
    with state.read() as transaction:
        (note,) = [key for key, _ in transaction.scan(META) if key.startswith(b"history")]
    state.write(lambda t: t.put(META, note, b"damaged!"))
    assert drop(state, 5 * HOUR) == 1
    assert is_gone(state)


def test_a_record_under_another_revision_is_not_served(state: State) -> None:
    put(state, 1, HOUR)
    put(state, 2, HOUR)

    def misplace(transaction: object) -> None:
        record = bytes(transaction.get(PROFILE_HISTORY, history._key(ANNA, 1)))
        transaction.put(PROFILE_HISTORY, history._key(ANNA, 7), record)

    state.write(misplace)
    with pytest.raises(DamagedError, match="revision 7 of the profile of customer 'anna'"):
        kept(state, 7)


def test_a_damaged_profile_is_not_kept(state: State) -> None:
    put(state, 1, HOUR)
    state.write(lambda t: t.put(PROFILES, ANNA, b"damaged!"))
    assert put(state, 2, HOUR).revision == 1
    state.write(lambda t: t.put(PROFILES, ANNA, b"damaged!"))
    assert state.write(lambda t: profiles.delete_profile(t, ANNA, keep_until_s=HOUR))
    assert is_gone(state)
