"""`FraudService` through the wire: verdicts, outcomes, cases, rules, and what is refused."""

import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.v1 import fraud_service_pb2 as pb
from instanter.v1.attribute_value_pb2 import AttributeValue
from instanter.v1.durability_pb2 import DURABILITY_DURABLE, DURABILITY_RELAXED
from tests.api.refusals import refuse
from tests.api.shop import Shop, open_shop
from tests.api.till import TILL, add_entry, assess, make_transaction, name, now, remove_entry

CARD_NUMBER = "4539578763621486"
LARGE, HUGE = 150_000, 600_000
"""Amounts that are referred, and declined."""


@pytest.fixture(scope="module")
def shop(front_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a check at the till."""
    with open_shop(tmp_path_factory.mktemp("till") / "store", front_name) as opened:
        opened.apply(TILL)
        yield opened


def record(shop: Shop, kind: int, *transactions: str, **given: Any) -> list[int]:
    outcomes = [
        pb.TransactionOutcome(transaction=f"transactions/{transaction}", kind=kind)  # type: ignore[arg-type] # a number
        for transaction in transactions
    ]
    request = pb.RecordTransactionOutcomesRequest(outcomes=outcomes, **given)
    response = shop.fraud.RecordTransactionOutcomes(request, timeout=20)
    return [result.state for result in response.results]


def find_case(shop: Shop, case: str) -> pb.Case:
    cases = shop.fraud.ListCases(pb.ListCasesRequest(page_size=1000), timeout=20).cases
    (found,) = (each for each in cases if each.name == case)
    return found


def test_a_transaction_that_nothing_speaks_against_is_approved(shop: Shop) -> None:
    found = assess(shop)
    assert found.disposition == pb.DISPOSITION_APPROVE
    assert found.source == pb.ASSESSMENT_SOURCE_RULES
    assert found.durability == DURABILITY_DURABLE
    assert found.catalogue_revision == 1
    assert (found.risk, found.case, list(found.reasons)) == (0, "", [])
    assert not found.duplicate


def test_points_refer_and_decline_with_reasons_and_a_case(shop: Shop) -> None:
    found = assess(shop, amount_minor=LARGE)
    assert (found.disposition, found.risk) == (pb.DISPOSITION_REFER, 50)
    assert list(found.reasons) == ["LARGE"]
    assert list(found.fraud_rules) == ["fraudRules/large"]
    assert found.case.startswith("cases/")
    assert assess(shop, amount_minor=HUGE).disposition == pb.DISPOSITION_DECLINE


def test_of_many_attempts_at_once_exactly_as_many_are_approved_as_may_be(shop: Shop) -> None:
    card = name("card")
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: assess(shop, card_token=card).disposition, range(60)))
    assert found.count(pb.DISPOSITION_APPROVE) == 3
    assert found.count(pb.DISPOSITION_DECLINE) == 57


def test_a_retry_gets_the_same_answer_and_counts_once(shop: Shop) -> None:
    request = make_transaction(amount_minor=LARGE)
    first = shop.fraud.AssessTransaction(request, timeout=20)
    again = shop.fraud.AssessTransaction(request, timeout=20)
    assert again.duplicate
    again.duplicate = False
    assert again == first
    request.amount_minor += 1
    refusal = refuse(shop.fraud.AssessTransaction, request)
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    assert refusal.reason == "TRANSACTION_ID_CONFLICT"
    assert refusal.fields == ["transaction_id"]


def test_retries_at_the_same_moment_count_once(shop: Shop) -> None:
    card = name("card")
    request = make_transaction(card_token=card)
    with ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(lambda _: shop.fraud.AssessTransaction(request, timeout=20), range(16))
        )
    assert [each.duplicate for each in found].count(False) == 1
    left = [assess(shop, card_token=card).disposition for _ in range(3)]
    assert left == [pb.DISPOSITION_APPROVE] * 2 + [pb.DISPOSITION_DECLINE]


def test_an_entry_of_a_hotlist_holds_in_the_very_next_assessment(shop: Shop) -> None:
    card = name("card")
    for _ in range(3):
        add_entry(shop, "cards", card, reason="stolen")
        found = assess(shop, card_token=card)
        assert (found.disposition, found.source) == (
            pb.DISPOSITION_DECLINE,
            pb.ASSESSMENT_SOURCE_HOTLIST,
        )
        assert "HOTLISTED_CARD" in found.reasons
        remove_entry(shop, "cards", card)
        assert assess(shop, card_token=name("card")).source == pb.ASSESSMENT_SOURCE_RULES


def test_each_hotlist_stops_what_it_lists(shop: Shop) -> None:
    for hotlist, entry, given in (
        ("terminals", "evil", {"terminal": "terminals/evil"}),
        ("merchants", "evil", {"merchant": "merchants/evil"}),
        ("devices", "evil", {"device": "evil"}),
        ("bins", "987654", {"bin": "98765432"}),
    ):
        assert assess(shop, **given).source != pb.ASSESSMENT_SOURCE_HOTLIST
        add_entry(shop, hotlist, entry)
        assert assess(shop, **given).source == pb.ASSESSMENT_SOURCE_HOTLIST
        remove_entry(shop, hotlist, entry)


def test_an_outcome_is_recorded_once_and_labels_the_case(shop: Shop) -> None:
    transaction = name("t")
    case = assess(shop, transaction_id=transaction, amount_minor=HUGE).case
    fraud = pb.TRANSACTION_OUTCOME_KIND_CONFIRMED_FRAUD
    assert record(shop, fraud, transaction, transaction, "nobody") == [
        pb.TRANSACTION_OUTCOME_STATE_RECORDED,
        pb.TRANSACTION_OUTCOME_STATE_DUPLICATE,
        pb.TRANSACTION_OUTCOME_STATE_TRANSACTION_UNKNOWN,
    ]
    found = find_case(shop, case)
    assert (found.label, found.state) == (pb.CASE_LABEL_FRAUD, pb.CASE_STATE_CLOSED)
    chargeback = pb.TRANSACTION_OUTCOME_KIND_CHARGEBACK
    assert record(shop, chargeback, transaction, durability=DURABILITY_RELAXED) == [1]
    genuine = pb.TRANSACTION_OUTCOME_KIND_GENUINE
    assert record(shop, genuine, transaction) == [pb.TRANSACTION_OUTCOME_STATE_CHANGED]


def test_a_terminal_with_much_fraud_is_suggested_for_the_hotlist(shop: Shop) -> None:
    terminal = f"terminals/{name('terminal')}"
    given = {"terminal": terminal, "place": pb.Place(latitude=1, longitude=1)}
    transactions = [name("t") for _ in range(4)]
    for transaction in transactions:
        assess(shop, transaction_id=transaction, **given)
    kinds = [2, 1, 1, 1]
    outcomes = [
        pb.TransactionOutcome(transaction=f"transactions/{transaction}", kind=kind)  # type: ignore[arg-type] # a number
        for transaction, kind in zip(transactions, kinds, strict=True)
    ]
    request = pb.RecordTransactionOutcomesRequest(outcomes=outcomes)
    response = shop.fraud.RecordTransactionOutcomes(request, timeout=20)
    (suggestion,) = response.hotlist_suggestions
    assert suggestion == pb.HotlistSuggestion(
        terminal=terminal, fraud_rate=0.75, fraud_count=3, label_count=4
    )
    assert not shop.fraud.RecordTransactionOutcomes(request, timeout=20).hotlist_suggestions


def test_a_case_is_worked_on(shop: Shop) -> None:
    given = {"transaction_id": name("t"), "customer": "customers/anna", "amount_minor": LARGE}
    case = assess(shop, **given).case
    found = find_case(shop, case)
    assert found.transaction == f"transactions/{given['transaction_id']}"
    assert (found.customer, found.merchant) == ("customers/anna", "merchants/m1")
    assert (found.amount_minor, found.currency, found.risk) == (LARGE, "EUR", 50)
    figures = {figure.name: figure.value for figure in found.figures}
    assert figures["transaction.amount"] == 1500
    assert figures["velocity.card_count_10m"] == 0
    request = pb.UpdateCaseRequest(
        case=pb.Case(name=case, assignee="Ada"), note="called him", note_author="Ada"
    )
    updated = shop.fraud.UpdateCase(request, timeout=20)
    assert (updated.assignee, updated.state) == ("Ada", pb.CASE_STATE_OPEN)
    assert [(note.author, note.text) for note in updated.notes] == [("Ada", "called him")]
    assert updated.revision == found.revision + 1
    label = pb.UpdateCaseRequest(case=pb.Case(name=case, label=pb.CASE_LABEL_GENUINE))
    labelled = shop.fraud.UpdateCase(label, timeout=20)
    assert (labelled.label, labelled.state) == (pb.CASE_LABEL_GENUINE, pb.CASE_STATE_CLOSED)
    stale = pb.UpdateCaseRequest(
        case=pb.Case(name=case, assignee="Bob"), expected_revision=found.revision
    )
    assert refuse(shop.fraud.UpdateCase, stale).code is grpc.StatusCode.ABORTED
    missing = pb.UpdateCaseRequest(case=pb.Case(name="cases/999999", assignee="Bob"))
    assert refuse(shop.fraud.UpdateCase, missing).code is grpc.StatusCode.NOT_FOUND


def test_cases_come_in_pages_the_newest_first_and_filtered(shop: Shop) -> None:
    card = name("card")
    cases = [assess(shop, card_token=card, amount_minor=LARGE).case for _ in range(3)]
    shop.fraud.UpdateCase(
        pb.UpdateCaseRequest(case=pb.Case(name=cases[0], assignee="Ada")), timeout=20
    )
    found: list[str] = []
    request = pb.ListCasesRequest(page_size=2, card_token=card)
    while True:
        page = shop.fraud.ListCases(request, timeout=20)
        found += [case.name for case in page.cases]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert found == cases[::-1]
    ada = pb.ListCasesRequest(card_token=card, assignee="Ada", state=pb.CASE_STATE_OPEN)
    assert [case.name for case in shop.fraud.ListCases(ada, timeout=20).cases] == cases[:1]
    nobody = pb.ListCasesRequest(card_token=card, label=pb.CASE_LABEL_FRAUD)
    assert not shop.fraud.ListCases(nobody, timeout=20).cases


def test_rules_are_listed_with_what_they_do(shop: Shop) -> None:
    assess(shop, amount_minor=LARGE)
    first = shop.fraud.ListFraudRules(pb.ListFraudRulesRequest(page_size=3), timeout=20)
    assert [rule.name for rule in first.fraud_rules] == [
        f"fraudRules/{rule}" for rule in ("many", "large", "huge")
    ]
    many, large, _ = first.fraud_rules
    assert (many.disposition, many.reason) == (pb.DISPOSITION_DECLINE, "VELOCITY")
    assert (large.points, large.state) == (50, pb.FRAUD_RULE_STATE_LIVE)
    assert large.fired_count >= 1
    rest = pb.ListFraudRulesRequest(page_token=first.next_page_token)
    (silent,) = shop.fraud.ListFraudRules(rest, timeout=20).fraud_rules
    assert silent.state == pb.FRAUD_RULE_STATE_SHADOW
    assert silent.shadowed_count >= 1


def test_a_rule_leaves_a_card_alone_until_the_end(shop: Shop) -> None:
    card = name("card")
    request = pb.SnoozeFraudRuleRequest(
        name="fraudRules/large", card_token=card, snooze_end_time=now(3600)
    )
    assert shop.fraud.SnoozeFraudRule(request, timeout=20).snooze_end_time == (
        request.snooze_end_time
    )
    quiet = assess(shop, card_token=card, amount_minor=LARGE)
    assert quiet.disposition == pb.DISPOSITION_APPROVE
    request.snooze_end_time.CopyFrom(now(-1))
    shop.fraud.SnoozeFraudRule(request, timeout=20)
    assert assess(shop, card_token=card, amount_minor=LARGE).disposition == pb.DISPOSITION_REFER


def test_a_rule_that_is_not_there_is_told(shop: Shop) -> None:
    resume = pb.ResumeFraudRuleRequest(name="fraudRules/larg")
    refusal = refuse(shop.fraud.ResumeFraudRule, resume)
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert "did you mean 'large'" in refusal.message
    resume.name = "fraudRules/large"
    response = shop.fraud.ResumeFraudRule(resume, timeout=20)
    assert response.rule.state == pb.FRAUD_RULE_STATE_LIVE


def test_a_clock_that_jumped_is_answered_by_the_stand_in(shop: Shop) -> None:
    for seconds in (3600, -365 * 86_400):
        found = assess(shop, transaction_time=now(seconds))
        assert (found.disposition, found.source) == (
            pb.DISPOSITION_REFER,
            pb.ASSESSMENT_SOURCE_STAND_IN,
        )
        assert list(found.stand_in_causes) == [pb.STAND_IN_CAUSE_CLOCK_JUMPED]


def test_declared_fields_are_taken(shop: Shop) -> None:
    fields = {
        "recurring": AttributeValue(flag_value=True),
        "amount_limit": AttributeValue(number_value=123),
        "cvv": AttributeValue(category_value="present"),
    }
    assert assess(shop, fields=fields).disposition == pb.DISPOSITION_APPROVE


def fields(**given: AttributeValue) -> dict[str, AttributeValue]:
    return given


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no id": ({"transaction_id": ""}, "transaction_id", "TRANSACTION_ID_INVALID"),
    "long id": ({"transaction_id": "x" * 65}, "transaction_id", "TRANSACTION_ID_INVALID"),
    "hostile id": ({"transaction_id": "a\0b"}, "transaction_id", "TRANSACTION_ID_INVALID"),
    "no card": ({"card_token": ""}, "card_token", "CARD_TOKEN_INVALID"),
    "path as card": ({"card_token": "a/b"}, "card_token", "CARD_TOKEN_INVALID"),
    "no customer": ({"customer": "anna"}, "customer", "CUSTOMER_NAME_INVALID"),
    "no terminal": ({"terminal": ""}, "terminal", "RESOURCE_NAME_INVALID"),
    "other terminal": ({"terminal": "merchants/m1"}, "terminal", "RESOURCE_NAME_INVALID"),
    "no merchant": ({"merchant": "merchants/"}, "merchant", "RESOURCE_NAME_INVALID"),
    "no mcc": ({"mcc": 0}, "mcc", "FIELD_INVALID"),
    "long mcc": ({"mcc": 10_000}, "mcc", "FIELD_INVALID"),
    "negative mcc": ({"mcc": -5411}, "mcc", "FIELD_INVALID"),
    "no amount": ({"amount_minor": 0}, "amount_minor", "FIELD_INVALID"),
    "negative amount": ({"amount_minor": -1}, "amount_minor", "FIELD_INVALID"),
    "overflowing amount": ({"amount_minor": 2**63 - 1}, "amount_minor", "FIELD_INVALID"),
    "no currency": ({"currency": ""}, "currency", "FIELD_INVALID"),
    "small currency": ({"currency": "eur"}, "currency", "FIELD_INVALID"),
    "gold": ({"currency": "XAU"}, "currency", "FIELD_INVALID"),
    "no time": ({"transaction_time": None}, "transaction_time", "TRANSACTION_TIME_INVALID"),
    "before all": ({"transaction_time": Timestamp(seconds=-1)},
                   "transaction_time", "TRANSACTION_TIME_INVALID"),
    "never": ({"transaction_time": Timestamp(seconds=2**40)},
              "transaction_time", "TRANSACTION_TIME_INVALID"),
    "no channel": ({"channel": 0}, "channel", "TRANSACTION_CHANNEL_INVALID"),
    "odd channel": ({"channel": 9}, "channel", "TRANSACTION_CHANNEL_INVALID"),
    "off the earth": ({"place": pb.Place(latitude=91)}, "place.latitude", "FIELD_INVALID"),
    "nowhere": ({"place": pb.Place(longitude=math.nan)}, "place.longitude", "FIELD_INVALID"),
    "long device": ({"device": "x" * 129}, "device", "DEVICE_INVALID"),
    "short bin": ({"bin": "12345"}, "bin", "BIN_INVALID"),
    "letters in bin": ({"bin": "12345a"}, "bin", "BIN_INVALID"),
    "unknown field": ({"fields": fields(recuring=AttributeValue(flag_value=True))},
                      'fields["recuring"]', "TRANSACTION_FIELD_UNKNOWN"),
    "wrong kind": ({"fields": fields(recurring=AttributeValue(number_value=1))},
                   'fields["recurring"]', "ATTRIBUTE_KIND_MISMATCH"),
    "not a number": ({"fields": fields(amount_limit=AttributeValue(number_value=math.nan))},
                     'fields["amount_limit"]', "ATTRIBUTE_OUT_OF_RANGE"),
    "many fields": ({"fields": {f"f{n}": AttributeValue(flag_value=True) for n in range(31)}},
                    "fields", "TRANSACTION_FIELDS_TOO_MANY"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_a_transaction_that_cannot_be_is_refused(shop: Shop, mistake: str) -> None:
    given, field, reason = WRONG[mistake]
    refusal = refuse(shop.fraud.AssessTransaction, make_transaction(**given))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.fields, refusal.reason) == ([field], reason)


BAD_OUTCOMES = {
    "none": (pb.RecordTransactionOutcomesRequest(), "outcomes"),
    "too many": (
        pb.RecordTransactionOutcomesRequest(outcomes=[pb.TransactionOutcome()] * 1001),
        "outcomes",
    ),
    "no kind": (
        pb.RecordTransactionOutcomesRequest(
            outcomes=[pb.TransactionOutcome(transaction="transactions/a")]
        ),
        "outcomes[0].kind",
    ),
    "no name": (
        pb.RecordTransactionOutcomesRequest(outcomes=[pb.TransactionOutcome(kind=1)]),  # type: ignore[arg-type] # a number
        "outcomes[0].transaction",
    ),
    "far ahead": (
        pb.RecordTransactionOutcomesRequest(
            outcomes=[
                pb.TransactionOutcome(
                    transaction="transactions/a",
                    kind=1,  # type: ignore[arg-type] # a number
                    outcome_time=now(86_400),
                )
            ]
        ),
        "outcomes[0].outcome_time",
    ),
}


@pytest.mark.parametrize("mistake", BAD_OUTCOMES)
def test_a_wrong_outcome_is_named(shop: Shop, mistake: str) -> None:
    request, field = BAD_OUTCOMES[mistake]
    assert refuse(shop.fraud.RecordTransactionOutcomes, request).fields == [field]


BAD_CASES = {
    "no name": (pb.Case(assignee="Ada"), (), "case.name"),
    "letters": (pb.Case(name="cases/x", assignee="Ada"), (), "case.name"),
    "other path": (pb.Case(name="cases/1"), ("risk",), "update_mask.paths[0]"),
    "no label": (pb.Case(name="cases/1"), ("label",), "case.label"),
    "no state": (pb.Case(name="cases/1"), ("state",), "case.state"),
    "long assignee": (pb.Case(name="cases/1", assignee="x" * 201), (), "case.assignee"),
}


@pytest.mark.parametrize("mistake", BAD_CASES)
def test_a_wrong_change_of_a_case_is_named(shop: Shop, mistake: str) -> None:
    case, paths, field = BAD_CASES[mistake]
    request = pb.UpdateCaseRequest(case=case)
    if paths:
        request.update_mask.paths.extend(paths)
    assert refuse(shop.fraud.UpdateCase, request).fields == [field]


def test_a_token_of_another_list_is_refused(shop: Shop) -> None:
    token = shop.fraud.ListFraudRules(pb.ListFraudRulesRequest(page_size=1)).next_page_token
    refusal = refuse(shop.fraud.ListCases, pb.ListCasesRequest(page_token=token))
    assert refusal.reason == "PAGE_TOKEN_INVALID"


def make_hostile() -> dict[str, Any]:
    """Return requests of every kind that hold a card number or a verification code."""
    spaced = "4539 5787 6362 1486"
    secret = AttributeValue(category_value="737")
    return {
        **{
            f"assessment {field}": ("AssessTransaction", make_transaction(**{field: CARD_NUMBER}))
            for field in (
                "transaction_id", "card_token", "customer", "terminal", "merchant", "currency",
                "device", "bin",
            )
        },
        **{
            f"spaced {at}": ("AssessTransaction", make_transaction(card_token=number))
            for at, number in enumerate(
                (spaced.replace(" ", "    "), spaced.replace(" ", "\t" * 4), "⁴⁵³⁹ ⁵⁷⁸⁷ ⁶³⁶² ¹⁴⁸⁶")
            )
        },
        "spaced": ("AssessTransaction", make_transaction(device=f"d {spaced}")),
        "amount": ("AssessTransaction", make_transaction(amount_minor=int(CARD_NUMBER))),
        "time": (
            "AssessTransaction",
            make_transaction(transaction_time=Timestamp(seconds=int(CARD_NUMBER))),
        ),
        "place": (
            "AssessTransaction",
            make_transaction(place=pb.Place(latitude=float(CARD_NUMBER))),
        ),
        "key": ("AssessTransaction", make_transaction(fields={CARD_NUMBER: AttributeValue()})),
        "number": (
            "AssessTransaction",
            make_transaction(
                fields={"amount_limit": AttributeValue(number_value=float(CARD_NUMBER))}
            ),
        ),
        "code": ("AssessTransaction", make_transaction(fields={"cvv": secret})),
        "outcome": (
            "RecordTransactionOutcomes",
            pb.RecordTransactionOutcomesRequest(
                outcomes=[pb.TransactionOutcome(transaction=f"transactions/{CARD_NUMBER}")]
            ),
        ),
        "filter": ("ListCases", pb.ListCasesRequest(card_token=CARD_NUMBER)),
        "note": (
            "UpdateCase",
            pb.UpdateCaseRequest(case=pb.Case(name="cases/1"), note=f"card {spaced}!"),
        ),
        "rule": ("ResumeFraudRule", pb.ResumeFraudRuleRequest(name=f"fraudRules/{CARD_NUMBER}")),
        "snooze": (
            "SnoozeFraudRule",
            pb.SnoozeFraudRuleRequest(name="fraudRules/large", card_token=CARD_NUMBER),
        ),
    }  # fmt: skip


def test_card_numbers_are_refused_and_appear_nowhere(front_name: str, tmp_path: Path) -> None:
    with open_shop(tmp_path / "store", front_name) as shop:
        shop.apply(TILL)
        assess(shop)
        refusals = []
        for method, request in make_hostile().values():
            refusal = refuse(getattr(shop.fraud, method), request)
            assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
            assert refusal.reason == "CARD_NUMBER_REFUSED"
            refusals.append(str(refusal))
        said = "".join((*refusals, shop.log.getvalue(), shop.server.log.getvalue()))
        errors = repr(shop.metrics.list_errors())
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    everything = written + said.encode() + errors.encode()
    assert "737" not in "".join(refusals)
    assert CARD_NUMBER.encode() not in everything
    assert re.search(rb"4539\s+5787|4539\\t+5787", everything) is None
    assert "⁵⁷⁸⁷".encode() not in everything


def test_without_a_catalogue_or_its_section_nothing_is_assessed(empty_shop: Shop) -> None:
    refusal = refuse(empty_shop.fraud.AssessTransaction, make_transaction())
    assert (refusal.code, refusal.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "CATALOGUE_MISSING",
    )
    empty_shop.apply({"shop.yaml": "channels: {web: []}\n"})
    refusal = refuse(empty_shop.fraud.AssessTransaction, make_transaction())
    assert refusal.reason == "FRAUD_NOT_DECLARED"
    assert refuse(empty_shop.fraud.ListFraudRules, pb.ListFraudRulesRequest()).reason == (
        "FRAUD_NOT_DECLARED"
    )


def test_assessments_are_counted_by_verdict(front_name: str, tmp_path: Path) -> None:
    with open_shop(tmp_path / "store", front_name) as shop:
        shop.apply(TILL)
        request = make_transaction()
        for _ in range(3):
            shop.fraud.AssessTransaction(request, timeout=20)
        assess(shop, amount_minor=HUGE)
        add_entry(shop, "terminals", "evil")
        assess(shop, terminal="terminals/evil")
        counts = shop.metrics.assessments_by_verdict
        rules, hotlist = pb.ASSESSMENT_SOURCE_RULES, pb.ASSESSMENT_SOURCE_HOTLIST
        assert counts[rules * 4 + pb.DISPOSITION_APPROVE] == 1
        assert counts[rules * 4 + pb.DISPOSITION_DECLINE] == 1
        assert counts[hotlist * 4 + pb.DISPOSITION_DECLINE] == 1
        assert sum(counts) == 3
