"""A store with alerts that tests write by hand, its hub, and subscribers that read when told to."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from instanter.catalogue.stock import (
    Cause,
    DemandPeriod,
    Grant,
    Severity,
    Site,
    StockPlan,
    StockPolicy,
    StockUnit,
)
from instanter.events_log import make_events_log
from instanter.keeper.stock_alert_book import (
    AlertTransition,
    PositionView,
    StockAction,
    StockAlert,
    StockHint,
    pack_alert,
    pack_transition,
)
from instanter.rpc.alert_audience import AlertFilter
from instanter.rpc.alert_hub import AlertHub
from instanter.rpc.alert_source import AlertSource
from instanter.rpc.response_stream import ResponseStream
from instanter.rpc.resume_tokens import ResumeTokens
from instanter.rpc.stock_filters import StockFilter
from instanter.stock.questions import DataError, Figures, TransitionKind
from instanter.store.state import State
from instanter.store.stock_alert_log import append_transitions, drop_transitions, load_extent
from instanter.store.stock_alerts import delete_alert, put_alert
from instanter.v1 import stock_service_pb2 as messages

SITES = (("berlin", "east"), ("bonn", "west"), ("koeln", "west"))
UNITS = (("beans", "coffee"), ("filters", "coffee"), ("green", "tea"))
NOW_NS = 1_800_000_000_000_000_000
FIGURES = Figures(
    on_hand=3,
    on_order=10,
    committed=1,
    available=2,
    shortfall=0,
    data_errors=DataError(0),
    demand_rate=4.5,
    demand_deviation=2.25,
    is_intermittent=False,
    days_of_cover=0.5,
    stock_out_ms=NOW_NS // 1_000_000 + 43_200_000,
    stock_out_early_ms=NOW_NS // 1_000_000 + 1_000,
    stock_out_late_ms=None,
    safety_stock=7.0,
    reorder_point=None,
    order_units=20,
    recent_units=6,
    recent_sales=5,
    recent_expected_units=1.5,
    recent_ms=60_000,
    evidence=3.0,
    alerts=(),
    counted_ms=None,
    latest_ms=NOW_NS // 1_000_000,
)


def make_plan(**changes: Any) -> StockPlan:
    """Return a plan with a grant for everything in the west that is coffee."""
    grant = Grant("west-coffee", (), ("west",), (), ("coffee",), bytes([0, 1, 1]), bytes([1, 1, 0]))
    plan = StockPlan(
        tuple(Site(name, region, "Europe/Berlin", 0) for name, region in SITES),
        tuple(StockUnit(name, category, name, n) for n, (name, category) in enumerate(UNITS, 1)),
        (),
        DemandPeriod.DAY,
        (StockPolicy("all"),),
        {},
        {"west-coffee": grant},
        None,
        3_600,
        10,
        4,
    )
    return replace(plan, **changes)


def make_alert(number: int, site: int, unit: int, severity: Severity, **changes: Any) -> StockAlert:
    """Return an open alert."""
    place = (SITES[site][0], UNITS[unit][0], SITES[site][1], UNITS[unit][1])
    return StockAlert(
        number,
        Cause.LOW_COVER,
        severity,
        severity,
        1,
        PositionView(*place, price_minor=499, figures=FIGURES),
        (StockHint(2, price_minor=499, previous_price_minor=599, time_ns=NOW_NS),),
        (StockAction(1, 20), StockAction(2, 5, "bonn")),
        NOW_NS,
        NOW_NS,
    )._replace(**changes)


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW_NS

    def now_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now


class Published:
    """The catalogue in force, as far as it matters."""

    def __init__(self, plan: StockPlan | None) -> None:
        self.plan = self.loaded = plan

    def is_loaded(self, _: object) -> bool:
        return self.loaded is self.plan

    def load(self, _: object) -> Any:
        self.loaded = self.plan
        return SimpleNamespace(stock=self.plan)


@dataclass
class Reader:
    """A subscriber, and what it has read."""

    stream: ResponseStream
    read: list[messages.WatchStockAlertsResponse]
    raw: list[bytes]

    def take(self, count: int = 1 << 30) -> list[messages.WatchStockAlertsResponse]:
        """Read so many messages, or all that wait."""
        fresh: list[bytes] = []
        while len(fresh) < count and (taken := self.stream.take(1)):
            fresh += taken
        self.raw += fresh
        found = [messages.WatchStockAlertsResponse.FromString(raw) for raw in fresh]
        self.read += found
        return found

    @property
    def sequences(self) -> list[int]:
        """The transitions that it has read."""
        return [each.transition.sequence for each in self.read if each.HasField("transition")]

    @property
    def open_names(self) -> list[str]:
        """The open alerts that it has read."""
        return [each.open_alert.name for each in self.read if each.HasField("open_alert")]

    @property
    def token(self) -> str:
        """The token of the last message."""
        return self.read[-1].resume_token


class AlertWorld:
    """One process with a hub; for a test on the running loop."""

    def __init__(self, folder: Path, plan: StockPlan | None = None) -> None:
        self.state = State.open(folder, writable=True)
        self.published = Published(plan or make_plan())
        self.clock = HandClock()
        self.tokens = ResumeTokens(b"s" * 32)
        self.record = 0
        self.bugs: list[Exception] = []
        self.written: list[tuple[str, str]] = []
        self.hub = self.make_hub()

    def make_hub(self) -> AlertHub:
        """Return the hub of one process."""
        source = AlertSource(self.state, published=self.published, tokens=self.tokens)  # type: ignore[arg-type]
        hub = AlertHub(
            source, tokens=self.tokens, clock=self.clock, log=make_events_log(sys.stderr)
        )
        hub.attach()
        return hub

    def close(self) -> None:
        """Close the store."""
        self.hub.detach()
        self.state.close()

    def write(self, *alerts: StockAlert, kind: TransitionKind = TransitionKind.RAISED) -> int:
        """Write transitions, of one record that is not on disk yet; return its sequence."""
        self.record += 1
        self.written += [(alert.position.site, alert.position.unit) for alert in alerts]

        def change(transaction: Any) -> None:
            sequence = load_extent(transaction).last
            packed = []
            for alert in alerts:
                sequence += 1
                told = alert._replace(number=alert.number or sequence)
                packed.append(
                    pack_transition(
                        AlertTransition(sequence, self.record, NOW_NS, kind, 0, False, told)
                    )
                )
                if told.cleared_ns:
                    delete_alert(transaction, told.number)
                else:
                    put_alert(transaction, told.number, pack_alert(told))
            append_transitions(transaction, self.record, NOW_NS + self.record, packed)

        self.state.write(change, sequence=self.record)
        return self.record

    def drop(self, until_record: int) -> None:
        """Drop the transitions of records before one."""
        self.record += 1
        self.state.write(
            lambda transaction: drop_transitions(transaction, NOW_NS + until_record, 1 << 30),
            sequence=self.record,
        )

    def raise_some(self, count: int, *, synced: bool = True) -> None:
        """Raise alerts at all positions in turn."""
        for number in range(count):
            self.write(make_alert(0, number % 3, number // 3 % 3, Severity.WARNING))
        if synced:
            self.hub.note_synced(self.record)

    def watch(
        self,
        hub: AlertHub | None = None,
        *,
        resume: str = "",
        open_first: bool = False,
        severity: int = 0,
        **wanted: Any,
    ) -> Reader:
        """Subscribe."""
        stream = ResponseStream(lambda: None, self.bugs.append)
        names = {
            field: value if isinstance(value, str) else frozenset(value)
            for field, value in wanted.items()
        }
        (hub or self.hub).subscribe(
            AlertFilter(StockFilter(**names), severity),
            stream,
            plan=self.published.plan or make_plan(),
            resume_after=self.tokens.parse(resume, "resume_token") if resume else None,
            open_first=open_first,
        )
        return Reader(stream, [], [])


async def turn(count: int = 50) -> None:
    """Let the loop take so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that a timer brings."""
    for _ in range(4_000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came")
