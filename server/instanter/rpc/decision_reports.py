"""The reports of `DecisionService`: why a decision was made, and what deciding is worth."""

from collections.abc import Callable
from typing import Final, cast

from google.protobuf.timestamp_pb2 import Timestamp

from instanter.decision.explanation import Explanation, OfferExplanation
from instanter.decision.uplift import ArmReport, Estimate, report_uplift
from instanter.errors import InvalidFieldError, NotFoundError, nearest
from instanter.keeper.published import PublishedCatalogue
from instanter.rpc.front import BlockingMethod, CallContext, Lane
from instanter.rpc.names import (
    format_customer_name,
    format_decision_name,
    format_offer_name,
    parse_decision_name,
    parse_offer_name,
)
from instanter.rpc.timestamps import make_timestamp, read_time_ns
from instanter.store.arm_figures import read_figures
from instanter.store.transaction import Readable
from instanter.v1 import decision_service_pb2 as messages

REPORT_LANE: Final = Lane("decision-reports", threads=1, waiting_max=64)
"""One thread: what explains decisions belongs to one, and nobody reads two explanations at once."""

_DAY_NS: Final = 86_400_000_000_000
_DAY_MAX: Final = (1 << 32) - 1
_INT64_MAX: Final = (1 << 63) - 1


class DecisionReports:
    """Answers `ExplainDecision` and `ReportUplift`.

    Parameters
    ----------
    store
        Holds the figures of the arms.
    published
        The catalogue in force: its currency, its offers.
    explain
        Explains the decision with an id of 16 bytes; only ever called on `REPORT_LANE`.
    """

    def __init__(
        self,
        store: Readable,
        *,
        published: PublishedCatalogue,
        explain: Callable[[bytes], Explanation],
    ) -> None:
        self._store = store
        self._published = published
        self._explain = explain

    def describe(self) -> tuple[BlockingMethod, ...]:
        """Return the methods as fronts serve them."""
        return (
            BlockingMethod(
                "ExplainDecision",
                messages.ExplainDecisionRequest,
                messages.ExplainDecisionResponse,
                self.explain_decision,
                REPORT_LANE,
            ),
            BlockingMethod(
                "ReportUplift",
                messages.ReportUpliftRequest,
                messages.ReportUpliftResponse,
                self.report_uplift,
                REPORT_LANE,
            ),
        )

    def explain_decision(
        self, request: messages.ExplainDecisionRequest, context: CallContext
    ) -> messages.ExplainDecisionResponse:
        """Say why a decision was made.

        Raises
        ------
        InstanterError
            As `keeper/explaining.DecisionExplainer.explain`; or the name is not a decision's.
        """
        del context
        return _translate_explanation(self._explain(parse_decision_name(request.name, "name")))

    def report_uplift(
        self, request: messages.ReportUpliftRequest, context: CallContext
    ) -> messages.ReportUpliftResponse:
        """Report acceptance and value of each arm.

        Raises
        ------
        InvalidFieldError
            A time is out of range, or the end is before the start.
        NotFoundError
            There is no such offer and there never was one with figures.
        """
        del context
        day_from, day_to = _read_days(request)
        offer = parse_offer_name(request.offer, "offer") if request.offer else None
        with self._store.read() as transaction:
            catalogue = self._published.load(transaction)
            names = [o.name for o in catalogue.offers] if catalogue is not None else []
            rows = list(read_figures(transaction, day_from, day_to, offer))
        if offer is not None and offer not in names and all(row.offer != offer for row in rows):
            raise _unknown_offer(offer, names)
        report = report_uplift(rows, of_one_offer=offer is not None)
        return messages.ReportUpliftResponse(
            arms=[_translate_arm(arm) for arm in report.arms],
            acceptance_uplift=_translate_estimate(report.acceptance_uplift),
            value_uplift_over_random=_translate_estimate(report.value_uplift_over_random),
            value_uplift_over_holdout=_translate_estimate(report.value_uplift_over_holdout),
            currency="" if catalogue is None else catalogue.currency,
        )


