"""Addresses of servers as people write them."""

from typing import Final

from instanter.cli.failures import EXIT_USAGE, CommandError

_PORT_MAX: Final = 65_535
_SCHEMES: Final = ("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "vsock:")
"""What targets of gRPC begin with that say themselves what they are."""


def read_address(text: str, setting: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; an IPv6 host stands in brackets.

    Raises
    ------
    CommandError
        With exit code 2, when it is no such thing.
    """
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    right = colon and bare and port.isascii() and port.isdigit() and int(port) <= _PORT_MAX
    if not right or (":" in bare and bare == host):
        raise CommandError(
            f"{setting}: '{text}' is not right; expected HOST:PORT, 127.0.0.1:7878 or [::1]:7878 "
            "for example",
            exit_code=EXIT_USAGE,
        )
    return bare, int(port)


def check_server(text: str) -> None:
    """Do nothing if a server can be asked there: `HOST:PORT`, or a target of gRPC with its scheme.

    gRPC takes a host alone for its port 443, where no server of ours is.

    Raises
    ------
    CommandError
        With exit code 2, when it is no such thing.
    """
    if not text.startswith(_SCHEMES):
        read_address(text, "server")
