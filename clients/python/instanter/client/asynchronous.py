"""The asynchronous client. It belongs to the event loop that it was made in."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from instanter.client.async_fraud import AsyncFraud
from instanter.client.async_stock import AsyncStock
from instanter.client.calls import METHODS, Call, Calls, Method, Timeouts
from instanter.client.connection import Tls, open_async_channel
from instanter.client.errors import translate
from instanter.client.fraud_calls import FRAUD_METHODS, FraudCalls
from instanter.client.reports import Explanation, UpliftReport
from instanter.client.retrying import Attempts, RetryPolicy
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


class AsyncClient:
    """A connection to an Instanter server; use it as a context manager, or `close` it.

    Make it inside the running loop that will use it. Connecting happens at the first call and
    again whenever the connection was lost; calls may run at the same time.

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
        The check at the till, hotlists and cases: see `AsyncFraud`.
    stock
        Stock movements, positions and alerts: see `AsyncStock`.

    Examples
    --------
    >>> async with AsyncClient("localhost:7878") as client:  # doctest: +SKIP
    ...     decision = await client.decide_offers("c-17", "web", offer_count=3)
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
        self._channel = open_async_channel(address, tls, options)
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
        self.fraud = AsyncFraud(self._run, self._stream, FraudCalls(timeouts))
        self.stock = AsyncStock(self._run, self._stream, StockCalls(timeouts))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way fail. Closing twice is no error."""
        await self._channel.close()

    async def _run(self, call: Call[_Result]) -> _Result:
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
                reply = await invoke(
                    call.request, timeout=attempts.begin_s(), metadata=self._metadata
                )
            except grpc.aio.AioRpcError as error:
                failure = translate(error)
                pause_s = attempts.find_pause_s(failure)
                if pause_s is None:
                    raise failure from error
            else:
                return call.translate(reply)
            await asyncio.sleep(pause_s)

    async def _stream(
        self, method: Method, request: Any, timeout_s: float | None
    ) -> AsyncGenerator[Any, None]:
        invoke = self._channel.unary_stream(
            method.path, lambda message: message.SerializeToString(), method.decode
        )
        call = invoke(request, timeout=timeout_s, metadata=self._metadata)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error
        finally:
            call.cancel()

    async def decide_offers(
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

        Arguments, result and errors are those of `Client.decide_offers`.
        """
        question = DecisionRequest(
            customer, channel, placement, offer_count, context or {}, request_id
        )
        return await self._run(self._calls.decide_offers(question, timeout_s))

    async def decide_offers_batch(
        self, questions: Iterable[DecisionRequest], *, timeout_s: float | None = None
    ) -> tuple[Decision, ...]:
        """Decide for 1 to 1000 customers in one snapshot.

        Arguments, result and errors are those of `Client.decide_offers_batch`.
        """
        return await self._run(self._calls.decide_offers_batch(questions, timeout_s))

    async def explain_decision(
        self, decision: str, *, timeout_s: float | None = None
    ) -> Explanation:
        """Say why a decision of the past was made.

        Arguments, result and errors are those of `Client.explain_decision`.
        """
        return await self._run(self._calls.explain_decision(decision, timeout_s))

    async def report_uplift(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        offer: str = "",
        *,
        timeout_s: float | None = None,
    ) -> UpliftReport:
        """Report acceptance and value of each arm, with confidence intervals.

        Arguments, result and errors are those of `Client.report_uplift`.
        """
        return await self._run(self._calls.report_uplift(start, end, offer, timeout_s))

    async def get_customer(
        self,
        customer: str,
        attributes: Iterable[str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Customer:
        """Read one customer, with all attributes or only the named ones.

        Arguments, result and errors are those of `Client.get_customer`.
        """
        return await self._run(self._calls.get_customer(customer, attributes, timeout_s))

    async def get_customers(
        self,
        customers: Iterable[str],
        attributes: Iterable[str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> tuple[Customer | None, ...]:
        """Read 1 to 1000 customers of one snapshot; None where there is none.

        Arguments, result and errors are those of `Client.get_customers`.
        """
        return await self._run(self._calls.get_customers(customers, attributes, timeout_s))

    async def update_customer(
        self,
        customer: str,
        attributes: Mapping[str, AttributeValue | None],
        mask: Iterable[str] | None = None,
        *,
        allow_missing: bool = True,
        timeout_s: float | None = None,
    ) -> Customer:
        """Write attributes of one customer, all of them or none.

        Arguments, result and errors are those of `Client.update_customer`.
        """
        return await self._run(
            self._calls.update_customer(
                customer, attributes, mask, allow_missing=allow_missing, timeout_s=timeout_s
            )
        )

    async def delete_customer(
        self, customer: str, *, allow_missing: bool = False, timeout_s: float | None = None
    ) -> None:
        """Delete one customer and the whole profile.

        Arguments, result and errors are those of `Client.delete_customer`.
        """
        await self._run(
            self._calls.delete_customer(customer, allow_missing=allow_missing, timeout_s=timeout_s)
        )

    async def record_events(
        self,
        events: Iterable[Event],
        *,
        relaxed: bool = False,
        timeout_s: float | None = None,
    ) -> EventCounts:
        """Record what customers did, 1 to 1000 events, all of them or none.

        Arguments, result and errors are those of `Client.record_events`.
        """
        return await self._run(
            self._calls.record_events(events, relaxed=relaxed, timeout_s=timeout_s)
        )

    async def record_outcomes(
        self,
        outcomes: Iterable[Outcome],
        *,
        relaxed: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[OutcomeState, ...]:
        """Record what became of offers, 1 to 1000 outcomes; those that cannot count are told.

        Arguments, result and errors are those of `Client.record_outcomes`.
        """
        return await self._run(
            self._calls.record_outcomes(outcomes, relaxed=relaxed, timeout_s=timeout_s)
        )

    async def list_customer_page(
        self,
        page_size: int = 0,
        page_token: str = "",
        attributes: Iterable[str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> CustomerPage:
        """Read one page of customers; page size 0 takes the server's default of 100.

        Arguments, result and errors are those of `Client.list_customer_page`.
        """
        return await self._run(
            self._calls.list_customers(page_size, page_token, attributes, timeout_s)
        )

    async def list_customers(
        self,
        page_size: int = 0,
        attributes: Iterable[str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Customer]:
        """Iterate over all customers, reading page by page.

        Arguments, result and errors are those of `Client.list_customers`.
        """
        wanted = None if attributes is None else tuple(attributes)
        token = ""
        while True:
            page = await self.list_customer_page(page_size, token, wanted, timeout_s=timeout_s)
            for customer in page.customers:
                yield customer
            token = page.next_page_token
            if not token:
                return

    async def get_catalogue(
        self, *, with_files: bool = False, timeout_s: float | None = None
    ) -> Catalogue:
        """Read the published catalogue, with its files if wanted.

        Arguments, result and errors are those of `Client.get_catalogue`.
        """
        return await self._run(
            self._calls.get_catalogue(with_files=with_files, timeout_s=timeout_s)
        )

    async def apply_catalogue(
        self,
        files: Mapping[str, str],
        *,
        validate_only: bool = False,
        expected_revision: int | None = None,
        timeout_s: float | None = None,
    ) -> Publication:
        """Publish a catalogue: the whole of it, or with any mistake nothing.

        Arguments, result and errors are those of `Client.apply_catalogue`.
        """
        return await self._run(
            self._calls.apply_catalogue(
                files,
                validate_only=validate_only,
                expected_revision=expected_revision,
                timeout_s=timeout_s,
            )
        )
