"""The table from kinds of records to their effects, and what is carried out together.

Both are pure functions of state and record; what is carried out together has the effects that its
records have.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from instanter.errors import PreconditionError
from instanter.keeper.assessing import apply_assessment
from instanter.keeper.assessing_together import AssessEncoded, assess_together
from instanter.keeper.cases import apply_case_change
from instanter.keeper.commands import Apply, ApplyContext, CarryTogether, Command
from instanter.keeper.customers import apply_delete, apply_update
from instanter.keeper.decisions import apply_decisions
from instanter.keeper.events import (
    RecordEvents,
    apply_events,
    apply_events_together,
    record_together,
)
from instanter.keeper.fraud_rules import apply_rule_change
from instanter.keeper.hotlist_changes import apply_hotlist_change
from instanter.keeper.loading import apply_load_block
from instanter.keeper.outcomes import apply_outcomes
from instanter.keeper.publishing import apply_document
from instanter.keeper.records import RecordKind
from instanter.keeper.stock_alerts import apply_alert_change
from instanter.keeper.stock_movements import apply_stock_movements
from instanter.keeper.stock_ticking import apply_stock_tick
from instanter.keeper.ticking import apply_plan, apply_tick
from instanter.keeper.transaction_outcomes import apply_transaction_outcomes
from instanter.keeper.voiding import apply_void
from instanter.store.log.frames import LogRecord
from instanter.store.transaction import Transaction

APPLY: Final[dict[int, Apply]] = {
    RecordKind.UPDATE_CUSTOMER: apply_update,
    RecordKind.DELETE_CUSTOMER: apply_delete,
    RecordKind.PUBLISH_CATALOGUE: apply_document,
    RecordKind.PUBLISH_MODELS: apply_document,
    RecordKind.LOAD_BLOCK: apply_load_block,
    RecordKind.EVENTS: apply_events,
    RecordKind.DECISIONS: apply_decisions,
    RecordKind.OUTCOMES: apply_outcomes,
    RecordKind.TICK: apply_tick,
    RecordKind.PLAN: apply_plan,
    RecordKind.VOID: apply_void,
    RecordKind.ASSESSMENTS: apply_assessment,
    RecordKind.TRANSACTION_OUTCOMES: apply_transaction_outcomes,
    RecordKind.HOTLIST_CHANGES: apply_hotlist_change,
    RecordKind.CASE_CHANGES: apply_case_change,
    RecordKind.FRAUD_RULE_CHANGES: apply_rule_change,
    RecordKind.STOCK_MOVEMENTS: apply_stock_movements,
    RecordKind.STOCK_ALERT_CHANGES: apply_alert_change,
    RecordKind.STOCK_TICK: apply_stock_tick,
}

TOGETHER: Final[Mapping[type[Command[Any]], CarryTogether]] = {
    AssessEncoded: assess_together,
    RecordEvents: record_together,
}
"""By the form of a command, what carries out several of them at once."""

_ApplyTogether = Callable[[Transaction, Sequence[LogRecord], ApplyContext], object]

_APPLY_TOGETHER: Final[Mapping[int, _ApplyTogether]] = {RecordKind.EVENTS: apply_events_together}
"""From kinds to what has the effects of several records of that kind, one behind the other."""

_TOGETHER_SIZE_BYTES: Final = 1 << 18
"""So many bytes of bodies are applied together, and what exceeds them in the last."""


def apply_record(transaction: Transaction, record: LogRecord, context: ApplyContext) -> Any:
    """Apply one record and return what its command returns.

    A pure function of state and record: the same records, applied in their order to the same
    state, give the same state, bit for bit.

    Raises
    ------
    PreconditionError
        A newer version wrote the record.
    """
    apply = APPLY.get(record.kind)
    if apply is None:
        raise PreconditionError(
            f"record {record.sequence} of the log is of kind {record.kind}, which this version "
            "does not know; run the version of instanter that wrote it, or a newer one",
            reason="LOG_KIND_NEWER",
        )
    return apply(transaction, record, context)


def apply_records(
    transaction: Transaction, records: Iterable[LogRecord], context: ApplyContext
) -> None:
    """Apply records in their order, together what can be.

    Raises
    ------
    PreconditionError
        As `apply_record`.
    """
    for kind, run in groupby(records, attrgetter("kind")):
        together = _APPLY_TOGETHER.get(kind)
        if together is None:
            for record in run:
                apply_record(transaction, record, context)
            continue
        some: list[LogRecord] = []
        size_bytes = 0
        for record in run:
            some.append(record)
            size_bytes += len(record.body)
            if size_bytes >= _TOGETHER_SIZE_BYTES:
                together(transaction, some, context)
                some, size_bytes = [], 0
        if some:
            together(transaction, some, context)
