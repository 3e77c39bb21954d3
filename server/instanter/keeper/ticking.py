"""What happens because time passes: unanswered presentations, a plan to learn by, stock."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from instanter.clock import Clock
from instanter.decision.binning_plan import BinningPlan, make_plan
from instanter.decision.contacts import ContactKind, make_contact
from instanter.decision.models import digest_of, plan_from_bytes, plan_to_bytes
from instanter.errors import DamagedError, InstanterError, NotFoundError
from instanter.events_log import EventsLog
from instanter.keeper.attribution import OutcomeKind, end_wait, has_taught
from instanter.keeper.clock_watch import ClockWatch
from instanter.keeper.commands import (
    Answered,
    ApplyContext,
    Command,
    Submit,
    pack_body,
    unpack_body,
)
from instanter.keeper.contacts import note_contact
from instanter.keeper.forgotten import lacks_contact
from instanter.keeper.learning_inputs import LearningInputs
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.records import RecordKind
from instanter.keeper.stock_ticking import StockTick, is_stock_due
from instanter.limits import PLAN_SAMPLE_ROWS, TICK_ENTRIES_MAX, TICK_NS
from instanter.store.log.frames import LogPosition, LogRecord
from instanter.store.model_states import load_plan, put_plan
from instanter.store.outcomes import (
    Mark,
    Presentation,
    Waiting,
    delete_waiting,
    is_due,
    load_mark,
    put_mark,
    scan_due,
)
from instanter.store.profiles import sample_profiles
from instanter.store.publications import MODELS, current_revision
from instanter.store.transaction import Readable, Transaction

_ENTRY_CUSTOMER, _ENTRY_TIME, _ENTRY_CHANNEL, _ENTRY_GROUP = 1, 4, 7, 8
_ENTRY_PRIOR, _ENTRY_BINS = 16, 17
"""Where an entry of a record of outcomes has what a tick repeats; see `keeper/outcomes`."""


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """Ends the wait of presentations that nobody answered in time.

    Attributes
    ----------
    read_at
        Reads a record of the log.
    inputs
        Knows the plan in force.
    tell_lost
        Told how many presentations teach nothing, because the log no longer has them.
    """

    read_at: Callable[[LogPosition], LogRecord]
    inputs: LearningInputs
    tell_lost: Callable[[int], None]

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.TICK

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Return the body of the record: what was ignored, with what there is to learn from it."""
        catalogue = context.published.load(transaction)
        learns = catalogue is not None and catalogue.learning_rules.enabled
        found = self.inputs.load_plan(transaction) if learns else None
        plan = b"" if found is None else found[1]
        records: dict[LogPosition, dict[str, Any] | None] = {}
        entries = []
        lost_count = 0
        for waiting in scan_due(transaction, now_ns):
            mark = load_mark(transaction, waiting.decision_id, waiting.offer)
            body = None
            if waiting.presentation is None or not has_taught(mark):
                if waiting.position not in records:
                    records[waiting.position] = self._read(waiting.position)
                body = records[waiting.position]
                lost_count += body is None
            entries.append(_make_entry(transaction, waiting, mark, body, plan))
            if len(entries) == TICK_ENTRIES_MAX:
                break
        if not entries:
            return Answered(0)
        if lost_count:
            self.tell_lost(lost_count)
        half_life = 0 if catalogue is None else catalogue.learning_rules.half_life_labels
        return pack_body({"plan": plan, "half_life": half_life, "entries": entries})

    def _read(self, position: LogPosition) -> dict[str, Any] | None:
        """Return the body of a record, or None when the log does not keep it, or it is damaged."""
        try:
            return unpack_body(self.read_at(position))
        except (NotFoundError, DamagedError):
            return None


def _make_entry(
    transaction: Transaction,
    waiting: Waiting,
    known: Mark,
    body: dict[str, Any] | None,
    plan: bytes,
) -> list[Any]:
    """Return the entry of a presentation whose wait has ended.

    Without a customer where that was deleted since, and then without anything to learn.
    """
    entry = None if body is None else body["entries"][waiting.entry]
    seen = waiting.presentation or _read_presentation(entry)
    customer, prior, bins = seen.customer_id, 0.5, None
    if customer and lacks_contact(
        transaction,
        customer,
        decision_id=waiting.decision_id,
        offer=waiting.offer,
        presented_ns=seen.time_ns,
    ):
        customer = ""
    elif body is not None and entry is not None and body["plan"] == plan and plan:
        prior, bins = entry[_ENTRY_PRIOR], entry[_ENTRY_BINS]
    mark, label = end_wait(known, teachable=bins is not None)
    # Who looked closer has not ignored it, but has not answered either.
    ignored = bool(customer) and not known.has(OutcomeKind.CLICKED)
    return [
        waiting.due_ns,
        waiting.decision_id,
        waiting.offer,
        mark.to_bytes(),
        customer,
        seen.channel,
        seen.group,
        ignored,
        label,
        prior,
        bins,
    ]


