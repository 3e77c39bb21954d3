"""Stock and decisions of a server with several workers."""

from pathlib import Path
from uuid import uuid4

from instanter.client import Client, DecisionRequest, StockMovement, StockMovementKind, Timeouts
from tests.cli.served import LONE, serving
from tests.client.test_readme import retry_until

SHOP = """\
currency: EUR
channels: {web: []}
offers:
  - {name: beans, value_minor: 300, treatments: [{channel: web}], stock_keeping_unit: BEANS}
  - {name: card, value_minor: 200, treatments: [{channel: web}]}
stock:
  sites: {online: }
  units: {BEANS: coffee}
  offers: {site_is: online}
"""
ROUNDS = 20


def test_a_movement_changes_the_very_next_decision_of_every_worker(tmp_path: Path) -> None:
    slow = Timeouts(decision_s=30.0, batch_s=30.0, read_s=30.0)
    # Channels of their own: grpcio would let clients of one process share a connection.
    alone = [("grpc.use_local_subchannel_pool", 1)]
    with serving(tmp_path / "store", "--workers", "2", module=LONE) as served:
        clients = [Client(served.address, timeouts=slow, options=alone) for _ in range(6)]
        clients[0].apply_catalogue({"shop.yaml": SHOP})
        for client in clients:
            retry_until(lambda c=client: c.decide_offers(uuid4().hex, "web"))
        workers = set()
        for number in range(ROUNDS):
            kind = StockMovementKind.SALE if number % 2 else StockMovementKind.RECEIPT
            expected = "card" if number % 2 else "beans"
            movement = StockMovement("online", "BEANS", kind, 1, f"m-{number}")
            clients[number % len(clients)].stock.record_movements([movement])
            for client in clients:
                batch = client.decide_offers_batch([DecisionRequest("a", "web")] * 3)
                for decision in (client.decide_offers("a", "web"), *batch):
                    assert [offer.offer for offer in decision.offers] == [expected]
                    workers.add(decision.id[:16])
        assert len(workers) >= 3, "each worker and each of its engines decided"
        for client in clients:
            client.close()
