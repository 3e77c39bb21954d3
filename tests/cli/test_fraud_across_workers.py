"""Card transactions at a server with several workers: limits and hotlists hold on all of them."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from instanter.client import (
    AssessmentSource,
    CardTransaction,
    CaseFilter,
    Client,
    Disposition,
    HotlistEntry,
    InvalidRequestError,
    Timeouts,
)
from tests.api.till import TILL
from tests.cli.served import LONE, serving

CARD_NUMBER = "4539578763621486"


def buy(card: str, amount_minor: int = 1_999) -> CardTransaction:
    return CardTransaction(card, "berlin", "m1", 5812, amount_minor, "EUR")


def test_limits_and_hotlists_hold_on_every_worker(tmp_path: Path) -> None:
    slow = Timeouts(30.0, 30.0, 30.0, 30.0, 60.0)
    # Channels of their own: grpcio would let clients of one process share a connection.
    alone = [("grpc.use_local_subchannel_pool", 1)]
    folder = tmp_path / "store"
    with serving(folder, "--workers", "2", module=LONE) as served:
        clients = [Client(served.address, timeouts=slow, options=alone) for _ in range(8)]
        clients[0].apply_catalogue(TILL)

        def ask(number: int) -> Disposition:
            return clients[number % 8].fraud.assess(buy("one")).disposition

        with ThreadPoolExecutor(8) as pool:
            found = Counter(pool.map(ask, range(48)))
        assert found == {Disposition.APPROVE: 3, Disposition.DECLINE: 45}
        for n, client in enumerate(clients):
            other = clients[(n + 3) % 8]
            card = f"card-{n}"
            client.fraud.add_to_hotlist("cards", HotlistEntry(card))
            assert other.fraud.assess(buy(card)).source is AssessmentSource.HOTLIST
            assert other.fraud.get_hotlist_entry("cards", card).id == card
            client.fraud.remove_from_hotlist("cards", card)
            assert other.fraud.assess(buy(f"{card}-x")).disposition is Disposition.APPROVE
            assert other.fraud.assess(buy(card)).disposition is Disposition.APPROVE
            cases = list(other.fraud.list_cases(CaseFilter(card_token="one")))
            assert len(cases) == 45
        report = clients[0].fraud.backtest(TILL["till.yaml"], timeout_s=120.0)
        assert report.given.transaction_count == 48 + 3 * 8
        for hostile in (buy(CARD_NUMBER), buy("x", int(CARD_NUMBER))):
            for client in clients:
                with pytest.raises(InvalidRequestError) as caught:
                    client.fraud.assess(hostile)
                assert CARD_NUMBER not in str(caught.value)
        for client in clients:
            client.close()
    written = (path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not any(CARD_NUMBER.encode() in each for each in written)
