"""The single writer: one thread owns all write transactions of the process.

Changes that wait while a transaction is on its way to disk are committed together in the next one
(group commit): the disk is synced once for all of them, and every future resolves after that.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from instanter.clock import Clock
from instanter.errors import ExhaustedError, ExpiredError, InstanterError, UnavailableError
from instanter.limits import WRITES_GROUP_MAX, WRITES_WAITING_MAX
from instanter.metrics import Metrics
from instanter.store.environment import Environment
from instanter.store.transaction import Transaction

T = TypeVar("T")
Change = Callable[[Transaction, int], T]
"""A function of a write transaction and of the time (nanoseconds since 1970) it is made at.

It may run several times, each time on the state before it; it takes the time from its argument
only. It raises an `InstanterError` only before it has written anything: that refuses this change
alone. Any other exception undoes the group, whose changes then run again one by one.
"""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T]):
    """A change that waits for its turn."""

    change: Change[T]
    deadline_ns: int | None
    future: Future[T]


class Writer:
    """Runs changes of the store one after another, on a thread of its own.

    Parameters
    ----------
    environment
        The store.
    clock
        Gives each change its time, and tells whether its caller still waits.
    metrics
        Counts changes and transactions.
    """

    def __init__(self, environment: Environment, *, clock: Clock, metrics: Metrics) -> None:
        self._environment = environment
        self._clock = clock
        self._metrics = metrics
        self._queue: deque[_Waiting[Any]] = deque()
        self._wake = threading.Condition()
        self._accepting = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self) -> None:
        """Begin to take changes."""
        self._accepting = True
        self._thread.start()

    def stop(self) -> None:
        """Take no more changes, finish those that wait, and end the thread."""
        with self._wake:
            self._accepting = False
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, change: Change[T], deadline_ns: int | None = None) -> Future[T]:
        """Queue a change; the future has its result once that is on disk.

        A future that is cancelled before the change runs drops it.

        Parameters
        ----------
        change
            See `Change`.
        deadline_ns
            Time of the clock's `monotonic_ns` after which the change is not begun any more.

        Raises
        ------
        ExhaustedError
            `limits.WRITES_WAITING_MAX` changes wait already.
        UnavailableError
            The writer is not running.
        """
        future: Future[T] = Future()
        with self._wake:
            if not self._accepting:
                raise UnavailableError("the server is stopping and takes no more writes")
            if len(self._queue) >= WRITES_WAITING_MAX:
                raise ExhaustedError(
                    f"{WRITES_WAITING_MAX} writes wait for the disk already; retry later",
                    reason="WRITES_WAITING_EXHAUSTED",
                )
            self._queue.append(_Waiting(change, deadline_ns, future))
            self._wake.notify()
        return future

    def _run(self) -> None:
        """Commit group after group until the writer is stopped and nothing waits."""
        while group := self._take_group():
            live = [waiting for waiting in group if self._is_wanted(waiting)]
            if live:
                self._commit(live)

    def _take_group(self) -> list[_Waiting[Any]]:
        """Wait for changes and return them; empty when the writer is to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or not self._accepting)
            count = min(len(self._queue), WRITES_GROUP_MAX)
            return [self._queue.popleft() for _ in range(count)]

    def _is_wanted(self, waiting: _Waiting[Any]) -> bool:
        """Return whether a change is still wanted; tell its future when it is too late."""
        if not waiting.future.set_running_or_notify_cancel():
            return False
        if waiting.deadline_ns is None or self._clock.monotonic_ns() < waiting.deadline_ns:
            return True
        waiting.future.set_exception(
            ExpiredError("the deadline passed while the write waited; nothing was written")
        )
        return False

    def _commit(self, group: Sequence[_Waiting[Any]]) -> None:
        """Commit a group of changes and resolve their futures."""
        now_ns = self._clock.now_ns()

        def run_all(transaction: Transaction) -> list[Any]:
            return [_run_one(waiting.change, transaction, now_ns) for waiting in group]

        try:
            outcomes = self._environment.write(run_all)
        except InstanterError as error:
            # The store itself refused: nothing of the group was written.
            for waiting in group:
                waiting.future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - handed to the one whose change raised it
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            for waiting in group:
                self._commit([waiting])
        else:
            # Counted first: whoever waits for a future may look at the counters next.
            self._metrics.writes_count += sum(not isinstance(o, InstanterError) for o in outcomes)
            self._metrics.write_groups_count += 1
            for waiting, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, InstanterError):
                    waiting.future.set_exception(outcome)
                else:
                    waiting.future.set_result(outcome)


def _run_one(change: Change[Any], transaction: Transaction, now_ns: int) -> Any:
    """Return the change's result, or the error that it refused itself with."""
    try:
        return change(transaction, now_ns)
    except InstanterError as error:
        return error
