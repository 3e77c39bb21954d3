"""Turns the contract's replies into plain Python values.

A number of an enumeration that this client does not know yet (the server is newer) becomes
UNSPECIFIED: an old client must go on working.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from instanter.client import reports, values
from instanter.v1 import attribute_value_pb2 as value_messages
from instanter.v1 import catalogue_service_pb2 as catalogue_messages
from instanter.v1 import customer_service_pb2 as customer_messages
from instanter.v1 import decision_service_pb2 as decision_messages
from instanter.v1 import event_service_pb2 as event_messages

_Enumeration = TypeVar("_Enumeration", bound=IntEnum)


def read_member(enumeration: type[_Enumeration], number: int) -> _Enumeration:
    """Return the member of a number, the unspecified one of a number that is not known here."""
    try:
        return enumeration(number)
    except ValueError:
        return enumeration(0)


def read_id(name: str) -> str:
    """Return the id within a resource name of one collection."""
    return name.partition("/")[2]


def read_instant(timestamp: Timestamp) -> datetime:
    """Return the aware datetime of a message."""
    return timestamp.ToDatetime(tzinfo=UTC)


def attribute_value(message: value_messages.AttributeValue) -> values.AttributeValue | None:
    """Return the plain value of a message, None when it holds none that this client knows."""
    match message.WhichOneof("kind"):
        case "number_value":
            return message.number_value
        case "category_value":
            return message.category_value
        case "flag_value":
            return message.flag_value
        case "instant_value":
            return read_instant(message.instant_value)
        case _:
            return None


def decision(message: decision_messages.DecideOffersResponse) -> values.Decision:
    """Return the plain form of one decision."""
    return values.Decision(
        id=read_id(message.decision),
        offers=tuple(_ranked_offer(offer) for offer in message.offers),
        no_offer_reason=read_member(values.NoOfferReason, message.no_offer_reason),
        profile_state=read_member(values.ProfileState, message.profile_state),
        in_holdout=message.in_holdout,
        catalogue_revision=message.catalogue_revision,
        model_revision=message.model_revision,
        took_us=message.took_us,
        exclusions=tuple(
            values.Exclusion(read_member(values.ExclusionReason, each.reason), each.offer_count)
            for each in message.exclusions
        ),
        arm=read_member(values.Arm, message.arm),
    )


def _ranked_offer(message: decision_messages.RankedOffer) -> values.RankedOffer:
    return values.RankedOffer(
        offer=read_id(message.offer),
        treatment=message.treatment,
        priority=message.priority,
        propensity=message.propensity,
        value_minor=message.value_minor,
        context_weight=message.context_weight,
        lever=message.lever,
        reasons=tuple(read_member(values.OfferReason, reason) for reason in message.reasons),
        choice_propensity=message.choice_propensity,
    )


def decisions(
    message: decision_messages.BatchDecideOffersResponse,
) -> tuple[values.Decision, ...]:
    """Return the plain form of a batch of decisions, in the order of the questions."""
    return tuple(decision(response) for response in message.responses)


def explanation(message: decision_messages.ExplainDecisionResponse) -> reports.Explanation:
    """Return the plain form of an explanation."""
    runner_up = message.runner_up
    return reports.Explanation(
        decision=read_id(message.name),
        customer=read_id(message.customer),
        decision_time=read_instant(message.decision_time),
        channel=message.channel,
        placement=message.placement,
        arm=read_member(values.Arm, message.arm),
        catalogue_revision=message.catalogue_revision,
        model_revision=message.model_revision,
        profile_revision=message.profile_revision,
        offers=tuple(_explained_offer(offer) for offer in message.offers),
        runner_up=reports.RunnerUp(
            read_id(runner_up.offer),
            runner_up.propensity_needed,
            runner_up.value_minor_needed,
            runner_up.lever_needed,
        )
        if message.HasField("runner_up")
        else None,
        models_unchanged=message.models_unchanged,
    )


def _explained_offer(message: decision_messages.OfferExplanation) -> reports.OfferExplanation:
    return reports.OfferExplanation(
        offer=read_id(message.offer),
        rank=message.rank,
        exclusion_reason=read_member(values.ExclusionReason, message.exclusion_reason),
        exclusion_detail=message.exclusion_detail,
        propensity=message.propensity,
        context_weight=message.context_weight,
        value_minor=message.value_minor,
        lever=message.lever,
        priority=message.priority,
        contributions=tuple(
            reports.Contribution(each.attribute, each.value, each.log_odds)
            for each in message.contributions
        ),
        stock_factor=message.stock_factor,
    )


def uplift(message: decision_messages.ReportUpliftResponse) -> reports.UpliftReport:
    """Return the plain form of an uplift report."""
    return reports.UpliftReport(
        arms=tuple(
            reports.ArmFigures(
                arm=read_member(values.Arm, arm.arm),
                decision_count=arm.decision_count,
                presented_count=arm.presented_count,
                accepted_count=arm.accepted_count,
                value_minor=arm.value_minor,
                acceptance=_estimate(arm.acceptance),
                value_per_decision=_estimate(arm.value_per_decision),
            )
            for arm in message.arms
        ),
        acceptance_uplift=_estimate(message.acceptance_uplift),
        value_uplift_over_random=_estimate(message.value_uplift_over_random),
        value_uplift_over_holdout=_estimate(message.value_uplift_over_holdout),
        currency=message.currency,
    )


def _estimate(message: decision_messages.Estimate) -> reports.Estimate | None:
    if not message.defined:
        return None
    return reports.Estimate(message.value, message.low, message.high)


def customer(message: customer_messages.Customer) -> values.Customer:
    """Return the plain form of one customer."""
    attributes = {}
    for name, held in message.attributes.items():
        value = attribute_value(held)
        if value is not None:
            attributes[name] = value
    return values.Customer(
        id=read_id(message.name),
        attributes=attributes,
        revision=message.revision,
        create_time=read_instant(message.create_time) if message.HasField("create_time") else None,
        update_time=read_instant(message.update_time) if message.HasField("update_time") else None,
    )


def customers(
    message: customer_messages.BatchGetCustomersResponse, names: Sequence[str]
) -> tuple[values.Customer | None, ...]:
    """Return one entry for each resource name asked for, None where there is no customer."""
    found = {each.name: customer(each) for each in message.customers}
    return tuple(found.get(name) for name in names)


def customer_page(message: customer_messages.ListCustomersResponse) -> values.CustomerPage:
    """Return the plain form of one page."""
    return values.CustomerPage(
        customers=tuple(customer(each) for each in message.customers),
        next_page_token=message.next_page_token,
        damaged_count=message.damaged_count,
    )


def event_counts(message: event_messages.RecordEventsResponse) -> values.EventCounts:
    """Return the plain form of what became of a batch of events."""
    return values.EventCounts(message.recorded_count, message.duplicate_count)


def outcome_states(
    message: decision_messages.RecordOutcomesResponse,
) -> tuple[values.OutcomeState, ...]:
    """Return whether each outcome counts."""
    return tuple(read_member(values.OutcomeState, result.state) for result in message.results)


def nothing(message: object) -> None:
    """Return None: the reply says no more than that it was done."""
    del message


def catalogue(message: catalogue_messages.Catalogue) -> values.Catalogue:
    """Return the plain form of the catalogue."""
    published = message.HasField("publish_time")
    return values.Catalogue(
        revision=message.revision,
        publish_time=read_instant(message.publish_time) if published else None,
        schema_revision=message.schema_revision,
        attribute_count=message.attribute_count,
        offer_count=message.offer_count,
        files={file.path: file.content for file in message.files},
    )


def publication(message: catalogue_messages.ApplyCatalogueResponse) -> values.Publication:
    """Return the plain form of what a publication changed."""
    return values.Publication(
        catalogue=catalogue(message.catalogue),
        changes=tuple(
            values.CatalogueChange(
                action=read_member(values.CatalogueAction, change.action),
                resource=change.resource,
                fields=tuple(
                    values.FieldChange(each.field, each.old_value, each.new_value)
                    for each in change.fields
                ),
            )
            for change in message.changes
        ),
        warnings=tuple(message.warnings),
    )
