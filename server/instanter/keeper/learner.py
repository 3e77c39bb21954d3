"""The learner: a thread that reads labels out of what was logged, and keeps the models up to date.

It is a fold of the log beside the store's: its state is a publication, the labels since, and the
sequence up to which it has learned; a fold of the store takes that state with it. After a crash
it goes on from there with the same records in the same order, so the models come out bit for bit
as if nothing had happened.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from instanter.decision.learner import ONLINE_SETTINGS, LearnerSettings
from instanter.decision.models import ModelSet, plan_from_bytes
from instanter.decision.online_models import Label, Labels, OnlineModels
from instanter.errors import DamagedError, PreconditionError, UnavailableError
from instanter.events_log import EventsLog
from instanter.keeper.attribution import LABEL_NONE
from instanter.keeper.commands import unpack_body
from instanter.keeper.records import RecordKind
from instanter.keeper.voiding import read_voided
from instanter.limits import LEARNER_WAITING_SIZE_BYTES_MAX
from instanter.store.log.frames import LogRecord
from instanter.store.model_states import (
    LearnedStates,
    LearnedUpTo,
    load_learned_up_to,
    load_plan,
    load_states,
)
from instanter.store.publications import MODELS, current_revision, load_revision
from instanter.store.transaction import Transaction

_TAUGHT_BY_OUTCOMES = (2, 10, 16, 17)
_TAUGHT_BY_TICK = (2, 8, 9, 10)
"""Where entries have offer, label, prior and bins; see `keeper/outcomes` and `keeper/ticking`."""

_RELEVANT = frozenset(
    {
        RecordKind.OUTCOMES,
        RecordKind.TICK,
        RecordKind.PLAN,
        RecordKind.PUBLISH_MODELS,
        RecordKind.PUBLISH_CATALOGUE,
    }
)
_TURN_MAX = 256
"""Records learned between two looks at what has changed."""


class Audience(Protocol):
    """Is told what has been learned, on the learner's thread."""

    def lay_out(self, models: OnlineModels | None, revision: int) -> None:
        """Take other models, or none, after a publication of a catalogue or models."""

    def refresh(self, models: OnlineModels, offers: Iterable[str]) -> None:
        """Take what the models of some offers are now."""


OnLearned = Callable[[Sequence[tuple[str, int, float]]], object]
"""Takes labels that have been learned: offer, truth, and what was predicted before."""


def read_labels(record: LogRecord) -> Labels:
    """Return what a record of outcomes, or of a tick, teaches."""
    body = unpack_body(record)
    places = _TAUGHT_BY_OUTCOMES if record.kind == RecordKind.OUTCOMES else _TAUGHT_BY_TICK
    found = []
    for entry in body["entries"]:
        offer, label, prior, bins = (entry[at] for at in places)
        if label != LABEL_NONE and bins is not None:
            found.append(Label(offer, label, prior, bins))
    return Labels(body["plan"], body["half_life"], tuple(found))


@dataclass(slots=True)
class _Progress:
    """How far the learner is, and which models have changed where. Not frozen: it counts."""

    sequence: int
    revision: int
    changed: dict[str, int]
    reset: int


