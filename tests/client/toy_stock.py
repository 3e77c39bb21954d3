"""A stock service for tests of the client: each connection of a watcher follows a script."""

# ruff: noqa: N802 - the methods of a servicer are named by the contract.

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from instanter.v1 import stock_service_pb2 as stock
from instanter.v1 import stock_service_pb2_grpc as stock_grpc
from tests.client.toy_server import refuse

Script = Callable[[Any], Iterator[Any]]
"""Yields what one connection is told; it may end by `refuse`, with the context it is given."""


@dataclass
class ToyStock(stock_grpc.StockServiceServicer):
    """What was asked, and what comes next."""

    address: str = ""
    scripts: list[Script] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)
    movements: dict[str, Any] = field(default_factory=dict)
    record_failures: int = 0

    def WatchStockAlerts(self, request: Any, context: Any) -> Iterator[Any]:
        self.seen.append(request)
        yield from self.scripts.pop(0)(context)

    def RecordStockMovements(self, request: Any, context: Any) -> Any:
        self.seen.append(request)
        before = len(self.movements)
        self.movements.update({each.movement_id: each for each in request.movements})
        if self.record_failures:
            self.record_failures -= 1
            refuse(context, "UNAVAILABLE", "going", "KEEPER_LOST")
        recorded = len(self.movements) - before
        return stock.RecordStockMovementsResponse(
            recorded_count=recorded, duplicate_count=len(request.movements) - recorded
        )


def transition(sequence: int) -> Any:
    alert = stock.StockAlert(name=f"stockAlerts/{sequence}", cause=1, severity=4)
    alert.position.name = "sites/berlin/positions/tea"
    told = stock.StockAlertTransition(sequence=sequence, change=1, alert=alert)
    return stock.WatchStockAlertsResponse(transition=told, resume_token=f"t{sequence}")


def open_alert(number: int) -> Any:
    alert = stock.StockAlert(name=f"stockAlerts/{number}", cause=3, severity=2)
    return stock.WatchStockAlertsResponse(open_alert=alert)


def progress(sequence: int) -> Any:
    told = stock.StockAlertProgress(sequence=sequence)
    return stock.WatchStockAlertsResponse(progress=told, resume_token=f"t{sequence}")


def tell(*messages: Any, code: str = "", reason: str = "", **metadata: str) -> Script:
    """Tell messages, then fail; without a code end with success."""

    def script(context: Any) -> Iterator[Any]:
        yield from messages
        if code:
            refuse(context, code, "as the script says", reason, **metadata)

    return script


@contextmanager
def toy_stock() -> Iterator[ToyStock]:
    """Serve on a free port until the block ends."""
    toy = ToyStock()
    server = grpc.server(ThreadPoolExecutor(4))
    stock_grpc.add_StockServiceServicer_to_server(toy, server)
    toy.address = f"localhost:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield toy
    finally:
        server.stop(None).wait()
