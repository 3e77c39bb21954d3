"""Records and rows of approved transactions by msgpack and `struct`."""

import struct

import google_crc32c
import msgpack
import numpy as np


def write_assessment(
    numbers, texts, data, packed, start, end, ids, own_key, digest, said, event, figures, features,
    out, at, ends,
):  # fmt: skip
    key, own_digest = (ids[first : first + 16].tobytes() for first in (own_key, digest))
    sequence, time_ns, _, _, _, _, has_place, has_reason, model_id, revision, lacks = said.tolist()
    risk, probability, latitude, longitude = said[2:6].view(np.float64).tolist()
    reasons = ["MODEL"] if has_reason else []
    names = [data[first:last].tobytes().decode() for first, last in texts]
    verdict = msgpack.packb([1, 1, risk, probability, reasons, [], [], [4] * lacks, [], revision])
    count = int(event[1]) >> 32
    counted = msgpack.packb(
        [
            *names[1:6], time_ns, int(numbers[0]), names[6], int(numbers[3]), True,
            *([latitude, longitude] if has_place else [None, None]),
            event.tobytes()[16 : 16 + 4 * count], features.tobytes(), model_id,
        ]
    )  # fmt: skip
    body = msgpack.packb(
        {
            "transaction": packed[start:end].tobytes(), "key": key, "digest": own_digest,
            "verdict": verdict, "counted": counted, "figures": figures.tobytes(), "fired": [],
            "stopping": [], "shadowed": [], "evidence": None,
        }
    )  # fmt: skip
    head = struct.pack("<16sQQHBBII", own_digest, sequence, 0, 0, 0, 0, 0, len(verdict))
    value = head + verdict + counted
    row = struct.pack("<I", len(value)) + value + b"\0" * (-len(value) % 8)
    row += struct.pack("<I", google_crc32c.value(key + row))
    if at + len(body) + len(row) > len(out):
        return 0
    out[at : at + len(body) + len(row)] = np.frombuffer(body + row, np.uint8)
    ends[:] = at + len(body), at + len(body) + len(row)
    return 1
