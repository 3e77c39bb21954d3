"""One port for several processes of one server, and for nobody else."""

import socket

import pytest

from instanter.errors import UnavailableError
from instanter.rpc.fast.listening import open_sockets
from instanter.supervisor import port as port_module
from instanter.supervisor.port import ReservedPort


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module, "_WAIT_S", 0.001)


def test_processes_of_the_server_share_the_port_and_calls_reach_them() -> None:
    reserved = ReservedPort.take("127.0.0.1", 0)
    listening = [open_sockets("127.0.0.1", reserved.port, reuse_port=True) for _ in range(2)]
    with socket.create_connection(("127.0.0.1", reserved.port), 5):
        pass
    for (opened,) in listening:
        opened.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", reserved.port), 5)
    reserved.release()


def test_a_second_server_is_refused_although_it_would_share() -> None:
    reserved = ReservedPort.take("127.0.0.1", 0)
    with pytest.raises(UnavailableError, match="is another server running on it"):
        ReservedPort.take("127.0.0.1", reserved.port)
    reserved.release()
    ReservedPort.take("127.0.0.1", reserved.port).release()


@pytest.mark.parametrize("sharing", [True, False])
def test_a_foreign_server_on_the_port_is_noticed(sharing: bool) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), reuse_port=sharing) as foreign,
        pytest.raises(UnavailableError, match="cannot be opened; is another server"),
    ):
        ReservedPort.take("127.0.0.1", foreign.getsockname()[1])


def test_nobody_else_takes_the_port_while_no_process_listens() -> None:
    reserved = ReservedPort.take("127.0.0.1", 0)
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            foreign.bind(("127.0.0.1", reserved.port))
    reserved.release()


def test_all_addresses_of_a_host_get_the_same_port() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    reserved = ReservedPort.take("localhost", 0)
    assert {bound.getsockname()[1] for bound in reserved._sockets} == {reserved.port}
    reserved.release()


def test_an_address_that_is_not_ours_is_refused_at_once() -> None:
    with pytest.raises(UnavailableError, match=r"192\.0\.2\.1:0 cannot be opened"):
        ReservedPort.take("192.0.2.1", 0)
