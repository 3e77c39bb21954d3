"""Keys and records: what a key may be, and that no damaged byte is ever taken for a profile."""

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.errors import DamagedError, InvalidFieldError
from instanter.store import records

CONTROL = ["\x00", "\n", "\x1f", "\x7f", "\x80", "\x9f"]


@pytest.mark.parametrize("customer_id", ["a", "0", "é" * 128, "x" * 256, "a b", "ü:1|2"])
def test_an_id_of_1_to_256_bytes_is_a_key(customer_id: str) -> None:
    records.check_customer_id(customer_id, "name")
    key = records.key_of(customer_id)
    assert len(key) % 8 == 0
    assert records.customer_id_of(key) == customer_id


@pytest.mark.parametrize(
    "customer_id",
    ["", "x" * 257, "x" * 512, "x" * 100_000, "é" * 129, "a/b", "\ud800", "a\udfffb"]
    + [f"a{c}b" for c in CONTROL],
)
def test_any_other_id_is_refused_with_its_field(customer_id: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        records.check_customer_id(customer_id, "customer.name")
    assert caught.value.field == "customer.name"
    assert "1 to 256 bytes" in caught.value.message
    assert len(caught.value.message) < 400


@given(
    st.lists(
        st.text(min_size=1, max_size=20).filter(lambda t: not records._FORBIDDEN.search(t)),
        min_size=2,
        max_size=20,
        unique=True,
    )
)
def test_keys_sort_as_their_ids_do_in_utf_8(ids: list[str]) -> None:
    by_key = [records.customer_id_of(key) for key in sorted(records.key_of(i) for i in ids)]
    assert by_key == sorted(ids, key=str.encode)


def test_a_record_of_1000_slots_is_4080_bytes_and_every_size_a_multiple_of_8() -> None:
    assert records.record_size_bytes(1000) == 4080
    assert all(records.record_size_bytes(count) % 8 == 0 for count in range(2001))


def make_record(key: bytes, slots: np.ndarray) -> bytes:
    header = records.RecordHeader(records.slot_count_stored(len(slots)), 7, 3, 1_000, 2_000)
    return records.encode_record(key, header, slots)


@pytest.mark.parametrize("slot_count", [0, 1, 2, 999, 1000, 2000])
def test_a_record_reads_back_what_was_written(slot_count: int) -> None:
    key = records.key_of("customer")
    slots = np.arange(slot_count, dtype=np.uint32)
    record = make_record(key, slots)
    assert len(record) == records.record_size_bytes(slot_count)
    header = records.decode_header(key, record)
    assert header is not None
    assert (header.schema_revision, header.revision) == (7, 3)
    assert (header.create_time_ms, header.update_time_ms) == (1_000, 2_000)
    assert np.array_equal(records.decode_slots(record, slot_count), slots)
    longer = records.decode_slots(record, slot_count + 5)
    assert (longer[slot_count:] == records.MISSING).all()
    assert np.array_equal(records.decode_slots(record, slot_count // 2), slots[: slot_count // 2])


def test_every_single_flipped_bit_is_noticed() -> None:
    key = records.key_of("customer")
    record = make_record(key, np.arange(20, dtype=np.uint32))
    for bit in range(len(record) * 8):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        assert records.decode_header(key, bytes(damaged)) is None, f"bit {bit}"


def test_a_record_under_another_key_is_damaged() -> None:
    record = make_record(records.key_of("anna"), np.arange(20, dtype=np.uint32))
    assert records.decode_header(records.key_of("anna"), record) is not None
    assert records.decode_header(records.key_of("bert"), record) is None


@pytest.mark.parametrize("size", [0, 1, 79, 80, 100, 4079])
def test_a_record_that_is_cut_off_is_damaged(size: int) -> None:
    key = records.key_of("customer")
    record = make_record(key, np.arange(1000, dtype=np.uint32))
    assert records.decode_header(key, record[:size]) is None


def test_a_right_checksum_does_not_save_a_wrong_form() -> None:
    key = records.key_of("customer")
    record = bytearray(make_record(key, np.arange(4, dtype=np.uint32)))
    for offset in (0, 2, 4):  # magic, format, slot count
        wrong = bytearray(record)
        wrong[offset] += 2
        wrong[-4:] = google_crc32c.value(key + bytes(wrong[:-4])).to_bytes(4, "little")
        assert records.decode_header(key, bytes(wrong)) is None


@pytest.mark.parametrize("slot_count", [1, 2, 7, 1000])
def test_a_block_holds_the_same_bytes_as_records_made_one_by_one(slot_count: int) -> None:
    rng = np.random.default_rng(slot_count)
    slots = rng.integers(0, 1 << 32, (5, slot_count), dtype=np.uint32)
    keys = [records.key_of(f"customer {i}") for i in range(5)]
    headers = np.zeros(5, records.HEADER_DTYPE)
    headers["schema_revision"], headers["revision"] = 7, 3
    headers["create_time_ms"], headers["update_time_ms"] = 1_000, 2_000
    block = records.encode_block(keys, headers, slots)
    assert [bytes(row) for row in block] == [
        make_record(key, row) for key, row in zip(keys, slots, strict=True)
    ]


@given(key=st.binary(min_size=1, max_size=24), value=st.binary(max_size=40))
def test_a_sealed_value_opens_under_its_own_key_only(key: bytes, value: bytes) -> None:
    sealed = records.seal(key, value)
    assert len(sealed) % 8 == 0
    assert records.unseal(key, memoryview(sealed)) == value
    for other in (key + b"\0", key[:-1], bytes([key[0] ^ 1]) + key[1:]):
        with pytest.raises(DamagedError, match="damaged in the store"):
            records.unseal(other, sealed)


@pytest.mark.parametrize("value", [b"", b"1234567", b"12345678" * 3])
def test_a_sealed_value_with_any_bit_flipped_or_cut_off_is_damaged(value: bytes) -> None:
    sealed = records.seal(b"key", value)
    broken = [sealed[:size] for size in range(len(sealed))]
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        broken.append(bytes(flipped))
    for each in broken:
        with pytest.raises(DamagedError):
            records.unseal(b"key", each)
