"""The control channel between the supervisor and one of its processes: a pair of sockets.

Its end is a message too: the operating system sends it when the other process dies.

From a process: `is` is `warm` (imports are done), `alive` (with its counters), `ready` (it serves)
or `failed` (with reason and message, before it ends). To a process: `do` is `serve` (with its
assignment), `count` (tell your counters now) or `stop`.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, Self, cast

from instanter.frames import Frames, pack

Message = dict[str, Any]

_SIZE_BYTES_MAX: Final = 4 << 20
"""Bytes of one message: certificates and counters take thousands."""


class Channel:
    """One end of a control channel; for one event loop.

    Parameters
    ----------
    on_message
        Called with each message.
    on_end
        Called once when the other end is gone.
    """

    def __init__(
        self, on_message: Callable[[Message], object], on_end: Callable[[], object]
    ) -> None:
        self._on_message = on_message
        self._on_end = on_end
        self._frames = Frames(_SIZE_BYTES_MAX)
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls,
        end: socket.socket,
        on_message: Callable[[Message], object],
        on_end: Callable[[], object],
    ) -> Self:
        """Use one end of a pair of sockets; what has arrived is handed over from now on."""
        channel = cls(on_message, on_end)
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: _ChannelProtocol(channel), sock=end)
        return channel

    def send(self, message: Message) -> None:
        """Send a message. Nobody gets it when the other end is gone, or has not read for long."""
        transport = self._transport
        if (
            transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() < _SIZE_BYTES_MAX
        ):
            transport.write(pack(message))

    def close(self) -> None:
        """Close this end; that is nothing to be told of."""
        self._on_end = _say_nothing
        if self._transport is not None:
            self._transport.close()

    def attach(self, transport: asyncio.Transport) -> None:
        """Use a transport. For its protocol."""
        self._transport = transport

    def take(self, data: bytes) -> None:
        """Take bytes that have arrived. For the protocol."""
        for message in self._frames.feed(data):
            self._on_message(message)

    def end(self) -> None:
        """Take note of the end. For the protocol."""
        self._on_end()


def _say_nothing() -> None:
    """Take an end that was meant."""


class _ChannelProtocol(asyncio.Protocol):
    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._channel.attach(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._channel.take(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._channel.end()
