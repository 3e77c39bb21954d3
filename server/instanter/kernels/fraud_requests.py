"""Requests of `AssessTransaction`, as they come over the wire, made what is worked with.

For the usual request only: one that protobuf itself has written, of printable ASCII, right in all
its parts, without declared fields, and without anything that takes a closer look for card numbers
(`rpc/card_numbers.may_hold_card_data`). Whatever else there is is told by a single number, and
whoever calls looks at it again in a way that takes its time and names what it finds.
"""

import numpy as np
from numba import int64, void

from instanter.kernels.array_types import (
    READ_F64,
    READ_I64,
    READ_I64_2D,
    READ_U8,
    WRITE_F64,
    WRITE_F64_2D,
    WRITE_I64,
    WRITE_I64_2D,
    WRITE_I64_3D,
    WRITE_U8,
)
from instanter.kernels.checksums import extend_crc32
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.fraud_columns import (
    AMOUNT_MINOR,
    BIN,
    CARD,
    CURRENCY,
    CURRENCY_TEXT,
    CUSTOMER,
    DEVICE,
    DEVICE_HASH,
    DIGITS,
    GIVEN_NS,
    MCC,
    MERCHANT,
    MERCHANT_HASH,
    PRESENT,
    TERMINAL,
    TERMINAL_HASH,
    TEXTS,
    TRANSACTION_ID,
)
from instanter.kernels.packing import write_double, write_text, write_whole
from instanter.kernels.wire import find_sized, read_varint

REQUEST_SIZE_BYTES_MAX = 1_024
"""No usual request is longer: its longest texts have 873 bytes."""
PACKED_SIZE_BYTES = 80
"""Bytes that a packed transaction has beside those of its request, at most."""
KEYS_SIZE_BYTES = 40
"""Bytes that the keys of a transaction's entities have beside those of its request, at most."""
ENTITIES = 5
"""Card, customer, terminal, merchant and device: the kinds of their keys are 1 to 5."""
DIGITS_UNKNOWN = 0xFF
"""What is not the code of a currency with a minor unit."""

_FIELD_MCC = 6
_FIELD_AMOUNT = 7
_FIELD_TIME = 9
_FIELD_CHANNEL = 10
_FIELD_PLACE = 11
_FIELD_LAST = 13
_FIELDS_AS_NUMBERS = 1 << _FIELD_MCC | 1 << _FIELD_AMOUNT | 1 << _FIELD_CHANNEL
_REQUIRED = np.array([1, 2, 4, 5, _FIELD_MCC, _FIELD_AMOUNT, 8, _FIELD_TIME, _FIELD_CHANNEL])
_PARTS = 2 * (_FIELD_LAST + 1)

_TEXT_COLUMNS = np.array(
    [
        # Field on the wire, longest, where what it begins with begins and ends.
        [1, 64, 0, 0],
        [2, 128, 0, 0],
        [3, 256, 0, 10],
        [4, 128, 10, 20],
        [5, 128, 20, 30],
        [12, 128, 0, 0],
        [8, 3, 0, 0],
        [13, 8, 0, 0],
    ]
)
_PREFIXES = np.frombuffer(b"customers/terminals/merchants/", np.uint8)

_CARD_DIGITS_MIN = 13
_CODE_WORDS = np.frombuffer(
    b"cvv\0\0\0\0cvc\0\0\0\0cvd\0\0\0\0cvn\0\0\0\0csc\0\0\0\0cav\0\0\0\0cid\0\0\0\0"
    b"code\0\0\0value\0\0number\0",
    np.uint8,
).reshape(-1, 7)
"""Words that verification codes stand behind, in lower case."""
_MCC_MAX = 9_999
_AMOUNT_MINOR_END = 1_000_000_000_000
"""An amount as large as allowed takes a closer look, because it has the digits of a card number."""
_SECONDS_MAX = (1 << 33) - 1
_S_NS = 1_000_000_000
_CHANNEL_PRESENT = 1
_CHANNEL_NOT_PRESENT = 2
_LATITUDE_MAX = 90.0
_LONGITUDE_MAX = 180.0
_MISSING_CODE = 0xFFFF_FFFF