def _read_presentation(entry: list[Any] | None) -> Presentation:
    """Return what an entry of the log says of a presentation; without one, of nobody's."""
    if entry is None:
        return Presentation("", 0, "", "")
    return Presentation(
        *(entry[at] for at in (_ENTRY_CUSTOMER, _ENTRY_TIME, _ENTRY_CHANNEL, _ENTRY_GROUP))
    )


def apply_tick(transaction: Transaction, record: LogRecord, context: ApplyContext) -> int:
    """End the waits of a record, and return how many there were."""
    del context
    entries = unpack_body(record)["entries"]
    for due_ns, decision_id, offer, mark, customer, channel, group, ignored, *_ in entries:
        delete_waiting(transaction, due_ns, decision_id, offer)
        if Mark.from_bytes(mark).kinds:
            put_mark(transaction, decision_id, offer, mark)
        if ignored:
            contact = make_contact(due_ns, offer, group, channel, ContactKind.IGNORED, decision_id)
            note_contact(transaction, customer, contact)
    return len(entries)


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Makes a binning plan from stored profiles, while no models have been published."""

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.PLAN

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Return the body of the record, the whole plan, unless there is no use for one."""
        del now_ns
        catalogue = context.published.load(transaction)
        if catalogue is None or not needs_plan(transaction):
            return Answered(None)
        schema = catalogue.schema
        slots = sample_profiles(transaction, PLAN_SAMPLE_ROWS, schema.profile_slot_count)
        no_context = np.zeros((len(slots), 0), np.uint32)
        plan = make_plan(schema, slots, no_context, channels=tuple(catalogue.channels))
        packed = plan_to_bytes(plan)
        known = load_plan(transaction)
        return Answered(None) if known == packed else pack_body({"plan": packed})


def apply_plan(transaction: Transaction, record: LogRecord, context: ApplyContext) -> bytes:
    """Put a plan into force, and return its digest."""
    del context
    plan: bytes = unpack_body(record)["plan"]
    digest = digest_of(plan)
    put_plan(transaction, plan, digest)
    return digest


def needs_plan(transaction: Transaction) -> bool:
    """Return whether a plan is to be made: there is none, or it has seen next to no profiles.

    A plan that was made before the profiles were loaded tells their values from missing only.
    """
    if current_revision(transaction, MODELS):
        return False
    packed = load_plan(transaction)
    if packed is None:
        return True
    seen = _count_sample(plan_from_bytes(packed))
    few = PLAN_SAMPLE_ROWS // 4
    return seen < few and len(sample_profiles(transaction, few, 0)) > 2 * seen


def _count_sample(plan: BinningPlan) -> int:
    """Return how many profiles a plan was made from: each is in one bin of each predictor."""
    if not plan.predictor_count:
        return 0
    return int(plan.frequency[: plan.bin_count[0]].sum())


_LONG: Final = 1_000
"""Weight of what looks at thousands of rows: nothing for an event loop."""


class Ticker:
    """Looks once a second for what is due, on a thread of its own.

    Parameters
    ----------
    state
        What is read.
    submit
        Hands a command to the keeper.
    make_tick
        Makes a `Tick`, of what it tells lost ones to.
    published
        Knows the catalogue in force; only looked at, for it belongs to the thread that applies.
    clock, events_log
        Tells the time; is told of what went wrong.
    clock_watch
        Looks each time whether the log is ahead of the clock.
    """

    def __init__(
        self,
        state: Readable,
        submit: Submit,
        *,
        make_tick: Callable[[Callable[[int], None]], Command[Any]],
        published: PublishedCatalogue,
        clock: Clock,
        events_log: EventsLog,
        clock_watch: ClockWatch,
    ) -> None:
        self._state = state
        self._submit = submit
        self._make_tick = make_tick
        self._published = published
        self._clock = clock
        self._events_log = events_log
        self._clock_watch = clock_watch
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tick", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; before the keeper stops."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def tick(self) -> bool:
        """Hand over what is due now, wait for it, and return whether there was something."""
        self._clock_watch.look()
        now_ns = self._clock.now_ns()
        with self._state.read() as transaction:
            due = is_due(transaction, now_ns)
            plan = needs_plan(transaction)
            stock = is_stock_due(transaction, self._published.peek(), now_ns)
        if plan:
            self._submit(MakePlan(), weight=_LONG).result()
        if due:
            self._submit(self._make_tick(self._tell_lost), weight=_LONG).result()
        if stock:
            self._submit(StockTick(), weight=_LONG).result()
        return due or stock

    def _tell_lost(self, count: int) -> None:
        """Say that presentations taught nothing: the log was not kept for as long as their wait."""
        self._events_log.error(
            "waits_lost",
            presentation_count=count,
            message="unanswered presentations count as ignored, but teach the models nothing, "
            "because the log no longer has them; serve with a larger --log-keep-gib, or publish a "
            "shorter wait",
        )

    def _run(self) -> None:
        while not self._stopping.wait(TICK_NS / 1e9):
            try:
                while self.tick() and not self._stopping.is_set():
                    pass
            except InstanterError as error:
                self._events_log.error("tick_failed", reason=error.reason, message=error.message)
            except Exception as error:  # noqa: BLE001 - the ticker outlives every bug it meets
                self._events_log.error("tick_failed", exc_info=error)
