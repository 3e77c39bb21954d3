"""Calls over HTTP/2 in frames made by hand.

grpcio takes about 400 µs of a core for a call, more than the server, and its times would be those
of the client.
"""

import selectors
import socket
import time
from dataclasses import dataclass, field

import hpack

from bench.load import frame_message

_IN_FLIGHT_MAX = 200
"""Calls at a time, below what a server allows on a connection; a call that waits for one of them
is as late as it is."""

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_FRAME_SIZE_BYTES_MAX = 1 << 14


def encode_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    size = len(payload).to_bytes(3, "big")
    return b"".join((size, bytes((kind, flags)), stream.to_bytes(4, "big"), payload))


def encode_call(stream: int, header_block: bytes, body: bytes) -> bytes:
    """Return the frames of one call; its headers leave the compression's table alone."""
    frames = [encode_frame(_HEADERS, _END_HEADERS, stream, header_block)]
    data = frame_message(body)
    for at in range(0, len(data), _FRAME_SIZE_BYTES_MAX):
        is_last = at + _FRAME_SIZE_BYTES_MAX >= len(data)
        part = data[at : at + _FRAME_SIZE_BYTES_MAX]
        frames.append(encode_frame(_DATA, _END_STREAM if is_last else 0, stream, part))
    return b"".join(frames)


def encode_headers(method: str) -> bytes:
    """Return the headers of a call, which leave the compression's table alone."""
    headers = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", method),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    block: bytes = hpack.Encoder().encode(
        [hpack.NeverIndexedHeaderTuple(name, value) for name, value in headers]
    )
    return block


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + encode_frame(_SETTINGS, 0, 0, b"")


class Answers:
    """Reads the frames of a connection: which streams have ended, and how."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._blocks: list[bytes] = []
        self._replies = bytearray()
        self._received_count = 0

    def feed(self, data: bytes) -> list[int]:
        """Take bytes; return the streams that have ended with them."""
        buffer = self._buffer
        buffer += data
        ended = []
        while len(buffer) >= 9 and len(buffer) >= (size := 9 + int.from_bytes(buffer[:3], "big")):
            kind, flags = buffer[3], buffer[4]
            stream = int.from_bytes(buffer[5:9], "big")
            payload = bytes(buffer[9:size])
            del buffer[:size]
            assert kind not in (_RST_STREAM, _GOAWAY), "the server refused a call"
            if kind == _HEADERS:
                self._blocks.append(payload)
            elif kind == _DATA:
                self._received_count += len(payload)
            elif kind == _SETTINGS and not flags & _ACK:
                self._replies += encode_frame(_SETTINGS, _ACK, 0, b"")
            elif kind == _PING and not flags & _ACK:
                self._replies += encode_frame(_PING, _ACK, 0, payload)
            if kind in (_HEADERS, _DATA) and flags & _END_STREAM:
                ended.append(stream)
        return ended

    def take_replies(self) -> bytes:
        """Return what the server waits for: acknowledgements, and room for more answers."""
        if self._received_count > 1 << 14:
            room = self._received_count.to_bytes(4, "big")
            self._replies += encode_frame(_WINDOW_UPDATE, 0, 0, room)
            self._received_count = 0
        replies = bytes(self._replies)
        self._replies.clear()
        return replies

    def check(self) -> None:
        """Make sure that every call has succeeded; done afterwards, to take no time meanwhile."""
        decoder = hpack.Decoder()
        for block in self._blocks:
            fields = dict(decoder.decode(block, raw=True))
            assert fields.get(b":status", b"200") == b"200", fields
            assert fields.get(b"grpc-status", b"0") == b"0", fields


@dataclass(slots=True)
class _Client:
    """One connection with one call under way."""

    connection: socket.socket
    frames: list[bytes]
    answers: Answers = field(default_factory=Answers)
    sent_count: int = 0
    begun_s: float = 0.0

    def send(self) -> None:
        """Send the next call, and what the server waits for."""
        data = self.answers.take_replies()
        if self.sent_count < len(self.frames):
            data += self.frames[self.sent_count]
            self.sent_count += 1
            self.begun_s = time.perf_counter()
        if data:
            self.connection.sendall(data)


def send_closed(target: str, bodies: list[list[bytes]], method: str) -> list[float]:
    """Send each client's bodies one after the other; return seconds of each call."""
    host, _, port = target.rpartition(":")
    block = encode_headers(method)
    times: list[float] = []
    wanted = sum(map(len, bodies))
    clients: list[_Client] = []
    with selectors.DefaultSelector() as selector:
        for own in bodies:
            connection = socket.create_connection((host, int(port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(PREFACE)
            frames = [encode_call(2 * at + 1, block, body) for at, body in enumerate(own)]
            client = _Client(connection, frames)
            clients.append(client)
            selector.register(connection, selectors.EVENT_READ, client)
            client.send()
        while len(times) < wanted:
            for key, _ in selector.select(60.0):
                client = key.data
                received = client.connection.recv(1 << 16)
                assert received, "the server hung up"
                ended = client.answers.feed(received)
                if ended:
                    times.append(time.perf_counter() - client.begun_s)
                    client.send()
                elif replies := client.answers.take_replies():
                    client.connection.sendall(replies)
    for client in clients:
        client.connection.close()
        client.answers.check()
    return times


def send_paced(target: str, bodies: list[bytes], rate_per_s: float, method: str) -> list[float]:
    """Send bodies at a steady rate whatever the answers do; return seconds of each call.

    On one connection, in frames made beforehand: grpcio takes about 400 µs of a core for a call,
    more than the server, and its times would be those of the client.
    """
    host, _, port = target.rpartition(":")
    block = encode_headers(method)
    frames = [encode_call(2 * at + 1, block, body) for at, body in enumerate(bodies)]
    times = [0.0] * len(bodies)
    dues: list[float] = []
    answers = Answers()
    with socket.create_connection((host, int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(PREFACE)
        connection.setblocking(False)
        begun = time.perf_counter() + 0.01
        answered_count = 0
        while answered_count < len(bodies):
            now = time.perf_counter()
            due = begun + len(dues) / rate_per_s
            in_flight_count = len(dues) - answered_count
            if len(dues) < len(bodies) and now >= due and in_flight_count < _IN_FLIGHT_MAX:
                connection.setblocking(True)
                connection.sendall(frames[len(dues)])
                connection.setblocking(False)
                dues.append(due)
            try:
                received = connection.recv(1 << 16)
            except BlockingIOError:
                continue
            arrived = time.perf_counter()
            assert received, "the server hung up"
            for stream in answers.feed(received):
                times[stream // 2] = arrived - dues[stream // 2]
                answered_count += 1
            if wanted := answers.take_replies():
                connection.setblocking(True)
                connection.sendall(wanted)
                connection.setblocking(False)
    answers.check()
    return times
