"""A small server of the contract for tests of the client and the command: all in memory.

It decides nothing: every decision has the offers `offer-1`, `offer-2` … as many as were wanted,
unless the channel is `quiet`. `interrupt` is called before each call and may abort it.
"""

# ruff: noqa: N802 - the methods of a servicer are named by the contract.

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from instanter.v1 import catalogue_service_pb2 as catalogue
from instanter.v1 import catalogue_service_pb2_grpc as catalogue_grpc
from instanter.v1 import customer_service_pb2 as customer
from instanter.v1 import customer_service_pb2_grpc as customer_grpc
from instanter.v1 import decision_service_pb2 as decision
from instanter.v1 import decision_service_pb2_grpc as decision_grpc
from instanter.v1 import event_service_pb2 as event
from instanter.v1 import event_service_pb2_grpc as event_grpc
from instanter.v1 import fraud_service_pb2 as fraud
from instanter.v1 import fraud_service_pb2_grpc as fraud_grpc
from instanter.v1 import stock_service_pb2 as stock
from instanter.v1 import stock_service_pb2_grpc as stock_grpc

Interrupt = Callable[[Any, Any], None]


def refuse(
    context: Any, code: str, message: str, reason: str = "", *details: Any, **metadata: str
) -> None:
    """End the call with a rich status."""
    packed = []
    for detail in (
        *([error_details_pb2.ErrorInfo(reason=reason, metadata=metadata)] if reason else ()),
        *details,
    ):
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    context.abort_with_status(
        rpc_status.to_status(
            status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=packed)
        )
    )


@dataclass
class ToyServer:
    """The state of the server, and what it was asked."""

    address: str = ""
    customers: dict[str, customer.Customer] = field(default_factory=dict)
    published: catalogue.Catalogue = field(default_factory=catalogue.Catalogue)
    events: dict[str, event.Event] = field(default_factory=dict)
    explanation: decision.ExplainDecisionResponse = field(
        default_factory=decision.ExplainDecisionResponse
    )
    decided: set[str] = field(default_factory=set)
    uplift: decision.ReportUpliftResponse = field(
        default_factory=lambda: decision.ReportUpliftResponse(
            arms=[decision.ArmFigures(arm=decision.ARM_DECIDED, decision_count=1)]
        )
    )
    interrupt: Interrupt | None = None
    seen: list[Any] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)

    def receive(self, request: Any, context: Any) -> None:
        self.seen.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.interrupt is not None:
            self.interrupt(request, context)


