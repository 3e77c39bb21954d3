"""What an assessed transaction turns out to be, and what that does: counted once, learned once."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

from instanter.catalogue.fraud_words import ListKind
from instanter.errors import DamagedError
from instanter.fraud.questions import CountedTransaction, TerminalRisk
from instanter.keeper.case_book import label_case
from instanter.keeper.fraud_desk import FraudDesk
from instanter.store.transaction import Transaction
from instanter.store.transactions import (
    NO_CASE,
    TransactionRow,
    find_transaction,
    put_transaction,
)


class Label(IntEnum):
    """What a transaction was found to be. The numbers are those of the contract."""

    NONE = 0
    FRAUD = 1
    GENUINE = 2


class FoundKind(IntEnum):
    """How that was found. The numbers are those of the contract."""

    FRAUD = 1
    """Confirmed, by the card's holder or by who looked at the case."""
    GENUINE = 2
    CHARGEBACK = 3
    """The card's holder got the money back: a fraud."""


class FoundState(IntEnum):
    """What became of an outcome. The numbers are those of the contract."""

    RECORDED = 1
    """It is recorded; the first of its transaction is counted and learned."""
    DUPLICATE = 2
    """One of its kind was recorded before, whatever has replaced it since; nothing changed."""
    TRANSACTION_UNKNOWN = 3
    """No transaction of this id was assessed in the last 120 days."""
    CHANGED = 4
    """It contradicts what was recorded before, and takes its place. That happens once."""
    CONFLICT = 5
    """It contradicts what was recorded, which was changed before; it is left out."""
    TOO_EARLY = 6
    """It is said to have been found more than a day before the transaction."""
    TRANSACTION_DAMAGED = 7
    """What is kept of the transaction is damaged; it is left out."""


class LabelEffect(IntEnum):
    """What an outcome does to counts and model."""

    NOTHING = 0
    FIRST = 1
    CHANGE = 2


_LABEL_OF: Final = {
    FoundKind.FRAUD: Label.FRAUD,
    FoundKind.GENUINE: Label.GENUINE,
    FoundKind.CHARGEBACK: Label.FRAUD,
}


class TakenOutcome(NamedTuple):
    """An outcome as its record says it: what it does is decided.

    Attributes
    ----------
    key
        Of its transaction.
    kind
        How it was found.
    time_ns
        When.
    outcomes, label, changes
        The row of the transaction from now on.
    effect
        What else it does.
    """

    key: bytes
    kind: int
    time_ns: int
    outcomes: int
    label: int
    changes: int
    effect: int


def take_outcome(
    row: TransactionRow, key: bytes, kind: FoundKind, time_ns: int
) -> tuple[FoundState, TakenOutcome | None]:
    """Return what becomes of an outcome, and what it does; None when that is nothing."""
    bit = 1 << kind
    if row.outcomes & bit:
        return FoundState.DUPLICATE, None
    label = _LABEL_OF[kind]
    if row.label in (Label.NONE, label):
        effect = LabelEffect.FIRST if row.label == Label.NONE else LabelEffect.NOTHING
        state, changes = FoundState.RECORDED, row.changes
    elif row.changes:
        return FoundState.CONFLICT, None
    else:
        state, effect, changes = FoundState.CHANGED, LabelEffect.CHANGE, row.changes + 1
    outcomes = row.outcomes | bit
    return state, TakenOutcome(key, kind, time_ns, outcomes, label, changes, effect)


def is_contradicted(row: TransactionRow, kind: FoundKind) -> bool:
    """Return whether the label in force is another one than an outcome of this kind gives."""
    return row.label not in (Label.NONE, _LABEL_OF[kind])


def unpack_counted(row: TransactionRow) -> CountedTransaction:
    """Return what was counted of a transaction."""
    return CountedTransaction.from_row(msgpack.unpackb(row.counted))


def apply_outcomes(
    transaction: Transaction,
    desk: FraudDesk,
    entries: Sequence[Sequence[Any]],
    now_ns: int,
) -> tuple[TerminalRisk, ...]:
    """Do what outcomes do, those of one record together, and return what they suggest.

    Parameters
    ----------
    transaction
        An open write transaction.
    desk
        Counts and learns; it is open.
    entries
        The parts of `TakenOutcome`.
    now_ns
        The time of the record.
    """
    engine = desk.engine
    found_ns: dict[str, int] = {}
    for entry in entries:
        taken = TakenOutcome._make(entry)
        row = find_transaction(transaction, taken.key)
        assert row is not None, "what prepares an outcome finds its transaction"
        changed = row._replace(outcomes=taken.outcomes, label=taken.label, changes=taken.changes)
        put_transaction(transaction, taken.key, changed)
        if taken.effect != LabelEffect.NOTHING:
            fraud = taken.label == Label.FRAUD
            counted = unpack_counted(row)
            learn = engine.label if taken.effect == LabelEffect.FIRST else engine.relabel
            learn(counted, desk.book, fraud=fraud)
            if fraud:
                terminal = counted.terminal
                found_ns[terminal] = max(found_ns.get(terminal, 0), taken.time_ns)
        if row.case != NO_CASE:
            label_case(transaction, row.case, taken.label, now_ns)
    desk.book.flush()
    risks = (
        engine.suggest_terminal(terminal, desk.book, time_ns)
        for terminal, time_ns in found_ns.items()
        if not _is_listed(desk, terminal, now_ns)
    )
    return tuple(
        sorted(
            (risk for risk in risks if risk is not None),
            key=lambda risk: (-risk.fraud_rate, risk.terminal),
        )
    )


def _is_listed(desk: FraudDesk, terminal: str, now_ns: int) -> bool:
    """Return whether a terminal is on the hotlist, as far as that can be read."""
    try:
        return desk.book.is_hotlisted(ListKind.TERMINALS, terminal, now_ns)
    except DamagedError:
        return False
