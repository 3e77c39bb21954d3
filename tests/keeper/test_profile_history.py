"""Profiles as they were: kept for a week after they were overwritten, and then gone."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from instanter.keeper.loading import LoadBlock
from instanter.keeper.outcomes import OutcomeKind
from instanter.limits import DECISION_INPUTS_KEPT_NS, EXPIRED_KEYS_PER_RECORD
from instanter.store.databases import HISTORY_EXPIRY, PROFILE_HISTORY
from instanter.store.expiry import HOUR_NS
from instanter.store.history import load_kept_profile
from instanter.store.records import key_of
from tests.keeper.answers import Answers, open_answers

HOUR_S = HOUR_NS // 1_000_000_000
KEPT_S = DECISION_INPUTS_KEPT_NS // 1_000_000_000


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Answers]:
    with open_answers(tmp_path / "store") as answers:
        answers.publish()
        yield answers


def load(shop: Answers, *customers: str) -> None:
    """Load profiles in one block."""
    keys = [key_of(customer) for customer in customers]
    slots = np.zeros((len(keys), 2), np.uint32)
    revision = shop.catalogue.schema.revision
    shop.desk.keeper.submit(LoadBlock(keys, slots, None, revision)).result(20)


def counts(shop: Answers) -> tuple[int, int]:
    with shop.kept.state.read() as transaction:
        return transaction.count(PROFILE_HISTORY), transaction.count(HISTORY_EXPIRY)


def test_an_overwritten_profile_is_kept_for_its_time_and_goes_with_a_later_write(
    shop: Answers,
) -> None:
    shop.put("anna", 33)
    shop.put("anna", 34)
    shop.clock.move(KEPT_S - 1)
    shop.put("bert", 50)
    with shop.kept.state.read() as transaction:
        assert load_kept_profile(transaction, key_of("anna"), 1, 2) is not None
    shop.clock.move(1 + HOUR_S)
    shop.put("bert", 51)
    # What is left is bert's own, of a moment ago.
    assert counts(shop) == (1, 1)
    with shop.kept.state.read() as transaction:
        assert load_kept_profile(transaction, key_of("anna"), 1, 2) is None


def test_one_update_drops_a_bounded_number_and_the_next_ones_the_others(shop: Answers) -> None:
    count = 2 * EXPIRED_KEYS_PER_RECORD + 3
    for value in range(count + 1):
        shop.put("anna", value)
    assert counts(shop) == (count, count)
    shop.clock.move(KEPT_S + HOUR_S)
    left = []
    for number in range(3):
        shop.put(f"new{number}", 1)
        left.append(counts(shop)[0])
    assert left == [count - EXPIRED_KEYS_PER_RECORD, 3, 0]


def test_a_block_drops_twice_as_many_as_it_writes(shop: Answers) -> None:
    customers = [f"c{number}" for number in range(60)]
    load(shop, *customers)
    for customer in customers:
        decision = shop.decide(customer)
        shop.answer(decision, customer, "tea", OutcomeKind.PRESENTED)
    load(shop, *customers)
    assert counts(shop) == (60, 60)
    shop.clock.move(KEPT_S + HOUR_S)
    load(shop, *(f"new{number}" for number in range(20)))
    assert counts(shop) == (20, 20)
    load(shop, *(f"new{number}" for number in range(20)))
    assert counts(shop) == (0, 0)
