"""`FraudService.RecordTransactionOutcomes`: check, hand to the keeper, translate states."""

from concurrent.futures import Future
from typing import Final, cast

from instanter.errors import InvalidFieldError, place_field
from instanter.fraud_limits import TRANSACTION_OUTCOMES_BATCH_MAX
from instanter.keeper.commands import Submit
from instanter.keeper.labels import FoundKind
from instanter.keeper.transaction_outcomes import (
    OutcomesRecorded,
    RecordTransactionOutcomes,
    TransactionOutcome,
)
from instanter.rpc.batch_counts import check_count
from instanter.rpc.card_numbers import check_message, may_hold_card_data
from instanter.rpc.durability import read_relaxed
from instanter.rpc.front import CallContext, DeferredMethod
from instanter.rpc.names import TERMINALS, TRANSACTIONS, format_plain_name, parse_plain_name
from instanter.rpc.timestamps import read_time_ns
from instanter.v1 import fraud_service_pb2 as messages

_KINDS: Final = frozenset(map(int, FoundKind))
_KIND_NAMES: Final = ", ".join(messages.TransactionOutcomeKind.keys()[1:])


class TransactionOutcomeDesk:
    """Answers `RecordTransactionOutcomes`.

    Parameters
    ----------
    submit
        Carries out a command, as `Keeper.submit` does.
    """

    def __init__(self, *, submit: Submit) -> None:
        self._submit = submit

    def describe(self) -> DeferredMethod:
        """Return the method as fronts serve it."""
        return DeferredMethod(
            "RecordTransactionOutcomes",
            messages.RecordTransactionOutcomesRequest,
            messages.RecordTransactionOutcomesResponse,
            self.record,
            _translate,
            None,
        )

    def record(
        self, request: messages.RecordTransactionOutcomesRequest, context: CallContext
    ) -> Future[OutcomesRecorded]:
        """Queue the recording of outcomes.

        Raises
        ------
        InvalidFieldError
            There are none or too many, or one of them cannot be one; the future raises it for
            those too far in the future.
        """
        count = len(request.outcomes)
        check_count(
            "outcomes", count, TRANSACTION_OUTCOMES_BATCH_MAX, reason="OUTCOME_COUNT_INVALID"
        )
        if may_hold_card_data(
            (outcome.transaction for outcome in request.outcomes),
            [outcome.outcome_time.seconds for outcome in request.outcomes],
        ):
            check_message(request)
        relaxed = read_relaxed(request.durability)
        outcomes: list[TransactionOutcome] = []
        for outcome in request.outcomes:
            try:
                outcomes.append(_read_outcome(outcome))
            except InvalidFieldError as error:
                raise place_field(error, f"outcomes[{len(outcomes)}]") from None
        command = RecordTransactionOutcomes(tuple(outcomes))
        return self._submit(command, context.deadline_ns, relaxed=relaxed, weight=count)


def _read_outcome(outcome: messages.TransactionOutcome) -> TransactionOutcome:
    """Check one outcome and return what the keeper is told."""
    if outcome.kind not in _KINDS:
        raise InvalidFieldError(
            "kind", outcome.kind, f"one of {_KIND_NAMES}", reason="OUTCOME_KIND_INVALID"
        )
    time_ns = None
    if outcome.HasField("outcome_time"):
        time_ns = read_time_ns(
            outcome.outcome_time,
            "outcome_time",
            expected="a time since 1970, in seconds and 0 to 999999999 ns",
            reason="OUTCOME_TIME_INVALID",
            seconds_max=(1 << 33) - 1,
        )
    return TransactionOutcome(
        parse_plain_name(outcome.transaction, TRANSACTIONS, "transaction"),
        FoundKind(outcome.kind),
        time_ns,
    )


def _translate(recorded: OutcomesRecorded) -> messages.RecordTransactionOutcomesResponse:
    results = [
        messages.TransactionOutcomeResult(
            state=cast("messages.TransactionOutcomeState.ValueType", int(state))
        )
        for state in recorded.states
    ]
    suggestions = [
        messages.HotlistSuggestion(
            terminal=format_plain_name(TERMINALS, risk.terminal),
            fraud_rate=risk.fraud_rate,
            fraud_count=risk.fraud_count,
            label_count=risk.label_count,
        )
        for risk in recorded.suggestions
    ]
    return messages.RecordTransactionOutcomesResponse(
        results=results, hotlist_suggestions=suggestions
    )
