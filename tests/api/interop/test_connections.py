"""Connections from greeting to goodbye: encryption, Unix sockets, pings, an orderly end."""

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from google.protobuf.wrappers_pb2 import BytesValue

from instanter.errors import UnavailableError
from instanter.rpc.fast.front import FastFront
from instanter.rpc.tls import TlsFiles
from instanter.wire_limits import PING_STRIKES_MAX
from tests.api.interop.echo import NAME, Echo
from tests.api.interop.raw import HELLO, RawClient
from tests.api.shop import Server, serve
from tests.api.waiting import wait_until


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def encrypted(front_name: str, echo: Echo, authority: trustme.CA) -> Iterator[Server]:
    """A server with a certificate, which asks clients for none."""
    with serve(front_name, [echo.describe()], tls=issue(authority)) as server:
        yield server


def issue(authority: trustme.CA) -> TlsFiles:
    issued = authority.issue_cert("localhost", str(ipaddress.IPv4Address("127.0.0.1")))
    return TlsFiles(
        certificate=b"".join(pem.bytes() for pem in issued.cert_chain_pems),
        key=issued.private_key_pem.bytes(),
    )


def trust(authority: trustme.CA, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def count_closed(server: Server, reason: str) -> int:
    assert isinstance(server.front, FastFront)
    return server.front.exchange.closed_counts.get(reason, 0)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_encrypted_port_speaks_both_versions_of_tls(
    encrypted: Server, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    context = trust(authority, "h2", "http/1.1")
    context.minimum_version = context.maximum_version = version
    with RawClient(("127.0.0.1", encrypted.port), tls=context) as client:
        assert client.socket.version() == version.name.replace("v1_", "v1.")
        assert client.call().data == HELLO


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_of_tls_are_refused(encrypted: Server, authority: trustme.CA) -> None:
    context = trust(authority, "h2")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        RawClient(("127.0.0.1", encrypted.port), tls=context)


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)], ids=["missing", "wrong"])
def test_a_client_that_does_not_agree_on_http2_is_closed(
    encrypted: Server, authority: trustme.CA, front_name: str, protocols: tuple[str, ...]
) -> None:
    context = trust(authority, *protocols)
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),
        RawClient(("127.0.0.1", encrypted.port), tls=context) as client,
    ):
        client.wait_for_end()
    if front_name == "fast":
        assert count_closed(encrypted, "no_http2_over_tls") > 0


def test_plain_text_on_an_encrypted_port_is_closed(encrypted: Server) -> None:
    with RawClient(("127.0.0.1", encrypted.port)) as client:
        client.wait_for_end()


def test_messages_longer_than_a_record_pass_through_tls(
    encrypted: Server, authority: trustme.CA
) -> None:
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    with grpc.secure_channel(f"localhost:{encrypted.port}", credentials) as channel:
        say = channel.unary_unary(f"/{NAME}/Say")
        body = b"\x0a\x80\x80\x40" + b"e" * (1 << 20)
        assert say(body, timeout=20) == body


def test_a_certificate_that_cannot_be_used_is_named(front_name: str, echo: Echo) -> None:
    if front_name != "fast":
        pytest.skip("grpcio finds out with the first client")
    tls = TlsFiles(certificate=b"no certificate", key=b"no key")
    with (
        pytest.raises(UnavailableError, match="certificate") as caught,
        serve(front_name, [echo.describe()], tls=tls),
    ):
        pass
    assert caught.value.reason == "CERTIFICATE_UNUSABLE"


class TestUnixSockets:
    """Only the fast front listens on them."""

    @pytest.fixture
    def path(self, fast: None, tmp_path: Path) -> Path:
        return tmp_path / "socket"

    def start(self, server: Server, echo: Echo, path: Path) -> FastFront:
        made = FastFront(
            [echo.describe()],
            log=server.front._log,
            metrics=server.metrics,
            clock=server.front._clock,
        )
        assert server.run(made.start(f"unix:{path}", 0)) == 0
        return made

    def test_calls_are_answered(self, server: Server, echo: Echo, path: Path) -> None:
        front = self.start(server, echo, path)
        with RawClient(str(path)) as client:
            assert client.call().data == HELLO
        with grpc.insecure_channel(f"unix:{path}") as channel:
            assert channel.unary_unary(f"/{NAME}/Say")(b"", timeout=20) == b""
        server.run(front.stop(0))
        assert not path.exists()

    def test_a_second_server_is_refused(self, server: Server, echo: Echo, path: Path) -> None:
        front = self.start(server, echo, path)
        with pytest.raises(UnavailableError, match=str(path)):
            self.start(server, echo, path)
        server.run(front.stop(0))

    def test_what_a_dead_server_left_behind_is_replaced(
        self, server: Server, echo: Echo, path: Path
    ) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        server.run(self.start(server, echo, path).stop(0))

    def test_a_file_of_somebody_else_is_not(self, server: Server, echo: Echo, path: Path) -> None:
        path.write_text("precious")
        with pytest.raises(UnavailableError):
            self.start(server, echo, path)
        assert path.read_text() == "precious"


