"""A small shop for the tests of the contract, and the server that serves it in this process."""

import asyncio
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import uvloop

from instanter.clock import Clock, SystemClock
from instanter.decision.engine import DecisionEngine
from instanter.decision.published import load_tables
from instanter.decision.reservations import Reservations
from instanter.events_log import DamagedRecords, make_events_log
from instanter.keeper.compiler import LocalCompiler
from instanter.keeper.explaining import DecisionExplainer
from instanter.keeper.opening import KeptStore
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.publishing import CataloguePublisher
from instanter.metrics import Metrics
from instanter.rpc.alert_hub import AlertHub
from instanter.rpc.alert_source import AlertSource
from instanter.rpc.backtests import BacktestDesk
from instanter.rpc.catalogue import CatalogueService
from instanter.rpc.customers import READ_LANE, CustomerService
from instanter.rpc.decision_reports import DecisionReports
from instanter.rpc.decisions import DecisionService
from instanter.rpc.events import EventService
from instanter.rpc.fast.front import FastFront
from instanter.rpc.fraud import describe_fraud_service
from instanter.rpc.front import Front, Service
from instanter.rpc.grpcio_front import GrpcioFront
from instanter.rpc.hotlists import HotlistService
from instanter.rpc.outcomes import OutcomeDesk
from instanter.rpc.resume_tokens import ResumeTokens
from instanter.rpc.stock import describe_stock_service
from instanter.store.secret import load_secret
from instanter.v1.catalogue_service_pb2 import (
    ApplyCatalogueRequest,
    ApplyCatalogueResponse,
    CatalogueFile,
)
from instanter.v1.catalogue_service_pb2_grpc import CatalogueServiceStub
from instanter.v1.customer_service_pb2_grpc import CustomerServiceStub
from instanter.v1.decision_service_pb2_grpc import DecisionServiceStub
from instanter.v1.event_service_pb2_grpc import EventServiceStub
from instanter.v1.fraud_service_pb2_grpc import FraudServiceStub
from instanter.v1.hotlist_service_pb2_grpc import HotlistServiceStub
from instanter.v1.stock_service_pb2_grpc import StockServiceStub

SHOP = {
    "shop.yaml": """\
currency: EUR
channels:
  web: [home_hero, basket]
  store: [till]
holdout: {rate: 0.0}
attributes:
  - {name: age, kind: number, unit: years, range: [0, 120]}
  - {name: income_minor, kind: number}
  - {name: segment, kind: category, values: [student, worker, retired]}
  - {name: opted_in, kind: flag}
  - {name: last_visit, kind: instant}
  - {name: basket_minor, kind: number, source: context, range: [0, 10000000]}
  - {name: weather, kind: category, source: context, values: [sunny, rainy]}
  - {name: hurry, kind: flag, source: context}
  - {name: opened, kind: instant, source: context}
  - {name: since_visit, kind: number, unit: s, source: derived,
     derive: {event: visit, function: time_since_last, window: 30d}}
events:
  - {name: visit}
""",
    "offers.yaml": """\
offers:
  - name: espresso
    treatments: [{channel: web, name: banner, content: e1}, {channel: store, content: e2}]
    value_minor: 250
    prior_propensity: 0.2
    eligibility: profile.age >= 18.0
  - name: tea
    treatments: [{channel: web, content: t1}]
    value_minor: 200
    prior_propensity: 0.1
  - name: umbrella
    treatments: [{channel: web, placements: [basket], content: u1}]
    value_minor: 1500
    prior_propensity: 0.005
    context_weights: [{when: "context.weather == 'rainy'", weight: 10}]
""",
}

FrontMaker = Callable[..., Front]
FRONTS: dict[str, FrontMaker] = {"fast": FastFront, "grpcio": GrpcioFront}
"""Every front passes the same tests; another one is one more row."""


