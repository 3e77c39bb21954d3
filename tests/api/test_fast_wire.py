"""The words of gRPC on the wire, one by one."""

import random
import tracemalloc
import zlib
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instanter.errors import ExhaustedError, InvalidFieldError, NotFoundError
from instanter.rpc.fast.wire import (
    RESPONSE_HEADERS,
    RESPONSE_HEADERS_COUNT,
    decompress,
    encode_message,
    is_grpc,
    make_encoding_refusal_headers,
    make_refusal_headers,
    make_status_headers,
    parse_timeout_ns,
)
from instanter.rpc.status import make_status

UNITS_NS = {"n": 1, "u": 10**3, "m": 10**6, "S": 10**9, "M": 60 * 10**9, "H": 3600 * 10**9}


@given(number=st.integers(0, 99_999_999), unit=st.sampled_from(sorted(UNITS_NS)))
def test_a_timeout_is_a_number_and_a_unit(number: int, unit: str) -> None:
    assert parse_timeout_ns(f"{number}{unit}".encode()) == number * UNITS_NS[unit]


@given(raw=st.binary(max_size=12))
def test_what_is_no_timeout_is_none_and_never_raises(raw: bytes) -> None:
    found = parse_timeout_ns(raw)
    digits, unit = raw[:-1], raw[-1:].decode("latin-1")
    right = unit in UNITS_NS and 0 < len(digits) <= 8 and all(48 <= d <= 57 for d in digits)
    assert (found is not None) == right


@given(text=st.text())
def test_a_message_survives_its_header(text: str) -> None:
    raw = encode_message(text)
    assert all(0x20 <= byte <= 0x7E for byte in raw)
    assert raw == raw.strip(b" ")
    shown = text.encode("utf-8", "backslashreplace").decode()
    assert unquote(raw.decode("ascii")) == shown


@pytest.mark.parametrize(
    "content_type", [b"application/grpc", b"application/grpc+proto", b"application/grpc;a=b"]
)
def test_content_types_of_grpc(content_type: bytes) -> None:
    assert is_grpc(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"application/json",
        b"application/grpc-web",
        b"application/grpc+json",
        b"application/grp",
    ],
)
def test_content_types_of_others(content_type: bytes) -> None:
    assert not is_grpc(content_type)


def test_every_refusal_begins_with_the_headers_of_a_response() -> None:
    """So that what follows them can end a stream whose headers have been sent."""
    for headers in (
        make_refusal_headers(13, "cut"),
        make_encoding_refusal_headers(b"snappy"),
        make_status_headers(make_status(NotFoundError("nothing"))),
    ):
        assert tuple(headers[:RESPONSE_HEADERS_COUNT]) == RESPONSE_HEADERS
        assert headers[RESPONSE_HEADERS_COUNT][0] == b"grpc-status"


@pytest.mark.parametrize("wbits", [31, 15], ids=["gzip", "deflate"])
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    noise_bytes=st.integers(0, 200_000),
    repeats=st.integers(1, 4),
)
def test_what_was_compressed_comes_back(
    wbits: int, seed: int, noise_bytes: int, repeats: int
) -> None:
    whole = random.Random(seed).randbytes(noise_bytes) * repeats
    packer = zlib.compressobj(1, zlib.DEFLATED, wbits)
    raw = packer.compress(whole) + packer.flush()
    encoding = b"gzip" if wbits == 31 else b"deflate"
    assert decompress(raw, encoding, len(whole)) == whole
    for broken in (raw[:-1], raw + b"x", raw + raw):
        with pytest.raises(InvalidFieldError):
            decompress(broken, encoding, 8 * len(whole) + 1_000)
    if whole:
        with pytest.raises(ExhaustedError):
            decompress(raw, encoding, len(whole) - 1)


def test_a_bomb_is_not_held_beyond_the_limit() -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)
    limit = 4 << 20
    tracemalloc.start()
    try:
        with pytest.raises(ExhaustedError, match="4,194,304 bytes"):
            decompress(bomb, b"deflate", limit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit * 9 // 8 + (512 << 10)
