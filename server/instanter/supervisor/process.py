"""One process of the server, as the supervisor sees it."""

import asyncio
import contextlib
import os
from enum import Enum, auto
from typing import Any, Final

from instanter import limits
from instanter.clock import Clock
from instanter.supervisor.assignments import Assignment
from instanter.supervisor.channel import Channel, Message
from instanter.supervisor.spawning import Spawned


class Stage(Enum):
    """How far a process has come."""

    WARMING = auto()
    """It imports what it needs."""

    WARM = auto()
    """It could take any role."""

    STARTING = auto()
    """It has its role and opens what it needs for it."""

    SERVING = auto()
    """It has said that it serves."""

    STOPPING = auto()
    """It was told to finish."""

    GONE = auto()
    """It has ended."""


_SILENCE_NS_MAX: Final = {
    Stage.WARMING: limits.WARM_UP_NS_MAX,
    Stage.WARM: limits.SILENCE_STARTING_NS_MAX,
    Stage.STARTING: limits.SILENCE_STARTING_NS_MAX,
    Stage.SERVING: limits.SILENCE_NS_MAX,
}


class ChildProcess:
    """A process that was started, without a role at first.

    Parameters
    ----------
    spawned
        The process.
    clock
        Tells since when it serves.
    changed
        Set whenever something has happened to it.

    Attributes
    ----------
    pid
        Its process id.
    stage
        How far it has come.
    stage_told
        How far it had come when that was last logged.
    assignment
        Its role, or None.
    ready
        What it said when it was ready.
    ready_ns
        Time of the clock's `monotonic_ns` at which it said so; 0 before.
    failure
        What it said before it ended, or None.
    exit_code
        What it ended with; negative for a signal.
    counters
        The last snapshot of its metrics.
    """

    def __init__(self, spawned: Spawned, clock: Clock, changed: asyncio.Event) -> None:
        self._clock = clock
        self._changed = changed
        self._silent_ns = 0
        self._channel: Channel | None = None
        self._counted: asyncio.Event | None = None
        self.stage = Stage.WARMING
        self.stage_told = Stage.WARMING
        self.assignment: Assignment | None = None
        self.ready: Message = {}
        self.ready_ns = 0
        self.failure: Message | None = None
        self.exit_code = 0
        self.counters: dict[str, Any] = {}
        self._spawned = spawned
        self._popen = spawned.process
        self.pid = self._popen.pid
        self._descriptor = os.pidfd_open(self.pid)

    async def attach(self) -> None:
        """Begin to listen to it, on the running event loop."""
        asyncio.get_running_loop().add_reader(self._descriptor, self._bury)
        self._channel = await Channel.open(self._spawned.control, self._take, lambda: None)

    def assign(self, assignment: Assignment) -> None:
        """Give it its role."""
        assert self.stage is Stage.WARM, "only a warm process takes a role"
        assert self._channel is not None
        self.assignment = assignment
        self.stage = Stage.STARTING
        self._silent_ns = 0
        self._channel.send(assignment.to_message())

    def stop(self) -> None:
        """Tell it to finish what it does and to end; one without a role is killed."""
        if self.stage is Stage.GONE:
            return
        if self.assignment is None or self._channel is None:
            self.kill()
            return
        self.stage = Stage.STOPPING
        self._channel.send({"do": "stop"})

    def kill(self) -> None:
        """Kill it; whatever it is doing, it ends."""
        if self.stage is not Stage.GONE:
            self._popen.kill()

    def discard(self) -> None:
        """Leave nothing behind of one that was not listened to, or no longer is."""
        if self.stage is not Stage.GONE:
            self._spawned.discard()
            os.close(self._descriptor)
            self.stage = Stage.GONE

    @property
    def attached(self) -> bool:
        """Whether it is listened to."""
        return self._channel is not None

    def note_silence(self, passed_ns: int) -> bool:
        """Take note that time has passed; return whether it has been silent for too long."""
        self._silent_ns += passed_ns
        silence_ns_max = _SILENCE_NS_MAX.get(self.stage)
        return silence_ns_max is not None and self._silent_ns > silence_ns_max

    async def count(self, timeout_s: float) -> dict[str, Any]:
        """Return its counters as they are now, or as they were when it does not answer in time."""
        if self.stage in (Stage.STARTING, Stage.SERVING) and self._channel is not None:
            self._counted = self._counted or asyncio.Event()
            counted = self._counted
            self._channel.send({"do": "count"})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(counted.wait(), timeout_s)
        return self.counters

    def _take(self, message: Message) -> None:
        """Take a message of the process."""
        self._silent_ns = 0
        what = message["is"]
        if what == "alive":
            self.counters = message["counters"]
            if self._counted is not None:
                self._counted.set()
                self._counted = None
            return
        if what == "warm":
            self.stage = Stage.WARM
        elif what == "ready" and self.stage is Stage.STARTING:
            self.stage = Stage.SERVING
            self.ready = message
            self.ready_ns = self._clock.monotonic_ns()
        elif what == "failed":
            self.failure = message
        self._changed.set()

    def _bury(self) -> None:
        """Take note of its end."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self.exit_code = self._popen.wait()
        # Its last words may still be in the socket: they are read before the loop's next turn.
        loop.call_soon(self._close)

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self.stage = Stage.GONE
        self._changed.set()
