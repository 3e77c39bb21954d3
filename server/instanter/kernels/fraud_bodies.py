"""An approved card transaction written as the log and the store have it.

For the ordinary one only: no rule fired, no list, no stand-in that stops it. A record's body is
what `keeper/assessing` makes, a msgpack map; the row is the sealed value of `store/transactions`.
Of a remarkable one, of which somebody else makes both, it is what was found.
"""

import numpy as np
from numba import int64, types

from instanter.kernels.array_types import (
    READ_F32,
    READ_I32,
    READ_I64,
    READ_I64_2D,
    READ_U8,
    READ_U32,
    WRITE_I64,
    WRITE_U8,
)
from instanter.kernels.checksums import extend_crc32c
from instanter.kernels.compilation import Kernel, inner_kernel
from instanter.kernels.event_records import write_little
from instanter.kernels.fraud_columns import (
    AMOUNT_MINOR,
    CARD,
    CURRENCY_TEXT,
    DEVICE,
    MCC,
)
from instanter.kernels.packing import write_double, write_head, write_text, write_whole

SAID_SEQUENCE = 0
SAID_TIME_NS = 1
"""The time as of which it was assessed and counts."""
SAID_RISK = 2
SAID_PROBABILITY = 3
SAID_LATITUDE = 4
SAID_LONGITUDE = 5
"""Bits of a float64, as risk and probability are; of a card-present transaction with a place."""
SAID_HAS_PLACE = 6
SAID_HAS_REASON = 7
"""Whether the model's part of the risk is a reason."""
SAID_MODEL_ID = 8
SAID_REVISION = 9
"""Of the catalogue."""
SAID_LACKS_PLACE = 10
"""Whether the card was present and nobody knows where; the stand-in lets it pass, and is told."""
SAID_POINTS = 11
SAID_MODEL_POINTS = 12
"""The two parts of the risk, bits of a float64 likewise."""
SAID_SEVERITY = 13
"""The greatest disposition of a rule that fired; 0 for none."""
SAID_FIRED_COUNT = 14
"""Rules that fired, those that are only reported among them."""
SAID_IS_APPROVED = 15
SAID = 16

KEY_SIZE_BYTES = 16
"""Of a transaction's key, and of its digest."""
RECORD_SIZE_BYTES = 512
"""Bytes of body and row beside packed transaction, figures, and twice names, event and features."""

_APPROVE = 1
_RULES = 1
_PLACE_MISSING = 4
"""Number of the stand-in's cause."""
_EVENT_AT = 16
"""Where the patterns begin in an event's row."""
_COUNTED_SIZE_BYTES = 128
"""Of a verdict and of what is counted, beside names, event and features."""
_KEYS = np.frombuffer(
    b"transaction\0key\0digest\0verdict\0counted\0figures\0fired\0stopping\0shadowed\0evidence\0",
    np.uint8,
)
_MODEL = np.frombuffer(b"MODEL", np.uint8)
_NIL = 0xC0
_FALSE = 0xC2
_TRUE = 0xC3
_ROW_REST_SIZE_BYTES = 16
"""Case, outcomes, label, changes and reserve of a row, all 0."""


@inner_kernel(int64(READ_U8, int64, int64, WRITE_U8, int64))
def _write_bytes(data, start, end, body, at):
    """Write [start, end) of the data as msgpack bytes; return what follows."""
    at = write_head(body, at, end - start, 0)
    for i in range(end - start):
        body[at + i] = data[start + i]
    return at + end - start


@inner_kernel(int64(READ_U8, int64, WRITE_U8, int64))
def _copy_bytes(data, size_bytes, out, at):
    """Copy the first bytes of the data as they are; return what follows."""
    for i in range(size_bytes):
        out[at + i] = data[i]
    return at + size_bytes


@inner_kernel(types.UniTuple(int64, 2)(WRITE_U8, int64, int64))
def _write_key(body, at, key):
    """Write the key that begins at `key` of `_KEYS`; return what follows, and the next key."""
    end = key
    while _KEYS[end]:
        end += 1
    return write_text(_KEYS, key, end, body, at), end + 1