@inner_kernel(int64(READ_U8, int64, int64, WRITE_I64))
def find_fields(data, start, end, parts):
    """Note where the fields of a request are, or their numbers; return whether it is usual.

    Parameters
    ----------
    data, start, end
        uint8[n], read-only; where the request is.
    parts
        int64[_PARTS], written: of each field where it begins, or its number, and what follows it;
        0 twice where it is not given.
    """
    parts[:] = 0
    last = np.int64(0)
    at = start
    while at < end:
        field = np.int64(data[at]) >> 3
        is_number = _FIELDS_AS_NUMBERS >> field & 1
        if not last < field <= _FIELD_LAST or data[at] & 7 != (0 if is_number else 2):
            return 0
        if is_number:
            found, at = read_varint(data, at + 1, end)
        else:
            found, at = find_sized(data, at + 1, end)
        if at < 0:
            return 0
        parts[2 * field], parts[2 * field + 1] = found, at
        last = field
    for required in _REQUIRED:
        if not parts[2 * required + 1]:
            return 0
    return 1


@inner_kernel(int64(READ_U8, int64, int64))
def begins_code_word(data, at, end):
    """Return whether one of the words for verification codes begins at `at`, in either case.

    Parameters
    ----------
    data, at, end
        uint8[n], read-only; where it is looked for, printable ASCII up to `end`.
    """
    for word in range(len(_CODE_WORDS)):
        size = 0
        while _CODE_WORDS[word, size] and at + size < end:
            if data[at + size] | 0x20 != _CODE_WORDS[word, size]:
                break
            size += 1
        if not _CODE_WORDS[word, size]:
            return 1
    return 0


@inner_kernel(int64(READ_U8, int64, int64))
def is_plain(data, start, end):
    """Return whether there is printable ASCII only, no slash, and nothing like card data.

    Parameters
    ----------
    data, start, end
        uint8[n], read-only; where it is looked for.
    """
    digits = 0
    for i in range(start, end):
        byte = np.int64(data[i])
        if byte < 0x20 or byte > 0x7E or byte == 0x2F:
            return 0
        letter = byte | 0x20
        if 0x30 <= byte <= 0x39:
            digits += 1
            if digits >= _CARD_DIGITS_MIN:
                return 0
        elif 0x61 <= letter <= 0x7A:
            digits = 0
            if letter in (0x63, 0x6E, 0x76) and begins_code_word(data, i, end):
                return 0
    return 1


@inner_kernel(int64(READ_U8, READ_I64, WRITE_I64_2D))
def find_texts(data, parts, texts):
    """Note where the texts of a request are; return whether all are usual.

    Parameters
    ----------
    data, parts
        uint8[n], int64[_PARTS], read-only: from `find_fields`.
    texts
        int64[TEXTS, 2], written: without what names begin with.
    """
    for t in range(TEXTS):
        field, size_max, prefix, prefix_end = _TEXT_COLUMNS[t]
        start, end = parts[2 * field], parts[2 * field + 1]
        texts[t, 0], texts[t, 1] = 0, 0
        if not end:
            continue
        for i in range(prefix, prefix_end):
            if start >= end or data[start] != _PREFIXES[i]:
                return 0
            start += 1
        if not 0 < end - start <= size_max or not is_plain(data, start, end):
            return 0
        texts[t, 0], texts[t, 1] = start, end
    return 1


@inner_kernel(int64(READ_U8, int64, int64))
def read_time(data, at, end):
    """Return the nanoseconds since 1970 of a Timestamp; −1 when it is an unusual one."""
    seconds, nanos = np.int64(0), np.int64(0)
    if at < end and data[at] == 0x08:
        seconds, at = read_varint(data, at + 1, end)
        # What is 0 is left out.
        if not 0 < seconds <= _SECONDS_MAX:
            return -1
    if at < end and data[at] == 0x10:
        nanos, at = read_varint(data, at + 1, end)
        if not 0 < nanos < _S_NS:
            return -1
    return seconds * _S_NS + nanos if at == end else -1


@inner_kernel(int64(READ_U8, int64, int64, WRITE_F64))
def read_place(data, at, end, place):
    """Read a place; return whether it is a usual one.

    Parameters
    ----------
    data, at, end
        uint8[n], read-only; where it is.
    place
        float64[2], written: latitude and longitude.
    """
    place[:] = 0.0
    place_bytes, place_bits = place.view(np.uint8), place.view(np.int64)
    for k in range(2):
        if at < end and data[at] == 0x09 + 8 * k:
            if end - at < 9:
                return 0
            for i in range(8):
                place_bytes[8 * k + i] = data[at + 1 + i]
            # What is 0 is left out, and −0 is not.
            if not place_bits[k]:
                return 0
            at += 9
    # A NaN is in no range.
    is_right = -_LATITUDE_MAX <= place[0] <= _LATITUDE_MAX
    return at == end and is_right and -_LONGITUDE_MAX <= place[1] <= _LONGITUDE_MAX


