"""An explanation and a report as a server could send them, for tests of client and command."""

from google.protobuf.timestamp_pb2 import Timestamp

from instanter.v1 import decision_service_pb2 as messages

DECISION = "4be2c1d0a7f3956e0000000000010000"

EXPLANATION = messages.ExplainDecisionResponse(
    name=f"decisions/{DECISION}",
    customer="customers/c-17",
    decision_time=Timestamp(seconds=1_790_000_000, nanos=250_000_000),
    channel="web",
    placement="home",
    arm=messages.ARM_DECIDED,
    catalogue_revision=3,
    model_revision=2,
    profile_revision=5,
    offers=[
        messages.OfferExplanation(
            offer="offers/espresso",
            rank=1,
            propensity=0.25,
            context_weight=1.5,
            value_minor=400,
            lever=1.0,
            priority=1.5,
            contributions=[
                messages.Contribution(attribute="age", value="44 years", log_odds=0.75),
                messages.Contribution(attribute="plan", value="missing", log_odds=-0.125),
            ],
        ),
        messages.OfferExplanation(
            offer="offers/tea",
            propensity=0.125,
            context_weight=1.0,
            value_minor=200,
            lever=1.0,
            priority=0.25,
            stock_factor=0.5,
        ),
        messages.OfferExplanation(
            offer="offers/loan",
            exclusion_reason=messages.EXCLUSION_REASON_CAPPED,
            exclusion_detail="cap 'weekly' allows 3 in 7d for everything; 3 counted",
        ),
        messages.OfferExplanation(
            offer="offers/visa",
            exclusion_reason=messages.EXCLUSION_REASON_NOT_ELIGIBLE,
            exclusion_detail="eligibility `profile.age < 30` is false: profile.age is 44",
        ),
    ],
    runner_up=messages.RunnerUp(
        offer="offers/tea", propensity_needed=0.75, value_minor_needed=1_201, lever_needed=6.0
    ),
    models_unchanged=True,
)


def _estimate(value: float, low: float, high: float) -> messages.Estimate:
    return messages.Estimate(value=value, low=low, high=high, defined=True)


UPLIFT = messages.ReportUpliftResponse(
    currency="EUR",
    arms=[
        messages.ArmFigures(
            arm=messages.ARM_DECIDED,
            decision_count=10_000,
            presented_count=8_000,
            accepted_count=800,
            value_minor=320_000,
            acceptance=_estimate(0.1, 0.0936, 0.1068),
            value_per_decision=_estimate(32.0, 29.5, 34.5),
        ),
        messages.ArmFigures(
            arm=messages.ARM_HOLDOUT,
            decision_count=500,
            value_per_decision=_estimate(12.0, 8.0, 16.0),
        ),
    ],
    value_uplift_over_holdout=_estimate(20.0, 15.25, 24.75),
)
