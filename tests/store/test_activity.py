"""Activity records: what goes in comes out, and damage is a state."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.errors import DamagedError
from instanter.store import activity
from instanter.store.activity import CONTACTS, DAMAGED_ACTIVITY, DERIVED, NO_ACTIVITY
from instanter.store.databases import ACTIVITY
from instanter.store.records import key_of
from instanter.store.state import State

ANNA, BERT = key_of("anna"), key_of("bert")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path, writable=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def lasting_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    with State.open(tmp_path_factory.mktemp("state"), writable=True) as opened:
        yield opened


def put(state: State, sections: dict[int, bytes]) -> bytes:
    """Write an activity record and return its bytes."""
    state.write(lambda t: activity.put_activity(t, ANNA, sections))
    with state.read() as transaction:
        return bytes(transaction.get(ACTIVITY, ANNA) or b"")


@given(
    sections=st.dictionaries(
        st.integers(0, 2**32 - 1), st.binary(max_size=40), max_size=activity.SECTIONS_MAX
    )
)
def test_sections_of_any_size_read_back(lasting_state: State, sections: dict[int, bytes]) -> None:
    stored = put(lasting_state, sections)
    assert len(stored) % 8 == 0
    with lasting_state.read() as transaction:
        assert activity.copy_activity(transaction, ANNA) == sections
        assert (activity.load_activity(transaction, ANNA) or {}) == sections
        assert (activity.load_activity(transaction, ANNA) is None) == (not sections)


def test_the_same_sections_make_the_same_bytes_in_whatever_order(state: State) -> None:
    first = put(state, {CONTACTS: b"contacts", DERIVED: b"derived"})
    assert put(state, {DERIVED: b"derived", CONTACTS: b"contacts"}) == first


def test_a_customer_without_activity_has_no_sections(state: State) -> None:
    with state.read() as transaction:
        assert activity.copy_activity(transaction, ANNA) is NO_ACTIVITY
        assert activity.load_activity(transaction, ANNA) is None
    put(state, {DERIVED: b"state"})
    assert state.write(lambda t: activity.delete_activity(t, ANNA))
    assert not state.write(lambda t: activity.delete_activity(t, ANNA))
    with state.read() as transaction:
        assert activity.copy_activity(transaction, ANNA) is NO_ACTIVITY


def test_a_record_with_any_bit_flipped_is_damaged(state: State) -> None:
    good = put(state, {CONTACTS: b"many contacts", DERIVED: b""})
    for bit in range(8 * len(good)):
        wrong = bytearray(good)
        wrong[bit >> 3] ^= 1 << (bit & 7)
        state.write(lambda t, wrong=wrong: t.put(ACTIVITY, ANNA, bytes(wrong)))
        with state.read() as transaction:
            assert activity.copy_activity(transaction, ANNA) is DAMAGED_ACTIVITY
    with state.read() as transaction, pytest.raises(DamagedError, match="'anna' is damaged"):
        activity.load_activity(transaction, ANNA)


@pytest.mark.parametrize("size", [1, 8, 16, 23, 24, 31])
def test_a_record_that_is_cut_off_or_of_another_customer_is_damaged(
    state: State, size: int
) -> None:
    good = put(state, {CONTACTS: b"many contacts"})
    state.write(lambda t: t.put(ACTIVITY, ANNA, good[:size]))
    state.write(lambda t: t.put(ACTIVITY, BERT, good))
    with state.read() as transaction:
        assert activity.copy_activity(transaction, ANNA) is DAMAGED_ACTIVITY
        assert activity.copy_activity(transaction, BERT) is DAMAGED_ACTIVITY
