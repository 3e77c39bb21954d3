"""Cases as they are kept: transactions that were referred or declined, for people to look at."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

from instanter.errors import DamagedError, NotFoundError
from instanter.fraud.questions import Transaction
from instanter.keeper.transaction_records import unpack_evidence, unpack_transaction
from instanter.keeper.verdicts import Verdict, unpack_verdict
from instanter.limits import LIST_ROWS_MAX
from instanter.store import transaction as store
from instanter.store.cases import find_case, put_case, scan_cases
from instanter.store.log.frames import LogRecord


class CaseState(IntEnum):
    """Whether somebody still has to look. The numbers are those of the contract."""

    OPEN = 1
    CLOSED = 2


class CaseNote(NamedTuple):
    """What somebody wrote about a case, and when, nanoseconds since 1970."""

    time_ns: int
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes
    ----------
    number
        Its number; the greater the newer.
    state
        Open until it is closed, or its transaction is labelled.
    label
        What the transaction was found to be, a `labels.Label`.
    assignee
        Who works on it; empty for nobody.
    create_time_ns, update_time_ns
        Nanoseconds since 1970, by the server's clock.
    revision
        How often it was written, from 1.
    notes
        The oldest first.
    transaction
        What was asked.
    verdict
        What was answered.
    evidence
        What the rules saw, by its names, as far as it was there.
    """

    number: int
    state: CaseState
    label: int
    assignee: str
    create_time_ns: int
    update_time_ns: int
    revision: int
    notes: tuple[CaseNote, ...]
    transaction: Transaction
    verdict: Verdict
    evidence: dict[str, float | int | bool | str]


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are wanted; None and empty for all.

    Attributes
    ----------
    state, label
        As in `Case`.
    card, terminal, merchant, assignee
        Whose.
    """

    state: CaseState | None = None
    label: int | None = None
    card: str = ""
    terminal: str = ""
    merchant: str = ""
    assignee: str = ""

    def takes(self, case: Case) -> bool:
        """Return whether a case is wanted."""
        asked = case.transaction
        return (
            self.state in (None, case.state)
            and self.label in (None, case.label)
            and self.card in ("", asked.card)
            and self.terminal in ("", asked.terminal)
            and self.merchant in ("", asked.merchant)
            and self.assignee in ("", case.assignee)
        )


class CasePage(NamedTuple):
    """Cases of a page.

    Attributes
    ----------
    cases
        The newest first.
    before
        Where the next page begins; 0 when there is none.
    """

    cases: tuple[Case, ...]
    before: int


_SUBJECT_AT: Final = 7
"""Place of what never changes among the parts of a packed case: transaction, verdict, evidence."""


def open_case(transaction: store.Transaction, record: LogRecord, body: dict[str, Any]) -> int:
    """Open the case of an assessment's record, and return its number."""
    parts = (
        int(CaseState.OPEN),
        0,
        "",
        record.time_ns,
        record.time_ns,
        1,
        (),
        body["transaction"],
        body["verdict"],
        body["evidence"],
    )
    put_case(transaction, record.sequence, msgpack.packb(parts))
    return record.sequence


def get_case(transaction: store.Transaction, number: int) -> Case:
    """Return a case.

    Raises
    ------
    NotFoundError
        There is none of that number.
    DamagedError
        It is damaged.
    """
    packed = find_case(transaction, number)
    if packed is None:
        raise NotFoundError(
            f"there is no case {number}; cases are kept for 120 days",
            reason="CASE_NOT_FOUND",
            metadata={"case": str(number)},
        )
    return _unpack(number, packed)


def list_cases(
    transaction: store.Transaction, wanted: CaseFilter, *, before: int, limit: int
) -> CasePage:
    """Return a page of cases, the newest first; damaged ones are left out.

    Parameters
    ----------
    transaction
        An open read transaction.
    wanted
        Which ones.
    before
        `CasePage.before` of the page before, 0 for the first.
    limit
        At most so many. A page may have fewer: `limits.LIST_ROWS_MAX` are looked at.
    """
    cases: list[Case] = []
    for seen_count, (number, packed) in enumerate(scan_cases(transaction, before)):
        if len(cases) == limit or seen_count == LIST_ROWS_MAX:
            return CasePage(tuple(cases), before)
        before = number
        if packed is not None and wanted.takes(case := _unpack(number, packed)):
            cases.append(case)
    return CasePage(tuple(cases), 0)


def write_case(transaction: store.Transaction, case: Case, now_ns: int) -> Case:
    """Write what may change of a case that is there, and return it as it is now."""
    packed = find_case(transaction, case.number)
    assert packed is not None, "what prepares a change finds its case"
    written = replace(case, update_time_ns=now_ns, revision=case.revision + 1)
    parts = (
        int(written.state),
        written.label,
        written.assignee,
        written.create_time_ns,
        written.update_time_ns,
        written.revision,
        written.notes,
        *msgpack.unpackb(packed)[_SUBJECT_AT:],
    )
    put_case(transaction, written.number, msgpack.packb(parts))
    return written


def label_case(transaction: store.Transaction, number: int, label: int, now_ns: int) -> None:
    """Write what a case's transaction was found to be, which closes it; not where it is damaged."""
    try:
        case = get_case(transaction, number)
    except (DamagedError, NotFoundError):
        return
    write_case(transaction, replace(case, label=label, state=CaseState.CLOSED), now_ns)


def _unpack(number: int, packed: bytes) -> Case:
    """Return a case as it was packed."""
    state, label, assignee, created_ns, updated_ns, revision, notes, *subject = msgpack.unpackb(
        packed
    )
    asked, verdict, evidence = subject
    return Case(
        number,
        CaseState(state),
        label,
        assignee,
        created_ns,
        updated_ns,
        revision,
        tuple(map(CaseNote._make, notes)),
        unpack_transaction(asked),
        unpack_verdict(verdict)._replace(case=number),
        unpack_evidence(evidence),
    )
