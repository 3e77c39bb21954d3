"""Records and rows of approved transactions, and findings of others, by msgpack and `struct`."""

import struct

import google_crc32c
import msgpack
import numpy as np


def pack_counted(numbers, texts, data, said, event, features):
    latitude, longitude = said[4:6].view(np.float64).tolist()
    names = [data[first:last].tobytes().decode() for first, last in texts]
    count = int(event[1]) >> 32
    return msgpack.packb(
        [
            *names[1:6], int(said[1]), int(numbers[0]), names[6], int(numbers[3]), bool(said[15]),
            *([latitude, longitude] if said[6] else [None, None]),
            event.tobytes()[16 : 16 + 4 * count], features.tobytes(), int(said[8]),
        ]
    )  # fmt: skip


def write_finding(numbers, texts, data, said, event, figures, features, fired, out, at, ends):
    counted = pack_counted(numbers, texts, data, said, event, features)
    rest = figures.tobytes() + fired[: said[14]].tobytes()
    end = at + len(counted) + len(rest)
    if end > len(out):
        return 0
    out[at:end] = np.frombuffer(counted + rest, np.uint8)
    ends[:] = at + len(counted), end
    return 1


def write_assessment(
    numbers, texts, data, packed, start, end, ids, own_key, digest, said, event, figures, features,
    out, at, ends,
):  # fmt: skip
    key, own_digest = (ids[first : first + 16].tobytes() for first in (own_key, digest))
    sequence, has_reason, revision, lacks = said[[0, 7, 9, 10]].tolist()
    risk, probability = said[2:4].view(np.float64).tolist()
    reasons = ["MODEL"] if has_reason else []
    verdict = msgpack.packb([1, 1, risk, probability, reasons, [], [], [4] * lacks, [], revision])
    counted = pack_counted(numbers, texts, data, said, event, features)
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
