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
            raise CommandError(f"{configuration.server}: {error.message}") from error
        raise CommandError(
            f"no Instanter server answers at {configuration.server}",
            hint="start one with `instanter serve`, or name another with --server HOST:PORT",
        ) from error
    except DeadlineExceededError as error:
        raise CommandError(
            f"{configuration.server} did not answer within {timeout_s:g} s",
            hint="give it longer with --timeout SECONDS",
        ) from error
    except ClientError as error:
        found = f" (correlation id {error.correlation_id})" if error.correlation_id else ""
        raise CommandError(f"{error.message}{found}") from error


def make_tls(configuration: Configuration) -> Tls | None:
    """Return how to encrypt the connection to the configured server; None for plain text."""
    if not (configuration.server_tls or configuration.server_authority):
        return None
    return Tls(
        authority=configuration.server_authority or None,
        certificate=configuration.client_certificate or None,
        key=configuration.client_key or None,
    )
