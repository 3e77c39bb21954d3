"""Who is told of stock alerts: subscribers, and those of them who follow, by what they want."""

from dataclasses import dataclass

from instanter.catalogue.stock import StockPlan
from instanter.errors import InstanterError
from instanter.keeper.stock_alert_book import StockAlert
from instanter.rpc.front import Sink
from instanter.rpc.stock_filters import StockFilter, is_covered


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
        return grant is not None and is_covered(plan, grant, site, unit)


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


class Audience:
    """Subscribers who follow. An alert is matched once for all who want the same."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[AlertFilter, dict[Subscriber, None]] = {}

    def add(self, subscriber: Subscriber) -> None:
        """Let one follow."""
        subscriber.follows = True
        self._groups.setdefault(subscriber.wanted, {})[subscriber] = None

    def discard(self, subscriber: Subscriber) -> None:
        """Let one no longer follow."""
        if not subscriber.follows:
            return
        subscriber.follows = False
        group = self._groups[subscriber.wanted]
        del group[subscriber]
        if not group:
            del self._groups[subscriber.wanted]

    def list_all(self) -> list[Subscriber]:
        """Return all who follow."""
        return [subscriber for group in self._groups.values() for subscriber in group]

    def list_told(self, alert: StockAlert, plan: StockPlan | None) -> list[Subscriber]:
        """Return those who are to be told of an alert."""
        told: list[Subscriber] = []
        for wanted, group in self._groups.items():
            if wanted.matches(alert, plan):
                told.extend(group)
        return told
