"""Who is told of stock alerts: subscribers, and those of them who follow, by what they want."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from instanter.catalogue.stock import StockPlan
from instanter.errors import InstanterError
from instanter.keeper.stock_alert_book import StockAlert
from instanter.rpc.front import Sink, SinkGroup
from instanter.rpc.response_stream import ONE_BY_ONE
from instanter.rpc.stock_filters import StockFilter, was_covered

_GROUPED_A_PASS: Final = 64
_ALONE_A_PASS: Final = 10
_WRITE_COST: Final = 16
"""A write into a socket takes as long as so many messages on a connection that has others."""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Which alerts somebody wants.

    Attributes
    ----------
    positions
        Of which positions.
    minimum_severity
        How bad they must have been at their worst; 0 for all.
    """

    positions: StockFilter
    minimum_severity: int = 0

    def matches(self, alert: StockAlert, plan: StockPlan | None) -> bool:
        """Return whether an alert is wanted and may be seen. Costs 0.5 µs."""
        site, unit, region, category, *_ = alert.position
        positions = self.positions
        if alert.severity_max < self.minimum_severity:
            return False
        if not positions.matches(site, unit, region, category):
            return False
        if not positions.distributor:
            return True
        if plan is None:
            return False
        grant = plan.grants.get(positions.distributor)
        if grant is None:
            return False
        return was_covered(plan, grant, site, unit, region, category)


class Subscriber:
    """One open call of `WatchStockAlerts`.

    Parameters
    ----------
    wanted
        What it wants.
    sink
        Takes what it is told.
    position
        Everything up to this transition has been told, or does not match. Of one who follows it is
        not kept up to date.

    Attributes
    ----------
    follows
        Whether it is told of each transition as it comes.
    lags
        Whether it followed and fell behind.
    passed_count
        Transitions that were passed over since the last message.
    snapshot_after
        The last alert of its snapshot that was told; None when it has none, or no longer.
    ending
        What ends it behind its snapshot; None when it goes on.
    """

    __slots__ = (
        "ending", "follows", "lags", "passed_count", "position", "sink", "snapshot_after", "wanted",
    )  # fmt: skip

    def __init__(self, wanted: AlertFilter, sink: Sink, position: int) -> None:
        self.wanted = wanted
        self.sink = sink
        self.position = position
        self.follows = False
        self.lags = False
        self.passed_count = 0
        self.snapshot_after: int | None = None
        self.ending: InstanterError | None = None


class Pass(NamedTuple):
    """Sinks that are told something in one go.

    Attributes
    ----------
    group
        What tells them.
    sinks
        Who they are.
    cost
        What it takes: one for each message, and `_WRITE_COST` for each socket.
    """

    group: SinkGroup
    sinks: tuple[Sink, ...]
    cost: int


class Audience:
    """Subscribers who follow. An alert is matched once for all who want the same."""

    __slots__ = ("_circles", "_followers")

    def __init__(self) -> None:
        self._followers: dict[Sink, Subscriber] = {}
        self._circles: dict[AlertFilter, dict[SinkGroup, dict[Sink, None]]] = {}

    def add(self, subscriber: Subscriber) -> None:
        """Let one follow."""
        subscriber.follows = True
        sink = subscriber.sink
        self._followers[sink] = subscriber
        self._circles.setdefault(subscriber.wanted, {}).setdefault(sink.group, {})[sink] = None

    def discard(self, subscriber: Subscriber) -> None:
        """Let one no longer follow."""
        if not subscriber.follows:
            return
        subscriber.follows = False
        sink = subscriber.sink
        del self._followers[sink]
        circles = self._circles[subscriber.wanted]
        del circles[sink.group][sink]
        if not circles[sink.group]:
            del circles[sink.group]
        if not circles:
            del self._circles[subscriber.wanted]

    def find(self, sink: Sink) -> Subscriber | None:
        """Return who follows with a sink, if anybody does."""
        return self._followers.get(sink)

    def list_all(self) -> list[Subscriber]:
        """Return all who follow."""
        return list(self._followers.values())

    def list_passes(self, alert: StockAlert, plan: StockPlan | None) -> list[Pass]:
        """Return the sinks that are to be told of an alert, each of them once."""
        passes: list[Pass] = []
        alone: list[Sink] = []
        for wanted, circles in self._circles.items():
            if not wanted.matches(alert, plan):
                continue
            for group, sinks in circles.items():
                # A pass of its own would take longer than the ordinary way.
                if len(sinks) == 1 or group is ONE_BY_ONE:
                    alone.extend(sinks)
                    continue
                passes += [
                    Pass(group, some, len(some) + _WRITE_COST)
                    for some in _cut(tuple(sinks), _GROUPED_A_PASS)
                ]
        passes += [
            Pass(ONE_BY_ONE, some, len(some) * (1 + _WRITE_COST))
            for some in _cut(tuple(alone), _ALONE_A_PASS)
        ]
        return passes


def _cut(sinks: tuple[Sink, ...], size: int) -> list[tuple[Sink, ...]]:
    if len(sinks) <= size:
        return [sinks] if sinks else []
    return [sinks[at : at + size] for at in range(0, len(sinks), size)]
