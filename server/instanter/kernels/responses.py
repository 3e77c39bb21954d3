"""Responses: from what a turn has decided to the bytes of the contract's messages.

What one catalogue and one set of models say of an offer is encoded beforehand, as *fragments*; a
response is a row of them with the numbers of the decision in between. Source of the format:
Protocol Buffers Encoding, protobuf.dev. Fields stand in the order of their numbers and those with
their default value are left out, so that the bytes are those that the generated classes make.
"""

import numpy as np
from numba import int64, types

from instanter.kernels.arbitration import REASON_ATTRIBUTE_MISSING as _ATTRIBUTE_MISSING
from instanter.kernels.arbitration import (
    REASON_CAPPED,
    REASON_COOLING_OFF,
    REASON_NO_CONSENT,
    REASON_NO_PRIORITY,
    REASON_NO_TREATMENT,
    REASON_NOT_APPLICABLE,
    REASON_NOT_CURRENT,
    REASON_NOT_ELIGIBLE,
    REASON_NOT_SUITABLE,
    REASON_OUT_OF_STOCK,
    REASON_QUIET_HOURS,
    REASON_STOCK_UNKNOWN,
)
from instanter.kernels.array_types import (
    READ_I32,
    READ_I32_2D,
    READ_U8,
    WRITE_I32,
    WRITE_I32_2D,
    WRITE_U8,
)
from instanter.kernels.compilation import Kernel, inner_kernel, kernel
from instanter.kernels.decision import (
    ASKED_STATE,
    ASKED_WANTED,
    LISTED_CHOICE,
    LISTED_OFFER,
    LISTED_PRIORITY,
    LISTED_PROPENSITY,
    LISTED_WEIGHT,
    LISTED_WEIGHTED,
    TOLD_ARM,
    TOLD_HELD,
    TOLD_KEPT,
    TOLD_REASONS,
)
from instanter.kernels.decision import ASKED_SURFACE as _SURFACE
from instanter.kernels.holdout import ARM_RANDOM

STAGES = (
    REASON_NOT_CURRENT, REASON_NO_TREATMENT, REASON_NOT_ELIGIBLE, REASON_NOT_APPLICABLE,
    REASON_NOT_SUITABLE, _ATTRIBUTE_MISSING, REASON_NO_CONSENT, REASON_QUIET_HOURS, REASON_CAPPED,
    REASON_COOLING_OFF, REASON_OUT_OF_STOCK, REASON_STOCK_UNKNOWN, REASON_NO_PRIORITY,
)  # fmt: skip
"""The reasons in the order in which they are looked for."""

(
    NO_OFFER_NONE, NO_OFFER_HOLDOUT, NO_OFFER_NOT_CURRENT, NO_OFFER_NOT_ELIGIBLE,
    NO_OFFER_NO_PRIORITY, NO_OFFER_CONTACT_POLICY, NO_OFFER_STOCK,
) = range(7)  # fmt: skip
"""Numbers of the contract's `NoOfferReason`."""

COUNTED_STATE, COUNTED_NO_OFFER, COUNTED_ARM, COUNTED_ROWS = range(4)
"""Rows of `counted`, and how many there are."""

COUNTED_COLUMNS = 8
"""Width of `counted`."""

DECISION_ID_SIZE_BYTES = 16
"""Bytes of a decision's id."""

_NAME = np.frombuffer(b"\x0a\x2adecisions/", np.uint8)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_FIXED_SIZE_MAX = 192
_OFFER_FIXED_SIZE_MAX = 48
_KNOWN = 1
_READ_F64_3D = types.Array(types.float64, 3, "C", readonly=True)
_U64 = types.uint64
_WORD_BYTES = 8


@inner_kernel(int64(WRITE_U8, int64, int64))
def put_varint(out, at, number):  # type: ignore[no-untyped-def]
    """Put a number ≥ 0, a varint; `out`, uint8, is written from `at`. Return the place after."""
    while number >= 128:
        out[at] = np.uint8(number & 127 | 128)
        number >>= 7
        at += 1
    out[at] = np.uint8(number)
    return at + 1