@inner_kernel(int64(READ_U8, int64, int64))
def hash_name(data, start, end):
    """Return the pattern that stands for a name, as `fraud/encoding.hash_name` does."""
    return extend_crc32(data, start, end, 0) % _MISSING_CODE


@inner_kernel(int64(READ_U8, READ_I64, READ_I64_2D, READ_U8, WRITE_I64))
def read_numbers(data, parts, texts, currencies, numbers):
    """Check the numbers of a request, and note them; return whether all are usual.

    Parameters
    ----------
    data, parts, texts
        uint8[n], int64[_PARTS], int64[TEXTS, 2], read-only: from `find_fields` and `find_texts`.
    currencies
        uint8[26^3], read-only: as in `read_transactions`.
    numbers
        int64[NUMBERS], written.
    """
    amount, mcc = parts[2 * _FIELD_AMOUNT], parts[2 * _FIELD_MCC]
    channel = parts[2 * _FIELD_CHANNEL]
    if not 0 < amount < _AMOUNT_MINOR_END or not 0 < mcc <= _MCC_MAX:
        return 0
    if channel not in (_CHANNEL_PRESENT, _CHANNEL_NOT_PRESENT):
        return 0
    at = texts[CURRENCY_TEXT, 0]
    currency = np.int64(0)
    for i in range(3):
        letter = np.int64(data[at + i]) - 0x41
        if at + i >= texts[CURRENCY_TEXT, 1] or not 0 <= letter < 26:
            return 0
        currency = 26 * currency + letter
    for i in range(texts[BIN, 0], texts[BIN, 1]):
        if not 0x30 <= data[i] <= 0x39:
            return 0
    if texts[BIN, 1] and texts[BIN, 1] - texts[BIN, 0] < 6:
        return 0
    numbers[AMOUNT_MINOR] = amount
    numbers[DIGITS] = currencies[currency]
    numbers[CURRENCY] = currency
    numbers[MCC] = mcc
    numbers[GIVEN_NS] = read_time(data, parts[2 * _FIELD_TIME], parts[2 * _FIELD_TIME + 1])
    numbers[PRESENT] = channel == _CHANNEL_PRESENT
    numbers[TERMINAL_HASH] = hash_name(data, texts[TERMINAL, 0], texts[TERMINAL, 1])
    numbers[MERCHANT_HASH] = hash_name(data, texts[MERCHANT, 0], texts[MERCHANT, 1])
    numbers[DEVICE_HASH] = _MISSING_CODE
    if texts[DEVICE, 1]:
        numbers[DEVICE_HASH] = hash_name(data, texts[DEVICE, 0], texts[DEVICE, 1])
    return numbers[DIGITS] != DIGITS_UNKNOWN and numbers[GIVEN_NS] >= 0


@inner_kernel(int64(READ_U8, READ_I64, READ_F64, READ_I64_2D, WRITE_U8, int64))
def write_transaction(data, numbers, place, texts, packed, at):
    """Write a transaction as `keeper/transaction_records` packs it; return what follows.

    Parameters
    ----------
    data, numbers, place, texts
        uint8[n], int64[NUMBERS], float64[2], int64[TEXTS, 2], read-only: what was read.
    packed, at
        uint8[n], written from `at` on.
    """
    packed[at] = 0x9F
    at += 1
    for t in (TRANSACTION_ID, CARD, CUSTOMER, TERMINAL, MERCHANT):
        at = write_text(data, texts[t, 0], texts[t, 1], packed, at)
    at = write_whole(packed, at, numbers[MCC])
    at = write_whole(packed, at, numbers[AMOUNT_MINOR])
    at = write_text(data, texts[CURRENCY_TEXT, 0], texts[CURRENCY_TEXT, 1], packed, at)
    at = write_whole(packed, at, numbers[GIVEN_NS])
    packed[at] = np.uint8(0xC2 + numbers[PRESENT])
    at += 1
    bits = place.view(np.int64)
    for k in range(2):
        if np.isnan(place[k]):
            packed[at] = 0xC0
            at += 1
        else:
            at = write_double(packed, at, bits[k])
    at = write_text(data, texts[DEVICE, 0], texts[DEVICE, 1], packed, at)
    at = write_text(data, texts[BIN, 0], texts[BIN, 1], packed, at)
    packed[at] = 0x80
    return at + 1


