"""Movements of stock while processes are killed: each counts once, and every alert has its number.

`INSTANTER_ROUNDS=50` is the long version; the suite's is short.
"""

import os
import queue
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from instanter.client import Timeouts
from instanter.v1 import stock_service_pb2 as messages
from instanter.v1.stock_service_pb2_grpc import StockServiceStub
from tests.crash.killable import Server, connect

ROUNDS = int(os.environ.get("INSTANTER_ROUNDS", "2"))
BATCHES = 120
CALLERS = 6
PATIENCE_S = 60.0
SITES, UNITS = ("berlin", "paris"), ("BAG", "TEA")

SHOP = """\
currency: EUR
channels: {web: []}
stock:
  sites: {berlin: {}, paris: {}}
  units: {BAG: other, TEA: hot}
  policies: [{negative: allowed, minimum: 5}]
"""

_PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "store", workers=1)
    server.start()
    try:
        with connect(server.address, Timeouts()) as client:
            client.apply_catalogue({"shop.yaml": SHOP})
        server.wait_warm()
        yield server
    finally:
        server.kill()


@dataclass
class Warehouse:
    """Callers that send the same again until they are answered."""

    address: str
    batches: "queue.Queue[messages.RecordStockMovementsRequest]" = field(
        default_factory=queue.Queue
    )
    recorded: list[int] = field(default_factory=list)
    retried_count: int = 0

    def run(self) -> None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        channel = grpc.insecure_channel(self.address, options=options)
        while True:
            try:
                batch = self.batches.get_nowait()
            except queue.Empty:
                break
            end = time.monotonic() + PATIENCE_S
            while time.monotonic() < end:
                try:
                    reply = StockServiceStub(channel).RecordStockMovements(batch, timeout=3.0)
                except grpc.RpcError as error:
                    if error.code() not in _PASSING:
                        raise
                    self.retried_count += 1
                    channel.close()
                    time.sleep(0.02)
                    channel = grpc.insecure_channel(self.address, options=options)
                else:
                    assert reply.recorded_count + reply.duplicate_count == len(batch.movements)
                    assert 0 in (reply.recorded_count, reply.duplicate_count), "all or none"
                    self.recorded.append(reply.recorded_count)
                    break
        channel.close()


def draw(chance: random.Random, name: str) -> messages.StockMovement:
    """Return some movement."""
    kind = chance.choice(("SALE", "RECEIPT", "TRANSFER", "ADJUSTMENT"))
    site, to = chance.sample(SITES, 2)
    return messages.StockMovement(
        movement_id=name,
        site=f"sites/{site}",
        stock_keeping_unit=chance.choice(UNITS),
        kind=messages.StockMovementKind.Value(f"STOCK_MOVEMENT_KIND_{kind}"),
        units=chance.choice((-3, 2)) if kind == "ADJUSTMENT" else chance.randint(1, 5),
        destination_site=f"sites/{to}" if kind == "TRANSFER" else "",
    )


def add_up(expected: dict[tuple[str, str], int], movement: messages.StockMovement) -> None:
    """Add a movement to what is expected of positions."""
    kind = messages.StockMovementKind.Name(movement.kind).removeprefix("STOCK_MOVEMENT_KIND_")
    sign = -1 if kind in ("SALE", "TRANSFER") else 1
    expected[movement.site, movement.stock_keeping_unit] += sign * movement.units
    if kind == "TRANSFER":
        expected[movement.destination_site, movement.stock_keeping_unit] += movement.units


def look(server: Server) -> dict[tuple[str, str], int]:
    """Return what is on hand."""
    with grpc.insecure_channel(server.address) as channel:
        stub = StockServiceStub(channel)
        return {
            (f"sites/{site}", unit): stub.GetStockPosition(
                messages.GetStockPositionRequest(name=f"sites/{site}/positions/{unit}"),
                timeout=10.0,
            ).on_hand_units
            for site in SITES
            for unit in UNITS
        }


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * ROUNDS)
def test_every_movement_counts_once_with_a_process_killed(server: Server) -> None:
    chance = random.Random(1)
    expected = {(f"sites/{site}", unit): 0 for site in SITES for unit in UNITS}
    for number in range(ROUNDS):
        victim = ("keeper", "worker")[number % 2]
        warehouse = Warehouse(server.address)
        batches = [
            messages.RecordStockMovementsRequest(
                movements=[draw(chance, f"{number}-{n}-{part}") for part in range(n % 30 + 1)]
            )
            for n in range(BATCHES)
        ]
        for batch in batches:
            warehouse.batches.put(batch)
            for movement in batch.movements:
                add_up(expected, movement)
        threads = [threading.Thread(target=warehouse.run) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        while len(warehouse.recorded) < 4 + number % 5:
            assert any(thread.is_alive() for thread in threads)
        (pid,) = server.find_pids(victim)[:1]
        os.kill(pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert len(warehouse.recorded) == BATCHES
        print(victim, "killed,", warehouse.retried_count, "calls sent again")
        server.wait_warm()
        assert look(server) == expected, (victim, warehouse.retried_count)
        for batch in batches:
            warehouse.batches.put(batch)
        warehouse.recorded.clear()
        warehouse.run()
        assert warehouse.recorded == [0] * BATCHES, "all of them are known"
        assert look(server) == expected
