"""How a client connects: address, TLS, and the options of the channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

REPLY_SIZE_BYTES_MAX = 64 << 20
"""Bytes of one reply: a page of 1000 customers with 1000 attributes each takes about 30 MB."""

REQUEST_SIZE_BYTES_MAX = 16 << 20
"""Bytes of one request: what the server takes; a larger one need not travel to be refused."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", REQUEST_SIZE_BYTES_MAX),
    ("grpc.max_receive_message_length", REPLY_SIZE_BYTES_MAX),
    # A peer that vanished without a word is noticed after 25 s at most, but only while a call
    # waits: pings on idle connections would look like an attack to the server.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # After a restart of the server the first attempt comes soon: gRPC would wait 1 s, and up to
    # 2 minutes later, while a decision waits 250 ms.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Answers within a millisecond do not travel through a web proxy.
    ("grpc.enable_http_proxy", 0),
)
"""Options of every channel; a client's own options come after them and win."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Encrypt the connection, and know who is at the other end.

    Attributes
    ----------
    authority
        PEM file of the authority that signed the server's certificate; None for those that the
        machine trusts.
    certificate, key
        PEM files of the client's own certificate and key, when the server wants to know who
        calls; None otherwise. Both or neither.
    """

    authority: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None

    def __post_init__(self) -> None:
        """Check that certificate and key come together."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError(
                f"certificate {str(self.certificate)!r} and key {str(self.key)!r}: "
                "expected both or neither"
            )

    def load_credentials(self) -> Any:
        """Read the files and return gRPC's credentials for a channel.

        Raises
        ------
        OSError
            When a file cannot be read.
        """
        authority, key, certificate = (
            None if path is None else Path(path).read_bytes()
            for path in (self.authority, self.key, self.certificate)
        )
        return grpc.ssl_channel_credentials(authority, key, certificate)


def open_channel(address: str, tls: Tls | None, options: Sequence[tuple[str, Any]]) -> Any:
    """Return a channel for threads; it connects at the first call."""
    merged = (*CHANNEL_OPTIONS, *options)
    if tls is None:
        return grpc.insecure_channel(address, options=merged)
    return grpc.secure_channel(address, tls.load_credentials(), options=merged)


def open_async_channel(address: str, tls: Tls | None, options: Sequence[tuple[str, Any]]) -> Any:
    """Return a channel for the running event loop; it connects at the first call."""
    merged = (*CHANNEL_OPTIONS, *options)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=merged)
    return grpc.aio.secure_channel(address, tls.load_credentials(), options=merged)