def _read_days(request: messages.ReportUpliftRequest) -> tuple[int, int]:
    """Return the days asked for, since 1970, the first included, the last excluded."""
    day_from, day_to = 0, _DAY_MAX
    if request.HasField("start_time"):
        day_from = _read_ns(request.start_time, "start_time") // _DAY_NS
    if request.HasField("end_time"):
        day_to = -(-_read_ns(request.end_time, "end_time") // _DAY_NS)
        if request.HasField("start_time") and (
            request.end_time.ToNanoseconds() < request.start_time.ToNanoseconds()
        ):
            raise InvalidFieldError(
                "end_time",
                request.end_time.ToJsonString(),
                "a time after start_time",
                reason="TIME_RANGE_INVALID",
            )
    return day_from, day_to


def _read_ns(time: Timestamp, field: str) -> int:
    return read_time_ns(
        time, field, expected="a time from 1970 to 9999", reason="TIME_OUT_OF_RANGE"
    )


def _unknown_offer(offer: str, names: list[str]) -> NotFoundError:
    near = nearest(offer, names)
    hint = f"; did you mean '{near}'?" if near else ""
    return NotFoundError(
        f"offer: there is no offer '{offer}'{hint}", reason="OFFER_NOT_FOUND", field="offer"
    )


def _translate_arm(arm: ArmReport) -> messages.ArmFigures:
    return messages.ArmFigures(
        arm=cast("messages.Arm.ValueType", arm.arm),
        decision_count=arm.decisions,
        presented_count=arm.presented,
        accepted_count=arm.accepted,
        # The store keeps the sum in 16 bytes; the contract's field has 8 for it.
        value_minor=min(arm.value_minor, _INT64_MAX),
        acceptance=_translate_estimate(arm.acceptance),
        value_per_decision=_translate_estimate(arm.value_per_decision),
    )


def _translate_estimate(estimate: Estimate) -> messages.Estimate:
    return messages.Estimate(
        value=estimate.value, low=estimate.low, high=estimate.high, defined=estimate.defined
    )


def _translate_explanation(found: Explanation) -> messages.ExplainDecisionResponse:
    decision = found.decision
    response = messages.ExplainDecisionResponse(
        name=format_decision_name(decision.decision_id.hex()),
        customer=format_customer_name(decision.customer_id),
        decision_time=make_timestamp(decision.time_ns),
        channel=decision.channel,
        placement=decision.placement,
        arm=cast("messages.Arm.ValueType", decision.arm),
        catalogue_revision=decision.catalogue_revision,
        model_revision=decision.model_revision,
        profile_revision=decision.profile_revision,
        offers=[_translate_offer(offer) for offer in found.offers],
        models_unchanged=found.models_unchanged,
    )
    needed = found.runner_up
    if needed is not None:
        response.runner_up.offer = format_offer_name(needed.offer)
        response.runner_up.propensity_needed = needed.propensity_needed
        response.runner_up.value_minor_needed = needed.value_minor_needed
        response.runner_up.lever_needed = needed.lever_needed
    return response


def _translate_offer(offer: OfferExplanation) -> messages.OfferExplanation:
    return messages.OfferExplanation(
        offer=format_offer_name(offer.offer),
        rank=offer.rank,
        exclusion_reason=cast("messages.ExclusionReason.ValueType", offer.exclusion_reason),
        exclusion_detail=offer.exclusion_detail,
        propensity=offer.propensity,
        context_weight=offer.context_weight,
        value_minor=offer.value_minor,
        lever=offer.lever,
        priority=offer.priority,
        contributions=[
            messages.Contribution(attribute=c.attribute, value=c.value, log_odds=c.log_odds)
            for c in offer.contributions
        ],
        stock_factor=offer.stock_factor,
    )
