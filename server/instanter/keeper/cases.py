"""Changes of cases: who works on them, what they note, what they find."""

from dataclasses import dataclass, replace

from instanter.errors import ConflictError, ExhaustedError, PreconditionError
from instanter.fraud_limits import CASE_NOTES_MAX
from instanter.keeper.case_book import Case, CaseNote, CaseState, get_case, write_case
from instanter.keeper.commands import Answered, ApplyContext, pack_body, unpack_body
from instanter.keeper.labels import (
    FoundKind,
    FoundState,
    TakenOutcome,
    apply_outcomes,
    is_contradicted,
    take_outcome,
)
from instanter.keeper.records import RecordKind
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction
from instanter.store.transactions import find_transaction, transaction_key


@dataclass(frozen=True, slots=True)
class UpdateCase:
    """Changes a case; its result is the `Case` as it is then.

    Attributes
    ----------
    number
        Which one.
    assignee
        Who works on it from now on, empty for nobody; None to leave it.
    state
        Open or closed; None to leave it.
    found
        What its transaction was found to be, recorded as its outcome; None for nothing. It closes
        the case unless `state` says otherwise.
    note, author
        What is added to its notes, and who wrote it; an empty note adds nothing.
    expected_revision
        Refuse when it was written since; 0 to write in any case.
    """

    number: int
    assignee: str | None = None
    state: CaseState | None = None
    found: FoundKind | None = None
    note: str = ""
    author: str = ""
    expected_revision: int = 0

    @property
    def kind(self) -> RecordKind:
        """Kind of its record."""
        return RecordKind.CASE_CHANGES

    def prepare(
        self, transaction: Transaction, now_ns: int, context: ApplyContext
    ) -> bytes | Answered:
        """Check the change against the case, and return the body of its record.

        Raises
        ------
        NotFoundError
            There is no such case.
        ConflictError
            It was written since; reason REVISION_CONFLICT.
        ExhaustedError
            It has as many notes as a case may have.
        PreconditionError
            What its transaction was found to be was changed before; reason OUTCOME_CONFLICT.
        DamagedError
            It, or its transaction, is damaged.
        """
        case = get_case(transaction, self.number)
        if self.expected_revision not in (0, case.revision):
            raise ConflictError(
                f"case {self.number} is at revision {case.revision}, not "
                f"{self.expected_revision}; read it again, then retry",
                metadata={
                    "current": str(case.revision),
                    "expected": str(self.expected_revision),
                },
            )
        taken = self._take(transaction, case, now_ns)
        changed = self._change(case, closed=self.found is not None, now_ns=now_ns)
        if changed == case and taken is None:
            return Answered(case)
        if taken is not None:
            context.fraud.open(transaction, context.published.load(transaction), now_ns)
        return pack_body(
            {
                "case": self.number,
                "assignee": changed.assignee,
                "state": int(changed.state),
                "notes": changed.notes,
                "outcome": taken,
            }
        )

    def _take(self, transaction: Transaction, case: Case, now_ns: int) -> TakenOutcome | None:
        """Return what the case's outcome does; None without one, or when it is in force."""
        if self.found is None:
            return None
        key = transaction_key(case.transaction.transaction_id)
        row = find_transaction(transaction, key)
        if row is None:
            raise PreconditionError(
                f"the transaction of case {self.number} is not kept any more",
                reason="TRANSACTION_UNKNOWN",
            )
        state, taken = take_outcome(row, key, self.found, now_ns)
        # A report of outcomes may be an old one sent again, and that is a duplicate. Who labels a
        # case means it now: the label that a correction has replaced cannot come back either.
        replaced = state == FoundState.DUPLICATE and is_contradicted(row, self.found)
        if replaced or state == FoundState.CONFLICT:
            raise PreconditionError(
                f"what the transaction of case {self.number} was found to be has been changed "
                "once, and stays now",
                reason="OUTCOME_CONFLICT",
            )
        return taken

    def _change(self, case: Case, *, closed: bool, now_ns: int) -> Case:
        """Return the case with everything but its outcome."""
        state = case.state
        if self.state is not None:
            state = self.state
        elif closed:
            state = CaseState.CLOSED
        notes = case.notes
        if self.note:
            if len(notes) >= CASE_NOTES_MAX:
                raise ExhaustedError(
                    f"case {self.number} has {len(notes)} notes, as many as a case may have",
                    reason="CASE_NOTES_EXHAUSTED",
                )
            notes = (*notes, CaseNote(now_ns, self.author, self.note))
        assignee = case.assignee if self.assignee is None else self.assignee
        return replace(case, assignee=assignee, state=state, notes=notes)


def apply_case_change(transaction: Transaction, record: LogRecord, context: ApplyContext) -> Case:
    """Write a case, and what its transaction was found to be; return it as it is then."""
    body = unpack_body(record)
    if body["outcome"] is not None:
        desk = context.fraud
        desk.open(transaction, context.published.load(transaction), record.time_ns)
        apply_outcomes(transaction, desk, [body["outcome"]], record.time_ns)
    case = replace(
        get_case(transaction, body["case"]),
        assignee=body["assignee"],
        state=CaseState(body["state"]),
        notes=tuple(map(CaseNote._make, body["notes"])),
    )
    return write_case(transaction, case, record.time_ns)
