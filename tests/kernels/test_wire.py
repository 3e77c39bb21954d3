"""Numbers of the wire as kernels read them, and values of msgpack as they write them."""

import struct

import msgpack
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from instanter.kernels import packing, wire
from tests.oracles import packing as packing_oracle
from tests.oracles import wire as wire_oracle

SIZES = (1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 10**12 - 1)
PLAIN = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
NUMBERS = st.sampled_from([0, *SIZES, 2**63 - 1]) | st.integers(0, 2**63 - 1)


@given(st.binary(max_size=12), st.integers(0, 12), st.integers(0, 12))
@example(b"\x80\x00", 0, 2)
@example(b"\xff" * 8 + b"\x7f", 0, 9)
@example(b"\xff" * 9 + b"\x01", 0, 10)
@example(b"\x80" * 9 + b"\x02", 0, 10)
@example(b"\x03abc", 0, 4)
@example(b"\x03abc", 0, 3)
def test_numbers_of_the_wire_are_read_as_the_twin_reads_them(data, at, end):
    at, end = min(at, len(data)), min(end, len(data))
    whole = np.frombuffer(data, np.uint8)
    for name in ("read_varint", "find_sized"):
        found = getattr(wire, name)(whole, at, end)
        assert tuple(found) == getattr(wire_oracle, name)(data, at, end)


@given(NUMBERS, st.floats(), st.text(PLAIN))
@example(0, -0.0, "x" * 31)
@example(127, 0.0, "x" * 32)
@example(128, 1.0, "x" * 255)
@example(255, 1.0, "x" * 256)
@example(65_536, float("nan"), "x" * 65_535)
def test_values_are_packed_as_the_library_packs_them(number, double, text):
    (bits,) = struct.unpack("<q", struct.pack("<d", double))
    data = np.frombuffer(b"--" + text.encode(), np.uint8)
    size = len(text)
    for name, values, packed in (
        ("write_whole", (number,), msgpack.packb(number)),
        ("write_double", (bits,), msgpack.packb(double)),
        ("write_head", (size, 1), msgpack.packb(text)[: -size or None]),
        ("write_head", (size, 0), msgpack.packb(bytes(size))[: -size or None]),
    ):
        for module in (packing, packing_oracle):
            body = np.zeros(24, np.uint8)
            assert getattr(module, name)(body, 3, *values) == 3 + len(packed)
            assert body.tobytes().rstrip(b"\0") == (bytes(3) + packed).rstrip(b"\0")
    for module in (packing, packing_oracle):
        body = np.zeros(size + 9, np.uint8)
        end = module.write_text(data, 2, len(data), body, 3)
        assert body[3:end].tobytes() == msgpack.packb(text)
