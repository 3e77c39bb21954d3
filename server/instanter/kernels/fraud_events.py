"""A transaction's own figures, and the event that velocities count, as `fraud/encoding` says."""

import numpy as np
from numba import float64, int64, void

from instanter.kernels.array_types import READ_I64, READ_I64_2D, READ_U32, WRITE_I64, WRITE_U32
from instanter.kernels.compilation import Kernel, inner_kernel
from instanter.kernels.fraud_columns import (
    AMOUNT_MINOR,
    CURRENCY,
    CUSTOMER,
    DEVICE,
    DEVICE_HASH,
    DIGITS,
    GIVEN_NS,
    MCC,
    MERCHANT_HASH,
    PRESENT,
    TERMINAL_HASH,
)

_POWERS_OF_TEN = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
_NS_PER_S = 1_000_000_000
_DAY_S = 86_400
_HOUR_S = 3_600
_THURSDAY = 3
_MISSING_CODE = np.uint32(0xFFFF_FFFF)
_EXACT_MAX = 1 << 53
"""Whole numbers up to here are float64 as they are."""

_FIGURE_AMOUNT_MINOR = 0
_FIGURE_TERMINAL = 1
_FIGURE_MERCHANT = 2
_FIGURE_MCC = 3
_FIGURE_PRESENT = 4
_FIGURE_APPROVED = 5
_FIGURE_CURRENCY = 7
_FIGURE_DEVICE = 8
_FIGURE_HOUR = 9
_FIGURE_AMOUNT = 10
_FIGURE_WEEKDAY = 11
_FIGURE_HAS_PLACE = 12
_FIGURE_HAS_DEVICE = 13
_FIGURE_HAS_CUSTOMER = 14
_FIGURE_DELAY_S = 15


@inner_kernel(float64(int64))
def to_seconds(time_ns):
    """Return nanoseconds ≥ 0 in seconds, rounded once, as Python divides whole numbers."""
    if time_ns <= _EXACT_MAX:
        return time_ns / 1e9
    seconds, rest = time_ns // _NS_PER_S, time_ns % _NS_PER_S
    # More bits than a float64 has; the last one tells whether anything is behind it.
    shift = 32 if seconds >> 31 == 0 else 28
    part, behind = (rest << shift) // _NS_PER_S, (rest << shift) % _NS_PER_S
    whole = seconds << shift | part | np.int64(behind > 0)
    return np.float64(whole) / np.float64(np.int64(1) << shift)


@inner_kernel(void(READ_I64, READ_I64_2D, int64, int64, int64, WRITE_U32))
def write_own_figures(numbers, texts, has_place, time_ns, now_ns, figures):
    """Write a transaction's own figures, as `fraud/encoding` does; all others are made missing.

    Parameters
    ----------
    numbers, texts
        int64[NUMBERS], int64[TEXTS, 2], read-only: as `kernels/fraud_columns` says.
    has_place
        Whether it is known where it happened.
    time_ns, now_ns
        The time as of which it is assessed, and the server's.
    figures
        uint32[F], written.
    """
    patterns = figures.view(np.float32)
    figures[:] = _MISSING_CODE
    seconds = time_ns // _NS_PER_S
    amount = np.float64(numbers[AMOUNT_MINOR])
    patterns[_FIGURE_AMOUNT_MINOR] = np.float32(amount)
    figures[_FIGURE_TERMINAL] = np.uint32(numbers[TERMINAL_HASH])
    figures[_FIGURE_MERCHANT] = np.uint32(numbers[MERCHANT_HASH])
    patterns[_FIGURE_MCC] = np.float32(numbers[MCC])
    figures[_FIGURE_PRESENT] = np.uint32(numbers[PRESENT])
    figures[_FIGURE_CURRENCY] = np.uint32(numbers[CURRENCY])
    figures[_FIGURE_DEVICE] = np.uint32(numbers[DEVICE_HASH])
    patterns[_FIGURE_HOUR] = np.float32(seconds % _DAY_S // _HOUR_S)
    patterns[_FIGURE_AMOUNT] = np.float32(amount / _POWERS_OF_TEN[numbers[DIGITS]])
    patterns[_FIGURE_WEEKDAY] = np.float32((seconds // _DAY_S + _THURSDAY) % 7 + 1)
    figures[_FIGURE_HAS_PLACE] = np.uint32(has_place)
    figures[_FIGURE_HAS_DEVICE] = np.uint32(texts[DEVICE, 1] > texts[DEVICE, 0])
    figures[_FIGURE_HAS_CUSTOMER] = np.uint32(texts[CUSTOMER, 1] > texts[CUSTOMER, 0])
    delay_s = to_seconds(max(now_ns - numbers[GIVEN_NS], 0))
    patterns[_FIGURE_DELAY_S] = np.float32(delay_s)


@inner_kernel(void(READ_U32, int64, int64, int64, WRITE_I64))
def make_event(figures, moment_ms, code, is_approved, event):
    """Write a transaction as what velocities count.

    Parameters
    ----------
    figures
        uint32[F], read-only: the event's are the first of them.
    moment_ms, code
        When it counts, and as what kind.
    is_approved
        1 when it was approved, else 0.
    event
        int64[n], written, but for its padding; its length tells the number of the event's figures.
    """
    count = event[1] >> 32
    event[0] = moment_ms
    event[1] = count << 32 | code
    patterns = event.view(np.uint32)
    patterns[4 : 4 + count] = figures[:count]
    patterns[4 + _FIGURE_APPROVED] = np.uint32(is_approved)


KERNELS = (
    Kernel("to_seconds", to_seconds, ()),
    Kernel("write_own_figures", write_own_figures, ("figures",)),
    Kernel("make_event", make_event, ("event",)),
)
