"""Builds the contract's messages from plain Python values.

Only what the wire cannot carry is refused here (a type or a number without a place in the message);
whether a value is right is the server's to say, which knows the schema.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from numbers import Real
from typing import cast
from uuid import uuid4

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.client.errors import FieldViolation, InvalidRequestError
from instanter.client.values import AttributeValue, DecisionRequest, Event, Outcome
from instanter.v1 import attribute_value_pb2 as value_messages
from instanter.v1 import catalogue_service_pb2 as catalogue_messages
from instanter.v1 import customer_service_pb2 as customer_messages
from instanter.v1 import decision_service_pb2 as decision_messages
from instanter.v1 import durability_pb2 as durability_messages
from instanter.v1 import event_service_pb2 as event_messages

_CUSTOMERS = "customers/"
_DECISIONS = "decisions/"
_OFFERS = "offers/"
_WHOLE_PROFILE = ("*", "attributes")


def check_number(field: str, value: int | None, bits: int) -> None:
    """Refuse a whole number for which the message has no room; None is no number.

    The error does not repeat it: what was given in the wrong place may be a card number.

    Parameters
    ----------
    field
        Its path in the request, for the error.
    value
        What was given.
    bits
        Of the field, 32 or 64.

    Raises
    ------
    InvalidRequestError
        It has more bits.
    """
    most = (1 << (bits - 1)) - 1
    if value is None or -most - 1 <= value <= most:
        return
    expected = f"expected a whole number from {-most - 1:,} to {most:,}"
    raise InvalidRequestError(
        f"{field}: there is no room for such a number in a request; {expected}",
        code="INVALID_ARGUMENT",
        violations=(FieldViolation(field, expected),),
    )


def customer_name(customer: str) -> str:
    """Return the resource name of a customer given by id or by resource name.

    An id cannot hold a `/`, so the two never collide.
    """
    return customer if customer.startswith(_CUSTOMERS) else _CUSTOMERS + customer


def attribute_message(name: str, value: object) -> value_messages.AttributeValue:
    """Return the message of one value.

    Raises
    ------
    TypeError
        When no kind of attribute is held by values of this type.
    ValueError
        When a datetime has no time zone: which instant it means is anybody's guess.
    """
    if isinstance(value, str):
        return value_messages.AttributeValue(category_value=value)
    if isinstance(value, bool):
        return value_messages.AttributeValue(flag_value=value)
    if isinstance(value, Real):
        return value_messages.AttributeValue(number_value=float(value))
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(
                f"{name}: {value.isoformat()} has no time zone; expected an aware datetime, "
                "datetime.now(timezone.utc) for example"
            )
        instant = Timestamp()
        instant.FromDatetime(value)
        return value_messages.AttributeValue(instant_value=instant)
    raise TypeError(
        f"{name}: {value!r} is a {type(value).__name__}; expected a float, int, str, bool or "
        "aware datetime"
    )


def attribute_messages(
    attributes: Mapping[str, AttributeValue | None],
) -> dict[str, value_messages.AttributeValue]:
    """Return the messages of the values that are not None; None means missing."""
    return {
        name: attribute_message(name, value)
        for name, value in attributes.items()
        if value is not None
    }


def decide_offers(question: DecisionRequest) -> decision_messages.DecideOffersRequest:
    """Return the message of one question.

    A question without a request id gets a fresh one, so that a retry of it is the same decision.
    """
    check_number("offer_count", question.offer_count, 32)
    return decision_messages.DecideOffersRequest(
        customer=customer_name(question.customer),
        channel=question.channel,
        placement=question.placement,
        offer_count=question.offer_count,
        context=attribute_messages(question.context),
        request_id=uuid4().hex if question.request_id is None else question.request_id,
    )


def decide_offers_batch(
    questions: Iterable[DecisionRequest],
) -> decision_messages.BatchDecideOffersRequest:
    """Return the message of several questions."""
    return decision_messages.BatchDecideOffersRequest(
        requests=[decide_offers(question) for question in questions]
    )


def explain_decision(decision: str) -> decision_messages.ExplainDecisionRequest:
    """Return the message that asks for an explanation; the decision by id or resource name."""
    name = decision if decision.startswith(_DECISIONS) else _DECISIONS + decision
    return decision_messages.ExplainDecisionRequest(name=name)


def report_uplift(
    start: datetime | None, end: datetime | None, offer: str
) -> decision_messages.ReportUpliftRequest:
    """Return the message that asks for the uplift report; an empty offer means all together."""
    if offer and not offer.startswith(_OFFERS):
        offer = _OFFERS + offer
    return decision_messages.ReportUpliftRequest(
        start_time=_timestamp("start", start), end_time=_timestamp("end", end), offer=offer
    )


def _timestamp(name: str, moment: datetime | None) -> Timestamp | None:
    return None if moment is None else attribute_message(name, moment).instant_value


def attribute_mask(names: Iterable[str] | None) -> FieldMask | None:
    """Return the mask that names these attributes; None stays None.

    `*` and `attributes` mean the whole profile; paths that begin with `attributes.` are taken as
    they are.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError(f"mask: {names!r} is a text; expected a list of attribute names")
    return FieldMask(
        paths=[
            name
            if name in _WHOLE_PROFILE or name.startswith("attributes.")
            else f"attributes.{name}"
            for name in names
        ]
    )


