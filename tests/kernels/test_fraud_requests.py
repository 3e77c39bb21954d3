"""The kernel that reads requests to assess card transactions."""

import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from instanter import card_data, fraud_limits, limits
from instanter.catalogue.currencies import find_minor_digits
from instanter.catalogue.schema import MISSING_CODE
from instanter.fraud.requests import make_currency_table
from instanter.kernels import fraud_requests
from instanter.kernels.fraud_columns import NUMBERS, TEXTS
from instanter.rpc import card_numbers
from instanter.rpc.names import MERCHANTS, TERMINALS
from instanter.v1.fraud_service_pb2 import AssessTransactionRequest, Place
from tests.oracles import fraud_requests as requests_oracle
from tests.oracles import wire as wire_oracle

CURRENCIES = make_currency_table()
S_NS = 1_000_000_000


def make_request(**given):
    fields = {
        "transaction_id": "t-1",
        "card_token": "card-1",
        "customer": "customers/anna",
        "terminal": "terminals/till 1",
        "merchant": "merchants/m1",
        "mcc": 5411,
        "amount_minor": 1_250,
        "currency": "EUR",
        "transaction_time": {"seconds": 1_800_000_000, "nanos": 5},
        "channel": 1,
        "place": {"latitude": 52.5, "longitude": -13.25},
        "device": "d1",
        "bin": "411111",
    }
    given = {name: value for name, value in (fields | given).items() if value is not None}
    return AssessTransactionRequest(**given)


def read(module, messages):
    """Return all that a kernel or its twin writes, as lists."""
    count = len(messages)
    joined = b"".join(messages)
    usual = np.full(count, 7, np.uint8)
    numbers = np.full((count, NUMBERS), -7, np.int64)
    places = np.full((count, 2), -7.0)
    texts = np.full((count, TEXTS, 2), -7, np.int64)
    packed = np.zeros(len(joined) + fraud_requests.PACKED_SIZE_BYTES * count, np.uint8)
    packed_cut = np.full(count + 1, -7, np.int64)
    keys = np.zeros(len(joined) + fraud_requests.KEYS_SIZE_BYTES * count, np.uint8)
    key_cut = np.full(fraud_requests.ENTITIES * count + 1, -7, np.int64)
    module.read_transactions(
        np.frombuffer(joined, np.uint8), np.cumsum([0, *map(len, messages)]), count,
        CURRENCIES, usual, numbers, places, texts, packed, packed_cut, keys, key_cut,
    )  # fmt: skip
    return {
        "usual": usual.tolist(),
        "numbers": numbers.tolist(),
        "places": places.tobytes(),
        "texts": texts.tolist(),
        "packed": packed.tobytes(),
        "packed_cut": packed_cut.tolist(),
        "keys": keys.tobytes(),
        "key_cut": key_cut.tolist(),
    }


def read_both(*messages):
    """Return what of the messages is usual, of which kernel and twin say the same."""
    found = read(fraud_requests, messages)
    assert found == read(requests_oracle, messages)
    return found["usual"]


def is_usual(**given):
    return read_both(make_request(**given).SerializeToString()) == [1]


def one_of(strategy, *more):
    return st.sampled_from(more) | strategy


ALPHABET = st.sampled_from("abcdvs0123456789-_ .x")
PLAIN = st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="/")
IDS = one_of(st.text(PLAIN | ALPHABET, min_size=1, max_size=20), "4111-1111", "i" * 128)
NAMES = one_of(IDS, "customers", "n")
BINS = st.integers(100_000, 99_999_999).map(str)
SECONDS = one_of(st.integers(0, 2**33 - 1), 0, 1, 2**33 - 1)
TIMES = st.fixed_dictionaries(
    {"seconds": SECONDS, "nanos": one_of(st.integers(0, S_NS - 1), 0, S_NS - 1)}
)
PLACES = st.fixed_dictionaries(
    {
        "latitude": one_of(st.floats(-90, 90), 0.0, -0.0, 90.0, -90.0),
        "longitude": one_of(st.floats(-180, 180), 0.0, -0.0, 180.0, -180.0),
    }
)
SIZES = (1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 10**12 - 1)
REQUESTS = st.builds(
    make_request,
    transaction_id=one_of(st.text(PLAIN, min_size=1, max_size=64), "t" * 31, "t" * 32, "t" * 64),
    card_token=IDS,
    customer=st.none() | one_of(NAMES, "c" * 255, "c" * 256).map("customers/{}".format),
    terminal=NAMES.map("terminals/{}".format),
    merchant=NAMES.map("merchants/{}".format),
    mcc=one_of(st.integers(1, 9_999), *SIZES[:5]),
    amount_minor=one_of(st.integers(1, 10**12 - 1), *SIZES),
    currency=st.sampled_from(["EUR", "JPY", "BHD", "CLF", "CAD", "AAA", "ZZZ"]),
    transaction_time=TIMES,
    channel=st.sampled_from([1, 2]),
    place=st.none() | PLACES,
    device=st.none() | IDS,
    bin=st.none() | BINS,
).map(AssessTransactionRequest.SerializeToString)