@inner_kernel(int64(WRITE_U8, int64, _U64, int64))
def put_double(out, at, bits, tag):  # type: ignore[no-untyped-def]
    """Put tag and double, unless it is 0; `out`, uint8, is written. Return the place after."""
    if bits == 0:
        return at
    out[at] = np.uint8(tag)
    for i in range(_WORD_BYTES):
        out[at + 1 + i] = np.uint8(bits >> np.uint64(8 * i))
    return at + 1 + _WORD_BYTES


@inner_kernel(int64(WRITE_U8, int64, READ_U8, int64, int64))
def put_bytes(out, at, data, start, stop):  # type: ignore[no-untyped-def]
    """Put `data[start:stop]`; `out`, uint8, is written from `at`. Return the place after."""
    for i in range(stop - start):
        out[at + i] = data[start + i]
    return at + stop - start


@kernel(int64(READ_I32, int64, int64))
def explain_nothing(told, count, offer_count):  # type: ignore[no-untyped-def]
    """Say why a decision has no offer: the stage that the last offers fell at.

    Parameters
    ----------
    told
        int32[17], read-only: one row of `decide_batch`'s.
    count
        Offers that are listed.
    offer_count
        Offers of the catalogue.

    Returns
    -------
    int
        A `NoOfferReason` of the contract; 0 when there is an offer.
    """
    if told[TOLD_HELD]:
        return NO_OFFER_HOLDOUT
    if count:
        return NO_OFFER_NONE
    reasons = told[TOLD_REASONS:]
    if reasons[REASON_NOT_CURRENT] + reasons[REASON_NO_TREATMENT] == offer_count:
        return NO_OFFER_NOT_CURRENT
    if reasons[REASON_NO_PRIORITY]:
        return NO_OFFER_NO_PRIORITY
    if reasons[REASON_OUT_OF_STOCK] or reasons[REASON_STOCK_UNKNOWN]:
        return NO_OFFER_STOCK
    for reason in range(REASON_NO_CONSENT, REASON_COOLING_OFF + 1):
        if reasons[reason]:
            return NO_OFFER_CONTACT_POLICY
    return NO_OFFER_NOT_ELIGIBLE


@inner_kernel(
    int64(
        types.Array(types.float64, 1, "C", readonly=True),
        types.Array(types.uint64, 1, "C", readonly=True),
        int64, int64, READ_I32, READ_I32, READ_I32_2D, READ_U8, READ_I32, WRITE_U8, int64,
    )
)  # fmt: skip
def put_offer(  # type: ignore[no-untyped-def]
    listed, bits, case, known, head, value, tail, fragment, fragment_start, out, at
):
    """Write one offer of a response; return the place behind it.

    Parameters
    ----------
    listed, bits
        float64[6], uint64[6], read-only: one row of `decide_batch`'s, and the same bytes.
    case, known
        2 × whether chance chose; whether a profile is used.
    head, value, tail, fragment, fragment_start
        As in `encode_responses`, read-only; `head` of the one surface.
    out
        uint8, written from `at` on.
    """
    o = int64(listed[LISTED_OFFER])
    way = 2 * (case + known) + int64(listed[LISTED_WEIGHTED])
    first, middle, last = head[o], value[o], tail[way, o]
    size = (
        fragment_start[first + 1] - fragment_start[first]
        + fragment_start[middle + 1] - fragment_start[middle]
        + fragment_start[last + 1] - fragment_start[last]
    )  # fmt: skip
    for column in (LISTED_PRIORITY, LISTED_PROPENSITY, LISTED_WEIGHT, LISTED_CHOICE):
        size += (1 + _WORD_BYTES) * (bits[column] != 0)
    out[at] = 0x12
    at = put_varint(out, at + 1, size)
    at = put_bytes(out, at, fragment, fragment_start[first], fragment_start[first + 1])
    at = put_double(out, at, bits[LISTED_PRIORITY], 0x19)
    at = put_double(out, at, bits[LISTED_PROPENSITY], 0x21)
    at = put_bytes(out, at, fragment, fragment_start[middle], fragment_start[middle + 1])
    at = put_double(out, at, bits[LISTED_WEIGHT], 0x31)
    at = put_bytes(out, at, fragment, fragment_start[last], fragment_start[last + 1])
    return put_double(out, at, bits[LISTED_CHOICE], 0x49)


