"""Carries out groups of commands: checks, logs and applies each, then lets the log be synced."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import chain
from typing import Any

from instanter.clock import Clock
from instanter.errors import ExhaustedError, InstanterError, UnavailableError
from instanter.keeper.applying import TOGETHER, apply_record
from instanter.keeper.commands import Answered, ApplyContext, Command
from instanter.keeper.disk_watch import DiskWatch
from instanter.keeper.folding import Folder
from instanter.keeper.records import HEAVY_KINDS, RecordKind
from instanter.keeper.replay import estimate_replay_ns, replay_tail
from instanter.keeper.syncing import Syncer
from instanter.keeper.voiding import VoidRecord
from instanter.keeper.waiting import Waiting, WaitingCommand, make_unknown
from instanter.keeper.writing import EarlyWriting, GroupWriting, Writing
from instanter.metrics import Metrics
from instanter.store.log.frames import LogRecord
from instanter.store.log.log import Log
from instanter.store.state import State
from instanter.store.transaction import Transaction

OnWritten = Callable[[Sequence[LogRecord]], object]
"""Called with the records of each group once they are written into the log, heavy ones once they
are applied."""

Undoing = Callable[[], None]
"""Takes back what the log had no room for."""


class Carrier:
    """Carries out one group after another; never two at a time, on whichever thread.

    Parameters
    ----------
    state
        The store, opened for writing.
    log
        Its log.
    context, clock, metrics, on_written
        As in `Keeper`.
    folder
        Applies heavy records.
    syncer
        Answers once records are on disk.
    disk_watch
        Is told of what is refused.
    """

    def __init__(
        self,
        state: State,
        log: Log,
        *,
        context: ApplyContext,
        clock: Clock,
        metrics: Metrics,
        folder: Folder,
        syncer: Syncer,
        disk_watch: DiskWatch,
        on_written: OnWritten | None,
    ) -> None:
        self._state = state
        self._log = log
        self._context = context
        self._clock = clock
        self._metrics = metrics
        self._folder = folder
        self._syncer = syncer
        self._disk_watch = disk_watch
        self._on_written = on_written
        self._last_time_ns = 0

    def replay(self) -> int:
        """Apply what the base does not hold yet; return records replayed. Before all else."""
        replayed = replay_tail(self._state, self._log, self._folder.fold, self._context)
        self._last_time_ns = replayed.time_ns
        self._folder.note_unfolded(replayed.replay_ns)
        self._warm_up()
        return replayed.record_count

    def log_time_ns(self) -> int:
        """Return the latest time that a record was given; 0 before the first of this process."""
        return self._last_time_ns

    def _warm_up(self) -> None:
        with self._state.read() as transaction:
            self._context.warm_up(transaction)

    def carry_out(self, group: Sequence[Waiting]) -> Undoing | None:
        """Carry out a group: light commands, or one heavy one.

        Returns
        -------
        callable or None
            What is still to be done before the next group, and takes as long as a start: to take
            back what the overlay shows and the log had no room for.

        Raises
        ------
        InstanterError
            The log has failed.
        """
        live = [waiting for waiting in group if waiting.keep_wanted(self._clock)]
        if not live:
            return None
        if live[0].kind in HEAVY_KINDS:
            self._carry_out_heavy(live[0])
            return None
        return self._carry_out(live)

    def _carry_out(self, group: Sequence[Waiting]) -> Undoing | None:
        """Carry out a group of light commands; return what is still to be undone of it."""
        commands = group[0].commands
        if len(group) > 1:
            commands = [command for waiting in group for command in waiting.commands]
        if len(commands) == 1:
            self._carry_out_alone(group[0])
            return None
        writing = GroupWriting(self._log, self._advance_time())
        try:
            outcomes = self._apply(commands, writing)
        except InstanterError as error:
            # The store itself refused: nothing of the group has happened.
            writing.begin_again()
            self._refuse(group, error)
            return None
        except Exception:  # noqa: BLE001 - the one whose command raises it gets it
            writing.begin_again()
            for single in chain.from_iterable(waiting.split() for waiting in group):
                self._carry_out_alone(single)
            return None
        if writing.records:
            try:
                self._log.write_group()
            except ExhaustedError as error:
                return partial(self._undo, group, error)
        self._finish(group, writing.records, outcomes)
        return None

    def _carry_out_alone(self, waiting: Waiting) -> None:
        """Carry out a single light command, whose effect is applied while the disk works."""
        begin_sync = None if waiting.relaxed else self._syncer.begin
        writing = EarlyWriting(self._log, self._advance_time(), begin_sync)
        try:
            outcomes = self._apply(waiting.commands, writing)
        except Exception as error:
            if writing.written is not None:
                self._disk_watch.note(error, 1)
                self._take_back(waiting, writing.written, error)
                return
            if writing.has_failed:
                raise
            # Nothing has happened.
            writing.forget()
            self._refuse((waiting,), error)
            return
        self._finish((waiting,), writing.records, outcomes)

    def _apply(self, commands: Sequence[Command[Any]], writing: Writing) -> list[Any]:
        """Prepare and apply commands in one transaction of the overlay; return their outcomes."""

        def change(transaction: Transaction) -> list[Any]:
            # It may run again, when the map has to grow.
            writing.begin_again()
            found = self._carry_out_each(commands, transaction, writing)
            writing.check()
            if writing.records:
                transaction.set_applied(writing.records[-1].sequence)
            return found

        return self._state.write(change)

    def _take_back(self, waiting: Waiting, record: LogRecord, error: Exception) -> None:
        """Take a record back that is in the log and could not be applied, then tell its caller.

        Raises
        ------
        InstanterError
            It cannot be taken back: only a start from the log can tell what it has done.
        """
        if isinstance(waiting.commands[0], VoidRecord):
            # That has no effect by itself: it is enough that it is in the log.
            self._finish((waiting,), (record,), [None])
            return
        void = WaitingCommand[None](VoidRecord(record.sequence))
        failed = UnavailableError(
            f"record {record.sequence} of the log could be neither applied nor taken back: {error}"
        )

        def tell(done: Future[None]) -> None:
            # Once that is on disk the record cannot come to life after a power cut.
            failure = done.exception()
            waiting.tell([error if failure is None else make_unknown(failed)])

        void.future.add_done_callback(tell)
        self._carry_out_alone(void)
        if void.future.done() and void.future.exception() is not None:
            raise failed

    def _finish(
        self, group: Sequence[Waiting], fresh: Sequence[LogRecord], outcomes: list[Any]
    ) -> None:
        """Tell whoever follows of a group that is applied and written, and answer it."""
        self._hand_over(fresh)
        self._folder.note_unfolded(sum(map(estimate_replay_ns, fresh)))
        self._metrics.writes_count += sum(not isinstance(o, InstanterError) for o in outcomes)
        self._metrics.write_groups_count += 1
        self._answer(group, outcomes, self._log.written_sequence)

    def _carry_out_each(
        self,
        commands: Sequence[Command[Any]],
        transaction: Transaction,
        writing: Writing,
    ) -> list[Any]:
        """Return the results of commands, or the errors that they are refused with.

        Commands of one form, one behind the other, are first tried together. The first that is
        left over is carried out by itself.
        """
        outcomes: list[Any] = []
        count = len(commands)
        while len(outcomes) < count:
            at = len(outcomes)
            form = type(commands[at])
            together = TOGETHER.get(form)
            if together is not None:
                end = at + 1
                while end < count and type(commands[end]) is form:
                    end += 1
                outcomes += together(
                    commands[at:end],
                    transaction,
                    writing.time_ns,
                    self._context,
                    writing.next_sequence,
                    writing.append,
                )
                at = len(outcomes)
                if at == end:
                    continue
            outcomes.append(self._carry_out_one(commands[at], transaction, writing))
        return outcomes

    def _carry_out_one(
        self, command: Command[Any], transaction: Transaction, writing: Writing
    ) -> Any:
        """Return the command's result, or the error that it is refused with."""
        try:
            body = command.prepare(transaction, writing.time_ns, self._context)
        except InstanterError as error:
            return error
        if isinstance(body, Answered):
            return body.result
        record = writing.append(command.kind, body)
        return apply_record(transaction, record, self._context)

    def _undo(self, group: Sequence[Waiting], error: ExhaustedError) -> None:
        """Take the group's changes back out of the overlay: the log has no room for them."""
        try:
            self._folder.undo(
                lambda: replay_tail(self._state, self._log, self._folder.fold, self._context)
            )
        finally:
            self._refuse(group, error)

    def _refuse(self, group: Sequence[Waiting], error: Exception) -> None:
        """Tell the callers of a group that nothing of it has happened."""
        self._disk_watch.note(error, sum(len(waiting.commands) for waiting in group))
        for waiting in group:
            waiting.tell([error] * len(waiting.commands))

    def _answer(self, group: Sequence[Waiting], outcomes: list[Any], sequence: int) -> None:
        """Answer the relaxed callers of a group now, the others once its frames are on disk.

        Refusals and repeated answers wait too: what they tell of may be in the same group, or in
        one that is not on disk yet.
        """
        later: list[tuple[Waiting, Sequence[Any]]] = []
        on_disk = self._log.synced_sequence >= sequence
        end = 0
        for waiting in group:
            start, end = end, end + len(waiting.commands)
            own = outcomes[start:end]
            if waiting.relaxed or on_disk:
                waiting.tell(own)
            else:
                later.append((waiting, own))
        if not on_disk:
            self._syncer.answer(later, sequence)

    def _carry_out_heavy(self, waiting: Waiting) -> None:
        """Carry out a command that goes straight to the base."""
        (command,) = waiting.commands
        now_ns = self._advance_time()
        try:
            with self._state.read() as transaction:
                body = command.prepare(transaction, now_ns, self._context)
            if isinstance(body, Answered):
                waiting.tell([body.result])
                return
            record = self._log.append(command.kind, now_ns, body)
            self._write_and_wait(record)
        except Exception as error:  # noqa: BLE001 - handed to the one whose command raised it
            self._refuse((waiting,), error)
            return
        try:
            result = self._folder.fold(record)
        except Exception as error:  # noqa: BLE001 - handed to the one whose command raised it
            # It is in the log, and must not come to life at the next start.
            self._disk_watch.note(error, 1)
            self._take_back(waiting, record, error)
            return
        self._hand_over([record])
        self._metrics.writes_count += 1
        self._metrics.write_groups_count += 1
        try:
            if record.kind == RecordKind.PUBLISH_CATALOGUE:
                self._warm_up()
        except Exception as error:  # noqa: BLE001 - it is in force; whoever published is told
            waiting.tell([error])
        else:
            waiting.tell([result])

    def _hand_over(self, records: Sequence[LogRecord]) -> None:
        """Tell whoever follows the log what has been written."""
        if self._on_written is not None and records:
            self._on_written(records)

    def _write_and_wait(self, record: LogRecord) -> None:
        """Write a record's frame and wait until it is on disk."""
        self._log.write_group()
        self._syncer.answer((), record.sequence)
        self._syncer.wait(record.sequence)

    def _advance_time(self) -> int:
        """Return the time of the next records, which never goes back."""
        self._last_time_ns = max(self._clock.now_ns(), self._last_time_ns)
        return self._last_time_ns
