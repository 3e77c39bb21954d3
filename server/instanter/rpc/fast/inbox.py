"""What a connection has received and not yet acted on: slices, so that all connections take turns.

One client that sends a hundred kilobytes of small frames would otherwise hold up all others for
milliseconds. While something is unread, nothing more is read from the socket.
"""

import asyncio
from typing import Final

# What one connection may bring to one turn: about as many frames as take 0.15 ms, however small.
_SLICE_EVENTS_MAX: Final = 32
_SLICE_SIZE_BYTES_MIN: Final = 1 << 10
_SLICE_SIZE_BYTES_INITIAL: Final = 2 << 10
_SLICE_SIZE_BYTES_MAX: Final = 64 << 10
_NOTHING: Final = memoryview(b"")


class Inbox:
    """The receiving half of a connection.

    Parameters
    ----------
    transport
        Its socket.

    Attributes
    ----------
    unread
        What has been received and not been acted on; empty for nothing.
    slice_size_bytes
        How much of it one turn takes. Adapts to how many frames there are in it: many small ones
        take much longer than a few large ones.
    """

    __slots__ = ("_reading", "_transport", "slice_size_bytes", "unread")

    def __init__(self, transport: asyncio.ReadTransport) -> None:
        self._transport = transport
        self._reading = True
        self.unread = _NOTHING
        self.slice_size_bytes = _SLICE_SIZE_BYTES_INITIAL

    def add(self, data: bytes) -> None:
        """Add what the socket brings, which it does only once while anything is unread."""
        self.unread = memoryview(bytes(self.unread) + data if self.unread else data)

    def take_slice(self) -> memoryview:
        """Return the next slice, which is read then. Nothing is copied."""
        unread, size_bytes = self.unread, self.slice_size_bytes
        self.unread = unread[size_bytes:] if len(unread) > size_bytes else _NOTHING
        return unread[:size_bytes]

    def adapt(self, events_count: int) -> None:
        """Learn how many events came of a slice."""
        if events_count > _SLICE_EVENTS_MAX:
            self.slice_size_bytes = max(self.slice_size_bytes // 2, _SLICE_SIZE_BYTES_MIN)
        elif self.unread and events_count < _SLICE_EVENTS_MAX // 2:
            self.slice_size_bytes = min(self.slice_size_bytes * 2, _SLICE_SIZE_BYTES_MAX)

    def choose_reading(self, *, paused: bool) -> None:
        """Read from the socket when what it has brought is read, and the client reads too."""
        reading = not paused and not self.unread
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
