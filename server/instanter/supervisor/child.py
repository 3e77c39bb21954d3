"""A process of the server: gets warm, takes a role, lives it, and ends with its supervisor.

`python -m instanter.supervisor.child DESCRIPTOR PARENT` is started by the supervisor only.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

import uvloop

from instanter.errors import InstanterError, UnavailableError
from instanter.kernels.cache import filling_alone
from instanter.limits import HEARTBEAT_NS, SWITCH_INTERVAL_NS
from instanter.orphans import end_with_parent
from instanter.supervisor.assignments import Assignment, Role
from instanter.supervisor.channel import Channel, Message
from instanter.supervisor.sums import take_snapshot

if TYPE_CHECKING:
    from instanter.supervisor.roles import RoleNode

EXIT_FAILED: Final = 3
"""The role could not be taken; the supervisor has been told why."""

EXIT_LOG_FAILED: Final = 4
"""A keeper's log cannot be written any more: what is in it must be read again."""

EXIT_ORPHANED: Final = 5
"""The supervisor is gone."""


class Child:
    """The process, as it follows its supervisor. For one event loop."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._assigned: asyncio.Future[Assignment] = asyncio.get_running_loop().create_future()
        self._node: RoleNode | None = None
        self._channel: Channel | None = None

    async def live(self, control: socket.socket) -> int:
        """Take a role and live it until told to stop; return the exit code."""
        self._channel = await Channel.open(control, self._take, _end_orphaned)
        self._channel.send({"is": "warm"})
        beating = asyncio.create_task(self._beat())
        try:
            assignment = await self._assigned
            return await self._serve(assignment)
        except (InstanterError, OSError) as error:
            self._tell_failure(error)
            return EXIT_FAILED
        finally:
            beating.cancel()
            self._channel.close()

    async def _serve(self, assignment: Assignment) -> int:
        from instanter.supervisor.roles import open_role

        # Opening takes a while, in which the heart must go on beating.
        node = self._node = await asyncio.to_thread(open_role, assignment)
        try:
            failure = await node.serve(self._stop, self._on_ready)
        finally:
            self._tell_counters()
            await asyncio.to_thread(node.close)
        if failure is None:
            return 0
        self._tell_failure(failure)
        return EXIT_LOG_FAILED if assignment.role is Role.KEEPER else EXIT_FAILED

    def _on_ready(self) -> None:
        assert self._channel is not None
        assert self._node is not None
        # What has been made until now lives as long as the process. A full collection would look
        # at all of it, 147,000 objects, and let every caller wait for 90 ms.
        gc.collect()
        gc.freeze()
        metrics = self._node.metrics
        self._channel.send(
            {
                "is": "ready",
                "catalogue_revision": metrics.catalogue_revision,
                "model_revision": metrics.model_revision,
            }
        )

    async def _beat(self) -> None:
        """Tell the supervisor from this loop, again and again, that it turns."""
        while True:
            self._tell_counters()
            await asyncio.sleep(HEARTBEAT_NS / 1e9)

    def _tell_counters(self) -> None:
        assert self._channel is not None
        counters: dict[str, Any] = {}
        if self._node is not None:
            counters = take_snapshot(self._node.metrics)
        self._channel.send({"is": "alive", "counters": counters})

    def _tell_failure(self, error: Exception) -> None:
        assert self._channel is not None
        if not isinstance(error, InstanterError):
            error = UnavailableError(str(error), reason="PROCESS_FAILED")
        self._channel.send(
            {
                "is": "failed",
                "kind": type(error).__name__,
                "message": error.message,
                "reason": error.reason,
                "metadata": error.metadata,
            }
        )

    def _take(self, message: Message) -> None:
        """Take a message of the supervisor."""
        what = message["do"]
        if what == "serve":
            self._assigned.set_result(Assignment.from_message(message))
        elif what == "stop":
            self._stop.set()
        elif what == "count":
            self._tell_counters()


def main(arguments: list[str]) -> int:
    """Be a process of the server; return its exit code."""
    # A terminal's Ctrl-C or end and a service manager's SIGTERM reach all processes of the server.
    # They are the supervisor's, which ends the others in their order.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    descriptor, parent = int(arguments[0]), int(arguments[1])
    end_with_parent(parent)
    control = socket.socket(fileno=descriptor)
    os.set_inheritable(descriptor, False)
    control.setblocking(False)
    # The event loop answers everybody; folding and learning, on threads of their own, can wait.
    sys.setswitchinterval(SWITCH_INTERVAL_NS / 1e9)
    for name in ("coverage", "scipy"):
        # Numba imports them where they are installed, for what no kernel of ours uses: 0.3 s.
        sys.modules.setdefault(name, cast("ModuleType", None))
    with filling_alone():
        import instanter.supervisor.roles  # noqa: F401 - what takes long is done before a role comes
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(control))


async def _live(control: socket.socket) -> int:
    return await Child().live(control)


def _end_orphaned() -> None:
    """End at once: nobody watches any more, and the next server waits for the folder."""
    os._exit(EXIT_ORPHANED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