@given(st.lists(REQUESTS, max_size=6))
def test_a_right_request_is_read_as_its_twin_reads_it(messages):
    usual = read_both(*messages)
    for message, is_one in zip(messages, usual, strict=True):
        request = AssessTransactionRequest.FromString(message)
        texts = [value for _, value in request.ListFields() if isinstance(value, str)]
        assert is_one == (not card_numbers.may_hold_card_data(texts))


@st.composite
def mutations(draw):
    """Return a right request in whose bytes something is changed, and a right one behind it."""
    message = bytearray(draw(REQUESTS))
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(message) - 1))
        end = draw(st.integers(at, min(at + 12, len(message))))
        change = draw(st.sampled_from(["flip", "cut", "insert", "drop", "repeat", "byte"]))
        if change == "flip":
            message[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "byte":
            message[at] = draw(st.sampled_from([0, 1, 0x2F, 0x31, 0x7F, 0x80, 0xFF]))
        elif change == "cut":
            del message[max(at, 1) :]
        elif change == "drop":
            del message[at : max(end, at + (len(message) > 1))]
        elif change == "insert":
            message[at:at] = draw(st.binary(max_size=6))
        else:
            message[at:at] = message[at:end]
    return bytes(message)


@given(mutations())
@settings(max_examples=300)
def test_whatever_comes_is_read_as_its_twin_reads_it(message):
    behind = make_request().SerializeToString()
    assert read_both(behind, message, behind)[::2] == [1, 1]


def list_fields(message):
    """Return the encoded fields of a right request, by their numbers."""
    found, at = {}, 0
    while at < len(message):
        number, after = wire_oracle.read_varint(message, at + 1, len(message))
        end = after + number if message[at] & 7 == 2 else after
        found[message[at] >> 3] = message[at:end]
        at = end
    return found


WHOLE = make_request().SerializeToString()
FIELDS = list_fields(WHOLE)


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_is_read_once_in_its_place_and_as_it_is_written(field):
    own = FIELDS[field]
    others = {number: part for number, part in FIELDS.items() if number != field}
    head, body = own[:1], own[1:]
    number, after = wire_oracle.read_varint(body, 0, len(body))
    longer = body[: after - 1] + bytes([body[after - 1] | 0x80])
    changed = [
        own + own,
        # Another wire type, tag, number or size that protobuf may read the same, or not.
        bytes([own[0] ^ 2]) + body,
        bytes([own[0] | 0x80, 0]) + body,
        head + longer + b"\0" + body[after:],
        head + longer + b"\x80\0" + body[after:],
        head + longer + b"\x80" * (9 - after) + b"\2" + body[after:],
        head + longer + b"\x80" * (9 - after) + b"\0" + body[after:],
        head + b"\0",
        head + b"\xff" * 9 + b"\1",
        own + b"\x7a\1x",
    ]
    if field in {6, 10}:
        # Beyond 32 bits protobuf sees the same number.
        changed += [head + bytes([number & 0x7F | 0x80]) + body[1:-1] + b"\x80\x80\x80\x80\x10"]
    for part in changed:
        mutated = b"".join(part if n == field else FIELDS[n] for n in FIELDS)
        # A time, or a place, of zeros.
        assert read_both(mutated) == [int(field in {9, 11} and part == head + b"\0")]
    assert read_both(own + b"".join(others.values())) == [int(field == 1)]
    is_needed = field not in {3, 11, 12, 13}
    assert read_both(b"".join(others.values())) == [int(not is_needed)]


def test_a_request_that_is_cut_is_read_as_its_twin_reads_it():
    for size in range(len(WHOLE)):
        read_both(WHOLE[:size], WHOLE, WHOLE[size:])


def test_sub_messages_are_read_once_and_as_they_are_written():
    time = b"\x08\x05\x10\x07"
    place = b"\x09" + struct.pack("<d", 5.0) + b"\x11" + struct.pack("<d", 7.0)
    for field, right, wrong in (
        (9, (time, b"\x08\x05", b"\x10\x07", b""), time[2:] + time[:2]),
        (9, (), b"\x08\x00"),
        (9, (), b"\x10\x00"),
        (9, (), b"\x08\x05\x08\x05"),
        (9, (), b"\x08\x85\x00"),
        (9, (), b"\x08"),
        (9, (), b"\x0d\x05\x00\x00\x00"),
        (9, (), b"\x18\x05"),
        (11, (place, place[:9], place[9:], b""), place[9:] + place[:9]),
        (11, (), b"\x09" + bytes(8)),
        (11, (), b"\x11" + bytes(8)),
        (11, (), place[:9] * 2),
        (11, (), place[:8]),
        (11, (), place[:17]),
        (11, (), b"\x0d\0\0\0\0"),
        (11, (), place + b"\x19" + bytes(8)),
    ):
        for part, expected in (*((part, 1) for part in right), (wrong, 0)):
            own = bytes([FIELDS[field][0], len(part)]) + part
            assert read_both(b"".join(own if n == field else FIELDS[n] for n in FIELDS)) == [
                expected
            ]


RIGHT = {
    "the longest id": {"transaction_id": "t" * 64},
    "the longest token": {"card_token": "c" * 128},
    "the longest customer": {"customer": "customers/" + "c" * 256},
    "the longest terminal": {"terminal": TERMINALS + "t" * 128},
    "the longest merchant": {"merchant": MERCHANTS + "m" * 128},
    "the longest device": {"device": "d" * 128},
    "a BIN of 8 digits": {"bin": "41111111"},
    "the greatest amount but one": {"amount_minor": 10**12 - 1},
    "the last category": {"mcc": 9_999},
    "the first time": {"transaction_time": {"seconds": 0, "nanos": 0}},
    "the last time": {"transaction_time": {"seconds": 2**33 - 1, "nanos": S_NS - 1}},
    "the poles": {"place": {"latitude": -90.0, "longitude": 180.0}},
    "twelve digits": {"device": "1234-5678-9012"},
    "digits with letters between": {"device": "123456789012a123456789012"},
    "digits of two texts": {"transaction_id": "123456789012", "card_token": "123456789012"},
    "nothing that may be left out": {"customer": None, "place": None, "device": None, "bin": None},
}


@pytest.mark.parametrize("given", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_usual(given):
    assert is_usual(**given)


WRONG = {
    "no id": {"transaction_id": ""},
    "a long id": {"transaction_id": "t" * 65},
    "an id with a slash": {"transaction_id": "t/1"},
    "an id that is not ASCII": {"transaction_id": "té"},
    "an id with a control character": {"transaction_id": "t\x1f"},
    "an id with a deleting character": {"transaction_id": "t\x7f"},
    "an id with a NUL": {"transaction_id": "t\0"},
    "a long token": {"card_token": "c" * 129},
    "a token with a line's end": {"card_token": "c\n"},
    "no customer's name": {"customer": "customers/"},
    "a customer of another kind": {"customer": "clients/anna"},
    "half a customer": {"customer": "cust"},
    "a customer with a slash": {"customer": "customers/a/b"},
    "a customer that is not ASCII": {"customer": "customers/ä"},
    "a long customer": {"customer": "customers/" + "c" * 257},
    "a terminal that is a merchant": {"terminal": "merchants/m1"},
    "a long terminal": {"terminal": TERMINALS + "t" * 129},
    "a merchant that is a terminal": {"merchant": "terminals/t1"},
    "a merchant's collection": {"merchant": "merchants/"},
    "a long merchant": {"merchant": MERCHANTS + "m" * 129},
    "a long device": {"device": "d" * 129},
    "a BIN of 5 digits": {"bin": "41111"},
    "a BIN of 9 digits": {"bin": "411111111"},
    "a BIN of letters": {"bin": "41111a"},
    "no category": {"mcc": 0},
    "a negative category": {"mcc": -1},
    "a category too large": {"mcc": 10_000},
    "no amount": {"amount_minor": 0},
    "a negative amount": {"amount_minor": -1},
    "an amount like a card number": {"amount_minor": 10**12},
    "an amount too large": {"amount_minor": 2**63 - 1},
    "a currency in lower case": {"currency": "eur"},
    "a currency of two letters": {"currency": "EU"},
    "a currency of four letters": {"currency": "EURO"},
    "a currency of a letter beyond": {"currency": "EU["},
    "gold": {"currency": "XAU"},
    "a currency like a word for a code": {"currency": "CVV"},
    "no time": {"transaction_time": None},
    "a time before 1970": {"transaction_time": {"seconds": -1, "nanos": 0}},
    "a time too late": {"transaction_time": {"seconds": 2**33, "nanos": 0}},
    "a fraction below 0": {"transaction_time": {"seconds": 1, "nanos": -1}},
    "a fraction of a second": {"transaction_time": {"seconds": 1, "nanos": S_NS}},
    "no channel": {"channel": 0},
    "a channel of a later version": {"channel": 3},
    "a negative channel": {"channel": -1},
    "a latitude beyond the pole": {"place": {"latitude": 90.00001}},
    "a latitude below the pole": {"place": {"latitude": -90.00001}},
    "a longitude too far": {"place": {"longitude": 180.00001}},
    "a longitude too far west": {"place": {"longitude": -180.00001}},
    "no latitude": {"place": {"latitude": float("nan")}},
    "no longitude": {"place": {"longitude": float("nan")}},
    "an infinite longitude": {"place": {"longitude": float("inf")}},
    "a declared field": {"fields": {"basket": {"number_value": 1.0}}},
    "a field of a later version": {"place": Place.FromString(b"\x1a\1x")},
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_what_is_wrong_or_unusual_is_left_to_others(given):
    assert not is_usual(**given)


DIGITS = "4111111111111"
CARD_TEXTS = st.text(st.sampled_from("0123456789-_ .:~@`[{x"), min_size=13, max_size=40)
WORD_TEXTS = st.text(st.sampled_from("cCvVsSaAdDnNiIoOeEuUmMbBrRlL-@` "), min_size=1, max_size=24)


@given(
    st.sampled_from(["transaction_id", "card_token", "customer", "terminal", "merchant", "device"]),
    CARD_TEXTS | WORD_TEXTS,
)
@settings(max_examples=200)
@example("device", DIGITS)
@example("device", "-".join(DIGITS))
@example("device", DIGITS[:-1])
@example("device", (" " * 8).join(DIGITS))
@example("card_token", "4-1_1.1~1@1`1[1{1 1111")
@example("customer", "x" + DIGITS)
def test_what_may_be_card_data_is_left_to_others(field, text):
    prefix = {"customer": "customers/", "terminal": TERMINALS, "merchant": MERCHANTS}
    expected = not card_numbers.may_hold_card_data([text])
    assert is_usual(**{field: prefix.get(field, "") + text}) == expected


def test_a_word_for_a_code_is_left_to_others():
    words = {"cvv", "cvc", "cvd", "cvn", "csc", "cav", "cid", "code", "value", "number"}
    assert set(bytes(fraud_requests._CODE_WORDS).decode().split("\0")) == words | {""}
    for word in words:
        assert card_numbers._CODE_SUSPECT.fullmatch(word)
        for whole in (word, word.upper(), f"my-{word.title()}5", f"x{word}"):
            assert not is_usual(device=whole)
        rest = word[:-1]
        assert is_usual(device=rest) == (not card_numbers.may_hold_card_data([rest]))
    assert is_usual(currency="CAD"), "no more than the words themselves"


def test_every_currency_is_known_by_its_code():
    for code, digits in enumerate(CURRENCIES.tolist()):
        first, rest = divmod(code, 676)
        name = "".join(chr(65 + letter) for letter in (first, *divmod(rest, 26)))
        known = find_minor_digits(name)
        assert digits == (fraud_requests.DIGITS_UNKNOWN if known is None else known)


def test_the_bounds_of_the_kernel_are_the_limits():
    sizes = fraud_requests._TEXT_COLUMNS[:, 1].tolist()
    plain = fraud_limits.FRAUD_ID_SIZE_MAX
    customer = limits.CUSTOMER_ID_SIZE_BYTES_MAX
    assert sizes[:6] == [
        fraud_limits.TRANSACTION_ID_SIZE_MAX, plain, customer, plain, plain, plain,
    ]  # fmt: skip
    assert fraud_limits.FRAUD_MCC_MAX == fraud_requests._MCC_MAX
    assert fraud_limits.FRAUD_AMOUNT_MINOR_MAX == fraud_requests._AMOUNT_MINOR_END
    assert card_data.NUMBER_MIN == fraud_requests._AMOUNT_MINOR_END
    assert card_data.SIZE_MIN == fraud_requests._CARD_DIGITS_MIN
    assert MISSING_CODE == fraud_requests._MISSING_CODE
