"""Connects a command to the server, and turns what the client raises into what people read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from instanter.cli.addresses import check_server
from instanter.cli.configuration import Configuration
from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.client import Client, ClientError, DeadlineExceededError, Timeouts, Tls
from instanter.client import UnavailableError as ServerUnavailableError

_CLOSED: Final = ("Socket closed", "Connection reset", "Broken pipe")
"""What gRPC says of a peer that ends a connection; which of these, chance decides."""


@contextmanager
def connect(configuration: Configuration) -> Iterator[Client]:
    """Yield a client of the configured server.

    Raises
    ------
    CommandError
        For every failure of a call, and for TLS files that cannot be read; with exit code 2, for
        an address that is none.
    """
    timeout_s = configuration.timeout_s
    timeouts = Timeouts(timeout_s, timeout_s, timeout_s, timeout_s, max(timeout_s, 60.0))
    with (
        translate_failures(configuration),
        Client(configuration.server, tls=make_tls(configuration), timeouts=timeouts) as client,
    ):
        yield client


@contextmanager
def translate_failures(configuration: Configuration) -> Iterator[None]:
    """Turn what a client of the configured server raises into what people read.

    Raises
    ------
    CommandError
        For every failure of a call; with exit code 2, for an address that is none.
    """
    check_server(configuration.server)
    timeout_s = configuration.timeout_s
    try:
        yield
    except ServerUnavailableError as error:
        if error.reason:
            raise _make(error, f"{configuration.server}: {error.message}") from error
        raise _make(error, *_explain_silence(configuration.server, error.message)) from error
    except DeadlineExceededError as error:
        raise _make(
            error,
            f"{configuration.server} did not answer within {timeout_s:g} s",
            "give it longer with --timeout SECONDS",
        ) from error
    except ClientError as error:
        found = f" (correlation id {error.correlation_id})" if error.correlation_id else ""
        raise _make(error, f"{error.message}{found}") from error


def _make(error: ClientError, message: str, hint: str = "") -> CommandError:
    """Return the error, with what was noted on it on its way as a hint."""
    return CommandError(message, hint="; ".join(filter(None, (*_get_notes(error), hint))))


def _get_notes(error: ClientError) -> tuple[str, ...]:
    return tuple(getattr(error, "__notes__", ()))


def make_tls(configuration: Configuration) -> Tls | None:
    """Return how to encrypt the connection to the configured server; None for plain text.

    Raises
    ------
    CommandError
        With exit code 2, for half of a client's certificate, or one that a connection in plain text
        would show to nobody.
    """
    certificate, key = configuration.client_certificate, configuration.client_key
    if bool(certificate) != bool(key):
        raise CommandError(
            f"client_certificate {certificate!r} and client_key {key!r} are not right; expected "
            "both or neither",
            exit_code=EXIT_USAGE,
        )
    if not (configuration.server_tls or configuration.server_authority):
        if certificate:
            raise CommandError(
                f"client_certificate {certificate!r} is not right without encryption",
                hint="set server_authority, or server_tls for an authority that the machine trusts",
                exit_code=EXIT_USAGE,
            )
        return None
    return Tls(
        authority=configuration.server_authority or None,
        certificate=certificate or None,
        key=key or None,
    )


def _explain_silence(server: str, message: str) -> tuple[str, str]:
    """Return what people read when there is no connection, and a hint.

    Both follow from what gRPC says of the last try.
    """
    what = message.rpartition("last error: ")[2]
    if "handshake" in what.lower():
        return (
            f"{server}: the connection cannot be encrypted: {what}",
            (
                "server_authority is the file of whoever signed the server's certificate;"
                " client_certificate and client_key belong together"
            ),
        )
    if any(end in what for end in _CLOSED):
        return (
            f"{server} takes connections, and closes them",
            (
                "does it want TLS? Then set server_authority or server_tls, and"
                " client_certificate with client_key where callers must show one"
            ),
        )
    return (
        f"no Instanter server answers at {server}",
        "start one with `instanter serve`, or name another with --server HOST:PORT",
    )
