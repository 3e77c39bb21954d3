"""`instanter serve`."""

from pathlib import Path
from typing import Annotated

import typer

from instanter.cli.options import ConfigOption, DataOption, JsonOption, OutputOption


def serve(
    *,
    data: DataOption = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            "-l",
            metavar="HOST:PORT",
            help="Where to listen; port 0 takes a free one. "
            "[INSTANTER_LISTEN; default: 127.0.0.1:7878]",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="HOST:PORT",
            help="Where to show Prometheus metrics. [INSTANTER_METRICS; default: nowhere]",
        ),
    ] = None,
    transport: Annotated[
        str | None,
        typer.Option(
            "--transport",
            metavar="auto|fast|grpcio",
            help="Front of the server: fast (its own HTTP/2), grpcio (the reference), "
            "auto takes fast. [INSTANTER_TRANSPORT; default: auto]",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="COUNT",
            help="Processes that decide, beside the one that writes; 0 lets that one serve the "
            "port itself. [INSTANTER_WORKERS; default: 0]",
        ),
    ] = None,
    log_keep_days: Annotated[
        int | None,
        typer.Option(
            "--log-keep-days",
            metavar="DAYS",
            help="How old records of the log may get; keep them for as long as outcomes are "
            "accepted. [INSTANTER_LOG_KEEP_DAYS; default: 30]",
        ),
    ] = None,
    log_keep_gib: Annotated[
        int | None,
        typer.Option(
            "--log-keep-gib",
            metavar="GIB",
            help="How large the log may get; beyond it the oldest records go, whatever their age. "
            "[INSTANTER_LOG_KEEP_GIB; default: 16]",
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None,
        typer.Option("--tls-certificate", metavar="FILE", help="Certificate chain, PEM."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.")
    ] = None,
    tls_client_authority: Annotated[
        Path | None,
        typer.Option(
            "--tls-client-authority",
            metavar="FILE",
            help="Authority that callers' certificates must come from, PEM.",
        ),
    ] = None,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve decisions from a store until SIGTERM or Ctrl-C.

    Says so on standard output when it is ready; events are JSON lines on standard error, or
    readable ones where that is a terminal. Calls under way are finished before it ends with exit
    code 0; a second signal ends it at once. A process of it that dies or freezes is replaced.

    For example:
      instanter serve --data store
      instanter serve --data store --listen 0.0.0.0:7878 --metrics 127.0.0.1:9464
      instanter serve --data store --listen 127.0.0.1:0 --json
      instanter serve --data store --workers 6
      instanter serve --data store --tls-certificate server.pem --tls-key server.key

    What next, in another terminal: `instanter apply -f DIR` publishes a catalogue.
    """
    from instanter.cli.early_signals import ending_early

    with ending_early():
        from instanter.cli import serving
        from instanter.cli.configuration import load_settings

        settings = load_settings(
            {
                "data_folder": data,
                "listen": listen,
                "metrics": metrics,
                "transport": transport,
                "workers": workers,
                "log_keep_days": log_keep_days,
                "log_keep_gib": log_keep_gib,
                "tls_certificate": tls_certificate,
                "tls_key": tls_key,
                "tls_client_authority": tls_client_authority,
                "output": "json" if as_json else output,
            },
            config=config,
        )
        serving.serve(settings.configuration, as_json=settings.wants_json)