def test_many_clients_that_come_at_once_wait_for_a_busy_server(
    fast: None, front_name: str, echo: Echo
) -> None:
    """Nobody is turned away, to come again a second later, because the server does something."""
    with serve(front_name, [echo.describe()]) as server, contextlib.ExitStack() as clients:
        go_on = threading.Event()
        server.loop.call_soon_threadsafe(go_on.wait, 20)
        try:
            for _ in range(400):
                address = ("127.0.0.1", server.port)
                clients.enter_context(socket.create_connection(address, timeout=0.9))
        finally:
            go_on.set()


def test_a_host_name_of_two_families_has_one_port(fast: None, server: Server, echo: Echo) -> None:
    front = FastFront(
        [echo.describe()], log=server.front._log, metrics=server.metrics, clock=server.front._clock
    )
    port = server.run(front.start("localhost", 0))
    for family, _, _, _, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.connect(address)
    server.run(front.stop(0))


def test_pings_are_answered(raw: RawClient) -> None:
    raw.h2.ping(b"12345678")
    raw.flush()
    while not raw.pongs:
        raw.read()
    assert raw.pongs == [b"12345678"]


def test_a_client_that_pings_too_often_is_told_and_disconnected(raw: RawClient) -> None:
    raw.call()
    for _ in range(PING_STRIKES_MAX + 10):
        raw.h2.ping(b"areyouup")
    raw.flush()
    raw.wait_for_end()
    assert raw.goaways[0].error_code == 11
    assert raw.goaways[0].text == b"too_many_pings"


def test_pings_between_calls_measure_the_line_and_are_welcome(raw: RawClient) -> None:
    for _ in range(3 * PING_STRIKES_MAX):
        raw.call()
        raw.h2.ping(b"howfaris")
        raw.flush()
    assert raw.call().data == HELLO


def test_a_server_that_stops_loses_no_call(front_name: str) -> None:
    """The notice comes first, the last stream's number when no call can be on the way."""
    echo = Echo()
    with (
        serve(front_name, [echo.describe()]) as server,
        RawClient(("127.0.0.1", server.port)) as client,
    ):
        stream_id = client.begin("Hold")
        client.send(stream_id, HELLO, end=True)
        client.flush()
        held = echo.wait_for_held()
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        while not client.goaways:
            client.read()
        assert client.goaways[0].last_stream_id == 2**31 - 1
        assert client.goaways[0].error_code == 0
        while len(client.goaways) < 2:
            client.read()
        assert client.goaways[1].last_stream_id == stream_id
        held.set_result(BytesValue(value=b"hello"))
        reply = client.replies[stream_id]
        while not reply.ended:
            client.read()
        assert reply.data == HELLO
        client.wait_for_end()
        stopper.join(20)
        assert not stopper.is_alive()


def test_calls_on_the_way_when_the_server_stops_are_answered(
    fast: None, echo: Echo, front_name: str
) -> None:
    """(grpcio answers them with CANCELLED, and no setting of its changes that.)"""
    with (
        serve(front_name, [echo.describe()]) as server,
        RawClient(("127.0.0.1", server.port)) as client,
    ):
        stream_id = client.begin("Hold")
        client.send(stream_id, HELLO, end=True)
        client.flush()
        held = echo.wait_for_held()
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        assert isinstance(server.front, FastFront)
        (connection,) = server.front.exchange.connections
        wait_until(lambda: connection.draining, "the server drains")
        # The client has not read the server's notice.
        streams = [client.begin() for _ in range(3)]
        for late in streams:
            client.send(late, HELLO, end=True)
        assert [client.wait(late).data for late in streams] == [HELLO] * 3
        held.set_result(BytesValue())
        stopper.join(20)


def test_descriptors_are_given_back(fast: None, server: Server) -> None:
    def count() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    with RawClient(("127.0.0.1", server.port)) as client:
        client.call()
        before = count()
        for _ in range(50):
            with RawClient(("127.0.0.1", server.port)) as passing:
                passing.begin()
                passing.flush()
        wait_until(lambda: count() <= before, f"no more than {before} descriptors are open")
