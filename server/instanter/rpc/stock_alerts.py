"""`StockService.WatchStockAlerts`, and what people do with alerts: acknowledge them, put them off.

Whoever asks on behalf of a distributor is checked where the call is answered: what a grant covers
is the same on every process.
"""

import asyncio
from concurrent.futures import Future
from typing import Final

from instanter.catalogue.stock import StockPlan
from instanter.clock import Clock
from instanter.errors import InvalidFieldError
from instanter.keeper.commands import Submit
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.stock_alert_book import StockAlert, find_open_alert
from instanter.keeper.stock_alerts import AcknowledgeStockAlert, SnoozeStockAlert
from instanter.rpc.alert_audience import AlertFilter
from instanter.rpc.alert_hub import AlertHub
from instanter.rpc.front import CallContext, DeferredMethod, Sink, StreamedMethod
from instanter.rpc.names import SITES, parse_plain_name, parse_stock_alert_name
from instanter.rpc.resume_tokens import ResumeTokens
from instanter.rpc.stock_filters import (
    FilterReader,
    check_covered,
    find_grant,
    get_plan,
    read_distributor,
)
from instanter.rpc.stock_messages import translate_alert
from instanter.rpc.timestamps import read_time_ns
from instanter.stock_limits import ACKNOWLEDGER_SIZE_MAX, STOCK_SNOOZE_NS_MAX
from instanter.store.transaction import Readable
from instanter.v1 import stock_service_pb2 as messages

_S_NS: Final = 1_000_000_000


class WatchDesk:
    """Answers `WatchStockAlerts`. For the event loop that the hub is on.

    Parameters
    ----------
    store
        The store that is read.
    published
        Knows the catalogue in force.
    tokens
        Reads resume tokens.
    hub
        Tells those who subscribe.
    """

    def __init__(
        self,
        store: Readable,
        *,
        published: PublishedCatalogue,
        tokens: ResumeTokens,
        hub: AlertHub,
    ) -> None:
        self._store = store
        self._published = published
        self._tokens = tokens
        self._hub = hub
        self._filters = FilterReader()
        self._beginning: set[asyncio.Task[None]] = set()

    def describe(self) -> StreamedMethod:
        """Return the method as fronts serve it."""
        return StreamedMethod(
            "WatchStockAlerts",
            messages.WatchStockAlertsRequest,
            messages.WatchStockAlertsResponse,
            self.watch,
        )

    def watch(
        self, request: messages.WatchStockAlertsRequest, context: CallContext, sink: Sink
    ) -> None:
        """Begin to tell somebody of alerts; the sink is told what else is wrong.

        Raises
        ------
        InvalidFieldError
            A name or the severity is wrong, or the token was not made by this store.
        """
        del context
        sites = [
            parse_plain_name(name, SITES, f"sites[{at}]") for at, name in enumerate(request.sites)
        ]
        severity = request.minimum_severity
        if severity not in messages.StockAlertSeverity.values():
            raise InvalidFieldError(
                "minimum_severity",
                severity,
                f"one of {', '.join(messages.StockAlertSeverity.keys())}",
                reason="STOCK_ALERT_SEVERITY_INVALID",
            )
        resume_after = None
        if request.resume_token:
            resume_after = self._tokens.parse(request.resume_token, "resume_token")
            if request.open_alerts_first:
                raise InvalidFieldError(
                    "open_alerts_first",
                    request.open_alerts_first,
                    "false together with a resume token, which begins where the snapshot ended",
                    reason="OPEN_ALERTS_NOT_WANTED",
                )
        beginning = asyncio.get_running_loop().create_task(
            self._subscribe(request, sites, resume_after, sink)
        )
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)

    async def _subscribe(
        self,
        request: messages.WatchStockAlertsRequest,
        sites: list[str],
        resume_after: int | None,
        sink: Sink,
    ) -> None:
        """Subscribe, once the catalogue is there; to decode a large one takes 0.3 s."""
        try:
            plan = await asyncio.to_thread(self._load_plan)
            positions = self._filters.read(plan, request, sites)
            self._hub.subscribe(
                AlertFilter(positions, int(request.minimum_severity)),
                sink,
                plan=plan,
                resume_after=resume_after,
                open_first=request.open_alerts_first,
            )
        except Exception as error:  # noqa: BLE001 - the stream's reader is told, or it is a bug
            sink.fail(error)

    def _load_plan(self) -> StockPlan:
        with self._store.read() as transaction:
            return get_plan(self._published.load(transaction))


