"""File descriptors: as many as all connections need, of which some are kept for everything else."""

import resource
from typing import Final

from instanter import wire_limits

_KEPT_MAX: Final = 256
"""Descriptors that connections leave to the log, the store and the other processes, which have
about 30 of them open: a write must not be refused because many have connected."""


def raise_descriptors_limit() -> None:
    """Let this process, and those that it starts, have as many as the administrator allows.

    Service managers begin with 1,024 and allow far more, for the sake of programs that call
    `select`; no process of ours does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wire_limits.CONNECTIONS_MAX + _KEPT_MAX
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def count_connections_max() -> int:
    """Return how many connections this process has descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wire_limits.CONNECTIONS_MAX
    return min(wire_limits.CONNECTIONS_MAX, soft - min(_KEPT_MAX, soft // 2))
