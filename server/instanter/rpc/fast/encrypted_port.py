"""A port whose connections are counted before their handshake, not only behind it.

The event loop's own server hands a connection over when it is encrypted; ten thousand clients that
begin a handshake and stop in the middle of it would be in nobody's account for ten seconds each.
"""

import asyncio
import errno
import socket
import ssl
from typing import Final

from instanter import wire_limits
from instanter.rpc.fast.connection import FastConnection
from instanter.rpc.fast.exchange import Exchange

_ACCEPTS_PER_TURN_MAX: Final = 16
# What accept says when the process or the machine has no room; the connection goes on waiting.
_NO_ROOM: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_ROOM_PAUSE_S: Final = 1.0


class EncryptedPort:
    """Takes connections from a listening socket and encrypts them. Belongs to one event loop.

    Parameters
    ----------
    opened
        The listening socket, which `close` closes.
    exchange
        What the connections share; counts them.
    context
        The settings of their encryption.
    """

    def __init__(self, opened: socket.socket, exchange: Exchange, context: ssl.SSLContext) -> None:
        self._opened = opened
        self._exchange = exchange
        self._context = context
        self._greetings: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        opened.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Take no more connections, and let go of those whose handshake is not through."""
        if self._pause is not None:
            self._pause.cancel()
        self._exchange.loop.remove_reader(self._opened)
        self._opened.close()
        for greeting in tuple(self._greetings):
            greeting.cancel()

    def _listen(self) -> None:
        self._pause = None
        self._exchange.loop.add_reader(self._opened, self._accept)

    def _accept(self) -> None:
        """Take the connections that wait, some in one turn of the loop."""
        exchange = self._exchange
        for _ in range(_ACCEPTS_PER_TURN_MAX):
            try:
                accepted, _ = self._opened.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                exchange.count_closed("no_descriptors")
                exchange.loop.remove_reader(self._opened)
                self._pause = exchange.loop.call_later(_NO_ROOM_PAUSE_S, self._listen)
                return
            if exchange.is_full:
                exchange.count_closed("too_many_connections")
                accepted.close()
                continue
            accepted.setblocking(False)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            exchange.handshakes_count += 1
            greeting = exchange.loop.create_task(self._greet(accepted))
            self._greetings.add(greeting)
            greeting.add_done_callback(self._part)

    async def _greet(self, accepted: socket.socket) -> None:
        """Encrypt a connection, and hand it over."""
        exchange = self._exchange
        try:
            await exchange.loop.connect_accepted_socket(
                lambda: FastConnection(exchange),
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=wire_limits.HANDSHAKE_NS_MAX / 1e9,
            )
        except OSError:
            # (Errors of TLS and of time are among them.)
            exchange.count_closed("handshake_failed")

    def _part(self, greeting: asyncio.Task[None]) -> None:
        self._greetings.discard(greeting)
        self._exchange.handshakes_count -= 1
