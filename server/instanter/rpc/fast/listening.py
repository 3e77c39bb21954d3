"""The sockets that the fast front listens on, and their encryption."""

import errno
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import Final

from instanter.errors import UnavailableError
from instanter.rpc.tls import TlsFiles

UNIX_SCHEME: Final = "unix:"
"""What the address of a Unix socket begins with; the path follows."""

BACKLOG: Final = 1_024
"""Connections that wait at a socket until the server takes them."""


def open_sockets(address: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    """Return listening sockets.

    Parameters
    ----------
    address
        Host name or address, or `unix:` and a path.
    port
        TCP port; 0 for any free one, the same for all addresses of a host name. Without meaning
        for a Unix socket.
    reuse_port
        Let other processes listen on the same port.

    Raises
    ------
    UnavailableError
        The port cannot be opened, or another server listens on the path.
    """
    target = address if address.startswith(UNIX_SCHEME) else f"{address}:{port}"
    sockets: list[socket.socket] = []
    try:
        if address.startswith(UNIX_SCHEME):
            return [_open_unix(Path(address.removeprefix(UNIX_SCHEME)))]
        for family, place in _list_places(address, port):
            bound_port = sockets[0].getsockname()[1] if sockets else port
            sockets.append(
                socket.create_server(
                    (place, bound_port),
                    family=family,
                    backlog=BACKLOG,
                    reuse_port=reuse_port,
                    # As other servers do it: `::` means all addresses of both families.
                    dualstack_ipv6=place == "::" and socket.has_dualstack_ipv6(),
                )
            )
    except OSError as error:
        for opened in sockets:
            opened.close()
        taken = error.errno == errno.EADDRINUSE
        hint = "is another server running on it?" if taken else str(error)
        raise UnavailableError(
            f"the port {target} cannot be opened; {hint}", reason="PORT_UNAVAILABLE"
        ) from error
    return sockets


def make_tls_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the settings of an encrypted port: TLS 1.2 or later, HTTP/2 agreed on by ALPN.

    Raises
    ------
    UnavailableError
        Certificate, key or authority are not PEM, or do not belong together; reason
        CERTIFICATE_UNUSABLE.
    """
    try:
        return _make_tls_context(files)
    except (ssl.SSLError, ValueError) as error:
        raise UnavailableError(
            f"the certificate, its key or the client authority cannot be used: {error}",
            reason="CERTIFICATE_UNUSABLE",
        ) from error


def _make_tls_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2"])
    # OpenSSL's Python binding reads keys from files only; this one never touches a disk.
    descriptor = os.memfd_create("tls")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as pem:
            pem.write(files.key.rstrip() + b"\n" + files.certificate)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_refuse_passphrase)
    finally:
        os.close(descriptor)
    if files.client_authority is not None:
        context.load_verify_locations(cadata=files.client_authority.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _refuse_passphrase() -> str:
    """Say what is wrong with a key that wants a passphrase; OpenSSL would ask the terminal for it.

    Nobody sits there when a process is replaced, and gRPC's own front takes no such key.
    """
    raise ValueError(
        "the key wants a passphrase; expected one without, readable by the server's user alone "
        "(`openssl pkey` writes it)"
    )


def format_peer(address: object) -> str:
    """Return who is at the other end of a connection in gRPC's form: `ipv4:127.0.0.1:40000`."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
    return UNIX_SCHEME


def _list_places(address: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses that a host name stands for."""
    host = address.removeprefix("[").removesuffix("]")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found))


def _open_unix(path: Path) -> socket.socket:
    """Return a socket at a path; one that a dead server left behind is replaced."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        path.unlink()
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.bind(str(path))
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened
