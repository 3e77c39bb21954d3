"""What an encrypted port needs, whichever front opens it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of an encrypted port.

    Attributes
    ----------
    certificate, key
        The server's certificate chain and private key.
    client_authority
        Certificates that clients' certificates must be signed by; None asks clients for none.
    """

    certificate: bytes
    key: bytes
    client_authority: bytes | None = None
