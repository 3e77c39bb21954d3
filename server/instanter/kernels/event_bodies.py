"""One event written into the body of a record, as `kernels/event_records` reads it there."""

import numpy as np
from numba import int64, void

from instanter.kernels.array_types import (
    READ_I64,
    READ_U8,
    READ_U32,
    WRITE_U8,
    WRITE_U64,
)
from instanter.kernels.checksums import digest_blake2b
from instanter.kernels.compilation import Kernel, inner_kernel
from instanter.kernels.packing import write_head, write_text

PART_ID = 0
PART_ID_END = 1
PART_CUSTOMER = 2
PART_CUSTOMER_END = 3
PART_KIND = 4
PART_KIND_END = 5
PART_TIME = 6
PART_TIME_END = 7
PART_FIELDS_COUNT = 8
PARTS = 9
"""Where the parts of one event are on the wire, and how many fields it has."""

MESSAGE_WORDS = 64
"""Of the longest message that is digested, 16 + 208 + 256 bytes, in whole blocks of 128."""


@inner_kernel(void(WRITE_U8, int64, int64, int64))
def write_number(body, at, number, count):
    """Write a number as `count` bytes, little-endian.

    Parameters
    ----------
    body, at, number, count
        uint8[n], written from `at` on; what, and how many bytes of it.
    """
    for i in range(count):
        body[at + i] = np.uint8(number >> 8 * i & 0xFF)


@inner_kernel(int64(WRITE_U8, int64, WRITE_U64, int64))
def write_digest(body, at, message, size):
    """Write the digest of the first `size` bytes of a message as msgpack bytes.

    Parameters
    ----------
    body, at
        uint8[n], written from `at` on.
    message, size
        uint64[MESSAGE_WORDS], written: what is behind the message is made NUL.

    Returns
    -------
    int
        What follows in the body.
    """
    message_bytes = message.view(np.uint8)
    for i in range(size, size + 127 & -128):
        message_bytes[i] = 0
    at = write_head(body, at, 16, 0)
    digest_blake2b(message, size, body, at)
    return at + 16


@inner_kernel(
    int64(READ_U8, READ_I64, int64, int64, int64, READ_U32, int64, WRITE_U64, WRITE_U8, int64)
)
def write_event(data, parts, code, time_ns, time_ms, patterns, count, message, body, at):
    """Write one event into the body, and return what follows it.

    Parameters
    ----------
    data, parts
        uint8[n], int64[PARTS], read-only: the wire, and where on it the event's parts are.
    code, time_ns, time_ms
        Its kind's code, when it happened, −1 for not told, and what that counts as.
    patterns, count
        uint32[n], read-only: its fields' patterns, and how many of them.
    message
        uint64[MESSAGE_WORDS], written: room for what is digested.
    body, at
        uint8[n], written from `at` on.
    """
    message_bytes = message.view(np.uint8)
    id_start, id_end = parts[PART_ID], parts[PART_ID_END]
    customer, customer_end = parts[PART_CUSTOMER], parts[PART_CUSTOMER_END]
    body[at] = 0x95
    at = write_text(data, id_start, id_end, body, at + 1)
    for i in range(id_start, id_end):
        message_bytes[i - id_start] = data[i]
    at = write_digest(body, at, message, id_end - id_start)
    # An event's digest is of its time, big-endian, of the encoded event and of the customer's id.
    for i in range(16):
        message_bytes[i] = 0xFF if time_ns < 0 else 0
    if time_ns >= 0:
        for i in range(8):
            message_bytes[15 - i] = np.uint8(time_ns >> 8 * i & 0xFF)
    encoded_size = 8 + 4 * (count + (count & 1))
    write_number(message_bytes, 16, code, 4)
    write_number(message_bytes, 20, count, 4)
    for i in range(count):
        write_number(message_bytes, 24 + 4 * i, np.int64(patterns[i]), 4)
    if count & 1:
        write_number(message_bytes, 24 + 4 * count, 0, 4)
    end = 16 + encoded_size
    for i in range(customer, customer_end):
        message_bytes[end + i - customer] = data[i]
    at = write_digest(body, at, message, end + customer_end - customer)
    at = write_text(data, customer, customer_end, body, at)
    at = write_head(body, at, 8 + encoded_size, 0)
    write_number(body, at, time_ms, 8)
    for i in range(encoded_size):
        body[at + 8 + i] = message_bytes[16 + i]
    return at + 8 + encoded_size


KERNELS = (Kernel("write_event", write_event, ("message", "body")),)
