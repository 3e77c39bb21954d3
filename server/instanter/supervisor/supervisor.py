"""The supervisor: starts the processes of one server, watches them, replaces and ends them.

It does nothing else, so that nothing can go wrong with it: it opens no store, has no port but the
metrics page's, and imports little. Whatever happens to a process, its place is filled again by one
that is warm already, which takes a fraction of a second; a process that does not answer is killed,
for a frozen process is worse than a dead one.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from instanter import errors, limits
from instanter.clock import Clock
from instanter.errors import InstanterError, UnavailableError
from instanter.rpc.listening import Listening
from instanter.store.log.retention import Retention
from instanter.store.opening import check_folder
from instanter.store.server_lock import SERVER_LOCK_FILE_NAME, ServerLock
from instanter.supervisor.assignments import Assignment, Role
from instanter.supervisor.place import Place
from instanter.supervisor.port import ReservedPort
from instanter.supervisor.process import ChildProcess, Stage
from instanter.supervisor.spawning import Spawned, spawn

if TYPE_CHECKING:
    from instanter.events_log import EventsLog

TICK_NS: Final = 100_000_000
"""How often it looks after its processes when nothing happens."""

STANDBY_DELAY_NS: Final = 1_000_000_000
"""Time after everything serves before a standby is started: importing takes a core for seconds,
which the first callers can use better."""

_STOP_CHECK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Plan:
    """What a server is to consist of.

    Attributes
    ----------
    folder
        The data folder.
    listening
        Where it serves.
    workers
        Number of worker processes; with 0 the keeper serves the port itself.
    retention
        How long the log keeps what nothing needs any more.
    """

    folder: Path
    listening: Listening
    workers: int
    retention: Retention = field(default_factory=Retention)


class Supervisor:
    """Runs the processes of one server. `run` it on an event loop, then `close` it.

    Parameters
    ----------
    plan
        What the server consists of.
    spawned
        Processes that were started already: what they import takes longer than all that follows.
    clock
        Tells how long processes have served, and when the next is due.

    Raises
    ------
    PreconditionError
        Another server has the folder, or it holds something else.
    UnavailableError
        The port cannot be had.
    """

    def __init__(self, plan: Plan, spawned: Sequence[Spawned], *, clock: Clock) -> None:
        # The folder first: it is refused, if it is no store, before a lock file is left in it.
        check_folder(plan.folder, writable=True)
        self._lock, self._port = _take(plan)
        self._plan = replace(
            plan, listening=replace(plan.listening, port=self._port.port, reuse_port=True)
        )
        self._clock = clock
        self._changed = asyncio.Event()
        self._places = [
            Place(Role.KEEPER, clock),
            *(Place(Role.WORKER, clock) for _ in range(plan.workers)),
        ]
        self._children = [ChildProcess(each, clock, self._changed) for each in spawned]
        self._keeper_served = False
        self._announced_ns = 0
        self._spawn_retry_ns = 0
        self._warm_ups_failed_count = 0
        self._log: EventsLog | None = None
        self.on_end: Callable[[Role | None, dict[str, Any]], object] = lambda _role, _counters: None

    @property
    def port(self) -> int:
        """The TCP port of the services."""
        return self._port.port

    @property
    def ready(self) -> dict[str, Any]:
        """What the keeper said when it was ready: the revisions that decide."""
        child = self._places[0].child
        return child.ready if child is not None else {}

    @property
    def pids(self) -> dict[str, Any]:
        """Process ids, by role."""
        pids = [place.child.pid if place.child else None for place in self._places]
        return {"keeper": pids[0], "workers": pids[1:]}

    def list_children(self) -> list[ChildProcess]:
        """Return the processes that have a role and live."""
        return [place.child for place in self._places if place.child is not None]

    async def run(
        self,
        log: "EventsLog",
        stop: asyncio.Event,
        hurry: asyncio.Event,
        on_ready: Callable[[], None],
    ) -> None:
        """Serve until `stop` is set, then end the processes in order; at once when `hurry` is.

        Parameters
        ----------
        log
            Told of every process that ends.
        stop, hurry
            End the serving.
        on_ready
            Called once, when every place is filled and serves.

        Raises
        ------
        InstanterError
            A process cannot start; the error is its own.
        """
        self._log = log
        try:
            for child in self._children:
                await child.attach()
            await self._watch(stop, on_ready)
            await self._end(hurry)
        finally:
            await self._kill_all()

    def close(self) -> None:
        """Give port and folder back; whatever still runs is killed."""
        for child in self._children:
            child.discard()
        self._port.release()
        self._lock.release()

    async def _watch(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Keep every place filled until `stop` is set."""
        stopping = asyncio.ensure_future(stop.wait())
        checked_ns = self._clock.monotonic_ns()
        try:
            while not stop.is_set():
                self._changed.clear()
                now_ns = self._clock.monotonic_ns()
                # Time in which this process itself was stopped says nothing about the others.
                self._check_silence(min(now_ns - checked_ns, 2 * TICK_NS))
                checked_ns = now_ns
                self._bury()
                await self._fill(now_ns)
                self._tell_stages()
                if not self._announced_ns and all(place.serves for place in self._places):
                    self._announced_ns = now_ns
                    on_ready()
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait(
                    (stopping, changed),
                    timeout=TICK_NS / 1e9,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                changed.cancel()
        finally:
            stopping.cancel()

    def _check_silence(self, passed_ns: int) -> None:
        """Kill what has not been heard of for too long."""
        assert self._log is not None
        for child in self._children:
            if child.note_silence(passed_ns):
                self._log.error("process_frozen", pid=child.pid, role=_name_role(child))
                child.kill()

    def _bury(self) -> None:
        """Empty the places of processes that have ended."""
        for child in [child for child in self._children if child.stage is Stage.GONE]:
            self._children.remove(child)
            role = child.assignment.role if child.assignment is not None else None
            self.on_end(role, child.counters)
            if self._announced_ns or child.failure is None:
                self._tell_end(child)
            if role is None:
                self._note_failed_warm_up(child)
                continue
            place = next(place for place in self._places if place.child is child)
            place.empty()
            if not self._announced_ns or (
                not self._plan.workers and place.failures_count >= limits.RESTARTS_FAILED_MAX
            ):
                raise _make_error(child)

    def _tell_stages(self) -> None:
        """Log each process that has begun to serve, or to stand by."""
        assert self._log is not None
        for child in self._children:
            if child.stage is not child.stage_told:
                child.stage_told = child.stage
                if child.stage is Stage.SERVING:
                    self._log.info("process_serves", role=_name_role(child), pid=child.pid)
                elif child.stage is Stage.WARM and self._announced_ns:
                    self._log.info("process_stands_by", pid=child.pid)

    def _note_failed_warm_up(self, child: ChildProcess) -> None:
        """Wait a while before the next process is started; give up when none ever served."""
        if child.ready_ns or child.stage is not Stage.GONE:
            return
        self._warm_ups_failed_count += 1
        if not self._announced_ns:
            raise _make_error(child)
        delay_ns = Place.find_delay_ns(self._warm_ups_failed_count)
        self._spawn_retry_ns = self._clock.monotonic_ns() + delay_ns

    def _tell_end(self, child: ChildProcess) -> None:
        assert self._log is not None
        facts: dict[str, object] = {"pid": child.pid, "exit_code": child.exit_code}
        if child.failure is not None:
            facts |= {"reason": child.failure["reason"], "message": child.failure["message"]}
        self._log.error("process_ended", role=_name_role(child), **facts)

    async def _fill(self, now_ns: int) -> None:
        """Give every empty place a warm process, and start what is missing."""
        if self._places[0].serves:
            self._keeper_served = True
        unfilled_count = 0
        for place in self._places:
            if place.child is not None or (place.role is Role.WORKER and not self._keeper_served):
                unfilled_count += place.child is None
            elif now_ns >= place.retry_ns:
                warm = next((child for child in self._children if _is_spare(child)), None)
                if warm is None:
                    unfilled_count += 1
                else:
                    self._assign(warm, place)
        if self._announced_ns and now_ns - self._announced_ns >= STANDBY_DELAY_NS:
            # One that takes a keeper's place and, where there are workers, one that takes theirs:
            # what kills one of them may well kill the other.
            standby_count = min(len(self._places), 2)
            if all(place.serves for place in self._places):
                unfilled_count = standby_count
        spare_count = sum(child.assignment is None for child in self._children)
        if unfilled_count > spare_count and now_ns >= self._spawn_retry_ns:
            child = ChildProcess(spawn(), self._clock, self._changed)
            self._children.append(child)
            await child.attach()

    def _assign(self, child: ChildProcess, place: Place) -> None:
        """Give a process a place."""
        serves_port = place.role is Role.WORKER or not self._plan.workers
        place.fill(child)
        child.assign(
            Assignment(
                role=place.role,
                folder=self._plan.folder,
                lock_file_id=self._lock.file_id,
                listening=self._plan.listening if serves_port else None,
                fresh_overlay=not self._keeper_served,
                retention=self._plan.retention,
            )
        )
        self._warm_ups_failed_count = 0

    async def _end(self, hurry: asyncio.Event) -> None:
        """End the workers, then the keeper; each may finish what it does."""
        for child in self._children:
            if child.assignment is None or child.stage is Stage.STARTING:
                child.kill()
        for role, time_ns in (
            (Role.WORKER, limits.DRAIN_NS_MAX + 1_000_000_000),
            (Role.KEEPER, limits.DRAIN_NS_MAX + limits.KEEPER_STOP_NS_MAX),
        ):
            ending = [p.child for p in self._places if p.role is role and p.child is not None]
            for child in ending:
                child.stop()
            await self._wait_gone(ending, time_ns, hurry)

    async def _wait_gone(
        self, children: list[ChildProcess], time_ns: int, hurry: asyncio.Event
    ) -> None:
        """Wait until processes have ended; kill those that take longer than they may."""
        end_ns = self._clock.monotonic_ns() + time_ns
        while any(child.stage is not Stage.GONE for child in children):
            if hurry.is_set() or self._clock.monotonic_ns() >= end_ns:
                for child in children:
                    child.kill()
            await asyncio.sleep(_STOP_CHECK_S)

    async def _kill_all(self) -> None:
        """Leave no process behind."""
        for child in self._children:
            child.kill()
        while any(child.attached and child.stage is not Stage.GONE for child in self._children):
            await asyncio.sleep(_STOP_CHECK_S)


def _take(plan: Plan) -> tuple[ServerLock, ReservedPort]:
    """Return folder and port, both taken or none.

    A folder that was served before is taken first: whoever has it is named, even where he has the
    port as well. A new one comes last: a port that cannot be had leaves nothing behind.
    """
    listening = plan.listening
    with ExitStack() as undo:
        lock = None
        if (plan.folder / SERVER_LOCK_FILE_NAME).exists():
            lock = ServerLock.acquire(plan.folder)
            undo.callback(lock.release)
        elif listening.metrics_port:
            ReservedPort.take(listening.metrics_address, listening.metrics_port).release()
        port = ReservedPort.take(listening.address, listening.port)
        undo.callback(port.release)
        lock = lock or ServerLock.acquire(plan.folder)
        undo.pop_all()
    return lock, port


def _is_spare(child: ChildProcess) -> bool:
    return child.stage is Stage.WARM and child.assignment is None


def _name_role(child: ChildProcess) -> str:
    return "standby" if child.assignment is None else str(child.assignment.role)


def _make_error(child: ChildProcess) -> InstanterError:
    """Return the error that a process ended with, or one that says how it ended."""
    said = child.failure
    if child.exit_code == -signal.SIGBUS:
        # LMDB reads through a map, and what lies behind the end of a file ends the process.
        return UnavailableError(
            f"the {_name_role(child)} process could not start: a file of the store is shorter than "
            "it has to be, data.mdb as a rule; restore the folder from a backup",
            reason="PROCESS_FAILED",
        )
    if said is None:
        how = f"signal {-child.exit_code}" if child.exit_code < 0 else f"code {child.exit_code}"
        return UnavailableError(
            f"the {_name_role(child)} process could not start; it ended with {how}, and the log"
            " has what it said",
            reason="PROCESS_FAILED",
        )
    kind = getattr(errors, said["kind"], UnavailableError)
    error: InstanterError = kind.__new__(kind)
    InstanterError.__init__(
        error, said["message"], reason=said["reason"], metadata=said["metadata"]
    )
    return error
