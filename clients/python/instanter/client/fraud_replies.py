"""Reads the messages of the fraud calls into plain values; see `replies`."""

from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from instanter.client import fraud_values as values
from instanter.client.replies import read_id, read_instant, read_member
from instanter.v1 import fraud_service_pb2 as fraud_messages
from instanter.v1 import hotlist_service_pb2 as hotlist_messages
from instanter.v1.durability_pb2 import DURABILITY_DURABLE


def assessment(
    message: fraud_messages.AssessTransactionResponse, transaction_id: str
) -> values.Assessment:
    """Return the plain form of a verdict."""
    return values.Assessment(
        transaction_id=transaction_id,
        disposition=read_member(values.Disposition, message.disposition),
        source=read_member(values.AssessmentSource, message.source),
        risk=message.risk,
        fraud_probability=message.fraud_probability,
        reasons=tuple(message.reasons),
        fraud_rules=tuple(read_id(rule) for rule in message.fraud_rules),
        stand_in_causes=tuple(
            read_member(values.StandInCause, cause) for cause in message.stand_in_causes
        ),
        case_id=read_id(message.case),
        catalogue_revision=message.catalogue_revision,
        is_durable=message.durability == DURABILITY_DURABLE,
        is_duplicate=message.duplicate,
    )


def recorded_outcomes(
    message: fraud_messages.RecordTransactionOutcomesResponse,
) -> values.RecordedOutcomes:
    """Return the plain form of what was recorded."""
    return values.RecordedOutcomes(
        states=tuple(
            read_member(values.TransactionOutcomeState, result.state) for result in message.results
        ),
        hotlist_suggestions=tuple(
            values.HotlistSuggestion(
                read_id(each.terminal), each.fraud_rate, each.fraud_count, each.label_count
            )
            for each in message.hotlist_suggestions
        ),
    )


def case(message: fraud_messages.Case) -> values.Case:
    """Return the plain form of one case."""
    return values.Case(
        id=read_id(message.name),
        state=read_member(values.CaseState, message.state),
        assignee=message.assignee,
        label=read_member(values.CaseLabel, message.label),
        transaction_id=read_id(message.transaction),
        card_token=message.card_token,
        customer=read_id(message.customer),
        terminal=read_id(message.terminal),
        merchant=read_id(message.merchant),
        amount_minor=message.amount_minor,
        currency=message.currency,
        transaction_time=read_instant(message.transaction_time),
        disposition=read_member(values.Disposition, message.disposition),
        risk=message.risk,
        source=read_member(values.AssessmentSource, message.source),
        reasons=tuple(message.reasons),
        figures={each.name: each.category or each.value for each in message.figures},
        notes=tuple(
            values.CaseNote(read_instant(note.note_time), note.author, note.text)
            for note in message.notes
        ),
        create_time=read_instant(message.create_time),
        update_time=read_instant(message.update_time),
        revision=message.revision,
    )


def case_page(message: fraud_messages.ListCasesResponse) -> values.CasePage:
    """Return the plain form of one page of cases."""
    cases = tuple(case(each) for each in message.cases)
    return values.CasePage(cases, message.next_page_token)


def fraud_rule(message: fraud_messages.FraudRule) -> values.FraudRule:
    """Return the plain form of one rule."""
    return values.FraudRule(
        name=read_id(message.name),
        when=message.when,
        reason=message.reason,
        disposition=read_member(values.Disposition, message.disposition),
        points=message.points,
        state=read_member(values.FraudRuleState, message.state),
        fired_count=message.fired_count,
        shadowed_count=message.shadowed_count,
        stopped_count=message.stopped_count,
        pause_time=find_time(message, "pause_time"),
    )


def hotlist_entry(message: hotlist_messages.HotlistEntry) -> values.HotlistEntry:
    """Return the plain form of one entry."""
    return values.HotlistEntry(
        id=message.name.rpartition("/")[2],
        reason=message.reason,
        source=message.source,
        expire_time=find_time(message, "expire_time"),
        create_time=find_time(message, "create_time"),
    )


def hotlist_page(message: hotlist_messages.ListHotlistEntriesResponse) -> values.HotlistPage:
    """Return the plain form of one page of a hotlist."""
    return values.HotlistPage(
        entries=tuple(hotlist_entry(each) for each in message.hotlist_entries),
        next_page_token=message.next_page_token,
        entry_count=message.entry_count,
        update_time=find_time(message, "update_time"),
    )


def hotlist_counts(
    message: hotlist_messages.BatchCreateHotlistEntriesResponse,
) -> values.HotlistCounts:
    """Return the plain form of what was put on a hotlist."""
    return values.HotlistCounts(message.created_count, message.existing_count)


def backtest(
    message: fraud_messages.BacktestFraudRulesResponse,
) -> values.BacktestProgress | values.BacktestReport:
    """Return the plain form of one message of a back-test."""
    if message.WhichOneof("told") == "progress":
        progress = message.progress
        return values.BacktestProgress(progress.transaction_count, progress.done_rate)
    result = message.result
    return values.BacktestReport(
        live=_figures(result.live),
        given=_figures(result.given),
        rules=tuple(
            values.BacktestRule(
                each.rule, each.fired_count, each.caught_count, each.false_positive_count
            )
            for each in result.rules
        ),
        newly_stopped_count=result.newly_stopped_count,
        newly_caught_count=result.newly_caught_count,
        released_count=result.released_count,
        newly_missed_count=result.newly_missed_count,
        start_time=find_time(result, "start_time"),
        end_time=find_time(result, "end_time"),
        misfit_count=result.misfit_count,
    )


def find_time(message: Message, field: str) -> datetime | None:
    """Return a field's time, None when it is unset."""
    return read_instant(getattr(message, field)) if message.HasField(field) else None


def _figures(message: Any) -> values.BacktestFigures:
    names = values.BacktestFigures.__dataclass_fields__
    return values.BacktestFigures(**{name: getattr(message, name) for name in names})
