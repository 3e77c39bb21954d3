"""What a connection sends: responses into libnghttp2, and its frames into the socket."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from ngh2 import Connection, ErrorCode, Header, NGH2Error

from instanter.rpc.fast.wire import PREFIX, RESPONSE_HEADERS, RESPONSE_TRAILERS

_WRITE_SIZE_BYTES: Final = 256 << 10
# Length 8, type 7, no flags, stream 0; then the last stream: any may have been answered.
_GOAWAY: Final = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\x7f\xff\xff\xff"


class Outbox:
    """The sending half of a connection.

    A stream may end between two events of the same read; what is sent on it then is dropped,
    because nobody waits for it.

    Parameters
    ----------
    http2
        The state of the connection.
    transport
        Its socket.

    Attributes
    ----------
    paused
        The client does not read what it gets.
    """

    __slots__ = ("_handed_size_bytes", "_http2", "_resets", "_transport", "paused")

    def __init__(self, http2: Connection, transport: asyncio.WriteTransport) -> None:
        self._http2 = http2
        self._transport = transport
        self._resets: list[int] = []
        self._handed_size_bytes = 0
        self.paused = False

    def send_reply(self, stream_id: int, message: bytes) -> None:
        """Send the one message of a call, and that it succeeded."""
        http2 = self._http2
        try:
            http2.send_response(stream_id, RESPONSE_HEADERS)
            http2.send_data(stream_id, PREFIX.pack(0, len(message)) + message)
            http2.send_trailers(stream_id, RESPONSE_TRAILERS)
        except NGH2Error:
            return

    def send_message(self, stream_id: int, framed: bytes, *, first: bool) -> None:
        """Send one of several messages of a call, which has its prefix."""
        try:
            if first:
                self._http2.send_response(stream_id, RESPONSE_HEADERS)
            self._http2.send_data(stream_id, framed)
        except NGH2Error:
            return

    def send_to_each(self, stream_ids: Sequence[int], framed: bytes) -> None:
        """Send the same message, which has its prefix, to calls that have been sent others."""
        send_data = self._http2.send_data
        for stream_id in stream_ids:
            try:
                send_data(stream_id, framed)
            except NGH2Error:
                continue

    def send_trailers(self, stream_id: int, trailers: Sequence[Header]) -> None:
        """End a stream behind its messages."""
        try:
            self._http2.send_trailers(stream_id, trailers)
        except NGH2Error:
            return

    def send_headers(self, stream_id: int, headers: Sequence[Header], *, half_closed: bool) -> None:
        """End a stream with headers only; stop the client if it is still sending."""
        try:
            self._http2.send_response(stream_id, headers, end_stream=True)
        except NGH2Error:
            return
        if not half_closed:
            self._resets.append(stream_id)

    def write(self) -> None:
        """Hand frames to the socket until there are none, or it takes no more."""
        self._write()
        if self._resets and not self.paused:
            # libnghttp2 drops the headers of a stream whose reset is queued, so they go first.
            for stream_id in self._resets:
                # A client may have broken the connection meanwhile: nothing is left to reset.
                with suppress(NGH2Error):
                    self._http2.reset_stream(stream_id, ErrorCode.NO_ERROR)
            self._resets.clear()
            self._write()

    def count_taken_bytes(self) -> int:
        """Return the bytes that the socket has taken so far: as fast as the client reads.

        Whether it is the socket or a window of HTTP/2 that holds the others up.
        """
        return self._handed_size_bytes - self._transport.get_write_buffer_size()

    def write_goaway(self, code: ErrorCode) -> None:
        """Tell why the connection ends, after libnghttp2 has given up its state."""
        self._transport.write(_GOAWAY + code.to_bytes(4, "big"))

    def _write(self) -> None:
        while not self.paused:
            data = self._http2.data_to_send(_WRITE_SIZE_BYTES)
            if data:
                self._handed_size_bytes += len(data)
                self._transport.write(data)
            if len(data) < _WRITE_SIZE_BYTES:
                return
