"""A client that speaks HTTP/2 frame by frame, so that it can also speak it badly."""

import socket
import ssl
import struct
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from tests.api.interop.echo import NAME

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one frame, however wrong."""
    return (
        struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload
    )


def message(value: bytes, flag: int = 0) -> bytes:
    """Return a message with its prefix."""
    return struct.pack(">BI", flag, len(value)) + value


def value(raw: bytes) -> bytes:
    """Return an encoded `BytesValue` of up to 127 bytes."""
    assert len(raw) < 128
    return bytes([0x0A, len(raw)]) + raw if raw else b""


HELLO = message(value(b"hello"))


@dataclass
class Reply:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    reset_code: int | None = None

    @property
    def status(self) -> str | None:
        """The gRPC status, wherever it stands."""
        return self.trailers.get("grpc-status", self.headers.get("grpc-status"))

    @property
    def text(self) -> str:
        """The gRPC message as it is on the wire."""
        return self.trailers.get("grpc-message", self.headers.get("grpc-message", ""))


@dataclass(frozen=True)
class Goaway:
    """The server's announcement that the connection ends."""

    last_stream_id: int
    error_code: int
    text: bytes


class RawClient:
    """One connection. The server must be on this machine."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        *,
        tls: ssl.SSLContext | None = None,
        settings: dict[int, int] | None = None,
        check: bool = True,
    ) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                validate_outbound_headers=check,
                normalize_outbound_headers=check,
            )
        )
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(settings)
        self.replies: dict[int, Reply] = {}
        self.goaways: list[Goaway] = []
        self.pongs: list[bytes] = []
        self.deaf: set[int] = set()
        self.closed = False
        self._unread = b""
        self.flush()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def flush(self) -> None:
        """Send what is due."""
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def begin(self, method: str = "Say", *, end: bool = False, **changes: str | None) -> int:
        """Send the headers of a call; `te=None` leaves one out, underscores mean hyphens."""
        fields: dict[str, str | None] = {
            ":method": "POST", ":scheme": "http", ":path": f"/{NAME}/{method}",
            ":authority": "localhost", "te": "trailers", "content-type": "application/grpc",
        }  # fmt: skip
        pseudo = {"http_method": ":method"}
        fields |= {pseudo.get(k, k.replace("_", "-")): v for k, v in changes.items()}
        stream_id = self.h2.get_next_available_stream_id()
        self.replies[stream_id] = Reply()
        self.h2.send_headers(
            stream_id, [(k, v) for k, v in fields.items() if v is not None], end_stream=end
        )
        return stream_id

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send body bytes of a call."""
        self.h2.send_data(stream_id, data, end_stream=end)

    def call(self, method: str = "Say", body: bytes = HELLO, **changes: str | None) -> Reply:
        """Make a call and wait for its end."""
        stream_id = self.begin(method, **changes)
        self.send(stream_id, body, end=True)
        return self.wait(stream_id)

    def wait(self, stream_id: int) -> Reply:
        """Read until a stream has ended, or the connection has."""
        self.flush()
        reply = self.replies[stream_id]
        while not reply.ended and reply.reset_code is None and not self.closed:
            self.read()
        return reply

    def wait_for_end(self) -> None:
        """Read until the server has closed the connection."""
        while not self.closed:
            self.read()

    def read(self) -> None:
        """Read once and act on it."""
        try:
            data = self.socket.recv(1 << 16)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            self.closed = True
            return
        self._unread += data
        while len(self._unread) >= 9:
            end = 9 + int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < end:
                break
            raw, self._unread = self._unread[:end], self._unread[end:]
            if raw[3] == GOAWAY:
                last, code = struct.unpack(">II", raw[9:17])
                self.goaways.append(Goaway(last, code, raw[17:]))
            elif self.goaways:
                self._take_late(raw)
            else:
                for event in self.h2.receive_data(raw):
                    self._take(event)
        try:
            self.flush()
        except OSError:
            self.closed = True

    def _take_late(self, raw: bytes) -> None:
        """Act on a frame after the first GOAWAY, behind which the h2 package sees no more."""
        kind, flags, stream_id = struct.unpack(">BBI", raw[3:9])
        reply = self.replies.get(stream_id, Reply())
        if kind == HEADERS:
            # (Every block must be decoded, because each changes the table of the next.)
            fields = {name.decode(): field.decode() for name, field in self._decode(raw[9:])}
            reply.headers, reply.trailers = (
                (reply.headers, fields) if reply.headers else (fields, reply.trailers)
            )
        if kind == DATA:
            reply.data += raw[9:]
        if kind == PING and not flags & 1:
            self.socket.sendall(frame(PING, 1, 0, raw[9:]))
        if kind == RST_STREAM:
            reply.reset_code = int.from_bytes(raw[9:], "big")
        if kind in (DATA, HEADERS) and flags & 1:
            reply.ended = True

    def _decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        return list(self.h2.decoder.decode(block, raw=True))

    def _take(self, event: h2.events.Event) -> None:
        reply = self.replies.get(getattr(event, "stream_id", 0) or 0, Reply())
        if isinstance(event, h2.events.ResponseReceived):
            reply.headers = dict(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            reply.trailers = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            reply.data += event.data
            hears = self.reads and event.stream_id not in self.deaf
            if event.flow_controlled_length and hears:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            reply.ended = True
        elif isinstance(event, h2.events.StreamReset):
            reply.reset_code = int(event.error_code)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs.append(event.ping_data)

    reads = True
