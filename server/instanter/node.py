"""The composition root: the only module that knows all concrete classes of the server.

A `Node` is everything that one server consists of, on one data folder. `instanter serve` runs it
behind a port; tests and embedding programs may use its engine directly.
"""

import asyncio
import secrets
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from instanter.clock import Clock, SystemClock
from instanter.decision.engine import DecisionEngine
from instanter.decision.published import (
    NOTHING_PUBLISHED,
    Revisions,
    find_revisions,
    load_tables,
)
from instanter.errors import InstanterError
from instanter.events_log import DamagedRecords, EventsLog, make_events_log
from instanter.keeper.compiler import ProcessCompiler
from instanter.keeper.opening import KeptStore
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.publishing import CataloguePublisher
from instanter.keeper.tools_door import ToolsDoor
from instanter.kernels.table import count_compiled
from instanter.limits import DRAIN_NS_MAX, REVISION_POLL_NS
from instanter.metrics import Metrics, MetricsDoor
from instanter.rpc.catalogue import CatalogueService
from instanter.rpc.customers import READ_LANE, CustomerService
from instanter.rpc.decisions import DecisionService
from instanter.rpc.fast.front import FastFront
from instanter.rpc.front import Front, Service
from instanter.rpc.grpcio_front import GrpcioFront
from instanter.rpc.tls import TlsFiles
from instanter.store.opening import check_folder
from instanter.store.server_lock import ServerLock

Transport = Literal["auto", "fast", "grpcio"]
"""Names of the fronts, see `Listening.transport`."""

_FRONTS: Final[dict[str, type[FastFront] | type[GrpcioFront]]] = {
    "auto": FastFront,
    "fast": FastFront,
    "grpcio": GrpcioFront,
}
_POLL_S: Final = REVISION_POLL_NS / 1e9


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a node serves.

    Attributes
    ----------
    address, port
        Host and TCP port of the gRPC services; port 0 takes any free one.
    metrics_address, metrics_port
        Host and TCP port of the metrics page; port None for no such page.
    tls
        Certificates; None for plain text.
    transport
        Front: `fast`, `grpcio`, or `auto` for the one that this release recommends.
    """

    address: str = "127.0.0.1"
    port: int = 7878
    metrics_address: str = "127.0.0.1"
    metrics_port: int | None = None
    tls: TlsFiles | None = None
    transport: Transport = "auto"


class Node:
    """One server on one data folder. `close` it, or use it in a `with` block.

    Parameters
    ----------
    folder
        The data folder; made when it is new.
    clock, log
        Time and the events log; the machine's clock and standard error by default.

    Raises
    ------
    PreconditionError
        Another server has the folder, or it holds something else, or a newer version wrote it.
    ExhaustedError
        The disk is full.
    """

    def __init__(
        self, folder: Path, *, clock: Clock | None = None, log: EventsLog | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._log = log or make_events_log(sys.stderr)
        self.metrics = Metrics()
        # First: a folder that is no store's is refused before a lock file is left in it.
        check_folder(folder, writable=True)
        self._lock = ServerLock.acquire(folder)
        try:
            self._kept = KeptStore.open(
                folder, clock=self._clock, metrics=self.metrics, events_log=self._log
            )
        except BaseException:
            self._lock.release()
            raise
        self.state = self._kept.state
        self.keeper = self._kept.keeper
        self.engine = self._make_engine()
        self._batch_engine = self._make_engine()
        self._revisions = NOTHING_PUBLISHED
        self._refused = NOTHING_PUBLISHED
        self._refreshing = threading.Lock()
        self._compiler = ProcessCompiler()
        self._published = PublishedCatalogue()
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
        self._lock.release()

    def refresh(self) -> bool:
        """Use the newest published catalogue and models; return whether there were newer ones.

        What cannot be read (damaged, or written by a newer version) is logged once a revision and
        not used: models give way to the newest that can be read, a catalogue to the one that
        decides already. May be called on any thread.
        """
        with self._refreshing:
            return self._refresh()

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
        return (
            CustomerService(
                self.state, submit=self.keeper.submit, published=self._published
            ).describe(),
            CatalogueService(
                self.state,
                published=self._published,
                publisher=publisher,
                lane=READ_LANE,
            ).describe(),
            DecisionService(
                self.engine, self._batch_engine, clock=self._clock, metrics=self.metrics
            ).describe(),
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
        front = self._make_front(listening)
        door = MetricsDoor(lambda: self.metrics)
        metrics_port = None
        if listening.metrics_port is not None:
            metrics_port = door.start(listening.metrics_address, listening.metrics_port)
        watch: asyncio.Task[None] | None = None
        try:
            port = await front.start(listening.address, listening.port)
            watch = asyncio.create_task(self._watch(count_compiled()))
            on_ready(port, metrics_port)
            await stop.wait()
        finally:
            if watch is not None:
                watch.cancel()
            await front.stop(DRAIN_NS_MAX)
            door.stop()

    def _log_refused(self, error: InstanterError) -> None:
        self._log.error("publication_refused", reason=error.reason, message=error.message)

    async def _watch(self, compiled_count: int) -> None:
        """Look for newer publications, and for late compilations, ten times a second."""
        while True:
            await asyncio.sleep(_POLL_S)
            self.metrics.kernels_compiled_late_count = count_compiled() - compiled_count
            try:
                # Looking costs microseconds; laying out new tables takes a thread's while.
                if find_revisions(self.state) != self._revisions:
                    await asyncio.to_thread(self.refresh)
            except InstanterError as error:
                self._log.error("publication_unreadable", message=error.message)
            except Exception as error:  # noqa: BLE001 - the watch outlives every bug it meets
                self._log.error("publication_watch_failed", exc_info=error)

    def _refresh(self) -> bool:
        """Do what `refresh` promises; only one thread at a time does."""
        revisions = find_revisions(self.state)
        if revisions in (self._revisions, self._refused):
            return False
        try:
            tables = load_tables(self.state, self._log_refused)
        except InstanterError as error:
            self._refused = revisions
            self._log_refused(error)
            return False
        if tables is not None:
            self.engine.install(tables)
            self._batch_engine.install(tables)
            self.metrics.catalogue_revision = tables.catalogue.revision
            self.metrics.model_revision = tables.score_table.revision
            found = Revisions(tables.catalogue.revision, tables.score_table.revision)
            self._log.info("publication_installed", catalogue=found.catalogue, models=found.models)
        self._revisions = revisions
        return True

    def _make_engine(self) -> DecisionEngine:
        """Make an engine; each belongs to one thread and names its decisions apart."""
        return DecisionEngine(
            self.state,
            self._clock,
            decision_id_prefix=secrets.token_hex(8),
            on_damaged=DamagedRecords(log=self._log, metrics=self.metrics, clock=self._clock),
        )

    def _make_front(self, listening: Listening) -> Front:
        """Make the front that serves the services."""
        return _FRONTS[listening.transport](
            self.list_services(),
            log=self._log,
            metrics=self.metrics,
            clock=self._clock,
            tls=listening.tls,
        )
