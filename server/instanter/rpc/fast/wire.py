"""The words of gRPC over HTTP/2: message prefix, timeouts, encodings, and the header fields.

Written after "gRPC over HTTP2" (PROTOCOL-HTTP2.md) and "Status codes and their use in gRPC".
Everything that is the same in every call is encoded once, here.
"""

import struct
import zlib
from base64 import b64encode
from typing import Final
from urllib.parse import quote_from_bytes

from google.rpc import code_pb2, status_pb2
from ngh2 import Header, NeverIndexedHeader

from instanter.errors import ExhaustedError, InvalidFieldError

PREFIX: Final = struct.Struct(">BI")
"""Before each message: whether it is compressed, and its size in bytes."""

PREFIX_SIZE_BYTES: Final = PREFIX.size

ENCODINGS: Final = b"identity,deflate,gzip"
"""Encodings of a request that are understood."""

_CONTENT_TYPE: Final = (b"content-type", b"application/grpc")
_STATUS_OK: Final = (b":status", b"200")

RESPONSE_HEADERS: Final[tuple[Header, ...]] = (_STATUS_OK, _CONTENT_TYPE)
"""Headers before the message of a call that succeeded."""

RESPONSE_HEADERS_COUNT: Final = len(RESPONSE_HEADERS)
"""How many headers of a refusal are not its trailers: it begins with the same."""

RESPONSE_TRAILERS: Final[tuple[Header, ...]] = ((b"grpc-status", b"0"),)
"""Trailers behind it."""

NOT_GRPC_HEADERS: Final[tuple[Header, ...]] = ((b":status", b"415"),)
"""The answer to what is no gRPC at all."""

NOT_POST_HEADERS: Final[tuple[Header, ...]] = ((b":status", b"405"), (b"allow", b"POST"))
"""The answer to another HTTP method."""

_TIMEOUT_UNITS_NS: Final = {
    b"n": 1,
    b"u": 1_000,
    b"m": 1_000_000,
    b"S": 1_000_000_000,
    b"M": 60_000_000_000,
    b"H": 3_600_000_000_000,
}
_TIMEOUT_DIGITS_MAX: Final = 8
_PIECE_SIZE_BYTES: Final = 64 << 10
_WINDOW_BITS: Final = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
# All of printable ASCII but the percent sign travels as it is.
_MESSAGE_SAFE: Final = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


class Framing:
    """Puts the prefix before messages that many are sent: once for all who follow each other."""

    __slots__ = ("_framed", "_message")

    def __init__(self) -> None:
        self._message = self._framed = b""

    def frame(self, message: bytes) -> bytes:
        """Return a message with its prefix; the last one is kept."""
        if message is not self._message:
            self._message = message
            self._framed = PREFIX.pack(0, len(message)) + message
        return self._framed


def parse_timeout_ns(raw: bytes) -> int | None:
    """Return what `grpc-timeout` says in nanoseconds, or None when it makes no sense.

    Parameters
    ----------
    raw
        Value of the header: 1 to 8 digits and a unit of `H`, `M`, `S`, `m`, `u`, `n`.
    """
    unit_ns = _TIMEOUT_UNITS_NS.get(raw[-1:])
    digits = raw[:-1]
    # (`isdigit` of bytes means ASCII digits, and is false for none.)
    if unit_ns is None or not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS_MAX:
        return None
    return int(digits) * unit_ns


def is_grpc(content_type: bytes) -> bool:
    """Say whether the content type is gRPC with protobuf messages."""
    rest = content_type.removeprefix(b"application/grpc")
    if len(rest) == len(content_type):
        return False
    return not rest or rest == b"+proto" or rest.startswith((b";", b"+proto;"))


def is_known_encoding(encoding: bytes) -> bool:
    """Say whether compressed requests of this `grpc-encoding` can be read."""
    return encoding == b"identity" or encoding in _WINDOW_BITS


