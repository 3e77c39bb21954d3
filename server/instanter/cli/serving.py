"""Runs a node behind its port until the operator or the operating system ends it."""

import asyncio
import gc
import signal
from collections.abc import Callable
from pathlib import Path

import typer
import uvloop

from instanter.cli.configuration import Configuration
from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.cli.output import print_event, print_note
from instanter.node import Listening, Node
from instanter.rpc.tls import TlsFiles

OnReady = Callable[[int, int | None], None]

_PORT_MAX = 65_535


def serve(configuration: Configuration, *, as_json: bool) -> None:
    """Serve until SIGTERM or SIGINT, then finish the calls under way.

    Raises
    ------
    CommandError
        With exit code 2, for an address that is none, or half of the TLS files.
    InstanterError
        When another server has the folder or the port, or the store refuses.
    OSError
        When a TLS file cannot be read.
    """
    listening = make_listening(configuration)
    folder = Path(configuration.data_folder)
    with Node(folder) as node:

        def on_ready(port: int, metrics_port: int | None) -> None:
            # What has been made until now lives as long as the server. A full collection would
            # look at all of it, 147,000 objects, and let every caller wait for 90 ms.
            gc.collect()
            gc.freeze()
            _announce(node, listening, port, metrics_port, as_json=as_json)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(node, listening, on_ready))
    if as_json:
        print_event("stopped")


async def _serve(node: Node, listening: Listening, on_ready: OnReady) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await node.serve(listening, stop, on_ready)


def _announce(
    node: Node, listening: Listening, port: int, metrics_port: int | None, *, as_json: bool
) -> None:
    """Say in one line that calls are answered."""
    folder = str(node.state.folder)
    revision = node.metrics.catalogue_revision
    if as_json:
        print_event(
            "ready",
            address=listening.address,
            port=port,
            metrics_port=metrics_port,
            data_folder=folder,
            catalogue_revision=revision,
            model_revision=node.metrics.model_revision,
        )
        return
    typer.echo(f"Instanter serves {folder} on {listening.address}:{port}")
    if metrics_port is not None:
        print_note(f"metrics: http://{listening.metrics_address}:{metrics_port}/metrics")
    if not revision:
        print_note("there is no catalogue yet: `instanter apply -f DIR` publishes one")


def make_listening(configuration: Configuration) -> Listening:
    """Return where to serve.

    Raises
    ------
    CommandError
        With exit code 2, for an address that is none, or half of the TLS files.
    OSError
        When a TLS file cannot be read.
    """
    host, port = read_address(configuration.listen, "listen")
    # gRPC wants the brackets of an IPv6 address, the metrics page's socket does not.
    address = f"[{host}]" if ":" in host else host
    tls = _load_tls(configuration)
    if not configuration.metrics:
        return Listening(address=address, port=port, tls=tls, transport=configuration.transport)
    metrics_address, metrics_port = read_address(configuration.metrics, "metrics")
    return Listening(
        address=address,
        port=port,
        metrics_address=metrics_address,
        metrics_port=metrics_port,
        tls=tls,
        transport=configuration.transport,
    )


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


def _load_tls(configuration: Configuration) -> TlsFiles | None:
    certificate, key = configuration.tls_certificate, configuration.tls_key
    authority = configuration.tls_client_authority
    if bool(certificate) != bool(key) or (authority and not certificate):
        raise CommandError(
            "TLS needs both tls_certificate and tls_key; tls_client_authority comes on top",
            exit_code=EXIT_USAGE,
        )
    if not certificate:
        return None
    return TlsFiles(
        certificate=Path(certificate).read_bytes(),
        key=Path(key).read_bytes(),
        client_authority=Path(authority).read_bytes() if authority else None,
    )
