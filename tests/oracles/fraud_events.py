"""A transaction's own figures by `struct`, and its event."""

import struct

import numpy as np

from tests.oracles.derived_state import MISSING_CODE

DAY_S = 86_400


def to_seconds(time_ns):
    return time_ns / 1_000_000_000


def write_own_figures(numbers, texts, has_place, time_ns, now_ns, figures):
    amount, digits, currency, mcc, given_ns, present, *hashes = (int(one) for one in numbers)
    terminal, merchant, device = hashes
    seconds = time_ns // 1_000_000_000
    known = [int(end > start) for start, end in texts]
    event = struct.pack(
        "<fIIfIIIIIfffIIIf", amount, terminal, merchant, mcc, present, MISSING_CODE, MISSING_CODE,
        currency, device, seconds % DAY_S // 3_600, amount / 10**digits,
        (seconds // DAY_S + 3) % 7 + 1, has_place, known[5], known[2],
        to_seconds(max(now_ns - given_ns, 0)),
    )  # fmt: skip
    figures[:] = MISSING_CODE
    figures[: len(event) // 4] = np.frombuffer(event, np.uint32)


def make_event(figures, moment_ms, code, is_approved, event):
    count = int(event[1]) >> 32
    patterns = figures[:count].tolist()
    patterns[5] = is_approved
    packed = struct.pack(f"<qII{count}I", moment_ms, code, count, *patterns)
    event.view(np.uint8)[: len(packed)] = np.frombuffer(packed, np.uint8)
