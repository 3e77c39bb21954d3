"""What transactions turned out to be, through the keeper: counted once, told to who looks."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from instanter.catalogue.fraud_words import ListKind
from instanter.errors import (
    ConflictError,
    ExhaustedError,
    InvalidFieldError,
    NotFoundError,
    PreconditionError,
)
from instanter.fraud.questions import TerminalRisk
from instanter.fraud_limits import CASE_NOTES_MAX
from instanter.keeper.case_book import Case, CaseState, get_case
from instanter.keeper.cases import UpdateCase
from instanter.keeper.labels import FoundKind, FoundState, Label
from instanter.keeper.transaction_outcomes import (
    OutcomesRecorded,
    RecordTransactionOutcomes,
    TransactionOutcome,
)
from instanter.limits import OUTCOME_FUTURE_NS_MAX
from instanter.store.databases import CASES
from instanter.store.transactions import find_transaction, transaction_key
from tests.keeper.test_keeper import read_all
from tests.keeper.tills import NOW_NS, S_NS, TILL, StoodClock, Till, open_till

FRAUD, GENUINE, CHARGEBACK = FoundKind.FRAUD, FoundKind.GENUINE, FoundKind.CHARGEBACK
RECORDED, DUPLICATE, CHANGED = FoundState.RECORDED, FoundState.DUPLICATE, FoundState.CHANGED
DAY_NS = 86_400 * S_NS

SUSPECTS = f"{TILL}  compromised_terminal: {{window: 35d, labels_min: 4, suggest_rate: 0.5}}\n"


@pytest.fixture
def clock() -> StoodClock:
    return StoodClock()


@pytest.fixture
def till(tmp_path: Path, clock: StoodClock) -> Iterator[Till]:
    with open_till(tmp_path / "store", clock) as opened:
        opened.publish()
        yield opened


def record(till: Till, *given: tuple[str, FoundKind]) -> OutcomesRecorded:
    outcomes = tuple(TransactionOutcome(name, kind) for name, kind in given)
    done: OutcomesRecorded = till.do(RecordTransactionOutcomes(outcomes))
    return done


def states(till: Till, *given: tuple[str, FoundKind]) -> list[FoundState]:
    return list(record(till, *given).states)


def load_case(till: Till, number: int) -> Case:
    with till.desk.kept.state.read() as transaction:
        return get_case(transaction, number)


def label_of(till: Till, name: str) -> tuple[int, int]:
    with till.desk.kept.state.read() as transaction:
        row = find_transaction(transaction, transaction_key(name))
    assert row is not None
    return row.label, row.changes


def is_suspect(till: Till, name: str) -> bool:
    """Whether a transaction of a fresh card at the first terminal is stopped for its frauds."""
    return "BAD_TILL" in till.ask(name, name).reasons


def test_a_fraud_counts_against_its_terminal_from_the_moment_it_is_known(
    till: Till, clock: StoodClock
) -> None:
    till.ask("a")
    assert not is_suspect(till, "b")
    clock.time_ns += 7 * DAY_NS
    assert not is_suspect(till, "c")
    assert states(till, ("a", FRAUD)) == [RECORDED]
    assert is_suspect(till, "d")
    # It counts at its transaction's time, so it leaves the window with that.
    clock.time_ns = NOW_NS + 37 * DAY_NS
    assert not is_suspect(till, "e")


def test_an_outcome_counts_once(till: Till) -> None:
    till.ask("a")
    assert states(till, ("a", FRAUD), ("a", FRAUD)) == [RECORDED, DUPLICATE]
    before = read_all(till.desk.kept.state)
    assert states(till, ("a", FRAUD)) == [DUPLICATE]
    assert read_all(till.desk.kept.state) == before
    # Another way of finding the same is noted, and counts no second time.
    policy = SUSPECTS.replace("labels_min: 4", "labels_min: 2").replace("0.5", "0.01")
    till.publish(policy)
    assert record(till, ("a", CHARGEBACK)) == OutcomesRecorded((RECORDED,), ())
    till.ask("b")
    (risk,) = record(till, ("b", CHARGEBACK)).suggestions
    assert (risk.fraud_count, risk.label_count) == (2, 2)


def test_a_change_of_mind_is_taken_once(till: Till) -> None:
    till.ask("a")
    assert states(till, ("a", FRAUD)) == [RECORDED]
    assert is_suspect(till, "b")
    assert states(till, ("a", GENUINE)) == [CHANGED]
    assert label_of(till, "a") == (Label.GENUINE, 1)
    assert not is_suspect(till, "c")
    assert states(till, ("a", CHARGEBACK), ("a", FRAUD), ("a", GENUINE)) == [
        FoundState.CONFLICT,
        DUPLICATE,
        DUPLICATE,
    ]
    assert label_of(till, "a") == (Label.GENUINE, 1)
    assert not is_suspect(till, "d")


def test_who_was_trusted_first_may_turn_out_a_fraud(till: Till) -> None:
    till.ask("a")
    assert states(till, ("a", GENUINE), ("a", CHARGEBACK)) == [RECORDED, CHANGED]
    assert is_suspect(till, "b")


def test_outcomes_that_cannot_be_are_told_and_leave_nothing(till: Till) -> None:
    till.ask("a")
    before = read_all(till.desk.kept.state)
    early = TransactionOutcome("a", FRAUD, NOW_NS - 2 * DAY_NS)
    late = TransactionOutcome("a", FRAUD, NOW_NS + OUTCOME_FUTURE_NS_MAX + 1)
    unknown = TransactionOutcome("nobody", FRAUD)
    done = till.do(RecordTransactionOutcomes((unknown, early)))
    assert done.states == (FoundState.TRANSACTION_UNKNOWN, FoundState.TOO_EARLY)
    with pytest.raises(InvalidFieldError, match=r"outcomes\[1\].outcome_time: '300 s ahead"):
        till.do(RecordTransactionOutcomes((unknown, late)))
    assert read_all(till.desk.kept.state) == before
    # The day of the transaction, without an hour, is not too early.
    day = TransactionOutcome("a", FRAUD, NOW_NS // DAY_NS * DAY_NS)
    assert till.do(RecordTransactionOutcomes((day,))).states == (RECORDED,)


def test_terminals_with_many_frauds_are_suggested_until_they_are_listed(till: Till) -> None:
    till.publish(SUSPECTS)
    for n in range(12):
        till.ask(f"t{n}", f"c{n}", terminal=f"t{n % 2}")
    assert record(till, ("t0", FRAUD), ("t2", FRAUD), ("t4", GENUINE)).suggestions == ()
    done = record(till, ("t6", FRAUD), *((f"t{n}", FRAUD) for n in range(1, 9, 2)))
    assert done.suggestions == (TerminalRisk("t1", 1.0, 4, 4), TerminalRisk("t0", 0.75, 3, 4))
    assert record(till, ("t8", GENUINE)).suggestions == ()
    till.block(ListKind.TERMINALS, "t1")
    (left,) = record(till, ("t10", FRAUD), ("t9", FRAUD)).suggestions
    assert left == TerminalRisk("t0", 4 / 6, 4, 6)


def test_an_outcome_labels_and_closes_its_case(till: Till, clock: StoodClock) -> None:
    number = till.ask("a", amount_minor=200_000).case
    assert load_case(till, number).label == Label.NONE
    clock.time_ns += S_NS
    record(till, ("a", CHARGEBACK))
    case = load_case(till, number)
    assert (case.label, case.state, case.update_time_ns) == (
        Label.FRAUD,
        CaseState.CLOSED,
        clock.time_ns,
    )


def test_a_damaged_case_holds_no_outcome_up(till: Till) -> None:
    number = till.ask("a", amount_minor=200_000).case

    def damage(transaction: Any) -> None:
        key = number.to_bytes(8, "big")
        value = bytearray(transaction.get(CASES, key))
        value[9] ^= 1
        transaction.put(CASES, key, bytes(value))

    till.desk.kept.state.write(damage)
    assert states(till, ("a", FRAUD)) == [RECORDED]
    assert is_suspect(till, "b")


def test_what_is_found_in_a_case_is_its_transactions_outcome(till: Till) -> None:
    number = till.ask("a", amount_minor=200_000).case
    case = till.do(UpdateCase(number, found=FRAUD, note="called the holder", author="eve"))
    assert (case.label, case.state) == (Label.FRAUD, CaseState.CLOSED)
    assert [note.text for note in case.notes] == ["called the holder"]
    again = load_case(till, number)
    assert replace(again, verdict=case.verdict) == case
    assert is_suspect(till, "b")
    assert states(till, ("a", FRAUD)) == [DUPLICATE]
    assert till.do(UpdateCase(number, found=FRAUD)).revision == case.revision
    changed = till.do(UpdateCase(number, found=GENUINE, state=CaseState.OPEN))
    assert (changed.label, changed.state) == (Label.GENUINE, CaseState.OPEN)
    with pytest.raises(PreconditionError, match="has been changed once") as caught:
        till.do(UpdateCase(number, found=CHARGEBACK))
    assert caught.value.reason == "OUTCOME_CONFLICT"


def test_a_label_that_was_corrected_does_not_come_back_to_its_case(till: Till) -> None:
    number = till.ask("a", amount_minor=200_000).case
    till.do(UpdateCase(number, found=FRAUD))
    case = till.do(UpdateCase(number, found=GENUINE))
    with pytest.raises(PreconditionError, match="has been changed once") as caught:
        till.do(UpdateCase(number, found=FRAUD, note="after all"))
    assert caught.value.reason == "OUTCOME_CONFLICT"
    assert load_case(till, number).notes == ()
    # The label in force may be given again, and a late retry of a report is harmless.
    assert till.do(UpdateCase(number, found=GENUINE)).revision == case.revision
    assert states(till, ("a", FRAUD)) == [DUPLICATE]
    assert label_of(till, "a") == (Label.GENUINE, 1)


def test_a_case_that_was_opened_again_is_closed_by_the_label_it_has(till: Till) -> None:
    number = till.ask("bad", amount_minor=200_000).case
    till.do(UpdateCase(number, found=FRAUD))
    assert till.do(UpdateCase(number, state=CaseState.OPEN)).state == CaseState.OPEN
    case = till.do(UpdateCase(number, found=FRAUD))
    assert (case.label, case.state) == (Label.FRAUD, CaseState.CLOSED)
    assert till.do(UpdateCase(number, found=FRAUD)).revision == case.revision


def test_a_case_changes_only_as_it_was_read(till: Till, clock: StoodClock) -> None:
    number = till.ask("a", amount_minor=200_000).case
    case = till.do(UpdateCase(number, assignee="eve", expected_revision=1))
    assert (case.assignee, case.state, case.revision) == ("eve", CaseState.OPEN, 2)
    with pytest.raises(ConflictError, match="is at revision 2, not 1"):
        till.do(UpdateCase(number, assignee="bob", expected_revision=1))
    assert till.do(UpdateCase(number)).revision == case.revision
    assert till.do(UpdateCase(number, assignee="")).assignee == ""
    with pytest.raises(NotFoundError, match=f"there is no case {number + 1}"):
        till.do(UpdateCase(number + 1, assignee="eve"))


def test_a_case_has_no_more_notes_than_are_allowed(till: Till) -> None:
    number = till.ask("a", amount_minor=200_000).case
    for n in range(CASE_NOTES_MAX):
        till.do(UpdateCase(number, note=f"note {n}"))
    with pytest.raises(ExhaustedError, match="has 100 notes"):
        till.do(UpdateCase(number, note="one more"))
    assert len(load_case(till, number).notes) == CASE_NOTES_MAX


def test_what_is_labelled_teaches_the_model_once_and_after_a_restart_too(
    tmp_path: Path, clock: StoodClock
) -> None:
    model = "  model: {features: [transaction.amount], points: 100}\n"
    model += "  thresholds: [{refer: 100, decline: 100}]\n"
    chances = []
    with open_till(tmp_path / "store", clock) as till:
        till.publish(TILL + model)
        for n in range(40):
            till.ask(f"a{n}", f"a{n}", amount_minor=90_000 if n % 2 else 500)
        chances.append(till.ask("b", "b", amount_minor=90_000).probability)
        for n in range(40):
            record(till, (f"a{n}", FRAUD if n % 2 else GENUINE))
        chances.append(till.ask("c", "c", amount_minor=90_000).probability)
        record(till, *((f"a{n}", FRAUD if n % 2 else GENUINE) for n in range(40)))
        chances.append(till.ask("d", "d", amount_minor=90_000).probability)
    with open_till(tmp_path / "store", clock) as till:
        chances.append(till.ask("e", "e", amount_minor=90_000).probability)
    assert chances[0] < chances[1] == chances[2] == chances[3]
