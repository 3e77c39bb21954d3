"""The keeper's side of decisions and their outcomes: records them, and waits for latecomers.

A worker's decision is recorded without anybody waiting for it, so its outcome may arrive first. An
outcome whose decision is not known waits for it, `limits.OUTCOME_DECISION_NS_MAX` at most: each
record of decisions that arrives sends those that wait in again, behind it. So does one that does
not fit what is known of a decision with a request id, for a later try of it may be on its way.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

from instanter.clock import Clock
from instanter.errors import InstanterError
from instanter.keeper.attribution import OutcomeState
from instanter.keeper.commands import Submit
from instanter.keeper.decisions import DecisionArchive, RecordDecisions
from instanter.keeper.learning_inputs import LearningInputs
from instanter.keeper.outcomes import Outcome, RecordOutcomes
from instanter.keeper.ticking import Tick
from instanter.limits import OUTCOME_DECISION_NS_MAX, OUTCOMES_WAITING_MAX
from instanter.store.log.frames import LogPosition, LogRecord

States = tuple[OutcomeState, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Late:
    """Outcomes of one call, some of which wait for their decisions."""

    outcomes: tuple[Outcome, ...]
    states: list[OutcomeState]
    unsettled: tuple[int, ...]
    until_ns: int
    relaxed: bool
    future: Future[States]


class ResponseDesk:
    """Records decisions and outcomes; for any thread.

    Parameters
    ----------
    submit
        Hands a command to the keeper.
    read_at
        Reads a record of the log.
    clock
        Tells how long an outcome has waited.
    """

    def __init__(
        self, submit: Submit, read_at: Callable[[LogPosition], LogRecord], *, clock: Clock
    ) -> None:
        self._submit = submit
        self._read_at = read_at
        self._clock = clock
        # Both belong to the keeper's thread that prepares commands.
        self._archive = DecisionArchive(read_at)
        self._inputs = LearningInputs()
        self._late: list[_Late] = []
        self._late_count = 0
        self._wake = threading.Condition()
        self._running = False
        self._thread = threading.Thread(target=self._run, name="late outcomes", daemon=True)

    def start(self) -> None:
        """Begin to look after outcomes that wait."""
        self._running = True
        self._thread.start()

    def stop(self) -> None:
        """Answer what waits, and end the thread; before the keeper stops."""
        with self._wake:
            self._running = False
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def record_decisions(self, body: bytes) -> Future[None]:
        """Record what one turn decided, without waiting for the disk.

        Raises
        ------
        InstanterError
            The keeper takes no more; the decisions stand, but have no outcomes then.
        """
        future = self._submit(RecordDecisions(body, self._archive), relaxed=True)
        if self._late:
            self._send_again(everything=True)
        return future

    def record_outcomes(
        self,
        outcomes: tuple[Outcome, ...],
        deadline_ns: int | None = None,
        *,
        relaxed: bool = False,
    ) -> Future[States]:
        """Record outcomes; the future has their states, in order.

        Parameters
        ----------
        outcomes
            At least one.
        deadline_ns, relaxed
            As in `Keeper.submit`.

        Raises
        ------
        InstanterError
            As `Keeper.submit`.
        """
        answer: Future[States] = Future()
        command = RecordOutcomes(outcomes, self._archive, self._inputs)
        states = [OutcomeState.DECISION_UNKNOWN] * len(outcomes)
        late = _Late(
            outcomes,
            states,
            tuple(range(len(outcomes))),
            self._clock.monotonic_ns() + OUTCOME_DECISION_NS_MAX,
            relaxed,
            answer,
        )
        future = self._submit(command, deadline_ns, relaxed=relaxed, weight=len(outcomes))
        # From here on it is carried out; to cancel the answer changes nothing.
        answer.set_running_or_notify_cancel()
        future.add_done_callback(partial(self._take_answer, late, command))
        return answer

    def make_tick(self, tell_lost: Callable[[int], None]) -> Tick:
        """Return the command that ends the wait of unanswered presentations; see `Tick`."""
        return Tick(self._read_at, self._inputs, tell_lost)

    def _take_answer(self, late: _Late, command: RecordOutcomes, done: Future[States]) -> None:
        """Answer the caller, or let those outcomes wait that came before their decisions."""
        error = done.exception()
        if error is not None:
            late.future.set_exception(error)
            return
        states = list(late.states)
        for place, state in zip(late.unsettled, done.result(), strict=True):
            states[place] = state
        unsettled = tuple(late.unsettled[n] for n in sorted(command.unsettled))
        with self._wake:
            waits = (
                bool(unsettled)
                and self._running
                and self._clock.monotonic_ns() < late.until_ns
                and self._late_count + len(unsettled) <= OUTCOMES_WAITING_MAX
            )
            if waits:
                self._late.append(replace(late, states=states, unsettled=unsettled))
                self._late_count += len(unsettled)
                self._wake.notify()
        if not waits:
            late.future.set_result(tuple(states))

    def _run(self) -> None:
        """Send in for the last time what has waited long enough."""
        while True:
            with self._wake:
                self._wake.wait_for(
                    lambda: self._late or not self._running,
                )
                if not self._late and not self._running:
                    return
                first_ns = min(late.until_ns for late in self._late)
                rest_ns = first_ns - self._clock.monotonic_ns()
                if self._running and rest_ns > 0:
                    self._wake.wait(rest_ns / 1e9)
            self._send_again(everything=not self._running)

    def _send_again(self, *, everything: bool) -> None:
        """Send in outcomes that wait: all of them, or those whose time is up."""
        now_ns = self._clock.monotonic_ns()
        with self._wake:
            ready = [late for late in self._late if everything or late.until_ns <= now_ns]
            self._late = [late for late in self._late if late not in ready]
            self._late_count = sum(len(late.unsettled) for late in self._late)
        for late in ready:
            outcomes = tuple(late.outcomes[place] for place in late.unsettled)
            command = RecordOutcomes(outcomes, self._archive, self._inputs)
            try:
                future = self._submit(command, relaxed=late.relaxed, weight=len(outcomes))
            except InstanterError as error:
                late.future.set_exception(error)
                continue
            future.add_done_callback(partial(self._take_answer, late, command))
