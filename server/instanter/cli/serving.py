"""Runs a server until the operator or the operating system ends it.

Imports little at its top: the processes of the server are started before the rest is imported.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from instanter.cli.addresses import read_address
from instanter.cli.configuration import Configuration
from instanter.cli.early_signals import StoppedEarlyError, list_stop_signals
from instanter.cli.failures import EXIT_INTERRUPTED, EXIT_USAGE, CommandError
from instanter.cli.output import print_event
from instanter.descriptors import raise_descriptors_limit
from instanter.rpc.listening import Listening
from instanter.rpc.tls import TlsFiles
from instanter.supervisor.spawning import Spawned, spawn

if TYPE_CHECKING:
    from instanter.supervisor.supervisor import Supervisor

_DAY_NS = 86_400_000_000_000


def serve(configuration: Configuration, *, as_json: bool) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then finish calls under way; at once at the second.

    Raises
    ------
    CommandError
        With exit code 2, for an address that is none, or half of the TLS files; with exit code
        130 after a second signal.
    InstanterError
        When another server has the folder or the port, the store refuses, or the TLS files cannot
        be used.
    OSError
        When a TLS file cannot be read.
    """
    listening = make_listening(configuration)
    if listening.tls is not None:
        from instanter.rpc.fast.listening import make_tls_context

        # Here, and not only where they are used: a start that is refused leaves no store behind.
        make_tls_context(listening.tls)
    raise_descriptors_limit()
    with suppress(StoppedEarlyError):
        _serve(configuration, listening, as_json=as_json)
    if as_json:
        print_event("stopped")


def _serve(configuration: Configuration, listening: Listening, *, as_json: bool) -> None:
    """Start the processes of a server, and let them serve."""
    with _spawning(1 + configuration.workers) as spawned:
        from instanter.clock import SystemClock
        from instanter.store.log.retention import Retention
        from instanter.supervisor.supervisor import Plan, Supervisor

        plan = Plan(
            Path(configuration.data_folder),
            listening,
            configuration.workers,
            Retention(configuration.log_keep_days * _DAY_NS, configuration.log_keep_gib << 30),
        )
        supervisor = Supervisor(plan, spawned, clock=SystemClock())
        try:
            asyncio.run(_run(supervisor, plan.folder, listening, as_json=as_json))
        finally:
            supervisor.close()


@contextmanager
def _spawning(count: int) -> Iterator[list[Spawned]]:
    """Start processes, and leave none behind when the block ends by an exception."""
    spawned: list[Spawned] = []
    try:
        spawned.extend(spawn() for _ in range(count))
        yield spawned
    except BaseException:
        for each in spawned:
            each.discard()
        raise


async def _run(
    supervisor: "Supervisor", folder: Path, listening: Listening, *, as_json: bool
) -> None:
    """Serve until a signal ends it."""
    from instanter.clock import SystemClock
    from instanter.events_log import make_events_log
    from instanter.kernels.cache import describe_trouble, make_cache_folder
    from instanter.metrics import MetricsDoor
    from instanter.rpc.certificates import CertificateWatch
    from instanter.supervisor.counting import ServerCounters

    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in list_stop_signals():
        loop.add_signal_handler(number, on_signal)
    door = MetricsDoor(ServerCounters(supervisor, loop).read)
    metrics_port: int | None = None
    if listening.metrics_port is not None:
        metrics_port = door.start(listening.metrics_address, listening.metrics_port)

    def on_ready() -> None:
        _announce(supervisor, folder, listening, metrics_port, as_json=as_json)

    log = make_events_log(sys.stderr)
    if trouble := describe_trouble(make_cache_folder()):
        log.warning("kernel_cache_unusable", **trouble)
    chain = listening.tls.certificate if listening.tls is not None else b""
    watching = asyncio.create_task(CertificateWatch(chain, log=log, clock=SystemClock()).run())
    try:
        await supervisor.run(log, stop, hurry, on_ready)
    finally:
        watching.cancel()
        # A page that is asked for this very moment waits for this loop.
        await asyncio.to_thread(door.stop)
    if hurry.is_set():
        raise CommandError("stopped at once, by a second signal", exit_code=EXIT_INTERRUPTED)


def _announce(
    supervisor: "Supervisor",
    folder: Path,
    listening: Listening,
    metrics_port: int | None,
    *,
    as_json: bool,
) -> None:
    """Say that calls are answered: on standard output, for standard error is the events' alone."""
    revision = supervisor.ready["catalogue_revision"]
    if as_json:
        pids = supervisor.pids
        print_event(
            "ready",
            address=listening.address,
            port=supervisor.port,
            metrics_port=metrics_port,
            data_folder=str(folder),
            catalogue_revision=revision,
            model_revision=supervisor.ready["model_revision"],
            workers=len(pids["workers"]),
            pids=pids,
        )
        return
    typer.echo(f"Instanter serves {folder} on {listening.address}:{supervisor.port}")
    if metrics_port is not None:
        typer.echo(f"metrics: http://{listening.metrics_address}:{metrics_port}/metrics")
    if not revision:
        typer.echo("there is no catalogue yet: `instanter apply -f DIR` publishes one")


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