@inner_kernel(int64(READ_I64, WRITE_U8))
def _write_verdict(said, out):
    """Write what `keeper/verdicts.pack_verdict` packs, from the beginning; return its end."""
    out[0] = 0x9A
    out[1] = _APPROVE
    out[2] = _RULES
    at = write_double(out, 3, said[SAID_RISK])
    at = write_double(out, at, said[SAID_PROBABILITY])
    out[at] = 0x90
    if said[SAID_HAS_REASON]:
        out[at] = 0x91
        at = write_text(_MODEL, 0, len(_MODEL), out, at + 1) - 1
    # No rule fired, and none that is silent.
    out[at + 1] = 0x90
    out[at + 2] = 0x90
    at += 3
    out[at] = 0x90
    if said[SAID_LACKS_PLACE]:
        out[at] = 0x91
        out[at + 1] = _PLACE_MISSING
        at += 1
    # No list.
    out[at + 1] = 0x90
    return write_whole(out, at + 2, said[SAID_REVISION])


@inner_kernel(int64(READ_I64, READ_I64_2D, READ_U8, READ_I64, READ_I64, READ_F32, WRITE_U8, int64))
def _write_counted(numbers, texts, data, said, event, features, out, at):
    """Write what `CountedTransaction.to_row` gives msgpack, from `at` on; return its end."""
    out[at] = 0x9F
    at += 1
    for text in range(CARD, DEVICE + 1):
        at = write_text(data, texts[text, 0], texts[text, 1], out, at)
    at = write_whole(out, at, said[SAID_TIME_NS])
    at = write_whole(out, at, numbers[AMOUNT_MINOR])
    at = write_text(data, texts[CURRENCY_TEXT, 0], texts[CURRENCY_TEXT, 1], out, at)
    at = write_whole(out, at, numbers[MCC])
    out[at] = _TRUE if said[SAID_IS_APPROVED] else _FALSE
    at += 1
    if said[SAID_HAS_PLACE]:
        at = write_double(out, at, said[SAID_LATITUDE])
        at = write_double(out, at, said[SAID_LONGITUDE])
    else:
        out[at] = _NIL
        out[at + 1] = _NIL
        at += 2
    field_count = event[1] >> 32
    patterns = event.view(np.uint8)
    at = _write_bytes(patterns, _EVENT_AT, _EVENT_AT + 4 * field_count, out, at)
    at = _write_bytes(features.view(np.uint8), 0, 4 * len(features), out, at)
    return write_whole(out, at, said[SAID_MODEL_ID])


@inner_kernel(
    int64(
        READ_U8, int64, int64, READ_U8, int64, int64, READ_U8, int64, int64, READ_U32, WRITE_U8,
        int64,
    )
)  # fmt: skip
def _write_body(packed, start, end, ids, own_key, digest, parts, half, whole, figures, body, at):
    """Write a record's body from `at` on; return its end. The rest is as for `_write_row`."""
    body[at] = 0x8A
    at, key = _write_key(body, at + 1, 0)
    at = _write_bytes(packed, start, end, body, at)
    at, key = _write_key(body, at, key)
    at = _write_bytes(ids, own_key, own_key + KEY_SIZE_BYTES, body, at)
    at, key = _write_key(body, at, key)
    at = _write_bytes(ids, digest, digest + KEY_SIZE_BYTES, body, at)
    at, key = _write_key(body, at, key)
    at = _write_bytes(parts, 0, half, body, at)
    at, key = _write_key(body, at, key)
    at = _write_bytes(parts, half, whole, body, at)
    at, key = _write_key(body, at, key)
    at = _write_bytes(figures.view(np.uint8), 0, 4 * len(figures), body, at)
    for i in range(4):
        at, key = _write_key(body, at, key)
        # Of what fired, stopped or was silent there is nothing; no evidence.
        body[at] = 0x90 if i < 3 else _NIL
        at += 1
    return at


@inner_kernel(int64(READ_U8, int64, int64, int64, READ_U8, int64, int64, WRITE_U8, int64))
def _write_row(ids, own_key, digest, sequence, parts, half, whole, out, at):
    """Write the sealed row of a transaction from `at` on; return its end.

    Parameters
    ----------
    ids, own_key, digest
        uint8[n], read-only; where in it key and digest are.
    sequence
        Of the record.
    parts, half, whole
        uint8[m], read-only: [0, half) is the packed verdict, [half, whole) what is counted.
    out, at
        uint8[k], written.
    """
    value = at + 4
    for i in range(KEY_SIZE_BYTES):
        out[value + i] = ids[digest + i]
    to = value + KEY_SIZE_BYTES
    write_little(out, to, sequence)
    write_little(out, to + 4, sequence >> 32)
    to += 8
    for i in range(_ROW_REST_SIZE_BYTES):
        out[to + i] = 0
    to += _ROW_REST_SIZE_BYTES
    write_little(out, to, half)
    to += 4
    for i in range(whole):
        out[to + i] = parts[i]
    to += whole
    write_little(out, at, to - value)
    end = to + (value - to & 7)
    for i in range(to, end):
        out[i] = 0
    crc = extend_crc32c(ids, own_key, own_key + KEY_SIZE_BYTES, 0)
    write_little(out, end, extend_crc32c(out, at, end, crc))
    return end + 4


