"""One event of a record's body, packed by msgpack."""

import hashlib
import struct

import msgpack


def write_event(data, parts, code, time_ns, time_ms, patterns, count, message, body, at):
    event_id, customer = (bytes(data[parts[i] : parts[i + 1]]) for i in (0, 2))
    encoded = struct.pack(f"<II{count}I{4 * (count % 2)}x", code, count, *patterns[:count].tolist())
    time = b"\xff" * 16 if time_ns < 0 else int(time_ns).to_bytes(16, "big")
    row = (
        event_id.decode(),
        hashlib.blake2b(event_id, digest_size=16).digest(),
        hashlib.blake2b(time + encoded + customer, digest_size=16).digest(),
        customer.decode(),
        struct.pack("<q", time_ms) + encoded,
    )
    packed = msgpack.packb(row)
    body[at : at + len(packed)] = list(packed)
    return at + len(packed)