class ToyCustomers(customer_grpc.CustomerServiceServicer):
    def __init__(self, toy: ToyServer) -> None:
        self._toy = toy

    def GetCustomer(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        if request.name not in self._toy.customers:
            refuse(context, "NOT_FOUND", f"there is no '{request.name}'", "CUSTOMER_NOT_FOUND")
        return self._toy.customers[request.name]

    def BatchGetCustomers(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        held = self._toy.customers
        return customer.BatchGetCustomersResponse(
            customers=[held[name] for name in request.names if name in held],
            not_found_names=[name for name in request.names if name not in held],
        )

    def UpdateCustomer(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        name = request.customer.name
        if name not in self._toy.customers and not request.allow_missing:
            refuse(context, "NOT_FOUND", f"there is no '{name}'", "CUSTOMER_NOT_FOUND")
        held = self._toy.customers.setdefault(name, customer.Customer(name=name))
        for path in request.update_mask.paths or request.customer.attributes:
            attribute = path.removeprefix("attributes.")
            if attribute in request.customer.attributes:
                held.attributes[attribute].CopyFrom(request.customer.attributes[attribute])
            elif attribute in held.attributes:
                del held.attributes[attribute]
        held.revision += 1
        held.update_time.FromMilliseconds(1_700_000_000_000)
        return held

    def DeleteCustomer(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        if self._toy.customers.pop(request.name, None) is None and not request.allow_missing:
            refuse(context, "NOT_FOUND", f"there is no '{request.name}'", "CUSTOMER_NOT_FOUND")
        return empty_pb2.Empty()

    def ListCustomers(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        names = sorted(self._toy.customers)
        start = int(request.page_token or 0)
        end = start + (request.page_size or 100)
        return customer.ListCustomersResponse(
            customers=[self._toy.customers[name] for name in names[start:end]],
            next_page_token=str(end) if end < len(names) else "",
        )


class ToyFraud(fraud_grpc.FraudServiceServicer):
    def __init__(self, toy: ToyServer) -> None:
        self._toy = toy

    def AssessTransaction(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        return fraud.AssessTransactionResponse(disposition=fraud.DISPOSITION_APPROVE)


class ToyStockRoom(stock_grpc.StockServiceServicer):
    def __init__(self, toy: ToyServer) -> None:
        self._toy = toy

    def RecordStockMovements(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        return stock.RecordStockMovementsResponse(recorded_count=len(request.movements))

    def WatchStockAlerts(self, request: Any, context: Any) -> Iterator[Any]:
        self._toy.receive(request, context)
        alert = stock.StockAlert(
            name="stockAlerts/1",
            cause=stock.STOCK_ALERT_CAUSE_REORDER,
            position=stock.StockPosition(name="sites/berlin-1/positions/SKU1"),
        )
        yield stock.WatchStockAlertsResponse(open_alert=alert)
        progress = stock.StockAlertProgress(sequence=1)
        yield stock.WatchStockAlertsResponse(progress=progress, resume_token="t1")


class ToyCatalogue(catalogue_grpc.CatalogueServiceServicer):
    def __init__(self, toy: ToyServer) -> None:
        self._toy = toy

    def GetCatalogue(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        if not self._toy.published.revision:
            refuse(context, "NOT_FOUND", "nothing has been published yet", "CATALOGUE_NOT_FOUND")
        found = catalogue.Catalogue()
        found.CopyFrom(self._toy.published)
        if request.view != catalogue.CATALOGUE_VIEW_FULL:
            del found.files[:]
        return found

    def ApplyCatalogue(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        published = self._toy.published
        if request.HasField("expected_revision") and (
            request.expected_revision != published.revision
        ):
            refuse(
                context,
                "ABORTED",
                f"revision {published.revision} is in force, not {request.expected_revision}",
                "REVISION_CONFLICT",
            )
        self._check(request, context)
        old = {file.path: file.content for file in published.files}
        new = {file.path: file.content for file in request.files}
        if not request.validate_only and new != old:
            published.revision += 1
            published.name = "catalogue"
            published.publish_time.FromMilliseconds(1_700_000_000_000)
            del published.files[:]
            published.files.extend(request.files)
        basic = catalogue.Catalogue()
        basic.CopyFrom(published)
        del basic.files[:]
        return catalogue.ApplyCatalogueResponse(catalogue=basic, changes=self._changes(old, new))

    @staticmethod
    def _check(request: Any, context: Any) -> None:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=f"{file.path}:1: offers/latte",
                description="'mistake' is not right; expected anything else",
                reason="CATALOGUE_INVALID",
            )
            for file in request.files
            if "mistake" in file.content
        ]
        if violations:
            bad = error_details_pb2.BadRequest(field_violations=violations)
            refuse(context, "INVALID_ARGUMENT", "it has mistakes", "CATALOGUE_INVALID", bad)

    @staticmethod
    def _changes(old: dict[str, str], new: dict[str, str]) -> list[Any]:
        changes = []
        for path in sorted({*old, *new}):
            if old.get(path) == new.get(path):
                continue
            action = 1 if path not in old else 3 if path not in new else 2
            change = catalogue.CatalogueChange(action=action, resource=f"offers/{path}")
            if action == 2:
                change.fields.add(field="text", old_value=old[path], new_value=new[path])
            changes.append(change)
        return changes


class ToyDecisions(decision_grpc.DecisionServiceServicer):
    def __init__(self, toy: ToyServer) -> None:
        self._toy = toy

    def DecideOffers(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        return self._decide(request, context)

    def BatchDecideOffers(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        return decision.BatchDecideOffersResponse(
            responses=[self._decide(each, context) for each in request.requests]
        )

    def ExplainDecision(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        found = self._toy.explanation
        if request.name in self._toy.decided:
            found = decision.ExplainDecisionResponse(name=request.name)
            found.offers.add(offer="offers/offer-1", rank=1)
        if found.name != request.name:
            refuse(context, "NOT_FOUND", f"'{request.name}' was never made", "DECISION_NOT_FOUND")
        return found

    def RecordOutcomes(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        known = [f"decisions/{letter * 32}" for letter in "ab"]
        states = [
            decision.OUTCOME_STATE_RECORDED
            if each.decision in known
            else decision.OUTCOME_STATE_DECISION_UNKNOWN
            for each in request.outcomes
        ]
        return decision.RecordOutcomesResponse(
            results=[decision.OutcomeResult(state=state) for state in states]
        )

    def ReportUplift(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        return self._toy.uplift

    def _decide(self, request: Any, context: Any) -> Any:
        wanted = request.offer_count if request.HasField("offer_count") else 1
        if not 1 <= wanted <= 100:
            violation = error_details_pb2.BadRequest.FieldViolation(
                field="offer_count", description=f"'{wanted}' is not right; expected 1 to 100"
            )
            refuse(
                context,
                "INVALID_ARGUMENT",
                f"offer_count: '{wanted}' is not right; expected 1 to 100",
                "OFFER_COUNT_INVALID",
                error_details_pb2.BadRequest(field_violations=[violation]),
            )
        quiet = request.channel == "quiet"
        self._toy.decided.add(f"decisions/{request.request_id[:8]}")
        return decision.DecideOffersResponse(
            decision=f"decisions/{request.request_id[:8]}",
            offers=[] if quiet else [self._offer(number + 1) for number in range(wanted)],
            no_offer_reason=decision.NO_OFFER_REASON_NO_ELIGIBLE_OFFER if quiet else 0,
            profile_state=1 if request.customer in self._toy.customers else 2,
            catalogue_revision=3,
            took_us=41,
            exclusions=[decision.Exclusion(reason=3, offer_count=7)] if quiet else [],
        )

    @staticmethod
    def _offer(number: int) -> Any:
        return decision.RankedOffer(
            offer=f"offers/offer-{number}",
            treatment="banner",
            priority=1 / number,
            propensity=0.25,
            value_minor=400,
            context_weight=1.0,
            lever=1.0,
            reasons=[decision.OFFER_REASON_PRIOR],
        )


class ToyEvents(event_grpc.EventServiceServicer):
    def __init__(self, toy: ToyServer) -> None:
        self._toy = toy

    def RecordEvents(self, request: Any, context: Any) -> Any:
        self._toy.receive(request, context)
        known = self._toy.events
        before = len(known)
        for index, each in enumerate(request.events):
            if each.kind != "purchase":
                self._refuse(context, f"events[{index}].kind", "'purchase'", "EVENT_KIND_UNKNOWN")
            if known.get(each.event_id, each) != each:
                field, reason = f"events[{index}].event_id", "EVENT_ID_CONFLICT"
                refuse(context, "ALREADY_EXISTS", f"{field}: taken", reason, _violate(field))
        known.update({each.event_id: each for each in request.events})
        recorded = len(known) - before
        return event.RecordEventsResponse(
            recorded_count=recorded, duplicate_count=len(request.events) - recorded
        )

    @staticmethod
    def _refuse(context: Any, field: str, expected: str, reason: str) -> None:
        message = f"{field}: it is not right; expected {expected}"
        refuse(context, "INVALID_ARGUMENT", message, reason, _violate(field))


def _violate(field: str) -> Any:
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description="wrong")
    return error_details_pb2.BadRequest(field_violations=[violation])


@contextmanager
def toy_server(credentials: Any = None, address: str = "127.0.0.1:0") -> Iterator[ToyServer]:
    """Serve on a free port until the block ends."""
    toy = ToyServer()
    server = grpc.server(ThreadPoolExecutor(4))
    customer_grpc.add_CustomerServiceServicer_to_server(ToyCustomers(toy), server)
    catalogue_grpc.add_CatalogueServiceServicer_to_server(ToyCatalogue(toy), server)
    decision_grpc.add_DecisionServiceServicer_to_server(ToyDecisions(toy), server)
    event_grpc.add_EventServiceServicer_to_server(ToyEvents(toy), server)
    fraud_grpc.add_FraudServiceServicer_to_server(ToyFraud(toy), server)
    stock_grpc.add_StockServiceServicer_to_server(ToyStockRoom(toy), server)
    port = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    toy.address = f"localhost:{port}"
    server.start()
    try:
        yield toy
    finally:
        server.stop(None).wait()
