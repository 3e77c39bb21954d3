"""Derived attributes in decisions: they count at once, for customers without a profile too."""

import struct

import numpy as np
import pytest

from instanter.decision.engine import DecisionEngine
from instanter.decision.tables import make_tables
from instanter.events.engine import EventEngine
from instanter.limits import BATCH_TURN_MAX
from instanter.store.activity import DERIVED, put_activity
from instanter.store.databases import ACTIVITY
from instanter.store.environment import Environment
from instanter.store.profiles import ProfileState, put_profile
from instanter.store.records import key_of
from tests.decision.test_engine import NOW_NS, StoppedClock, ask
from tests.decision.worlds import make_catalogue, make_score_table
from tests.events.counting import count_rows

FILES = {
    "shop.yaml": """
currency: EUR
channels: {web: [home]}
events:
  - name: purchase
    fields: [{name: amount, kind: number}]
attributes:
  - {name: age, kind: number}
  - {name: purchases, kind: number, source: derived,
     derive: {event: purchase, function: count, window: 1h}}
  - {name: spend, kind: number, source: derived,
     derive: {event: purchase, function: sum, field: amount, window: 1h}}
  - {name: basket, kind: number, source: derived,
     derive: {function: ratio, numerator: spend, denominator: purchases}}
offers:
  - {name: first, treatments: [{channel: web}], value_minor: 1, eligibility: profile.purchases == 0}
  - {name: loyal, treatments: [{channel: web}], value_minor: 1, eligibility: profile.purchases >= 2}
  - {name: rich, treatments: [{channel: web}], value_minor: 1, eligibility: profile.basket > 50}
""",
}


@pytest.fixture
def store(tmp_path):
    environment = Environment.open(tmp_path / "store")
    yield environment
    environment.close()


@pytest.fixture
def damaged():
    return []


@pytest.fixture
def clock():
    return StoppedClock()


@pytest.fixture
def engine(store, damaged, clock):
    catalogue = make_catalogue(FILES)
    engine = DecisionEngine(
        store, clock, decision_id_prefix="0123456789abcdef", on_damaged=damaged.append
    )
    engine.install(make_tables(catalogue, make_score_table(catalogue, 1)))
    return engine


def record(store, customer, *amounts, ago_s=1):
    events = EventEngine()
    events.install(make_catalogue(FILES))
    time_ms = NOW_NS // 1_000_000 - 1000 * ago_s
    head = struct.pack("<q", time_ms)
    rows = [head + events.encode("purchase", {"amount": amount}) for amount in amounts]
    state = count_rows(events, b"", rows)
    store.write(lambda transaction: put_activity(transaction, key_of(customer), {DERIVED: state}))


def offers_of(answer):
    return sorted(offer.offer for offer in answer.offers)


def test_rules_see_what_was_derived_for_customers_with_and_without_a_profile(store, engine):
    slots = np.full(4, 0xFFFF_FFFF, np.uint32)
    store.write(
        lambda transaction: put_profile(
            transaction, key_of("known"), slots, schema_revision=1, now_ms=1
        )
    )
    for customer in ("known", "unknown"):
        record(store, customer, 10.0, 100.0)
    record(store, "poor", 1.0)
    known, poor, nobody, unknown = engine.decide(
        [ask("known"), ask("poor"), ask("nobody"), ask("unknown")]
    )
    assert [a.profile_state for a in (known, unknown)] == [ProfileState.KNOWN, ProfileState.UNKNOWN]
    assert offers_of(known) == offers_of(unknown) == ["loyal", "rich"]
    assert offers_of(poor) == []
    assert offers_of(nobody) == ["first"]


def test_windows_move_even_when_nothing_happens(store, engine, clock):
    record(store, "c", 10.0, 20.0)
    assert offers_of(engine.decide([ask("c")])[0]) == ["loyal"]
    clock.time_ns += 3_800 * 1_000_000_000
    assert offers_of(engine.decide([ask("c")])[0]) == ["first"]


def test_a_damaged_activity_record_makes_derived_attributes_missing(store, engine, damaged):
    record(store, "c", 10.0, 100.0)

    def flip(transaction):
        value = bytearray(transaction.get(ACTIVITY, key_of("c")))
        value[30] ^= 4
        transaction.put(ACTIVITY, key_of("c"), bytes(value))

    store.write(flip)
    first, second = engine.decide([ask("c"), ask("other")])
    assert offers_of(first) == []
    assert offers_of(second) == ["first"]
    assert damaged == ["c"]


def test_long_batches_keep_customers_apart(store, engine):
    for n in range(0, 2 * BATCH_TURN_MAX, 3):
        record(store, f"c{n}", *[60.0] * (n % 4))
    answers = engine.decide([ask(f"c{n}") for n in range(2 * BATCH_TURN_MAX + 1)])
    for n, answer in enumerate(answers):
        count = n % 4 if n % 3 == 0 and n < 2 * BATCH_TURN_MAX else 0
        wanted = ["first"] * (count == 0) + ["loyal"] * (count >= 2) + ["rich"] * (count >= 1)
        assert offers_of(answer) == wanted, n
