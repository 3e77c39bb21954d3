"""The two layers against a dictionary: whatever is folded, purged or rebuilt, reads agree."""

import random
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from instanter.errors import DamagedError, PreconditionError, UnavailableError
from instanter.store.databases import (
    ACTIVITY,
    DATABASES,
    META,
    META_KEY_BOOT,
    META_KEY_FOLDED,
    META_KEY_FORMAT,
    PROFILES,
    STORE_FORMAT,
    TRANSACTIONS,
    Database,
    meta_key,
)
from instanter.store.environment import Environment
from instanter.store.folding import FoldResult
from instanter.store.overlay import OverlayUse
from instanter.store.records import seal
from instanter.store.state import State
from instanter.store.transaction import Transaction

MIB = 1 << 20
KEYS = tuple(bytes([65 + i]) * 8 for i in range(4))
WRITTEN = (PROFILES, ACTIVITY, TRANSACTIONS)
"""Of the last one the rows are held in memory."""

HELD = {database.name for database in DATABASES if database.is_held}
Content = dict[tuple[str, bytes], bytes]
Step = tuple[Database, bytes, bytes | None]

steps = st.lists(
    st.tuples(
        st.sampled_from(WRITTEN),
        st.sampled_from(KEYS),
        st.one_of(st.none(), st.binary(min_size=1, max_size=20)),
    ),
    min_size=1,
    max_size=4,
)


def carry_out(changes: list[Step]) -> Callable[[Transaction], list[bool]]:
    """Return a change that puts and, where there is no value, deletes."""

    def change(transaction: Transaction) -> list[bool]:
        found = []
        for database, key, value in changes:
            if value is None:
                found.append(transaction.delete(database, key))
            else:
                transaction.put(database, key, value)
        return found

    return change


def carried_out(content: Content, changes: list[Step]) -> list[bool]:
    """Do the same to a dictionary."""
    found = []
    for database, key, value in changes:
        if value is None:
            found.append(content.pop((database.name, key), None) is not None)
        else:
            content[database.name, key] = value
    return found


def content_of(transaction: Transaction, *, upwards: bool = True) -> Content:
    """Return all that a transaction sees, walked through in one direction."""
    content = {}
    for database in DATABASES:
        if database is META:
            continue
        entries = transaction.scan(database) if upwards else transaction.scan_back(database, b"")
        keys = []
        for key, value in entries:
            content[database.name, key] = bytes(value)
            keys.append(key)
        assert keys == sorted(keys, reverse=not upwards)
        assert transaction.count(database) == len(keys)
        assert not (keys and transaction.is_empty(database))
    return content


