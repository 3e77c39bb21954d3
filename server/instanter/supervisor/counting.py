"""The counters of all processes together, for the metrics page of the server."""

import asyncio
from typing import Any, Final

from instanter.metrics import ROLES, Metrics
from instanter.supervisor.assignments import Role
from instanter.supervisor.sums import add_snapshot, add_up
from instanter.supervisor.supervisor import Supervisor

_ANSWER_S_MAX: Final = 0.3
"""Time that processes have to tell their counters; else those of the last heartbeat count."""


class ServerCounters:
    """Adds up what the processes of a server count, also those that have ended.

    Parameters
    ----------
    supervisor
        Knows the processes.
    loop
        The event loop it runs on.
    """

    def __init__(self, supervisor: Supervisor, loop: asyncio.AbstractEventLoop) -> None:
        self._supervisor = supervisor
        self._loop = loop
        self._ended = Metrics()
        supervisor.on_end = self.keep

    def read(self) -> Metrics:
        """Return the sum as it is now; on another thread than the loop's."""
        asked = asyncio.run_coroutine_threadsafe(self._collect(), self._loop)
        return asked.result(2 * _ANSWER_S_MAX)

    def keep(self, role: Role | None, counters: dict[str, Any]) -> None:
        """Keep what a process has counted that has ended, so that no sum ever goes back."""
        add_snapshot(self._ended, counters, living=False)
        if role is not None:
            self._ended.restarts_by_role[ROLES.index(role)] += 1

    async def _collect(self) -> Metrics:
        children = self._supervisor.list_children()
        return add_up(
            await asyncio.gather(*(child.count(_ANSWER_S_MAX) for child in children)), self._ended
        )
