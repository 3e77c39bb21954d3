"""What the stock side keeps: read back as written, in order, and never believed when damaged."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from instanter.errors import DamagedError
from instanter.store.arm_figures import add_figures, count_presented
from instanter.store.databases import (
    ARM_FIGURES,
    META,
    STOCK_ALERT_LOG,
    STOCK_ALERTS,
    STOCK_DUE,
    STOCK_POSITIONS,
    STOCK_PROFILES,
    Database,
    meta_key,
)
from instanter.store.state import State
from instanter.store.stock_alert_log import (
    NO_TRANSITIONS,
    LoggedTransition,
    append_transitions,
    drop_transitions,
    has_older,
    load_extent,
    load_transition,
    load_transitions,
)
from instanter.store.stock_alerts import delete_alert, find_alert, put_alert, scan_alerts
from instanter.store.stock_positions import (
    HEAD_WORDS,
    Rows,
    delete_due,
    load_due,
    load_positions,
    load_profiles,
    load_swept,
    position_key,
    put_due,
    put_positions,
    put_profiles,
    put_swept,
    scan_positions,
    site_key,
    split_key,
)
from instanter.store.transaction import Transaction

WORDS = 6


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path, writable=True) as opened:
        yield opened


def damage(state: State, database: Database, key: bytes) -> None:
    """Flip a bit of one value."""

    def change(transaction: Transaction) -> None:
        value = bytes(transaction.get(database, key) or b"")
        transaction.put(database, key, value[:9] + bytes((value[9] ^ 4,)) + value[10:])

    state.write(change)


# --- Positions ----------------------------------------------------------------------------------

NAMES = ["a", "ab", "abcdefg", "abcdefgh", "abcdefghi", "h", "ijklmnop", "abcdefghijklmnop"]


def test_every_position_has_a_key_of_its_own_in_the_order_of_the_names() -> None:
    positions = list(itertools.product(NAMES, NAMES))
    keys = {position_key(*position): position for position in positions}
    assert len(keys) == len(positions)
    assert [keys[key] for key in sorted(keys)] == sorted(positions)
    for key, position in keys.items():
        assert len(key) % 8 == 0
        assert split_key(key) == position


def test_no_site_begins_as_another() -> None:
    for one, other in itertools.permutations(NAMES, 2):
        assert not position_key(other, "x").startswith(site_key(one))


def fill(rows: Rows, value: int) -> Rows:
    rows.words[:] = value + np.arange(rows.words.size).reshape(rows.words.shape)
    return rows


def test_rows_are_read_as_they_were_written_and_new_ones_are_0(state: State) -> None:
    keys = [position_key(site, "tea") for site in NAMES]

    def change(transaction: Transaction) -> None:
        rows = load_positions(transaction, keys[:5], WORDS)
        assert not rows.words.any()
        put_positions(transaction, fill(rows, 7))

    state.write(change)
    with state.read() as transaction:
        rows = load_positions(transaction, keys, WORDS)
        assert rows.words.shape == (len(keys), HEAD_WORDS + WORDS)
        assert rows.words.ravel()[: 5 * rows.words.shape[1]].tolist() == list(range(7, 57))
        assert not rows.words[5:].any()
        assert rows.damaged == ()
        rows.check()
        assert list(scan_positions(transaction, b"")) == sorted(keys[:5])
        assert list(scan_positions(transaction, keys[1], after=True)) == sorted(keys[2:5])


def test_only_what_has_changed_is_written(state: State) -> None:
    keys = [position_key("site", unit) for unit in "abc"]

    def change(transaction: Transaction) -> None:
        rows = load_positions(transaction, keys, WORDS)
        rows.words[1] = 5
        put_positions(transaction, rows)

    state.write(change)
    with state.read() as transaction:
        assert transaction.count(STOCK_POSITIONS) == 1
        assert load_positions(transaction, keys, WORDS).words[:, 0].tolist() == [0, 5, 0]


def test_a_damaged_position_is_told_and_never_written(state: State) -> None:
    keys = [position_key("site", unit) for unit in "abc"]
    state.write(lambda t: put_positions(t, fill(load_positions(t, keys, WORDS), 1)))
    damage(state, STOCK_POSITIONS, keys[1])
    with state.read() as transaction:
        before = bytes(transaction.get(STOCK_POSITIONS, keys[1]) or b"")

    def change(transaction: Transaction) -> None:
        rows = load_positions(transaction, keys, WORDS)
        assert rows.damaged == (1,)
        assert not rows.words[1].any()
        with pytest.raises(DamagedError, match=keys[1].hex()):
            rows.check()
        put_positions(transaction, fill(rows, 100))

    state.write(change)
    with state.read() as transaction:
        assert bytes(transaction.get(STOCK_POSITIONS, keys[1]) or b"") == before
        assert load_positions(transaction, keys[:1], WORDS).words[0, 0] == 100


def test_a_position_of_another_size_is_damaged(state: State) -> None:
    key = position_key("site", "tea")
    state.write(lambda t: put_positions(t, fill(load_positions(t, [key], WORDS), 1)))
    with state.read() as transaction:
        assert load_positions(transaction, [key], WORDS + 2).damaged == (0,)


def test_a_damaged_profile_begins_anew(state: State) -> None:
    key = site_key("site")
    state.write(lambda t: put_profiles(t, fill(load_profiles(t, [key], WORDS), 1)))
    damage(state, STOCK_PROFILES, key)
    with state.read() as transaction:
        assert not load_profiles(transaction, [key], WORDS).words.any()
    state.write(lambda t: put_profiles(t, fill(load_profiles(t, [key], WORDS), 3)))
    with state.read() as transaction:
        assert load_profiles(transaction, [key], WORDS).words[0, 0] == 3
    assert state.verify().is_sound


# --- When to look again -------------------------------------------------------------------------


def test_positions_are_due_in_the_order_of_their_times(state: State) -> None:
    keys = [position_key("site", unit) for unit in "abcd"]

    def change(transaction: Transaction) -> None:
        for due_ms, key in zip((300, 100, 200, 2**40), keys, strict=True):
            put_due(transaction, due_ms, key)

    state.write(change)
    with state.read() as transaction:
        assert load_due(transaction, 99, 10) == []
        assert load_due(transaction, 200, 10) == [(100, keys[1]), (200, keys[2])]
        assert load_due(transaction, 2**39, 2) == [(100, keys[1]), (200, keys[2])]
    state.write(lambda t: delete_due(t, 100, keys[1]))
    with state.read() as transaction:
        assert load_due(transaction, 2**41, 9)[0] == (200, keys[2])
        assert transaction.count(STOCK_DUE) == 3


def test_how_far_all_were_looked_through_is_read_as_written(state: State) -> None:
    with state.read() as transaction:
        assert load_swept(transaction) == (0, b"")
    key = position_key("site", "tea")
    for note in ((7, key), (7, b""), (8, key)):
        state.write(lambda t, n=note: put_swept(t, *n))  # type: ignore[misc]
        with state.read() as transaction:
            assert load_swept(transaction) == note
    damage(state, META, meta_key("stock_swept"))
    with state.read() as transaction:
        assert load_swept(transaction) == (0, b"")


# --- Alerts -------------------------------------------------------------------------------------


def test_open_alerts_are_scanned_by_number_and_damaged_ones_told(state: State) -> None:
    for number in (3, 70_000, 300):
        state.write(lambda t, n=number: put_alert(t, n, b"%d" % n))  # type: ignore[misc]
    with state.read() as transaction:
        assert list(scan_alerts(transaction, 0)) == [
            (3, b"3"),
            (300, b"300"),
            (70_000, b"70000"),
        ]
        assert [number for number, _ in scan_alerts(transaction, 3)] == [300, 70_000]
        assert find_alert(transaction, 300) == b"300"
        assert find_alert(transaction, 4) is None
    damage(state, STOCK_ALERTS, (300).to_bytes(8, "big"))
    with state.read() as transaction:
        assert [packed for _, packed in scan_alerts(transaction, 0)] == [b"3", None, b"70000"]
        with pytest.raises(DamagedError):
            find_alert(transaction, 300)
    state.write(lambda t: delete_alert(t, 300))
    with state.read() as transaction:
        assert find_alert(transaction, 300) is None


def test_transitions_are_numbered_without_a_gap_whatever_was_dropped(state: State) -> None:
    with state.read() as transaction:
        assert load_extent(transaction) == NO_TRANSITIONS
        assert load_transitions(transaction, 0, 10) == []
        assert not has_older(transaction, 2**60)
    for record, time_ns in enumerate((10, 20, 20, 30), start=100):
        packed = [b"%d.%d" % (record, n) for n in range(3)]
        extent = state.write(
            lambda t, r=record, s=time_ns, p=packed: append_transitions(t, r, s, p)  # type: ignore[misc]
        )
        assert extent == (1, 3 * (record - 99))
    with state.read() as transaction:
        rows = load_transitions(transaction, 0, 100)
        assert [row.sequence for row in rows] == list(range(1, 13))
        assert rows[4] == LoggedTransition(5, 101, 20, b"101.1")
        assert load_transitions(transaction, 4, 2) == rows[4:6]
        assert load_transitions(transaction, 12, 2) == []
        assert not has_older(transaction, 10)
        assert has_older(transaction, 11)
    assert state.write(lambda t: drop_transitions(t, 30, 4)) == 4
    assert state.write(lambda t: drop_transitions(t, 20, 100)) == 0
    assert state.write(lambda t: drop_transitions(t, 2**60, 100)) == 8
    with state.read() as transaction:
        assert load_extent(transaction) == (13, 12)
        assert load_transitions(transaction, 0, 10) == []
    assert state.write(lambda t: append_transitions(t, 104, 40, [b"next"])) == (13, 13)
    with state.read() as transaction:
        assert load_transitions(transaction, 3, 10) == [LoggedTransition(13, 104, 40, b"next")]
        assert transaction.count(STOCK_ALERT_LOG) == 2


def test_a_damaged_transition_is_named_and_goes_with_the_others(state: State) -> None:
    state.write(lambda t: append_transitions(t, 1, 10, [b"a", b"b", b"c"]))
    damage(state, STOCK_ALERT_LOG, (2).to_bytes(8, "big"))
    with state.read() as transaction:
        with pytest.raises(DamagedError) as caught:
            load_transitions(transaction, 0, 10)
        assert caught.value.metadata["sequence"] == "2"
        assert load_transition(transaction, 3).packed == b"c"
        with pytest.raises(DamagedError):
            load_transition(transaction, 4)
    assert state.write(lambda t: drop_transitions(t, 11, 10)) == 3


# --- What may stand behind an alert -------------------------------------------------------------


def test_presentations_of_a_day_are_counted_over_all_arms(state: State) -> None:
    def change(transaction: Transaction) -> None:
        for arm, presented in ((1, 5), (2, 7), (3, 1)):
            add_figures(transaction, 20_000, arm, "tea", decisions=9, presented=presented)
        add_figures(transaction, 20_001, 1, "tea", presented=3)

    state.write(change)
    with state.read() as transaction:
        assert count_presented(transaction, 20_000, "tea") == 13
        assert count_presented(transaction, 20_001, "tea") == 3
        assert count_presented(transaction, 20_000, "coffee") == 0
        first = next(key for key, _ in transaction.scan(ARM_FIGURES))
    damage(state, ARM_FIGURES, first)
    with state.read() as transaction:
        assert count_presented(transaction, 20_000, "tea") == 8
