"""msgpack as the library writes it."""

import struct

import msgpack


def write_head(body, at, size, is_text):
    whole = msgpack.packb("x" * size if is_text else b"x" * size)
    return _write(body, at, whole[: len(whole) - size])


def write_text(data, start, end, body, at):
    return _write(body, at, msgpack.packb(bytes(data[start:end]).decode()))


def write_whole(body, at, number):
    return _write(body, at, msgpack.packb(number))


def write_double(body, at, bits):
    return _write(body, at, msgpack.packb(struct.unpack("<d", struct.pack("<q", bits))[0]))


def _write(body, at, packed):
    body[at : at + len(packed)] = list(packed)
    return at + len(packed)
