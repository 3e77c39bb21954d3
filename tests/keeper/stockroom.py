"""A keeper that keeps stock, and the movements to try it with."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from instanter.catalogue.compiled import CompiledCatalogue
from instanter.keeper.events import EventCounts, GivenEvent, RecordEvents
from instanter.keeper.published import PublishedCatalogue
from instanter.keeper.stock_alert_book import (
    AlertTransition,
    PositionView,
    StockAlert,
    scan_open_alerts,
    unpack_transition,
)
from instanter.keeper.stock_movements import GivenMovement, MovementCounts, RecordStockMovements
from instanter.keeper.stock_views import StockViews
from instanter.stock.questions import MovementKind
from instanter.store.stock_alert_log import load_transitions
from tests.keeper.desk import Desk, open_desk
from tests.keeper.tills import NOW_NS, StoodClock

__all__ = ["NOW_NS", "StoodClock"]

DAY_NS = 86_400_000_000_000
MINUTE_NS = 60_000_000_000

SHOP = """\
currency: EUR
channels: {web: [home]}
attributes:
  - {name: age, kind: number}
offers:
  - {name: espresso, treatments: [{channel: web}], value_minor: 200, stock_keeping_unit: COFFEE}
events:
  - name: purchase
    fields:
      - {name: sku, kind: category, values: [COFFEE, TEA, BAG, CUP]}
      - {name: store, kind: category, values: [berlin, paris, online]}
      - {name: quantity, kind: number}
      - {name: line, kind: number}
      - {name: back, kind: flag}
  - {name: visit}
"""

STOCK = """\
stock:
  sites:
    berlin: {region: east, time_zone: Europe/Berlin}
    dresden: {region: east}
    paris: {region: west, time_zone: Europe/Paris}
  units: {COFFEE: {category: hot}, TEA: {category: hot}, BAG: {category: none}}
  policies:
    - {units: [BAG], negative: allowed, count_tolerance: {units: 5}}
    - {units: [TEA], minimum: 2, order_up_to: 20, transfer_from: same_region, escalate_after: 1h}
    - {negative: refused}
  purchases:
    purchase: {unit: sku, site: store, units: quantity, movement_id: line, returns: back}
  alerts: {retention: 7d, heartbeat: 10s}
"""


def make_files(stock: str = STOCK, shop: str = SHOP) -> dict[str, str]:
    """Return the files of a catalogue with a stock section."""
    return {"shop.yaml": shop, "stock.yaml": stock}


def move(
    movement_id: str,
    kind: MovementKind,
    units: int = 1,
    *,
    site: str = "berlin",
    unit: str = "BAG",
    time_ns: int | None = None,
    to: str = "",
    price: int = 0,
) -> GivenMovement:
    """Return a movement of bags in Berlin, but for what is given."""
    return GivenMovement(movement_id, kind, site, unit, units, time_ns, to, price)


class Stockroom:
    """A desk whose catalogue keeps stock."""

    def __init__(self, desk: Desk, clock: StoodClock) -> None:
        self.desk = desk
        self.clock = clock
        self._views = StockViews()

    def publish(self, stock: str = STOCK, shop: str = SHOP) -> None:
        self.desk.publish(make_files(stock, shop))

    def submit(self, command: Any) -> Future[Any]:
        return self.desk.keeper.submit(command, weight=100)

    def do(self, command: Any) -> Any:
        return self.submit(command).result(20)

    def record(self, *movements: GivenMovement) -> MovementCounts:
        counts: MovementCounts = self.do(RecordStockMovements(lambda: movements))
        return counts

    def buy(self, *events: GivenEvent) -> EventCounts:
        counts: EventCounts = self.do(RecordEvents(lambda: events))
        return counts

    def catalogue(self) -> CompiledCatalogue:
        with self.desk.kept.state.read() as transaction:
            catalogue = PublishedCatalogue().load(transaction)
        assert catalogue is not None
        return catalogue

    def view(self, site: str = "berlin", unit: str = "BAG") -> PositionView:
        catalogue = self.catalogue()
        with self.desk.kept.state.read() as transaction:
            return self._views.get(transaction, catalogue, site, unit, self.clock.time_ns)

    def on_hand(self, site: str = "berlin", unit: str = "BAG") -> int:
        return self.view(site, unit).figures.on_hand

    def transitions(self, after: int = 0) -> list[AlertTransition]:
        with self.desk.kept.state.read() as transaction:
            return [unpack_transition(row) for row in load_transitions(transaction, after, 10_000)]

    def open_alerts(self) -> list[StockAlert]:
        with self.desk.kept.state.read() as transaction:
            return list(scan_open_alerts(transaction))

    def tick(self) -> None:
        """Let time do its work until there is none."""
        while self.desk.kept.ticker.tick():
            pass


def tell(transitions: Sequence[AlertTransition]) -> list[tuple[str, str, str, str]]:
    """Return what happened, to what, and how bad it is, as words."""
    return [
        (each.kind.name, each.alert.cause.name, each.alert.severity.name, each.alert.position.unit)
        for each in transitions
    ]


@contextmanager
def open_stockroom(folder: Path, clock: StoodClock | None = None) -> Iterator[Stockroom]:
    """Open a stockroom and close it; publishing is left to the caller."""
    clock = clock or StoodClock()
    with open_desk(folder, clock) as desk:
        yield Stockroom(desk, clock)
