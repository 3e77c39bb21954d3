"""Connects a command to the server, and turns what the client raises into what people read."""

from collections.abc import Iterator
from contextlib import contextmanager

from instanter.cli.addresses import check_server
from instanter.cli.configuration import Configuration
from instanter.cli.failures import CommandError
from instanter.client import Client, ClientError, DeadlineExceededError, Timeouts, Tls
from instanter.client import UnavailableError as ServerUnavailableError


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
        raise _make(
            error,
            f"no Instanter server answers at {configuration.server}",
            "start one with `instanter serve`, or name another with --server HOST:PORT",
        ) from error
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
    """Return how to encrypt the connection to the configured server; None for plain text."""
    if not (configuration.server_tls or configuration.server_authority):
        return None
    return Tls(
        authority=configuration.server_authority or None,
        certificate=configuration.client_certificate or None,
        key=configuration.client_key or None,
    )
