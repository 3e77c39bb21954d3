"""The synchronous client. It may be shared by threads."""

import random
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from instanter.client.calls import METHODS, Call, Calls, Method, Timeouts
from instanter.client.connection import Tls, open_channel
from instanter.client.errors import translate
from instanter.client.fraud import Fraud
from instanter.client.fraud_calls import FRAUD_METHODS, FraudCalls
from instanter.client.reports import Explanation, UpliftReport
from instanter.client.retrying import Attempts, RetryPolicy
from instanter.client.stock import Stock
from instanter.client.stock_calls import STOCK_METHODS, StockCalls
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

_Result = TypeVar("_Result")


class Client:
    """A connection to an Instanter server; use it as a context manager, or `close` it.

    Connecting happens at the first call and again whenever the connection was lost. Threads may
    share a client. After a fork the child makes its own.

    Parameters
    ----------
    address
        `host:port`, or `unix:/path` of a Unix socket.
    tls
        How to encrypt; None sends plain text.
    timeouts
        Deadlines of calls that bring none of their own.
    retries
        How often calls that change nothing when repeated are tried again while the server is
        unavailable.
    metadata
        Headers sent with every call, an authorization token for example.
    options
        Further options of the gRPC channel.

    Attributes
    ----------
    fraud
        The check at the till, hotlists and cases: see `Fraud`.
    stock
        Stock movements, positions and alerts: see `Stock`.

    Examples
    --------
    >>> with Client("localhost:7878") as client:  # doctest: +SKIP
    ...     decision = client.decide_offers("c-17", "web", offer_count=3)
    """

    def __init__(
        self,
        address: str,
        *,
        tls: Tls | None = None,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._channel = open_channel(address, tls, options)
        timeouts = timeouts or Timeouts()
        self._calls = Calls(timeouts)
        self._retries = retries or RetryPolicy()
        self._metadata = tuple(metadata) or None
        self._invokes = {
            method: self._channel.unary_unary(
                method.path, lambda request: request.SerializeToString(), method.decode
            )
            for method in (*METHODS, *FRAUD_METHODS, *STOCK_METHODS)
        }
        self.fraud = Fraud(self._run, self._stream, FraudCalls(timeouts))
        self.stock = Stock(self._run, self._stream, StockCalls(timeouts))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way fail. Closing twice is no error."""
        self._channel.close()

    def _run(self, call: Call[_Result]) -> _Result:
        attempts = Attempts(
            self._retries,
            repeatable=call.repeatable,
            timeout_s=call.timeout_s,
            monotonic_s=time.monotonic,
            draw=random.random,
        )
        invoke = self._invokes[call.method]
        while True:
            try:
                reply = invoke(call.request, timeout=attempts.begin_s(), metadata=self._metadata)
            except grpc.RpcError as error:
                failure = translate(error)
                pause_s = attempts.find_pause_s(failure)
                if pause_s is None:
                    raise failure from error
            else:
                return call.translate(reply)
            time.sleep(pause_s)

    def _stream(
        self, method: Method, request: Any, timeout_s: float | None
    ) -> Generator[Any, None, None]:
        invoke = self._channel.unary_stream(
            method.path, lambda message: message.SerializeToString(), method.decode
        )
        call = invoke(request, timeout=timeout_s, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise translate(error) from error
        finally:
            call.cancel()

    def decide_offers(
        self,
        customer: str,
        channel: str,
        placement: str = "",
        offer_count: int = 1,
        context: Mapping[str, AttributeValue | None] | None = None,
        request_id: str | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Decision:
        """Decide which offers are right for a customer here and now.

        Parameters
        ----------
        customer
            Id or resource name; need not exist.
        channel, placement
            Where the offers will be shown, as declared in the catalogue.
        offer_count
            How many are wanted, 1 to 100.
        context
            What is true of this moment only, by context attribute.
        request_id
            Makes a retry of yours recognisable; by default each call is a decision of its own,
            and only the client's own retries share its id.
        timeout_s
            Seconds for all attempts together; None takes `Timeouts.decision_s`.

        Raises
        ------
        ClientError
            Or one of its kinds. That there is no offer is no error.
        """
        question = DecisionRequest(
            customer, channel, placement, offer_count, context or {}, request_id
        )
        return self._run(self._calls.decide_offers(question, timeout_s))

    def decide_offers_batch(
        self, questions: Iterable[DecisionRequest], *, timeout_s: float | None = None
    ) -> tuple[Decision, ...]:
        """Decide for 1 to 1000 customers in one snapshot; answers come in the questions' order.

        Raises
        ------
        ClientError
            Or one of its kinds. One bad question refuses the whole batch and is named.
        """
        return self._run(self._calls.decide_offers_batch(questions, timeout_s))

    def explain_decision(self, decision: str, *, timeout_s: float | None = None) -> Explanation:
        """Say why a decision of the past was made, decided anew with the inputs of that moment.

        Parameters
        ----------
        decision
            Id or resource name, as the decision had it.
        timeout_s
            Seconds for all attempts together; None takes `Timeouts.batch_s`.

        Raises
        ------
        NotFoundError
            When it was never made, or the server does not know it any longer.
        PreconditionError
            When the profile or catalogue of that moment is no longer kept.
        ClientError
            Or another of its kinds.
        """
        return self._run(self._calls.explain_decision(decision, timeout_s))

    def report_uplift(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        offer: str = "",
        *,
        timeout_s: float | None = None,
    ) -> UpliftReport:
        """Report acceptance and value of each arm, with confidence intervals.

        Parameters
        ----------
        start, end
            Decisions from the day of `start` to the day of `end`, both included, in UTC; aware
            datetimes. None for all.
        offer
            Id or resource name of the only offer to report; empty for all together.
        timeout_s
            Seconds for all attempts together; None takes `Timeouts.batch_s`.

        Raises
        ------
        NotFoundError
            When there is no such offer.
        ClientError
            Or another of its kinds.
        """
        return self._run(self._calls.report_uplift(start, end, offer, timeout_s))

    def get_customer(
        self,
        customer: str,
        attributes: Iterable[str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Customer:
        """Read one customer, with all attributes or only the named ones.

        Raises
        ------
        NotFoundError
            When there is none of that name.
        ClientError
            Or another of its kinds.
        """
        return self._run(self._calls.get_customer(customer, attributes, timeout_s))

    def get_customers(
        self,
        customers: Iterable[str],
        attributes: Iterable[str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> tuple[Customer | None, ...]:
        """Read 1 to 1000 customers of one snapshot, in the order asked; None where there is none.

        Raises
        ------
        ClientError
            Or one of its kinds.
        """
        return self._run(self._calls.get_customers(customers, attributes, timeout_s))

    def update_customer(
        self,
        customer: str,
        attributes: Mapping[str, AttributeValue | None],
        mask: Iterable[str] | None = None,
        *,
        allow_missing: bool = True,
        timeout_s: float | None = None,
    ) -> Customer:
        """Write attributes of one customer, all of them or none; it is on disk on return.

        Parameters
        ----------
        customer
            Id or resource name.
        attributes
            Values by attribute name; None makes an attribute missing.
        mask
            Names of the attributes to write, those it names and `attributes` lacks become
            missing; `["*"]` replaces the whole profile. None writes exactly what is given.
        allow_missing
            Create the customer when there is none.
        timeout_s
            Seconds for all attempts together; None takes `Timeouts.write_s`.

        Raises
        ------
        InvalidRequestError
            When an attribute or a value is wrong; nothing was written.
        NotFoundError
            When there is no such customer and `allow_missing` is false.
        ClientError
            Or another of its kinds.
        """
        return self._run(
            self._calls.update_customer(
                customer, attributes, mask, allow_missing=allow_missing, timeout_s=timeout_s
            )
        )

    def delete_customer(
        self, customer: str, *, allow_missing: bool = False, timeout_s: float | None = None
    ) -> None:
        """Delete one customer and the whole profile.

        Raises
        ------
        NotFoundError
            When there is none and `allow_missing` is false.
        ClientError
            Or another of its kinds.
        """
        self._run(
            self._calls.delete_customer(customer, allow_missing=allow_missing, timeout_s=timeout_s)
        )

    def record_events(
        self,
        events: Iterable[Event],
        *,
        relaxed: bool = False,
        timeout_s: float | None = None,
    ) -> EventCounts:
        """Record what customers did, 1 to 1000 events, all of them or none.

        The next decision of each customer, on every worker, knows of it.

        Parameters
        ----------
        events
            In any order; late ones count as if they had come in time.
        relaxed
            Return when a killed server would not lose them, but a power cut might: for clicks.
        timeout_s
            Seconds for all attempts together; None takes `Timeouts.write_s`.

        Raises
        ------
        InvalidRequestError
            When an event is wrong, the violation names its index; nothing was recorded.
        ConflictError
            When the id of an event was recorded with another content; nothing was recorded.
        ClientError
            Or another of its kinds.
        """
        return self._run(self._calls.record_events(events, relaxed=relaxed, timeout_s=timeout_s))

    def record_outcomes(
        self,
        outcomes: Iterable[Outcome],
        *,
        relaxed: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[OutcomeState, ...]:
        """Record what became of offers, 1 to 1000 outcomes; those that cannot count are told.

        They change contact histories and models, and so the next decision.

        Parameters
        ----------
        outcomes
            In any order; late ones count too, each one once.
        relaxed
            Return when a killed server would not lose them, but a power cut might.
        timeout_s
            Seconds for all attempts together; None takes `Timeouts.write_s`.

        Returns
        -------
        tuple of OutcomeState
            Whether each counts, in order. DUPLICATE also stands for one that an attempt before
            recorded whose answer was lost.

        Raises
        ------
        InvalidRequestError
            When an outcome is wrong, the violation names its index; nothing was recorded.
        ClientError
            Or another of its kinds.
        """
        return self._run(
            self._calls.record_outcomes(outcomes, relaxed=relaxed, timeout_s=timeout_s)
        )

    def list_customer_page(
        self,
        page_size: int = 0,
        page_token: str = "",
        attributes: Iterable[str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> CustomerPage:
        """Read one page of customers; page size 0 takes the server's default of 100.

        Raises
        ------
        ClientError
            Or one of its kinds.
        """
        return self._run(self._calls.list_customers(page_size, page_token, attributes, timeout_s))

    def list_customers(
        self,
        page_size: int = 0,
        attributes: Iterable[str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Iterator[Customer]:
        """Iterate over all customers in the byte order of their ids, reading page by page.

        Damaged records are left out; `list_customer_page` counts them. The deadline holds for
        each page.

        Raises
        ------
        ClientError
            Or one of its kinds.
        """
        wanted = None if attributes is None else tuple(attributes)
        token = ""
        while True:
            page = self.list_customer_page(page_size, token, wanted, timeout_s=timeout_s)
            yield from page.customers
            token = page.next_page_token
            if not token:
                return

    def get_catalogue(
        self, *, with_files: bool = False, timeout_s: float | None = None
    ) -> Catalogue:
        """Read the published catalogue, with its files if wanted.

        Raises
        ------
        NotFoundError
            Before the first publication.
        ClientError
            Or another of its kinds.
        """
        return self._run(self._calls.get_catalogue(with_files=with_files, timeout_s=timeout_s))

    def apply_catalogue(
        self,
        files: Mapping[str, str],
        *,
        validate_only: bool = False,
        expected_revision: int | None = None,
        timeout_s: float | None = None,
    ) -> Publication:
        """Publish a catalogue: the whole of it, or with any mistake nothing.

        Parameters
        ----------
        files
            Text by path below the catalogue's folder, `offers/espresso.yaml` for example.
        validate_only
            Compare and validate, but publish nothing.
        expected_revision
            Publish only on top of this revision; 0 means only as the first; None on any.
        timeout_s
            Seconds; None takes `Timeouts.publication_s`.

        Raises
        ------
        CatalogueInvalidError
            When there are mistakes, one violation each.
        ConflictError
            When another revision is in force.
        ClientError
            Or another of its kinds.
        """
        return self._run(
            self._calls.apply_catalogue(
                files,
                validate_only=validate_only,
                expected_revision=expected_revision,
                timeout_s=timeout_s,
            )
        )
