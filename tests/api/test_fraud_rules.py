"""What rules of the check at the till are told to have done, through the wire."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from instanter.v1 import fraud_service_pb2 as pb
from tests.api.shop import Shop, open_shop
from tests.api.till import TILL, assess, name

LARGE = 150_000


@pytest.fixture
def shop(front_name: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop with a check at the till."""
    with open_shop(tmp_path / "store", front_name) as opened:
        opened.apply(TILL)
        yield opened


def test_a_rule_counts_each_transaction_that_it_stopped(shop: Shop) -> None:
    def list_counts() -> dict[str, tuple[int, int]]:
        rules = shop.fraud.ListFraudRules(pb.ListFraudRulesRequest(), timeout=20).fraud_rules
        return {rule.name[11:]: (rule.fired_count, rule.stopped_count) for rule in rules}

    before, card = list_counts(), name("card")
    # The first two are referred by the points of `large`; the third is declined by both.
    for amount_minor in (LARGE, LARGE, 10 * LARGE):
        assess(shop, card_token=card, amount_minor=amount_minor)
    # The fourth attempt with the card is declined by `many`.
    assess(shop, card_token=card, amount_minor=100)
    after = list_counts()
    told = {
        rule: (after[rule][0] - before[rule][0], after[rule][1] - before[rule][1])
        for rule in ("many", "large", "huge")
    }
    assert told == {"many": (1, 1), "large": (3, 3), "huge": (1, 1)}
