"""What a hostile client sends: bytes behind a preface that was in order, or not even that."""

import struct
from collections.abc import Callable

from hpack import Encoder

from tests.api.interop.echo import NAME
from tests.api.interop.raw import (
    CONTINUATION,
    DATA,
    HEADERS,
    HELLO,
    PING,
    PREFACE,
    PRIORITY,
    PUSH,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    frame,
)

END_STREAM, END_HEADERS, WITH_PRIORITY = 0x1, 0x4, 0x20
GREETING = PREFACE + frame(SETTINGS, 0, 0)


def encode_headers(extra: dict[str, str] | None = None) -> bytes:
    """Return the header block of a call that names everything anew each time."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": f"/{NAME}/Say", ":authority": "a",
        "te": "trailers", "content-type": "application/grpc", **(extra or {}),
    }  # fmt: skip
    block: bytes = Encoder().encode(list(fields.items()))
    return block


BLOCK = encode_headers()


def streams(count: int) -> range:
    return range(1, 2 * count, 2)


def rapid_reset() -> bytes:
    return b"".join(
        frame(HEADERS, END_HEADERS, i, BLOCK) + frame(RST_STREAM, 0, i, b"\0\0\0\x08")
        for i in streams(5_000)
    )


def rapid_reset_of_whole_requests() -> bytes:
    return b"".join(
        frame(HEADERS, END_HEADERS, i, BLOCK)
        + frame(DATA, END_STREAM, i, HELLO)
        + frame(RST_STREAM, 0, i, b"\0\0\0\x08")
        for i in streams(5_000)
    )


def resets_by_the_server() -> bytes:
    """Make the server itself reset streams: windows that overflow."""
    return b"".join(
        frame(HEADERS, END_HEADERS, i, BLOCK) + frame(WINDOW, 0, i, b"\x7f\xff\xff\xff")
        for i in streams(5_000)
    )


def continuations_without_end() -> bytes:
    return frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1) * 5_000


def header_bomb() -> bytes:
    """4 kB in the table once, then named again and again by one byte each: 48 MB."""
    bomb = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4_000
    return frame(HEADERS, END_HEADERS, 1, BLOCK + bomb + b"\xbe" * 12_000)


def headers_in_large_frames() -> bytes:
    more = frame(CONTINUATION, 0, 1, b"\0\x01z\x7f\xc1\x3d" + b"z" * 8_000)
    return frame(HEADERS, 0, 1, BLOCK) + more * 20


def half_messages() -> bytes:
    """100 streams that each promise a megabyte and send nearly all of it."""
    begin = b"\0" + (1 << 20).to_bytes(4, "big")
    out = [frame(HEADERS, END_HEADERS, i, BLOCK) + frame(DATA, 0, i, begin) for i in streams(100)]
    piece = bytes(16_000)
    out += [frame(DATA, 0, i, piece) for _ in range(2) for i in streams(100)]
    return b"".join(out)


def tiny_pieces() -> bytes:
    begin = frame(HEADERS, END_HEADERS, 1, BLOCK) + frame(DATA, 0, 1, b"\0\0\0\xff\xff")
    return begin + frame(DATA, 0, 1, b"x") * 20_000


def empty_pieces() -> bytes:
    return frame(HEADERS, END_HEADERS, 1, BLOCK) + frame(DATA, 0, 1) * 20_000


def settings_flood() -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)) * 20_000


def settings_of_many_entries() -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535) * 2_000)


def ping_flood() -> bytes:
    return frame(PING, 0, 0, b"pingping") * 20_000


def window_flood() -> bytes:
    return frame(WINDOW, 0, 0, b"\0\0\0\x01") * 50_000


def window_of_nothing() -> bytes:
    return frame(WINDOW, 0, 0, b"\0\0\0\0")


def window_overflow() -> bytes:
    return frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2


def window_far_too_large() -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31))


def priorities_of_oneself() -> bytes:
    return frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 255)) * 50_000


def headers_that_depend_on_themselves() -> bytes:
    return frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, struct.pack(">IB", 1, 9) + BLOCK)


def frame_too_long() -> bytes:
    return frame(HEADERS, END_HEADERS, 1, bytes(1 << 20))


def data_on_no_stream() -> bytes:
    return frame(DATA, 0, 0, b"x") + frame(DATA, 0, 99, b"x")


def streams_of_the_server() -> bytes:
    return frame(HEADERS, END_HEADERS, 2, BLOCK)


def streams_that_go_back() -> bytes:
    return frame(HEADERS, END_HEADERS, 9, BLOCK) + frame(HEADERS, END_HEADERS, 3, BLOCK)


def pushes_to_the_server() -> bytes:
    return frame(PUSH, END_HEADERS, 1, b"\0\0\0\x02" + BLOCK)


def broken_compression() -> bytes:
    return frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff")


def unknown_frames() -> bytes:
    return frame(0xEE, 0xFF, 7, b"?" * 100) * 20_000


BEHIND_A_GREETING: tuple[Callable[[], bytes], ...] = (
    broken_compression, continuations_without_end, data_on_no_stream, empty_pieces,
    frame_too_long, half_messages, header_bomb, headers_in_large_frames,
    headers_that_depend_on_themselves, ping_flood, priorities_of_oneself, pushes_to_the_server,
    rapid_reset, rapid_reset_of_whole_requests, resets_by_the_server, settings_flood,
    settings_of_many_entries, streams_of_the_server, streams_that_go_back, tiny_pieces,
    unknown_frames, window_far_too_large, window_flood, window_of_nothing, window_overflow,
)  # fmt: skip
"""Attacks by a client that speaks HTTP/2."""

NO_GREETING = {
    "garbage": b"\x00\xff" * 500,
    "an old browser": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "half a preface, then nonsense": PREFACE[:10] + b"?" * 40,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "a frame before settings": PREFACE + frame(PING, 0, 0, b"12345678"),
}
"""Attacks by what is no HTTP/2 at all."""

TOLERATED = {"half_messages", "streams_that_go_back"}
"""What does not end the connection on the fast front: it costs one stream, or is ignored."""