def get_customer(
    customer: str, attributes: Iterable[str] | None
) -> customer_messages.GetCustomerRequest:
    """Return the message that reads one customer."""
    return customer_messages.GetCustomerRequest(
        name=customer_name(customer), read_mask=attribute_mask(attributes)
    )


def get_customers(
    customers: Iterable[str], attributes: Iterable[str] | None
) -> customer_messages.BatchGetCustomersRequest:
    """Return the message that reads several customers of one snapshot."""
    return customer_messages.BatchGetCustomersRequest(
        names=[customer_name(customer) for customer in customers],
        read_mask=attribute_mask(attributes),
    )


def update_customer(
    customer: str,
    attributes: Mapping[str, AttributeValue | None],
    mask: Iterable[str] | None,
    *,
    allow_missing: bool,
) -> customer_messages.UpdateCustomerRequest:
    """Return the message that writes attributes; an attribute given as None becomes missing.

    The contract makes missing what the mask names and the customer does not carry, so a None
    needs a mask, and without one of the caller's the mask names exactly what was given.
    """
    if mask is None and any(value is None for value in attributes.values()):
        mask = attributes
    return customer_messages.UpdateCustomerRequest(
        customer=customer_messages.Customer(
            name=customer_name(customer), attributes=attribute_messages(attributes)
        ),
        update_mask=attribute_mask(mask),
        allow_missing=allow_missing,
        request_id=uuid4().hex,
    )


def delete_customer(
    customer: str, *, allow_missing: bool
) -> customer_messages.DeleteCustomerRequest:
    """Return the message that deletes one customer."""
    return customer_messages.DeleteCustomerRequest(
        name=customer_name(customer), allow_missing=allow_missing, request_id=uuid4().hex
    )


def record_events(events: Iterable[Event], *, relaxed: bool) -> event_messages.RecordEventsRequest:
    """Return the message that records events; one without an id gets a fresh one."""
    durability = (
        durability_messages.DURABILITY_RELAXED
        if relaxed
        else durability_messages.DURABILITY_DURABLE
    )
    return event_messages.RecordEventsRequest(
        events=[_event(event) for event in events], durability=durability
    )


def _event(event: Event) -> event_messages.Event:
    return event_messages.Event(
        event_id=uuid4().hex if event.event_id is None else event.event_id,
        customer=customer_name(event.customer),
        kind=event.kind,
        event_time=_timestamp("event_time", event.event_time),
        fields=attribute_messages(event.fields),
    )


def record_outcomes(
    outcomes: Iterable[Outcome], *, relaxed: bool
) -> decision_messages.RecordOutcomesRequest:
    """Return the message that records outcomes."""
    durability = (
        durability_messages.DURABILITY_RELAXED
        if relaxed
        else durability_messages.DURABILITY_DURABLE
    )
    return decision_messages.RecordOutcomesRequest(
        outcomes=[_outcome(outcome, index) for index, outcome in enumerate(outcomes)],
        durability=durability,
    )


def _outcome(outcome: Outcome, index: int) -> decision_messages.Outcome:
    check_number(f"outcomes[{index}].value_minor", outcome.value_minor, 64)
    decision, offer = outcome.decision, outcome.offer
    return decision_messages.Outcome(
        decision=decision if decision.startswith(_DECISIONS) else _DECISIONS + decision,
        customer=customer_name(outcome.customer),
        offer=_OFFERS + offer if offer and not offer.startswith(_OFFERS) else offer,
        kind=cast("decision_messages.OutcomeKind.ValueType", int(outcome.kind)),
        outcome_time=_timestamp("outcome_time", outcome.outcome_time),
        value_minor=outcome.value_minor,
    )


def list_customers(
    page_size: int, page_token: str, attributes: Iterable[str] | None
) -> customer_messages.ListCustomersRequest:
    """Return the message that reads one page of customers."""
    check_number("page_size", page_size, 32)
    return customer_messages.ListCustomersRequest(
        page_size=page_size, page_token=page_token, read_mask=attribute_mask(attributes)
    )


def get_catalogue(*, with_files: bool) -> catalogue_messages.GetCatalogueRequest:
    """Return the message that reads the catalogue."""
    view = (
        catalogue_messages.CATALOGUE_VIEW_FULL
        if with_files
        else catalogue_messages.CATALOGUE_VIEW_BASIC
    )
    return catalogue_messages.GetCatalogueRequest(name="catalogue", view=view)


def apply_catalogue(
    files: Mapping[str, str], *, validate_only: bool, expected_revision: int | None
) -> catalogue_messages.ApplyCatalogueRequest:
    """Return the message that publishes a catalogue, a text by path."""
    check_number("expected_revision", expected_revision, 64)
    return catalogue_messages.ApplyCatalogueRequest(
        files=[
            catalogue_messages.CatalogueFile(path=path, content=content)
            for path, content in files.items()
        ],
        validate_only=validate_only,
        expected_revision=expected_revision,
    )
