"""Caps, explanations and reports of a server with several workers."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from instanter.client import Client, DecisionRequest, Timeouts
from tests.cli.served import LONE, serving
from tests.client.test_readme import retry_until

SHOP = """\
currency: EUR
channels: {web: []}
contact_policy: {caps: [{name: few, count: 3, window: 1d}]}
offers:
  - {name: card, value_minor: 300, prior_propensity: 0.1, treatments: [{channel: web}]}
  - {name: loan, value_minor: 200, prior_propensity: 0.1, treatments: [{channel: web}]}
"""
CUSTOMERS = 20


def test_decisions_of_several_workers_never_hand_out_more_than_the_cap(tmp_path: Path) -> None:
    slow = Timeouts(decision_s=30.0, batch_s=30.0, read_s=30.0)
    # Channels of their own: grpcio would let clients of one process share a connection.
    alone = [("grpc.use_local_subchannel_pool", 1)]
    with serving(tmp_path / "store", "--workers", "2", module=LONE) as served:
        clients = [Client(served.address, timeouts=slow, options=alone) for _ in range(8)]
        clients[0].apply_catalogue({"shop.yaml": SHOP})
        for client in clients:
            retry_until(lambda c=client: c.decide_offers(uuid4().hex, "web"))

        def ask(number: int) -> list[tuple[str, str, int]]:
            client = clients[number % len(clients)]
            customers = [f"customer-{n}" for n in range(CUSTOMERS)]
            if number % 5 == 0:
                answers = client.decide_offers_batch(
                    [DecisionRequest(customer, "web") for customer in customers]
                )
            else:
                answers = tuple(client.decide_offers(customer, "web") for customer in customers)
            return [
                (customer, answer.id, len(answer.offers))
                for customer, answer in zip(customers, answers, strict=True)
            ]

        with ThreadPoolExecutor(8) as pool:
            found = [each for answers in pool.map(ask, range(24)) for each in answers]
        handed_out = Counter()
        for customer, _, count in found:
            handed_out[customer] += count
        assert set(handed_out.values()) == {3}
        assert len(handed_out) == CUSTOMERS
        # The workers name their decisions apart; each worker and each of its engines decided.
        assert len({decision[:16] for _, decision, _ in found}) >= 3
        for client in clients:
            _, decision, count = found[-1]
            explanation = client.explain_decision(decision)
            assert (explanation.offers[0].rank == 1) == bool(count)
            # Nobody waits for what is only counted: a busy machine may be behind with it.
            end = time.monotonic() + 30
            while sum(a.decision_count for a in client.report_uplift().arms) < len(found):
                assert time.monotonic() < end
            client.close()
