"""The stock side for threads: `Client.stock`."""

import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from instanter.client.calls import Call
from instanter.client.errors import ClientError
from instanter.client.stock_calls import WATCH_STOCK_ALERTS, StockCalls
from instanter.client.stock_values import (
    ALL_ALERTS,
    ALL_POSITIONS,
    StockAlert,
    StockAlertFilter,
    StockAlertProgress,
    StockAlertSnapshot,
    StockAlertTransition,
    StockMovement,
    StockMovementCounts,
    StockPosition,
    StockPositionFilter,
    StockPositionPage,
)
from instanter.client.stock_watching import AlertWatch, WatchPolicy

_Result = TypeVar("_Result")


class Stock:
    """Records movements, reads positions, watches alerts; made by `Client`.

    Every method raises a `ClientError`, or one of its kinds, when the call fails.

    Parameters
    ----------
    run
        Makes a call and returns its result.
    stream
        Makes a streamed call and yields its messages.
    calls
        Makes calls from arguments.
    """

    def __init__(
        self,
        run: Callable[[Call[Any]], Any],
        stream: Callable[[Any, Any, float | None], Generator[Any, None, None]],
        calls: StockCalls,
    ) -> None:
        self._run = run
        self._stream = stream
        self._calls = calls

    def record_movements(
        self,
        movements: Iterable[StockMovement],
        *,
        relaxed: bool = False,
        timeout_s: float | None = None,
    ) -> StockMovementCounts:
        """Record 1 to 1000 movements, all of them or none.

        Parameters
        ----------
        movements
            In any order; late ones count too. Each counts once, by its id.
        relaxed
            Return when a killed server would not lose them, but a power cut might.
        timeout_s
            Seconds for all attempts together; None takes `Timeouts.write_s`.

        Raises
        ------
        InvalidRequestError
            When a movement is wrong, the violation names its index; nothing was recorded.
        ConflictError
            When the id of a movement was recorded with another content; nothing was recorded.
        PreconditionError
            When more is taken than there is, where the policy does not allow that.
        ClientError
            Or another of its kinds.
        """
        return self._ask(
            self._calls.record_movements(movements, relaxed=relaxed, timeout_s=timeout_s)
        )

    def get_position(
        self,
        site: str,
        stock_keeping_unit: str,
        *,
        distributor: str = "",
        timeout_s: float | None = None,
    ) -> StockPosition:
        """Read one position with its figures."""
        return self._ask(self._calls.get_position(site, stock_keeping_unit, distributor, timeout_s))

    def list_position_page(
        self,
        page_size: int = 0,
        page_token: str = "",
        wanted: StockPositionFilter = ALL_POSITIONS,
        *,
        timeout_s: float | None = None,
    ) -> StockPositionPage:
        """Read one page of positions that match; it may be short and still have a next one."""
        return self._ask(self._calls.list_positions(page_size, page_token, wanted, timeout_s))

    def list_positions(
        self, wanted: StockPositionFilter = ALL_POSITIONS, *, timeout_s: float | None = None
    ) -> Iterator[StockPosition]:
        """Iterate over positions by site, then by unit, reading page by page."""
        token = ""
        while True:
            page = self.list_position_page(1000, token, wanted, timeout_s=timeout_s)
            yield from page.positions
            token = page.next_page_token
            if not token:
                return

    def acknowledge(
        self,
        alert: str,
        acknowledger: str = "",
        *,
        distributor: str = "",
        timeout_s: float | None = None,
    ) -> StockAlert:
        """Mark an open alert as handled, and return it as it is then."""
        return self._ask(self._calls.acknowledge(alert, acknowledger, distributor, timeout_s))

    def snooze(
        self,
        alert: str,
        end: datetime,
        *,
        distributor: str = "",
        timeout_s: float | None = None,
    ) -> StockAlert:
        """Put an open alert off until a time, and return it as it is then."""
        return self._ask(self._calls.snooze(alert, end, distributor, timeout_s))

    def watch_stock_alerts(
        self,
        wanted: StockAlertFilter = ALL_ALERTS,
        *,
        resume_token: str = "",
        open_alerts_first: bool = False,
        policy: WatchPolicy | None = None,
        on_progress: Callable[[StockAlertProgress], object] = lambda _: None,
        on_lost: Callable[[ClientError | None, float], object] = lambda *_: None,
    ) -> Iterator[StockAlertTransition | StockAlertSnapshot]:
        """Iterate over what changes, for ever, each transition once and in order.

        A lost connection is opened again and goes on where it was; so does the next process that is
        given the `resume_token` of the last transition this one has dealt with. When that is older
        than what the server keeps, a snapshot of what is open comes, with `is_gap`.

        Parameters
        ----------
        wanted
            Which alerts.
        resume_token
            Of a transition, a snapshot or progress; empty begins now.
        open_alerts_first
            Begin with a snapshot; not together with a token.
        policy
            How patiently a lost stream is opened again; None for ever.
        on_progress
            Told how far it has come, at least every heartbeat: a filter that rarely matches has a
            fresh token so.
        on_lost
            Told why the stream was lost (None: the server ended it) and for how many seconds it
            waits now.

        Raises
        ------
        InvalidRequestError
            When the token was not made by this server, or the filter is wrong.
        DeniedError
            When the distributor has no grant for what it asks.
        ClientError
            Or another of its kinds that another attempt does not help.
        """
        watch = AlertWatch(
            wanted,
            policy or WatchPolicy(),
            random.random,
            resume_token=resume_token,
            wants_snapshot=open_alerts_first,
        )
        while True:
            stream = self._stream(WATCH_STOCK_ALERTS, watch.begin(), None)
            failure: ClientError | None = None
            try:
                while True:
                    try:
                        message = next(stream)
                    except StopIteration:
                        break
                    except ClientError as error:
                        failure = error
                        break
                    news = watch.take(message)
                    if isinstance(news, StockAlertProgress):
                        on_progress(news)
                    elif news is not None:
                        yield news
            finally:
                stream.close()
            snapshot = watch.take_end(failure)
            if snapshot is not None:
                yield snapshot
                continue
            pause_s = watch.find_pause_s(failure)
            on_lost(failure, pause_s)
            time.sleep(pause_s)

    def _ask(self, call: Call[_Result]) -> _Result:
        result: _Result = self._run(call)
        return result
