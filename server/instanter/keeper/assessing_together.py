"""Assessing the card transactions of one group together: usual ones, by a few calls of kernels.

All that can be said of a transaction one by one (see `assessing`) is said by its record, and a
usual transaction leaves the same record, the same states and the same rows here; so does one that
rules fire on, or that is not approved, for a little more (see `remarks`). What is unusual about one
(anything that is wrong with it, a repeated id, something on a hotlist, a stand-in that does not let
it pass, a rule that fires on a card with snoozes) ends the turn before it, and nothing of it has
happened then. One that makes the guard pause a rule ends the turn behind it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instanter.catalogue.fraud_words import ListKind
from instanter.errors import DamagedError
from instanter.fraud.book import DAMAGED_STATE, EntityState
from instanter.fraud.hotlists import find_list_causes
from instanter.fraud.questions import Transaction
from instanter.fraud.requests import ReadRequests
from instanter.fraud.tables import FraudTables
from instanter.fraud.turns import AssessedTurn, Turn
from instanter.fraud_limits import ASSESS_NS_MIN, TRANSACTION_KEPT_NS
from instanter.keeper.assessing import AssessTransaction, digest_transaction, drop_what_is_over
from instanter.keeper.case_book import open_case
from instanter.keeper.commands import Answered, Append, ApplyContext
from instanter.keeper.fraud_book import StoreBook
from instanter.keeper.fraud_desk import FraudDesk
from instanter.keeper.fraud_guard import Guarded
from instanter.keeper.records import RecordKind
from instanter.keeper.remarks import Remark, cut_turn, list_marked, make_remarks
from instanter.keeper.verdicts import Approval, Verdict
from instanter.kernels.fraud_columns import (
    BIN,
    CARD,
    CUSTOMER,
    DEVICE,
    GIVEN_NS,
    MERCHANT,
    PRESENT,
    TERMINAL,
    TRANSACTION_ID,
)
from instanter.store import transaction as store
from instanter.store.transactions import (
    expire_transactions,
    find_known,
    put_transactions,
    transaction_key,
)

_NOBODY: Final[Sequence[int]] = ()
_TEXTS: Final = {
    ListKind.CARDS: CARD,
    ListKind.TERMINALS: TERMINAL,
    ListKind.MERCHANTS: MERCHANT,
    ListKind.DEVICES: DEVICE,
    ListKind.BINS: BIN,
}
"""What of a transaction is looked up in which list."""


@dataclass(slots=True, eq=False)
class AssessEncoded:
    """Assesses a transaction whose request nobody has read yet.

    Its result is a `Verdict`, or an `Approval` when it was usual.
    Not frozen, although a value: one is made for each request, as of `Transaction`.

    Attributes
    ----------
    wire
        The request as it came.
    read
        Returns its transaction, or raises an `InstanterError` that says what is wrong with it.
    deadline_ns
        As of `AssessTransaction`.
    relaxed, weight
        As of `GatheredCommand`.
    """

    relaxed: ClassVar[bool] = False
    weight: ClassVar[int] = 1

    wire: bytes
    read: Callable[[bytes], Transaction]
    deadline_ns: int | None = None

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.ASSESSMENTS

    def prepare(
        self, transaction: store.Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Do what `AssessTransaction` does.

        Raises
        ------
        InstanterError
            As there, and what reading the request raises.
        """
        command = AssessTransaction(self.read(self.wire), self.deadline_ns)
        return command.prepare(transaction, now_ns, context)


class _Assessed(NamedTuple):
    """The first transactions of a turn, assessed; nothing of it is written yet.

    Attributes
    ----------
    turn, entities
        What was asked, and the keys of its states.
    done, remarks, guarded
        What was found, the remarkable ones by their indexes, and what the guard makes of all.
    """

    turn: Turn
    entities: list[bytes]
    done: AssessedTurn
    remarks: dict[int, Remark]
    guarded: Guarded


