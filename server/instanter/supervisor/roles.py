"""The roles that a process can take, each with what it consists of."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from instanter.errors import InstanterError, UnavailableError
from instanter.metrics import Metrics
from instanter.node import Node
from instanter.rpc.listening import Listening
from instanter.store.server_lock import check_folder_stays
from instanter.supervisor.assignments import Assignment, Role
from instanter.worker_node import WorkerNode

_CHECK_S: Final = 0.02
_LAST_REPLIES_S: Final = 0.05


class RoleNode(Protocol):
    """What a process does once it has its role."""

    @property
    def metrics(self) -> Metrics:
        """Its counters."""

    async def serve(
        self, stop: asyncio.Event, on_ready: Callable[[], None]
    ) -> InstanterError | None:
        """Serve until `stop` is set, or until it cannot; return what went wrong, if anything."""

    def close(self) -> None:
        """Give everything back. Blocks."""


def open_role(assignment: Assignment) -> RoleNode:
    """Return what does what a process was assigned. Blocks.

    Raises
    ------
    InstanterError
        The folder cannot be used, or is not the server's any more.
    """
    check_folder_stays(assignment.folder, assignment.lock_file_id)
    if assignment.role is Role.KEEPER:
        return KeeperRole(assignment)
    return WorkerRole(assignment)


class KeeperRole:
    """The one process that writes; without workers it serves the port too."""

    def __init__(self, assignment: Assignment) -> None:
        self._listening = assignment.listening
        self._node = Node(
            assignment.folder,
            supervised=True,
            fresh_overlay=assignment.fresh_overlay,
            retention=assignment.retention,
        )
        self.metrics = self._node.metrics

    async def serve(
        self, stop: asyncio.Event, on_ready: Callable[[], None]
    ) -> InstanterError | None:
        """Serve until `stop` is set or the log fails; return the failure, if that was it."""
        ending = asyncio.Event()
        watch = asyncio.create_task(self._watch(stop, ending))
        try:
            if self._listening is None:
                await self._node.serve_workers(ending, on_ready)
            else:
                await self._node.serve(self._listening, ending, lambda *_: on_ready())
        finally:
            watch.cancel()
        if not self._node.keeper.failed.is_set():
            return None
        return self._node.keeper.failure or UnavailableError("the keeper has failed")

    def close(self) -> None:
        """Finish the writes that wait, fold everything, and give the folder back."""
        self._node.close()

    async def _watch(self, stop: asyncio.Event, ending: asyncio.Event) -> None:
        """Set `ending` when the process is told to stop, or when its log has failed."""
        failed = self._node.keeper.failed
        while not stop.is_set() and not failed.is_set():
            await asyncio.sleep(_CHECK_S)
        if failed.is_set():
            # Those whose writes were refused hear of it first.
            await asyncio.sleep(_LAST_REPLIES_S)
        ending.set()


class WorkerRole:
    """A process that decides and reads, and forwards what changes something."""

    def __init__(self, assignment: Assignment) -> None:
        assert assignment.listening is not None, "a worker serves a port"
        self._listening: Listening = assignment.listening
        self._node = WorkerNode(assignment.folder)
        self.metrics = self._node.metrics

    async def serve(
        self, stop: asyncio.Event, on_ready: Callable[[], None]
    ) -> InstanterError | None:
        """Serve until `stop` is set."""
        await self._node.serve(self._listening, stop, on_ready)
        return None

    def close(self) -> None:
        """Give everything back."""
        self._node.close()