@dataclass
class Server:
    """A server within the test's process, on a loop and a thread of its own."""

    port: int
    front: Front
    loop: asyncio.AbstractEventLoop
    metrics: Metrics
    log: io.StringIO

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def run(self, coroutine: Any, timeout_s: float = 20) -> Any:
        """Run a coroutine on the server's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def stop(self, grace_ns: int = 5_000_000_000) -> None:
        """Stop the front; a second call does nothing."""
        self.run(self.front.stop(grace_ns))


@contextmanager
def serve(
    front_name: str, services: Sequence[Service], metrics: Metrics | None = None, **options: Any
) -> Iterator[Server]:
    """Serve services on a free port while the block runs."""
    metrics = metrics or Metrics()
    log = io.StringIO()
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="test-server")
    thread.start()

    async def start() -> Server:
        front = FRONTS[front_name](
            services,
            log=make_events_log(log, as_json=True),
            metrics=metrics,
            clock=SystemClock(),
            **options,
        )
        return Server(await front.start("127.0.0.1", 0), front, loop, metrics, log)

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(20)
        try:
            yield server
        finally:
            server.stop(0)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


class Shop:
    """All rooms of the server over one store, and clients of it."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.metrics = Metrics()
        self.log = io.StringIO()
        self.clock = clock or SystemClock()
        self.reads_count = 0
        self.kept = KeptStore.open(
            folder,
            clock=self.clock,
            metrics=self.metrics,
            events_log=make_events_log(self.log, as_json=True),
            on_synced=lambda sequence: self.hub.note_synced(sequence),
        )
        self.state = state = self.kept.state
        self.keeper = self.kept.keeper
        self.published = PublishedCatalogue()
        self.tokens = ResumeTokens(load_secret(state.base))
        self.hub = AlertHub(
            AlertSource(state, published=self.published, tokens=self.tokens),
            tokens=self.tokens,
            clock=self.clock,
            log=make_events_log(self.log, as_json=True),
        )
        self.hub.note_synced(self.kept.log.synced_sequence)
        self.publisher = CataloguePublisher(
            state,
            compiler=LocalCompiler(),
            submit=self.keeper.submit,
            published=self.published,
            clock=self.clock,
        )
        damaged = DamagedRecords(
            log=make_events_log(self.log, as_json=True), metrics=self.metrics, clock=self.clock
        )
        reservations = Reservations()
        self.engine, self.batch_engine = (
            DecisionEngine(
                state,
                self.clock,
                decision_id_prefix=prefix * 16,
                on_damaged=damaged,
                record=self.kept.response.record_decisions,
                reservations=reservations,
            )
            for prefix in "ab"
        )
        explainer = DecisionExplainer(
            state, self.kept.log.reader.read_at, current_tables=lambda: self.engine.tables
        )
        reports = DecisionReports(state, published=self.published, explain=explainer.explain)
        decisions = DecisionService(
            self.engine,
            self.batch_engine,
            clock=self.clock,
            metrics=self.metrics,
            further=(
                OutcomeDesk(self.kept.response.record_outcomes).describe(),
                *reports.describe(),
            ),
        )
        self.services = (decisions.describe(), *self._describe_others())

    def _describe_others(self) -> tuple[Service, ...]:
        """Return the services that are not about decisions."""
        state = self.state
        customers = CustomerService(
            state, submit=self.keeper.submit, published=self.published, clock=self.clock
        )
        events = EventService(submit=self.keeper.submit, gather=self.keeper.gather)
        catalogue = CatalogueService(
            state, published=self.published, publisher=self.publisher, lane=READ_LANE
        )
        fraud = describe_fraud_service(
            state,
            submit=self.keeper.submit,
            gather=self.keeper.gather,
            published=self.published,
            clock=self.clock,
            metrics=self.metrics,
            log=make_events_log(self.log, as_json=True),
            further=(
                BacktestDesk(
                    state,
                    state.folder,
                    compiler=LocalCompiler(),
                    published=self.published,
                    clock=self.clock,
                ).describe(),
            ),
        )
        hotlists = HotlistService(state, submit=self.keeper.submit, clock=self.clock)
        stock = describe_stock_service(
            state,
            submit=self.keeper.submit,
            published=self.published,
            clock=self.clock,
            tokens=self.tokens,
            hub=self.hub,
        )
        described = (customers, catalogue, events, hotlists)
        return (*(service.describe() for service in described), fraud, stock)

    def connect(self, server: Server) -> None:
        """Make clients: unmodified ones of grpcio, with its defaults."""
        self.server = server
        self.channel = grpc.insecure_channel(server.target)
        self.decisions = DecisionServiceStub(self.channel)
        self.customers = CustomerServiceStub(self.channel)
        self.catalogue = CatalogueServiceStub(self.channel)
        self.events = EventServiceStub(self.channel)
        self.fraud = FraudServiceStub(self.channel)
        self.hotlists = HotlistServiceStub(self.channel)
        self.stock = StockServiceStub(self.channel)
        server.loop.call_soon_threadsafe(self.hub.attach)

    def install(self) -> None:
        """Let the engines use what is published, as the node does when it polls."""
        tables = load_tables(self.state)
        assert tables is not None
        for engine in (self.engine, self.batch_engine):
            engine.install(tables)

    def apply(self, files: dict[str, str], **fields: Any) -> ApplyCatalogueResponse:
        """Publish files through the wire and install them."""
        response = self.catalogue.ApplyCatalogue(make_apply(files, **fields), timeout=20)
        if response.catalogue.revision:
            self.install()
        return response


@contextmanager
def open_shop(folder: Path, front_name: str, clock: Clock | None = None) -> Iterator[Shop]:
    """Serve a shop over a store, a new one as a rule, while the block runs."""
    shop = Shop(folder, clock)
    with shop.kept, serve(front_name, shop.services, shop.metrics) as server:
        shop.connect(server)
        try:
            yield shop
        finally:
            shop.channel.close()


def make_apply(files: dict[str, str], **fields: Any) -> ApplyCatalogueRequest:
    """Return the request that publishes files."""
    return ApplyCatalogueRequest(
        files=[CatalogueFile(path=path, content=text) for path, text in files.items()], **fields
    )
