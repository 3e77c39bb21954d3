"""Every call of the client, described once: request, translation, deadline, repeatability.

The synchronous and the asynchronous client differ only in how they wait for what stands here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from google.protobuf import empty_pb2
from google.protobuf.message import Message

from instanter.client import replies, requests
from instanter.client.reports import Explanation, UpliftReport
from instanter.client.values import (
    AttributeValue,
    Catalogue,
    Customer,
    CustomerPage,
    Decision,
    DecisionRequest,
    Event,
    EventCounts,
    Outcome,
    OutcomeState,
    Publication,
)
from instanter.v1 import catalogue_service_pb2 as catalogue_messages
from instanter.v1 import customer_service_pb2 as customer_messages
from instanter.v1 import decision_service_pb2 as decision_messages
from instanter.v1 import event_service_pb2 as event_messages

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that calls may take, all attempts together, when the call itself does not say.

    Attributes
    ----------
    decision_s
        One decision. The server's 99th percentile is about 1 ms; 250 ms leave room for one lost
        packet (Linux retransmits after 200 ms at the earliest) or a reconnect, and still end
        before a page would be felt to hang. Later than that, show something else.
    batch_s
        A batch of decisions or of customers: 1000 of them are tens of milliseconds of work. Also
        an explanation, which reads the log, and a report.
    read_s
        One customer, one page, the catalogue.
    write_s
        A write, whose reply waits for the disk.
    publication_s
        A publication, which compiles the whole catalogue.
    """

    decision_s: float = 0.25
    batch_s: float = 5.0
    read_s: float = 2.0
    write_s: float = 5.0
    publication_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the contract: its path and how its reply is decoded."""

    path: str
    decode: Callable[[bytes], Any]


GET_CUSTOMER = Method(
    "/instanter.v1.CustomerService/GetCustomer", customer_messages.Customer.FromString
)
BATCH_GET_CUSTOMERS = Method(
    "/instanter.v1.CustomerService/BatchGetCustomers",
    customer_messages.BatchGetCustomersResponse.FromString,
)
UPDATE_CUSTOMER = Method(
    "/instanter.v1.CustomerService/UpdateCustomer", customer_messages.Customer.FromString
)
DELETE_CUSTOMER = Method("/instanter.v1.CustomerService/DeleteCustomer", empty_pb2.Empty.FromString)
LIST_CUSTOMERS = Method(
    "/instanter.v1.CustomerService/ListCustomers",
    customer_messages.ListCustomersResponse.FromString,
)
GET_CATALOGUE = Method(
    "/instanter.v1.CatalogueService/GetCatalogue", catalogue_messages.Catalogue.FromString
)
APPLY_CATALOGUE = Method(
    "/instanter.v1.CatalogueService/ApplyCatalogue",
    catalogue_messages.ApplyCatalogueResponse.FromString,
)
DECIDE_OFFERS = Method(
    "/instanter.v1.DecisionService/DecideOffers",
    decision_messages.DecideOffersResponse.FromString,
)
BATCH_DECIDE_OFFERS = Method(
    "/instanter.v1.DecisionService/BatchDecideOffers",
    decision_messages.BatchDecideOffersResponse.FromString,
)

EXPLAIN_DECISION = Method(
    "/instanter.v1.DecisionService/ExplainDecision",
    decision_messages.ExplainDecisionResponse.FromString,
)
REPORT_UPLIFT = Method(
    "/instanter.v1.DecisionService/ReportUplift",
    decision_messages.ReportUpliftResponse.FromString,
)
RECORD_EVENTS = Method(
    "/instanter.v1.EventService/RecordEvents", event_messages.RecordEventsResponse.FromString
)
RECORD_OUTCOMES = Method(
    "/instanter.v1.DecisionService/RecordOutcomes",
    decision_messages.RecordOutcomesResponse.FromString,
)

METHODS = (
    GET_CUSTOMER,
    BATCH_GET_CUSTOMERS,
    UPDATE_CUSTOMER,
    DELETE_CUSTOMER,
    LIST_CUSTOMERS,
    GET_CATALOGUE,
    APPLY_CATALOGUE,
    DECIDE_OFFERS,
    BATCH_DECIDE_OFFERS,
    EXPLAIN_DECISION,
    REPORT_UPLIFT,
    RECORD_EVENTS,
    RECORD_OUTCOMES,
)
"""All methods of the contract that this client calls."""


@dataclass(frozen=True, slots=True)
class Call(Generic[_Result]):
    """One call, ready to be sent.

    Attributes
    ----------
    method, request
        What is asked.
    translate
        Turns the reply into the result.
    repeatable
        Whether sending it twice has the effect of sending it once.
    timeout_s
        Seconds for all attempts together.
    """

    method: Method
    request: Message
    translate: Callable[[Any], _Result]
    repeatable: bool
    timeout_s: float


class Calls:
    """Makes calls from arguments.

    Parameters
    ----------
    timeouts
        Deadlines of calls that bring none of their own.
    """

    __slots__ = ("_timeouts",)

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts

    def decide_offers(self, question: DecisionRequest, timeout_s: float | None) -> Call[Decision]:
        """Return the call that decides for one customer."""
        return Call(
            DECIDE_OFFERS,
            requests.decide_offers(question),
            replies.decision,
            repeatable=True,
            timeout_s=self._timeouts.decision_s if timeout_s is None else timeout_s,
        )

    def decide_offers_batch(
        self, questions: Iterable[DecisionRequest], timeout_s: float | None
    ) -> Call[tuple[Decision, ...]]:
        """Return the call that decides for several customers."""
        return Call(
            BATCH_DECIDE_OFFERS,
            requests.decide_offers_batch(questions),
            replies.decisions,
            repeatable=True,
            timeout_s=self._timeouts.batch_s if timeout_s is None else timeout_s,
        )

    def explain_decision(self, decision: str, timeout_s: float | None) -> Call[Explanation]:
        """Return the call that explains a decision."""
        return Call(
            EXPLAIN_DECISION,
            requests.explain_decision(decision),
            replies.explanation,
            repeatable=True,
            timeout_s=self._timeouts.batch_s if timeout_s is None else timeout_s,
        )

    def report_uplift(
        self, start: datetime | None, end: datetime | None, offer: str, timeout_s: float | None
    ) -> Call[UpliftReport]:
        """Return the call that reports what deciding is worth."""
        return Call(
            REPORT_UPLIFT,
            requests.report_uplift(start, end, offer),
            replies.uplift,
            repeatable=True,
            timeout_s=self._timeouts.batch_s if timeout_s is None else timeout_s,
        )

    def get_customer(
        self, customer: str, attributes: Iterable[str] | None, timeout_s: float | None
    ) -> Call[Customer]:
        """Return the call that reads one customer."""
        return Call(
            GET_CUSTOMER,
            requests.get_customer(customer, attributes),
            replies.customer,
            repeatable=True,
            timeout_s=self._timeouts.read_s if timeout_s is None else timeout_s,
        )

    def get_customers(
        self, customers: Iterable[str], attributes: Iterable[str] | None, timeout_s: float | None
    ) -> Call[tuple[Customer | None, ...]]:
        """Return the call that reads several customers of one snapshot."""
        request = requests.get_customers(customers, attributes)
        return Call(
            BATCH_GET_CUSTOMERS,
            request,
            partial(replies.customers, names=request.names),
            repeatable=True,
            timeout_s=self._timeouts.batch_s if timeout_s is None else timeout_s,
        )

    def update_customer(
        self,
        customer: str,
        attributes: Mapping[str, AttributeValue | None],
        mask: Iterable[str] | None,
        *,
        allow_missing: bool,
        timeout_s: float | None,
    ) -> Call[Customer]:
        """Return the call that writes one customer; its request id makes retries one write."""
        return Call(
            UPDATE_CUSTOMER,
            requests.update_customer(customer, attributes, mask, allow_missing=allow_missing),
            replies.customer,
            repeatable=True,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def delete_customer(
        self, customer: str, *, allow_missing: bool, timeout_s: float | None
    ) -> Call[None]:
        """Return the call that deletes one customer; its request id makes retries one deletion."""
        return Call(
            DELETE_CUSTOMER,
            requests.delete_customer(customer, allow_missing=allow_missing),
            replies.nothing,
            repeatable=True,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def record_events(
        self, events: Iterable[Event], *, relaxed: bool, timeout_s: float | None
    ) -> Call[EventCounts]:
        """Return the call that records events; their ids make retries one recording."""
        return Call(
            RECORD_EVENTS,
            requests.record_events(events, relaxed=relaxed),
            replies.event_counts,
            repeatable=True,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def record_outcomes(
        self, outcomes: Iterable[Outcome], *, relaxed: bool, timeout_s: float | None
    ) -> Call[tuple[OutcomeState, ...]]:
        """Return the call that records outcomes; each counts once, however often it is sent."""
        return Call(
            RECORD_OUTCOMES,
            requests.record_outcomes(outcomes, relaxed=relaxed),
            replies.outcome_states,
            repeatable=True,
            timeout_s=self._timeouts.write_s if timeout_s is None else timeout_s,
        )

    def list_customers(
        self,
        page_size: int,
        page_token: str,
        attributes: Iterable[str] | None,
        timeout_s: float | None,
    ) -> Call[CustomerPage]:
        """Return the call that reads one page of customers."""
        return Call(
            LIST_CUSTOMERS,
            requests.list_customers(page_size, page_token, attributes),
            replies.customer_page,
            repeatable=True,
            timeout_s=self._timeouts.read_s if timeout_s is None else timeout_s,
        )

    def get_catalogue(self, *, with_files: bool, timeout_s: float | None) -> Call[Catalogue]:
        """Return the call that reads the catalogue."""
        return Call(
            GET_CATALOGUE,
            requests.get_catalogue(with_files=with_files),
            replies.catalogue,
            repeatable=True,
            timeout_s=self._timeouts.read_s if timeout_s is None else timeout_s,
        )

    def apply_catalogue(
        self,
        files: Mapping[str, str],
        *,
        validate_only: bool,
        expected_revision: int | None,
        timeout_s: float | None,
    ) -> Call[Publication]:
        """Return the call that publishes a catalogue.

        A publication is not repeatable: after a lost reply the second one would report that
        nothing changed, or a conflict with itself.
        """
        return Call(
            APPLY_CATALOGUE,
            requests.apply_catalogue(
                files, validate_only=validate_only, expected_revision=expected_revision
            ),
            replies.publication,
            repeatable=validate_only,
            timeout_s=self._timeouts.publication_s if timeout_s is None else timeout_s,
        )
