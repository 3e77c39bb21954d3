"""Where a server serves: a value that needs none of what serving needs."""

from dataclasses import dataclass
from typing import Literal

from instanter.rpc.tls import TlsFiles

Transport = Literal["auto", "fast", "grpcio"]
"""Names of the fronts, see `Listening.transport`."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server serves.

    Attributes
    ----------
    address, port
        Host and TCP port of the gRPC services; port 0 takes any free one.
    metrics_address, metrics_port
        Host and TCP port of the metrics page; port None for no such page.
    tls
        Certificates; None for plain text.
    transport
        Front: `fast`, `grpcio`, or `auto` for the one that this release recommends.
    reuse_port
        Whether other processes of the same server listen on the same port.
    """

    address: str = "127.0.0.1"
    port: int = 7878
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = None
    tls: TlsFiles | None = None
    transport: Transport = "auto"
    reuse_port: bool = False