class AlertDesk:
    """Answers what is done with alerts.

    Parameters
    ----------
    store
        The store that is read.
    submit
        Carries out a command, as `Keeper.submit` does.
    published
        Knows the catalogue in force.
    clock
        Tells how far ahead a time is.
    """

    def __init__(
        self,
        store: Readable,
        *,
        submit: Submit,
        published: PublishedCatalogue,
        clock: Clock,
    ) -> None:
        self._store = store
        self._submit = submit
        self._published = published
        self._clock = clock

    def describe(self) -> tuple[DeferredMethod, ...]:
        """Return the methods as fronts serve them."""
        return (
            DeferredMethod(
                "AcknowledgeStockAlert",
                messages.AcknowledgeStockAlertRequest,
                messages.AcknowledgeStockAlertResponse,
                self.acknowledge,
                _translate_acknowledged,
                None,
            ),
            DeferredMethod(
                "SnoozeStockAlert",
                messages.SnoozeStockAlertRequest,
                messages.SnoozeStockAlertResponse,
                self.snooze,
                _translate_snoozed,
                None,
            ),
        )

    def acknowledge(
        self, request: messages.AcknowledgeStockAlertRequest, context: CallContext
    ) -> Future[StockAlert]:
        """Queue the acknowledgement of an alert.

        Raises
        ------
        InvalidFieldError
            A name is wrong.
        PermissionDeniedError
            The distributor may not see it; the future raises what else is wrong.
        """
        number = parse_stock_alert_name(request.name, "name")
        acknowledger = request.acknowledger
        if len(acknowledger) > ACKNOWLEDGER_SIZE_MAX or not acknowledger.isprintable():
            raise InvalidFieldError(
                "acknowledger",
                acknowledger,
                f"at most {ACKNOWLEDGER_SIZE_MAX} characters without control characters",
                reason="ACKNOWLEDGER_INVALID",
            )
        self._check_distributor(number, request.distributor)
        command = AcknowledgeStockAlert(number, acknowledger)
        return self._submit(command, context.deadline_ns)

    def snooze(
        self, request: messages.SnoozeStockAlertRequest, context: CallContext
    ) -> Future[StockAlert]:
        """Queue the putting off of an alert.

        Raises
        ------
        InvalidFieldError
            A name or the time is wrong.
        PermissionDeniedError
            The distributor may not see it; the future raises what else is wrong.
        """
        number = parse_stock_alert_name(request.name, "name")
        expected = f"a time at most {STOCK_SNOOZE_NS_MAX // (86_400 * _S_NS)} days ahead"
        if not request.HasField("snooze_end_time"):
            raise InvalidFieldError(
                "snooze_end_time", "", expected, reason="SNOOZE_END_TIME_INVALID"
            )
        until_ns = read_time_ns(
            request.snooze_end_time,
            "snooze_end_time",
            expected=expected,
            reason="SNOOZE_END_TIME_INVALID",
            seconds_max=(self._clock.now_ns() + STOCK_SNOOZE_NS_MAX) // _S_NS,
        )
        self._check_distributor(number, request.distributor)
        return self._submit(SnoozeStockAlert(number, until_ns), context.deadline_ns)

    def _check_distributor(self, number: int, name: str) -> None:
        """Refuse a distributor whose grant does not cover an alert's position."""
        distributor = read_distributor(name)
        if not distributor:
            return
        with self._store.read() as transaction:
            plan = get_plan(self._published.load(transaction))
            alert = find_open_alert(transaction, number)
        if alert is None:
            # The keeper says so; that there is none of a number says nothing about anybody's stock.
            find_grant(plan, distributor)
        else:
            position = alert.position
            check_covered(plan, distributor, position.site, position.unit, "name")


def _translate_acknowledged(alert: StockAlert) -> messages.AcknowledgeStockAlertResponse:
    return messages.AcknowledgeStockAlertResponse(alert=translate_alert(alert))


def _translate_snoozed(alert: StockAlert) -> messages.SnoozeStockAlertResponse:
    return messages.SnoozeStockAlertResponse(alert=translate_alert(alert))