class TwoLayers(RuleBasedStateMachine):
    """`content` is what readers must see, `base` what has been folded."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.state = State.open(self.folder, writable=True, fresh_overlay=True)
        self.content: Content = {}
        self.base: Content = {}
        self.folds: list[FoldResult[None]] = []
        self.sequence = 0
        self.folded = 0

    def teardown(self) -> None:
        self.state.close()
        shutil.rmtree(self.folder)

    @rule(changes=steps)
    def write(self, changes: list[Step]) -> None:
        self.sequence += 1
        found = self.state.write(carry_out(changes), sequence=self.sequence)
        assert found == carried_out(self.content, changes)

    def write_elsewhere(self, changes: list[Step]) -> None:
        writer = threading.Thread(target=self.write, args=(changes,))
        writer.start()
        writer.join()

    @rule(changes=steps)
    def fail(self, changes: list[Step]) -> None:
        def change(transaction: Transaction) -> None:
            carry_out(changes)(transaction)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.state.write(change, sequence=99)

    @rule(changes=steps)
    def fold_while_somebody_writes(self, changes: list[Step]) -> None:
        before, folded = dict(self.content), self.sequence

        def wait_durable(sequence: int) -> None:
            assert sequence == folded
            self.write_elsewhere(changes)

        result = self.state.fold(wait_durable=wait_durable)
        assert result.folded_sequence == folded
        self.folds.append(result)
        self.base, self.folded = before, folded

    @rule(before=steps, behind=steps)
    def fold_as_another_process_does(self, before: list[Step], behind: list[Step]) -> None:
        self.state.begin_fold()
        # What is written before the overlay is read is folded, what is written then is not.
        self.write(before)
        content, folded = dict(self.content), self.sequence

        result = self.state.fold(
            wait_durable=lambda _: self.write_elsewhere(behind), take_held=self.state.take_held
        )
        assert result.folded_sequence == folded
        self.folds.append(result)
        self.base, self.folded = content, folded

    @rule(changes=steps, late=st.booleans())
    def fail_to_fold(self, changes: list[Step], late: bool) -> None:
        def fail(_: int) -> None:
            self.write_elsewhere(changes)
            raise ZeroDivisionError

        # As it asks whether it may be written, or as it is about to be.
        if not late:
            with pytest.raises(ZeroDivisionError):
                self.state.fold(wait_durable=fail)
            return
        self.sequence += 1
        self.state.write(lambda _: None, sequence=self.sequence)
        with pytest.raises(ZeroDivisionError):
            self.state.fold(collect=fail)

    @rule(changes=steps)
    def fold_with_a_heavy_change(self, changes: list[Step]) -> None:
        self.sequence += 1
        result = self.state.fold(heavy=carry_out(changes), heavy_sequence=self.sequence)
        assert result.heavy_result == carried_out(self.content, changes)
        assert result.folded_sequence == self.sequence
        self.base, self.folded = dict(self.content), self.sequence

    @precondition(lambda self: self.folds)
    @rule(which=st.integers(0, 2), limit=st.integers(1, 4))
    def purge(self, which: int, limit: int) -> None:
        # The keeper purges after the last fold; that an old one does no harm costs nothing.
        self.state.purge(self.folds[-1 - which % len(self.folds)], limit)

    @rule(changes=steps)
    def rebuild(self, changes: list[Step]) -> None:
        self.content = dict(self.base)
        self.sequence = self.folded + 1
        found = self.state.rebuild(carry_out(changes), sequence=self.sequence)
        assert found == carried_out(self.content, changes)

    @rule()
    def clear(self) -> None:
        self.state.rebuild(lambda _: None)
        self.content, self.sequence = dict(self.base), self.folded

    @rule(fresh=st.booleans())
    def reopen(self, fresh: bool) -> None:
        self.state.close()
        self.folds.clear()
        self.state = State.open(self.folder, writable=True, fresh_overlay=fresh)
        if fresh:
            self.content, self.sequence = dict(self.base), self.folded
        else:
            self.content = self.content_without_memory()

    def content_without_memory(self) -> Content:
        """Return what is there without what a process held: the log has that."""
        return {key: value for key, value in self.content.items() if key[0] not in HELD} | {
            key: value for key, value in self.base.items() if key[0] in HELD
        }

    @rule()
    def only_read(self) -> None:
        self.state.close()
        self.folds.clear()
        self.content = self.content_without_memory()
        with State.open(self.folder, writable=False) as reader, reader.read() as transaction:
            assert content_of(transaction) == self.content
        self.state = State.open(self.folder, writable=True)

    @rule(
        start=st.sampled_from((*KEYS, b"A", b"zz")),
        after=st.booleans(),
        database=st.sampled_from(WRITTEN),
    )
    def scan_from(self, start: bytes, after: bool, database: Database) -> None:
        keys = sorted(key for name, key in self.content if name == database.name)
        with self.state.read() as transaction:
            found = [key for key, _ in transaction.scan(database, start, after=after)]
            back = [key for key, _ in transaction.scan_back(database, start)]
        assert found == [key for key in keys if key > start or (key == start and not after)]
        assert back == [key for key in reversed(keys) if key < start]

    @invariant()
    def readers_see_the_content(self) -> None:
        with self.state.read() as transaction:
            assert content_of(transaction) == self.content
            assert content_of(transaction, upwards=False) == self.content
            for key in KEYS:
                for database in WRITTEN:
                    value = transaction.get(database, key)
                    expected = self.content.get((database.name, key))
                    assert (None if value is None else bytes(value)) == expected
                    (each,) = transaction.get_each(database, [key])
                    assert bytes(each) == (expected or b"")
                value = transaction.get_profile(key)
                expected = self.content.get((PROFILES.name, key))
                assert (None if value is None else bytes(value)) == expected
        assert self.state.applied_sequence() == self.sequence
        assert self.state.folded_sequence() == self.folded


TestTwoLayers = TwoLayers.TestCase
TestTwoLayers.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("seed", range(4))
def test_a_long_walk_agrees_with_the_dictionary(seed: int) -> None:
    # Hypothesis seldom goes far; what goes wrong after a purge needs a long way.
    rng = random.Random(seed)

    def some_steps() -> list[Step]:
        return [
            (
                rng.choice(WRITTEN),
                rng.choice(KEYS),
                None if rng.random() < 0.4 else rng.randbytes(rng.randrange(1, 20)),
            )
            for _ in range(rng.randrange(1, 5))
        ]

    walk = TwoLayers()
    actions: list[tuple[int, Callable[[], None]]] = [
        (30, lambda: walk.write(some_steps())),
        (2, lambda: walk.fail(some_steps())),
        (15, lambda: walk.fold_while_somebody_writes(some_steps())),
        (10, lambda: walk.fold_as_another_process_does(some_steps(), some_steps())),
        (4, lambda: walk.fail_to_fold(some_steps(), rng.random() < 0.5)),
        (4, lambda: walk.fold_with_a_heavy_change(some_steps())),
        (40, lambda: walk.folds and walk.purge(rng.randrange(3), rng.randrange(1, 4))),
        (3, lambda: walk.rebuild(some_steps())),
        (1, lambda: walk.reopen(rng.random() < 0.5)),
    ]
    weights = [weight for weight, _ in actions]
    try:
        for _, action in rng.choices(actions, weights, k=300):
            action()
            walk.readers_see_the_content()
    finally:
        walk.teardown()


def put(state: State, key: bytes, value: bytes, sequence: int | None = None) -> None:
    state.write(lambda transaction: transaction.put(PROFILES, key, value), sequence=sequence)


def get(state: State, key: bytes) -> bytes | None:
    with state.read() as transaction:
        value = transaction.get(PROFILES, key)
        return None if value is None else bytes(value)


def test_the_change_says_itself_up_to_where_it_goes(tmp_path: Path) -> None:
    with State.open(tmp_path, writable=True) as state:
        state.write(lambda transaction: transaction.set_applied(12))
        assert (state.applied_sequence(), state.folded_sequence()) == (12, 0)
        assert state.fold().folded_sequence == 12
        assert state.fold().entry_count == 0
        assert state.folded_sequence() == 12


def test_readers_see_the_old_overlay_until_the_new_one_is_whole(tmp_path: Path) -> None:
    seen: list[bytes | None] = []

    def change(transaction: Transaction) -> None:
        reader = threading.Thread(target=lambda: seen.append(get(state, KEYS[0])))
        reader.start()
        reader.join()
        assert transaction.get(PROFILES, KEYS[0]) is None
        transaction.put(PROFILES, KEYS[0], b"new")

    with State.open(tmp_path, writable=True) as state:
        put(state, KEYS[0], b"old")
        state.rebuild(change)
        assert seen == [b"old"]
        assert get(state, KEYS[0]) == b"new"


def test_a_fold_that_may_not_go_on_changes_nothing(tmp_path: Path) -> None:
    def refuse(sequence: int) -> None:
        raise UnavailableError("the log has failed")

    with State.open(tmp_path, writable=True) as state:
        put(state, KEYS[0], b"1", 1)
        with pytest.raises(UnavailableError, match="the log has failed"):
            state.fold(wait_durable=refuse)
        assert state.folded_sequence() == 0
        assert state.fold().folded_sequence == 1


def test_names_in_meta_are_folded_but_not_what_describes_a_layer(tmp_path: Path) -> None:
    key = meta_key("tick")
    with State.open(tmp_path, writable=True) as state:
        state.write(lambda t: t.put(META, key, seal(key, b"7")), sequence=3)
        fold = state.fold()
        assert fold.entry_count == 1
        assert state.purge(fold, 10)
    with Environment.open(tmp_path, writable=False) as base, base.read() as transaction:
        found = {found for found, _ in transaction.scan(META)}
    assert found == {META_KEY_FORMAT, META_KEY_FOLDED, key}


def test_a_reader_without_an_overlay_reads_the_base(tmp_path: Path) -> None:
    with Environment.open(tmp_path) as base:
        base.write(lambda transaction: transaction.put(PROFILES, KEYS[0], b"1"))
    with State.open(tmp_path, writable=False) as state:
        assert get(state, KEYS[0]) == b"1"
        assert state.figures().overlay is None
        assert state.applied_sequence() == 0
        with pytest.raises(AssertionError, match="reading only"):
            put(state, KEYS[0], b"2")
    assert not (tmp_path / "overlay").exists()


def test_an_overlay_of_another_start_of_the_system_is_not_believed(tmp_path: Path) -> None:
    with State.open(tmp_path, writable=True) as state:
        put(state, KEYS[0], b"base")
        state.fold()
        put(state, KEYS[0], b"overlay")
    with Environment.open(tmp_path / "overlay", durable=False) as overlay:
        boot = seal(META_KEY_BOOT, b"before the power cut")
        overlay.write(lambda transaction: transaction.put(META, META_KEY_BOOT, boot))
    with State.open(tmp_path, writable=False) as reader:
        assert get(reader, KEYS[0]) == b"base"
    with State.open(tmp_path, writable=True) as state:
        assert get(state, KEYS[0]) == b"base"
        put(state, KEYS[0], b"overlay again")
    with State.open(tmp_path, writable=False) as reader:
        assert get(reader, KEYS[0]) == b"overlay again"


@pytest.mark.parametrize("bytes_", [b"", b"garbage", bytes(20_000)])
def test_a_damaged_overlay_is_made_anew(tmp_path: Path, bytes_: bytes) -> None:
    with State.open(tmp_path, writable=True) as state:
        put(state, KEYS[0], b"base", 5)
        state.fold()
    (tmp_path / "overlay/data.mdb").write_bytes(bytes_)
    with State.open(tmp_path, writable=True) as state:
        assert get(state, KEYS[0]) == b"base"
        assert state.applied_sequence() == 5
        put(state, KEYS[0], b"overlay")
        assert get(state, KEYS[0]) == b"overlay"


def test_a_damaged_overlay_that_somebody_has_open_is_left_alone(tmp_path: Path) -> None:
    State.open(tmp_path, writable=True).close()
    (tmp_path / "overlay/data.mdb").write_bytes(b"garbage")
    use = OverlayUse.of_reader(tmp_path)
    assert use is not None
    with pytest.raises(UnavailableError, match="another process has it open"):
        State.open(tmp_path, writable=True)
    assert (tmp_path / "overlay/data.mdb").read_bytes() == b"garbage"
    use.release()
    State.open(tmp_path, writable=True).close()


def test_a_fresh_overlay_is_empty_even_when_somebody_has_the_old_one_open(tmp_path: Path) -> None:
    with State.open(tmp_path, writable=True) as state:
        put(state, KEYS[0], b"old", 3)
    inode = (tmp_path / "overlay/data.mdb").stat().st_ino
    use = OverlayUse.of_reader(tmp_path)
    assert use is not None
    with State.open(tmp_path, writable=True, fresh_overlay=True) as state:
        assert get(state, KEYS[0]) is None
        assert state.applied_sequence() == 0
        assert (tmp_path / "overlay/data.mdb").stat().st_ino == inode, "not under the reader"
    use.release()


def test_both_maps_grow(tmp_path: Path) -> None:
    value = bytes(100_000)
    keys = [b"%08d" % number for number in range(60)]

    def change(transaction: Transaction) -> None:
        for key in keys:
            transaction.put(PROFILES, key, key + value)

    with State.open(
        tmp_path, writable=True, map_size_bytes=MIB, overlay_map_size_bytes=MIB
    ) as state:
        state.write(change, sequence=1)
        fold = state.fold()
        assert fold.entry_count == 60
        assert state.purge(fold, 1000)
        with state.read() as transaction:
            assert {key for key, _ in transaction.scan(PROFILES)} == set(keys)
            assert bytes(transaction.get(PROFILES, keys[7]) or b"") == keys[7] + value
        figures = state.figures()
    assert figures.overlay is not None
    assert min(figures.base.map_size_bytes, figures.overlay.map_size_bytes) >= 8 * MIB


def test_a_closed_state_says_so(tmp_path: Path) -> None:
    state = State.open(tmp_path, writable=True)
    state.close()
    state.close()
    with pytest.raises(UnavailableError), state.read():
        pass
    with pytest.raises(UnavailableError):
        put(state, KEYS[0], b"1")


def test_a_folded_sequence_that_is_damaged_is_not_believed(tmp_path: Path) -> None:
    with State.open(tmp_path, writable=True) as state:
        put(state, KEYS[0], b"1", 7)
        state.fold()
        state.base.write(lambda transaction: transaction.put(META, META_KEY_FOLDED, bytes(16)))
        with pytest.raises(DamagedError):
            state.folded_sequence()


@pytest.mark.parametrize("older", range(1, STORE_FORMAT))
def test_a_store_of_an_older_format_is_upgraded_when_it_is_opened_for_writing(
    tmp_path: Path, older: int
) -> None:
    import lmdb

    names = [each.name.encode() for each in DATABASES if each.since_format <= older]
    with lmdb.open(str(tmp_path), max_dbs=len(names)) as old:
        handles = {name: old.open_db(name) for name in names}
        with old.begin(write=True) as transaction:
            transaction.put(META_KEY_FORMAT, older.to_bytes(8, "little"), db=handles[b"meta"])
            transaction.put(KEYS[0], b"kept", db=handles[b"profiles"])
    told = rf"has format {older}, .*start the server on it once"
    with pytest.raises(PreconditionError, match=told):
        State.open(tmp_path, writable=False)
    with State.open(tmp_path, writable=True) as state:
        assert get(state, KEYS[0]) == b"kept"
        for each in (ACTIVITY, TRANSACTIONS):
            state.write(lambda t, each=each: t.put(each, KEYS[0], b"new"))  # type: ignore[misc]
        state.fold()
    with Environment.open(tmp_path, writable=False) as base, base.read() as transaction:
        found = transaction.get(META, META_KEY_FORMAT) or b""
        assert int.from_bytes(found, "little") == STORE_FORMAT
        for each in (ACTIVITY, TRANSACTIONS):
            assert bytes(transaction.get(each, KEYS[0]) or b"") == b"new"