def decompress(raw: bytes | memoryview, encoding: bytes, size_bytes_max: int) -> bytearray:
    """Return a message as it was before its compression.

    Beside the compressed message no more is held than `size_bytes_max` and a piece of 64 kB (and
    the eighth by which a growing `bytearray` is ahead).

    Parameters
    ----------
    raw
        The compressed message.
    encoding
        A known `grpc-encoding` other than identity.
    size_bytes_max
        How long the message may be.

    Raises
    ------
    ExhaustedError
        The message is longer; no more than that was decompressed.
    InvalidFieldError
        It is damaged or cut.
    """
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    message = bytearray()
    unread = memoryview(raw)
    while unread:
        # In pieces, for what is left of a piece is copied each time.
        piece: bytes | memoryview = unread[:_PIECE_SIZE_BYTES]
        unread = unread[_PIECE_SIZE_BYTES:]
        # (Behind the end, zlib goes on naming what it did not consume.)
        while piece and not inflater.eof:
            try:
                message += inflater.decompress(piece, _PIECE_SIZE_BYTES)
            except zlib.error as error:
                raise _undecompressable(encoding) from error
            if len(message) > size_bytes_max:
                raise too_long(len(message), size_bytes_max)
            piece = inflater.unconsumed_tail
        if inflater.eof:
            break
    # The last piece may have more to give than one piece's length.
    while not inflater.eof:
        more = inflater.decompress(b"", _PIECE_SIZE_BYTES)
        if not more:
            raise _undecompressable(encoding)
        message += more
        if len(message) > size_bytes_max:
            raise too_long(len(message), size_bytes_max)
    if unread or inflater.unused_data:
        raise _undecompressable(encoding)
    return message


def too_long(size_bytes: int, size_bytes_max: int) -> ExhaustedError:
    """Return the error of a message that is longer than messages may be."""
    return ExhaustedError(
        f"a message of {size_bytes:,} bytes or more is refused; the longest has"
        f" {size_bytes_max:,} bytes",
        reason="MESSAGE_TOO_LONG",
    )


def make_status_headers(status: status_pb2.Status) -> list[Header]:
    """Return the headers of a call that ends with a status and without a message.

    They are sent without a place in the compression table: each is about one call, and would
    only push out what all calls share.
    """
    headers = make_refusal_headers(status.code, status.message)
    if status.details:
        details = b64encode(status.SerializeToString()).rstrip(b"=")
        headers.append(NeverIndexedHeader(b"grpc-status-details-bin", details))
    return headers


def make_refusal_headers(code: int, message: str) -> list[Header]:
    """Return the headers of a call that breaks the protocol's own rules: code and message."""
    return [
        _STATUS_OK,
        _CONTENT_TYPE,
        (b"grpc-status", b"%d" % code),
        NeverIndexedHeader(b"grpc-message", encode_message(message)),
    ]


def make_encoding_refusal_headers(encoding: bytes) -> list[Header]:
    """Return the headers of a call whose `grpc-encoding` is unknown, with those that are known."""
    shown = encoding[:40].decode("ascii", "backslashreplace")
    return [
        *make_refusal_headers(
            code_pb2.UNIMPLEMENTED,
            f"grpc-encoding '{shown}' is not known; send one of {ENCODINGS.decode()}",
        ),
        (b"grpc-accept-encoding", ENCODINGS),
    ]


def encode_message(message: str) -> bytes:
    """Return a status message as its header carries it: percent-encoded UTF-8."""
    text = quote_from_bytes(message.encode("utf-8", "backslashreplace"), safe=_MESSAGE_SAFE)
    # A header neither begins nor ends with a space (RFC 9113, section 8.2.1).
    stripped = text.strip(" ")
    if len(stripped) != len(text):
        before = len(text) - len(text.lstrip(" "))
        text = "%20" * before + stripped + "%20" * (len(text) - len(stripped) - before)
    return text.encode("ascii")


def _undecompressable(encoding: bytes) -> InvalidFieldError:
    return InvalidFieldError(
        "request",
        "the compressed bytes",
        f"one whole message compressed with {encoding.decode()}",
        reason="REQUEST_UNDECODABLE",
    )
