"""The composition root: the only module that knows all concrete classes of the server.

A `Node` is everything that one server consists of, on one data folder. `instanter serve` runs it
behind a port; tests and embedding programs may use its engine directly.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from instanter.clock import Clock, SystemClock
from instanter.deciders import Deciders
from instanter.errors import InstanterError
from instanter.events_log import EventsLog, make_events_log
from instanter.fronts import make_front
from instanter.keeper.compiler import ProcessCompiler
from instanter.keeper.explaining import DecisionExplainer
from instanter.keeper.fraud_gauges import measure_fraud
from instanter.keeper.live_scores import LIVE_FOLDER_NAME
from instanter.keeper.opening import KeptStore
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.publishing import CataloguePublisher
from instanter.keeper.tools_door import ToolsDoor
from instanter.limits import DRAIN_NS_MAX
from instanter.metrics import Metrics, MetricsDoor
from instanter.rpc.alert_hub import AlertHub
from instanter.rpc.alert_source import AlertSource
from instanter.rpc.alert_wakes import ALERTS_TOPIC, AlertWaker
from instanter.rpc.backtests import BacktestDesk
from instanter.rpc.catalogue import CatalogueService
from instanter.rpc.customers import READ_LANE, CustomerService
from instanter.rpc.decision_reports import DecisionReports
from instanter.rpc.decisions import DecisionService
from instanter.rpc.events import EventService
from instanter.rpc.forwarding import DECISIONS_TOPIC
from instanter.rpc.forwarding_door import ForwardingDoor
from instanter.rpc.fraud import describe_fraud_service
from instanter.rpc.front import Service
from instanter.rpc.hotlists import HotlistService
from instanter.rpc.listening import Listening, Transport
from instanter.rpc.outcomes import OutcomeDesk
from instanter.rpc.resume_tokens import ResumeTokens
from instanter.rpc.stock import describe_stock_service
from instanter.store.log.retention import Retention
from instanter.store.opening import check_folder
from instanter.store.secret import load_secret
from instanter.store.server_lock import ServerLock

__all__ = ["Listening", "Node", "Transport"]

_CLEAR_S: Final = 1.0
"""How often slots of dead processes in the reader table are freed."""


class Node:
    """One server on one data folder. `close` it, or use it in a `with` block.

    Parameters
    ----------
    folder
        The data folder; made when it is new.
    clock, log
        Time and the events log; the machine's clock and standard error by default.
    supervised
        Whether a supervisor holds the folder for this node: it takes the keeper's lock only.
    fresh_overlay
        Whether to begin with an empty overlay; not while workers read the old one.
    retention
        How long the log keeps what nothing needs any more; None for as long as `limits` says.

    Raises
    ------
    PreconditionError
        Another server has the folder, or it holds something else, or a newer version wrote it.
    ExhaustedError
        The disk is full.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        log: EventsLog | None = None,
        supervised: bool = False,
        fresh_overlay: bool = True,
        retention: Retention | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._log = log or make_events_log(sys.stderr)
        self.metrics = Metrics()
        self._followers: list[Callable[[int], None]] = []
        # First: a folder that is no store's is refused before a lock file is left in it.
        check_folder(folder, writable=True)
        self._lock = None if supervised else ServerLock.acquire(folder)
        try:
            self._kept = KeptStore.open(
                folder,
                clock=self._clock,
                metrics=self.metrics,
                events_log=self._log,
                fresh_overlay=fresh_overlay,
                on_synced=self._tell_synced,
                retention=retention,
            )
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise
        self.state = self._kept.state
        self.keeper = self._kept.keeper
        self.deciders = Deciders(
            self.state,
            clock=self._clock,
            log=self._log,
            metrics=self.metrics,
            record=self._record_decisions,
            live_folder=folder / LIVE_FOLDER_NAME,
        )
        self.engine = self.deciders.engine
        self._compiler = ProcessCompiler()
        self._published = PublishedCatalogue()
        self._tokens = ResumeTokens(load_secret(self.state.base))
        self._hub = AlertHub(
            AlertSource(self.state, published=self._published, tokens=self._tokens),
            tokens=self._tokens,
            clock=self._clock,
            log=self._log,
        )
        self._tools = ToolsDoor(folder, self.keeper.submit, events_log=self._log)
        self._tools.start()
        self.refresh()

    def __enter__(self) -> Self:
        """Return the node itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the node."""
        self.close()

    def close(self) -> None:
        """Finish the writes that wait, and give everything back."""
        self._tools.stop()
        self._kept.close()
        if self._lock is not None:
            self._lock.release()

    def refresh(self) -> bool:
        """Use what is published, see `Deciders.refresh`."""
        return self.deciders.refresh()

    def list_services(self) -> tuple[Service, ...]:
        """Return the node's services, for a front to serve."""
        publisher = CataloguePublisher(
            self.state,
            compiler=self._compiler,
            submit=self.keeper.submit,
            published=self._published,
            clock=self._clock,
            on_published=self.refresh,
        )
        explainer = DecisionExplainer(
            self.state,
            self._kept.log.reader.read_at,
            current_tables=lambda: self.engine.tables,
        )
        reports = DecisionReports(self.state, published=self._published, explain=explainer.explain)
        return (
            CustomerService(
                self.state,
                submit=self.keeper.submit,
                published=self._published,
                clock=self._clock,
            ).describe(),
            CatalogueService(
                self.state,
                published=self._published,
                publisher=publisher,
                lane=READ_LANE,
            ).describe(),
            EventService(submit=self.keeper.submit, gather=self.keeper.gather).describe(),
            describe_fraud_service(
                self.state,
                submit=self.keeper.submit,
                gather=self.keeper.gather,
                published=self._published,
                clock=self._clock,
                metrics=self.metrics,
                log=self._log,
                further=(
                    BacktestDesk(
                        self.state,
                        self.state.folder,
                        compiler=self._compiler,
                        published=self._published,
                        clock=self._clock,
                    ).describe(),
                ),
            ),
            HotlistService(self.state, submit=self.keeper.submit, clock=self._clock).describe(),
            self._describe_stock(),
            DecisionService(
                self.engine,
                self.deciders.batch_engine,
                clock=self._clock,
                metrics=self.metrics,
                further=(
                    OutcomeDesk(self._kept.response.record_outcomes).describe(),
                    *reports.describe(),
                ),
            ).describe(),
        )

    def _describe_stock(self) -> Service:
        return describe_stock_service(
            self.state,
            submit=self.keeper.submit,
            published=self._published,
            clock=self._clock,
            tokens=self._tokens,
            hub=self._hub,
        )

    async def serve(
        self,
        listening: Listening,
        stop: asyncio.Event,
        on_ready: Callable[[int, int | None], None],
    ) -> None:
        """Serve until `stop` is set, then finish the calls in flight.

        Parameters
        ----------
        listening
            Where to serve.
        stop
            Ends the serving.
        on_ready
            Called with the bound ports, of the services and of the metrics page, once calls are
            answered.

        Raises
        ------
        UnavailableError
            A port could not be opened.
        """
        self._hub.attach()
        front = make_front(
            listening,
            self.list_services(),
            log=self._log,
            metrics=self.metrics,
            clock=self._clock,
        )
        door = MetricsDoor(lambda: self.metrics)
        metrics_port = None
        if listening.metrics_port is not None:
            metrics_port = door.start(listening.metrics_address, listening.metrics_port)
        try:
            port = await front.start(listening.address, listening.port)
            async with self._watching(self._hub.note_synced):
                on_ready(port, metrics_port)
                await stop.wait()
        finally:
            await front.stop(DRAIN_NS_MAX)
            self._hub.detach()
            door.stop()

    async def serve_workers(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Carry out what workers forward until `stop` is set, then finish the calls in flight.

        Raises
        ------
        OSError
            The socket in the data folder could not be opened.
        """
        waker = AlertWaker(self.state, lambda body: door.tell(ALERTS_TOPIC, body))
        door = ForwardingDoor(
            self.list_services(),
            hearers={DECISIONS_TOPIC: self._record_decisions},
            greetings={ALERTS_TOPIC: waker.describe},
            log=self._log,
            metrics=self.metrics,
            clock=self._clock,
        )
        try:
            await door.start(self.state.folder)
            async with self._watching(waker.note_synced):
                on_ready()
                await stop.wait()
        finally:
            await door.stop(DRAIN_NS_MAX)

    def _tell_synced(self, sequence: int) -> None:
        """Tell whoever follows the log up to where it is on disk."""
        for follower in self._followers:
            follower(sequence)

    def _record_decisions(self, body: bytes) -> None:
        """Record what a turn decided; what the keeper does not take is dropped and counted."""
        try:
            self._kept.response.record_decisions(body)
        except InstanterError:
            self.metrics.decision_records_dropped_count += 1

    @contextlib.asynccontextmanager
    async def _watching(self, on_synced: Callable[[int], None]) -> AsyncIterator[None]:
        """Watch publications and readers, and carry writes out here, while the block runs.

        Parameters
        ----------
        on_synced
            Called with the sequence up to which the log is on disk.
        """
        self.keeper.attach()
        self._followers.append(on_synced)
        on_synced(self._kept.log.synced_sequence)
        watches = [
            asyncio.create_task(self.deciders.watch()),
            asyncio.create_task(self._clear_readers()),
            asyncio.create_task(self._measure()),
        ]
        try:
            yield
        finally:
            for watch in watches:
                watch.cancel()
            self._followers.remove(on_synced)
            self.keeper.detach()

    async def _clear_readers(self) -> None:
        """Free what dead processes have left in the reader table, again and again."""
        while True:
            await asyncio.sleep(_CLEAR_S)
            try:
                self.state.clear_dead_readers()
            except InstanterError as error:
                self._log.error("readers_not_cleared", message=error.message)

    async def _measure(self) -> None:
        """Bring the gauges of the metrics up to date, again and again."""
        while True:
            try:
                with self.state.read() as transaction:
                    measure_fraud(transaction, self.metrics)
            except InstanterError as error:
                self._log.error("metrics_not_measured", message=error.message)
            await asyncio.sleep(_CLEAR_S)
