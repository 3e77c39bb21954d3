"""Connections of subscribers and of a till, in frames made by hand.

grpcio takes 50 to 100 µs of a core for a message of a stream, more than the server, and its times
would be those of the client. A reader here takes bytes from the socket with the time, and looks at
them when nothing else is to be done.
"""

import socket
import struct
import time
from dataclasses import dataclass, field

import hpack

from bench.http2 import PREFACE, Answers, encode_call, encode_frame, encode_headers

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 1
_WINDOW_SIZE_BYTES_MAX = (1 << 31) - 1
_WINDOW_SIZE_BYTES_FIRST = (1 << 16) - 1
_WIDE_OPEN = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + encode_frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, _WINDOW_SIZE_BYTES_MAX))
    + encode_frame(
        _WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW_SIZE_BYTES_MAX - _WINDOW_SIZE_BYTES_FIRST)
    )
)
"""Windows that no run fills: the reader sends nothing while it is timed."""


@dataclass(slots=True)
class Streams:
    """Takes the bytes of one connection apart into the messages of its streams.

    Attributes
    ----------
    ended
        Trailers of each stream that has ended, by its number; None when it was reset.
    replies
        What the server waits for.
    is_going
        Whether the server has said that it takes no further calls.
    """

    ended: dict[int, dict[bytes, bytes] | None] = field(default_factory=dict)
    replies: bytearray = field(default_factory=bytearray)
    is_going: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _partial: dict[int, bytearray] = field(default_factory=dict)
    _decoder: hpack.Decoder = field(default_factory=hpack.Decoder)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes; return the messages that are whole with them, each with its stream."""
        buffer = self._buffer
        buffer += data
        found: list[tuple[int, bytes]] = []
        at = 0
        while len(buffer) - at >= 9:
            size = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at < 9 + size:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & 0x7FFFFFFF
            payload = bytes(buffer[at + 9 : at + 9 + size])
            at += 9 + size
            if kind == _DATA:
                self._take_data(stream, payload, found)
            elif kind == _HEADERS:
                fields = dict(self._decoder.decode(payload, raw=True))
                if flags & _END_STREAM:
                    self.ended[stream] = fields
            elif kind == _RST_STREAM:
                self.ended[stream] = None
            elif kind == _GOAWAY:
                self.is_going = True
            elif kind == _SETTINGS and not flags & _ACK:
                self.replies += encode_frame(_SETTINGS, _ACK, 0, b"")
            elif kind == _PING and not flags & _ACK:
                self.replies += encode_frame(_PING, _ACK, 0, payload)
        del buffer[:at]
        return found

    def _take_data(self, stream: int, payload: bytes, found: list[tuple[int, bytes]]) -> None:
        waiting = self._partial.pop(stream, None)
        data = payload if waiting is None else bytes(waiting) + payload
        at = 0
        while len(data) - at >= 5:
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
            if end > len(data):
                break
            found.append((stream, data[at + 5 : end]))
            at = end
        if at < len(data):
            self._partial[stream] = bytearray(data[at:])


def open_streams(
    target: str, method: str, body: bytes, count: int, *, receive_size_bytes: int = 0
) -> socket.socket:
    """Connect, and make a streamed call so many times on the connection.

    Parameters
    ----------
    target
        `host:port`.
    method, body
        Path of the method and the encoded request.
    count
        Streams of the connection; their numbers are 1, 3, 5 …
    receive_size_bytes
        Of the socket's buffer, with windows as narrow as HTTP/2 begins with: for a subscriber that
        will not read. 0 for as wide as they go.
    """
    host, _, port = target.rpartition(":")
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_size_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_size_bytes)
    connection.connect((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    block = encode_headers(method)
    calls = b"".join(encode_call(2 * at + 1, block, body) for at in range(count))
    connection.sendall((PREFACE if receive_size_bytes else _WIDE_OPEN) + calls)
    return connection


class Till:
    """A connection with one call under way: it sends, and waits for the answer without spinning.

    Parameters
    ----------
    target
        `host:port`.
    method
        Path of the method.
    """

    def __init__(self, target: str, method: str) -> None:
        host, _, port = target.rpartition(":")
        self._connection = socket.create_connection((host, int(port)))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sendall(PREFACE)
        self._block = encode_headers(method)
        self._answers = Answers()
        self._stream = 1

    def call(self, body: bytes) -> tuple[int, int]:
        """Make a call; return when it was sent and answered, by the monotonic clock in ns."""
        frames = self._answers.take_replies() + encode_call(self._stream, self._block, body)
        self._stream += 2
        sent_ns = time.perf_counter_ns()
        self._connection.sendall(frames)
        while True:
            received = self._connection.recv(1 << 16)
            answered_ns = time.perf_counter_ns()
            assert received, "the server hung up"
            if self._answers.feed(received):
                return sent_ns, answered_ns

    def close(self) -> None:
        """Close the connection, and make sure that every call has succeeded."""
        self._connection.close()
        self._answers.check()
