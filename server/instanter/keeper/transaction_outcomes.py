"""What assessed transactions turned out to be: reported by whoever knows, days or weeks later."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from instanter.errors import DamagedError, InvalidFieldError
from instanter.fraud.questions import TerminalRisk
from instanter.keeper.commands import Answered, ApplyContext, pack_body, unpack_body
from instanter.keeper.labels import (
    FoundKind,
    FoundState,
    TakenOutcome,
    apply_outcomes,
    take_outcome,
    unpack_counted,
)
from instanter.keeper.records import RecordKind
from instanter.limits import OUTCOME_FUTURE_NS_MAX
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction
from instanter.store.transactions import TransactionRow, find_transaction, transaction_key

_DAY_NS: Final = 86_400_000_000_000
_S_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TransactionOutcome:
    """What one transaction turned out to be.

    Attributes
    ----------
    transaction_id
        The id that it was assessed with.
    kind
        What, and how it was found.
    time_ns
        When it was found, or the date of the chargeback, nanoseconds since 1970; None for now.
    """

    transaction_id: str
    kind: FoundKind
    time_ns: int | None = None


class OutcomesRecorded(NamedTuple):
    """What became of outcomes.

    Attributes
    ----------
    states
        One each, in their order.
    suggestions
        Terminals of these transactions that should be put on the hotlist, the worst first.
    """

    states: tuple[FoundState, ...]
    suggestions: tuple[TerminalRisk, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RecordTransactionOutcomes:
    """Records outcomes; its result is `OutcomesRecorded`.

    Attributes
    ----------
    outcomes
        1 to `fraud_limits.TRANSACTION_OUTCOMES_BATCH_MAX`, in this order.
    """

    outcomes: tuple[TransactionOutcome, ...]

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.TRANSACTION_OUTCOMES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Find the transactions, and return the body of the record when something is new.

        Raises
        ------
        CatalogueMissingError, PreconditionError
            Nothing says what to do with them.
        InvalidFieldError
            An outcome is too far in the future.
        """
        context.fraud.open(transaction, context.published.load(transaction), now_ns)
        rows: dict[bytes, TransactionRow] = {}
        states: list[FoundState] = []
        entries: list[TakenOutcome] = []
        for index, outcome in enumerate(self.outcomes):
            time_ns = _find_time_ns(outcome, now_ns, index)
            state, taken = _take(transaction, rows, outcome, time_ns)
            states.append(state)
            if taken is not None:
                entries.append(taken)
        if not entries:
            return Answered(OutcomesRecorded(tuple(states), ()))
        return pack_body({"states": bytes(states), "entries": entries})


def apply_transaction_outcomes(
    transaction: Transaction, record: LogRecord, context: ApplyContext
) -> OutcomesRecorded:
    """Count and learn from a record of outcomes, label the cases, and return what became of it."""
    body = unpack_body(record)
    desk = context.fraud
    desk.open(transaction, context.published.load(transaction), record.time_ns)
    suggestions = apply_outcomes(transaction, desk, body["entries"], record.time_ns)
    return OutcomesRecorded(tuple(map(FoundState, body["states"])), suggestions)


def _take(
    transaction: Transaction,
    rows: dict[bytes, TransactionRow],
    outcome: TransactionOutcome,
    time_ns: int,
) -> tuple[FoundState, TakenOutcome | None]:
    """Return what becomes of an outcome; `rows` are those that others before it have changed."""
    key = transaction_key(outcome.transaction_id)
    try:
        row = rows.get(key) or find_transaction(transaction, key)
    except DamagedError:
        # One damaged row must not hold up the outcomes of others.
        return FoundState.TRANSACTION_DAMAGED, None
    if row is None:
        return FoundState.TRANSACTION_UNKNOWN, None
    # A date without an hour may lie before the transaction of the same day.
    if time_ns < unpack_counted(row).time_ns - _DAY_NS:
        return FoundState.TOO_EARLY, None
    state, taken = take_outcome(row, key, outcome.kind, time_ns)
    if taken is not None:
        rows[key] = row._replace(outcomes=taken.outcomes, label=taken.label, changes=taken.changes)
    return state, taken


def _find_time_ns(outcome: TransactionOutcome, now_ns: int, index: int) -> int:
    """Return when an outcome was found.

    Raises
    ------
    InvalidFieldError
        That is too far in the future.
    """
    if outcome.time_ns is None:
        return now_ns
    if outcome.time_ns > now_ns + OUTCOME_FUTURE_NS_MAX:
        raise InvalidFieldError(
            f"outcomes[{index}].outcome_time",
            f"{(outcome.time_ns - now_ns) / _S_NS:,.0f} s ahead of the server's clock",
            f"at most {OUTCOME_FUTURE_NS_MAX // _S_NS} s ahead",
            reason="OUTCOME_TIME_INVALID",
        )
    return outcome.time_ns
