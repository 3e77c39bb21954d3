"""Every call of the check at the till, described once; see `calls`."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

from google.protobuf import empty_pb2

from instanter.client import fraud_replies, fraud_requests, replies
from instanter.client.calls import Call, Method, Timeouts
from instanter.client.fraud_values import (
    Assessment,
    CardTransaction,
    Case,
    CaseChange,
    CaseFilter,
    CasePage,
    FraudRule,
    HotlistCounts,
    HotlistEntry,
    HotlistPage,
    RecordedOutcomes,
    TransactionOutcome,
)
from instanter.v1 import fraud_service_pb2 as fraud_messages
from instanter.v1 import hotlist_service_pb2 as hotlist_messages


def _method(service: str, name: str, decode: Any) -> Method:
    return Method(f"/instanter.v1.{service}/{name}", decode.FromString)


ASSESS_TRANSACTION = _method(
    "FraudService", "AssessTransaction", fraud_messages.AssessTransactionResponse
)
RECORD_TRANSACTION_OUTCOMES = _method(
    "FraudService", "RecordTransactionOutcomes", fraud_messages.RecordTransactionOutcomesResponse
)
LIST_CASES = _method("FraudService", "ListCases", fraud_messages.ListCasesResponse)
UPDATE_CASE = _method("FraudService", "UpdateCase", fraud_messages.Case)
LIST_FRAUD_RULES = _method("FraudService", "ListFraudRules", fraud_messages.ListFraudRulesResponse)
RESUME_FRAUD_RULE = _method(
    "FraudService", "ResumeFraudRule", fraud_messages.ResumeFraudRuleResponse
)
SNOOZE_FRAUD_RULE = _method(
    "FraudService", "SnoozeFraudRule", fraud_messages.SnoozeFraudRuleResponse
)
CREATE_ENTRY = _method("HotlistService", "CreateHotlistEntry", hotlist_messages.HotlistEntry)
BATCH_CREATE_ENTRIES = _method(
    "HotlistService",
    "BatchCreateHotlistEntries",
    hotlist_messages.BatchCreateHotlistEntriesResponse,
)
DELETE_ENTRY = _method("HotlistService", "DeleteHotlistEntry", empty_pb2.Empty)
GET_ENTRY = _method("HotlistService", "GetHotlistEntry", hotlist_messages.HotlistEntry)
LIST_ENTRIES = _method(
    "HotlistService", "ListHotlistEntries", hotlist_messages.ListHotlistEntriesResponse
)
REPLACE_ENTRIES = _method(
    "HotlistService", "ReplaceHotlistEntries", hotlist_messages.ReplaceHotlistEntriesResponse
)

FRAUD_METHODS = (
    ASSESS_TRANSACTION,
    RECORD_TRANSACTION_OUTCOMES,
    LIST_CASES,
    UPDATE_CASE,
    LIST_FRAUD_RULES,
    RESUME_FRAUD_RULE,
    SNOOZE_FRAUD_RULE,
    CREATE_ENTRY,
    BATCH_CREATE_ENTRIES,
    DELETE_ENTRY,
    GET_ENTRY,
    LIST_ENTRIES,
    REPLACE_ENTRIES,
)
"""The methods of the check at the till that have one response."""

BACKTEST_FRAUD_RULES = _method(
    "FraudService", "BacktestFraudRules", fraud_messages.BacktestFraudRulesResponse
)
"""The one that streams."""


class FraudCalls:
    """Makes calls from arguments.

    Parameters
    ----------
    timeouts
        Deadlines of calls that bring none of their own.
    """

    __slots__ = ("_timeouts",)

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts

    def assess(self, transaction: CardTransaction, timeout_s: float | None) -> Call[Assessment]:
        """Return the call that assesses a settled transaction; its id makes retries one."""
        assert transaction.transaction_id is not None, "it is settled"
        return Call(
            ASSESS_TRANSACTION,
            fraud_requests.assess_transaction(transaction),
            partial(fraud_replies.assessment, transaction_id=transaction.transaction_id),
            repeatable=True,
            timeout_s=self._timeouts.decision_s if timeout_s is None else timeout_s,
        )

    def record_outcomes(
        self, outcomes: Iterable[TransactionOutcome], *, relaxed: bool, timeout_s: float | None
    ) -> Call[RecordedOutcomes]:
        """Return the call that records what became of transactions; each counts once."""
        return Call(
            RECORD_TRANSACTION_OUTCOMES,
            fraud_requests.record_transaction_outcomes(outcomes, relaxed=relaxed),
            fraud_replies.recorded_outcomes,
            repeatable=True,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def list_cases(
        self,
        page_size: int,
        page_token: str,
        wanted: CaseFilter,
        timeout_s: float | None,
    ) -> Call[CasePage]:
        """Return the call that reads one page of cases."""
        request = fraud_requests.list_cases(page_size, page_token, wanted)
        return self._read(LIST_CASES, request, fraud_replies.case_page, timeout_s)

    def update_case(
        self,
        case_id: str,
        change: CaseChange,
        timeout_s: float | None,
    ) -> Call[Case]:
        """Return the call that changes one case."""
        return Call(
            UPDATE_CASE,
            fraud_requests.update_case(case_id, change),
            fraud_replies.case,
            # A note sent twice stands there twice; a revision sent twice is over.
            repeatable=not (change.note or change.expected_revision),
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def list_rules(
        self, page_size: int, page_token: str, timeout_s: float | None
    ) -> Call[tuple[tuple[FraudRule, ...], str]]:
        """Return the call that reads one page of rules, and the token of the next."""

        def read(message: Any) -> tuple[tuple[FraudRule, ...], str]:
            rules = tuple(fraud_replies.fraud_rule(each) for each in message.fraud_rules)
            return rules, message.next_page_token

        request = fraud_requests.list_rules(page_size, page_token)
        return self._read(LIST_FRAUD_RULES, request, read, timeout_s)

    def resume_rule(self, rule: str, timeout_s: float | None) -> Call[FraudRule]:
        """Return the call that lets a paused rule take part again."""
        request = fraud_messages.ResumeFraudRuleRequest(name=f"fraudRules/{rule}")
        return Call(
            RESUME_FRAUD_RULE,
            request,
            lambda message: fraud_replies.fraud_rule(message.rule),
            repeatable=True,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def snooze_rule(
        self, rule: str, card_token: str, end: datetime, timeout_s: float | None
    ) -> Call[datetime]:
        """Return the call that makes a rule leave a card alone."""
        request = fraud_messages.SnoozeFraudRuleRequest(
            name=f"fraudRules/{rule}",
            card_token=card_token,
            snooze_end_time=fraud_requests.make_time("end", end),
        )
        return self._write(
            SNOOZE_FRAUD_RULE,
            request,
            lambda message: replies.read_instant(message.snooze_end_time),
            timeout_s,
        )

    def create_entry(
        self, hotlist: str, entry: HotlistEntry, timeout_s: float | None
    ) -> Call[HotlistEntry]:
        """Return the call that puts one entry on a hotlist."""
        request = fraud_requests.create_entry(hotlist, entry)
        return self._write(CREATE_ENTRY, request, fraud_replies.hotlist_entry, timeout_s)

    def create_entries(
        self, hotlist: str, entries: Iterable[HotlistEntry], timeout_s: float | None
    ) -> Call[HotlistCounts]:
        """Return the call that puts several entries on a hotlist."""
        request = hotlist_messages.BatchCreateHotlistEntriesRequest(
            parent=f"hotlists/{hotlist}",
            requests=[fraud_requests.create_entry(hotlist, entry) for entry in entries],
        )
        return self._write(BATCH_CREATE_ENTRIES, request, fraud_replies.hotlist_counts, timeout_s)

    def delete_entry(
        self, hotlist: str, entry_id: str, *, allow_missing: bool, timeout_s: float | None
    ) -> Call[None]:
        """Return the call that takes one entry off its hotlist."""
        request = hotlist_messages.DeleteHotlistEntryRequest(
            name=f"hotlists/{hotlist}/entries/{entry_id}", allow_missing=allow_missing
        )
        return Call(
            DELETE_ENTRY,
            request,
            replies.nothing,
            # Without it the second time finds nothing.
            repeatable=allow_missing,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def get_entry(self, hotlist: str, entry_id: str, timeout_s: float | None) -> Call[HotlistEntry]:
        """Return the call that reads one entry."""
        request = hotlist_messages.GetHotlistEntryRequest(
            name=f"hotlists/{hotlist}/entries/{entry_id}"
        )
        return self._read(GET_ENTRY, request, fraud_replies.hotlist_entry, timeout_s)

    def list_entries(
        self, hotlist: str, page_size: int, page_token: str, timeout_s: float | None
    ) -> Call[HotlistPage]:
        """Return the call that reads one page of a hotlist."""
        request = fraud_requests.list_entries(hotlist, page_size, page_token)
        return self._read(LIST_ENTRIES, request, fraud_replies.hotlist_page, timeout_s)

    def replace_block(
        self,
        request: hotlist_messages.ReplaceHotlistEntriesRequest,
        timeout_s: float | None,
    ) -> Call[Any]:
        """Return the call that sends one block of a replacement; blocks are taken once."""
        return self._write(REPLACE_ENTRIES, request, lambda message: message, timeout_s)

    def backtest(
        self, fraud_yaml: str, start: datetime | None, end: datetime | None
    ) -> fraud_messages.BacktestFraudRulesRequest:
        """Return the message that asks what other rules would have done."""
        return fraud_messages.BacktestFraudRulesRequest(
            fraud_yaml=fraud_yaml,
            start_time=fraud_requests.make_time("start", start),
            end_time=fraud_requests.make_time("end", end),
        )

    def _read(
        self, method: Method, request: Any, translate: Any, timeout_s: float | None
    ) -> Call[Any]:
        timeout_s = self._timeouts.read_s if timeout_s is None else timeout_s
        return Call(method, request, translate, repeatable=True, timeout_s=timeout_s)

    def _write(
        self, method: Method, request: Any, translate: Any, timeout_s: float | None
    ) -> Call[Any]:
        timeout_s = self._timeouts.write_s if timeout_s is None else timeout_s
        return Call(method, request, translate, repeatable=True, timeout_s=timeout_s)