def assess_together(
    commands: Sequence[AssessEncoded],
    transaction: store.Transaction,
    now_ns: int,
    context: ApplyContext,
    first_sequence: int,
    append: Append,
) -> list[Approval | Verdict]:
    """Carry out the first usual commands, see `CarryTogether`."""
    catalogue = context.published.load(transaction)
    if catalogue is None or catalogue.fraud is None:
        return []
    desk = context.fraud
    desk.open(transaction, catalogue, now_ns)
    try:
        found = _assess(commands, transaction, desk, now_ns, first_sequence)
    except DamagedError:
        return []
    # Whatever it is: one by one each gets its answer, and none that this has made up.
    except Exception as error:  # noqa: BLE001
        desk.report(error)
        return []
    if found is None:
        return []
    done, remarks = found.done, found.remarks
    for index, body in enumerate(done.bodies):
        remark = remarks.get(index)
        if remark is None:
            append(RecordKind.ASSESSMENTS, body)
            continue
        record = append(RecordKind.ASSESSMENTS, remark.body)
        if remark.case:
            open_case(transaction, record, remark.content)
    _write(transaction, desk, found)
    revision = catalogue.revision
    answers: list[Approval | Verdict] = [
        Approval(*each, revision)
        for each in zip(
            done.risks, done.probabilities, done.has_model_reason, done.lacks_place, strict=True
        )
    ]
    for index, remark in remarks.items():
        # One that pauses a rule is the last.
        paused = found.guarded.wild if index == done.done - 1 else ()
        answers[index] = remark.verdict._replace(case=remark.case, paused=paused)
    return answers


def _assess(
    commands: Sequence[AssessEncoded],
    transaction: store.Transaction,
    desk: FraudDesk,
    now_ns: int,
    first_sequence: int,
) -> _Assessed | None:
    """Assess the first commands, up to one that is unusual, or that pauses a rule.

    None when the first is unusual already. Writes nothing.

    Raises
    ------
    DamagedError
        What concerns all hotlists, or the model, is damaged.
    """
    tables = desk.engine.tables
    if tables.fields_required or _is_any_list_wanting(tables, desk.book, now_ns):
        return None
    read = desk.requests.read([command.wire for command in commands])
    count = min(read.usual_count, _count_patient(commands, desk))
    if not count:
        return None
    turn, entities = _make_turn(transaction, desk, read, count, now_ns, first_sequence)
    if not turn.count:
        return None
    done = desk.assessor.assess(turn)
    if done.findings and desk.assessor.silence(desk.book.find_paused_rules()):
        done = desk.assessor.assess(turn)
    if not done.done:
        return None
    return _explain(transaction, desk, turn, entities, done)


def _explain(
    transaction: store.Transaction,
    desk: FraudDesk,
    turn: Turn,
    entities: list[bytes],
    done: AssessedTurn,
) -> _Assessed:
    """Return assessed transactions with what is said of them, up to one that pauses a rule."""
    remarks = make_remarks(desk.engine, turn, done) if done.findings else {}
    given_ns = turn.numbers[: done.done, GIVEN_NS].tolist()
    times_ns = [min(each, turn.now_ns) for each in given_ns]
    marked = list_marked(remarks) if remarks else ()
    guarded = desk.guard.foresee(transaction, times_ns, marked, turn.now_ns)
    if guarded.counted_count < done.done:
        # Once in a guard's period or so: those behind are assessed again, without that rule.
        turn = cut_turn(turn, guarded.counted_count)
        done = desk.assessor.assess(turn)
        remarks = {index: remarks[index] for index in done.findings}
    return _Assessed(turn, entities, done, remarks, guarded)


def _count_patient(commands: Sequence[AssessEncoded], desk: FraudDesk) -> int:
    """Return how many of the first commands have time for rules."""
    end_ns = desk.clock.monotonic_ns() + ASSESS_NS_MIN
    for at, command in enumerate(commands):
        if command.deadline_ns is not None and command.deadline_ns < end_ns:
            return at
    return len(commands)


def _is_any_list_wanting(tables: FraudTables, book: StoreBook, now_ns: int) -> bool:
    """Return whether a list that is expected is missing or stale."""
    if not tables.policy.settings.hotlists.expected:
        return False
    return bool(find_list_causes(tables, book, now_ns, _take_no_note))


def _take_no_note(error: Exception) -> None:
    """Leave a failure to the way that one transaction by itself takes: it reports it."""
    del error


