"""Builds the messages of the fraud calls from plain values; see `requests`."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast
from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.client.fraud_values import (
    CardTransaction,
    CaseChange,
    CaseFilter,
    HotlistEntry,
    TransactionOutcome,
)
from instanter.client.requests import (
    attribute_message,
    attribute_messages,
    check_number,
    customer_name,
)
from instanter.v1 import durability_pb2 as durability_messages
from instanter.v1 import fraud_service_pb2 as fraud_messages
from instanter.v1 import hotlist_service_pb2 as hotlist_messages

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
"""Of ids in hexadecimal one in some thousands holds digits that may be a card number."""


def settle(transaction: CardTransaction) -> CardTransaction:
    """Return a transaction with an id and a time: both must be the same in every retry."""
    if transaction.transaction_id is not None and transaction.transaction_time is not None:
        return transaction
    return replace(
        transaction,
        transaction_id=transaction.transaction_id or uuid4().hex.translate(_LETTERS),
        transaction_time=transaction.transaction_time or datetime.now(UTC),
    )


def assess_transaction(
    transaction: CardTransaction,
) -> fraud_messages.AssessTransactionRequest:
    """Return the message of a settled transaction."""
    assert transaction.transaction_id is not None, "it is settled"
    check_number("mcc", transaction.mcc, 32)
    check_number("amount_minor", transaction.amount_minor, 64)
    message = fraud_messages.AssessTransactionRequest(
        transaction_id=transaction.transaction_id,
        card_token=transaction.card_token,
        customer=customer_name(transaction.customer) if transaction.customer else "",
        terminal=f"terminals/{transaction.terminal}",
        merchant=f"merchants/{transaction.merchant}",
        mcc=transaction.mcc,
        amount_minor=transaction.amount_minor,
        currency=transaction.currency,
        transaction_time=make_time("transaction_time", transaction.transaction_time),
        channel=(
            fraud_messages.TRANSACTION_CHANNEL_CARD_PRESENT
            if transaction.card_present
            else fraud_messages.TRANSACTION_CHANNEL_CARD_NOT_PRESENT
        ),
        device=transaction.device,
        bin=transaction.bin,
        fields=attribute_messages(transaction.fields),
    )
    if (transaction.latitude is None) != (transaction.longitude is None):
        raise ValueError(
            f"latitude {transaction.latitude} and longitude {transaction.longitude}: expected both "
            "or neither"
        )
    if transaction.latitude is not None and transaction.longitude is not None:
        message.place.latitude = transaction.latitude
        message.place.longitude = transaction.longitude
    return message


def record_transaction_outcomes(
    outcomes: Iterable[TransactionOutcome], *, relaxed: bool
) -> fraud_messages.RecordTransactionOutcomesRequest:
    """Return the message that records what became of transactions."""
    return fraud_messages.RecordTransactionOutcomesRequest(
        outcomes=[
            fraud_messages.TransactionOutcome(
                transaction=f"transactions/{outcome.transaction_id}",
                kind=cast("fraud_messages.TransactionOutcomeKind.ValueType", int(outcome.kind)),
                outcome_time=make_time("outcome_time", outcome.outcome_time),
            )
            for outcome in outcomes
        ],
        durability=(
            durability_messages.DURABILITY_RELAXED
            if relaxed
            else durability_messages.DURABILITY_DURABLE
        ),
    )


def list_cases(
    page_size: int, page_token: str, wanted: CaseFilter
) -> fraud_messages.ListCasesRequest:
    """Return the message that asks for one page of cases."""
    check_number("page_size", page_size, 32)
    return fraud_messages.ListCasesRequest(
        page_size=page_size,
        page_token=page_token,
        state=cast("fraud_messages.CaseState.ValueType", int(wanted.state)),
        label=cast("fraud_messages.CaseLabel.ValueType", int(wanted.label)),
        assignee=wanted.assignee,
        card_token=wanted.card_token,
        terminal=f"terminals/{wanted.terminal}" if wanted.terminal else "",
        merchant=f"merchants/{wanted.merchant}" if wanted.merchant else "",
    )


def update_case(case_id: str, change: CaseChange) -> fraud_messages.UpdateCaseRequest:
    """Return the message that changes what is not None of a case."""
    check_number("expected_revision", change.expected_revision, 64)
    given = {"assignee": change.assignee, "state": change.state, "label": change.label}
    changes = {name: value for name, value in given.items() if value is not None}
    return fraud_messages.UpdateCaseRequest(
        case=fraud_messages.Case(name=f"cases/{case_id}", **changes),  # type: ignore[arg-type] # by name
        update_mask=FieldMask(paths=list(changes)),
        note=change.note,
        note_author=change.note_author,
        expected_revision=change.expected_revision,
    )


def list_rules(page_size: int, page_token: str) -> fraud_messages.ListFraudRulesRequest:
    """Return the message that asks for one page of rules."""
    check_number("page_size", page_size, 32)
    return fraud_messages.ListFraudRulesRequest(page_size=page_size, page_token=page_token)


def make_entry(hotlist: str, entry: HotlistEntry) -> hotlist_messages.HotlistEntry:
    """Return the message of one entry of a hotlist."""
    return hotlist_messages.HotlistEntry(
        name=f"hotlists/{hotlist}/entries/{entry.id}",
        reason=entry.reason,
        source=entry.source,
        expire_time=make_time("expire_time", entry.expire_time),
    )


def create_entry(hotlist: str, entry: HotlistEntry) -> hotlist_messages.CreateHotlistEntryRequest:
    """Return the message that puts one entry on a hotlist."""
    return hotlist_messages.CreateHotlistEntryRequest(
        parent=f"hotlists/{hotlist}",
        hotlist_entry=make_entry(hotlist, entry),
        hotlist_entry_id=entry.id,
    )


def list_entries(
    hotlist: str, page_size: int, page_token: str
) -> hotlist_messages.ListHotlistEntriesRequest:
    """Return the message that asks for one page of a hotlist."""
    check_number("page_size", page_size, 32)
    return hotlist_messages.ListHotlistEntriesRequest(
        parent=f"hotlists/{hotlist}", page_size=page_size, page_token=page_token
    )


def make_time(name: str, moment: datetime | None) -> Timestamp | None:
    """Return the message of an aware datetime; None stays None.

    Raises
    ------
    ValueError
        It has no time zone.
    """
    return None if moment is None else attribute_message(name, moment).instant_value
