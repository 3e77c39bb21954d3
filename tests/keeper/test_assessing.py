"""Card transactions through the keeper: assessed once, counted once, the same after a replay."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instanter.catalogue.fraud_words import Disposition, EntityKind, ListKind, Source, StandInCause
from instanter.errors import AlreadyExistsError, DamagedError, InvalidFieldError, PreconditionError
from instanter.fraud_limits import ASSESS_NS_MIN, TRANSACTION_KEPT_NS
from instanter.keeper.assessing import AssessTransaction
from instanter.keeper.case_book import CaseFilter, CaseState, get_case, list_cases
from instanter.keeper.cases import UpdateCase
from instanter.keeper.customers import DeleteCustomer
from instanter.keeper.fraud_rules import ResumeFraudRule, SnoozeFraudRule
from instanter.keeper.hotlists import DeleteHotlistEntry
from instanter.keeper.labels import FoundKind
from instanter.keeper.transaction_outcomes import RecordTransactionOutcomes, TransactionOutcome
from instanter.keeper.verdicts import Verdict
from instanter.store.databases import (
    CASES,
    FRAUD_STATES,
    HOTLISTS,
    TRANSACTION_EXPIRY,
    TRANSACTIONS,
    Database,
)
from instanter.store.expiry import HOUR_NS
from instanter.store.fraud_states import entity_key, find_sections
from instanter.store.transactions import transaction_key
from tests.keeper.test_keeper import read_all
from tests.keeper.tills import (
    GUARDED,
    NOW_NS,
    S_NS,
    TILL,
    StoodClock,
    Till,
    make_transaction,
    open_till,
)

APPROVE, REFER, DECLINE = Disposition.APPROVE, Disposition.REFER, Disposition.DECLINE


@pytest.fixture
def clock() -> StoodClock:
    return StoodClock()


@pytest.fixture
def till(tmp_path: Path, clock: StoodClock) -> Iterator[Till]:
    with open_till(tmp_path / "store", clock) as opened:
        opened.publish()
        yield opened


def damage(till: Till, database: Database, key: bytes) -> None:
    def change(transaction: Any) -> None:
        value = bytearray(transaction.get(database, key))
        value[9] ^= 1
        transaction.put(database, key, bytes(value))

    till.desk.kept.state.write(change)
    with pytest.raises(LookupError):
        till.desk.kept.state.write(undo)


def undo(_: Any) -> None:
    """Have a change undone: what was remembered of the store before is read anew behind it."""
    raise LookupError


def is_same(one: Verdict, other: Verdict) -> bool:
    """Compare what was answered without a model: its probability is not a number."""
    assert math.isnan(one.probability)
    assert math.isnan(other.probability)
    return one._replace(probability=0.0) == other._replace(probability=0.0)


def count_keys(till: Till) -> dict[str, int]:
    with till.desk.kept.state.read() as transaction:
        return {
            each.name: transaction.count(each)
            for each in (TRANSACTIONS, TRANSACTION_EXPIRY, CASES, FRAUD_STATES)
        }


# --- Once for each id ---------------------------------------------------------------------------


def test_a_transaction_that_is_sent_again_has_the_same_answer_and_counts_once(till: Till) -> None:
    first = till.ask("a")
    assert (first.disposition, first.source, first.was_known) == (APPROVE, Source.RULES, False)
    assert is_same(till.ask("a"), first._replace(was_known=True))
    assert [till.answer(name) for name in "bcd"] == [APPROVE, APPROVE, DECLINE]
    declined = till.ask("d")
    assert (declined.disposition, declined.reasons, declined.case > 0) == (
        DECLINE,
        ("VELOCITY",),
        True,
    )
    assert till.ask("a").disposition == APPROVE


def test_the_answer_stays_after_a_restart_and_when_the_rules_have_changed(
    tmp_path: Path, clock: StoodClock
) -> None:
    with open_till(tmp_path / "store", clock) as till:
        till.publish()
        first = till.ask("a", amount_minor=200_000)
        assert first.disposition == REFER
    with open_till(tmp_path / "store", clock) as till:
        till.publish(TILL.replace("1000.0", "9000.0"))
        assert is_same(till.ask("a", amount_minor=200_000), first._replace(was_known=True))
        assert till.answer("b", amount_minor=200_000) == APPROVE


@pytest.mark.parametrize(
    "other",
    [
        {"amount_minor": 1_001},
        {"card": "card-2"},
        {"time_ns": NOW_NS - 1},
        {"device": "d1"},
        {"latitude": 1.0, "longitude": 2.0},
        {"present": True},
    ],
)
def test_one_id_for_two_transactions_is_refused(till: Till, other: dict[str, Any]) -> None:
    till.ask("a")
    before = read_all(till.desk.kept.state)
    with pytest.raises(AlreadyExistsError, match="transaction_id: 'a' was used") as caught:
        till.ask("a", **other)
    assert caught.value.reason == "TRANSACTION_ID_CONFLICT"
    assert read_all(till.desk.kept.state) == before


def test_retries_that_come_together_count_once(till: Till) -> None:
    release = till.desk.hold()
    asked = [till.submit(AssessTransaction(make_transaction(f"t{n % 4}"))) for n in range(40)]
    release()
    verdicts = [future.result(20) for future in asked]
    assert sum(not verdict.was_known for verdict in verdicts) == 4
    assert [verdict.disposition for verdict in verdicts] == [*[APPROVE] * 3, DECLINE] * 10


def test_of_200_simultaneous_attempts_exactly_as_many_as_allowed_are_approved(till: Till) -> None:
    for attempt_round in range(3):
        card = f"card-{attempt_round}"
        release = till.desk.hold()
        asked = [
            till.submit(AssessTransaction(make_transaction(f"{card}-{n}", card)))
            for n in range(200)
        ]
        release()
        answers = [future.result(20).disposition for future in asked]
        assert answers.count(APPROVE) == 3
        assert answers.count(DECLINE) == 197


def test_a_group_that_is_undone_and_carried_out_again_counts_once(till: Till) -> None:
    class Broken:
        """A transaction with a mistake of ours in it, which undoes its whole group."""

    release = till.desk.hold()
    asked = [till.submit(AssessTransaction(make_transaction(f"a{n}"))) for n in range(2)]
    failing = till.submit(AssessTransaction(Broken()))  # type: ignore[arg-type]
    asked += [till.submit(AssessTransaction(make_transaction(f"b{n}"))) for n in range(3)]
    release()
    with pytest.raises(AttributeError):
        failing.result(20)
    answers = [future.result(20).disposition for future in asked]
    assert answers == [APPROVE] * 3 + [DECLINE] * 2


def test_what_cannot_be_is_refused_and_leaves_nothing(till: Till) -> None:
    before = read_all(till.desk.kept.state)
    for wrong in ({"amount_minor": 0}, {"amount_minor": -5}, {"currency": "eur"}, {"mcc": 0}):
        with pytest.raises(InvalidFieldError):
            till.ask("a", **wrong)
    assert read_all(till.desk.kept.state) == before
    assert till.answer("a") == APPROVE


def test_without_rules_nothing_is_assessed(tmp_path: Path) -> None:
    with open_till(tmp_path / "store") as till:
        with pytest.raises(PreconditionError, match="instanter apply"):
            till.ask("a")
        till.desk.publish()
        with pytest.raises(PreconditionError, match="no `fraud:` section") as caught:
            till.ask("a")
        assert caught.value.reason == "FRAUD_NOT_DECLARED"


def test_transactions_and_their_cases_go_after_their_time(till: Till, clock: StoodClock) -> None:
    for n in range(100):
        till.ask(f"old-{n}")
    assert count_keys(till)["transactions"] == 100
    assert count_keys(till)["cases"] == 97
    clock.time_ns += TRANSACTION_KEPT_NS - 1
    assert till.ask("old-7", time_ns=NOW_NS).was_known
    clock.time_ns += HOUR_NS
    for n in range(200):
        till.ask(f"new-{n}", f"card-{n}")
    left = count_keys(till)
    assert (left["transactions"], left["cases"]) == (200, 0)
    assert left["transaction_expiry"] <= 5
    assert not till.ask("old-7", "other").was_known


def test_a_short_deadline_leaves_no_time_for_rules(till: Till) -> None:
    till.publish(
        f"{TILL}  stand_in: {{deadline_short: {{approve_up_to_minor: 1000, else: refer}}}}\n"
    )

    def ask(name: str, left_ns: int, amount_minor: int) -> Verdict:
        transaction = make_transaction(name, amount_minor=amount_minor)
        verdict: Verdict = till.do(AssessTransaction(transaction, NOW_NS + left_ns))
        return verdict

    for amount_minor, disposition in ((1_000, APPROVE), (1_001, REFER)):
        verdict = ask(f"short-{amount_minor}", ASSESS_NS_MIN - 1, amount_minor)
        assert verdict.stand_in_causes == (StandInCause.DEADLINE_SHORT,)
        assert (verdict.disposition, verdict.source) == (disposition, Source.STAND_IN)
    assert ask("enough", ASSESS_NS_MIN, 1_001).source == Source.RULES
    # What was approved without rules counts all the same.
    assert [till.answer(name) for name in "ab"] == [APPROVE, DECLINE]
    till.block(ListKind.CARDS, "card-1")
    assert ask("listed", 0, 1).disposition == DECLINE


def test_what_is_stored_of_all_that_is_sound(till: Till) -> None:
    for n in range(30):
        till.ask(f"a{n}", f"card-{n % 4}", customer="anna", amount_minor=90_000 * (n % 3) + 100)
    till.block(ListKind.CARDS, "x", expire_time_ns=NOW_NS + S_NS)
    till.do(RecordTransactionOutcomes((TransactionOutcome("a1", FoundKind.FRAUD),)))
    assert till.desk.kept.state.verify().is_sound


# --- Hotlists -----------------------------------------------------------------------------------


def test_a_hotlisted_card_is_declined_from_the_next_assessment_on(till: Till) -> None:
    assert till.answer("a") == APPROVE
    till.block(ListKind.CARDS, "card-1", reason="stolen")
    verdict = till.ask("b")
    assert (verdict.disposition, verdict.source, verdict.hotlists) == (
        DECLINE,
        Source.HOTLIST,
        (ListKind.CARDS,),
    )
    till.do(DeleteHotlistEntry(ListKind.CARDS, "card-1"))
    assert till.answer("c") == APPROVE


def test_an_entry_counts_in_the_same_group_already(till: Till) -> None:
    from instanter.keeper.hotlists import CreateHotlistEntries
    from instanter.store.hotlists import HotlistEntry

    release = till.desk.hold()
    listed = HotlistEntry("card-1")
    asked = [
        till.submit(AssessTransaction(make_transaction("a"))),
        till.submit(CreateHotlistEntries(ListKind.CARDS, [listed])),
        till.submit(AssessTransaction(make_transaction("b"))),
        till.submit(DeleteHotlistEntry(ListKind.CARDS, "card-1")),
        till.submit(AssessTransaction(make_transaction("c"))),
    ]
    release()
    answers = [asked[n].result(20).disposition for n in (0, 2, 4)]
    assert answers == [APPROVE, DECLINE, APPROVE]


@pytest.mark.parametrize(
    ("kind", "listed", "given"),
    [
        (ListKind.TERMINALS, "t9", {"terminal": "t9"}),
        (ListKind.MERCHANTS, "m9", {"merchant": "m9"}),
        (ListKind.DEVICES, "d9", {"device": "d9"}),
        (ListKind.BINS, "453210", {"bin": "453210"}),
        (ListKind.BINS, "453210", {"bin": "45321099"}),
    ],
)
def test_each_list_counts_for_what_it_is_of(
    till: Till, kind: ListKind, listed: str, given: dict[str, str]
) -> None:
    till.block(kind, listed)
    assert till.ask("a", **given).hotlists == (kind,)
    assert till.ask("b").hotlists == ()


def test_an_entry_ends_by_the_servers_clock(till: Till, clock: StoodClock) -> None:
    till.block(ListKind.CARDS, "card-1", expire_time_ns=NOW_NS + 60 * S_NS)
    # A terminal whose clock is ahead does not end it.
    assert till.answer("a", time_ns=NOW_NS + 300 * S_NS) == DECLINE
    clock.time_ns += 60 * S_NS
    assert till.answer("b") == APPROVE
    # A terminal whose clock is behind does not bring it back.
    assert till.answer("c", time_ns=NOW_NS) == APPROVE


def test_a_damaged_entry_counts(till: Till) -> None:
    till.block(ListKind.CARDS, "card-1")
    with till.desk.kept.state.read() as transaction:
        (key,) = (key for key, _ in transaction.scan(HOTLISTS) if b"card-1" in key)
    damage(till, HOTLISTS, key)
    assert till.ask("a").hotlists == (ListKind.CARDS,)


def test_when_the_lists_cannot_be_read_nothing_is_approved(till: Till) -> None:
    till.block(ListKind.CARDS, "card-1")
    for key in (b"\0" * 8, b"\xff" * 4 + b"\0" * 4):
        damage(till, HOTLISTS, key)
    for n, card in enumerate(("card-1", "card-2")):
        verdict = till.ask(f"a{n}", card)
        assert verdict.disposition >= REFER
        assert StandInCause.HOTLIST_MISSING in verdict.stand_in_causes


def test_a_hotlisted_card_is_declined_whatever_else_fails(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    till.ask("a")
    till.block(ListKind.CARDS, "card-1")
    damage(till, FRAUD_STATES, entity_key(EntityKind.CARD, "card-1"))
    assert till.answer("b") == DECLINE

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("instanter.fraud.engine.judge", fail)
    assert till.answer("c") == DECLINE
    assert till.answer("d", "card-2") == REFER


# --- Damage -------------------------------------------------------------------------------------


def test_a_damaged_state_is_no_clean_one(till: Till) -> None:
    for n in range(3):
        till.ask(f"a{n}")
    key = entity_key(EntityKind.CARD, "card-1")
    damage(till, FRAUD_STATES, key)
    for n in range(5):
        verdict = till.ask(f"b{n}")
        assert verdict.disposition == REFER
        assert verdict.stand_in_causes == (StandInCause.STATE_DAMAGED,)
    assert till.answer("c", "card-2") == APPROVE
    with pytest.raises(DamagedError, match="card 'card-1' is damaged"):
        till.do(SnoozeFraudRule("too_many", "card-1", NOW_NS + S_NS))


def test_a_damaged_transaction_is_not_assessed_again(till: Till) -> None:
    till.ask("a")
    damage(till, TRANSACTIONS, transaction_key("a"))
    with pytest.raises(DamagedError):
        till.ask("a")
    states = till.do(
        RecordTransactionOutcomes((TransactionOutcome("a", FoundKind.FRAUD),)),
    )
    assert [state.name for state in states.states] == ["TRANSACTION_DAMAGED"]


def test_a_customer_that_is_deleted_leaves_no_behaviour_behind(till: Till) -> None:
    key = entity_key(EntityKind.CUSTOMER, "anna")

    def is_kept() -> bool:
        with till.desk.kept.state.read() as transaction:
            return find_sections(transaction, key) is not None

    till.ask("a", customer="anna")
    assert is_kept()
    release = till.desk.hold()
    asked = [
        till.submit(AssessTransaction(make_transaction("b", customer="anna"))),
        till.submit(DeleteCustomer("anna", allow_missing=True)),
        till.submit(AssessTransaction(make_transaction("c", amount_minor=1, customer="bert"))),
    ]
    release()
    for future in asked:
        future.result(20)
    assert not is_kept()
    till.ask("d", "card-2", customer="anna")
    damage(till, FRAUD_STATES, key)
    till.do(DeleteCustomer("anna", allow_missing=False))
    assert not is_kept()
    assert till.answer("e", "card-2", customer="anna") == APPROVE


# --- Cases --------------------------------------------------------------------------------------


def test_what_is_not_approved_becomes_a_case_with_its_evidence(till: Till) -> None:
    assert till.ask("small").case == 0
    verdict = till.ask("big", amount_minor=200_000, customer="anna")
    with till.desk.kept.state.read() as transaction:
        case = get_case(transaction, verdict.case)
        (listed,) = list_cases(transaction, CaseFilter(), before=0, limit=10).cases
    assert listed.number == case.number == verdict.case
    assert case.transaction == make_transaction("big", amount_minor=200_000, customer="anna")
    assert is_same(case.verdict, verdict)
    assert (case.state, case.label, case.revision) == (CaseState.OPEN, 0, 1)
    assert case.evidence["transaction.amount"] == 2_000.0
    assert case.evidence["velocity.approved_1h"] == 1


def test_cases_are_listed_the_newest_first_and_filtered(till: Till) -> None:
    numbers = [till.ask(f"t{n}", f"card-{n % 2}", amount_minor=200_000).case for n in range(10)]
    till.do(UpdateCase(numbers[4], state=CaseState.CLOSED, assignee="eve"))
    with till.desk.kept.state.read() as transaction:

        def find(wanted: CaseFilter, limit: int = 3) -> list[int]:
            found: list[int] = []
            before = 0
            while True:
                page = list_cases(transaction, wanted, before=before, limit=limit)
                found += [case.number for case in page.cases]
                before = page.before
                if not before:
                    return found

        assert find(CaseFilter()) == numbers[::-1]
        assert find(CaseFilter(), 100) == numbers[::-1]
        assert find(CaseFilter(card="card-1")) == numbers[::-2]
        assert find(CaseFilter(state=CaseState.CLOSED)) == [numbers[4]]
        assert find(CaseFilter(assignee="eve", card="card-0")) == [numbers[4]]
        assert find(CaseFilter(terminal="other")) == []


# --- Replay -------------------------------------------------------------------------------------


def test_the_log_replayed_gives_the_same_bytes(tmp_path: Path, clock: StoodClock) -> None:
    folder, replayed = tmp_path / "store", tmp_path / "replayed"
    with open_till(folder, clock) as till:
        till.publish(GUARDED)
        for n in range(150):
            clock.time_ns += 50 * S_NS
            till.ask(
                f"t{n}",
                f"card-{n % 7}",
                customer=f"c{n % 5}",
                terminal=f"t{n % 3}",
                device=f"d{n % 4}" if n % 2 else "",
                amount_minor=200_000 if n % 9 == 0 else 900 + n,
                time_ns=clock.time_ns - (n % 5) * 700 * S_NS,
                present=n % 3 == 0,
                latitude=50.0 + n % 4,
                longitude=8.0,
            )
            if n % 10 == 3:
                till.block(ListKind.CARDS, f"card-{n % 7}-{n}", expire_time_ns=clock.time_ns + S_NS)
            if n % 25 == 12:
                kinds = (FoundKind.FRAUD, FoundKind.GENUINE, FoundKind.CHARGEBACK)
                outcomes = [TransactionOutcome(f"t{n - k}", kinds[k % 3]) for k in range(6)]
                till.do(RecordTransactionOutcomes((*outcomes, outcomes[0])))
            if n == 70:
                till.publish(GUARDED.replace("window: 1h", "window: 2h"))
                till.do(SnoozeFraudRule("large", "card-1", clock.time_ns + 1_000 * S_NS))
            if n == 80:
                till.do(ResumeFraudRule("large"))
                with till.desk.kept.state.read() as transaction:
                    page = list_cases(transaction, CaseFilter(), before=0, limit=1)
                number = page.cases[0].number
                till.do(UpdateCase(number, note="seen", author="eve", found=FoundKind.GENUINE))
    shutil.copytree(folder / "log", replayed / "log")
    with open_till(replayed, clock) as again, open_till(folder, clock) as till:
        expected = read_all(till.desk.kept.state)
        assert read_all(again.desk.kept.state) == expected
        assert {name for name, _ in expected} >= {
            "cases",
            "fraud_rules",
            "fraud_states",
            "hotlists",
            "transactions",
            "transaction_expiry",
        }
        verdict = till.ask("t149", "card-2", **last_given(clock))
        assert verdict.was_known
        assert is_same(again.ask("t149", "card-2", **last_given(clock)), verdict)


def last_given(clock: StoodClock) -> dict[str, Any]:
    n = 149
    return {
        "customer": f"c{n % 5}",
        "terminal": f"t{n % 3}",
        "device": f"d{n % 4}",
        "amount_minor": 900 + n,
        "time_ns": clock.time_ns - (n % 5) * 700 * S_NS,
        "present": False,
        "latitude": 50.0 + n % 4,
        "longitude": 8.0,
    }
