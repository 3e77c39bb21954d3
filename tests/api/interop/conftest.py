"""A server with an echo for each module, once on each front."""

from collections.abc import Iterator

import grpc
import pytest

from tests.api.interop.echo import Echo
from tests.api.interop.raw import RawClient
from tests.api.shop import Server, serve


@pytest.fixture(scope="module")
def echo() -> Echo:
    """What the service was asked."""
    return Echo()


@pytest.fixture(scope="module")
def server(front_name: str, echo: Echo) -> Iterator[Server]:
    """The server of the module's tests."""
    with serve(front_name, [echo.describe()]) as served:
        yield served


@pytest.fixture
def fast(front_name: str) -> None:
    """Leave out what the reference front does in a way of its own, which is not ours to test."""
    if front_name != "fast":
        pytest.skip("grpcio does it in its own way")


@pytest.fixture
def raw(server: Server) -> Iterator[RawClient]:
    """A client that speaks frames."""
    with RawClient(("127.0.0.1", server.port)) as client:
        yield client


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A channel of the synchronous client."""
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.target, options=options) as opened:
        yield opened
