"""The profile store against a dictionary, across schemas, and with damaged records."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from instanter import limits
from instanter.errors import DamagedError
from instanter.store import profiles, records
from instanter.store.databases import PROFILES
from instanter.store.environment import Environment
from instanter.store.profiles import ProfileState

MISSING = records.MISSING


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    with Environment.open(tmp_path / "store", map_size_bytes=1 << 22) as opened:
        yield opened


def put(environment: Environment, name: str, slots: list[int], **given: object) -> profiles.Profile:
    settings = {"schema_revision": 1, "now_ms": 5, **given}
    array = np.array(slots, np.uint32)
    return environment.write(
        lambda transaction: profiles.put_profile(
            transaction, records.key_of(name), array, **settings
        )
    )


def copy(environment: Environment, name: str, slot_count: int) -> tuple[ProfileState, list[int]]:
    out = np.full(slot_count, 12345, np.uint32)
    with environment.read() as transaction:
        state = profiles.copy_slots(transaction, records.key_of(name), out)
    return state, out.tolist()


def overwrite(environment: Environment, name: str, record: bytes) -> None:
    environment.write(lambda transaction: transaction.put(PROFILES, records.key_of(name), record))


def stored(environment: Environment, name: str) -> bytes:
    with environment.read() as transaction:
        return bytes(transaction.get(PROFILES, records.key_of(name)))


def damage(environment: Environment, name: str, offset: int) -> None:
    record = bytearray(stored(environment, name))
    record[offset] ^= 0x10
    overwrite(environment, name, bytes(record))


def test_random_changes_leave_what_a_dictionary_would_hold(environment: Environment) -> None:
    rng = np.random.default_rng(20)
    names = [f"c{i}" for i in range(12)]
    expected: dict[str, tuple[list[int], int, int]] = {}
    for now_ms in range(400):
        name = names[rng.integers(len(names))]
        slot_count = int(rng.integers(1, 8))
        slots = rng.integers(0, 100, slot_count, dtype=np.uint32)
        old, created, revision = expected.get(name, ([], now_ms, 0))
        action = rng.integers(4)
        if action == 0:
            put(environment, name, slots.tolist(), now_ms=now_ms)
            expected[name] = (slots.tolist(), created, revision + 1)
        elif action == 1:
            mask = rng.random(slot_count) < 0.5
            put(environment, name, slots.tolist(), now_ms=now_ms, slot_mask=mask)
            merged = old + [MISSING] * (slot_count - len(old))
            for i in np.flatnonzero(mask):
                merged[i] = int(slots[i])
            expected[name] = (merged, created, revision + 1)
        elif action == 2:
            key = records.key_of(name)
            found = environment.write(lambda t, key=key: profiles.delete_profile(t, key))
            assert found == (expected.pop(name, None) is not None)
        else:
            block = rng.integers(0, 100, (3, slot_count), dtype=np.uint32)
            chosen = [str(n) for n in rng.choice(names, 3, replace=False)]
            keys = [records.key_of(n) for n in chosen]
            environment.write(
                lambda t, keys=keys, block=block, now_ms=now_ms: profiles.put_block(
                    t, keys, block, schema_revision=1, now_ms=now_ms
                )
            )
            for n, row in zip(chosen, block.tolist(), strict=True):
                _, created, revision = expected.get(n, ([], now_ms, 0))
                expected[n] = (row, created, revision + 1)
    with environment.read() as transaction:
        listed = profiles.list_profiles(transaction, b"", 100, 10)
    assert [row.customer_id for row in listed] == sorted(expected)
    for row in listed:
        slots, created, revision = expected[row.customer_id]
        assert row.profile is not None
        assert row.profile.slots.tolist() == (slots + [MISSING] * 10)[:10]
        assert (row.profile.create_time_ms, row.profile.revision) == (created, revision)
        assert copy(environment, row.customer_id, 10)[1] == row.profile.slots.tolist()


@pytest.mark.parametrize(("written", "asked"), [(4, 4), (3, 4), (4, 3), (0, 2), (1000, 1001)])
def test_slots_beyond_a_record_are_missing_and_beyond_the_schema_ignored(
    environment: Environment, written: int, asked: int
) -> None:
    put(environment, "anna", list(range(written)))
    state, slots = copy(environment, "anna", asked)
    assert state is ProfileState.KNOWN
    assert slots == (list(range(written)) + [MISSING] * asked)[:asked]
    with environment.read() as transaction:
        profile = profiles.load_profile(transaction, records.key_of("anna"), asked)
    assert profile is not None
    assert profile.slots.tolist() == slots


def test_an_unknown_customer_has_all_slots_missing(environment: Environment) -> None:
    assert copy(environment, "nobody", 3) == (ProfileState.UNKNOWN, [MISSING] * 3)
    with environment.read() as transaction:
        assert profiles.load_profile(transaction, records.key_of("nobody"), 3) is None


@pytest.mark.parametrize(
    "offset", [0, 2, 4, 8, 16, 24, 32, 40, 48, 61, 100, 127, 128, 150, 156, 159]
)
def test_a_damaged_record_is_never_served(environment: Environment, offset: int) -> None:
    put(environment, "anna", list(range(20)))
    damage(environment, "anna", offset)
    assert copy(environment, "anna", 20) == (ProfileState.DAMAGED, [MISSING] * 20)
    with environment.read() as transaction:
        with pytest.raises(DamagedError, match="'anna' is damaged"):
            profiles.load_profile(transaction, records.key_of("anna"), 20)
        (row,) = profiles.list_profiles(transaction, b"", 10, 20)
    assert (row.customer_id, row.profile) == ("anna", None)


def test_values_swapped_between_two_customers_are_damaged(environment: Environment) -> None:
    put(environment, "anna", [1, 2])
    put(environment, "bert", [3, 4])
    first, second = stored(environment, "anna"), stored(environment, "bert")
    overwrite(environment, "anna", second)
    overwrite(environment, "bert", first)
    assert copy(environment, "anna", 2)[0] is ProfileState.DAMAGED
    assert copy(environment, "bert", 2)[0] is ProfileState.DAMAGED


@pytest.mark.parametrize("record", [b"", b"x", b"\0" * 80, b"\0" * 4080, b"\xff" * 5000])
def test_bytes_that_never_were_a_record_are_damaged(
    environment: Environment, record: bytes
) -> None:
    overwrite(environment, "anna", record)
    assert copy(environment, "anna", 2)[0] is ProfileState.DAMAGED


def test_a_damaged_record_can_be_replaced_whole_or_deleted_but_not_in_part(
    environment: Environment,
) -> None:
    put(environment, "anna", [1, 2], now_ms=1)
    damage(environment, "anna", 50)
    with pytest.raises(DamagedError):
        put(environment, "anna", [9, 9], slot_mask=np.array([True, False]))
    replaced = put(environment, "anna", [5, 6], now_ms=8)
    assert (replaced.revision, replaced.create_time_ms) == (1, 8)
    assert copy(environment, "anna", 2) == (ProfileState.KNOWN, [5, 6])
    damage(environment, "anna", 50)
    assert environment.write(lambda t: profiles.delete_profile(t, records.key_of("anna")))
    assert copy(environment, "anna", 2)[0] is ProfileState.UNKNOWN


def test_a_block_of_some_slots_keeps_the_others_and_reports_damaged_rows(
    environment: Environment,
) -> None:
    put(environment, "anna", [1, 2, 3], now_ms=1)
    put(environment, "bert", [4, 5, 6], now_ms=1)
    damage(environment, "bert", 50)
    keys = [records.key_of(name) for name in ("cleo", "bert", "anna")]
    result = environment.write(
        lambda t: profiles.put_block(
            t,
            keys,
            np.array([[7, 7], [8, 8], [9, 9]], np.uint32),
            schema_revision=2,
            now_ms=6,
            slot_mask=np.array([False, True]),
        )
    )
    assert result == profiles.BlockResult(1, 1, (1,))
    assert copy(environment, "anna", 3)[1] == [1, 9, 3]
    assert copy(environment, "cleo", 3)[1] == [MISSING, 7, MISSING]
    assert copy(environment, "bert", 3)[0] is ProfileState.DAMAGED
    with environment.read() as transaction:
        anna = profiles.load_profile(transaction, records.key_of("anna"), 3)
    assert anna is not None
    assert (anna.create_time_ms, anna.update_time_ms, anna.revision) == (1, 6, 2)
    assert anna.schema_revision == 2


def test_lists_come_in_pages_in_the_byte_order_of_ids(environment: Environment) -> None:
    names = sorted(["a", "a0", "b", "ä", "Z", "customer-10", "customer-9"], key=str.encode)
    for name in names:
        put(environment, name, [1])
    seen: list[str] = []
    after = b""
    with environment.read() as transaction:
        while page := profiles.list_profiles(transaction, after, 2, 1):
            seen += [row.customer_id for row in page]
            after = records.key_of(seen[-1])
        # Going on behind a customer that is gone meanwhile.
        rest = profiles.list_profiles(transaction, records.key_of("a00"), 9, 1)
    assert seen == names
    assert [row.customer_id for row in rest] == ["b", "customer-10", "customer-9", "ä"]


def test_a_profile_of_1000_attributes_takes_less_than_4300_bytes(environment: Environment) -> None:
    rng = np.random.default_rng(1)
    for _ in range(6):
        keys = [records.key_of(f"customer-{i:08d}") for i in rng.integers(0, 10**8, 1000)]
        slots = rng.integers(0, 1 << 32, (1000, limits.PROFILE_SLOTS_PAGE), dtype=np.uint32)
        environment.write(
            lambda t, keys=keys, slots=slots: profiles.put_block(
                t, keys, slots, schema_revision=1, now_ms=1
            )
        )
    with environment.read() as transaction:
        figures = profiles.measure_profiles(transaction)
    assert figures.profile_count > 5900
    assert figures.size_bytes / figures.profile_count <= 4300
