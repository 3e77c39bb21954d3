"""Back-tests over the log that a keeper has written."""

from datetime import UTC, datetime

import pytest

from instanter.catalogue.fraud_words import Disposition, ListKind
from instanter.fraud.simulation import Simulation
from instanter.keeper.backtesting import run_backtest
from instanter.keeper.cases import UpdateCase
from instanter.keeper.labels import FoundKind
from instanter.keeper.transaction_outcomes import (
    RecordTransactionOutcomes,
    TransactionOutcome,
)
from instanter.keeper.voiding import VoidRecord
from tests.fraud.worlds import make_catalogue
from tests.keeper.tills import NOW_NS, S_NS, TILL, StoodClock, open_till

GIVEN = (
    "  rules:\n"
    "    medium: {when: transaction.amount > 400.0, disposition: decline, reason: MEDIUM}\n"
)


@pytest.fixture
def till(tmp_path):
    clock = StoodClock()
    with open_till(tmp_path, clock) as opened:
        opened.publish()
        yield opened


def backtest(till, rules=GIVEN, **given):
    told = []
    result = run_backtest(
        lambda: till.desk.kept.log.read(1),
        Simulation(make_catalogue(rules), **given),
        lambda done, count: told.append((done, count)),
    )
    return result, told


def found(till, kind, *ids):
    outcomes = tuple(TransactionOutcome(each, kind) for each in ids)
    till.do(RecordTransactionOutcomes(outcomes))


def test_the_logs_transactions_are_answered_by_other_rules(till):
    till.ask("small", "a")
    till.ask("medium", "b", amount_minor=50_000)
    large = till.ask("large", "c", amount_minor=200_000)
    till.block(ListKind.CARDS, "listed")
    assert till.answer("blocked", "listed") == Disposition.DECLINE
    found(till, FoundKind.CHARGEBACK, "medium")
    found(till, FoundKind.GENUINE, "small")
    till.do(UpdateCase(large.case, found=FoundKind.FRAUD))
    till.ask("small", "a", time_ns=NOW_NS)
    result, told = backtest(till)
    assert told == [(0, 4), (4, 4)]
    live, given = result.live, result.given
    assert (live.transaction_count, live.referred_count, live.declined_count) == (4, 1, 1)
    assert (live.caught_minor, live.missed_minor) == (200_000, 50_000)
    assert (given.referred_count, given.declined_count) == (0, 3)
    assert (given.caught_minor, given.missed_count) == (250_000, 0)
    assert (result.newly_stopped_count, result.newly_caught_count) == (1, 1)
    assert given.false_positive_count == 1


def test_the_live_rules_do_again_what_they_did_when_labels_were_corrected(till):
    till.ask("a")
    found(till, FoundKind.FRAUD, "a")
    till.ask("b", "b")
    found(till, FoundKind.CHARGEBACK, "a")
    found(till, FoundKind.GENUINE, "a")
    till.ask("c", "c")
    result, _ = backtest(till, TILL.partition("fraud:\n")[2])
    assert result.given == result.live
    assert result.live.referred_count == 1
    assert (result.newly_stopped_count, result.released_count) == (0, 0)


def test_transactions_from_before_a_field_was_declared_are_replayed(till):
    field = "fraud:\n  fields: {since: {kind: instant%s}, way: {kind: category, values: [a, b]}}\n"
    till.ask("old")
    till.publish(TILL.replace("fraud:\n", field % ""))
    since = datetime(2026, 11, 1, tzinfo=UTC)
    till.ask("new", "b", fields={"since": since, "way": "b"})
    rule = "    known: {when: has(transaction.since), disposition: refer, reason: KNOWN}\n"
    required = (field % ", required: true").partition("\n")[2]
    result, _ = backtest(till, f"{required}  rules:\n{rule}")
    assert (result.given.transaction_count, result.given.referred_count) == (2, 1)
    assert result.misfit_count == 1
    result, _ = backtest(till)
    assert (result.given.transaction_count, result.misfit_count) == (2, 1)


def test_a_transaction_that_was_taken_back_is_left_out(till):
    till.ask("kept", amount_minor=50_000)
    till.ask("taken", amount_minor=60_000)
    till.do(VoidRecord(till.desk.kept.log.written_sequence))
    result, _ = backtest(till)
    assert result.given.transaction_count == 1
    assert result.given.declined_count == 1


def test_only_the_time_asked_for_is_counted(till):
    for number in range(3):
        till.clock.time_ns = NOW_NS + number * S_NS
        till.ask(f"t{number}", amount_minor=50_000)
    result, _ = backtest(till, start_ns=NOW_NS + S_NS, end_ns=NOW_NS + 2 * S_NS)
    assert result.given.declined_count == 1
    assert result.start_ns == result.end_ns == NOW_NS + S_NS


def test_an_empty_log_has_an_empty_result(till):
    result, told = backtest(till)
    assert result.given.transaction_count == 0
    assert told == [(0, 0), (0, 0)]