def _make_turn(
    transaction: store.Transaction,
    desk: FraudDesk,
    read: ReadRequests,
    count: int,
    now_ns: int,
    first_sequence: int,
) -> tuple[Turn, list[bytes]]:
    """Return what there is to know of the first usual transactions, and the keys of its states.

    Raises
    ------
    DamagedError
        What concerns all hotlists, or the model, is damaged.
    """
    book, tables = desk.book, desk.engine.tables
    keys = [transaction_key(name) for name in read.list_names(TRANSACTION_ID, count)]
    count = _count_new(transaction, book, read, keys)
    found: dict[bytes, int] = {}
    states: list[EntityState] = []
    entities: list[int] = []
    for at in range(count):
        own = _find_states(read.keys[at], tables.reads, book, found, states)
        if own is None:
            count = at
            break
        entities += own
    profiles, profile_of = None, _NOBODY
    if tables.policy.reads_profile:
        count, profiles, profile_of = _find_profiles(read, count, book, now_ns)
    _fill_places(read, count, tables)
    turn = Turn(
        count=count,
        first=0,
        numbers=read.numbers,
        places=read.places,
        data=read.data,
        texts=read.texts,
        packed=read.packed,
        packed_cut=read.packed_cut,
        keys=keys[:count],
        digests=[digest_transaction(packed) for packed in read.list_packed(count)],
        entities=entities[: 5 * count],
        states=states,
        profiles=profiles,
        profile_of=profile_of,
        model=desk.engine.find_model(book),
        now_ns=now_ns,
        first_sequence=first_sequence,
    )
    return turn, list(found)


def _count_new(
    transaction: store.Transaction, book: StoreBook, read: ReadRequests, keys: list[bytes]
) -> int:
    """Return how many of the first transactions are new, and have nothing on a hotlist.

    Raises
    ------
    DamagedError
        What concerns all hotlists is damaged.
    """
    count = len(keys)
    if len(set(keys)) < count:
        count = next(at for at, key in enumerate(keys) if key in keys[:at])
    known = find_known(transaction, keys[:count])
    if known is not None:
        count = known
    for kind in book.list_kinds():
        count = book.count_unlisted(kind, read.list_names(_TEXTS[kind], count))
    return count


def _find_states(
    keys: Sequence[bytes],
    reads: tuple[bool, ...],
    book: StoreBook,
    found: dict[bytes, int],
    states: list[EntityState],
) -> list[int] | None:
    """Return where the states of a transaction's five entities are, None if one is unusual.

    Parameters
    ----------
    keys, reads
        The entities' keys, empty for none, and of which kinds states are read.
    book
        Where they come from.
    found, states
        Those of the turn: where each key's state is, and the states. Both are added to.
    """
    own = []
    for key, is_read in zip(keys, reads, strict=True):
        if not is_read or not key:
            own.append(-1)
            continue
        index = found.get(key)
        if index is None:
            state = book.find_state_at(key)
            if state is DAMAGED_STATE:
                return None
            index = found[key] = len(states)
            states.append(state)
        own.append(index)
    return own


def _find_profiles(
    read: ReadRequests, count: int, book: StoreBook, now_ns: int
) -> tuple[int, NDArray[np.uint32] | None, list[int]]:
    """Return how many of the first transactions have no damaged profile; profiles and rows."""
    rows: list[NDArray[np.uint32]] = []
    profile_of: list[int] = []
    times_ns = read.numbers[:count, GIVEN_NS].tolist()
    for at, customer in enumerate(read.list_names(CUSTOMER, count)):
        row = -1
        if customer:
            try:
                profile = book.find_profile(customer, min(times_ns[at], now_ns))
            except DamagedError:
                count = at
                break
            if len(profile):
                row = len(rows)
                rows.append(profile)
        profile_of.append(row)
    return count, np.stack(rows) if rows else None, profile_of


def _fill_places(read: ReadRequests, count: int, tables: FraudTables) -> None:
    """Give cards that are present and say nothing of their place that of their terminal."""
    if not tables.places:
        return
    terminals = read.list_names(TERMINAL, count)
    lacking = np.isnan(read.places[:count, 0]) & (read.numbers[:count, PRESENT] == 1)
    for at in np.flatnonzero(lacking).tolist():
        place = tables.places.get(terminals[at])
        if place is not None:
            read.places[at] = place


def _write(transaction: store.Transaction, desk: FraudDesk, assessed: _Assessed) -> None:
    """Write what the records of assessed transactions bring about, but for their cases."""
    turn, entities, done, remarks, guarded = assessed
    book = desk.book
    for index, state in done.states:
        book.put_state_at(entities[index], state)
    book.flush()
    keys = turn.keys[: done.done]
    desk.guard.keep(transaction, guarded)
    rows = done.rows
    for index, remark in remarks.items():
        rows[index] = remark.make_row()
    put_transactions(transaction, keys, rows)
    begun_count = expire_transactions(
        transaction,
        keys,
        first_sequence=turn.first_sequence,
        until_ns=turn.now_ns + TRANSACTION_KEPT_NS,
        cases={remark.case for remark in remarks.values()} if remarks else (),
    )
    # As often as a replay does, which applies the records one by one.
    for _ in range(begun_count):
        drop_what_is_over(transaction, turn.now_ns)
