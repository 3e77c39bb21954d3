"""A port that belongs to one server, and that several of its processes may listen on."""

import errno
import socket
import time
from typing import Final, Self

from instanter.errors import UnavailableError

_TRIES: Final = 6
_WAIT_S: Final = 0.1
"""A server that was killed a moment ago still has its port while its processes are taken down."""


class ReservedPort:
    """Holds a port without listening on it; whoever of this user shares it may listen.

    Attributes
    ----------
    port
        The TCP port, the same for all addresses of the host name.
    """

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self.port = int(sockets[0].getsockname()[1])

    @classmethod
    def take(cls, address: str, port: int) -> Self:
        """Take a port, 0 for any free one.

        Raises
        ------
        UnavailableError
            The port cannot be had, because another server has it for example.
        """
        for left in reversed(range(_TRIES)):
            sockets: list[socket.socket] = []
            try:
                for family, place in _list_places(address, port):
                    bound_port = sockets[0].getsockname()[1] if sockets else port
                    sockets.append(_bind(family, place, bound_port))
                return cls(sockets)
            except OSError as error:
                for bound in sockets:
                    bound.close()
                taken = error.errno == errno.EADDRINUSE
                if not (taken and left):
                    hint = "is another server running on it?" if taken else str(error)
                    raise UnavailableError(
                        f"the port {address}:{port} cannot be opened; {hint}",
                        reason="PORT_UNAVAILABLE",
                    ) from error
                time.sleep(_WAIT_S)
        raise AssertionError("the last try returns or raises")

    def release(self) -> None:
        """Give the port back."""
        for bound in self._sockets:
            bound.close()


def _bind(family: socket.AddressFamily, place: str, port: int) -> socket.socket:
    """Bind a port as if it were for this socket alone, and only then let others share it.

    So a second server is refused, although it would share the port too. Connections of an earlier
    server that are not forgotten yet must not be in the way: hence the first option.
    """
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # As the fast front does it: `::` means all addresses of both families.
            both = place == "::" and socket.has_dualstack_ipv6()
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
        bound.bind((place, port))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        bound.close()
        raise
    return bound


def _list_places(address: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses that a host name stands for."""
    host = address.removeprefix("[").removesuffix("]")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found))
