"""Presentations that wait for an answer: for as long as they do, whatever the log still has."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from instanter.decision.contacts import ContactKind
from instanter.keeper.attribution import OutcomeKind
from instanter.keeper.loading import LoadBlock
from instanter.store.databases import PENDING
from instanter.store.log.retention import Retention
from instanter.store.outcomes import is_due
from instanter.store.records import key_of, seal, unseal
from tests.keeper.answers import PATIENT_SHOP, Answers, open_answers
from tests.keeper.test_outcomes import AGES, contacts_of, labels_of

PRESENTED = OutcomeKind.PRESENTED


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Answers]:
    with open_answers(tmp_path / "store") as answers:
        # Ticks come when they are asked for.
        answers.kept.ticker.stop()
        answers.publish(PATIENT_SHOP)
        answers.publish_plan(AGES)
        answers.put("anna", 33, 0)
        yield answers


def load(answers: Answers, count: int) -> None:
    """Load customers, 256 bytes of log each; that is a fold, which drops what is too old."""
    schema = answers.catalogue.schema
    keys = [key_of(f"{number:0256d}") for number in range(count)]
    slots = np.zeros((count, schema.profile_slot_count), np.uint32)
    block = LoadBlock(keys, slots, None, schema.revision)
    answers.desk.keeper.submit(block).result(20)


def test_the_log_is_kept_for_as_long_as_a_presentation_waits(tmp_path: Path) -> None:
    minute = Retention(age_ns_max=60_000_000_000)
    with open_answers(tmp_path / "store", retention=minute) as shop:
        # Ticks come when they are asked for.
        shop.kept.ticker.stop()
        shop.publish(PATIENT_SHOP)
        shop.publish_plan(AGES)
        shop.put("anna", 33, 0)
        shop.answer(shop.decide("anna"), "anna", "tea", PRESENTED)
        # More than the log's first file: the next one begins behind the presentation.
        load(shop, 20_000)
        load(shop, 1)
        shop.clock.move(3500)
        load(shop, 1)
        assert shop.kept.log.first_sequence == 1
        shop.clock.move(3600)
        # What is due and was not ended yet, after a long stop for one, needs the log as well.
        load(shop, 1)
        assert shop.kept.log.first_sequence == 1
        while shop.kept.ticker.tick():
            pass
        load(shop, 1)
        assert shop.kept.log.first_sequence > 1, "nothing needs it any more"
        written = shop.desk.written.getvalue()
        ((_, truth, _),) = labels_of(shop)
    assert truth == 0
    assert written.count("log_kept_for_waits") == 1
    assert "waits_lost" not in written


def test_no_log_is_kept_for_presentations_that_have_taught_already(tmp_path: Path) -> None:
    minute = Retention(age_ns_max=60_000_000_000)
    with open_answers(tmp_path / "store", retention=minute) as shop:
        shop.kept.ticker.stop()
        shop.publish()
        shop.publish_plan(AGES)
        shop.put("anna", 33, 0)
        shop.answer(shop.decide("anna"), "anna", "tea", PRESENTED)
        load(shop, 20_000)
        load(shop, 1)
        shop.clock.move(3500)
        load(shop, 1)
        assert shop.kept.log.first_sequence > 1
        shop.clock.move(3600)
        while shop.kept.ticker.tick():
            pass
        assert contacts_of(shop, "anna") == [ContactKind.PRESENTED, ContactKind.IGNORED]
        written = shop.desk.written.getvalue()
    assert "log_kept_for_waits" not in written
    assert "waits_lost" not in written


def test_a_wait_that_an_older_build_wrote_down_is_read_from_the_log(shop: Answers) -> None:
    shop.answer(shop.decide("anna"), "anna", "tea", PRESENTED)
    with shop.kept.state.read() as transaction:
        ((key, value),) = list(transaction.scan(PENDING))
        key, old = bytes(key), seal(key, unseal(key, value)[:20])
    shop.kept.state.write(lambda transaction: transaction.put(PENDING, key, old))
    shop.clock.move(3601)
    while shop.kept.ticker.tick():
        pass
    assert contacts_of(shop, "anna") == [ContactKind.PRESENTED, ContactKind.IGNORED]
    assert [truth for _, truth, _ in labels_of(shop)] == [0]


def test_a_damaged_wait_ends_without_effect_and_holds_up_no_other(shop: Answers) -> None:
    shop.answer(shop.decide("anna"), "anna", "tea", PRESENTED)
    with shop.kept.state.read() as transaction:
        ((key, value),) = list(transaction.scan(PENDING))
        key, broken = bytes(key), bytes([value[0] ^ 1]) + bytes(value[1:])
    shop.kept.state.write(lambda transaction: transaction.put(PENDING, key, broken))
    shop.clock.move(1)
    shop.answer(shop.decide("bert"), "bert", "tea", PRESENTED)
    shop.clock.move(3601)
    while shop.kept.ticker.tick():
        pass
    assert contacts_of(shop, "anna") == [ContactKind.PRESENTED]
    assert contacts_of(shop, "bert") == [ContactKind.PRESENTED, ContactKind.IGNORED]
    with shop.kept.state.read() as transaction:
        assert not is_due(transaction, 1 << 62)
    assert "waits_lost" in shop.desk.written.getvalue()