class Learner:
    """Learns on a thread of its own from the records that it is given.

    Parameters
    ----------
    audience
        Is told what has been learned; None when nobody decides.
    events_log
        Is told of models that cannot be read.
    on_learned
        Called with each label's offer, truth, and what was predicted before it was learned.
    settings
        How fast to learn while no models have been published.
    """

    def __init__(
        self,
        *,
        audience: Audience | None = None,
        events_log: EventsLog,
        on_learned: OnLearned | None = None,
        settings: LearnerSettings | None = None,
    ) -> None:
        self._audience = audience
        self._events_log = events_log
        self._on_learned = on_learned
        self._settings = settings or ONLINE_SETTINGS
        self._models: OnlineModels | None = None
        self._progress = _Progress(0, 0, {}, 0)
        self._queue: deque[LogRecord] = deque()
        self._size_bytes = 0
        self._given = 0
        self._waiter_count = 0
        self._shown = 0
        self._wake = threading.Condition()
        self._learning = threading.Lock()
        self._running = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="learn", daemon=True)
        self.wait_synced: Callable[[int], object] = _wait_not
        """Waits until the log is on disk up to a sequence."""

    def begin(self, transaction: Transaction, folded_sequence: int) -> int:
        """Take up the state that is stored, and return the sequence up to which it has learned.

        Parameters
        ----------
        transaction
            Of the base alone.
        folded_sequence
            Up to where that holds the log; where learning begins in a store without a state.

        States that are damaged are told to the operator; what is published is learned on then.
        """
        stored = load_learned_up_to(transaction)
        if stored is None:
            stored = LearnedUpTo(folded_sequence, current_revision(transaction, MODELS))
        states: dict[str, bytes] = {}
        try:
            base = self._load_base(transaction, stored.revision)
            if base is not None:
                self._models = OnlineModels(base)
                states = load_states(transaction)
                self._models.restore(states)
        except DamagedError as error:
            self._events_log.error("learned_states_damaged", message=error.message)
        self._progress = _Progress(
            stored.sequence, stored.revision, dict.fromkeys(states, stored.sequence), 0
        )
        self._given = stored.sequence
        return stored.sequence

    def catch_up(self, records: Iterable[LogRecord], sequence: int) -> None:
        """Take the log's tail, before the start and before anything else is given.

        Parameters
        ----------
        records
            Those behind the learned ones, of all kinds, in order, voided ones included.
        sequence
            That of the last of them.
        """
        self._queue.extend(_without_voided(records, self._progress.sequence))
        self._given = max(self._given, sequence)

    def start(self) -> None:
        """Begin to learn what has been given and will be."""
        self._running = True
        self._thread.start()

    def take(self, records: Sequence[LogRecord]) -> None:
        """Take records that have been written into the log, in order; heavy ones when applied.

        Waits only when `limits.LEARNER_WAITING_SIZE_BYTES_MAX` bytes wait already.
        """
        if not records:
            return
        with self._wake:
            self._wake.wait_for(
                lambda: self._size_bytes < LEARNER_WAITING_SIZE_BYTES_MAX or not self._running
            )
            self._given = records[-1].sequence
            if self._failure is None:
                fresh = [record for record in records if record.kind in _RELEVANT]
                self._queue.extend(fresh)
                self._size_bytes += sum(len(record.body) for record in fresh)
            # Most records teach nothing: waking the thread for each cost 25 µs of every write.
            if self._queue or self._waiter_count:
                self._wake.notify_all()

    def stop(self) -> None:
        """Learn what waits, and end the thread."""
        with self._wake:
            self._running = False
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def wait(self, sequence: int, *, shown: bool = False) -> None:
        """Wait until all records up to a sequence have been learned.

        Parameters
        ----------
        sequence
            Of a record that has been given or will be.
        shown
            Whether to wait until the audience has been told, too.

        Raises
        ------
        UnavailableError
            The learner has failed.
        """
        with self._wake:
            self._waiter_count += 1
            self._wake.notify_all()
            self._wake.wait_for(
                lambda: (
                    self._failure is not None
                    or (
                        self._given >= sequence
                        and self._progress.sequence >= sequence
                        and (not shown or self._shown >= sequence)
                    )
                    or not self._thread.is_alive()
                )
            )
            self._waiter_count -= 1
        if self._failure is not None:
            raise UnavailableError(f"the learner has failed: {self._failure!r}")

    def collect(self, sequence: int) -> LearnedStates | None:
        """Return what has been learned and is to be folded; None when that stays as it is.

        Parameters
        ----------
        sequence
            What is folded; the learner's state may be ahead of it, never behind, and says so.
        """
        if self._thread.ident is None:
            # Folds before the start leave what is stored, and where it stands, as it is.
            return None
        try:
            self.wait(sequence)
        except UnavailableError:
            # Decisions and writes go on without learning; the next start tries again from there.
            return None
        with self._learning:
            progress = self._progress
            learned = LearnedUpTo(progress.sequence, progress.revision)
            models = self._models
            states = (
                {}
                if models is None
                else {n: (at, models.pack_state(n)) for n, at in progress.changed.items()}
            )
            found = LearnedStates(progress.reset, states, learned)
        # The base must not know what the log could still lose.
        self.wait_synced(learned.sequence)
        return found

    def checkpoint(self, sequence: int) -> dict[str, bytes]:
        """Return all models' states as they are once everything up to a sequence is learned."""
        self.wait(sequence)
        with self._learning:
            models = self._models
            return {} if models is None else {n: models.pack_state(n) for n in models.models}

    def _load_base(self, transaction: Transaction, revision: int) -> ModelSet | None:
        """Return what is learned on top of: published models, or none with the plan made."""
        if not revision:
            plan = load_plan(transaction)
            return None if plan is None else ModelSet(plan_from_bytes(plan), self._settings, {})
        published = load_revision(transaction, MODELS, revision)
        return None if published is None else self._read_models(published.body)

    def _read_models(self, body: bytes) -> ModelSet | None:
        try:
            return ModelSet.from_bytes(body)
        except (DamagedError, PreconditionError) as error:
            self._events_log.error("models_not_learned_on", message=error.message)
            return None

    def _run(self) -> None:
        try:
            if self._audience is not None:
                self._audience.lay_out(self._models, self._progress.revision)
            with self._wake:
                self._shown = self._progress.sequence
                self._wake.notify_all()
            while (turn := self._take_turn()) is not None:
                self._learn_turn(*turn)
        except Exception as error:  # noqa: BLE001 - told to whoever waits, and to the operator
            self._events_log.error("learner_failed", exc_info=error)
            with self._wake:
                self._failure = error
                self._running = False
                self._wake.notify_all()

    def _take_turn(self) -> tuple[list[LogRecord], int] | None:
        """Wait for records; return some and the sequence reached with them, None at the end."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._queue or self._progress.sequence < self._given or not self._running
            )
            records = [self._queue.popleft() for _ in range(min(len(self._queue), _TURN_MAX))]
            self._size_bytes = max(self._size_bytes - sum(len(r.body) for r in records), 0)
            self._wake.notify_all()
            if not records and self._progress.sequence >= self._given:
                return None
            return records, records[-1].sequence if self._queue else self._given

    def _learn_turn(self, records: list[LogRecord], reached: int) -> None:
        """Learn some records, then tell the audience what has changed."""
        changed: set[str] = set()
        laid_out = False
        with self._learning:
            for record in records:
                if record.kind in (RecordKind.OUTCOMES, RecordKind.TICK):
                    changed |= self._learn(record)
                else:
                    laid_out |= self._replace(record)
            self._progress.sequence = max(reached, self._progress.sequence)
        if self._audience is not None:
            if laid_out:
                self._audience.lay_out(self._models, self._progress.revision)
            elif changed and self._models is not None:
                self._audience.refresh(self._models, changed)
        with self._wake:
            self._shown = self._progress.sequence
            self._wake.notify_all()

    def _learn(self, record: LogRecord) -> set[str]:
        """Learn one record's labels; return the offers whose models have changed."""
        if self._models is None:
            return set()
        found = self._models.learn(read_labels(record))
        if found and self._on_learned is not None:
            self._on_learned(found)
        offers = {offer for offer, _, _ in found}
        for offer in offers:
            self._progress.changed[offer] = record.sequence
        return offers

    def _replace(self, record: LogRecord) -> bool:
        """Take up other models or another plan; return whether tables are to be laid out anew."""
        progress = self._progress
        if record.kind == RecordKind.PUBLISH_CATALOGUE:
            return True
        if record.kind == RecordKind.PLAN:
            if progress.revision:
                return False
            plan = plan_from_bytes(unpack_body(record)["plan"])
            model_set: ModelSet | None = ModelSet(plan, self._settings, {})
        else:
            model_set = self._read_models(unpack_body(record)["document"])
            progress.revision += 1
        before = self._models
        if model_set is None:
            self._models = None
        elif before is None:
            self._models = OnlineModels(model_set)
        else:
            self._models = before.publish(model_set)
        progress.reset = record.sequence
        # All that goes on is stored again, now that everything stored before is dropped.
        kept = {} if self._models is None else self._models.models
        learned = {n for n in progress.changed if before and kept.get(n) is before.models[n]}
        progress.changed = dict.fromkeys(learned, record.sequence)
        return True


def _wait_not(sequence: int) -> None:
    """Stand in where there is no log."""


def _without_voided(records: Iterable[LogRecord], learned: int) -> list[LogRecord]:
    """Return the records behind those learned that teach something and were not voided."""
    voided: set[int] = set()
    found = []
    for record in records:
        if record.kind == RecordKind.VOID:
            voided.add(read_voided(record))
        elif record.kind in _RELEVANT and record.sequence > learned:
            found.append(record)
    return [record for record in found if record.sequence not in voided]
