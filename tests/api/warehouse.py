"""A shop that keeps stock, movements for it, and subscribers to its alerts."""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from instanter.v1 import stock_service_pb2 as pb
from tests.api.shop import Shop

WAREHOUSE = {
    "stock.yaml": """\
currency: EUR
channels: {web: []}
events:
  - name: purchase
    fields:
      - {name: sku, kind: category, values: [BEANS, GREEN, GIFT]}
      - {name: store, kind: category, values: [berlin, bonn]}
      - {name: count, kind: number}
stock:
  sites:
    berlin: {region: east, time_zone: Europe/Berlin}
    bonn: {region: west}
    koeln: {region: west}
  units: {BEANS: coffee, FILTERS: coffee, GREEN: {category: tea}}
  policies:
    - {units: [GREEN], negative: allowed}
    - {categories: [coffee], minimum: 10, order_up_to: 50, count_tolerance: {units: 5}}
    - {}
  purchases:
    purchase: {unit: sku, site: store, units: count}
  grants:
    roaster: {categories: [coffee]}
    west: {regions: [west]}
  alerts: {retention: 7d, heartbeat: 10s}
"""
}

SALE = pb.STOCK_MOVEMENT_KIND_SALE
RETURN = pb.STOCK_MOVEMENT_KIND_RETURN
RECEIPT = pb.STOCK_MOVEMENT_KIND_RECEIPT
TRANSFER = pb.STOCK_MOVEMENT_KIND_TRANSFER
ADJUSTMENT = pb.STOCK_MOVEMENT_KIND_ADJUSTMENT
COUNT = pb.STOCK_MOVEMENT_KIND_COUNT
RESERVATION = pb.STOCK_MOVEMENT_KIND_RESERVATION
RELEASE = pb.STOCK_MOVEMENT_KIND_RELEASE
ORDER = pb.STOCK_MOVEMENT_KIND_ORDER
CANCELLATION = pb.STOCK_MOVEMENT_KIND_ORDER_CANCELLATION
PRICE_CHANGE = pb.STOCK_MOVEMENT_KIND_PRICE_CHANGE

_numbers = itertools.count()


def in_seconds(seconds: float) -> Timestamp:
    """Return the time in so many seconds."""
    moment_ns = time.time_ns() + int(seconds * 1e9)
    return Timestamp(seconds=moment_ns // 10**9, nanos=moment_ns % 10**9)


def make_movement(
    kind: int, units: int = 1, unit: str = "BEANS", site: str = "berlin", **given: Any
) -> pb.StockMovement:
    """Return a movement with an id of its own; what is counted was counted a moment ago.

    What happens in the millisecond of a count is in it.
    """
    if kind == COUNT:
        given.setdefault("movement_time", in_seconds(-10))
    given.setdefault("movement_id", f"m-{next(_numbers)}")
    return pb.StockMovement(
        kind=kind,  # type: ignore[arg-type]
        units=units,
        stock_keeping_unit=unit,
        site=f"sites/{site}",
        **given,
    )


def record(shop: Shop, *movements: pb.StockMovement) -> pb.RecordStockMovementsResponse:
    """Record movements."""
    request = pb.RecordStockMovementsRequest(movements=movements)
    return shop.stock.RecordStockMovements(request, timeout=20)


def get_position(
    shop: Shop, unit: str = "BEANS", site: str = "berlin", **given: Any
) -> pb.StockPosition:
    """Return a position."""
    request = pb.GetStockPositionRequest(name=f"sites/{site}/positions/{unit}", **given)
    return shop.stock.GetStockPosition(request, timeout=20)


def list_positions(shop: Shop, parent: str = "sites/-", **given: Any) -> list[pb.StockPosition]:
    """Return the positions of all pages."""
    found: list[pb.StockPosition] = []
    request = pb.ListStockPositionsRequest(parent=parent, **given)
    while True:
        page = shop.stock.ListStockPositions(request, timeout=20)
        found += page.positions
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


def fall(shop: Shop, unit: str = "BEANS", site: str = "berlin") -> None:
    """Sell below the minimum, which raises one alert."""
    record(shop, make_movement(SALE, 95, unit, site))


def rise(shop: Shop, unit: str = "BEANS", site: str = "berlin") -> None:
    """Fill up again, which clears it."""
    record(shop, make_movement(RECEIPT, 95, unit, site))


def fall_and_rise(shop: Shop, count: int) -> None:
    """Bring so many transitions, half of them raised and half cleared."""
    for at in range(count):
        (rise if at % 2 else fall)(shop)


class Watcher:
    """A subscriber: what it reads, and from where it would resume.

    Attributes
    ----------
    token
        The newest resume token that it has read.
    transitions
        What it has read of transitions.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self.token = ""
        self.transitions: list[pb.StockAlertTransition] = []

    def read(self) -> pb.WatchStockAlertsResponse:
        """Read the next message."""
        message = next(self._call)
        self.token = message.resume_token or self.token
        if message.HasField("transition"):
            self.transitions.append(message.transition)
        return message

    def read_transitions(self, count: int) -> list[pb.StockAlertTransition]:
        """Read until so many further transitions have come."""
        begin = len(self.transitions)
        while len(self.transitions) < begin + count:
            self.read()
        return self.transitions[begin:]

    def read_to(self, sequence: int) -> Sequence[pb.StockAlertTransition]:
        """Read until all up to a transition has been told."""
        while True:
            message = self.read()
            here = message.transition.sequence or message.progress.sequence
            if here >= sequence:
                return self.transitions

    def read_error(self) -> grpc.RpcError:
        """Read to the end, which is an error."""
        try:
            while True:
                self.read()
        except grpc.RpcError as error:
            return error


@contextmanager
def watch(stub: Any, **given: Any) -> Iterator[Watcher]:
    """Subscribe while the block runs."""
    call = stub.WatchStockAlerts(pb.WatchStockAlertsRequest(**given), timeout=60)
    try:
        yield Watcher(call)
    finally:
        call.cancel()
