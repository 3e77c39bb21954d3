"""A transaction as the event that velocities look at: uint32 patterns by fixed slots."""

import struct
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.fraud_figures import APPROVED, FIELD_FIRST, FRAUD, encode_currency
from instanter.catalogue.schema import MISSING_CODE
from instanter.fraud.questions import Transaction

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000

_EVENT: Final = struct.Struct("<fIIfIIIIIfffIIIf")
"""The slots in their order, `catalogue/fraud_figures`."""
_HEAD: Final = struct.Struct("<qII")
"""Time, kind and number of fields, as `kernels/derived_state` reads an event."""
_PADDING: Final = (b"", b"\0" * 4)
_FRAUD_AT: Final = 4 * FRAUD
_APPROVED_AT: Final = 4 * APPROVED
_DAY_S: Final = 86_400
_THURSDAY: Final = 3
"""1970 began on a Thursday; Monday is 0."""

assert _EVENT.size == 4 * FIELD_FIRST, "every fixed slot has its pattern"


def encode_transaction(
    transaction: Transaction, *, digits: int, has_place: bool, time_ns: int, now_ns: int
) -> bytes:
    """Return the slots that every transaction has; declared fields follow them.

    Parameters
    ----------
    transaction
        Checked already.
    digits
        Of its currency's minor unit.
    has_place
        Whether it is known where it happened.
    time_ns, now_ns
        The time as of which it is assessed, and the server's.
    """
    seconds = time_ns // NS_PER_S
    device = transaction.device
    return _EVENT.pack(
        transaction.amount_minor,
        hash_name(transaction.terminal),
        hash_name(transaction.merchant),
        transaction.mcc,
        transaction.present,
        MISSING_CODE,
        MISSING_CODE,
        encode_currency(transaction.currency),
        hash_name(device) if device else MISSING_CODE,
        seconds % _DAY_S // 3_600,
        transaction.amount_minor / 10**digits,
        (seconds // _DAY_S + _THURSDAY) % 7 + 1,
        has_place,
        device != "",
        transaction.customer != "",
        max(now_ns - transaction.time_ns, 0) / NS_PER_S,
    )


def hash_name(name: str) -> int:
    """Return the pattern that stands for a name where different ones are counted."""
    return crc32(name.encode()) % MISSING_CODE


def mark_approved(event: bytes, *, approved: bool) -> bytes:
    """Return an event that says whether it was approved."""
    return _put(event, _APPROVED_AT, approved)


def mark_fraud(event: bytes, *, fraud: bool) -> bytes:
    """Return an event that says whether it was fraud."""
    return _put(event, _FRAUD_AT, fraud)


def make_row(event: bytes, time_ms: int, code: int) -> NDArray[np.int64]:
    """Return an event as `kernels/derived_state.apply_events` takes it: int64, read-only.

    Parameters
    ----------
    event
        Its patterns.
    time_ms, code
        Its time, milliseconds since 1970, and its kind.
    """
    count = len(event) >> 2
    row = b"".join((_HEAD.pack(time_ms, code, count), event, _PADDING[count & 1]))
    return np.frombuffer(row, np.int64)


def _put(event: bytes, at: int, flag: bool) -> bytes:  # noqa: FBT001 - one caller for each flag
    return b"".join((event[:at], int(flag).to_bytes(4, "little"), event[at + 4 :]))
