"""Requests of one turn, read together."""

from hypothesis import given
from hypothesis import strategies as st

from instanter.catalogue.currencies import find_minor_digits
from instanter.fraud.requests import RequestReader
from instanter.keeper.transaction_records import pack_transaction
from instanter.kernels import fraud_columns as columns
from instanter.kernels.fraud_requests import (
    KEYS_SIZE_BYTES,
    PACKED_SIZE_BYTES,
    REQUEST_SIZE_BYTES_MAX,
)
from instanter.rpc.assessing import read_transaction
from instanter.v1.fraud_service_pb2 import AssessTransactionRequest
from tests.kernels.test_fraud_requests import REQUESTS, make_request
from tests.oracles.fraud_requests import list_keys, list_names, list_numbers

UNUSUAL = make_request(device="4111 1111 1111 1111").SerializeToString()
READER = RequestReader()


def check(reader, messages):
    """Check all that is said of the requests against what is said of each by itself."""
    found = reader.read(messages)
    count = len(messages)
    assert len(found.usual) == len(found.keys) == count
    assert (found.usual + b"\0").index(0) == found.usual_count
    assert found.joined == found.data.tobytes()
    listed = [found.list_names(text, count) for text in range(columns.TEXTS)]
    packed = found.list_packed(count)
    assert len(packed) == count
    for at, message in enumerate(messages):
        if not found.usual[at]:
            assert (packed[at], found.keys[at]) == (b"", [b""] * 5)
            assert not any(names[at] for names in listed)
            continue
        request = AssessTransactionRequest.FromString(message)
        transaction = read_transaction(request)
        assert packed[at] == pack_transaction(transaction)
        assert found.packed[slice(*found.packed_cut[at : at + 2])].tobytes() == packed[at]
        assert found.keys[at] == list_keys(transaction)
        assert [names[at] for names in listed] == list_names(transaction)
        digits = find_minor_digits(transaction.currency)
        assert found.numbers[at].tolist() == list_numbers(transaction, digits)
        place = (transaction.latitude, transaction.longitude)
        assert tuple(None if n != n else n for n in found.places[at].tolist()) == place
    return found


@given(st.lists(REQUESTS | st.just(UNUSUAL), max_size=5))
def test_requests_are_told_as_each_by_itself(messages):
    check(READER, messages)


def test_a_turn_is_not_told_by_the_one_before():
    reader = RequestReader()
    small = make_request(customer=None, place=None, device=None, bin=None).SerializeToString()
    large = make_request(transaction_id="t" * 64, card_token="c" * 128).SerializeToString()
    for messages in ([large] * 3, [UNUSUAL, small], [small, UNUSUAL, large], [], [UNUSUAL]):
        check(reader, messages)


LONGEST = make_request(
    transaction_id="t" * 64,
    card_token="c" * 128,
    customer="customers/" + "c" * 256,
    terminal="terminals/" + "t" * 128,
    merchant="merchants/" + "m" * 128,
    mcc=9_999,
    amount_minor=10**12 - 1,
    transaction_time={"seconds": 2**33 - 1, "nanos": 999_999_999},
    device="d" * 128,
    bin="41111111",
).SerializeToString()


def test_any_number_of_the_longest_requests_is_read():
    reader = RequestReader()
    assert len(LONGEST) < REQUEST_SIZE_BYTES_MAX
    for count in (1, 64, 65, 300, 1):
        assert check(reader, [LONGEST] * count).usual_count == count
    assert max(map(len, reader.read([LONGEST]).list_packed(1))) <= len(LONGEST) + PACKED_SIZE_BYTES
    assert sum(map(len, reader.read([LONGEST]).keys[0])) <= len(LONGEST) + KEYS_SIZE_BYTES


def test_requests_that_are_too_long_are_left_to_others():
    reader = RequestReader()
    long = b"\x7a\xc0\x84\x3d" + bytes(1_000_000) + LONGEST
    for messages in ([long], [long, LONGEST], [LONGEST] * 64 + [long] * 3 + [LONGEST]):
        found = check(reader, messages)
        assert list(found.usual) == [int(message is LONGEST) for message in messages]
        assert len(found.packed) < 1_000_000


def test_the_first_usual_ones_are_counted():
    usual = make_request().SerializeToString()
    for count in range(4):
        found = check(READER, [usual] * count + [UNUSUAL, usual])
        assert found.usual_count == count
        assert found.usual[count:] == b"\0\1"
