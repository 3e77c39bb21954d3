"""What a worker process consists of: it decides and reads, and forwards what changes something."""

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from instanter.clock import Clock, SystemClock
from instanter.deciders import Deciders
from instanter.decision.explanation import Explanation
from instanter.events_log import EventsLog, make_events_log
from instanter.fronts import make_front
from instanter.keeper.compiler import ProcessCompiler
from instanter.keeper.live_scores import LIVE_FOLDER_NAME
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.publishing import CataloguePublisher
from instanter.limits import DRAIN_NS_MAX
from instanter.metrics import Metrics
from instanter.rpc.alert_hub import AlertHub
from instanter.rpc.alert_source import AlertSource
from instanter.rpc.alert_wakes import ALERTS_TOPIC, read_wake
from instanter.rpc.backtests import BacktestDesk
from instanter.rpc.catalogue import CatalogueService
from instanter.rpc.customers import READ_LANE, CustomerService
from instanter.rpc.decision_reports import DecisionReports
from instanter.rpc.decisions import DecisionService
from instanter.rpc.events import EventService
from instanter.rpc.forwarding import DECISIONS_TOPIC, Forwarder
from instanter.rpc.fraud import describe_fraud_service
from instanter.rpc.front import Service
from instanter.rpc.hotlists import HotlistService
from instanter.rpc.listening import Listening
from instanter.rpc.outcomes import OutcomeDesk
from instanter.rpc.resume_tokens import ResumeTokens
from instanter.rpc.stock import describe_stock_service
from instanter.store.secret import load_secret
from instanter.store.state import State

FORWARDED: Final = frozenset({"ApplyCatalogue", "ExplainDecision", "ReportUplift"})
"""Methods that need the log or change something, beside those that are deferred."""


class WorkerNode:
    """One worker of a served data folder, whose keeper is another process. `close` it.

    Parameters
    ----------
    folder
        The data folder.
    clock, log
        As for `Node`.

    Raises
    ------
    PreconditionError
        There is no store, or a newer version wrote it.
    """

    def __init__(
        self, folder: Path, *, clock: Clock | None = None, log: EventsLog | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._log = log or make_events_log(sys.stderr)
        self.metrics = Metrics()
        self._state = State.open(folder, writable=False)
        self._published = PublishedCatalogue()
        self._tokens = ResumeTokens(load_secret(self._state.base))
        self._hub = AlertHub(
            AlertSource(self._state, published=self._published, tokens=self._tokens),
            tokens=self._tokens,
            clock=self._clock,
            log=self._log,
        )
        self._forwarder = Forwarder(
            folder,
            log=self._log,
            metrics=self.metrics,
            clock=self._clock,
            hearers={ALERTS_TOPIC: lambda body: self._hub.note_synced(read_wake(body))},
        )
        self._deciders = Deciders(
            self._state,
            clock=self._clock,
            log=self._log,
            metrics=self.metrics,
            record=partial(self._forwarder.tell, DECISIONS_TOPIC),
            live_folder=folder / LIVE_FOLDER_NAME,
        )
        self._deciders.refresh()

    def close(self) -> None:
        """Give everything back."""
        self._state.close()

    def list_services(self) -> tuple[Service, ...]:
        """Return the services, whose writes are forwarded."""
        publisher = CataloguePublisher(
            self._state,
            compiler=ProcessCompiler(),
            submit=_submit_nothing,
            published=self._published,
            clock=self._clock,
        )
        reports = DecisionReports(self._state, published=self._published, explain=_explain_nothing)
        services = (
            CustomerService(
                self._state,
                submit=_submit_nothing,
                published=self._published,
                clock=self._clock,
            ),
            CatalogueService(
                self._state, published=self._published, publisher=publisher, lane=READ_LANE
            ),
            EventService(submit=_submit_nothing, gather=_submit_nothing),
            HotlistService(self._state, submit=_submit_nothing, clock=self._clock),
            DecisionService(
                self._deciders.engine,
                self._deciders.batch_engine,
                clock=self._clock,
                metrics=self.metrics,
                further=(
                    OutcomeDesk(_submit_nothing).describe(),
                    *reports.describe(),
                ),
            ),
        )
        fraud = describe_fraud_service(
            self._state,
            submit=_submit_nothing,
            gather=_submit_nothing,
            published=self._published,
            clock=self._clock,
            metrics=self.metrics,
            log=self._log,
            further=(
                BacktestDesk(
                    self._state,
                    self._state.folder,
                    compiler=ProcessCompiler(),
                    published=self._published,
                    clock=self._clock,
                ).describe(),
            ),
        )
        # Whoever publishes through this worker finds the next decision of it made by that.
        after = {"ApplyCatalogue": self._deciders.refresh}
        return tuple(
            self._forwarder.redirect(service, FORWARDED, after)
            for service in (
                fraud,
                self._describe_stock(),
                *(service.describe() for service in services),
            )
        )

    def _describe_stock(self) -> Service:
        return describe_stock_service(
            self._state,
            submit=_submit_nothing,
            published=self._published,
            clock=self._clock,
            tokens=self._tokens,
            hub=self._hub,
        )

    async def serve(
        self, listening: Listening, stop: asyncio.Event, on_ready: Callable[[], None]
    ) -> None:
        """Serve until `stop` is set, then finish the calls in flight.

        Raises
        ------
        UnavailableError
            The port could not be opened.
        """
        self._hub.attach()
        await self._forwarder.start()
        front = make_front(
            listening,
            self.list_services(),
            log=self._log,
            metrics=self.metrics,
            clock=self._clock,
        )
        watch = asyncio.create_task(self._deciders.watch())
        try:
            await front.start(listening.address, listening.port)
            on_ready()
            await stop.wait()
        finally:
            watch.cancel()
            await front.stop(DRAIN_NS_MAX)
            self._hub.detach()
            self._forwarder.stop()


def _explain_nothing(_: bytes) -> Explanation:
    raise AssertionError("a worker forwards what needs the log")


def _submit_nothing(*_: Any, **__: Any) -> Any:
    raise AssertionError("a worker forwards what changes something")
