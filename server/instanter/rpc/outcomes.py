"""`DecisionService.RecordOutcomes`: check outcomes, hand them to the keeper, translate states."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final, Protocol, cast

from google.protobuf.timestamp_pb2 import Timestamp

from instanter.errors import InvalidFieldError, place_field
from instanter.keeper.attribution import OutcomeKind, OutcomeState
from instanter.keeper.outcomes import Outcome
from instanter.limits import BATCH_REQUESTS_MAX, OFFER_VALUE_MINOR_MAX
from instanter.rpc.batch_counts import check_count
from instanter.rpc.durability import read_relaxed
from instanter.rpc.front import CallContext, DeferredMethod
from instanter.rpc.names import parse_customer_name, parse_decision_name, parse_offer_name
from instanter.rpc.timestamps import read_time_ns
from instanter.v1 import decision_service_pb2 as messages

_SECONDS_MAX: Final = (1 << 33) - 1
"""In the year 2242; what is too far ahead of the clock the keeper knows."""

_KINDS: Final = frozenset(map(int, OutcomeKind))
_KIND_NAMES: Final = ", ".join(kind.name for kind in OutcomeKind)
_VALUED: Final = frozenset({OutcomeKind.ACCEPTED, OutcomeKind.CONVERTED})


class RecordOutcomes(Protocol):
    """Records outcomes, see `ResponseDesk.record_outcomes`."""

    def __call__(
        self,
        outcomes: tuple[Outcome, ...],
        deadline_ns: int | None = None,
        *,
        relaxed: bool = False,
    ) -> Future[tuple[OutcomeState, ...]]:
        """Queue outcomes; the future has their states."""
        ...


class OutcomeDesk:
    """Answers `RecordOutcomes`.

    Parameters
    ----------
    record
        Records outcomes.
    """

    def __init__(self, record: RecordOutcomes) -> None:
        self._record = record

    def describe(self) -> DeferredMethod:
        """Return the method as fronts serve it."""
        return DeferredMethod(
            "RecordOutcomes",
            messages.RecordOutcomesRequest,
            messages.RecordOutcomesResponse,
            self.record_outcomes,
            _translate_states,
            None,
        )

    def record_outcomes(
        self, request: messages.RecordOutcomesRequest, context: CallContext
    ) -> Future[tuple[OutcomeState, ...]]:
        """Queue the recording of outcomes.

        Raises
        ------
        InvalidFieldError
            There are none or too many outcomes, or one of them cannot be one; the future raises it
            for those too far in the future.
        """
        count = len(request.outcomes)
        check_count("outcomes", count, BATCH_REQUESTS_MAX, reason="OUTCOME_COUNT_INVALID")
        relaxed = read_relaxed(request.durability)
        outcomes: list[Outcome] = []
        for outcome in request.outcomes:
            try:
                outcomes.append(_read_outcome(outcome))
            except InvalidFieldError as error:
                raise place_field(error, f"outcomes[{len(outcomes)}]") from None
        return self._record(tuple(outcomes), context.deadline_ns, relaxed=relaxed)


def _read_outcome(outcome: messages.Outcome) -> Outcome:
    """Check one outcome and return what the keeper is told."""
    if outcome.kind not in _KINDS:
        raise InvalidFieldError(
            "kind", outcome.kind, f"one of {_KIND_NAMES}", reason="OUTCOME_KIND_INVALID"
        )
    kind = OutcomeKind(outcome.kind)
    offer = outcome.offer
    if not offer and kind != OutcomeKind.CONVERTED:
        raise InvalidFieldError(
            "offer",
            offer,
            "offers/{offer}; only a CONVERTED of a decision in the holdout has none",
            reason="OFFER_NAME_INVALID",
        )
    return Outcome(
        decision_id=parse_decision_name(outcome.decision, "decision"),
        customer_id=parse_customer_name(outcome.customer, "customer"),
        offer=parse_offer_name(offer, "offer") if offer else "",
        kind=kind,
        time_ns=_read_time_ns(outcome.outcome_time) if outcome.HasField("outcome_time") else None,
        value_minor=_read_value(outcome, kind),
    )


def _read_value(outcome: messages.Outcome, kind: OutcomeKind) -> int | None:
    if not outcome.HasField("value_minor"):
        return None
    value = outcome.value_minor
    if kind not in _VALUED:
        raise InvalidFieldError(
            "value_minor",
            value,
            f"no value: a {kind.name} has none, only CONVERTED and ACCEPTED do",
            reason="OUTCOME_VALUE_INVALID",
        )
    if not 0 <= value <= OFFER_VALUE_MINOR_MAX:
        raise InvalidFieldError(
            "value_minor", value, f"0 to {OFFER_VALUE_MINOR_MAX:,}", reason="OUTCOME_VALUE_INVALID"
        )
    return value


def _read_time_ns(time: Timestamp) -> int:
    """Return nanoseconds since 1970; the keeper knows what is too late or too early."""
    return read_time_ns(
        time,
        "outcome_time",
        expected="a time since 1970, in seconds and 0 to 999999999 ns",
        reason="OUTCOME_TIME_INVALID",
        seconds_max=_SECONDS_MAX,
    )


def _translate_states(states: Sequence[OutcomeState]) -> messages.RecordOutcomesResponse:
    results = [
        messages.OutcomeResult(state=cast("messages.OutcomeState.ValueType", int(state)))
        for state in states
    ]
    return messages.RecordOutcomesResponse(results=results)