@kernel(
    int64(
        int64, READ_U8, READ_I32_2D, READ_I32_2D, _READ_F64_3D, READ_U8, READ_I32_2D, READ_I32,
        READ_I32_2D, READ_U8, READ_I32, int64, WRITE_U8, WRITE_I32, WRITE_I32_2D,
    )
)  # fmt: skip
def encode_responses(  # type: ignore[no-untyped-def]
    count, ids, asked, told, listed, figures, head, value, tail, fragment, fragment_start,
    offer_size_max, out, end, counted,
):  # fmt: skip
    """Encode the responses of a turn as messages of type `DecideOffersResponse`.

    Parameters
    ----------
    count
        Decisions of the turn.
    ids
        uint8[16 × count], read-only: the decisions' ids.
    asked, told, listed
        As in `decide_batch`, read-only.
    figures
        uint8, read-only: the fields that all responses share (6 to 8), encoded.
    head
        int32[surfaces, O], read-only: fragment with an offer's fields 1 and 2; −1 for an offer
        without a treatment on the surface, which is never listed.
    value
        int32[O], read-only: fragment with field 5.
    tail
        int32[8, O], read-only: fragment with fields 7 and 8, by 4 × whether chance chose +
        2 × whether a profile is used + whether a context weight applied.
    fragment, fragment_start
        uint8, int32[F + 1], read-only: the fragments, one after the other.
    offer_size_max
        Bytes of an offer's longest three fragments together, at most.
    out
        uint8, written: the responses, one after the other.
    end
        int32[≥ count], written: where each ends.
    counted
        int32[3, 8], written: how many decisions there are by profile state, by reason of having
        no offer, and by arm.

    Returns
    -------
    int
        Bytes written; −1 when `out` may be too short, and then what is written means nothing.
    """
    counted[:] = 0
    bits = listed.view(np.uint64)
    at = 0
    for i in range(count):
        kept = int64(told[i, TOLD_KEPT])
        state, arm = int64(asked[i, ASKED_STATE]), int64(told[i, TOLD_ARM])
        if at + _FIXED_SIZE_MAX + len(figures) + kept * (offer_size_max + _OFFER_FIXED_SIZE_MAX) > (
            len(out)
        ):
            return -1
        at = put_bytes(out, at, _NAME, 0, len(_NAME))
        for k in range(i * DECISION_ID_SIZE_BYTES, (i + 1) * DECISION_ID_SIZE_BYTES):
            out[at] = _HEX[ids[k] >> 4]
            out[at + 1] = _HEX[ids[k] & 15]
            at += 2
        case, known = 2 * (arm == ARM_RANDOM), int64(state == _KNOWN)
        for k in range(kept):
            at = put_offer(
                listed[i, k], bits[i, k], case, known, head[asked[i, _SURFACE]], value, tail,
                fragment, fragment_start, out, at,
            )  # fmt: skip
        no_offer = explain_nothing(told[i], kept, len(value))
        if no_offer:
            out[at] = 0x18
            at = put_varint(out, at + 1, no_offer)
        out[at] = 0x20
        at = put_varint(out, at + 1, state)
        if told[i, TOLD_HELD]:
            out[at] = 0x28
            out[at + 1] = 1
            at += 2
        at = put_bytes(out, at, figures, 0, len(figures))
        if kept < asked[i, ASKED_WANTED] and not told[i, TOLD_HELD]:
            for stage in STAGES:
                stopped = int64(told[i, TOLD_REASONS + stage])
                if stopped:
                    out[at] = 0x4A
                    out[at + 2] = 0x08
                    out[at + 3] = stage
                    out[at + 4] = 0x10
                    after = put_varint(out, at + 5, stopped)
                    out[at + 1] = np.uint8(after - at - 2)
                    at = after
        out[at] = 0x50
        at = put_varint(out, at + 1, arm)
        end[i] = at
        counted[COUNTED_STATE, state] += np.int32(1)
        counted[COUNTED_NO_OFFER, no_offer] += np.int32(1)
        counted[COUNTED_ARM, arm] += np.int32(1)
    return at


KERNELS = (
    Kernel("put_varint", put_varint, ("out",)),
    Kernel("put_double", put_double, ("out",)),
    Kernel("put_bytes", put_bytes, ("out",)),
    Kernel("explain_nothing", explain_nothing, ()),
    Kernel("put_offer", put_offer, ("out",)),
    Kernel("encode_responses", encode_responses, ("out", "end", "counted")),
)