@inner_kernel(
    int64(
        READ_I64, READ_I64_2D, READ_U8, READ_U8, int64, int64, READ_U8, int64, int64, READ_I64,
        READ_I64, READ_U32, READ_F32, WRITE_U8, int64, WRITE_I64,
    )
)  # fmt: skip
def write_assessment(
    numbers, texts, data, packed, start, end, ids, own_key, digest, said, event, figures, features,
    out, at, ends,
):  # fmt: skip
    """Write the body of an approved transaction's record, and its row behind it.

    Parameters
    ----------
    numbers, texts, data
        int64[NUMBERS], int64[TEXTS, 2], uint8[n], read-only: as `kernels/fraud_columns` says.
    packed, start, end
        uint8[n], read-only; where in it the packed transaction is.
    ids, own_key, digest
        uint8[n], read-only; where in it the transaction's key and digest are.
    said
        int64[SAID], read-only.
    event
        int64[n], read-only: what is counted, as `kernels/derived_state` explains events.
    figures, features
        uint32[F], float32[K], read-only: what the rules and the model saw.
    out, at
        uint8[m], written from `at` on.
    ends
        int64[2], written: where the body ends and the row begins, and where the row ends.

    Returns
    -------
    int
        1; 0 when `out` has no room for it, and then nothing is written.
    """
    names = 0
    for text in range(CARD, CURRENCY_TEXT + 1):
        names += texts[text, 1] - texts[text, 0]
    kept = names + 8 * len(event) + 4 * len(features)
    longest = RECORD_SIZE_BYTES + end - start + 4 * len(figures) + 2 * kept
    if at + longest > len(out):
        return 0
    parts = np.empty(kept + _COUNTED_SIZE_BYTES, np.uint8)
    half = _write_verdict(said, parts)
    whole = _write_counted(numbers, texts, data, said, event, features, parts, half)
    at = _write_body(
        packed, start, end, ids, own_key, digest, parts, half, whole, figures, out, at
    )  # fmt: skip
    ends[0] = at
    sequence = said[SAID_SEQUENCE]
    ends[1] = _write_row(ids, own_key, digest, sequence, parts, half, whole, out, at)
    return 1


@inner_kernel(
    int64(
        READ_I64, READ_I64_2D, READ_U8, READ_I64, READ_I64, READ_U32, READ_F32, READ_I32, WRITE_U8,
        int64, WRITE_I64,
    )
)  # fmt: skip
def write_finding(
    numbers, texts, data, said, event, figures, features, fired, out, at, ends
):  # fmt: skip
    """Write what is counted of a remarkable transaction; behind it figures and rules that fired.

    Parameters
    ----------
    numbers, texts, data, said, event, figures, features, out, at
        As for `write_assessment`.
    fired
        int32[≥ `SAID_FIRED_COUNT`], read-only: as `fraud_scoring.find_fired` writes it.
    ends
        int64[2], written: where the figures begin, and where all ends.

    Returns
    -------
    int
        1; 0 when `out` has no room for it, and then nothing is written.
    """
    names = 0
    for text in range(CARD, CURRENCY_TEXT + 1):
        names += texts[text, 1] - texts[text, 0]
    kept = names + 8 * len(event) + 4 * len(features) + _COUNTED_SIZE_BYTES
    fired_bytes = 4 * said[SAID_FIRED_COUNT]
    if at + kept + 4 * len(figures) + fired_bytes > len(out):
        return 0
    at = _write_counted(numbers, texts, data, said, event, features, out, at)
    ends[0] = at
    at = _copy_bytes(figures.view(np.uint8), 4 * len(figures), out, at)
    ends[1] = _copy_bytes(fired.view(np.uint8), fired_bytes, out, at)
    return 1


KERNELS = (
    Kernel("write_assessment", write_assessment, ("out", "ends")),
    Kernel("write_finding", write_finding, ("out", "ends")),
)