@inner_kernel(void(READ_U8, READ_I64_2D, WRITE_U8, WRITE_I64))
def write_keys(data, texts, keys, key_cut):
    """Write the keys of a transaction's entities, as `store/fraud_states` has them.

    Parameters
    ----------
    data, texts
        uint8[n], int64[TEXTS, 2], read-only: what was read.
    keys
        uint8[n], written from where the first key begins.
    key_cut
        int64[ENTITIES + 1], written: where each begins, of which the first says so already.
    """
    for e in range(ENTITIES):
        start, end = texts[CARD + e, 0], texts[CARD + e, 1]
        at = key_cut[e]
        size = end - start
        to = at
        if size:
            keys[at] = np.uint8(1 + e)
            for i in range(size):
                keys[at + 1 + i] = data[start + i]
            to = at + 1 + size
            while (to - at) & 7:
                keys[to] = 0
                to += 1
        key_cut[e + 1] = to


@inner_kernel(void(WRITE_I64, WRITE_F64, WRITE_I64_2D))
def _clear(numbers, place, texts):
    """Note that there is nothing.

    Parameters
    ----------
    numbers, place, texts
        int64[NUMBERS], float64[2], int64[TEXTS, 2], written: one row of each.
    """
    numbers[:] = 0
    place[:] = np.nan
    texts[:] = 0


@kernel(
    void(
        READ_U8, READ_I64, int64, READ_U8, WRITE_U8, WRITE_I64_2D, WRITE_F64_2D, WRITE_I64_3D,
        WRITE_U8, WRITE_I64, WRITE_U8, WRITE_I64,
    )
)  # fmt: skip
def read_transactions(
    data, cut, count, currencies, usual, numbers, places, texts, packed, packed_cut, keys, key_cut
):
    """Read requests, and write their transactions as they are kept, and the keys of states.

    Parameters
    ----------
    data, cut, count
        uint8[n], int64[≥ N + 1], read-only: N requests, one behind the other; where each begins.
    currencies
        uint8[26^3], read-only: digits of the minor unit by the currency's code; `DIGITS_UNKNOWN`.
    usual
        uint8[≥ N], written: 1 for a usual request, else 0, and then there is nothing else of it.
    numbers
        int64[≥ N, NUMBERS], written: see `kernels/fraud_columns`.
    places
        float64[≥ N, 2], written: latitude and longitude in degrees; NaN for none.
    texts
        int64[≥ N, TEXTS, 2], written: where they begin and end in the data; 0 twice for none.
    packed, packed_cut
        uint8[≥ n + PACKED_SIZE_BYTES × N], int64[≥ N + 1], written: the transactions, one behind
        the other, and where each begins.
    keys, key_cut
        uint8[≥ n + KEYS_SIZE_BYTES × N], int64[≥ ENTITIES × N + 1], written: the keys, one behind
        the other, by the requests and then by their kinds, and where each begins; where the next
        one begins for none.
    """
    parts = np.empty(_PARTS, np.int64)
    to = np.int64(0)
    key_cut[0] = 0
    for r in range(count):
        row, place, spans = numbers[r], places[r], texts[r]
        _clear(row, place, spans)
        is_usual = find_fields(data, cut[r], cut[r + 1], parts) and find_texts(data, parts, spans)
        is_usual = is_usual and read_numbers(data, parts, spans, currencies, row)
        if is_usual and parts[2 * _FIELD_PLACE + 1]:
            start, end = parts[2 * _FIELD_PLACE], parts[2 * _FIELD_PLACE + 1]
            is_usual = read_place(data, start, end, place)
        usual[r] = is_usual
        packed_cut[r] = to
        if is_usual:
            to = write_transaction(data, row, place, spans, packed, to)
        else:
            _clear(row, place, spans)
        # Without names there are no keys.
        write_keys(data, spans, keys, key_cut[ENTITIES * r : ENTITIES * (r + 1) + 1])
    packed_cut[count] = to


KERNELS = (
    Kernel(
        "read_transactions",
        read_transactions,
        ("usual", "numbers", "places", "texts", "packed", "packed_cut", "keys", "key_cut"),
    ),
)
